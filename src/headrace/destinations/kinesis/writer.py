"""Write records to one stream: one PutRecords a call, one outcome a record, and never a second try.

See ``destinations.base.Writer`` for the contract; trying again, order and rate are the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from headrace import logs
from headrace.clock import System
from headrace.destinations.base import Limits, Outcome, Verdict
from headrace.destinations.kinesis.aggregation import Aggregation
from headrace.destinations.kinesis.answers import outcomes, refusal
from headrace.destinations.kinesis.compression import compressor
from headrace.destinations.kinesis.encoder import BODY_BYTES, CborEncoding, JsonEncoding
from headrace.destinations.kinesis.faults import Fault, fault_of, told, verdict_of
from headrace.kinesis.transport import Answer, Transport, Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.clock import Clock
    from headrace.destinations.base import Record
    from headrace.destinations.kinesis.encoder import Encoding
    from headrace.kinesis.connection import Connection

_NO_CBOR: Final = frozenset({"SerializationException", "UnknownOperationException"})


class KinesisWriter:
    """Writes to one stream.

    Args:
        stream: Stream name.
        connection: Where to, and with which keys.
        limits: What one request may hold, and requests under way at once.
        clock: Time of the signatures.
        timeout_s: The longest one request may take; then its records' fate is unknown.
        encoding: json or cbor. An endpoint that does not know CBOR is spoken to in JSON from then on.
        compression: none, gzip or zstd.
        aggregation: none or kpl.

    Attributes:
        limits: As given, but that a request's body obeys ``encoder.BODY_BYTES`` too.
        prepare: Compresses a message, see ``destinations.base.Prepares``; None when data is the message itself.
    """

    def __init__(
        self,
        stream: str,
        connection: Connection,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        timeout_s: float = 30.0,
        encoding: str = "json",
        compression: str = "none",
        aggregation: str = "none",
    ) -> None:
        self._stream = stream
        self._given = limits or Limits()
        self._json = JsonEncoding(stream)
        self._in_cbor = False
        """CBOR was answered once, so that the endpoint knows it."""
        self.limits = self._given
        self._encoding: Encoding = self._json
        self._encode_with(CborEncoding(stream) if encoding == "cbor" else self._json)
        self.prepare: Callable[[bytes], bytes] | None = compressor(compression)
        self._aggregation = Aggregation(self._given.record_bytes) if aggregation == "kpl" else None
        self._transport = Transport(
            connection, clock or System(), connections=self._given.in_flight, timeout_s=timeout_s
        )

    async def write(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Send one request; one outcome per record, in order. See ``Writer``."""
        if not records:
            return ()
        aggregation = self._aggregation
        if aggregation is None:
            return await self._write(records)
        try:
            entries = aggregation.entries(records, self.limits.request_bytes)
        except UnicodeEncodeError:
            return [_broken_key(len(records))] * len(records)
        found = await self._write(entries, len(records))
        return aggregation.outcomes(entries, found, records)

    async def close(self) -> None:
        """Close the connections. See ``Writer``."""
        await self._transport.close()

    async def _write(self, records: Sequence[Record], members: int = 0) -> Sequence[Outcome]:
        """One request; *members* is how many exports they hold, when that is another number."""
        encoding = self._encoding
        try:
            body = encoding.put_records(records)
        except UnicodeEncodeError:
            return [_broken_key(len(records))] * len(records)
        if len(body) > BODY_BYTES and len(records) > 1:
            return [_body_too_large(len(body))] * len(records)
        answer = await self._transport.post("PutRecords", body, encoding.content_type)
        if isinstance(answer, Unanswered):
            return [_unanswered(answer)] * len(records)
        if answer.status == 200:
            self._in_cbor = self._in_cbor or encoding is not self._json
            return outcomes(answer.body, records)
        return [self._refused(answer, records, encoding, members or len(records))] * len(records)

    def _encode_with(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self.limits = msgspec.structs.replace(
            self._given, request_bytes=min(self._given.request_bytes, encoding.fits)
        )

    def _refused(self, answer: Answer, records: Sequence[Record], encoding: Encoding, members: int) -> Outcome:
        """The one outcome of all records of a request that was refused whole."""
        code, message = refusal(answer.body, answer.error_type)
        fault = fault_of(code, answer.status)
        out = Outcome(
            code=code or f"http-{answer.status}",
            detail=told(fault, message),
            verdict=verdict_of(fault),
            wait_s=answer.retry_after_s,
            over_rate=fault is Fault.THROTTLED,
        )
        if encoding is not self._json and self._knows_no_cbor(answer, code):
            out.verdict = Verdict.UNKNOWN if answer.status >= 500 else Verdict.RETRY
            out.detail = "the endpoint does not take CBOR; it is spoken to in JSON from now on"
        elif answer.status >= 500:
            # The service may have failed after it had written.
            out.verdict = Verdict.UNKNOWN
            out.detail = told(Fault.BUSY, message)
        elif 200 < answer.status < 300:
            out.verdict = Verdict.UNKNOWN
            out.detail = f"the endpoint answered with status {answer.status}, which Kinesis never does"
        elif fault in (Fault.CLOCK, Fault.KEYS) and self._transport.correct_clock(answer):
            # Kinesis says InvalidSignature for a wrong time too; the difference of the clocks tells them apart.
            out.verdict = Verdict.RETRY
            out.detail = (
                f"this machine's clock was {answer.skew_s:+.0f} s off; the service's time is used from now on"
            )
        elif fault is Fault.EXPIRED and not self._transport.expire(answer.credentials):
            out.verdict = Verdict.HALT
            out.detail = "the session token has expired and there is no newer one; give a new one"
        elif out.verdict is Verdict.SPLIT and members == 1:
            record = records[0]
            out.verdict = Verdict.REJECTED
            size_bytes = len(record.data) + len(record.key.encode())
            out.detail = (
                f"the service refused a record of {size_bytes} bytes with a key of {len(record.key)} characters"
            )
        return out

    def _knows_no_cbor(self, answer: Answer, code: str) -> bool:
        """Whether the answer to a request in CBOR says so; then JSON is spoken from now on."""
        if self._in_cbor:
            return False
        if code not in _NO_CBOR and answer.status != 415 and (code or answer.status != 500):
            return False
        if self._encoding is not self._json:
            self._encode_with(self._json)
            logs.get().info(
                "the endpoint does not take CBOR, JSON is used", stream=self._stream, code=code or answer.status
            )
        return True


def _unanswered(answer: Unanswered) -> Outcome:
    verdict = Verdict.HALT if answer.halt else Verdict.UNKNOWN if answer.sent else Verdict.RETRY
    return Outcome(code=answer.code, detail=answer.detail, verdict=verdict)


def _broken_key(count: int) -> Outcome:
    return Outcome(
        code="key-not-unicode",
        detail="a partition key holds half of a surrogate pair",
        verdict=Verdict.SPLIT if count > 1 else Verdict.REJECTED,
    )


def _body_too_large(size_bytes: int) -> Outcome:
    return Outcome(
        code="request-too-large",
        detail=f"{size_bytes} bytes as encoded, over {BODY_BYTES}; it is sent in parts",
        verdict=Verdict.SPLIT,
    )
