"""Compiled flows and the snapshot of all of them: values that a step reads and nothing changes.

A snapshot has one canonical text, without secrets, kept beside the journal: ``compile_canonical`` makes the same
snapshot of it, with the same version and digests, so that a replay needs no configuration file.

Holds always (tests/core/test_flow.py checks each by its number):
    F1  The digest of a flow changes with everything that affects the bytes, the partition key or the choice of its
        exports, and with nothing else: not with names of flows, pausing, ordering, or what is not included.
    F2  The version of a snapshot is the hash of its canonical text; the order of flows in a file does not affect it.
    F3  ``compile_canonical(canonical(snapshot)) == snapshot``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from . import paths as _paths
from .model import FOREVER, Lifetimes

PLATFORM_NAMESPACE: Final = "ups"

CANONICAL_FORMAT: Final = 1

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


class _Canonical(msgspec.Struct, frozen=True, kw_only=True):
    """What the canonical text holds. Fields are only added, with a default: old journals keep their versions.

    A default is what held before the field was there, so that an old journal comes to the same.
    """

    format: int
    merge_by: str
    max_identities: int
    unstitchable: list[str]
    flows: list[dict[str, Any]]
    lifetimes: Lifetimes = FOREVER


_NO_ALERTS: Final = FlowAlerts()
"""Left out of the canonical text, so that flows that say nothing of alerts keep the version they had."""

_DERIVED: Final = frozenset({"tree", "plain", "dated", "plan"})


def build(**fields: Any) -> CompiledFlow:
    """A flow from the fields of ``CompiledFlow`` but digest and tree, which follow from the others.

    Raises:
        ValueError: A path in ``paths`` is none.
    """
    parsed = []
    for text in fields.get("paths", ()):
        steps = _paths.parse(text)
        if isinstance(steps, _paths.PathMistake):
            raise ValueError(f"{text!r} is not a path: {steps.problem}")
        parsed.append(steps)
    tree = _paths.tree(parsed)
    fields["paths"] = tuple(_paths.leaves(tree))
    fields["segments"] = {
        namespace: dict(sorted(segments.items())) for namespace, segments in sorted(fields["segments"].items())
    }
    flow = CompiledFlow(**{**fields, "tree": tree, "digest": ""})
    plain = (
        flow.status_model == "current"
        and flow.membership_scope == "all"
        and flow.deliver == "all"
        and not flow.include_names
        and not flow.include_timestamps
    )
    dated = any(
        segment.start_ms is not None or segment.end_ms is not None
        for mapped in flow.segments.values()
        for segment in mapped.values()
    )
    return msgspec.structs.replace(flow, digest=_digest(flow), plain=plain, dated=dated, plan=_plan(tree))


def _plan(tree: dict[str, Any]) -> Plan:
    """Lay the projection tree out as text between values."""
    steps: list[tuple[str, ...]] = []

    def walk(branch: dict[str, Any], above: tuple[str, ...]) -> None:
        for name, below in branch.items():
            if type(below) is str:
                steps.append((*above, name))
            else:
                walk(below, (*above, name))

    walk(tree, ())
    plan: list[tuple[bytes, tuple[str, ...]]] = []
    last: tuple[str, ...] = ()
    for path in steps:
        shared = 0
        while last and shared < min(len(path), len(last)) - 1 and path[shared] == last[shared]:
            shared += 1
        text = b"}" * (len(last) - 1 - shared) + b"," if last else b"{"
        names = [msgspec.json.encode(name) + b":" for name in path[shared:]]
        plan.append((text + b"{".join(names), path))
        last = path
    return tuple(plan)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _digest(flow: CompiledFlow) -> str:
    segments = [
        (
            namespace,
            segment_id,
            segment.name if flow.include_names else None,
            (
                segment.created_at_ms,
                segment.updated_at_ms,
                segment.mapping_created_ms,
                segment.mapping_updated_ms,
            )
            if flow.include_timestamps
            else None,
            segment.start_ms,
            segment.end_ms,
        )
        for namespace, mapped in flow.segments.items()
        for segment_id, segment in mapped.items()
    ]
    return _hash(
        msgspec.json.encode(
            (
                CANONICAL_FORMAT,
                segments,
                flow.paths,
                flow.include_names,
                flow.include_timestamps,
                flow.status_model,
                flow.membership_scope,
                flow.trigger_segment,
                flow.trigger_identity,
                flow.trigger_attribute,
                flow.same_value,
                flow.metadata,
                flow.partition_key,
                flow.deliver,
                flow.consent,
                flow.on_delete,
            )
        )
    )


def snapshot(
    flows: Iterable[CompiledFlow],
    *,
    merge_by: str = "arrival",
    max_identities: int = 50,
    unstitchable: Iterable[str] = (),
    lifetimes: Lifetimes | None = None,
) -> Snapshot:
    """Put flows together under one version.

    Args:
        flows: With distinct ids, in any order.
        merge_by: arrival or timestamp.
        max_identities: 1 or more.
        unstitchable: Namespaces in any case.
        lifetimes: When memberships end by themselves; None for the usual rules.
    """
    ordered = tuple(sorted(flows, key=lambda flow: flow.id))
    segments: dict[str, set[str]] = {}
    for flow in ordered:
        for namespace, mapped in flow.segments.items():
            segments.setdefault(namespace, set()).update(mapped)
    bare = Snapshot(
        version="",
        flows=ordered,
        merge_by=merge_by,
        max_identities=max_identities,
        unstitchable=frozenset(namespace.lower() for namespace in unstitchable),
        lifetimes=lifetimes or Lifetimes(),
        attribute_names=frozenset(name for flow in ordered for name in flow.tree),
        segments={namespace: frozenset(ids) for namespace, ids in segments.items()},
        by_id={flow.id: flow for flow in ordered},
    )
    return msgspec.structs.replace(bare, version=_hash(canonical(bare)))


def canonical(snapshot: Snapshot) -> bytes:
    """The canonical JSON text of a snapshot: compact, in a fixed order, without secrets and without its version."""
    return msgspec.json.encode(
        _Canonical(
            format=CANONICAL_FORMAT,
            merge_by=snapshot.merge_by,
            max_identities=snapshot.max_identities,
            unstitchable=sorted(snapshot.unstitchable),
            flows=[
                {
                    name: getattr(flow, name)
                    for name in flow.__struct_fields__
                    if name not in _DERIVED and (name != "alerts" or flow.alerts != _NO_ALERTS)
                }
                for flow in snapshot.flows
            ],
            lifetimes=snapshot.lifetimes,
        )
    )


def compile_canonical(content: bytes) -> Snapshot:
    """The snapshot of a canonical text, with the same version and digests.

    The digests are taken as they were written, so that a replay makes the same export ids even where a later
    version computes digests in another way; so is the version, as the hash of the text itself.

    Raises:
        ValueError: The text is not of ``canonical``'s making.
    """
    try:
        read = msgspec.json.decode(content, type=_Canonical)
        flows = [msgspec.convert(flow, CompiledFlow) for flow in read.flows]
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a canonical configuration: {error}") from error
    if read.format > CANONICAL_FORMAT:
        raise ValueError(f"a canonical configuration of format {read.format}; this version knows {CANONICAL_FORMAT}")
    rebuilt = [
        msgspec.structs.replace(
            build(**{name: getattr(flow, name) for name in flow.__struct_fields__}), digest=flow.digest
        )
        for flow in flows
    ]
    made = snapshot(
        rebuilt, merge_by=read.merge_by, max_identities=read.max_identities, unstitchable=read.unstitchable,
        lifetimes=read.lifetimes,
    )  # fmt: skip
    return msgspec.structs.replace(made, version=_hash(content))
