"""What inputs are decided beside the sources' updates, and what a batch of inputs comes to."""

from __future__ import annotations

from headrace.core.model import Backfill, Delete, Replay, Tick, Unlink
from headrace.destinations.pending import Pending
from headrace.sources.base import Refused
from headrace.state import records

Command = Tick | Backfill | Delete | Replay | Unlink


class Decision:
    """What a batch of inputs comes to.

    Attributes:
        journal: The inputs, ready to store; None when none was journaled.
        exports: Per flow (index) its new exports.
        refused: Per source batch the updates that were refused.
        answers: Per command what was decided: for each flow the reason why nothing was exported, "" where
            something was.
        discards: (flow id, profile id, ordinal, reason): exports before the ordinal that must not be sent any more.
        soonest_ms: When the first of the memberships that changed ends by itself; None when none does.
        last: Ordinal of the last input.
    """

    __slots__ = ("answers", "discards", "exports", "journal", "last", "refused", "soonest_ms")

    def __init__(self, flows: int, batches: int) -> None:
        self.journal: records.JournalBlock | None = None
        self.exports: list[list[Pending]] = [[] for _ in range(flows)]
        self.refused: list[list[Refused]] = [[] for _ in range(batches)]
        self.answers: list[tuple[str, ...]] = []
        self.discards: list[tuple[str, str, int, str]] = []
        self.soonest_ms: int | None = None
        self.last = 0
