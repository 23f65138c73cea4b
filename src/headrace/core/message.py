"""Render the message of spec 1.2: mapped attributes at the root, ``segmentMembership``, ``identityMap``.

Compact JSON, UTF-8. Attributes keep the mapping's order; memberships and identities are sorted by
(namespace, id), so that the same profile always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from headrace.core.flow import CompiledFlow, MappedSegment, Plan
from headrace.core.model import Cause, Membership
from headrace.core.paths import project
from headrace.core.times import on_wire

_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="deterministic").encode

Memberships = Mapping[str, Mapping[str, Membership]]
Mapped = Mapping[str, Mapping[str, MappedSegment]]


class _Item(msgspec.Struct, frozen=True, gc=False):
    id: str


class _Entry(msgspec.Struct, frozen=True, gc=False):
    lastQualificationTime: str  # noqa: N815 - the wire's spelling
    status: str


def text(value: Any) -> str:
    """A value's JSON text."""
    return _encode(value).decode()


def identity_part(identities: Mapping[str, list[str]]) -> bytes:
    """``identityMap``: lower-case namespaces, each item carrying only its id."""
    return _encode({namespace: [_Item(i) for i in ids] for namespace, ids in identities.items()})


def plain_membership_part(memberships: Memberships) -> bytes:
    """``segmentMembership`` of all audiences, current statuses, no extras: the common case, shared by flows."""
    return _encode(
        {
            namespace: {
                segment_id: _Entry(m.since[:19] + "Z", "realized" if m.member else "exited")
                for segment_id, m in segments.items()
            }
            for namespace, segments in memberships.items()
        }
    )


def membership_part(
    flow: CompiledFlow, mapped: Mapped, memberships: Memberships, entered: Collection[tuple[str, str]]
) -> bytes:
    """``segmentMembership`` with the flow's scope, statuses, names and timestamps.

    Args:
        flow: Whose settings apply.
        mapped: Its mapped audiences.
        memberships: What the message may hold.
        entered: (namespace, id) entered by this input: ``realized`` where statusModel seed says
            ``existing`` of the others.
    """
    seed = flow.status_model == "seed"
    part: dict[str, dict[str, dict[str, Any]]] = {}
    for namespace, segments in memberships.items():
        of_flow = mapped.get(namespace, {})
        for segment_id, m in segments.items():
            segment = of_flow.get(segment_id)
            if segment is None and flow.membership_scope == "mapped":
                continue
            status = "realized" if m.member else "exited"
            if seed and m.member and (namespace, segment_id) not in entered:
                status = "existing"
            entry: dict[str, Any] = {"lastQualificationTime": on_wire(m.since), "status": status}
            if segment is not None:
                _add_extras(flow, segment, entry)
            part.setdefault(namespace, {})[segment_id] = entry
    return _encode_sorted(part)


def _add_extras(flow: CompiledFlow, segment: MappedSegment, entry: dict[str, Any]) -> None:
    """Names and timestamps, only for audiences mapped in the flow, as the newest page has it."""
    if flow.include_names and segment.name:
        entry["name"] = segment.name
    if flow.include_timestamps:
        times = {
            "createdAt": segment.created_at_ms,
            "updatedAt": segment.updated_at_ms,
            "mappingCreatedAt": segment.mapping_created_ms,
            "mappingUpdatedAt": segment.mapping_updated_ms,
        }
        entry |= {key: value for key, value in times.items() if value is not None}


def metadata_part(
    *, flow_id: str, profile_id: str, export_id: str, seq: int, version: int, epoch: int, config: str, cause: Cause
) -> bytes:
    """The ``_headrace`` block: what a consumer needs to drop repeats, see gaps, and tell why.

    ``seq`` counts within flow, profile and epoch, so all three are told: flows may share a stream, and the
    partition key need not be the profile's id.
    """
    return _encode(
        {
            "exportId": export_id,
            "flowId": flow_id,
            "profileId": profile_id,
            "seq": seq,
            "profileVersion": version,
            "epoch": epoch,
            "absorbed": cause.absorbed,
            "cause": {
                "kind": cause.kind,
                "triggers": cause.triggers,
                "paths": cause.paths,
                "joined": cause.joined,
                "left": cause.left,
            },
            "configuration": config,
        }
    )


def assemble(
    flow: CompiledFlow, attributes: dict[str, Any], membership: bytes, identity: bytes, block: bytes | None
) -> bytes:
    """Join the parts into one message."""
    head = _all_there(flow.plan, attributes)
    if head is None:
        chosen = project(flow.tree, attributes)
        head = _encode(chosen)[:-1] + b"," if chosen else b"{"
    tail = b"}" if block is None else b',"_headrace":' + block + b"}"
    return b"".join((head, b'"segmentMembership":', membership, b',"identityMap":', identity, tail))


def _all_there(plan: Plan, attributes: dict[str, Any]) -> bytes | None:
    """The attributes' part when the profile has every mapped one: the text between the values is known.

    Gives the bytes that encoding ``project`` would give, at a third of its time; None when one is missing.
    """
    parts: list[bytes] = []
    try:
        for before, steps in plan:
            value: Any = attributes
            for step in steps:
                value = value[step]
            if value is None or value == {}:
                return None
            parts.append(before)
            parts.append(_encode(value))
    except (KeyError, TypeError, IndexError):
        return None
    if not parts:
        return None
    parts.append(plan_end(plan))
    return b"".join(parts)


def plan_end(plan: Plan) -> bytes:
    """What closes the last value's objects, and a comma."""
    return b"}" * (len(plan[-1][1]) - 1) + b","
