"""How long batches and requests take from stage to stage, counted once a batch and once a request.

Kept beside the totals, not in them: it is lost with the process, and costs no commit anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from headrace.destinations.base import Limits, Verdict
from headrace.destinations.pending import Pending, sizes
from headrace.metrics import FILL_BOUNDS, INPUT_BOUNDS, MOST_SHARDS, STAGE_BOUNDS_S, Histogram

OTHER: Final = "other"
"""Stands for the shards beyond those that are counted by name."""


class Round(NamedTuple):
    """One commit of the writer loop.

    Attributes:
        first: Ordinal of its first input.
        last: Ordinal of its last input; below *first* when there was none.
        began_ms: When it began, epoch milliseconds; the time of its inputs.
        waited_s: How long the input that came first waited for it.
        decided_s: How long deciding and rendering took.
        committed_s: How long writing and syncing took.
        settled: Exports whose settlement it stored.
    """

    first: int
    last: int
    began_ms: int
    waited_s: float
    decided_s: float
    committed_s: float
    settled: int


class FlowStages:
    """What the requests of one flow came to.

    Attributes:
        sent: Seconds from the commit time of a request's first record to the request's start.
        acknowledged: Seconds from a request's start to its answer.
        fill: How full requests were.
        records: Records written.
        bytes: Bytes of them.
        shards: Records acknowledged, by shard.
        rejected: Records that the destination will never take, by code.
    """

    __slots__ = ("acknowledged", "bytes", "fill", "records", "rejected", "sent", "shards")

    def __init__(self) -> None:
        self.sent, self.acknowledged = Histogram(STAGE_BOUNDS_S), Histogram(STAGE_BOUNDS_S)
        self.fill = Histogram(FILL_BOUNDS)
        self.records = self.bytes = 0
        self.shards: dict[str, int] = {}
        self.rejected: dict[str, int] = {}

    def answered(self, batch: Sequence[Pending], took_s: float, now_ms: int, limits: Limits) -> None:
        """Count a request that was answered just now."""
        self.acknowledged.add(took_s)
        self.sent.add(max(0.0, (now_ms - batch[0].made_ms) / 1000 - took_s))
        size = sizes(batch)[0]
        self.records += len(batch)
        self.bytes += size
        self.fill.add(max(len(batch) / limits.records, size / limits.request_bytes))
        shards = self.shards
        delivered = Counter([p.outcome.shard for p in batch if p.outcome is not None and not p.outcome.verdict])
        for shard, count in delivered.items():
            name = shard if shard in shards or len(shards) < MOST_SHARDS else OTHER
            shards[name] = shards.get(name, 0) + count

    def settled(self, done: Sequence[Pending]) -> None:
        """Count those of what was settled that were rejected, also without having been written."""
        if len(done) > 1:
            return  # what is rejected is settled alone
        outcome = done[0].outcome
        if outcome is not None and outcome.verdict == Verdict.REJECTED:
            self.rejected[outcome.code] = self.rejected.get(outcome.code, 0) + 1


class Stages:
    """What the batches of an engine, and the requests of its flows, came to since the start.

    Attributes:
        accepted: Seconds that batches waited to be decided.
        decided: Seconds that deciding took.
        committed: Seconds that writing and syncing took.
        inputs: Inputs of a commit that had any.
        flows: Flow id to what its requests came to.
    """

    __slots__ = ("accepted", "committed", "decided", "flows", "inputs")

    def __init__(self) -> None:
        self.accepted, self.decided = Histogram(STAGE_BOUNDS_S), Histogram(STAGE_BOUNDS_S)
        self.committed = Histogram(STAGE_BOUNDS_S)
        self.inputs = Histogram(INPUT_BOUNDS)
        self.flows: dict[str, FlowStages] = {}

    def of(self, flow_id: str) -> FlowStages:
        """Those of a flow."""
        found = self.flows.get(flow_id)
        if found is None:
            found = self.flows[flow_id] = FlowStages()
        return found

    def round(self, done: Round) -> None:
        """Count a commit, unless it stored settlements alone."""
        if done.last >= done.first:
            self.accepted.add(done.waited_s)
            self.decided.add(done.decided_s)
            self.committed.add(done.committed_s)
            self.inputs.add(done.last - done.first + 1)
