"""Refused exports, sorted by what is to be done with them; and those that need not be sent to be refused."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.destinations.base import Limits, Outcome, Verdict
from headrace.destinations.halts import Counts
from headrace.destinations.pending import Pending


class Refusals:
    """The refused ones of a request, counted.

    Args:
        refused: In the order of the request.
        counts: Where they are counted.

    Attributes:
        rejected: Never accepted.
        halted: Nothing of the flow is accepted.
        split: Something in the request was refused.
        waits: To be written again after a pause, by the shard that refused and how often each was written: one
            record that is refused again and again makes its neighbours wait no longer.
    """

    __slots__ = ("halted", "rejected", "split", "waits")

    def __init__(self, refused: Sequence[Pending], counts: Counts) -> None:
        self.rejected: list[Pending] = []
        self.halted: list[Pending] = []
        self.split: list[Pending] = []
        self.waits: dict[tuple[str, int], list[Pending]] = {}
        codes = counts.refusals
        for p in refused:
            outcome = p.outcome
            assert outcome is not None
            codes[outcome.code] = codes.get(outcome.code, 0) + 1
            verdict = outcome.verdict
            if verdict == Verdict.REJECTED:
                self.rejected.append(p)
            elif verdict == Verdict.HALT:
                self.halted.append(p)
            elif verdict == Verdict.SPLIT:
                self.split.append(p)
            else:
                if verdict == Verdict.UNKNOWN:
                    p.unknown += 1
                    counts.possible_duplicates += 1
                else:
                    counts.retried += 1
                self.waits.setdefault((outcome.shard, p.attempts), []).append(p)


def unfit(p: Pending, limits: Limits) -> Outcome | None:
    """Why a record is over a limit; None when it is not."""
    most = min(limits.record_bytes, limits.request_bytes)
    if p.size > most:
        detail = f"{p.size} bytes of data and partition key, over the limit of {most}"
        return Outcome(code="record-too-large", detail=detail, verdict=Verdict.REJECTED)
    if len(p.key) > limits.key_chars or not p.key:
        return Outcome(code="bad-partition-key", detail=f"{len(p.key)} characters", verdict=Verdict.REJECTED)
    return None
