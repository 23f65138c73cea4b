"""What a scripted Kinesis accepted, as values and as a file that can be read while it grows.

The file: for each record, in the order of arrival, four bytes (the length, big-endian) and so many
bytes of msgpack, an array of the fields of ``Written``. The records of a request are in the file
before its answer is sent, so whatever happens to the client, nothing it was told of is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

_LENGTH_BYTES = 4


class Written(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One accepted record.

    Attributes:
        arrival: From 1, over all streams, without gaps.
        request: Number of its put request, from 1.
        index: Its place in that request, from 0.
        stream: Name.
        shard: Shard id.
        sequence: Sequence number, 56 digits.
        key: Partition key.
        data: The record's bytes, decoded.
        at_ms: Time on the server's clock, epoch milliseconds.
    """

    arrival: int
    request: int
    index: int
    stream: str
    shard: str
    sequence: str
    key: str
    data: bytes
    at_ms: int = 0


class Recorder:
    """Appends accepted records to a file, one system call a request; survives the death of either process.

    Not synced to the disk: it must outlive a killed process, not a power cut.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._encode = msgspec.msgpack.Encoder().encode

    def append(self, written: Sequence[Written]) -> None:
        """Append *written*; when this returns, the system has them."""
        parts: list[bytes] = []
        for record in written:
            body = self._encode(record)
            parts += (len(body).to_bytes(_LENGTH_BYTES), body)
        rest = memoryview(b"".join(parts))
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read_records(path: Path) -> Iterator[Written]:
    """Read a recording, in the order of arrival; a torn last record is left out."""
    decode = msgspec.msgpack.Decoder(Written).decode
    with path.open("rb") as file:
        while len(head := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
            length = int.from_bytes(head)
            if len(body := file.read(length)) < length:
                return
            yield decode(body)
