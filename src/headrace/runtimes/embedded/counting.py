"""What a batch under way counts into the totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace.core.flow import Snapshot
from headrace.runtimes.embedded.decision import Made
from headrace.state import records


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
            triggers: dict[str, int] = counted.triggers
            size_bytes = 0
            for _, export, _ in exports:
                size_bytes += len(export.data)
                cause = export.cause
                fired: list[str] = cause.triggers
                for trigger in fired or [cause.kind]:
                    triggers[trigger] = triggers.get(trigger, 0) + 1
            counted.bytes += size_bytes
