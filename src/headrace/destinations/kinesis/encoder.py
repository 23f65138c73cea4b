"""Encode records into the body of one PutRecords request, as bytes and once.

An encoding is a class with what the writer needs: the content type that goes into the signature, and the
body of a request. JSON 1.1 is the one that every endpoint speaks; CBOR is a quarter smaller, because data
goes as it is rather than in base64.

Holds always (tests/destinations/kinesis/test_encoder.py):
    E1  The body is what a JSON library would make of the same request, byte for byte where it matters:
        decoding it gives the stream, the keys and the data back. The same of CBOR.
    E2  The order of the records is kept.
    E3  The body of 2 to 500 records within ``fits`` bytes is within ``BODY_BYTES``, but for keys that are
        full of characters which JSON escapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import msgspec
import pybase64

from headrace.core import plain
from headrace.destinations.kinesis.cbor import ARRAY, BYTES, TEXT, Heads, head, text
from headrace.destinations.pending import Pending, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.destinations.base import Record

_json: Final = msgspec.json.Encoder().encode
_base64: Final = pybase64.b64encode

NO_SHARD: Final = str(2**128)
"""An ExplicitHashKey one past the last: refused after authorization, so nothing can be written with it."""


BODY_BYTES: Final = 10 * 1024 * 1024
"""The most bytes that the body of several records has. The service counts data and keys; that it never looks
at the body's own size as well is not documented, and other writers keep the body under the limit too."""
_RECORDS: Final = 500


class Encoding(Protocol):
    """How requests are written.

    Attributes:
        content_type: As signed.
        fits: The most data and keys, in bytes, whose body is sure to be within ``BODY_BYTES``.
    """

    content_type: ClassVar[str]
    fits: ClassVar[int]

    def put_records(self, records: Sequence[Record]) -> bytes:
        """The body of a PutRecords request.

        Args:
            records: One or more, in write order.

        Raises:
            UnicodeEncodeError: A partition key holds half of a surrogate pair, which no encoding can carry.
        """
        ...


class JsonEncoding:
    """AWS JSON 1.1: data in base64, keys as JSON strings.

    Args:
        stream: Stream name.
    """

    content_type: ClassVar[str] = "application/x-amz-json-1.1"
    fits: ClassVar[int] = (BODY_BYTES - 256 - _RECORDS * 34) * 3 // 4

    def __init__(self, stream: str) -> None:
        self._head = b'{"StreamName":%b,"Records":[{"Data":"' % _json(stream)

    def put_records(self, records: Sequence[Record]) -> bytes:
        """See ``Encoding``. One join: formatting each record takes nearly twice the time."""
        if plain.COMPILED and isinstance(records, list) and isinstance(records[0], Pending):
            by_c = plain.NATIVE
            body: bytes = by_c.json_body(self._head, records, _base64(by_c.padded(records)))
            return body
        quote = _json
        datas, keys = columns(records)
        encoded = _in_base64(datas)
        parts: list[bytes] = [self._head]
        at = 0
        for data, key in zip(datas, keys, strict=True):
            length = len(data)
            rest = length % 3
            whole = length // 3 * 4
            if not rest:
                parts.append(encoded[at : at + whole])
                parts.append(b'","PartitionKey":')
                at += whole
            elif rest == 1:
                parts.append(encoded[at : at + whole + 2])
                parts.append(b'==","PartitionKey":')
                at += whole + 4
            else:
                parts.append(encoded[at : at + whole + 3])
                parts.append(b'=","PartitionKey":')
                at += whole + 4
            parts.append(quote(key))
            parts.append(b'},{"Data":"')
        parts[-1] = b"}]}"
        return b"".join(parts)


def _in_base64(datas: list[bytes]) -> bytes:
    """All data in base64 at once, each from a character of its own on: one call costs as much as a few records.

    What is no multiple of three is filled up with zeros, which appear as A where padding belongs.
    """
    filled: list[bytes] = []
    for data in datas:
        filled.append(data)
        rest = len(data) % 3
        if rest:
            filled.append(b"\0\0" if rest == 1 else b"\0")
    return _base64(b"".join(filled))


class CborEncoding:
    """AWS CBOR 1.1: data as it is. What the Java SDKs speak; undocumented as a protocol of the service.

    Args:
        stream: Stream name.
    """

    content_type: ClassVar[str] = "application/x-amz-cbor-1.1"
    fits: ClassVar[int] = BODY_BYTES - 256 - _RECORDS * 28

    def __init__(self, stream: str) -> None:
        self._head = b"\xa2" + text("StreamName") + text(stream) + text("Records")
        self._data = Heads(b"\xa2" + text("Data"), BYTES)
        self._key = Heads(text("PartitionKey"), TEXT)

    def put_records(self, records: Sequence[Record]) -> bytes:
        """See ``Encoding``. Built as JSON is; heads come out of a table."""
        heads, key_heads = self._data, self._key
        datas, keys = columns(records)
        parts: list[bytes] = [self._head, head(ARRAY, len(datas))]
        for data, key in zip(datas, keys, strict=True):
            name = key.encode()
            parts.append(heads[len(data)])
            parts.append(data)
            parts.append(key_heads[len(name)])
            parts.append(name)
        return b"".join(parts)


def probe(stream: str, *, many: bool, dry_run: bool) -> bytes:
    """The body of a PutRecord or PutRecords that asks for permission and can write nothing.

    Args:
        stream: Stream name.
        many: PutRecords rather than PutRecord.
        dry_run: Ask with DryRun, which only AWS itself understands; otherwise with ``NO_SHARD``, which
            every server refuses.
    """
    record = {"Data": "", "PartitionKey": "headrace-check"}
    if not dry_run:
        record["ExplicitHashKey"] = NO_SHARD
    request: dict[str, object] = {"StreamName": stream}
    request.update({"Records": [record]} if many else record)
    if dry_run:
        request["DryRun"] = True
    return _json(request)
