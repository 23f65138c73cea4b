"""What a batch under way counts into the totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from headrace.core.flow import Snapshot
from headrace.core.model import Cause
from headrace.runtimes.embedded.decision import Made
from headrace.state import records

_CAUSES: Final = 8
"""Different causes of a flow's exports that are counted together in a batch."""


class Counting:
    """See the module.

    Args:
        totals: Counted into: notes at once, everything else by ``fold``.
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

    def fold(self, decisions: Iterable[tuple[str, ...]], made: Sequence[list[Made]]) -> None:
        """Fold what the batch did into the totals of each flow.

        Args:
            decisions: The journal's different decisions, in order.
            made: Per flow its exports.
        """
        self._totals.accepted += self._accepted
        for held, n in zip(decisions, self._counts, strict=True):
            for counted, reason in zip(self._flows, held, strict=True):
                counted.accepted += n
                if reason and n:
                    counted.held[reason] = counted.held.get(reason, 0) + n
        for counted, exports in zip(self._flows, made, strict=True):
            counted.exported += len(exports)
            size_bytes = 0
            causes: list[Cause] = []
            times: list[int] = []
            for _, export, _ in exports:
                size_bytes += len(export.data)
                cause = export.cause
                place = 0
                for known in causes:  # most exports of a flow share one of a few
                    if known is cause:
                        break
                    place += 1
                if place < len(causes):
                    times[place] += 1
                elif place < _CAUSES:
                    causes.append(cause)
                    times.append(1)
                else:
                    _count(counted.triggers, cause, 1)
            for cause, n in zip(causes, times, strict=True):
                _count(counted.triggers, cause, n)
            counted.bytes += size_bytes


def _count(triggers: dict[str, int], cause: Cause, times: int) -> None:
    for trigger in cause.triggers or [cause.kind]:
        triggers[trigger] = triggers.get(trigger, 0) + times
