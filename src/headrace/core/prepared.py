"""A snapshot as a step reads it: what it asks of each flow for every input, looked up once for all inputs.

Snapshots and flows are structs, whose members compiled code has to ask the type for; these classes are read directly.
Their members are those of the same name in ``core.flow``, and what follows from them.
"""

from __future__ import annotations

from typing import Any, Final

from headrace.core.flow import CompiledFlow, Consent, MappedSegment, Snapshot
from headrace.core.message import Layout


class PreparedFlow:
    """One flow of a snapshot.

    Attributes:
        flow: The flow itself, for what is seldom asked.
        skips: It is paused, and skips what changes meanwhile.
        layout: How its messages lay out attributes.
        by_profile: Its partition key is the profile's id.
        holds_back: Its backlog is over its budget.
    """

    __slots__ = ("by_profile", "consent", "dated", "deliver_all", "digest", "flow", "holds_back", "id", "layout",
                 "metadata", "plain", "same_value", "segments", "skips", "tree", "trigger_attribute",
                 "trigger_identity", "trigger_segment")  # fmt: skip

    def __init__(self, flow: CompiledFlow, *, holds_back: bool) -> None:
        self.flow = flow
        self.id: str = flow.id
        self.digest: str = flow.digest
        self.segments: dict[str, dict[str, MappedSegment]] = flow.segments
        self.tree: dict[str, Any] = flow.tree
        self.consent: Consent | None = flow.consent
        self.layout = Layout(flow)
        self.dated: bool = flow.dated
        self.plain: bool = flow.plain
        self.metadata: bool = flow.metadata
        self.same_value: bool = flow.same_value
        self.trigger_segment: bool = flow.trigger_segment
        self.trigger_identity: bool = flow.trigger_identity
        self.trigger_attribute: bool = flow.trigger_attribute
        self.deliver_all = flow.deliver == "all"
        self.skips = flow.paused and flow.pause_mode == "skip"
        self.by_profile = flow.partition_key.kind == "profileId"
        self.holds_back = holds_back


class Prepared:
    """A snapshot.

    Attributes:
        snapshot: The snapshot itself.
        timed: mergeBy timestamp.
    """

    __slots__ = ("flows", "snapshot", "timed", "version")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.version: str = snapshot.version
        self.timed = snapshot.merge_by == "timestamp"
        self.flows = [PreparedFlow(flow, holds_back=flow.id in snapshot.overflowing) for flow in snapshot.flows]


_MOST: Final = 4
"""A preview folds by two snapshots in turn, beside the engine's own."""
_recent: list[Prepared] = []


def prepared(snapshot: Snapshot) -> Prepared:
    """The snapshot, prepared; made anew only where it is not one of the last few."""
    global _recent
    for one in _recent:
        if one.snapshot is snapshot:
            return one
    made = Prepared(snapshot)
    _recent = [made, *_recent[: _MOST - 1]]
    return made
