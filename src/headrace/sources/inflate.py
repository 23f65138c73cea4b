"""gzip, bounded: what comes out is taken in pieces of a size the taker chooses."""

from __future__ import annotations

import zlib
from typing import Final

MAGIC: Final = b"\x1f\x8b"


class BadGzipError(ValueError):
    """The bytes are not gzip."""


class Inflater:
    """Inflates one or more gzip members that follow one another; zero bytes after the last are padding."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None
        self._input = b""
        self._more = False  # the member may hold output back although its input is used up

    @property
    def unfinished(self) -> bool:
        """In the middle of a member."""
        return self._member is not None

    def feed(self, compressed: bytes) -> None:
        """Add input."""
        self._input += compressed

    def take(self, most: int) -> bytes:
        """Up to *most* bytes, or none where more input is needed.

        Raises:
            BadGzipError: The input is not gzip, or its checksum is wrong.
        """
        while self._input or self._more:
            if self._member is None:
                self._input = self._input.lstrip(b"\0")
                if not self._input:
                    break
                self._member = zlib.decompressobj(wbits=31)
            try:
                content = self._member.decompress(self._input, most)
            except zlib.error as error:
                raise BadGzipError(str(error)) from None
            self._input = self._member.unconsumed_tail
            self._more = len(content) == most
            if self._member.eof:
                self._input = self._member.unused_data
                self._member, self._more = None, False
            if content:
                return content
        return b""


def inflate(compressed: bytes, limit_bytes: int) -> bytes | None:
    """The content of a whole gzip text, or None where it is over *limit_bytes*; no more than that is inflated.

    Raises:
        BadGzipError: It is not gzip, or cut off.
    """
    inflater = Inflater()
    inflater.feed(compressed)
    pieces: list[bytes] = []
    left = limit_bytes + 1
    while left and (piece := inflater.take(left)):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        return None
    if inflater.unfinished or not pieces:
        raise BadGzipError("it is cut off")
    return b"".join(pieces)
