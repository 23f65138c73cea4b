"""One drawn case: an engine, a scripted Kinesis, and everything that can happen to both, in a drawn order.

The case ends when everything is settled; then the stream is judged against the independent fold. The same seed
is the same case: no thread takes part, and the time moves by waiting alone.

Two things are known not to hold and are not asked for. A record that was rejected, where the process crashed before
that was stored, is sent again; should it be taken this time, it comes after those behind it. And writes of unknown
fate of which a process knew and then crashed are counted once a record, not once a write.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from headrace.clock import Manual
from headrace.core.flow import CompiledFlow, PartitionKey, Snapshot
from headrace.destinations.base import Limits
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.options import Options
from headrace.runtimes.embedded.refold import refold
from headrace.runtimes.embedded.running import Target
from headrace.state import reading
from headrace.testing import Change, Fault, Quota, Script
from headrace.testing.fold import FlowPlan, fold
from headrace.testing.judge import content, judge
from tests.inline import Inline
from tests.runtimes.latest import differing, order_broken
from tests.runtimes.road import (
    KEY,
    KEYS,
    VIP,
    Arrived,
    Brittle,
    Disk,
    Lines,
    MemoryDisk,
    PowerCut,
    RocksDisk,
    flow,
    snapshot,
    update,
)
from tests.wireless import Watch, Watched, WirelessWriter, digest, service

STREAM: Final = "s"
PLAN: Final = FlowPlan([VIP], ("n", "team"))
POISON: Final = frozenset({"t0", "t1", "e0", "e1"})
"""Partition keys that a drawn fault refuses."""
TURNS: Final = 60_000
"""Turns of the loop in one life, after which it is taken to hang."""
FAULT_LIVES: Final = 4
"""Lives in which something is made to go wrong; the last one has peace."""


class Case(NamedTuple):
    """What came of one seed.

    Attributes:
        problems: What is wrong; empty when all is well.
        updates: Inputs.
        written: Records that the stream took.
        duplicates: Of those, repeats.
        lives: Processes.
        crashes: Of those, how many did not end by themselves.
        held: Inputs that a flow over its budget held back.
    """

    problems: list[str]
    updates: int
    written: int
    duplicates: int
    lives: int
    crashes: int
    held: int


class _Crash(Exception):  # noqa: N818 - not an error of the program
    """The process ends here."""


class World:
    """Everything around the engine that outlives it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = rng = random.Random(seed)
        self.clock = Manual(auto=True)
        on_disk = rng.random() < 0.08
        self.disk: Disk = RocksDisk(folder) if on_disk else MemoryDisk()
        self.tight = rng.random() < 0.3
        self.quiet = self.tight and rng.random() < 0.5
        """A merge alone exports nothing, and some updates write nothing that is mapped."""
        self.plan = PLAN._replace(triggers=("segment", "attribute")) if self.quiet else PLAN
        self.flows = [self._flow(name) for name in (["f", "g"] if rng.random() < 0.5 else ["f"])]
        self.paused: set[str] = set()
        self.identity = 0
        self.bodies = self._bodies(rng.randrange(20, 130))
        self.source = Lines(self.bodies, sizes=lambda: rng.randrange(1, 20))
        self.service = service(self.clock, {STREAM: rng.randrange(1, 5)})
        self.watch = Watch()
        self.limits = Limits(records=rng.choice([1, 2, 5, 20]), in_flight=rng.choice([1, 2, 8]))
        self.timeout_s = rng.choice([0.5, 30.0])
        self.options = Options(
            batch_updates=rng.choice([5, 20, 60]), flow_memory_bytes=rng.choice([0, 20_000, 1 << 20]),
            linger_s=rng.choice([0.0, 0.02]), cached_profiles=rng.choice([1, 8, 1000]), journal_ms=10**12,
            ledger_ms=10**12, drain_timeout_s=rng.choice([0.0, 1.0, 60.0]),
        )  # fmt: skip
        self.lives = self.crashes = 0
        self.engine: Engine | None = None
        self._peace = False

    def _flow(self, name: str) -> CompiledFlow:
        rng = self.rng
        settings: dict[str, Any] = {"metadata": True, "paths": ("n", "team")}
        if rng.random() < 0.3:
            settings["partition_key"] = PartitionKey("attribute", steps=("team",))
        elif rng.random() < 0.2:
            settings["partition_key"] = PartitionKey("identity", namespace="email")
        if self.tight:
            settings["disk_budget_bytes"] = rng.choice([1500, 5000])
            settings["overflow"] = "catch-up" if self.quiet else rng.choice(["catch-up", "stop-sources"])
            settings["trigger_identity"] = not self.quiet
        return flow(name, **settings)

    def _bodies(self, count: int) -> list[bytes]:
        rng = self.rng
        crowd = rng.choice([3, 8, 30])
        ids = [f"email:e{n}" for n in range(crowd)] + [f"ecid:c{n}" for n in range(crowd)]
        joins = rng.choice([1, 1, 3])
        teams: list[Callable[[], dict[str, Any]]] = [dict, lambda: {"team": f"t{rng.randrange(4)}"}]
        made = [
            update(
                n,
                *rng.sample(ids, rng.choice([1] * 9 + [2] * joins)),
                vip=rng.choice([True, True, True, False, None]),
                **teams[rng.random() < 0.3](),
            )
            for n in range(count)
        ]
        return [body.replace(b'"n":', b'"unmapped":') if self.quiet and rng.random() < 0.3 else body for body in made]

    def snapshot(self) -> Snapshot:
        """The configuration now."""
        return snapshot(*(msgspec.structs.replace(f, paused=f.id in self.paused) for f in self.flows))

    def targets(self) -> dict[str, Target]:
        """Where the flows write: all to one stream."""
        return {f.id: Target(b"%d" % self.identity, self._writer, STREAM) for f in self.flows}

    def _writer(self) -> Watched:
        rng = self.rng
        writer = WirelessWriter(
            STREAM, self.service, self.clock, limits=self.limits, timeout_s=self.timeout_s,
            latency_s=lambda: rng.choice([0.0, 0.001, 0.02, 0.2]),
        )  # fmt: skip
        return Watched(writer, self.watch)

    # -- what goes wrong --------------------------------------------------------------------------

    def script(self) -> Script:
        """Drawn faults. All end, but those that last until the next script."""
        rng = self.rng
        shards = [shard.id for shard in self.service.catalog.streams[STREAM].open_shards]
        faults = [self._fault(shards) for _ in range(rng.choice([0, 1, 1, 2, 3, 4]))]
        quota = None
        if rng.random() < 0.3:
            slow = {rng.choice(shards): 0.1} if rng.random() < 0.5 else {}
            quota = Quota(records_per_s=rng.choice([10.0, 40.0]), burst_s=rng.choice([0.1, 1.0]), factors=slow)
        return Script(faults=tuple(faults), quota=quota, seed=rng.randrange(1 << 30), shuffle=rng.random() < 0.3)

    def _fault(self, shards: list[str]) -> Fault:
        rng = self.rng
        few = rng.choice([1, 3, 20])
        rate = rng.choice([0.05, 0.3, 1.0])
        kind = rng.choice(
            ["throttle", "throttle", "fail", "refuse", "refuse-5xx", "refuse-after", "timeout-before",
             "timeout-after", "reset-before", "reset-after", "slow", "lag", "wrong-count", "unparsable", "halt",
             "halt", "poison", "shard"]
        )  # fmt: skip
        skip = rng.randrange(10)
        match kind:
            case "throttle" | "fail":
                return Fault(kind=kind, rate=rate, times=few * 5, skip=skip)
            case "shard":
                return Fault(kind="throttle", shards=(rng.choice(shards),), times=few * 10)
            case "refuse":
                code = rng.choice(["LimitExceededException", "KMSThrottlingException", "RequestExpired"])
                return Fault(kind="refuse", code=code, status=400, times=few, rate=rate, skip=skip)
            case "refuse-5xx":
                return Fault(kind="refuse", code="InternalFailure", status=500, times=few, rate=rate, skip=skip)
            case "halt":
                code = rng.choice(["AccessDeniedException", "ResourceNotFoundException", "KMSDisabledException"])
                return Fault(kind="refuse", code=code, status=400, times=rng.choice([1, 2, 4]), skip=skip)
            case "poison":
                key = rng.choice(sorted(POISON))
                return Fault(kind="refuse", code="ValidationException", status=400, keys=(key,), times=few, rate=rate)
            case "slow" | "lag":
                return Fault(kind=kind, delay_s=rng.choice([0.1, 5.0, 60.0]), times=few, rate=rate, skip=skip)
            case _:
                return Fault(kind=kind, times=few, rate=rate, skip=skip)  # type: ignore[arg-type]

    def reshard(self) -> None:
        """Split a shard, or join two."""
        stream = self.service.catalog.streams[STREAM]
        shards = stream.open_shards
        if len(shards) > 1 and self.rng.random() < 0.4:
            at = self.rng.randrange(len(shards) - 1)
            self.service.change(Change(do="merge", stream=STREAM, shard=shards[at].id, with_shard=shards[at + 1].id))
        elif len(shards) < 8:
            self.service.change(Change(do="split", stream=STREAM, shard=self.rng.choice(shards).id))

    # -- lives ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live until everything is settled."""
        for life in range(60):
            self._peace = life >= FAULT_LIVES
            if self._peace:
                self.service.follow(Script())
                self.paused.clear()
            else:
                self.service.follow(self.script())
            try:
                if self._live() and self._peace:
                    return
            except (PowerCut, _Crash):
                self.crashes += 1
                self.watch.crash()
        raise AssertionError("never drained")

    def _live(self) -> bool:
        """One process; true when everything is settled."""
        rng = self.rng
        self.lives += 1
        cut = rng.randrange(3, 120) if not self._peace and rng.random() < 0.6 else None
        state = Brittle(self.disk.open(), cut)
        self.engine = engine = Engine(
            state=state, snapshot=self.snapshot(), targets=self.targets(), sources=[self.source], clock=self.clock,
            rng=random.Random(rng.random()), installation_key=KEY, options=self.options,
        )  # fmt: skip
        engine.on_commit.append(engine.check)
        try:
            report = asyncio.run(self._process(engine, state))
            self.watch.ended()
            return report.drained and engine.exhausted and not engine.overflow.catching_up
        except BaseException:
            self.disk.crash()
            raise

    async def _process(self, engine: Engine, state: Brittle) -> Report:
        asyncio.get_running_loop().set_default_executor(Inline(lambda: self.rng.choice([0, 1, 5, 30])))
        running = asyncio.create_task(engine.run(until_drained=True))
        moments = (
            sorted(self.rng.randrange(self.rng.choice([60, 300, 1500])) for _ in range(self.rng.randrange(8)))
            if not self._peace
            else []
        )
        tasks: list[asyncio.Task[None]] = []
        try:
            for turn in range(TURNS):
                await asyncio.sleep(0)
                if running.done():
                    return await running
                if moments and turn >= moments[0]:
                    moments.pop(0)
                    self._happen(engine, state, tasks)
            raise AssertionError(
                f"hangs: {self.source.acknowledged} of {len(self.bodies)} acknowledged, "
                f"{engine.totals.flows}, {engine.overflow.__dict__}"
            )
        finally:
            state._cut = 0  # nothing is written once the process has ended
            running.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(running, *tasks, return_exceptions=True)

    def _happen(self, engine: Engine, state: Brittle, tasks: list[asyncio.Task[None]]) -> None:
        """One drawn event."""
        rng = self.rng
        chosen = rng.random()
        if chosen < 0.12:
            raise _Crash
        if chosen < 0.3:
            engine.stop(rng.choice([None, 0.0, 2.0]))
        elif chosen < 0.55:
            self.service.follow(self.script())
        elif chosen < 0.7:
            self.reshard()
        elif engine.started.is_set():
            if chosen < 0.85:
                self.identity += 1
            else:
                self.paused ^= {rng.choice(self.flows).id}
            tasks.append(asyncio.create_task(engine.reconfigure(self.snapshot(), self.targets())))

    # -- judging ----------------------------------------------------------------------------------

    def judged(self) -> Case:
        """Hold what the stream took to what the updates come to."""
        arrived: dict[str, list[bytes]] = {f.id: [] for f in self.flows}
        of_flow = msgspec.json.Decoder(_Message).decode
        records = [record.data for record in self.service.desk.records]
        unsure: dict[str, set[Hashable]] = {f.id: set() for f in self.flows}
        for data in records:
            flow_id = of_flow(data).metadata.flow
            if digest(data) in self.watch.unrejected:
                unsure[flow_id].add(content(data))
            else:
                arrived[flow_id].append(data)
        problems: list[str] = []
        letters: dict[str, set[Hashable]] = {f.id: set() for f in self.flows}
        for letter in reading.dead_letters(self.disk.open(), KEYS, limit=10**6, kind="export"):
            assert letter.export is not None
            letters[letter.flow].add(content(letter.export.data))
            if letter.export.key not in POISON:
                problems.append(f"rejected beside another: {letter.export.data!r}")
        problems += [f"written again without need: {data!r}" for data in self.watch.broken[:3]]
        plain = [f for f in self.flows if f.overflow != "catch-up" or not self.tight]
        for f in self.flows:
            problems += [f"{f.id}: {wrong}" for wrong in order_broken(arrived[f.id])]
            if f not in plain and not letters[f.id] and not unsure[f.id]:
                problems += [f"{f.id}: {wrong}" for wrong in differing(self.bodies, self.plan, arrived[f.id])]
        folded = fold(self.bodies, {f.id: PLAN for f in plain})
        expected = {
            f.id: {
                profile: [message for message in messages if message not in unsure[f.id]]
                for profile, messages in folded.expected(f.id).items()
            }
            for f in plain
        }
        verdict = judge(
            expected,
            [Arrived(f.id, data) for f in plain for data in arrived[f.id]], identify=content, joins=folded.joins,
        )  # fmt: skip
        dead = sum(len(letters[f.id].difference(unsure[f.id], map(content, arrived[f.id]))) for f in plain)
        if verdict.lost.count != dead or verdict.unexpected.count or verdict.disorder.count:
            problems.append(f"{verdict}\n{dead} dead letters")
        known = self.watch.doubted | self.watch.crashed
        twice = [data for data, times in Counter(records).items() if times > 1 and digest(data) not in known]
        problems += [f"a repeat without reason: {data!r}" for data in twice[:3]]
        problems += self._counted(arrived if not any(unsure.values()) else None)
        compared = refold(self.disk.open(), KEYS, KEY)
        if not compared.same:
            problems.append(str(compared))
        duplicates = len(records) - len(set(records))
        assert self.engine is not None
        held = sum(counted.held.get("catch-up", 0) for counted in self.engine.totals.flows.values())
        return Case(problems, len(self.bodies), len(records), duplicates, self.lives, self.crashes, held)

    def _counted(self, arrived: dict[str, list[bytes]] | None) -> list[str]:
        """The totals say what the stream took; repeats are of records in doubt, and counted."""
        assert self.engine is not None
        problems = []
        for flow_id, counted in self.engine.totals.flows.items():
            if counted.pending or counted.exported != counted.delivered + counted.dead_lettered:
                problems.append(f"{flow_id} is not settled: {counted}")
            if arrived is None:
                continue
            once = set(arrived[flow_id])
            if not counted.delivered <= len(once) <= counted.exported:
                problems.append(f"{flow_id}: {len(once)} different messages on the stream, {counted}")
            repeats = len(arrived[flow_id]) - len(once)
            if repeats > counted.possible_duplicates + self.watch.forgotten:
                problems.append(f"{flow_id}: {repeats} repeats on the stream, {counted}")
        return problems


class _Metadata(msgspec.Struct, rename="camel"):
    flow: str = msgspec.field(name="flowId")


class _Message(msgspec.Struct):
    metadata: _Metadata = msgspec.field(name="_headrace")


def run_case(seed: int, folder: Path, look: Callable[[World], None] = lambda _: None) -> Case:
    """Live through one seed and judge it."""
    world = World(seed, folder)
    look(world)
    try:
        world.run()
        return world.judged()
    except AssertionError as error:
        return Case([f"seed {seed}: {error}"], len(world.bodies), 0, 0, world.lives, world.crashes, 0)
    finally:
        world.disk.close()
