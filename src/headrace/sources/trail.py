"""The position of a file: how far it was read, and a fingerprint of what was read.

The fingerprint is a BLAKE2b hash of the first mebibyte read and one of the 16 KiB before the offset, both
of the uncompressed content. It costs the same for a file of any size, when written and when checked.

It notices: a file cut shorter than the offset; another file under the same name, whatever its size; any
change within the first mebibyte or the last 16 KiB read; bytes inserted or removed anywhere before the
offset, since they move the end. It does not notice bytes replaced by as many others in between.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

FORMAT: Final = 1
FIRST_BYTES: Final = 1_048_576
LAST_BYTES: Final = 16_384


class Mark(msgspec.Struct, frozen=True):
    """A position as it is kept, as JSON.

    Attributes:
        format: Version of this encoding.
        offset: Bytes read, uncompressed.
        lines: Line ends among them.
        first: Hash of the first FIRST_BYTES of them.
        last: Hash of the last LAST_BYTES of them.
    """

    format: int
    offset: int
    lines: int
    first: str
    last: str


def _hash(content: bytes | bytearray) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


class Trail:
    """What was read, as far as it is needed to make a ``Mark``: bounded, whatever the size."""

    def __init__(self) -> None:
        self._first = bytearray()  # the first FIRST_BYTES as far as they are not hashed yet
        self._hashed = hashlib.blake2b(digest_size=16)
        self._hashed_bytes = 0
        self._before = b""  # the last bytes before the block
        self._block = b""
        self._block_at = 0

    @classmethod
    def resumed(cls, offset: int, first: bytes, last: bytes) -> Trail:
        """The trail of a file read up to *offset*, from its first and its last bytes there."""
        trail = cls()
        trail._first += first[: min(offset, FIRST_BYTES)]
        trail._before = last[-LAST_BYTES:]
        trail._block_at = offset
        return trail

    @property
    def end(self) -> int:
        """Bytes added so far."""
        return self._block_at + len(self._block)

    def add(self, block: bytes) -> None:
        """Go on with *block*; marks lie within it from now on."""
        if self._block_at + len(self._block) < FIRST_BYTES:
            self._first += block[: FIRST_BYTES - self._block_at - len(self._block)]
        self._before = (self._before + self._block[-LAST_BYTES:])[-LAST_BYTES:]
        self._block_at += len(self._block)
        self._block = block

    def mark(self, offset: int, lines: int) -> bytes | None:
        """The position at *offset*, not before an earlier mark; None where it lies before the last block."""
        if offset < self._block_at:
            return None
        upto = min(offset, FIRST_BYTES)
        if self._hashed_bytes < upto:
            size = upto - self._hashed_bytes
            self._hashed.update(self._first[:size])
            del self._first[:size]
            self._hashed_bytes = upto
        inside = offset - self._block_at
        last = self._block[max(0, inside - LAST_BYTES) : inside]
        if inside < LAST_BYTES:
            last = (self._before + last)[-LAST_BYTES:]
        mark = Mark(FORMAT, offset, lines, self._hashed.hexdigest(), _hash(last))
        return msgspec.json.encode(mark)
