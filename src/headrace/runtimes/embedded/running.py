"""The flows at work: opened on their targets, started together, closed when the configuration changes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from headrace import logs
from headrace.clock import Clock
from headrace.core.flow import Snapshot
from headrace.destinations.base import Writer
from headrace.destinations.shards import StreamControl
from headrace.runtimes.base import FlowReport
from headrace.runtimes.embedded.counts import Counts
from headrace.runtimes.embedded.discards import Discards
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.options import Options
from headrace.runtimes.embedded.overflow import Overflow
from headrace.runtimes.embedded.settling import SETTLED_AT_ONCE, Settling
from headrace.runtimes.embedded.work import Work
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import Keys

_GRACE_S: Final = 5.0
"""How long requests under way are waited for when a flow is closed: what is not answered is sent again."""


class Target(msgspec.Struct, frozen=True):
    """A flow's writer, made when needed, what identifies its parameters, and the place it shares with others."""

    identity: bytes
    open: Callable[[], Writer]
    place: str = ""


class Running:
    """See the module.

    Args:
        flows: Where the flows at work are to be found by id; shared with whoever reads them.
        state: Where outboxes lie.
        keys: Of the sandbox.
        clock: Time.
        rng: Jitter of retries.
        options: Memory and lingering.
        counts: Totals of each flow.
        discards: Told of each flow that begins.
        overflow: Likewise, and of each that ends.
        settling: What dispatchers report to.
        work: Woken when a flow halts, told when one dies.
    """

    def __init__(
        self, flows: dict[str, RunningFlow], *, state: State, keys: Keys, clock: Clock, rng: random.Random,
        options: Options, counts: Counts, discards: Discards, overflow: Overflow, settling: Settling, work: Work,
    ) -> None:  # fmt: skip
        self.flows = flows
        self._state, self._keys, self._clock, self._rng = state, keys, clock, rng
        self._options, self._counts = options, counts
        self._discards, self._overflow, self._settling, self._work = discards, overflow, settling, work
        self._controls: dict[str, StreamControl] = {}

    def open(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> None:
        """Take up what waits of each flow that is not at work yet; nothing is sent before ``start``."""
        ordinal = self._counts.cursor.ordinal
        for compiled in snapshot.flows:
            if compiled.id in self.flows:
                continue
            target = targets[compiled.id]
            flow = RunningFlow(
                compiled, target.open(), target.identity, state=self._state, keys=self._keys, clock=self._clock,
                rng=self._rng, budget_bytes=self._options.flow_memory_bytes, linger_s=self._options.linger_s,
                control=self._control(target), settled=self._settling.settled, halted=self._work.wake,
                answered=self._settling.answered,
            )  # fmt: skip
            self._counts.totals.flows.setdefault(compiled.id, records.FlowTotals())
            self.flows[compiled.id] = flow
            self._discards.open(flow)
            flow.open(ordinal - 1)
            self._overflow.open(flow, ordinal)

    def _control(self, target: Target) -> StreamControl:
        """What a place has shown of itself, shared by the flows that write to it."""
        if not target.place:
            return StreamControl(self._clock)
        return self._controls.setdefault(target.place, StreamControl(self._clock))

    def start(self) -> None:
        """Send."""
        for flow in self.flows.values():
            if flow.task is None:
                flow.start()
                if flow.task is not None:
                    flow.task.add_done_callback(self._work.watch)

    def take_over(self) -> None:
        """Note that a process is at work. After a killed one, count what it may have sent without our knowing."""
        cursor, totals = self._counts.cursor, self._counts.totals
        if cursor.alive:
            waited = again = 0
            for flow in self.flows.values():
                counted = totals.flows[flow.compiled.id]
                limits = flow.writer.limits
                most = limits.in_flight * limits.records + 2 * SETTLED_AT_ONCE
                # Of a flow that is paused now, too: whether it was then is not known.
                doubted = min(counted.pending, most)
                counted.possible_duplicates += doubted
                waited, again = waited + counted.pending, again + doubted
            tell = logs.get().warning if waited else logs.get().info
            tell(
                f"went on after an unclean stop: {waited:,} exports waited, "
                f"at most {again:,} of them may be sent again"
            )
        cursor.alive = True
        self._counts.store()
        self._state.sync()  # before anything is sent: a power cut must not take it back

    def adapt(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> list[RunningFlow]:
        """Let the flows that can go on do so as they are configured now.

        Returns:
            The others, gone or to be opened anew: to be closed (``close``), then forgotten (``forget``).
        """
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
        return changed

    def close(self, flows: Sequence[RunningFlow]) -> asyncio.Future[list[int]]:
        """Stop sending; requests under way get 5 s to be answered.

        Returns:
            Done with what ``doubt`` counts.
        """
        return asyncio.gather(*(flow.close(_GRACE_S) for flow in flows))

    async def doubt(self, flows: Sequence[RunningFlow], in_doubt: Sequence[int]) -> None:
        """Count what flows that were closed may have sent without our knowing."""
        for flow, writes in zip(flows, in_doubt, strict=True):
            self._counts.totals.flows[flow.compiled.id].possible_duplicates += writes
        if any(in_doubt):
            self._counts.store()
            await asyncio.get_running_loop().run_in_executor(None, self._state.sync)

    def forget(self, flows: Sequence[RunningFlow]) -> None:
        """These are closed, and what was settled of them is stored."""
        for flow in flows:
            del self.flows[flow.compiled.id]
            self._overflow.close(flow.compiled.id)

    @property
    def done(self) -> bool:
        """True when every flow has sent all it had, or cannot go on."""
        catching_up = self._overflow.catching_up
        return all(
            flow.stuck or (flow.idle and flow_id not in catching_up) for flow_id, flow in self.flows.items()
        )  # fmt: skip

    def reports(self) -> list[FlowReport]:
        """How each flow stands now."""
        return [
            FlowReport(
                flow.compiled.id, flow.compiled.name, self._counts.totals.flows[flow.compiled.id].pending,
                f"{flow.dispatcher.halt.code}: {flow.dispatcher.halt.detail}" if flow.dispatcher.halt else "",
                flow.compiled.paused,
            )
            for flow in self.flows.values()
        ]  # fmt: skip
