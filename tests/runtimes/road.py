"""The whole road within a test: a source that remembers, an engine, a disk that can fail, streams that stay."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from headrace.clock import Clock, Manual
from headrace.core import canonical
from headrace.core.flow import CompiledFlow, MappedSegment, Snapshot
from headrace.destinations.base import Limits, Outcome
from headrace.destinations.memory import MemoryStream, Rule
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.options import Options
from headrace.runtimes.embedded.running import Target
from headrace.sources.base import Batch, Refused
from headrace.state.base import State
from headrace.state.keys import Keys
from headrace.state.memory import MemoryState
from headrace.state.rocksdb import RocksState
from headrace.testing.fold import FlowPlan, Folded, fold
from headrace.testing.judge import Verdict, content, judge
from tests.inline import Inline

T = TypeVar("T")

BOUND_S = 50
"""Real seconds after which a test is taken to hang."""
YEARS_MS = 10 * 365 * 86_400_000

KEY = b"k" * 32
KEYS = Keys()
VIP = ("ups", "vip")


# -- updates and flows ----------------------------------------------------------------------------


def update(
    number: int, *ids: str, vip: bool | None = None, at: int | None = None, update_id: str = "", **fields: Any
) -> bytes:
    """An update about identities like ``email:a``; *number* makes every message about it one of its own.

    Args:
        number: Value of the attribute ``n``, and the minute of its membership.
        ids: The first is the primary one.
        vip: Enters or leaves the audience; None says nothing of it.
        at: Minute of the membership, instead of *number*.
        update_id: The record's ``_id``.
        fields: Further attributes.
    """
    identities: dict[str, list[dict[str, Any]]] = {}
    for index, text in enumerate(ids):
        namespace, _, identity = text.partition(":")
        identities.setdefault(namespace, []).append({"id": identity, "primary": index == 0})
    record: dict[str, Any] = {"identityMap": identities, "n": number, **fields}
    if vip is not None:
        minute = number if at is None else at
        since = f"2026-01-{1 + minute // 1440:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z"
        status = "realized" if vip else "exited"
        record["segmentMembership"] = {"ups": {"vip": {"status": status, "lastQualificationTime": since}}}
    if update_id:
        record["_id"] = update_id
    return msgspec.json.encode(record)


def members(count: int, profiles: int, first: int = 0) -> list[bytes]:
    """Updates about members of the audience in turn; each makes one export a flow."""
    return [update(first + n, f"email:u{(first + n) % profiles}", vip=True) for n in range(count)]


def flow(flow_id: str = "f", **settings: Any) -> CompiledFlow:
    """A flow of the audience ``vip`` with the attribute ``n``."""
    fields = {"name": flow_id, "spec_id": "memory", "segments": {VIP[0]: {VIP[1]: MappedSegment()}}, "paths": ("n",)}
    return canonical.build(id=flow_id, **(fields | settings))


def snapshot(*compiled: CompiledFlow, **settings: Any) -> Snapshot:
    """A configuration of these flows, or of one."""
    return canonical.snapshot(compiled or [flow()], **settings)


# -- the source -----------------------------------------------------------------------------------


class Lines:
    """A source of given updates that notes what was acknowledged, over all its lives.

    Attributes:
        acknowledged: Updates acknowledged so far: a run from the first one, or the test fails.
        refused: (index, reason) of those acknowledged as refused.
        opened_at: Where each life began.
        kept: What is told of refused updates: see ``Batch.keep_refused``.
        resumes: Gives positions.
    """

    def __init__(
        self, bodies: Sequence[bytes], *, source_id: str = "lines", ids: Sequence[str | None] | None = None,
        resumes: bool = True, kept: bool = True, sizes: Callable[[], int] = lambda: 1000, ends: bool = True,
    ) -> None:  # fmt: skip
        self.id = source_id
        self.bodies = list(bodies)
        self.ids = ids
        self.kept, self.resumes, self.ends = kept, resumes, ends
        self.acknowledged = 0
        self.refused: list[tuple[int, str]] = []
        self.opened_at: list[int] = []
        self.fault: Exception | None = None
        self._sizes = sizes
        self._at = 0
        self._closed = asyncio.Event()

    async def open(self, position: bytes | None) -> None:
        self._at = int(position or b"0")
        assert self._at >= self.acknowledged or not self.resumes, "what was acknowledged is lost"
        self.acknowledged = self._at  # it may be durable although the power was cut before it was told
        self.opened_at.append(self._at)
        self._closed = asyncio.Event()

    async def read(self, most: int) -> Batch | None:
        await asyncio.sleep(0)
        if self._at >= len(self.bodies):
            if self.fault is not None:
                raise self.fault
            while not self.ends and not self._closed.is_set() and self._at >= len(self.bodies):
                await asyncio.sleep(0)
        if self._closed.is_set() or self._at >= len(self.bodies):
            return None
        first = self._at
        self._at = min(first + min(most, max(self._sizes(), 1)), len(self.bodies))
        last = self._at

        def acknowledge(refused: Sequence[Refused]) -> None:
            assert first == self.acknowledged, "acknowledged out of order, or twice"
            self.acknowledged = last
            self.refused += [(first + r.index, r.reason) for r in refused]

        return Batch(
            self.id, self.bodies[first:last], lambda index: f"line {first + index + 1}", self.position(), acknowledge,
            keep_refused=self.kept, ids=self.ids[first:last] if self.ids is not None else None,
        )  # fmt: skip

    def position(self) -> bytes | None:
        return b"%d" % self._at if self.resumes else None

    async def close(self) -> None:
        self._closed.set()

    def progress(self) -> tuple[int, int | None]:
        return self._at, len(self.bodies)


# -- disks ----------------------------------------------------------------------------------------


class PowerCut(Exception):  # noqa: N818 - not an error of the program
    """The machine stops here."""


class Brittle:
    """A state whose *step*-th commit or sync never returns: it is cut off before or after it was done.

    Attributes:
        steps: Commits and syncs so far, twice each: before and after.
    """

    def __init__(self, state: State, cut: int | None = None) -> None:
        self._state = state
        self._cut = cut
        self.steps = 0
        self.sync_fault: Exception | None = None
        self.commit_fault: Exception | None = None

    @property
    def at_work(self) -> bool:
        """True in the midst of a commit or sync."""
        return self.steps % 2 == 1 and (self._cut is None or self.steps < self._cut)

    def _step(self) -> None:
        self.steps += 1
        if self._cut is not None and self.steps >= self._cut:
            raise PowerCut

    def commit(self, batch: Any) -> None:
        self._step()
        if self.commit_fault is not None:
            raise self.commit_fault
        self._state.commit(batch)
        self._step()

    def sync(self) -> None:
        self._step()
        if self.sync_fault is not None:
            raise self.sync_fault
        self._state.sync()
        self._step()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)


class MemoryDisk:
    """A state in memory; a crash loses what was not synced."""

    def __init__(self) -> None:
        self.state = MemoryState()

    def open(self) -> State:
        return self.state

    def close(self) -> None: ...

    def crash(self) -> None:
        self.state.crash()


class RocksDisk:
    """A folder; a crash keeps what was committed, as a killed process does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state: RocksState | None = None

    def open(self) -> State:
        if self._state is None:
            self._state = RocksState(self._folder, cache_bytes=1 << 20, memtable_bytes=1 << 20)
        return self._state

    def close(self) -> None:
        if self._state is not None:
            self._state.close()
            self._state = None

    crash = close


