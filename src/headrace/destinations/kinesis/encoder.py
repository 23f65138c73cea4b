"""Encode records into the body of one PutRecords request, as bytes and once.

An encoding is a class with what the writer needs: the content type that goes into the signature, and the
body of a request. JSON 1.1 is the one that every endpoint speaks; a second one goes beside it.

Holds always (tests/destinations/kinesis/test_encoder.py):
    E1  The body is what a JSON library would make of the same request, byte for byte where it matters:
        decoding it gives the stream, the keys and the data back.
    E2  The order of the records is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import msgspec
import pybase64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.destinations.base import Record

_json: Final = msgspec.json.Encoder().encode
_base64: Final = pybase64.b64encode

NO_SHARD: Final = str(2**128)
"""An ExplicitHashKey one past the last: refused after authorization, so nothing can be written with it."""


class Encoding(Protocol):
    """How requests are written."""

    content_type: ClassVar[str]

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

    def __init__(self, stream: str) -> None:
        self._head = b'{"StreamName":%b,"Records":[{"Data":"' % _json(stream)

    def put_records(self, records: Sequence[Record]) -> bytes:
        """See ``Encoding``. One join over slices: formatting each record takes nearly twice the time."""
        count = len(records)
        parts = [b'","PartitionKey":'] * (4 * count + 1)
        parts[0] = self._head
        parts[1::4] = [_base64(record.data) for record in records]
        parts[3::4] = [_json(record.key) for record in records]
        parts[4::4] = [b'},{"Data":"'] * count
        parts[-1] = b"}]}"
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
