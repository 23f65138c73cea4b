"""The CBOR of ``application/x-amz-cbor-1.1``: heads for requests, and answers made readable fast.

A library that decodes CBOR into plain objects takes three to four times as long for an answer as msgspec
takes for the same in JSON. But the answer about 500 written records is a few short texts again and again,
and for these CBOR and MessagePack differ in nothing but their heads, which are equally long. So the heads are
replaced, and msgspec reads the rest. Whatever does not fit is decoded in the ordinary way.

Holds always (tests/destinations/kinesis/test_cbor.py):
    B1  What is read from a translated answer is what a CBOR library reads from it; else it is not translated:
        a head put in place of a text's own characters is no UTF-8, so decoding fails.

Source: RFC 8949, section 3; MessagePack specification, "Formats".
"""

from __future__ import annotations

import re
from typing import Any, Final

import cbor2

ARRAY: Final = 0x80
BYTES: Final = 0x40
TEXT: Final = 0x60


def head(major: int, length: int) -> bytes:
    r"""The head of a string or array.

    Args:
        major: Major type, shifted into its place: ``ARRAY``, ``BYTES`` or ``TEXT``.
        length: Bytes or elements that follow.

    Examples:
        >>> head(TEXT, 4), head(BYTES, 700)
        (b'd', b'Y\x02\xbc')
    """
    if length < 24:
        return bytes((major | length,))
    for low, size in ((24, 1), (25, 2), (26, 4)):
        if length < 1 << (8 * size):
            return bytes((major | low,)) + length.to_bytes(size, "big")
    raise ValueError("over what a request can hold")


def text(value: str) -> bytes:
    """A text with its head."""
    encoded = value.encode()
    return head(TEXT, len(encoded)) + encoded


class Heads(dict[int, bytes]):
    """Heads by length, each with what stands before it; kept, because the same lengths come again.

    Args:
        before: What stands before the head.
        major: See ``head``.
    """

    MOST: Final = 4096

    def __init__(self, before: bytes, major: int) -> None:
        super().__init__()
        self._before = before
        self._major = major

    def __missing__(self, length: int) -> bytes:
        if len(self) >= self.MOST:
            self.clear()
        found = self[length] = self._before + head(self._major, length)
        return found


def is_cbor(body: bytes) -> bool:
    """Whether an answer is a map of CBOR. No JSON text begins so."""
    return b"\xa0" <= body[:1] <= b"\xbf"


_AFTER: Final = (text("EncryptionType"), text("FailedRecordCount"))
_NONE_FAILED: Final = text("FailedRecordCount") + b"\x00"
_TAIL_BYTES: Final = 64
"""What may stand after the entries is not longer."""
_WRITTEN: Final = (
    (b"\xa2\x6eSequenceNumber\x78", b"\x82\xaeSequenceNumber\xd9"),
    (b"\x67ShardId\x74", b"\xa7ShardId\xb4"),
)
_REFUSED: Final = (
    (b"\xa2\x69ErrorCode\x78", b"\x82\xa9ErrorCode\xd9"),
    (b"\xa2\x69ErrorCode\x6f", b"\x82\xa9ErrorCode\xaf"),  # InternalFailure
    (b"\x6cErrorMessage\x78", b"\xacErrorMessage\xd9"),
    (b"\x6cErrorMessage\x79", b"\xacErrorMessage\xda"),
)


def entries_as_msgpack(body: bytes, count: int) -> bytes | None:
    """The entries of an answer to PutRecords as an array of MessagePack, when they look as they mostly do.

    Args:
        body: As received.
        count: Records sent, so entries wanted.

    Returns:
        Bytes that decode to exactly *count* entries, or do not decode; None when the answer looks otherwise.
    """
    start = body.find(b"\x67Records")
    if start < 0 or start + 9 > len(body):
        return None
    start += 8
    first = body[start]
    endless = first == 0x9F
    start += {0x98: 2, 0x99: 3}.get(first, 1)
    end = len(body)
    for name in _AFTER:
        at = body.rfind(name, max(start, end - _TAIL_BYTES))
        if at >= 0:
            end = min(end, at)
    part = body[start:end]
    packed = _alike(part, count)
    if packed is not None:
        return packed
    if endless or body[:1] == b"\xbf":
        part = part.rstrip(b"\xff")  # no text ends so
    if b"\xbf" in part:
        part = part.replace(b"\xff\xbf\x6eSequenceNumber", b"\xa2\x6eSequenceNumber")
        part = part.replace(b"\xff\xbf\x69ErrorCode", b"\xa2\x69ErrorCode").replace(b"\xbf", b"\xa2", 1)
    for old, new in _WRITTEN:
        part = part.replace(old, new)
    if _NONE_FAILED not in body[:start] and _NONE_FAILED not in body[end:]:
        for old, new in _REFUSED:
            part = part.replace(old, new)
    return b"\xdc" + count.to_bytes(2, "big") + part


_ENTRY: Final = re.compile(rb"\xa2\x6eSequenceNumber\x78(.)", re.DOTALL)


def _alike(part: bytes, count: int) -> bytes | None:
    """Entries that all look like the first, and say written and nothing else: their heads stand in columns.

    Every byte that is a head is looked at in every entry, so that lengths, and with them the places of all heads,
    are known and not guessed.
    """
    first = _ENTRY.match(part)
    if first is None:
        return None
    chars = first.group(1)[0]
    shard = 18 + chars
    each = shard + 29
    if len(part) != each * count:
        return None
    made = bytearray(part)
    for at, old, new in ((0, 0xA2, 0x82), (1, 0x6E, 0xAE), (16, 0x78, 0xD9), (17, chars, chars), (shard, 0x67, 0xA7),
                         (shard + 8, 0x74, 0xB4)):  # fmt: skip
        if part[at::each].count(old) != count:
            return None
        made[at::each] = bytes((new,)) * count
    return b"\xdc" + count.to_bytes(2, "big") + made


def decode(body: bytes) -> Any:
    """Decode one value of CBOR.

    Raises:
        ValueError: It is none.
    """
    try:
        return cbor2.loads(body)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError("no CBOR") from error
