"""The Kinesis writer on a scripted service within the process: everything is real but the wire, so that the
time can be moved by hand and thousands of cases run in a minute.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from headrace.aws import Credentials, StaticCredentials, endpoint_for
from headrace.clock import Clock
from headrace.destinations.base import Limits, Outcome, Verdict
from headrace.destinations.kinesis.writer import KinesisWriter
from headrace.kinesis.connection import Connection
from headrace.kinesis.transport import Answer, Unanswered
from headrace.testing.caller import Signed
from headrace.testing.recording import Recorder
from headrace.testing.script import Script
from headrace.testing.service import Reply, Service

ACCOUNT: Final = "123456789012"
_KEYS: Final = Credentials("AKIATEST", "secret", None)
_TARGET: Final = "Kinesis_20131202."


def service(clock: Clock, streams: dict[str, int], *, recorder: Recorder | None = None, keep: bool = True) -> Service:
    """A scripted service with these streams and shards."""
    made = Service(
        script=Script(), clock=clock, account=ACCOUNT, region="eu-west-1", recorder=recorder, keep=keep
    )  # fmt: skip
    for name, shards in streams.items():
        made.create(name, shards)
    return made


class Wireless:
    """Takes the transport's place: hands a request to the service, and lets its answer take its time.

    Args:
        service: Who answers.
        clock: On which answers take their time.
        timeout_s: How long an answer is waited for.
        latency_s: Drawn for each request, on top of what the script says.
    """

    def __init__(
        self, service: Service, clock: Clock, *, timeout_s: float, latency_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._service, self._clock = service, clock
        self._timeout_s, self._latency_s = timeout_s, latency_s
        self._late: set[asyncio.Task[None]] = set()
        self.closed = False

    async def post(self, action: str, body: bytes, content_type: str = "") -> Answer | Unanswered:
        """See ``Transport``."""
        if self.closed:
            return Unanswered(sent=False, code="closed", detail="the writer is closed")
        await self._clock.sleep(self._latency_s())
        reply = self._service.respond(_TARGET + action, content_type, Signed("POST", "/", {}, body))
        if reply.later is not None:
            if reply.delay_s > self._timeout_s:
                late = asyncio.create_task(self._write_late(reply))
                self._late.add(late)
                return await self._timed_out()
            await self._clock.sleep(reply.delay_s)
            reply = reply.later()
        if reply.fate == "silence" or reply.delay_s > self._timeout_s:
            return await self._timed_out()
        if reply.delay_s:
            await self._clock.sleep(reply.delay_s)
        if reply.fate == "reset":
            return Unanswered(sent=True, code="connection-lost", detail="closed without an answer")
        return Answer(reply.status, reply.body, "", "", 0.0, 0.0, _KEYS, 0)

    async def _timed_out(self) -> Unanswered:
        await self._clock.sleep(self._timeout_s)
        return Unanswered(sent=True, code="timeout", detail="did not answer")

    async def _write_late(self, reply: Reply) -> None:
        await self._clock.sleep(reply.delay_s)
        assert reply.later is not None
        reply.later()

    def correct_clock(self, answer: Answer) -> bool:
        """See ``Transport``."""
        del answer
        return False

    def expire(self, used: Credentials) -> bool:
        """See ``Transport``."""
        del used
        return False

    async def close(self) -> None:
        """See ``Transport``. What the service was to write late, it writes not at all any more."""
        self.closed = True
        for late in self._late:
            late.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)


class WirelessWriter(KinesisWriter):
    """A writer to one stream of a scripted service in this process."""

    def __init__(
        self, stream: str, service: Service, clock: Clock, *, limits: Limits | None = None, timeout_s: float = 30.0,
        latency_s: Callable[[], float] = lambda: 0.0, encoding: str = "json",
    ) -> None:  # fmt: skip
        endpoint = endpoint_for("kinesis", "eu-west-1", "http://127.0.0.1:1")
        connection = Connection("eu-west-1", endpoint, StaticCredentials(_KEYS))
        super().__init__(stream, connection, limits=limits, clock=clock, timeout_s=timeout_s, encoding=encoding)
        self._transport: Any = Wireless(service, clock, timeout_s=timeout_s, latency_s=latency_s)


def digest(data: bytes) -> bytes:
    """What a ``Watch`` keeps of a record."""
    return hashlib.blake2b(data, digest_size=12).digest()


class Watch:
    """What writers were told about each record, over all lives: whether one is written again without need (D3).

    Attributes:
        broken: Records that were written again after they were told delivered or rejected, with no crash between.
        doubted: Digests of records whose fate was unknown at some time.
        forgotten: Unknown fates that were told to a process that then crashed: it cannot have counted them all.
        unrejected: Digests of records that were told rejected to a process that then crashed: if it had not stored
            that, they are sent again, and may be taken this time, after those behind them.
        crashed: Digests of records that were sent before some crash.
    """

    def __init__(self) -> None:
        self._done: dict[bytes, int] = {}
        self._lives = 0
        self.broken: list[bytes] = []
        self.doubted: set[bytes] = set()
        self.crashed: set[bytes] = set()
        self.unrejected: set[bytes] = set()
        self._rejected: set[bytes] = set()
        self.forgotten = 0
        self._unknown = 0
        self._written: set[bytes] = set()

    def ended(self) -> None:
        """The process ended by itself."""
        self._unknown = 0
        self._rejected = set()

    def crash(self) -> None:
        """The process ended without storing what it knew: whatever was written may be written again."""
        self._lives += 1
        self.forgotten += self._unknown
        self._unknown = 0
        self.unrejected |= self._rejected
        self._rejected = set()
        self.crashed |= self._written

    def sent(self, records: Sequence[Any]) -> list[bytes]:
        """A request starts. Returns the records' digests, for ``told``."""
        digests = [digest(record.data) for record in records]
        for sent, record in zip(digests, records, strict=True):
            self._written.add(sent)
            if self._done.get(sent) == self._lives:
                self.broken.append(record.data)
        return digests

    def given_up(self, digests: Sequence[bytes]) -> None:
        """A request was given up: nobody knows."""
        self.doubted.update(digests)

    def told(self, digests: Sequence[bytes], outcomes: Sequence[Outcome]) -> None:
        """A request was answered."""
        for sent, outcome in zip(digests, outcomes, strict=True):
            if outcome.verdict in (Verdict.DELIVERED, Verdict.REJECTED):
                self._done[sent] = self._lives
                if outcome.verdict == Verdict.REJECTED:
                    self._rejected.add(sent)
            elif outcome.verdict == Verdict.UNKNOWN:
                self.doubted.add(sent)
                self._unknown += 1


class Watched:
    """A writer whose records a ``Watch`` looks at."""

    def __init__(self, writer: KinesisWriter, watch: Watch) -> None:
        self._writer, self._watch = writer, watch
        self.limits: Limits = writer.limits

    async def write(self, records: Sequence[Any]) -> Sequence[Outcome]:
        """See ``Writer``."""
        digests = self._watch.sent(records)
        try:
            outcomes = await self._writer.write(records)
        except asyncio.CancelledError:
            self._watch.given_up(digests)
            raise
        self._watch.told(digests, outcomes)
        return outcomes

    async def close(self) -> None:
        """See ``Writer``."""
        await self._writer.close()
