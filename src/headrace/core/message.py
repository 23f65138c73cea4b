"""Render the message of spec 1.2: mapped attributes at the root, ``segmentMembership``, ``identityMap``.

Compact JSON, UTF-8. Attributes keep the mapping's order; memberships and identities are sorted by
(namespace, id), so that the same profile always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from headrace.core.flow import CompiledFlow, MappedSegment, Plan
from headrace.core.model import Cause, Membership
from headrace.core.paths import project
from headrace.core.times import on_wire

_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="deterministic").encode

Memberships = dict[str, dict[str, Membership]]
Mapped = dict[str, dict[str, MappedSegment]]


class _Why(msgspec.Struct, frozen=True, gc=False):
    kind: str
    triggers: list[str]
    paths: list[str]
    joined: list[str]
    left: list[str]


class _Metadata(msgspec.Struct, frozen=True, gc=False):
    exportId: str  # noqa: N815 - the wire's spelling
    flowId: str  # noqa: N815
    profileId: str  # noqa: N815
    seq: int
    profileVersion: int  # noqa: N815
    epoch: int
    absorbed: list[str]
    cause: _Why
    configuration: str


class _Leaf:
    """A mapped attribute: the text before its value in a message of a profile that has them all, and its path."""

    __slots__ = ("before", "below", "name")

    def __init__(self, before: bytes, steps: tuple[str, ...]) -> None:
        self.before, self.name, self.below = before, steps[0], steps[1:]


class Layout:
    """How a flow lays out attributes in its messages; made once for all of them.

    Attributes:
        tree: Projection tree, for profiles that lack some.
        leaves: For those that have them all.
        end: What closes the last value's objects, and a comma.
    """

    __slots__ = ("end", "leaves", "tree")

    def __init__(self, flow: CompiledFlow) -> None:
        plan: Plan = flow.plan
        self.tree: dict[str, Any] = flow.tree
        self.leaves = [_Leaf(before, steps) for before, steps in plan]
        self.end = b"}" * (len(plan[-1][1]) - 1) + b"," if plan else b""


def text(value: Any) -> str:
    """A value's JSON text."""
    return _encode(value).decode()


_MOST_NAMES: Final = 4096
_names: Final[dict[str, str]] = {}
_openings: Final[dict[str, bytes]] = {}


def _quoted(name: str) -> str:
    """The JSON text of a namespace's or an audience's name; there are few of them, so it is kept."""
    found = _names.get(name)
    if found is None:
        if len(_names) >= _MOST_NAMES:
            _names.clear()
        found = _names[name] = text(name)
    return found


def _opening(namespace: str) -> bytes:
    """What stands before the first id of a namespace, likewise."""
    found = _openings.get(namespace)
    if found is None:
        if len(_openings) >= _MOST_NAMES:
            _openings.clear()
        found = _openings[namespace] = f'{text(namespace)}:[{{"id":'.encode()
    return found


def identity_part(identities: dict[str, list[str]]) -> bytes:
    """``identityMap``: lower-case namespaces, each item carrying only its id."""
    parts: list[bytes] = []
    between = b"{"
    for namespace, ids in identities.items():
        parts.append(between)
        parts.append(_opening(namespace))
        between = b"}],"
        first = True
        for key in ids:
            if not first:
                parts.append(b'},{"id":')
            parts.append(_encode(key))
            first = False
    parts.append(b"}]}" if parts else b"{}")
    return b"".join(parts)


def plain_membership_part(memberships: Memberships) -> bytes:
    """``segmentMembership`` of all audiences, current statuses, no extras: the common case, shared by flows."""
    parts: list[str] = []
    for namespace, segments in memberships.items():
        entries: list[str] = []
        for segment_id, m in segments.items():
            status = "realized" if m.member else "exited"
            since = m.since[:19]
            entries.append(f'{_quoted(segment_id)}:{{"lastQualificationTime":"{since}Z","status":"{status}"}}')
        inner = ",".join(entries)
        parts.append(f"{_quoted(namespace)}:{{{inner}}}")
    whole = ",".join(parts)
    return f"{{{whole}}}".encode()


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
    why = _Why(cause.kind, cause.triggers, cause.paths, cause.joined, cause.left)
    return _encode(
        _Metadata(export_id, flow_id, profile_id, seq, version, epoch, cause.absorbed, why, config)
    )  # fmt: skip


def assemble(
    layout: Layout, attributes: dict[str, Any], membership: bytes, identity: bytes, block: bytes | None
) -> bytes:
    """Join the parts into one message."""
    parts: list[bytes] = []
    if not _all_there(layout, attributes, parts):
        chosen = project(layout.tree, attributes)
        parts = [_encode(chosen)[:-1], b","] if chosen else [b"{"]
    parts.append(b'"segmentMembership":')
    parts.append(membership)
    parts.append(b',"identityMap":')
    parts.append(identity)
    if block is not None:
        parts.append(b',"_headrace":')
        parts.append(block)
    parts.append(b"}")
    return b"".join(parts)


def _all_there(layout: Layout, attributes: dict[str, Any], parts: list[bytes]) -> bool:
    """The attributes' part when the profile has every mapped one: the text between the values is known.

    Gives the bytes that encoding ``project`` would give, at a third of its time; false when one is missing.
    """
    for leaf in layout.leaves:
        value: Any = attributes.get(leaf.name)
        for step in leaf.below:
            if not isinstance(value, dict):
                return False
            value = value.get(step)
        if value is None or (isinstance(value, dict) and not value):
            return False
        parts.append(leaf.before)
        parts.append(_encode(value))
    if not parts:
        return False
    parts.append(layout.end)
    return True
