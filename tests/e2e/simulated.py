"""The embedded engine on RocksDB, with the Kinesis writer, on a time moved by hand: minutes of outage in seconds.

``python -m tests.e2e.simulated OUTAGE.json`` lives through one outage in a process of its own, so that its resident
memory is the engine's, and prints what it saw.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.clock import Manual
from headrace.core.flow import CompiledFlow
from headrace.destinations.base import Limits, Writer
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.options import Options
from headrace.runtimes.embedded.running import Target
from headrace.sources.base import Batch, Refused
from headrace.state.rocksdb import RocksState
from headrace.testing import Fault, Script
from headrace.testing.recording import Recorder
from headrace.testing.service import Service
from tests.inline import Inline
from tests.runtimes.road import KEY, flow, snapshot, update
from tests.wireless import WirelessWriter, service

LATENCY_S: Final = 0.02
"""Of an answer."""
TURNS: Final = 12
"""Turns of the loop in each step of the time."""
PEOPLE: Final = 5000
START_MS: Final = 1_700_000_000_000


def body(number: int, size_bytes: int, people: int = PEOPLE) -> bytes:
    """An update whose message says which one it is, about one of the people in turn."""
    return update(number, f"email:u{number % people}", vip=True, at=number % 1440, pad="x" * size_bytes)


def padded(flow_id: str, **settings: Any) -> CompiledFlow:
    """A flow of ``body``'s messages."""
    return flow(flow_id, paths=("n", "pad"), **settings)


class Steady:
    """A source that gives so many updates a second of the simulated time, and ends after *count*."""

    def __init__(self, clock: Manual, rate: float, count: int, make: Callable[[int], bytes]) -> None:
        self.id = "steady"
        self._clock, self._rate, self._make = clock, rate, make
        self.count = count
        self._at = 0
        self._begun_s: float | None = None
        self._first = 0
        self._closed = False

    async def open(self, position: bytes | None) -> None:
        self._at = self._first = int(position or b"0")
        self._begun_s, self._closed = self._clock.monotonic_s(), False

    async def read(self, most: int) -> Batch | None:
        assert self._begun_s is not None
        while not self._closed and self._at < self.count:
            due = self._first + int((self._clock.monotonic_s() - self._begun_s) * self._rate)
            if due > self._at:
                return self._batch(min(due, self._at + most, self.count))
            await self._clock.sleep(0.02)
        return None

    def _batch(self, last: int) -> Batch:
        first, self._at = self._at, last

        def acknowledge(refused: Sequence[Refused]) -> None:
            assert not refused

        made = [self._make(number) for number in range(first, last)]
        return Batch(self.id, made, lambda index: f"update {first + index}", self.position(), acknowledge)

    def position(self) -> bytes | None:
        return b"%d" % self._at

    async def close(self) -> None:
        self._closed = True

    def progress(self) -> tuple[int, int | None]:
        return self._at, self.count


