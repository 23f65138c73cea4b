"""One round of the loop: take what is there, decide it, commit it with what was settled, acknowledge, hand over.

Only a round writes what follows from inputs. The order within it is what keeps U1-U5 (runtimes/base.py): nothing is
acknowledged, sent or told before the commit it follows from is synced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from headrace.clock import Clock
from headrace.core.flow import Snapshot
from headrace.core.model import Backfill
from headrace.runtimes.embedded.caps import Cap
from headrace.runtimes.embedded.commands import Commands
from headrace.runtimes.embedded.counts import Counts
from headrace.runtimes.embedded.decide import Decider
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.discards import Discards
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.housekeeping import Housekeeping
from headrace.runtimes.embedded.inner import Within
from headrace.runtimes.embedded.intake import Intake
from headrace.runtimes.embedded.options import Options
from headrace.runtimes.embedded.outbox import Staged
from headrace.runtimes.embedded.overflow import Overflow, with_overflowing
from headrace.runtimes.embedded.settle import store_refused, store_settled
from headrace.runtimes.embedded.settling import Settling
from headrace.runtimes.embedded.stages import Round
from headrace.runtimes.embedded.timers import Timers
from headrace.runtimes.embedded.work import Work
from headrace.sources.base import Batch as SourceBatch
from headrace.state.base import Batch, State
from headrace.state.keys import JOURNAL, LEDGER, POSITION, Keys
from headrace.state.pages import Roll

_SYNC_S: Final = 1.0
"""Settlements that no input follows are synced so often: a power cut makes no more of them repeats."""
_INNER_AT_ONCE: Final = 500
"""Most inputs from within that are decided at once, so that they never hold up the sources for long."""
_NOTHING: Final = Decision(0, 0)


class Rounds:
    """See the module.

    Args:
        snapshot: The configuration to begin with.
        flows: The flows at work, by id.
        state: Where everything lies.
        keys: Of the sandbox.
        clock: Time.
        options: Sizes and ages.
        installation_key: 32 bytes that name profiles.
        counts: What is counted into, and where the next input's ordinal is.
        work: Wakes ``until``.
        intake: Gives the sources' updates.
        commands: Gives inputs that were submitted.
        within: Gives inputs from within.
        timers: Told of memberships that will end.
        settling: Gives what was settled.
        discards: Told what must not be sent any more.
        overflow: Looks at the flows' budgets.
        cap: Looks at the flows' dead letters.

    Attributes:
        rolls: What it writes of journal and ledger, by space.
        on_round: Called with each commit's figures.
        on_commit: Called after each commit.
    """

    def __init__(
        self, snapshot: Snapshot, flows: dict[str, RunningFlow], *, state: State, keys: Keys, clock: Clock,
        options: Options, installation_key: bytes, counts: Counts, work: Work, intake: Intake, commands: Commands,
        within: Within, timers: Timers, settling: Settling, discards: Discards, overflow: Overflow, cap: Cap,
    ) -> None:  # fmt: skip
        self._snapshot, self._flows = snapshot, flows
        self._state, self._keys, self._clock, self._options = state, keys, clock, options
        self._counts, self._work = counts, work
        self._intake, self._commands, self._within, self._timers = intake, commands, within, timers
        self._settling, self._discards, self._overflow, self._cap = settling, discards, overflow, cap
        self._decider = Decider(
            state, keys, snapshot, installation_key, dedup_window_ms=options.dedup_window_ms,
            cached=options.cached_profiles,
        )  # fmt: skip
        rows = options.page_rows
        self._journal = Roll(state, keys, JOURNAL, kept=options.journal_ms > 0, page_rows=rows)
        self._ledger = Roll(state, keys, LEDGER, kept=options.ledger_ms > 0, page_rows=rows)
        self.rolls = {JOURNAL: self._journal, LEDGER: self._ledger}
        self._housekeeping = Housekeeping(
            state, keys, clock, options, self._decider, self._journal, self._ledger, discards.sweep
        )
        self._housekeeping.begin(counts.cursor.ordinal)
        self._synced_s = 0.0
        self.on_round: list[Callable[[Round], None]] = []
        self.on_commit: list[Callable[[], None]] = []

    def follow(self, snapshot: Snapshot) -> None:
        """Decide by this configuration from now on, and by the flows' budgets in it."""
        self._snapshot = snapshot
        self._decider.snapshot = with_overflowing(snapshot, frozenset(self._overflow.overflowing))
        self._look_at_budgets()

    @property
    def due(self) -> bool:
        """True when a source or a command waits to be decided, or settlements have waited long enough."""
        return self._intake.waiting or self._commands.waiting or self._settling.due

    async def until(self, ended: asyncio.Future[Any]) -> None:
        """Go on deciding and storing while something else takes its time."""
        ended.add_done_callback(lambda _: self._work.wake())
        while not ended.done():
            if self.due:
                await self.round()
                continue
            await self._work.wait()

    async def settle(self) -> None:
        """Store what was settled, if anything was."""
        if self._settling.waiting:
            await self.round()

    async def round(self) -> None:
        """Decide, commit, sync, acknowledge, hand over."""
        counts, clock = self._counts, self._clock
        began_s = clock.monotonic_s()
        first = counts.cursor.ordinal
        batches = self._intake.take()
        commands = self._commands.take(self._options.batch_updates)
        settled = self._settling.take()
        refusals = [(f.dispatcher, list(f.dispatcher.refused)) for f in self._flows.values() if f.dispatcher.refused]
        now_ms = clock.now_ms()
        write = self._state.batch()
        decision: Decision | None = None
        staged: list[tuple[RunningFlow, list[Staged]]] = []
        inner, updates = self._within.take(_INNER_AT_ONCE, now_ms, write)
        batches += updates
        if batches or commands or inner:
            decision, staged = self._stage_inputs(batches, [*commands, *inner], now_ms, write)
            self._timers.noted(decision.soonest_ms)
        self._within.decided(decision or _NOTHING, len(commands), now_ms, write)
        if settled:
            store_settled(settled, now_ms, self._keys, counts.cursor, counts.totals, write, self._ledger)
            self._cap.look(counts.totals, now_ms)
        counts.put(write)
        decided_s = clock.monotonic_s()
        self._state.commit(write)
        await self._sync(at_once=decision is not None or bool(refusals))
        for dispatcher, places in refusals:
            dispatcher.stored(places)
        if decision is not None:
            self._hand_over(decision, staged, batches)
        for command in commands:
            if isinstance(command, Backfill):
                self._overflow.done(command)
        self._commands.durable(commands)
        self._look_at_budgets()
        done = Round(
            first, counts.cursor.ordinal - 1, now_ms, began_s - self._intake.oldest_s if batches else 0.0,
            decided_s - began_s, clock.monotonic_s() - decided_s, sum(len(each) for _, each in settled),
        )  # fmt: skip
        self._tell(done)
        self._housekeeping.look(now_ms, counts.cursor.ordinal)

    def _stage_inputs(
        self, batches: Sequence[SourceBatch], commands: Sequence[Command], now_ms: int, write: Batch
    ) -> tuple[Decision, list[tuple[RunningFlow, list[Staged]]]]:
        """Decide inputs, and put all that follows from them into the write."""
        cursor, totals = self._counts.cursor, self._counts.totals
        first = cursor.ordinal
        decision = self._decider.decide(batches, commands, first, now_ms, totals, write)
        if decision.journal is not None:
            self._journal.put(write, first, decision.journal)
        staged = []
        for compiled, exports in zip(self._snapshot.flows, decision.exports, strict=True):
            if exports:
                flow = self._flows[compiled.id]
                staged.append((flow, flow.outbox.stage(write, exports)))
        cursor.ordinal = decision.last + 1
        for source, refused in zip(batches, decision.refused, strict=True):
            if refused and source.keep_refused:
                store_refused(source, refused, now_ms, self._keys, cursor, totals, write)
            if source.position is not None:
                write.put(self._keys.named(POSITION, source.source), source.position)
        return decision, staged

    async def _sync(self, *, at_once: bool) -> None:
        """Have the commits on disk: at once, or now and then."""
        now_s = self._clock.monotonic_s()
        if at_once or now_s - self._synced_s >= _SYNC_S:
            self._synced_s = now_s
            await asyncio.get_running_loop().run_in_executor(None, self._state.sync)

    def _hand_over(
        self, decision: Decision, staged: list[tuple[RunningFlow, list[Staged]]], batches: Sequence[SourceBatch]
    ) -> None:
        """It is durable: the flows may send it, and the sources forget it."""
        for flow, blocks in staged:
            flow.outbox.committed(blocks, decision.last)
        self._discards.committed(decision.discards)
        for source, refused in zip(batches, decision.refused, strict=True):
            source.acknowledge(refused)

    def _look_at_budgets(self) -> None:
        if self._overflow.look(self._flows, self._counts.cursor.ordinal):
            self._decider.snapshot = with_overflowing(self._snapshot, frozenset(self._overflow.overflowing))
        if not self._overflow.sources_held:
            self._intake.look()

    def _tell(self, done: Round) -> None:
        self._settling.stages.round(done)
        for seen in self.on_round:
            seen(done)
        for told in self.on_commit:
            told()
