"""A bound on the head of a request, which uvicorn by itself would gather at any size."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 65_536
"""The most a request's line and headers may take."""


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol with the bound; whoever inherits says what is answered to a larger head."""

    _in_head = True
    _head_bytes = 0

    def head_too_large(self) -> None:
        """Answer, and close; may be called again for what the client goes on sending."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        """See uvicorn."""
        if self._in_head:
            self._head_bytes += len(data)
            # What came before counts: the last piece may hold the end of the head, and a body.
            if self._head_bytes - len(data) > HEAD_BYTES:
                self.head_too_large()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """See uvicorn."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See uvicorn."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0
