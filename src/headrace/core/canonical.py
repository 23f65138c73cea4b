"""Flows from their parts, and the snapshot of all of them, with digests, a version and one canonical text.

The canonical text is without secrets and kept beside the journal: ``compile_canonical`` makes the same snapshot of
it, with the same version and digests, so that a replay needs no configuration file.

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
from .flow import CompiledFlow, FlowAlerts, Plan, Snapshot
from .model import FOREVER, Lifetimes

CANONICAL_FORMAT: Final = 1


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
