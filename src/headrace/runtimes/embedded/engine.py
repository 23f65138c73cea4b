"""The embedded runtime: one writer loop between sources, core, state and flows.

One round: take what the sources have, decide it, commit it with what was settled meanwhile, sync in a thread,
then acknowledge and hand the exports to their flows. Only this loop writes to the state.

Keeps U1-U5 of runtimes/base.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace import logs
from headrace.clock import Clock
from headrace.core.flow import CompiledFlow, Snapshot, canonical
from headrace.core.model import Backfill
from headrace.destinations.base import Writer
from headrace.destinations.dispatch import Pending
from headrace.destinations.rates import StreamControl
from headrace.errors import BugError, RefusedError
from headrace.runtimes.base import SETTLE_WAIT_S, FlowReport, Report
from headrace.runtimes.embedded.audiences import Audiences
from headrace.runtimes.embedded.backfill import Backfills
from headrace.runtimes.embedded.caps import Cap
from headrace.runtimes.embedded.decide import Command, Decider, Decision
from headrace.runtimes.embedded.deletions import Deletions
from headrace.runtimes.embedded.discards import Discards
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.housekeeping import Housekeeping
from headrace.runtimes.embedded.inner import Within
from headrace.runtimes.embedded.letters import Letters
from headrace.runtimes.embedded.options import Options
from headrace.runtimes.embedded.outbox import Staged
from headrace.runtimes.embedded.overflow import Overflow, with_overflowing
from headrace.runtimes.embedded.pauses import Pauses
from headrace.runtimes.embedded.settle import store_refused, store_settled
from headrace.runtimes.embedded.stages import Round, Stages
from headrace.runtimes.embedded.tally import Tally, added
from headrace.runtimes.embedded.timers import Timers
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Source
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import CONFIGURATION, HEADS, JOURNAL, LEDGER, OUTBOX, POSITION, SETTLED, STALE, Keys
from headrace.state.pages import Roll

_SETTLED_AT_ONCE: Final = 2000
_GRACE_S: Final = 5.0
"""How long requests under way are waited for when a flow is closed: what is not answered is sent again."""
_LET_GO_S: Final = 1.0
"""How long a source may take to close when the engine has failed."""
_SYNC_S: Final = 1.0
"""Settlements that no input follows are synced so often: a power cut makes no more of them repeats."""
_INNER_AT_ONCE: Final = 500
"""Most inputs from within that are decided at once, so that they never hold up the sources for long."""
_NOTHING: Final = Decision(0, 0)


class Target(msgspec.Struct, frozen=True):
    """A flow's writer, made when needed, what identifies its parameters, and the place it shares with others."""

    identity: bytes
    open: Callable[[], Writer]
    place: str = ""


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
        self.options = options or Options()
        self._state = state
        self._keys = Keys(self.options.sandbox)
        self._clock = clock
        self._rng = rng
        self.configured = snapshot
        self.pauses = Pauses(state, self._keys)
        self._snapshot = self.pauses.applied(snapshot)
        self._targets = dict(targets)
        self._sources = list(sources)
        self._decider = Decider(
            state, self._keys, self._snapshot, installation_key, dedup_window_ms=self.options.dedup_window_ms,
            cached=self.options.cached_profiles,
        )  # fmt: skip
        stored_totals, stored_cursor = state.get_many([self._keys.totals, self._keys.cursor])
        self.totals = records.decode_totals(stored_totals) if stored_totals else records.Totals()
        self._cursor = records.decode_cursor(stored_cursor) if stored_cursor else records.Cursor()
        rows = self.options.page_rows
        self._journal = Roll(state, self._keys, JOURNAL, kept=self.options.journal_ms > 0, page_rows=rows)
        self._ledger = Roll(state, self._keys, LEDGER, kept=self.options.ledger_ms > 0, page_rows=rows)
        self._housekeeping = Housekeeping(
            state, self._keys, clock, self.options, self._decider, self._journal, self._ledger,
            lambda batch: self._discards.sweep(batch),
        )  # fmt: skip
        self._housekeeping.begin(self._cursor.ordinal)
        self.flows: dict[str, RunningFlow] = {}
        self._discards = Discards(state, self._keys, self.flows)
        self._controls: dict[str, StreamControl] = {}
        self.overflow = Overflow(state, self._keys, self.submit, self._overflow_changed)
        self.on_overflow: list[Callable[[str, str], None]] = []
        self._inputs: deque[SourceBatch] = deque()
        self._queued = 0
        self._commands: deque[Command] = deque()
        self._carried: dict[int, asyncio.Future[None]] = {}
        """What waits for a command to be decided, by the command's identity."""
        self._settled: list[tuple[RunningFlow, Sequence[Pending]]] = []
        self._settled_count = 0
        self._oldest_s = 0.0
        self._settle_due = False
        self._work = asyncio.Event()
        self._look_within()
        self._space = asyncio.Event()
        self._open_sources = 0
        self._stopping = False
        self.started = asyncio.Event()
        self._reconfigurations: deque[tuple[Snapshot | None, dict[str, Target], asyncio.Future[None]]] = deque()
        self._synced_s = 0.0
        self._failure: BaseException | None = None
        self._drain_s = self.options.drain_timeout_s
        self.tallies: dict[str, Tally] = {}
        self.on_commit: list[Callable[[], None]] = []
        self.on_settled: list[Callable[[str, Sequence[Pending], int], None]] = []
        self.stages = Stages()
        self.on_round: list[Callable[[Round], None]] = []
        self.on_answered: list[Callable[[str, Sequence[Pending], float], None]] = []
        self._arrived_s: deque[float] = deque()
        """When each batch of ``_inputs`` came."""

    def _look_within(self) -> None:
        """Put together what gives inputs from within."""
        state, keys, now_ms = self._state, self._keys, self._clock.now_ms
        self.within = Within(self._clock, self.wake)
        self._timers = Timers(state, keys, lambda: self._snapshot)
        self.backfills = Backfills(
            state, keys, snapshot=lambda: self._snapshot, flows=self.flows, holding=self.overflow.holding,
            profiles=lambda: self.totals.profiles, ordinal=lambda: self._cursor.ordinal, now_ms=now_ms,
            rate=self.options.backfill_rate, wake=self.wake,
        )  # fmt: skip
        self.audiences = Audiences(
            state, keys, snapshot=lambda: self._snapshot, backfills=self.backfills,
            automatic=self.options.auto_backfill,
        )  # fmt: skip
        self.letters = Letters(state, keys, snapshot=lambda: self._snapshot, totals=self.totals, wake=self.wake)
        self._cap = Cap(self.options.dead_letter_cap, self.totals, self._over_cap)
        self.deletions = Deletions(
            state, keys, flows=self.flows, snapshot=lambda: self._snapshot, totals=self.totals, now_ms=now_ms,
            wake=self.wake,
        )  # fmt: skip
        for source in (self._timers, self.audiences, self.letters, self.deletions, self.backfills):
            self.within.add(source)

    # -- faces ------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The configuration in force."""
        return self._snapshot

    def _apply_pauses(self) -> asyncio.Future[None]:
        """Put the configuration in force again, with the pauses as they are now."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reconfigurations.append((None, self._targets, done))
        self._work.set()
        return done

    async def pause(self, flow_id: str, mode: str = "", reason: str = "operator") -> None:
        """Pause a flow until it is resumed, whatever its configuration; returns when it is.

        Args:
            flow_id: Which.
            mode: keep or skip; empty for the configuration's.
            reason: Why.

        Raises:
            RefusedError: There is no such flow, or mode.
        """
        mode = mode or self.known(flow_id).pause_mode
        self.pauses.pause(flow_id, mode, self._clock.now_ms(), reason)
        await self._apply_pauses()

    async def resume(self, flow_id: str) -> None:
        """Let a flow go on that was paused; returns when it does.

        Raises:
            RefusedError: There is no such flow, or it was not paused.
        """
        self.known(flow_id)
        self.pauses.resume(flow_id)
        await self._apply_pauses()

    def _over_cap(self, flow_id: str) -> None:
        """Too many dead letters within an hour: the rest is kept until somebody has looked at it."""
        if flow_id in self.configured.by_id and flow_id not in self.pauses.all:
            self.pauses.pause(flow_id, "keep", self._clock.now_ms(), "dead-letters")
            self._capping = self._apply_pauses()

    def known(self, flow_id: str) -> CompiledFlow:
        """A flow as it is configured.

        Raises:
            RefusedError: There is no such flow.
        """
        found = self.configured.by_id.get(flow_id)
        if found is None:
            known = ", ".join(flow.id for flow in self.configured.flows) or "there is none"
            raise RefusedError(f"there is no flow {flow_id} (allowed: {known})")
        return found

    def open_writer(self, flow_id: str) -> Writer:
        """Another writer to where a flow writes, for the caller to close.

        Raises:
            RefusedError: There is no such flow.
        """
        self.known(flow_id)
        return self._targets[flow_id].open()

    def stream_of(self, flow_id: str) -> str:
        """Where a flow writes, as its destination names it."""
        target = self._targets.get(flow_id)
        return target.place.rpartition("\0")[2] if target is not None else ""

    def wake(self) -> None:
        """Something from within is there to be done."""
        self._work.set()

    @property
    def latency_ms(self) -> dict[int, int]:
        """Milliseconds from an input's commit to its export's settlement, to how many took so long."""
        return added(each.latency_ms for each in self.tallies.values())

    def submit(self, command: Command) -> None:
        """Put an input beside the sources' (a backfill step, a deletion); decided in the next batch."""
        self._commands.append(command)
        self._work.set()

    async def carry_out(self, command: Command) -> None:
        """Put an input beside the sources', and return once it is decided and durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._carried[id(command)] = done
        self.submit(command)
        await done

    def stop(self, drain_s: float | None = None) -> None:
        """Stop reading, then drain; ``run`` returns when done.

        Args:
            drain_s: How long it goes on sending, instead of the option; counted from the first stop.
        """
        if drain_s is not None:
            self._drain_s = drain_s
        self._stopping = True
        self.overflow.stop()
        self.within.stop()
        self._work.set()
        self._space.set()

    async def reconfigure(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> None:
        """Put another configuration in force between two batches; returns when it is.

        A flow that is gone keeps its pending exports on disk until it comes back.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reconfigurations.append((snapshot, dict(targets), done))
        self._work.set()
        await done

    def discard_flow(self, flow_id: str) -> int:
        """Discard what waits of a flow that was deleted, and is no part of the configuration any more.

        Returns:
            How many exports; counted as discarded with the reason ``flow-deleted``.
        """
        counted = self.totals.flows.get(flow_id)
        if flow_id in self.flows or counted is None:
            return 0
        pending = counted.pending
        write = self._state.batch()
        for space in (OUTBOX, SETTLED, STALE):
            start = self._keys.named(space, flow_id) + b"\0"
            write.delete_range(start, start[:-1] + b"\1")
        write.delete(self._keys.named(HEADS, flow_id))
        if pending:
            counted.discarded["flow-deleted"] = counted.discarded.get("flow-deleted", 0) + pending
        write.put(self._keys.totals, records.encode(self.totals))
        self._state.commit(write)
        return pending

    def report(self, *, timed_out: bool = False) -> Report:
        """How the flows stand now."""
        flows = [
            FlowReport(
                flow.compiled.id, flow.compiled.name, self.totals.flows[flow.compiled.id].pending,
                f"{flow.dispatcher.halt.code}: {flow.dispatcher.halt.detail}" if flow.dispatcher.halt else "",
                flow.compiled.paused,
            )
            for flow in self.flows.values()
        ]  # fmt: skip
        return Report(all(not f.pending for f in flows), timed_out, flows)

    @property
    def exhausted(self) -> bool:
        """True once the sources have ended and everything they gave is decided."""
        return self.started.is_set() and not self._open_sources and not self._inputs

    @property
    def ready(self) -> bool:
        """True once the sources are read."""
        return self.started.is_set() and not self._stopping

    # -- life -------------------------------------------------------------------------------------

    async def run(self, *, until_drained: bool = False) -> Report:
        """Work until stopped, or with *until_drained* until the sources have ended and everything is settled.

        Returns:
            How the flows stand. After a stop: drained as far as ``drain_timeout_s`` allowed.

        Raises:
            StorageError: The disk refused; nothing of that batch was acknowledged.
            BugError: A part broke its contract.
        """
        pulls: list[asyncio.Task[None]] = []
        opened: list[Source] = []
        try:
            self.store_configuration()
            self.pauses.noted(self._snapshot.flows, self._cursor.ordinal, self.totals)
            self._open_flows(self._snapshot, self._targets)
            self._decider.snapshot = with_overflowing(self._snapshot, frozenset(self.overflow.overflowing))
            self._look_at_budgets()
            self._take_over()
            self._start_flows()
            for source in self._sources:
                stored = self._state.get_many([self._keys.named(POSITION, source.id)])[0]
                await source.open(stored)
                opened.append(source)
                self._store_position(source)
            self._open_sources = len(self._sources)
            pulls = [asyncio.create_task(self._pull(s), name=f"read {s.id}") for s in self._sources]
            for task in pulls:
                task.add_done_callback(self._watch)
            self.started.set()
            await self._rounds(until_drained=until_drained)
            return await self._finish(pulls)
        finally:
            self.within.close()
            for task in pulls:
                task.cancel()
            await asyncio.gather(*pulls, return_exceptions=True)
            for source in opened:
                # After a failure nothing is acknowledged any more: who waits for it is told so soon.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(source.close(), _LET_GO_S)
            for flow in self.flows.values():
                await flow.close(0.0)
            for _, _, done in self._reconfigurations:
                done.cancel()

    def _take_over(self) -> None:
        """Note that a process is at work. After a killed one, count what it may have sent without our knowing."""
        if self._cursor.alive:
            waited = again = 0
            for flow in self.flows.values():
                counted = self.totals.flows[flow.compiled.id]
                limits = flow.writer.limits
                most = limits.in_flight * limits.records + 2 * _SETTLED_AT_ONCE
                # Of a flow that is paused now, too: whether it was then is not known.
                doubted = min(counted.pending, most)
                counted.possible_duplicates += doubted
                waited, again = waited + counted.pending, again + doubted
            logs.get().warning(
                f"went on after an unclean stop: {waited:,} exports waited, "
                f"at most {again:,} of them may be sent again"
            )
        self._cursor.alive = True
        self._store_counts()
        self._state.sync()  # before anything is sent: a power cut must not take it back

    def _store_counts(self) -> None:
        write = self._state.batch()
        write.put(self._keys.totals, records.encode(self.totals))
        write.put(self._keys.cursor, records.encode(self._cursor))
        self._state.commit(write)

    def _store_position(self, source: Source) -> None:
        """A source told to skip what is there may give no batch for long: where it stands is kept at once."""
        position = source.position()
        if position is not None:
            write = self._state.batch()
            write.put(self._keys.named(POSITION, source.id), position)
            self._state.commit(write)

    def _watch(self, task: asyncio.Task[None]) -> None:
        """A part that dies takes the engine down: going on without it would hide it."""
        if not task.cancelled() and (error := task.exception()) is not None and self._failure is None:
            self._failure = error
            self._work.set()

    def _open_flows(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> None:
        for compiled in snapshot.flows:
            if compiled.id in self.flows:
                continue
            target = targets[compiled.id]
            flow = RunningFlow(
                compiled, target.open(), target.identity, state=self._state, keys=self._keys, clock=self._clock,
                rng=self._rng, budget_bytes=self.options.flow_memory_bytes, linger_s=self.options.linger_s,
                control=self._control(target),
                settled=self._on_settled, halted=self._work.set, answered=self._on_answered,
            )  # fmt: skip
            self.totals.flows.setdefault(compiled.id, records.FlowTotals())
            self.flows[compiled.id] = flow
            self._discards.open(flow)
            flow.open(self._cursor.ordinal - 1)
            self.overflow.open(flow, self._cursor.ordinal)

    def _start_flows(self) -> None:
        for flow in self.flows.values():
            if flow.task is None:
                flow.start()
                if flow.task is not None:
                    flow.task.add_done_callback(self._watch)

    def _control(self, target: Target) -> StreamControl:
        """What a place has shown of itself, shared by the flows that write to it."""
        if not target.place:
            return StreamControl(self._clock)
        return self._controls.setdefault(target.place, StreamControl(self._clock))

    async def _pull(self, source: Source) -> None:
        """Read one source, as long as there is room."""
        most = self.options.batch_updates
        try:
            while not self._stopping:
                while (self._queued >= most or self.overflow.sources_held) and not self._stopping:
                    self._space.clear()
                    await self._space.wait()
                batch = await source.read(most)
                if batch is None:
                    break
                self._inputs.append(batch)
                self._arrived_s.append(self._clock.monotonic_s())
                self._queued += len(batch.bodies)
                self._work.set()
        except Exception as error:
            # Noted before the source counts as ended: a run that lost one must not pass for finished.
            if self._failure is None:
                self._failure = error
            raise
        finally:
            self._open_sources -= 1
            self._work.set()

    # -- the loop ---------------------------------------------------------------------------------

    async def _rounds(self, *, until_drained: bool) -> None:
        while True:
            self._raise_failure()
            if self._reconfigurations:
                await self._put_in_force(*self._reconfigurations[0])
                self._reconfigurations.popleft()
                continue
            if self._inputs or self._commands or self._settle_due or self._settled_count >= _SETTLED_AT_ONCE:
                await self._round()
                continue
            if self.within.ready():
                await self._round()
                continue
            # Sources that are held back by a flow that cannot go on are at their end as far as it gets.
            ended = not self._open_sources or self.overflow.sources_held
            drained = until_drained and ended and not self._settled and self._done()
            if self._stopping or (drained and not self.backfills.busy() and not self.deletions.busy()):
                return
            self._work.clear()
            await self._work.wait()

    async def _rounds_until(self, ended: asyncio.Future[Any]) -> None:
        """Go on deciding and storing while something else takes its time."""
        ended.add_done_callback(lambda _: self._work.set())
        while not ended.done():
            if self._inputs or self._commands or self._settle_due:
                await self._round()
                continue
            self._work.clear()
            await self._work.wait()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _done(self) -> bool:
        catching_up = self.overflow.catching_up
        return all(
            flow.stuck or (flow.idle and flow_id not in catching_up) for flow_id, flow in self.flows.items()
        )  # fmt: skip

    def _take(self) -> list[SourceBatch]:
        taken: list[SourceBatch] = []
        room = self.options.batch_updates
        while self._inputs and (not taken or len(self._inputs[0].bodies) <= room):
            batch = self._inputs.popleft()
            arrived_s = self._arrived_s.popleft()
            if not taken:
                self._oldest_s = arrived_s
            taken.append(batch)
            room -= len(batch.bodies)
        self._queued -= sum(len(b.bodies) for b in taken)
        self._space.set()
        return taken

    async def _round(self) -> None:
        """Decide, commit, sync, acknowledge, hand over."""
        began_s = self._clock.monotonic_s()
        first = self._cursor.ordinal
        batches = self._take()
        commands = [self._commands.popleft() for _ in range(min(len(self._commands), self.options.batch_updates))]
        settled, self._settled = self._settled, []
        self._settled_count, self._settle_due = 0, False
        refusals = [(f.dispatcher, list(f.dispatcher.refused)) for f in self.flows.values() if f.dispatcher.refused]
        now_ms = self._clock.now_ms()
        write = self._state.batch()
        decision: Decision | None = None
        staged: list[tuple[RunningFlow, list[Staged]]] = []
        inner, updates = self.within.take(_INNER_AT_ONCE, now_ms, write)
        batches += updates
        if batches or commands or inner:
            decision, staged = self._stage_inputs(batches, [*commands, *inner], now_ms, write)
            self._timers.noted(decision.soonest_ms)
        self.within.decided(decision or _NOTHING, len(commands), now_ms, write)
        if settled:
            store_settled(settled, now_ms, self._keys, self._cursor, self.totals, write, self._ledger)
            self._cap.look(self.totals, now_ms)
        write.put(self._keys.totals, records.encode(self.totals))
        write.put(self._keys.cursor, records.encode(self._cursor))
        decided_s = self._clock.monotonic_s()
        self._state.commit(write)
        now_s = self._clock.monotonic_s()
        if decision is not None or refusals or now_s - self._synced_s >= _SYNC_S:
            self._synced_s = now_s
            await asyncio.get_running_loop().run_in_executor(None, self._state.sync)
        for dispatcher, places in refusals:
            dispatcher.stored(places)
        if decision is not None:
            for flow, blocks in staged:
                flow.outbox.committed(blocks, decision.last)
            self._discards.committed(decision.discards)
            for source, refused in zip(batches, decision.refused, strict=True):
                source.acknowledge(refused)
        for command in commands:
            if isinstance(command, Backfill):
                self.overflow.done(command)
            awaited = self._carried.pop(id(command), None)
            if awaited is not None and not awaited.done():
                awaited.set_result(None)
        self._look_at_budgets()
        done = Round(
            first, self._cursor.ordinal - 1, now_ms, began_s - self._oldest_s if batches else 0.0,
            decided_s - began_s, self._clock.monotonic_s() - decided_s, sum(len(each) for _, each in settled),
        )  # fmt: skip
        self.stages.round(done)
        for seen in self.on_round:
            seen(done)
        for told in self.on_commit:
            told()
        self._housekeeping.look(now_ms, self._cursor.ordinal)

    def _look_at_budgets(self) -> None:
        if self.overflow.look(self.flows, self._cursor.ordinal):
            self._decider.snapshot = with_overflowing(self._snapshot, frozenset(self.overflow.overflowing))
        if not self.overflow.sources_held:
            self._space.set()

    def _overflow_changed(self, flow_id: str, now: str) -> None:
        for told in self.on_overflow:
            told(flow_id, now)

    def _stage_inputs(
        self, batches: Sequence[SourceBatch], commands: Sequence[Command], now_ms: int, write: Batch
    ) -> tuple[Decision, list[tuple[RunningFlow, list[Staged]]]]:
        """Decide inputs, and put all that follows from them into the write."""
        first = self._cursor.ordinal
        decision = self._decider.decide(batches, commands, first, now_ms, self.totals, write)
        if decision.journal is not None:
            self._journal.put(write, first, decision.journal)
        staged = []
        for compiled, exports in zip(self._snapshot.flows, decision.exports, strict=True):
            if exports:
                flow = self.flows[compiled.id]
                staged.append((flow, flow.outbox.stage(write, exports)))
        self._cursor.ordinal = decision.last + 1
        for source, refused in zip(batches, decision.refused, strict=True):
            if refused and source.keep_refused:
                store_refused(source, refused, now_ms, self._keys, self._cursor, self.totals, write)
            if source.position is not None:
                write.put(self._keys.named(POSITION, source.source), source.position)
        return decision, staged

    def _on_settled(self, flow: RunningFlow, done: Sequence[Pending]) -> None:
        """Called by a dispatcher: note it for the next commit, and read on from disk."""
        flow.outbox.touch(done)
        flow.outbox.refill()
        now_ms = self._clock.now_ms()
        self.tallies.setdefault(flow.compiled.id, Tally()).settled(done, now_ms)
        self.stages.of(flow.compiled.id).settled(done)
        for told in self.on_settled:
            told(flow.compiled.id, done, now_ms)
        if not self._settled:
            self._schedule_settlement()
        self._settled.append((flow, done))
        self._settled_count += len(done)
        if self._settled_count >= _SETTLED_AT_ONCE:
            self._work.set()

    def _on_answered(self, flow: RunningFlow, batch: Sequence[Pending], took_s: float) -> None:
        """Called by a dispatcher for each request that was answered, whatever the answer."""
        flow_id = flow.compiled.id
        self.stages.of(flow_id).answered(batch, took_s, self._clock.now_ms(), flow.writer.limits)
        for told in self.on_answered:
            told(flow_id, batch, took_s)

    def _schedule_settlement(self) -> None:
        async def wait() -> None:
            await self._clock.sleep(SETTLE_WAIT_S)
            if self._settled:
                self._settle_due = True
                self._work.set()

        self._settle_timer = asyncio.create_task(wait())

    # -- changes and ends -------------------------------------------------------------------------

    async def _put_in_force(
        self, configured: Snapshot | None, targets: dict[str, Target], done: asyncio.Future[None]
    ) -> None:
        """Another configuration, or the same (None) with other pauses."""
        self.configured = configured or self.configured
        snapshot = self.pauses.applied(self.configured)
        changed: list[RunningFlow] = []
        for flow_id, flow in self.flows.items():
            new = snapshot.by_id.get(flow_id)
            same = (
                new is not None
                and targets[flow_id].identity == flow.target
                and (new.paused, new.ordering) == (flow.compiled.paused, flow.compiled.ordering)
            )
            if same and new is not None:
                flow.compiled = new
            else:
                changed.append(flow)
        if changed:
            # The other flows go on meanwhile. What was settled until then is stored by the old flow's outbox.
            closing = asyncio.gather(*(flow.close(_GRACE_S) for flow in changed))
            await self._rounds_until(closing)
            await self._doubt(changed, closing.result())
            if self._settled:
                await self._round()
            for flow in changed:
                del self.flows[flow.compiled.id]
                self.overflow.close(flow.compiled.id)
        self._snapshot = snapshot
        self._targets = targets
        self.store_configuration()
        self.pauses.noted(snapshot.flows, self._cursor.ordinal, self.totals)
        self.audiences.changed()
        self._open_flows(snapshot, targets)
        self._start_flows()
        self._decider.snapshot = with_overflowing(snapshot, frozenset(self.overflow.overflowing))
        # Budgets and policies may be others now, and the flow that held the sources back may be gone.
        self._look_at_budgets()
        if not done.done():
            done.set_result(None)

    async def _doubt(self, flows: Sequence[RunningFlow], in_doubt: Sequence[int]) -> None:
        """Count what flows that were closed may have sent without our knowing."""
        for flow, writes in zip(flows, in_doubt, strict=True):
            self.totals.flows[flow.compiled.id].possible_duplicates += writes
        if any(in_doubt):
            self._store_counts()
            await asyncio.get_running_loop().run_in_executor(None, self._state.sync)

    def store_configuration(self) -> None:
        """Keep the configuration in force beside the journal, so that it can be folded again."""
        write = self._state.batch()
        write.put(self._keys.named(CONFIGURATION, self._snapshot.version), canonical(self._snapshot))
        self._state.commit(write)

    async def _finish(self, pulls: Sequence[asyncio.Task[None]]) -> Report:
        """Drain: what was read is decided, what is on its way gets its time, the rest stays on disk."""
        self._stopping = True
        self.overflow.stop()
        self.within.stop()
        self._space.set()
        # A source may wait, while it closes, for what it handed over to be acknowledged: rounds go on meanwhile.
        ending = asyncio.gather(*(source.close() for source in self._sources), *pulls, return_exceptions=True)
        begun = self._clock.monotonic_s()
        await self._rounds_until(ending)
        while self._inputs or self._commands:
            await self._round()
        timed_out = False
        while not self._done():
            left = begun + self._drain_s - self._clock.monotonic_s()
            if left <= 0:
                timed_out = True
                break
            self._raise_failure()
            if self._settled:
                await self._round()
            self._work.clear()
            await self._wait(min(left, SETTLE_WAIT_S))
        in_doubt = await asyncio.gather(*(flow.close(_GRACE_S) for flow in self.flows.values()))
        await self._doubt(list(self.flows.values()), in_doubt)
        if self._settled:
            await self._round()
        self._raise_failure()
        self._cursor.alive = False
        self._store_counts()
        await asyncio.get_running_loop().run_in_executor(None, self._state.sync)
        return self.report(timed_out=timed_out)

    async def _wait(self, seconds: float) -> None:
        timer = asyncio.create_task(self._clock.sleep(seconds))
        work = asyncio.create_task(self._work.wait())
        await asyncio.wait((timer, work), return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        work.cancel()

    def check(self) -> None:
        """Raise ``BugError`` when the totals do not add up (I8)."""
        t = self.totals
        if t.received != t.accepted + t.repeats + sum(t.refused.values()):
            raise BugError(problem=f"received {t.received} is not accepted, repeated and refused together")
        for flow_id, f in t.flows.items():
            if f.accepted != f.exported + sum(f.held.values()) or f.pending < 0:
                raise BugError(problem=f"the totals of flow {flow_id} do not add up")
