"""What a batch under way counts into the totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.core.flow import Snapshot
from headrace.core.model import Export
from headrace.state import records

_TRIGGERS: Final = ("segment", "identity", "attribute")
"""As C numbers them."""

ByC = tuple[int, int, int, list[int], list[tuple[int, tuple[int, ...]]]]
"""Inputs accepted, profiles made, memberships that came too late, inputs by decision, and per flow the bytes of its
exports and how many fired which triggers, by their bits."""


class Counting:
    """See the module.

    Args:
        totals: Counted into: decisions by ``fold``, everything else at once.
        snapshot: The flows.
    """

    def __init__(self, totals: records.Totals, snapshot: Snapshot) -> None:
        self._totals = totals
        self._flows = [totals.flows.setdefault(flow.id, records.FlowTotals()) for flow in snapshot.flows]
        self._counts: list[int] = []
        """Inputs that were applied, for each of the journal's different decisions."""
        self._accepted = 0

    def decided(self, place: int, *, applied: bool) -> None:
        """An input was decided, by the index of its decision among the journal's; applied, or a repeat."""
        while place >= len(self._counts):
            self._counts.append(0)
        if applied:
            self._counts[place] += 1
            self._accepted += 1

    def note(self, code: str, times: int) -> None:
        """Something of ``reasons.NOTES`` happened."""
        self._totals.notes[code] = self._totals.notes.get(code, 0) + times

    def made(self, flow: int, export: Export) -> None:
        """A flow, by its index, exported."""
        counted = self._flows[flow]
        cause = export.cause
        self._exported(counted, cause.triggers or [cause.kind], 1, len(export.data))

    def _exported(self, counted: records.FlowTotals, triggers: Sequence[str], times: int, size_bytes: int) -> None:
        counted.exported += times
        counted.bytes += size_bytes
        for trigger in triggers:
            counted.triggers[trigger] = counted.triggers.get(trigger, 0) + times

    def by_c(self, counted: ByC) -> None:
        """What C decided (``Slice.counted``)."""
        accepted, profiles, older, places, flows = counted
        self._accepted += accepted
        self._totals.profiles += profiles
        if older:
            self.note("older-membership", older)
        self._counts += [0] * (len(places) - len(self._counts))
        for place, n in enumerate(places):
            self._counts[place] += n
        for of_one, (size_bytes, fired) in zip(self._flows, flows, strict=True):
            of_one.bytes += size_bytes
            for mask, n in enumerate(fired):
                if n:
                    self._exported(of_one, [name for bit, name in enumerate(_TRIGGERS) if mask >> bit & 1], n, 0)

    def fold(self, decisions: Sequence[tuple[str, ...]]) -> None:
        """Fold what the batch decided, the journal's different decisions in order, into the totals of each flow."""
        self._totals.accepted += self._accepted
        for held, n in zip(decisions, self._counts, strict=False):
            for counted, reason in zip(self._flows, held, strict=True):
                counted.accepted += n
                if reason and n:
                    counted.held[reason] = counted.held.get(reason, 0) + n
