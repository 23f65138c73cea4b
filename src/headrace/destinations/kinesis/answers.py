"""Read what Kinesis answers: outcomes per record out of a 200, code and message out of a refusal.

Holds always (tests/destinations/kinesis/test_answers.py):
    A1  An answer that cannot be read, or holds another number of entries than were sent, settles nothing:
        every record's fate is unknown. JSON and CBOR alike.
    A2  A record is delivered only when its own entry has a shard and a sequence number and no error code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.kinesis import cbor
from headrace.destinations.kinesis.faults import record_refusal, short_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.destinations.base import Record

_NAMES: Final = {"shard": "ShardId", "sequence": "SequenceNumber", "code": "ErrorCode", "detail": "ErrorMessage"}


_Said = Annotated[str, msgspec.Meta(min_length=1)]


class _Written(Outcome, kw_only=True, gc=False, rename=_NAMES):
    """An entry that says written and nothing else; decoding fails on any other."""

    shard: _Said
    sequence: _Said
    code: Literal[""] = ""


class _Entry(Outcome, kw_only=True, gc=False, rename=_NAMES):
    """An entry as AWS writes it: what does not apply is left out. Only fields named here are renamed."""

    shard: str = ""
    sequence: str = ""
    code: str = ""
    detail: str = ""


class _Nulls(msgspec.Struct, rename=_NAMES):
    """An entry as kinesis-local writes it: what does not apply is null."""

    shard: str | None = None
    sequence: str | None = None
    code: str | None = None
    detail: str | None = None


class _AllWritten(msgspec.Struct, gc=False, rename="pascal"):
    records: list[_Written]


class _SomeWritten(msgspec.Struct, gc=False, rename="pascal"):
    records: list[_Entry]


class _NullsWritten(msgspec.Struct, gc=False, rename="pascal"):
    records: list[_Nulls]


class _Refusal(msgspec.Struct):
    type: Any = msgspec.field(name="__type", default="")
    code: Any = ""
    message: Any = ""
    Message: Any = ""  # common errors are spelled so


_all_written: Final = msgspec.json.Decoder(_AllWritten).decode
_some_written: Final = msgspec.json.Decoder(_SomeWritten).decode
_nulls_written: Final = msgspec.json.Decoder(_NullsWritten).decode
_all_packed: Final = msgspec.msgpack.Decoder(list[_Written]).decode
_some_packed: Final = msgspec.msgpack.Decoder(list[_Entry]).decode
_refusal: Final = msgspec.json.Decoder(_Refusal).decode


_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises; a text that is no UTF-8 raises a ValueError of its own."""
_CODE: Final = re.compile(rb"<Code>([A-Za-z.]{1,80})</Code>")
_MESSAGE: Final = re.compile(rb"<Message>([^<]{0,2000})</Message>")
"""A gateway in front of the service may answer in the XML of other services, as moto does for its keys."""


def outcomes(body: bytes, records: Sequence[Record]) -> Sequence[Outcome]:
    """Outcomes out of the body of a 200, one per record, in order.

    Args:
        body: As received.
        records: What was sent.
    """
    found: Sequence[Outcome] | None = None
    if cbor.is_cbor(body):
        packed = cbor.entries_as_msgpack(body, len(records))
        if packed is not None:
            try:
                return _all_packed(packed)
            except _UNREADABLE:
                found = _unpacked(packed)
        if found is None:
            found = _from_cbor(body)
        return _judged(found, records)
    if b'"FailedRecordCount":0' in body or b'"FailedRecordCount": 0' in body:
        try:
            found = _all_written(body).records
        except _UNREADABLE:
            pass
        else:
            if len(found) == len(records):
                return found
    if found is None:
        found = _decoded(body)
    return _judged(found, records)


def _judged(found: Sequence[Outcome] | None, records: Sequence[Record]) -> Sequence[Outcome]:
    """Each entry, as decoded, made into the outcome of its record."""
    if found is None:
        return [_unread("answer-unreadable", "the answer could not be read")] * len(records)
    if len(found) != len(records):
        told = f"the answer holds {len(found)} entries for {len(records)} records"
        return [_unread("answer-count", told)] * len(records)
    for entry, record in zip(found, records, strict=True):
        if entry.code:
            record_refusal(entry, len(record.data) + len(record.key.encode()), len(record.key))
        elif not entry.sequence or not entry.shard:
            entry.verdict, entry.code = Verdict.UNKNOWN, "answer-incomplete"
            entry.detail = "the answer says neither where the record was written nor why not"
    return found


def _decoded(body: bytes) -> Sequence[Outcome] | None:
    try:
        return _some_written(body).records
    except _UNREADABLE:
        pass
    try:
        return _without_nulls(_nulls_written(body).records)
    except _UNREADABLE:
        return None


def _unpacked(packed: bytes) -> Sequence[Outcome] | None:
    try:
        return _some_packed(packed)
    except _UNREADABLE:
        return None


def _from_cbor(body: bytes) -> Sequence[Outcome] | None:
    try:
        return _without_nulls(msgspec.convert(cbor.decode(body), _NullsWritten).records)
    except _UNREADABLE:
        return None


def _without_nulls(entries: Sequence[_Nulls]) -> Sequence[Outcome]:
    return [Outcome(e.shard or "", e.sequence or "", e.code or "", e.detail or "") for e in entries]


def _unread(code: str, told: str) -> Outcome:
    return Outcome(code=code, detail=f"{told}; the records may have been written", verdict=Verdict.UNKNOWN)


def refusal(body: bytes, error_type: str) -> tuple[str, str]:
    """Code and message of a refused request; both may be empty, when something else answered.

    Args:
        body: As received.
        error_type: Value of the header X-Amzn-ErrorType, or empty.
    """
    try:
        said = msgspec.convert(cbor.decode(body), _Refusal) if cbor.is_cbor(body) else _refusal(body)
    except _UNREADABLE:
        found, words = _CODE.search(body), _MESSAGE.search(body)
        return (
            found.group(1).decode() if found else short_code(error_type),
            words.group(1).decode(errors="replace") if words else "",
        )
    code = next((c for c in (said.type, said.code, error_type) if isinstance(c, str) and c), "")
    message = next((m for m in (said.message, said.Message) if isinstance(m, str) and m), "")
    return short_code(code), message
