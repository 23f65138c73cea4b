"""Updates out of records: aggregates of the Kinesis Producer Library are taken apart.

What looks like one and is not, is an update as it is: the core then says what is wrong with it.

Source: aggregation-format.md of awslabs/amazon-kinesis-producer. As the consumer library does, a member whose hash
does not belong to the shard is dropped: its writer knows, and wrote it to its own shard as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

_AGGREGATE: Final = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES: Final = 16


def key_hash(key: str) -> int:
    """The 128-bit hash that picks a shard: MD5 of the key's UTF-8."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")


def members(data: bytes, first: int, last: int) -> list[bytes]:
    """The data of the records that an aggregate holds, in order; of any other record, its own.

    Args:
        data: Of the record.
        first: Lowest hash of the shard it was read from.
        last: Highest hash of that shard.
    """
    if data[:4] != _AGGREGATE:
        return [data]
    message = data[4:-_DIGEST_BYTES]
    if hashlib.md5(message, usedforsecurity=False).digest() != data[-_DIGEST_BYTES:]:
        return [data]
    try:
        return list(_members(message, first, last))
    except (IndexError, ValueError):
        return [data]


def _members(message: bytes, first: int, last: int) -> Iterator[bytes]:
    keys: list[str] = []
    hashes: list[int] = []
    found: list[tuple[int, int, bytes]] = []
    for number, value in _fields(message):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            keys.append(value.decode())
        elif number == 2:
            hashes.append(int(value))
        elif number == 3:
            found.append(_member(value))
    for key, explicit, data in found:
        hashed = hashes[explicit] if explicit >= 0 else key_hash(keys[key])
        if first <= hashed <= last:
            yield data


def _member(message: bytes) -> tuple[int, int, bytes]:
    key, explicit, data = 0, -1, b""
    for number, value in _fields(message):
        if isinstance(value, bytes):
            data = value if number == 3 else data
        elif number == 1:
            key = value
        elif number == 2:
            explicit = value
    return key, explicit, data


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protocol buffer that has only varints and strings of bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        if tag & 7 == 0:
            yield tag >> 3, value
        elif tag & 7 == 2:
            if at + value > len(message):
                raise ValueError("cut off")
            yield tag >> 3, message[at : at + value]
            at += value
        else:
            raise ValueError("another kind of field")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
