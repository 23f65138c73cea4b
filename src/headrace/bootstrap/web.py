"""The API's side of HTTP: a request's line and headers may take so much, and no more."""

from __future__ import annotations

from typing import Final

from headrace.sources.heads import BoundedHeads

_REFUSED: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: 0\r\n\r\n"
)


class BoundedProtocol(BoundedHeads):
    """uvicorn's protocol, with the bound."""

    def head_too_large(self) -> None:
        """Say so, once, and close."""
        if not self.transport.is_closing():
            self.transport.write(_REFUSED)
            self.transport.close()
