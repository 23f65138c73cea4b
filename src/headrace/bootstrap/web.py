"""The API's side of HTTP: a request's line and headers may take so much, and no more."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 65_536
_REFUSED: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: 0\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself would gather a head of any size."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """See uvicorn."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes - len(data) > HEAD_BYTES:
                if not self.transport.is_closing():
                    self.transport.write(_REFUSED)
                    self.transport.close()
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
