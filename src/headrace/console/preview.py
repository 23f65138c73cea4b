"""The message that a draft would send about a profile, rendered by the core itself.

The profile is given to the core as one update that makes it, under the flow as drafted; what comes out is the export
that the engine would make, or the core's reason why there would be none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.control import compiling
from headrace.control.access import Permission
from headrace.control.resources import Kind
from headrace.control.service import reading
from headrace.control.store import Query
from headrace.core import canonical as _canonical
from headrace.core import flow as _flow
from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.core.paths import PathMistake, parse
from headrace.core.step import step
from headrace.core.times import from_ms
from headrace.core.update import parse_update
from headrace.errors import Mistake, UpdateRefusedError

from .drafts import Draft
from .texts import Texts
from .visit import Visit, without_place

_SAMPLES: Final[dict[str, Any]] = {
    "firstName": "Ada",
    "lastName": "Example",
    "address": "ada@example.com",
    "number": "+1 555 0100",
    "city": "Springfield",
    "country": "US",
    "postalCode": "00000",
}
_BY_TYPE: Final[dict[str, Any]] = {"integer": 7, "number": 7.5, "boolean": True, "array": ["example"]}


class Preview(msgspec.Struct, kw_only=True):
    """What would be sent.

    Attributes:
        message: As JSON; None when nothing would be.
        size_bytes: Of the message as it is sent.
        key_bytes: Of its partition key.
        reason: Why nothing would be sent; empty otherwise.
        mistakes: What is wrong with the draft.
        warnings: What is hardly meant.
        sample: The profile is made up.
        namespaces: Audience id to namespace, of those that are defined here.
    """

    message: dict[str, Any] | None = None
    size_bytes: int = 0
    key_bytes: int = 0
    reason: str = ""
    mistakes: Sequence[Mistake] = ()
    warnings: Sequence[str] = ()
    sample: bool = True
    namespaces: Mapping[str, str] = {}


def rendered(
    visit: Visit, draft: Draft, *, entity: Mapping[str, Any] | None = None, types: Mapping[str, str] | None = None
) -> Preview:
    """Render a draft's message; needs what reading a flow and its audiences needs.

    Args:
        visit: Who asks.
        draft: What the flow is to map.
        entity: A profile as its use case gives it; None for a made-up one that is in every chosen audience.
        types: Attribute path to observed type, for the made-up one.

    Raises:
        UseCaseError: 2120-403.
    """
    needed = (Permission.VIEW_DESTINATIONS, Permission.VIEW_SEGMENTS)
    with reading(visit.control, visit.caller, *needed) as transaction:
        records = transaction.find(Query(kind=Kind.SEGMENT, scope=visit.caller.scope))
    document: dict[str, Any] = {
        name: draft.row.flow[name]
        for name in ("name", "flowSpec", "sourceConnectionIds", "targetConnectionIds")
        if name in draft.row.flow
    }
    document["transformations"] = draft.transformations()
    compiled = compiling.compile_flow(
        draft.row.id, "enabled", document, segments=records, params=draft.row.target.get("params") or {},
        spec_id=draft.row.spec.id if draft.row.spec else "",
    )  # fmt: skip
    namespaces = {each.id: str(each.body.get("namespace", PLATFORM_NAMESPACE)) for each in records}
    warnings = [without_place(each) for each in compiled.warnings]
    made = Preview(mistakes=compiled.mistakes, warnings=warnings, namespaces=namespaces)
    if compiled.flow is None:
        return made
    now_ms = visit.control.clock.now_ms()
    made.sample = entity is None
    body = dict(entity) if entity is not None else sample_profile(draft, namespaces, types or {}, now_ms)
    return _step(made, compiled.flow, body, now_ms, visit.t)


def _step(made: Preview, flow: _flow.CompiledFlow, body: Mapping[str, Any], now_ms: int, t: Texts) -> Preview:
    try:
        update = parse_update(msgspec.json.encode(body))
    except UpdateRefusedError as error:
        made.reason = t.reason(error.reason, str(error))
        return made
    profile_id = hashlib.blake2b(b"preview", digest_size=16).hexdigest()
    done = step(None, (), update, update.identities, profile_id, 1, now_ms, _canonical.snapshot([flow]))
    if not done.exports:
        made.reason = t.reason(done.held[0])
        return made
    export = done.exports[0][2]
    made.message = msgspec.json.decode(export.data)
    made.size_bytes, made.key_bytes = len(export.data), len(export.key.encode())
    return made


def sample_profile(
    draft: Draft, namespaces: Mapping[str, str], types: Mapping[str, str], now_ms: int
) -> dict[str, Any]:
    """A made-up profile with every mapped attribute, in every chosen audience; nobody's values."""
    made: dict[str, Any] = {"identityMap": {"ecid": [{"id": "10000000000000000000000000000000000001"}]}}
    memberships: dict[str, dict[str, Any]] = {}
    for each in draft.audiences:
        namespace = each.namespace or namespaces.get(each.id, PLATFORM_NAMESPACE)
        entry = {"status": "realized", "lastQualificationTime": from_ms(now_ms)}
        memberships.setdefault(namespace, {})[each.id] = entry
    for path in draft.paths:
        steps = parse(path)
        if isinstance(steps, PathMistake) or steps[0] in ("segmentMembership", "identityMap"):
            continue
        inner = made
        for name in steps[:-1]:
            below = inner.setdefault(name, {})
            if not isinstance(below, dict):
                break
            inner = below
        else:
            inner.setdefault(steps[-1], _SAMPLES.get(steps[-1], _BY_TYPE.get(types.get(path, ""), "example")))
    made["segmentMembership"] = memberships
    return made
