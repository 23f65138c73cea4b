"""A scripted, recording Kinesis Data Streams server for tests and benchmarks.

In a test's own loop::

    async with ScriptedKinesis(streams={"profiles": 4}) as kinesis:
        ...                      # point a client at kinesis.url
        kinesis.records          # everything that was accepted, in order of arrival

As a process of its own: ``headrace.testing.child``.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from headrace.testing.caller import Signed
from headrace.testing.fast import FastAnswers
from headrace.testing.puts import Counts
from headrace.testing.recording import Recorder, Written
from headrace.testing.refusals import ServiceError
from headrace.testing.script import RECORD_KINDS, Change, Script
from headrace.testing.service import JSON, Clock, Reply, Service
from headrace.testing.wire import Connection, Head

ACCOUNT: Final = "123456789012"
CONTROL: Final = "/_control/"
_PUT_RECORDS: Final = "Kinesis_20131202.PutRecords"


class Movable:
    """The machine's time, which can be moved ahead: sleepers that are then due wake at once."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._moved = asyncio.Event()

    def now_ms(self) -> int:
        """See ``Clock``."""
        return time.time_ns() // 1_000_000 + int(self._ahead_s * 1000)

    def monotonic_s(self) -> float:
        """See ``Clock``."""
        return time.monotonic() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Move the time ahead."""
        self._ahead_s += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        due_s = self.monotonic_s() + seconds
        while (rest_s := due_s - self.monotonic_s()) > 0:
            moved = self._moved
            try:
                async with asyncio.timeout(rest_s):
                    await moved.wait()
            except TimeoutError:
                return


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """Body of the control call that moves the clock."""

    advance_s: float


class ScriptedKinesis:
    """The server.

    Args:
        streams: Name to number of shards, created at the start.
        script: What goes wrong; ``follow`` changes it while running.
        clock: The time of quotas, delays and dates; ``headrace.clock.Manual`` fits. None: the machine's.
        record: File that every accepted record is appended to.
        keep: Keep accepted records in memory, for ``records`` and GetRecords.
        fast: Answer PutRecords without decoding it, see ``headrace.testing.fast``. Of the script,
            only the first plain rate of a ``throttle`` fault is looked at for PutRecords.
        account: Account id in ARNs and messages.
        region: Region in ARNs.
    """

    def __init__(
        self,
        *,
        streams: Mapping[str, int] | None = None,
        script: Script | None = None,
        clock: Clock | None = None,
        record: Path | None = None,
        keep: bool = True,
        fast: bool = False,
        account: str = ACCOUNT,
        region: str = "eu-west-1",
    ) -> None:
        self.clock: Clock = clock or Movable()
        self._recorder = Recorder(record) if record else None
        self.service = Service(
            script=Script(), clock=self.clock, account=account, region=region, recorder=self._recorder, keep=keep
        )
        for name, shards in (streams or {}).items():
            self.service.create(name, shards)
        self._account, self._is_fast = account, fast
        self._quick: FastAnswers | None = None
        self.follow(script or Script())
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheme = "http"
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def records(self) -> list[Written]:
        """Everything accepted so far, in the order of arrival."""
        return self.service.desk.records

    @property
    def counts(self) -> Counts:
        """What has been seen so far."""
        counts = self.service.desk.counts
        counts.faults = self.service.fault_counts()
        counts.open = len(self._connections)
        return counts

    def follow(self, script: Script) -> None:
        """Follow another script from now on."""
        self.service.follow(script)
        if self._is_fast:
            faults = [f for f in script.faults if f.kind in RECORD_KINDS and not (f.keys or f.shards)]
            self._quick = FastAnswers(
                stream=next(iter(self.service.catalog.streams), ""), account=self._account,
                rate=faults[0].rate if faults else 0.0, seed=script.seed,
                throttled=not faults or faults[0].kind == "throttle",
            )  # fmt: skip

    def change(self, change: Change) -> None:
        """Make a change to the streams, at once or before the put request that it names.

        Raises:
            ServiceError: It cannot be made.
        """
        self.service.change(change)

    async def start(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> Self:
        """Listen on 127.0.0.1; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port, ssl=tls, backlog=512)
        self._scheme = "https" if tls else "http"
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and cut every connection. May be called twice."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._connections):
                connection.abort()
            for task in self._tasks:
                task.cancel()
            await self._server.wait_closed()
            self._server = None
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    async def __aenter__(self) -> Self:
        return self if self._server else await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def fast(self, head: Head, buffer: bytearray) -> bytes | None:
        """See ``wire.Answerer``."""
        if self._quick is None or head.target != _PUT_RECORDS:
            return None
        return self._quick.answer(buffer, head.start, head.end, head.media)

    def answer(self, head: Head, request: Signed) -> Reply:
        """See ``wire.Answerer``."""
        if head.path.startswith(CONTROL):
            return self._control(head.path.removeprefix(CONTROL), request.body)
        return self.service.respond(head.target, head.media or JSON, request)

    def run(self, waiting: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """See ``wire.Answerer``."""
        task = asyncio.get_running_loop().create_task(waiting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def sleep(self, seconds: float) -> None:
        """See ``wire.Answerer``."""
        await self.clock.sleep(seconds)

    def date_s(self) -> float:
        """See ``wire.Answerer``."""
        return self.clock.now_ms() / 1000 + self.service.script.skew_s

    def opened(self, connection: Connection) -> None:
        """See ``wire.Answerer``."""
        self.service.desk.counts.connections += 1
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """See ``wire.Answerer``."""
        self._connections.discard(connection)

    def _control(self, what: str, body: bytes) -> Reply:
        """Answer a control call: script, change, clock, counts."""
        try:
            match what:
                case "script":
                    self.follow(msgspec.json.decode(body, type=Script))
                case "change":
                    self.change(msgspec.json.decode(body, type=Change))
                case "clock" if isinstance(self.clock, Movable):
                    self.clock.advance(msgspec.json.decode(body, type=Advance).advance_s)
                case "counts":
                    return Reply(body=msgspec.json.encode(self._all_counts()))
                case _:
                    return Reply(status=404)
        except (msgspec.DecodeError, ServiceError) as error:
            return Reply(status=400, body=msgspec.json.encode({"problem": str(error)}))
        return Reply(body=b"{}")

    def _all_counts(self) -> Counts:
        counts = self.counts
        if self._quick is None:
            return counts
        quick = self._quick
        return msgspec.structs.replace(
            counts,
            requests=counts.requests + quick.requests,
            puts=counts.puts + quick.requests,
            offered=counts.offered + quick.records,
            accepted=counts.accepted + quick.records - quick.failed,
            failed={"ProvisionedThroughputExceededException": quick.failed} if quick.failed else counts.failed,
        )