Disk = MemoryDisk | RocksDisk


# -- the destination ------------------------------------------------------------------------------


class Writer:
    """Writes to a memory stream, in as many turns of the loop as the road says, or once it lets go."""

    def __init__(self, stream: MemoryStream, limits: Limits, road: Road) -> None:
        self.limits = limits
        self._stream = stream
        self._road = road

    async def write(self, records: Sequence[Any]) -> Sequence[Outcome]:
        road = self._road
        for _ in range(road.turns()):
            await asyncio.sleep(0)
        if road.held is not None:
            road.waiting += 1
            await road.held.wait()
            road.waiting -= 1
        if road.fault is not None:
            raise road.fault
        return self._stream.take(records)

    async def close(self) -> None: ...


class Arrived(NamedTuple):
    """A record for the judge."""

    stream: str
    data: bytes


# -- all together ---------------------------------------------------------------------------------


class Road:
    """A source, a disk and streams that outlive the engines between them.

    Attributes:
        streams: Flow id to its stream.
        held: Keeps back every answer of every writer while it is there and not set.
        waiting: Requests that wait for it.
        fault: Raised by every writer.
        engine: The engine of the current life.
        source: Where updates come from.
    """

    def __init__(
        self, disk: Disk, source: Lines, configuration: Snapshot | None = None, *, clock: Manual | None = None,
        limits: Limits | None = None, seed: int = 1, turns: Callable[[], int] = lambda: 1, **options: Any,
    ) -> None:  # fmt: skip
        self.disk, self.source = disk, source
        self.configuration = configuration or snapshot()
        self.clock = clock or Manual(auto=True)
        self.streams: dict[str, MemoryStream] = {}
        self.held: asyncio.Event | None = None
        self.waiting = 0
        self.fault: Exception | None = None
        # An automatic clock runs ahead while the disk works; what a test looks at must not be too old by then.
        self.options = Options(**({"batch_updates": 50, "journal_ms": YEARS_MS, "ledger_ms": YEARS_MS} | options))
        self.engine: Engine
        self.state: Brittle
        self.turns = turns
        self._limits = limits or Limits()
        self._rng = random.Random(seed)

    def stream(self, flow_id: str = "f") -> MemoryStream:
        """A flow's stream."""
        return self.streams.setdefault(flow_id, MemoryStream())

    def targets(self, configuration: Snapshot, identity: str = "", stream: str = "") -> dict[str, Target]:
        """Where each flow writes; another *identity* is another target."""
        return {
            f.id: Target(identity.encode(), lambda f=f: self._writer(stream or f.id))  # type: ignore[misc]
            for f in configuration.flows
        }

    def _writer(self, stream: str) -> Writer:
        return Writer(self.stream(stream), self._limits, self)

    def life(
        self, use: Callable[[Engine], Awaitable[T]], *, cut: int | None = None, checked: bool = True,
        clock: Clock | None = None, prepare: Callable[[], None] = lambda: None,
    ) -> T:  # fmt: skip
        """One life of the process, until *use* returns or the power is cut.

        Args:
            use: Uses the engine; running it is up to this.
            cut: See ``Brittle``; PowerCut is raised, and what was not durable is lost.
            checked: Hold the totals to I8 at every commit.
            clock: Instead of the road's.
            prepare: Called once the engine is there.
        """
        self.state = Brittle(self.disk.open(), cut)
        self.engine = Engine(
            state=self.state, snapshot=self.configuration, targets=self.targets(self.configuration),
            sources=[self.source], clock=clock or self.clock, rng=self._rng, installation_key=KEY,
            options=self.options,
        )  # fmt: skip
        if checked:
            self.engine.on_commit.append(self.engine.check)
        prepare()
        try:
            return asyncio.run(asyncio.wait_for(_used(use, self.engine), BOUND_S))
        except BaseException:
            self.disk.crash()
            raise

    def run(self, *, cut: int | None = None) -> Report:
        """Run to the end of the source and of its exports."""
        return self.life(lambda engine: engine.run(until_drained=True), cut=cut)

    def run_through(self, cuts: Sequence[int] = ()) -> int:
        """Run to the end through any number of power cuts; the number of lives."""
        for lives, cut in enumerate(cuts, 1):
            try:
                if self.run(cut=cut).drained:
                    return lives
            except PowerCut:
                assert self.source.acknowledged >= 0
        for lives in range(len(cuts) + 1, len(cuts) + 50):
            if self.run().drained:
                return lives
        raise AssertionError("never drained")

    # -- judging ----------------------------------------------------------------------------------

    def arrived(self, flow_id: str = "f") -> list[bytes]:
        """What a flow's stream holds, in order."""
        return [record.data for record in self.stream(flow_id).accepted]

    def folded(self, plans: Mapping[str, FlowPlan] | None = None) -> Folded:
        """What the updates should come to."""
        return fold(self.source.bodies, plans or {f.id: FlowPlan([VIP], ("n",)) for f in self.configuration.flows})

    def judged(self, folded: Folded | None = None) -> Verdict:
        """What the streams hold against what they should."""
        folded = folded or self.folded()
        records = [Arrived(f.id, data) for f in self.configuration.flows for data in self.arrived(f.id)]
        return judge(
            {f.id: folded.expected(f.id) for f in self.configuration.flows}, records, identify=content,
            joins=folded.joins,
        )  # fmt: skip


async def _used(use: Callable[[Engine], Awaitable[T]], engine: Engine) -> T:
    asyncio.get_running_loop().set_default_executor(Inline(lambda: 2))
    return await use(engine)


def refuse(road: Road, *rules: Rule, flow_id: str = "f") -> None:
    """Script refusals of a flow's stream from here on."""
    road.stream(flow_id).clear_rules()
    road.stream(flow_id).script(*rules)
