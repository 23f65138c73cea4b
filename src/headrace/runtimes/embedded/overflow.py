"""What happens when a flow's backlog reaches its budget on disk: that flow alone changes its ways (I7).

With ``catch-up`` it makes no more exports; the profiles it would have told of are marked stale. Once half of the
budget is free again, the current state of each stale profile is exported, in place of all that was held back.
With ``stop-sources`` no source is read until there is room.

Holds always (tests/runtimes/test_overflow.py checks each by its number):
    C1  After a catch-up the last message about every profile is its current state, as far as the flow tells of it.
    C2  A stale mark is stored in the commit that holds an export back, and removed in the one that makes up for it.
        A profile that absorbs a stale one is stale.
    C3  Other flows neither wait nor lose anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from headrace.core.flow import Snapshot
from headrace.core.model import Backfill
from headrace.core.step import CATCH_UP
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.state.base import State
from headrace.state.keys import Keys

_AT_ONCE = 500
"""Most stale profiles that are made up for in one batch."""


class Overflow:
    """See the module.

    Args:
        state: Where stale marks lie.
        keys: Of the sandbox.
        submit: Takes the inputs that make up for what was held back.
        changed: Told (flow id, what it does now): over, catching-up, stopped or recovered.
    """

    def __init__(
        self, state: State, keys: Keys, submit: Callable[[Backfill], None], changed: Callable[[str, str], None]
    ) -> None:
        self._state, self._keys = state, keys
        self._submit, self._changed = submit, changed
        self.overflowing: set[str] = set()
        self.catching_up: dict[str, tuple[bytes, int]] = {}
        """Flow id to the key after which stale profiles are read on, and the run's number."""
        self._submitted: dict[str, int] = {}
        """Flow id to what was submitted and is not decided yet, whatever became of the flow meanwhile."""
        self._stopped = False
        self.sources_held = False

    def open(self, flow: RunningFlow, ordinal: int) -> None:
        """Go on where a former process was with this flow."""
        start, end = self._span(flow.compiled.id)
        if next(iter(self._state.scan(start, end)), None) is None:
            return
        if flow.outbox.stored_bytes > flow.compiled.disk_budget_bytes // 2:
            self.overflowing.add(flow.compiled.id)
        else:
            self._begin(flow.compiled.id, ordinal)

    def holding(self, flow_id: str) -> bool:
        """True while a flow holds back, or makes up for it."""
        return flow_id in self.overflowing or flow_id in self.catching_up

    def close(self, flow_id: str) -> None:
        """The flow is gone; its stale marks stay for when it comes back."""
        self.overflowing.discard(flow_id)
        self.catching_up.pop(flow_id, None)

    def stop(self) -> None:
        """Catch up no further: the process ends, and the next one goes on."""
        self._stopped = True
        self.catching_up.clear()

    def look(self, flows: Mapping[str, RunningFlow], ordinal: int) -> bool:
        """Look at all budgets after a commit.

        Returns:
            True when another set of flows holds back from now on.
        """
        before = frozenset(self.overflowing)
        held = False
        for flow_id, flow in flows.items():
            size, budget = flow.outbox.stored_bytes, flow.compiled.disk_budget_bytes
            if flow.compiled.overflow == "stop-sources":
                held = held or size >= (budget // 2 if self.sources_held else budget)
                if flow_id in self.overflowing:  # it had the other policy until now
                    self.overflowing.discard(flow_id)
                    self._begin(flow_id, ordinal)
            elif size >= budget and flow_id not in self.overflowing:
                self.overflowing.add(flow_id)
                self.catching_up.pop(flow_id, None)
                self._changed(flow_id, "over")
            elif flow_id in self.overflowing and size <= budget // 2:
                self.overflowing.discard(flow_id)
                self._begin(flow_id, ordinal)
            if flow_id in self.catching_up:
                self._go_on(flow_id, flow)
        if held != self.sources_held:
            self.sources_held = held
            self._changed("", "stopped" if held else "recovered")
        return before != self.overflowing

    def _span(self, flow_id: str) -> tuple[bytes, bytes]:
        start = self._keys.stale(flow_id, "")
        return start, start + b"\xff"

    def _begin(self, flow_id: str, ordinal: int) -> None:
        if self._stopped:
            return
        self.catching_up[flow_id] = (self._span(flow_id)[0], ordinal)
        self._submitted.setdefault(flow_id, 0)
        self._changed(flow_id, "catching-up")

    def done(self, command: Backfill) -> None:
        """One stale profile was dealt with."""
        if command.kind == CATCH_UP and command.flow_id in self._submitted:
            self._submitted[command.flow_id] -= 1

    def _go_on(self, flow_id: str, flow: RunningFlow) -> None:
        """Submit the next stale profiles, once the former are dealt with: about as many as there is room for."""
        if self._submitted[flow_id] > 0:
            return
        room = flow.compiled.disk_budget_bytes * 3 // 4 - flow.outbox.stored_bytes
        if room <= 0:
            return
        most = max(1, min(_AT_ONCE, room // (2 * flow.outbox.export_bytes)))
        start, run = self.catching_up[flow_id]
        end = self._span(flow_id)[1]
        found = 0
        for key, _ in self._state.scan(start, end):
            found += 1
            profile_id = key[len(self._span(flow_id)[0]) :].decode()
            self._submitted[flow_id] += 1
            self._submit(Backfill(profile_id, flow_id, str(run), CATCH_UP))
            self.catching_up[flow_id] = (key + b"\0", run)
            if found >= most:
                return
        if found:
            return
        first = self._span(flow_id)[0]
        if start != first and next(iter(self._state.scan(first, end)), None) is not None:
            # A profile that was passed has meanwhile absorbed a stale one.
            self.catching_up[flow_id] = (first, run)
            self._go_on(flow_id, flow)
        else:
            del self.catching_up[flow_id]
            self._changed(flow_id, "recovered")


def with_overflowing(snapshot: Snapshot, flow_ids: frozenset[str]) -> Snapshot:
    """The snapshot, with these flows holding back."""
    return msgspec.structs.replace(snapshot, overflowing=flow_ids)