class Simulation:
    """An engine on a folder and a scripted service, in one or more lives.

    Attributes:
        taken: Called with each record that a stream takes.
    """

    def __init__(
        self, folder: Path, flows: Sequence[CompiledFlow], streams: dict[str, int],
        source: Callable[[Manual], Steady], *, recording: Path, flow_memory_bytes: int = 2 << 20,
        step_s: float = 0.02,
    ) -> None:  # fmt: skip
        self.clock = Manual(START_MS)
        self.recorder = Recorder(recording)
        self.service: Service = service(self.clock, streams, recorder=self.recorder, keep=False)
        self.flows = flows
        self.source = source(self.clock)
        self._folder, self._step_s = folder, step_s
        self._options = Options(
            batch_updates=1000, flow_memory_bytes=flow_memory_bytes, cached_profiles=2000, journal_ms=0, ledger_ms=0,
            drain_timeout_s=0.0,
        )  # fmt: skip
        self._streams = list(streams)
        self.state: RocksState
        self.engine: Engine

    def stream_of(self, flow_id: str) -> str:
        """Each flow has a stream of its own name, or all share the only one."""
        return flow_id if flow_id in self._streams else self._streams[0]

    def live(self, use: Callable[[Simulation], Awaitable[None]]) -> Report:
        """One process: *use* moves the time while it runs; then it is stopped."""
        return asyncio.run(self._live(use))

    async def _live(self, use: Callable[[Simulation], Awaitable[None]]) -> Report:
        asyncio.get_running_loop().set_default_executor(Inline())
        self.state = RocksState(self._folder, cache_bytes=8 << 20, memtable_bytes=8 << 20)
        configuration = snapshot(*self.flows)
        rng = random.Random(7)
        targets = {f.id: self._target(self.stream_of(f.id)) for f in self.flows}
        self.engine = Engine(
            state=self.state, snapshot=configuration, targets=targets, sources=[self.source], clock=self.clock,
            rng=rng, installation_key=KEY, options=self._options,
        )  # fmt: skip
        running = asyncio.create_task(self.engine.run())
        self._running = running
        try:
            await use(self)
            self.engine.stop(0.0)
            while not running.done():
                await self._step()
            return await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            self.state.close()

    def _target(self, stream: str) -> Target:
        def opened() -> Writer:
            return WirelessWriter(
                stream, self.service, self.clock, limits=Limits(), timeout_s=5.0, latency_s=lambda: LATENCY_S
            )  # fmt: skip

        return Target(b"", opened, stream)

    async def _step(self) -> None:
        self.clock.advance(self._step_s)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def passes(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        """Let the time pass."""
        end_s = self.clock.monotonic_s() + seconds
        while self.clock.monotonic_s() < end_s:
            await self._step()
            if self._running.done():
                await self._running
            each()

    async def until(self, reached: Callable[[], bool], most_s: float) -> float:
        """Let the time pass until something is so; the seconds it took."""
        begun_s = self.clock.monotonic_s()
        while not reached():
            await self._step()
            if self._running.done():
                await self._running
            assert self.clock.monotonic_s() - begun_s < most_s, self.engine.totals.flows
        return self.clock.monotonic_s() - begun_s

    def pending(self, *flow_ids: str) -> int:
        """Exports that wait, of these flows or of all."""
        totals = self.engine.totals.flows
        return sum(totals[flow_id].pending for flow_id in flow_ids or totals)


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Outage(msgspec.Struct):
    """What to live through.

    Attributes:
        folder: For the data.
        updates: How many, spread over the outage.
        minutes: How long the destination of the first flow is down.
        flows: How many flows, each with a stream of its own.
        dead: The first one's is down.
        size_bytes: Of an update's padding.
    """

    folder: str
    updates: int
    minutes: float
    flows: int = 2
    dead: bool = True
    size_bytes: int = 550


class Seen(msgspec.Struct):
    """What was seen.

    Attributes:
        base_bytes: Resident before the first update.
        third_bytes: Resident after a third of the outage.
        most_bytes: The most resident until its end.
        backlog_bytes: Size on disk of what waited at its end.
        backlog: Exports that waited then.
        most_others: The most that any other flow had waiting at any time.
        drained_s: Simulated seconds until everything was delivered afterwards.
    """

    base_bytes: int = 0
    third_bytes: int = 0
    most_bytes: int = 0
    backlog_bytes: int = 0
    backlog: int = 0
    most_others: int = 0
    drained_s: float = 0.0


def live_through(outage: Outage) -> Seen:
    """Live through it."""
    folder = Path(outage.folder)
    names = [f"f{n}" for n in range(outage.flows)]
    down_s = outage.minutes * 60
    simulation = Simulation(
        folder / "db", [padded(name, metadata=True) for name in names], dict.fromkeys(names, 1),
        lambda clock: Steady(clock, outage.updates / down_s, outage.updates, lambda n: body(n, outage.size_bytes)),
        recording=folder / "received", step_s=0.05,
    )  # fmt: skip
    if outage.dead:
        simulation.service.follow(Script(faults=(Fault(kind="reset-before", stream=names[0]),)))
    seen = Seen(base_bytes=resident_bytes())
    steps = 0

    def look() -> None:
        nonlocal steps
        steps += 1
        if not steps % 20:
            seen.most_others = max(seen.most_others, *(simulation.pending(name) for name in names[1:]))
        if not steps % 200:
            seen.most_bytes = max(seen.most_bytes, resident_bytes())

    async def use(simulation: Simulation) -> None:
        await simulation.passes(down_s / 3, look)
        seen.third_bytes = resident_bytes()
        await simulation.passes(down_s * 2 / 3 + 1, look)
        seen.backlog_bytes = simulation.engine.flows[names[0]].outbox.stored_bytes
        seen.backlog = simulation.pending(names[0])
        simulation.service.follow(Script())
        seen.drained_s = await simulation.until(
            lambda: simulation.engine.exhausted and not simulation.pending(), 3600
        )  # fmt: skip

    simulation.live(use)
    simulation.recorder.close()
    return seen


if __name__ == "__main__":
    given = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Outage)
    sys.stdout.write(msgspec.json.encode(live_through(given)).decode())
