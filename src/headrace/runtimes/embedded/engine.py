"""The embedded runtime: one writer loop between sources, core, state and flows.

Here the parts are put together, and live and end together: ``intake`` reads the sources, ``rounds`` decide and
commit, ``running`` holds the flows, ``settling`` what they report, ``in_force`` the configuration. Only this loop
writes to the state.

Keeps U1-U5 of runtimes/base.py.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

from headrace.clock import Clock
from headrace.core.flow import Snapshot
from headrace.errors import BugError
from headrace.runtimes.base import SETTLE_WAIT_S, Report
from headrace.runtimes.embedded.audiences import Audiences
from headrace.runtimes.embedded.backfill import Backfills
from headrace.runtimes.embedded.caps import Cap
from headrace.runtimes.embedded.commands import Commands
from headrace.runtimes.embedded.counts import Counts
from headrace.runtimes.embedded.deletions import Deletions
from headrace.runtimes.embedded.discards import Discards
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.in_force import Change, InForce
from headrace.runtimes.embedded.inner import Within
from headrace.runtimes.embedded.intake import Intake
from headrace.runtimes.embedded.letters import Letters
from headrace.runtimes.embedded.options import Options
from headrace.runtimes.embedded.overflow import Overflow
from headrace.runtimes.embedded.rounds import Rounds
from headrace.runtimes.embedded.running import Running, Target
from headrace.runtimes.embedded.runs import Runs
from headrace.runtimes.embedded.settling import Settling
from headrace.runtimes.embedded.tally import added
from headrace.runtimes.embedded.timers import Timers
from headrace.runtimes.embedded.work import Work
from headrace.sources.base import Source
from headrace.state.base import State
from headrace.state.keys import Keys


class Engine:
    """See the module.

    Args:
        state: Where everything lies; the caller closes it.
        snapshot: The configuration.
        targets: Flow id to its target.
        sources: Where updates come from.
        clock: Time.
        rng: Jitter of retries; decides nothing else.
        installation_key: 32 bytes that name profiles.
        options: See ``Options``.
    """

    def __init__(
        self, *, state: State, snapshot: Snapshot, targets: Mapping[str, Target], sources: Sequence[Source],
        clock: Clock, rng: random.Random, installation_key: bytes, options: Options | None = None,
    ) -> None:  # fmt: skip
        self.options = options = options or Options()
        self._state, self._clock = state, clock
        self._keys = keys = Keys(options.sandbox)
        self._work = work = Work()
        self._counts = counts = Counts(state, keys)
        self.totals = counts.totals
        self.flows: dict[str, RunningFlow] = {}
        self.in_force = InForce(snapshot, targets, state=state, keys=keys, clock=clock, counts=counts, work=work)
        self.pauses = self.in_force.pauses
        self._commands = Commands(work.wake)
        self.submit, self.carry_out = self._commands.submit, self._commands.carry_out
        self.overflow = Overflow(state, keys, self.submit, self._overflow_changed)
        self.on_overflow: list[Callable[[str, str], None]] = []
        self._discards = Discards(state, keys, self.flows)
        self._settling = Settling(clock, work)
        self.tallies, self.stages = self._settling.tallies, self._settling.stages
        self.on_settled, self.on_answered = self._settling.on_settled, self._settling.on_answered
        self._running = Running(
            self.flows, state=state, keys=keys, clock=clock, rng=rng, options=options, counts=counts,
            discards=self._discards, overflow=self.overflow, settling=self._settling, work=work,
        )  # fmt: skip
        self._intake = Intake(
            sources, state=state, keys=keys, clock=clock, work=work, held=lambda: self.overflow.sources_held,
            most=options.batch_updates,
        )  # fmt: skip
        self._look_within()
        self._rounds = Rounds(
            self.snapshot, self.flows, state=state, keys=keys, clock=clock, options=options,
            installation_key=installation_key, counts=counts, work=work, intake=self._intake,
            commands=self._commands, within=self.within, timers=self._timers, settling=self._settling,
            discards=self._discards, overflow=self.overflow,
            cap=Cap(options.dead_letter_cap, self.totals, self.in_force.over_cap),
        )  # fmt: skip
        self.deletions.write_on(self._rounds.rolls)
        self.on_commit, self.on_round = self._rounds.on_commit, self._rounds.on_round
        self.started = asyncio.Event()
        self._drain_s = options.drain_timeout_s

    def _look_within(self) -> None:
        """Put together what gives inputs from within."""
        state, keys, now_ms, wake = self._state, self._keys, self._clock.now_ms, self._work.wake
        self.within = Within(self._clock, wake)
        self._timers = Timers(state, keys, lambda: self.snapshot)
        self.runs = Runs(
            state, keys, snapshot=lambda: self.snapshot, profiles=lambda: self.totals.profiles,
            ordinal=lambda: self._counts.cursor.ordinal, now_ms=now_ms, rate=self.options.backfill_rate, wake=wake,
        )  # fmt: skip
        self.backfills = Backfills(
            state, keys, self.runs, snapshot=lambda: self.snapshot, flows=self.flows, holding=self.overflow.holding
        )  # fmt: skip
        self.audiences = Audiences(
            state, keys, snapshot=lambda: self.snapshot, runs=self.runs, automatic=self.options.auto_backfill
        )  # fmt: skip
        self.letters = Letters(state, keys, snapshot=lambda: self.snapshot, totals=self.totals, wake=wake)
        self.deletions = Deletions(
            state, keys, flows=self.flows, snapshot=lambda: self.snapshot, totals=self.totals, now_ms=now_ms,
            wake=wake,
        )  # fmt: skip
        for source in (self._timers, self.audiences, self.letters, self.deletions, self.backfills):
            self.within.add(source)

    def _overflow_changed(self, flow_id: str, now: str) -> None:
        for told in self.on_overflow:
            told(flow_id, now)

    # -- faces ------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The configuration in force."""
        return self.in_force.snapshot

    @property
    def latency_ms(self) -> dict[int, int]:
        """Milliseconds from an input's commit to its export's settlement, to how many took so long."""
        return added(each.latency_ms for each in self.tallies.values())

    @property
    def exhausted(self) -> bool:
        """True once the sources have ended and everything they gave is decided."""
        return self.started.is_set() and not self._intake.reading and not self._intake.waiting

    @property
    def ready(self) -> bool:
        """True once the sources are read."""
        return self.started.is_set() and not self._work.stopping

    def stop(self, drain_s: float | None = None) -> None:
        """Stop reading, then drain; ``run`` returns when done.

        Args:
            drain_s: How long it goes on sending, instead of the option; counted from the first stop.
        """
        if drain_s is not None:
            self._drain_s = drain_s
        self._stop()
        self._work.wake()

    async def reconfigure(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> None:
        """Put another configuration in force between two batches; returns when it is.

        A flow that is gone keeps its pending exports on disk until it comes back.
        """
        await self.in_force.change(snapshot, targets)

    def discard_flow(self, flow_id: str) -> int:
        """Discard what waits of a flow that was deleted, and is no part of the configuration any more.

        Returns:
            How many exports; counted as discarded with the reason ``flow-deleted``.
        """
        return self._discards.flow_deleted(flow_id, self._counts)

    def report(self, *, timed_out: bool = False) -> Report:
        """How the flows stand now."""
        flows = self._running.reports()
        return Report(all(not f.pending for f in flows), timed_out, flows)

    def check(self) -> None:
        """Raise ``BugError`` when the totals do not add up (I8)."""
        t = self.totals
        if t.received != t.accepted + t.repeats + sum(t.refused.values()):
            raise BugError(problem=f"received {t.received} is not accepted, repeated and refused together")
        for flow_id, f in t.flows.items():
            if f.accepted != f.exported + sum(f.held.values()) or f.pending < 0:
                raise BugError(problem=f"the totals of flow {flow_id} do not add up")

    # -- life -------------------------------------------------------------------------------------

    async def run(self, *, until_drained: bool = False) -> Report:
        """Work until stopped, or with *until_drained* until the sources have ended and everything is settled.

        Returns:
            How the flows stand. After a stop: drained as far as ``drain_timeout_s`` allowed.

        Raises:
            StorageError: The disk refused; nothing of that batch was acknowledged.
            BugError: A part broke its contract.
        """
        try:
            self.in_force.keep()
            self._running.open(self.snapshot, self.in_force.targets)
            self._rounds.follow(self.snapshot)
            # First: a source that cannot be opened ends this before the folder counts as in use.
            await self._intake.begin()
            self._running.take_over()
            self._running.start()
            self.started.set()
            await self._work_on(until_drained=until_drained)
            return await self._finish()
        finally:
            self.within.close()
            await self._intake.let_go()
            for flow in self.flows.values():
                await flow.close(0.0)
            self.in_force.cancel()

    async def _work_on(self, *, until_drained: bool) -> None:
        """Round after round, until stopped or drained."""
        changes = self.in_force.changes
        while True:
            self._work.raise_failure()
            if changes:
                await self._put_in_force(changes[0])
                changes.popleft()
                continue
            if self._rounds.due or self._settling.many or self.within.ready():
                await self._rounds.round()
                continue
            # Sources that are held back by a flow that cannot go on are at their end as far as it gets.
            ended = not self._intake.reading or self.overflow.sources_held
            drained = until_drained and ended and not self._settling.waiting and self._running.done
            if self._work.stopping or (drained and not self.backfills.busy() and not self.deletions.busy()):
                return
            await self._work.wait()

    async def _put_in_force(self, change: Change) -> None:
        """Another configuration, or the same with other pauses."""
        snapshot, targets = self.in_force.begin(change), change.targets
        changed = self._running.adapt(snapshot, targets)
        if changed:
            # The other flows go on meanwhile. What was settled until then is stored by the old flow's outbox.
            closing = self._running.close(changed)
            await self._rounds.until(closing)
            await self._running.doubt(changed, closing.result())
            await self._rounds.settle()
            self._running.forget(changed)
        self.in_force.put(snapshot, targets)
        self.audiences.changed()
        self._running.open(snapshot, targets)
        self._running.start()
        # Budgets and policies may be others now, and the flow that held the sources back may be gone.
        self._rounds.follow(snapshot)
        if not change.done.done():
            change.done.set_result(None)

    def _stop(self) -> None:
        self._work.stopping = True
        self.overflow.stop()
        self.within.stop()
        self._intake.look()

    async def _finish(self) -> Report:
        """Drain: what was read is decided, what is on its way gets its time, the rest stays on disk."""
        self._stop()
        # A source may wait, while it closes, for what it handed over to be acknowledged: rounds go on meanwhile.
        ending = self._intake.end()
        begun = self._clock.monotonic_s()
        await self._rounds.until(ending)
        while self._intake.waiting or self._commands.waiting:
            await self._rounds.round()
        timed_out = False
        while not self._running.done:
            left = begun + self._drain_s - self._clock.monotonic_s()
            if left <= 0:
                timed_out = True
                break
            self._work.raise_failure()
            await self._rounds.settle()
            await self._work.wait_at_most(min(left, SETTLE_WAIT_S), self._clock)
        flows = list(self.flows.values())
        await self._running.doubt(flows, await self._running.close(flows))
        await self._rounds.settle()
        self._work.raise_failure()
        self._counts.cursor.alive = False
        self._counts.store()
        await asyncio.get_running_loop().run_in_executor(None, self._state.sync)
        return self.report(timed_out=timed_out)
