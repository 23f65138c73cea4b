"""Write records to one stream: one PutRecords a call, one outcome a record, and never a second try.

See ``destinations.base.Writer`` for the contract; trying again, order and rate are the caller's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.clock import System
from headrace.destinations.base import Limits, Outcome, Verdict
from headrace.destinations.kinesis.answers import outcomes, refusal
from headrace.destinations.kinesis.encoder import JsonEncoding
from headrace.destinations.kinesis.faults import Fault, fault_of, told, verdict_of
from headrace.destinations.kinesis.transport import Answer, Transport, Unanswered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.aws import CredentialsProvider, Endpoint
    from headrace.clock import Clock
    from headrace.destinations.base import Record
    from headrace.destinations.kinesis.encoder import Encoding


class KinesisWriter:
    """Writes to one stream.

    Args:
        stream: Stream name.
        region: Region of the stream.
        endpoint: Where to, from ``aws.endpoint_for``.
        credentials: Keys.
        limits: What one request may hold, and requests under way at once.
        clock: Time of the signatures.
        timeout_s: The longest one request may take; then its records' fate is unknown.
        encoding: How requests are written; JSON 1.1 when None.
    """

    def __init__(
        self,
        stream: str,
        region: str,
        endpoint: Endpoint,
        credentials: CredentialsProvider,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        timeout_s: float = 30.0,
        encoding: Encoding | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._encoding = encoding or JsonEncoding(stream)
        self._transport = Transport(
            endpoint,
            region,
            credentials,
            clock or System(),
            content_type=self._encoding.content_type,
            connections=self.limits.in_flight,
            timeout_s=timeout_s,
        )

    async def write(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Send one request; one outcome per record, in order. See ``Writer``."""
        if not records:
            return ()
        try:
            body = self._encoding.put_records(records)
        except UnicodeEncodeError:
            return [_broken_key(len(records))] * len(records)
        answer = await self._transport.post("PutRecords", body)
        if isinstance(answer, Unanswered):
            return [_unanswered(answer)] * len(records)
        if answer.status == 200:
            return outcomes(answer.body, records)
        return [self._refused(answer, records)] * len(records)

    async def close(self) -> None:
        """Close the connections. See ``Writer``."""
        await self._transport.close()

    def _refused(self, answer: Answer, records: Sequence[Record]) -> Outcome:
        """The one outcome of all records of a request that was refused whole."""
        code, message = refusal(answer.body, answer.error_type)
        fault = fault_of(code, answer.status)
        out = Outcome(
            code=code or f"http-{answer.status}",
            detail=told(fault, message),
            verdict=verdict_of(fault),
            wait_s=answer.retry_after_s,
        )
        if answer.status >= 500:
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
            out.detail = "the session token has expired and was given by hand; give a new one"
        elif out.verdict is Verdict.SPLIT and len(records) == 1:
            record = records[0]
            out.verdict = Verdict.REJECTED
            size_bytes = len(record.data) + len(record.key.encode())
            out.detail = (
                f"the service refused a record of {size_bytes} bytes with a key of {len(record.key)} characters"
            )
        return out


def _unanswered(answer: Unanswered) -> Outcome:
    verdict = Verdict.HALT if answer.halt else Verdict.UNKNOWN if answer.sent else Verdict.RETRY
    return Outcome(code=answer.code, detail=answer.detail, verdict=verdict)


def _broken_key(count: int) -> Outcome:
    return Outcome(
        code="key-not-unicode",
        detail="a partition key holds half of a surrogate pair",
        verdict=Verdict.SPLIT if count > 1 else Verdict.REJECTED,
    )
