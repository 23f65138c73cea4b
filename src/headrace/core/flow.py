"""Compiled flows and the snapshot of all of them: values that a step reads and nothing changes.

``core/canonical.py`` makes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from .model import Lifetimes

PLATFORM_NAMESPACE: Final = "ups"

DISK_BUDGET_BYTES: Final = 4 << 30
"""What a flow's backlog may take on disk unless the flow says otherwise."""


class MappedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """One audience as a flow maps it.

    Attributes:
        name: The audience's name; empty when unknown.
        created_at_ms: When the audience was made, epoch milliseconds; None when unknown.
        updated_at_ms: When it was last changed.
        mapping_created_ms: When it was mapped in this flow.
        mapping_updated_ms: When that mapping was last changed.
        start_date: First day of its exports (``YYYY-MM-DD``, UTC), or None.
        end_date: Last day of its exports, that day included, or None.
        start_ms: Start of the first day, epoch milliseconds; None without a start.
        end_ms: End of the last day (exclusive), epoch milliseconds; None without an end.
    """

    name: str = ""
    created_at_ms: int | None = None
    updated_at_ms: int | None = None
    mapping_created_ms: int | None = None
    mapping_updated_ms: int | None = None
    start_date: str | None = None
    end_date: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None

    def active(self, now_ms: int) -> bool:
        """True when changes of this audience are exported at that time."""
        return (self.start_ms is None or self.start_ms <= now_ms) and (self.end_ms is None or now_ms < self.end_ms)


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """An audience as the configuration describes it.

    Attributes:
        id: Its id within the namespace.
        name: On screen; empty when unknown.
        namespace: ``ups`` for the platform's own; empty when not stated.
        created_at_ms: When it was made, epoch milliseconds; None when unknown.
        updated_at_ms: When it was last changed.
    """

    id: str
    name: str = ""
    namespace: str = ""
    created_at_ms: int | None = None
    updated_at_ms: int | None = None


class PartitionKey(msgspec.Struct, frozen=True):
    """Where a record's partition key comes from; a profile that lacks it falls back to its id.

    Attributes:
        kind: profileId, identity or attribute.
        namespace: For identity: the namespace in lower case.
        steps: For attribute: the parsed path.
    """

    kind: str = "profileId"
    namespace: str = ""
    steps: tuple[str, ...] = ()


class Consent(msgspec.Struct, frozen=True):
    """What a profile must say before it is exported: the value at a path is one of those allowed.

    Attributes:
        steps: The parsed path.
        allowed: Texts, numbers or booleans; compared with type.
    """

    steps: tuple[str, ...]
    allowed: tuple[str | bool | int | float, ...]


class FlowAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """From when on something about a flow is worth an alert, and to whom; what is None is as the settings say.

    Attributes:
        lag_s: Age of the oldest export that waits.
        skip_percent: Share of changes that are skipped.
        mute: Kinds of alerts (``reasons.ALERTS``) that are not raised.
        mail_to: Addresses.
    """

    lag_s: int | None = None
    skip_percent: int | None = None
    mute: tuple[str, ...] = ()
    mail_to: tuple[str, ...] | None = None


Plan = tuple[tuple[bytes, tuple[str, ...]], ...]


class CompiledFlow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow, ready for a step. Built by ``core.compile.compile_flow``, or by ``build`` from parts.

    Attributes:
        id: Flow id.
        name: On screen.
        spec_id: Connection spec id of its destination.
        segments: Namespace to audience id to how it is mapped; both sorted.
        paths: Mapped attribute paths as canonical text, in mapping order, without swallowed ones.
        include_names: Add each mapped audience's name.
        include_timestamps: Add the four times of each mapped audience.
        status_model: current (realized, exited) or seed (realized on entering, existing after, exited).
        membership_scope: mapped (mapped audiences only) or all.
        trigger_segment: A change of a mapped membership exports.
        trigger_identity: A change of identities exports.
        trigger_attribute: A write of a mapped attribute exports.
        same_value: A write of the value that was there counts as one.
        metadata: Add the block ``_headrace``.
        partition_key: Rule of the partition key.
        deliver: all, or joinedLeft (only when a mapped audience was entered or left).
        pause_mode: keep (changes during a pause are exported after it) or skip.
        paused: The flow is disabled.
        ordering: profile or none.
        consent: What the profile must say, or None.
        on_delete: nothing, or exit (one last message with every mapped membership exited).
        overflow: What happens when the backlog reaches its budget: catch-up (export only the current state, once
            there is room again) or stop-sources (read no more updates).
        disk_budget_bytes: What the exports that wait may take on disk.
        alerts: From when on something about it is worth an alert.
        digest: 16 hexadecimal digits over what affects the output (F1).
        tree: Projection tree of ``paths``.
        plain: Its messages hold all memberships as they are, so that flows can share the rendered part.
        dated: Some audience has a start or an end.
        plan: For each mapped path, in order, the text that stands before its value in a message of a profile
            that has them all, and its steps.
    """

    id: str
    name: str
    spec_id: str
    segments: dict[str, dict[str, MappedSegment]]
    paths: tuple[str, ...] = ()
    include_names: bool = False
    include_timestamps: bool = False
    status_model: str = "current"
    membership_scope: str = "all"
    trigger_segment: bool = True
    trigger_identity: bool = True
    trigger_attribute: bool = True
    same_value: bool = True
    metadata: bool = False
    partition_key: PartitionKey = PartitionKey()
    deliver: str = "all"
    pause_mode: str = "keep"
    paused: bool = False
    ordering: str = "profile"
    consent: Consent | None = None
    on_delete: str = "nothing"
    overflow: str = "catch-up"
    disk_budget_bytes: int = DISK_BUDGET_BYTES
    alerts: FlowAlerts = FlowAlerts()
    digest: str = ""
    tree: dict[str, Any] = {}
    plain: bool = False
    dated: bool = False
    plan: Plan = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All flows at one moment, with what is common to them.

    Attributes:
        version: 16 hexadecimal digits over the canonical text.
        flows: Sorted by id.
        merge_by: arrival or timestamp: which write of a field wins.
        max_identities: Most identities that one profile may gather.
        unstitchable: Namespaces, in lower case, that never join profiles.
        lifetimes: When memberships end by themselves.
        attribute_names: Top-level attributes mapped by any flow.
        segments: Namespace to ids of the audiences mapped by any flow.
        by_id: Flow id to flow.
        overflowing: Ids of flows whose backlog is over its budget: they make no exports for now. Not part of the
            version: it is the runtime's, and recorded with each batch.
    """

    version: str
    flows: tuple[CompiledFlow, ...]
    merge_by: str = "arrival"
    max_identities: int = 50
    unstitchable: frozenset[str] = frozenset()
    lifetimes: Lifetimes = Lifetimes()
    attribute_names: frozenset[str] = frozenset()
    segments: dict[str, frozenset[str]] = {}
    by_id: dict[str, CompiledFlow] = {}
    overflowing: frozenset[str] = frozenset()

    def concerns(self, attributes: dict[str, Any], memberships: Iterable[tuple[str, str]]) -> bool:
        """False when no flow maps anything that an update states (identities apart).

        Args:
            attributes: The update's top-level attributes.
            memberships: (namespace, audience id) of each membership it states.
        """
        if not self.attribute_names.isdisjoint(attributes):
            return True
        return any(segment_id in self.segments.get(namespace, ()) for namespace, segment_id in memberships)
