"""The configuration in force: as it was given, with the pauses on top; and what is asked to take its place.

Only kept here. The engine puts another in force between two batches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from headrace.clock import Clock
from headrace.core.canonical import canonical
from headrace.core.flow import CompiledFlow, Snapshot
from headrace.destinations.base import Writer
from headrace.errors import RefusedError
from headrace.runtimes.embedded.counts import Counts
from headrace.runtimes.embedded.pauses import Pauses
from headrace.runtimes.embedded.running import Target
from headrace.runtimes.embedded.work import Work
from headrace.state.base import State
from headrace.state.keys import CONFIGURATION, Keys


class Change(NamedTuple):
    """What is to be put in force.

    Attributes:
        configured: Another configuration; None for the same with the pauses as they are now.
        targets: Flow id to its target.
        done: Set once it is in force.
    """

    configured: Snapshot | None
    targets: Mapping[str, Target]
    done: asyncio.Future[None]


class InForce:
    """See the module.

    Args:
        snapshot: The configuration at the start.
        targets: Flow id to its target.
        state: Where it is kept.
        keys: Of the sandbox.
        clock: Time of pauses.
        counts: What a flow that skips has skipped.
        work: Woken by each change that is asked for.

    Attributes:
        configured: As it was given.
        snapshot: In force.
        targets: Flow id to its target.
        pauses: What operators and caps have paused.
        changes: Asked for and not in force yet, in their order.
    """

    def __init__(
        self, snapshot: Snapshot, targets: Mapping[str, Target], *, state: State, keys: Keys, clock: Clock,
        counts: Counts, work: Work,
    ) -> None:  # fmt: skip
        self._state, self._keys, self._clock, self._counts, self._work = state, keys, clock, counts, work
        self.pauses = Pauses(state, keys)
        self.configured = snapshot
        self.snapshot = self.pauses.applied(snapshot)
        self.targets: Mapping[str, Target] = dict(targets)
        self.changes: deque[Change] = deque()

    # -- asking -----------------------------------------------------------------------------------

    def change(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> asyncio.Future[None]:
        """Ask for another configuration; done when it is in force."""
        return self._ask(snapshot, dict(targets))

    def _ask(self, snapshot: Snapshot | None, targets: Mapping[str, Target]) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.changes.append(Change(snapshot, targets, done))
        self._work.wake()
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
        await self._ask(None, self.targets)

    async def resume(self, flow_id: str) -> None:
        """Let a flow go on that was paused; returns when it does.

        Raises:
            RefusedError: There is no such flow, or it was not paused.
        """
        self.known(flow_id)
        self.pauses.resume(flow_id)
        await self._ask(None, self.targets)

    def over_cap(self, flow_id: str) -> None:
        """Too many dead letters within an hour: the rest is kept until somebody has looked at it."""
        if flow_id in self.configured.by_id and flow_id not in self.pauses.all:
            self.pauses.pause(flow_id, "keep", self._clock.now_ms(), "dead-letters")
            self._capping = self._ask(None, self.targets)

    def cancel(self) -> None:
        """The engine ends: what was asked for does not come into force any more."""
        for change in self.changes:
            change.done.cancel()

    # -- answering --------------------------------------------------------------------------------

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
        return self.targets[flow_id].open()

    def stream_of(self, flow_id: str) -> str:
        """Where a flow writes, as its destination names it."""
        target = self.targets.get(flow_id)
        return target.place.rpartition("\0")[2] if target is not None else ""

    # -- for the engine ---------------------------------------------------------------------------

    def begin(self, change: Change) -> Snapshot:
        """What a change comes to, with the pauses as they are now; ``put`` has it in force."""
        self.configured = change.configured or self.configured
        return self.pauses.applied(self.configured)

    def put(self, snapshot: Snapshot, targets: Mapping[str, Target]) -> None:
        """From now on this is in force."""
        self.snapshot, self.targets = snapshot, targets
        self.keep()

    def keep(self) -> None:
        """Keep it beside the journal, so that that can be folded again; and since when flows skip."""
        write = self._state.batch()
        write.put(self._keys.named(CONFIGURATION, self.snapshot.version), canonical(self.snapshot))
        self._state.commit(write)
        self.pauses.noted(self.snapshot.flows, self._counts.cursor.ordinal, self._counts.totals)
