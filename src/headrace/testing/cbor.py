"""The part of CBOR that ``application/x-amz-cbor-1.1`` uses, both ways.

Maps, arrays, text, bytes, integers, floats, booleans and null; definite and indefinite lengths; tags
are skipped on reading, and tag 1 marks times on writing.

Source:
    RFC 8949; the Java SDKs' use of it for Kinesis (times as tag 1 with epoch milliseconds).
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

MAX_DEPTH: Final = 32
_BREAK: Final = object()
_SIMPLE: Final[dict[int, Any]] = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}


class Time(NamedTuple):
    """A time on the wire, epoch milliseconds."""

    ms: int


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._body):
            raise ValueError("CBOR ends too early")
        part = self._body[self._at : end]
        self._at = end
        return part

    @property
    def done(self) -> bool:
        return self._at == len(self._body)

    def length(self, low: int) -> int | None:
        """Read the argument of a head; None is "indefinite"."""
        if low < 24:
            return low
        if low <= 27:
            return int.from_bytes(self.take(1 << (low - 24)))
        if low == 31:
            return None
        raise ValueError("reserved CBOR length")

    def value(self, depth: int = 0) -> Any:
        """Read one value, or the end of an indefinite one."""
        if depth > MAX_DEPTH:
            raise ValueError("CBOR nested too deep")
        head = self.take(1)[0]
        major, low = head >> 5, head & 31
        if major == 7:
            return self._simple(low)
        length = self.length(low)
        if major in (2, 3):
            return self._string(major, length, depth)
        if major in (4, 5):
            return self._container(major, length, depth)
        if length is None:
            raise ValueError("CBOR number without length")
        if major == 6:
            return self.value(depth + 1)
        return length if major == 0 else -1 - length

    def _simple(self, low: int) -> Any:
        if low == 31:
            return _BREAK
        if low in _FLOATS:
            layout, size = _FLOATS[low]
            return struct.unpack(layout, self.take(size))[0]
        if low in _SIMPLE:
            return _SIMPLE[low]
        raise ValueError("unknown CBOR simple value")

    def _string(self, major: int, length: int | None, depth: int) -> bytes | str:
        if length is not None:
            part = self.take(length)
            return part if major == 2 else part.decode()
        parts = self._until_break(depth)
        wanted = bytes if major == 2 else str
        if not all(isinstance(part, wanted) for part in parts):
            raise ValueError("mixed CBOR string parts")
        return wanted().join(parts)

    def _container(self, major: int, length: int | None, depth: int) -> Any:
        if length is None:
            parts = self._until_break(depth)
        else:
            parts = [self.value(depth + 1) for _ in range(length * (major - 3))]
        if any(part is _BREAK for part in parts):
            raise ValueError("CBOR break out of place")
        if major == 4:
            return parts
        if len(parts) % 2:
            raise ValueError("CBOR map with a key alone")
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def _until_break(self, depth: int) -> list[Any]:
        parts = []
        while (part := self.value(depth + 1)) is not _BREAK:
            parts.append(part)
        return parts


def decode(body: bytes) -> Any:
    """Decode one CBOR value.

    Raises:
        ValueError: It is not one whole value of the part that is known here.
    """
    reader = _Reader(body)
    try:
        value = reader.value()
    except TypeError as error:  # a map's key that cannot be one
        raise ValueError("CBOR map with an unusable key") from error
    if not reader.done or value is _BREAK:
        raise ValueError("not one whole CBOR value")
    return value


def _head(major: int, length: int) -> bytes:
    if length < 24:
        return bytes((major << 5 | length,))
    for low, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if length < 1 << (8 * size):
            return bytes((major << 5 | low,)) + length.to_bytes(size)
    raise ValueError("too large for CBOR")


def encode(value: Any) -> bytes:
    """Encode a value.

    Raises:
        TypeError: It holds something that has no place here.
    """
    match value:
        case bool() | None:
            return b"\xf6" if value is None else (b"\xf5" if value else b"\xf4")
        case Time():
            return b"\xc1" + encode(value.ms)
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return _head(3, len(text)) + text
        case bytes():
            return _head(2, len(value)) + value
        case list() | tuple():
            return _head(4, len(value)) + b"".join(map(encode, value))
        case dict():
            pairs = b"".join(encode(key) + encode(part) for key, part in value.items())
            return _head(5, len(value)) + pairs
        case _:
            raise TypeError(f"no CBOR for {type(value).__name__}")


def array_head(length: int) -> bytes:
    """Encode the head of an array whose *length* values follow."""
    return _head(4, length)
