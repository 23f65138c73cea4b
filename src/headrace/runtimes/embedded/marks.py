"""What a batch under way leaves for later about profiles: who is stale for a flow, and who is looked at when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.core.flow import Snapshot
from headrace.core.lifetimes import end_ms
from headrace.core.model import Membership
from headrace.core.step import CATCH_UP
from headrace.runtimes.embedded.lookup import Lookup
from headrace.state import records
from headrace.state.base import Batch
from headrace.state.keys import END, Keys

_TIMER_MS: Final = 1000
"""What ends within the same second is looked at together."""


Told = tuple[list[tuple[str, int, str, bool, str]], list[tuple[tuple[str, ...], str]]]
"""Memberships that may end by themselves, as (profile id, ordinal, namespace, member, since); and what was decided of
each flow about profiles that a flow held back about. As ``Slice.told`` gives it."""


class Marks:
    """See the module.

    Args:
        snapshot: The configuration.
        lookup: Knows the marks of former batches.
    """

    def __init__(self, snapshot: Snapshot, lookup: Lookup) -> None:
        self._snapshot, self._lookup = snapshot, lookup
        self._stale: dict[tuple[str, str], bool] = {}
        self._ends: dict[int, list[str]] = {}

    @property
    def soonest_ms(self) -> int | None:
        """When the first profile is looked at; None for never."""
        return min(self._ends, default=None)

    def hear(self, told: Told | None, now_ms: int) -> None:
        """Remember what C tells of the updates that it decided; *now_ms* is the time of the batch."""
        if told is None:
            return
        ends, held_back = told
        for profile_id, ordinal, namespace, member, since in ends:
            at_ms = end_ms(namespace, Membership(member, since, None, ordinal, now_ms), self._snapshot.lifetimes)
            if at_ms:
                self.end(profile_id, [at_ms])
        for held, profile_id in held_back:
            self.hold_back(held, profile_id)

    def end(self, profile_id: str, ends: Sequence[int]) -> None:
        """Remember to look at a profile when memberships of it end; by the second, so that many share a timer."""
        for at_ms in ends:
            of_second = self._ends.setdefault(-(-at_ms // _TIMER_MS) * _TIMER_MS, [])
            if not of_second or of_second[-1] != profile_id:
                of_second.append(profile_id)

    def hold_back(self, held: tuple[str, ...], profile_id: str) -> None:
        """Mark the profile stale for the flows that are over their budget and would have told of it."""
        if self._snapshot.overflowing and CATCH_UP in held:
            for flow, reason in zip(self._snapshot.flows, held, strict=True):
                if reason == CATCH_UP:
                    self._stale[flow.id, profile_id] = True

    def clear(self, flow_id: str, profile_id: str) -> None:
        """Nothing about the profile is to be made up for."""
        self._stale[flow_id, profile_id] = False

    def inherit(self, survivor: str, absorbed: str) -> None:
        """What a flow has not told of an absorbed profile, it has not told of the survivor."""
        flows = [flow.id for flow in self._snapshot.flows]
        for flow_id, before in zip(flows, self._lookup.stale(flows, absorbed), strict=True):
            if self._stale.get((flow_id, absorbed), before):
                self._stale[flow_id, survivor] = True
                self._stale[flow_id, absorbed] = False

    def write(self, batch: Batch, keys: Keys, first: int) -> None:
        """Put them into the batch whose first input has this ordinal."""
        for (flow_id, profile_id), stale in self._stale.items():
            if stale:
                batch.put(keys.stale(flow_id, profile_id), b"")
            else:
                batch.delete(keys.stale(flow_id, profile_id))
        for at_ms, profile_ids in self._ends.items():
            batch.put(keys.numbered(END, at_ms, first), records.pack_ids(profile_ids))
