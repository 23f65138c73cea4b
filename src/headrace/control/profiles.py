"""Use cases: read and delete profiles, and see what paths they have (Profile Access API).

The engine keeps the profiles, of its one sandbox.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from . import access, engine
from .access import Caller, Permission
from .problems import Code, problem
from .profile_schemas import stored_schema
from .runtime import Runtime
from .service import Control, reading

__all__ = ["Found", "delete_profile", "list_deletions", "observed_schema", "read_profile", "read_profile_by_id"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A profile.

    Attributes:
        profile_id: Opaque.
        version: Grows with each change.
        entity: Attributes, ``identityMap`` and ``segmentMembership``.
        identities: Each with namespace and id.
        updated_ms: Of its last change; None when unknown.
    """

    profile_id: str
    version: int
    entity: dict[str, Any]
    identities: list[dict[str, Any]]
    updated_ms: int | None = None

    @property
    def updated(self) -> str | None:
        """When it changed last, ISO 8601."""
        if self.updated_ms is None:
            return None
        at = datetime.datetime.fromtimestamp(self.updated_ms / 1000, datetime.UTC)
        return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def read_profile(
    control: Control,
    runtime: Runtime,
    caller: Caller,
    namespace: str | None,
    identity: str | None,
    fields: Sequence[str] = (),
) -> Found:
    """A profile by one of its identities; needs View Profiles.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        namespace: Of the identity, in any case.
        identity: Its value.
        fields: Paths of the attributes that are shown; all when empty.

    Raises:
        UseCaseError: 1101-404, 1451-400, 3016-503.
    """
    access.require(caller, (Permission.VIEW_PROFILES,))
    return _found(_profile(control, runtime, caller, namespace, identity), fields)


def read_profile_by_id(control: Control, runtime: Runtime, caller: Caller, profile_id: str) -> Found:
    """A profile by its opaque id, as exports and the ledger name it; needs View Profiles.

    Raises:
        UseCaseError: 1101-404, 3016-503.
    """
    access.require(caller, (Permission.VIEW_PROFILES,))
    engine.in_engines_sandbox(control, caller)
    answer = engine.asked(runtime, "profile", profile_id=profile_id)
    if answer is None:
        raise problem(Code.NOT_FOUND, "no profile has this id")
    return _found(answer)


def _found(answer: Mapping[str, Any], fields: Sequence[str] = ()) -> Found:
    attributes = answer.get("attributes") or {}
    entity = dict(attributes)
    identities = [dict(each) for each in answer.get("identities") or ()]
    entity["identityMap"] = _identity_map(identities)
    entity["segmentMembership"] = answer.get("memberships") or {}
    if fields:
        entity = _projected(entity, fields)
    return Found(
        profile_id=str(answer["profileId"]),
        version=int(answer.get("version", 0)),
        entity=entity,
        identities=identities,
        updated_ms=answer.get("updatedAt"),
    )


def delete_profile(
    control: Control, runtime: Runtime, caller: Caller, namespace: str | None, identity: str | None
) -> dict[str, Any]:
    """Delete a profile with everything that is kept of it; needs Manage Profiles.

    The audit log names its opaque id, no identity.

    Raises:
        UseCaseError: 1101-404, 1451-400, 3016-503 or 3017-400.
    """
    access.require(caller, (Permission.MANAGE_PROFILES,))
    answer = _profile(control, runtime, caller, namespace, identity)
    report = engine.asked(runtime, "profile-delete", namespace=namespace, id=identity)
    profile_id = str(answer["profileId"])
    engine.note(control, caller, "delete", "profiles", profile_id, {"profileId": profile_id})
    return report if isinstance(report, dict) else {}


def list_deletions(
    control: Control, runtime: Runtime, caller: Caller, run: str | None = None
) -> list[dict[str, Any]]:
    """How far deletions of profiles are; needs Manage Profiles. They name nobody.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        run: Only this one; None for all that are remembered.

    Returns:
        For each ``run``, ``state`` (deleting, settling, erasing, compacting or done), ``exports`` (flow id to the id
        of its last message), ``waits_for`` (flow ids), ``erased`` (how much of what), ``asked_ms`` and ``done_ms``.

    Raises:
        UseCaseError: 1101-404 for one that is not known, 3016-503 or 3017-400.
    """
    access.require(caller, (Permission.MANAGE_PROFILES,))
    engine.in_engines_sandbox(control, caller)
    found: list[dict[str, Any]] = engine.asked(runtime, "profile-deletions", run=run)
    if run is not None and not found:
        raise problem(Code.NOT_FOUND, "there is no such deletion, or it was long ago")
    return found


def observed_schema(
    control: Control, runtime: Runtime, caller: Caller, *, most: int | None = None
) -> list[dict[str, Any]]:
    """Paths that profiles have, with type, count and a masked sample; needs View Profiles.

    Where the sandbox has a schema of profiles, each path tells whether it knows it (``declared``), and what it knows
    besides is listed too, with a count of 0.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        most: Profiles that are looked at, when fewer will do than the engine looks at by itself.

    Raises:
        UseCaseError: 3016-503.
    """
    access.require(caller, (Permission.VIEW_PROFILES,))
    with reading(control, caller) as transaction:
        schema = stored_schema(transaction, caller)
    engine.in_engines_sandbox(control, caller)
    found: list[dict[str, Any]] = engine.asked(runtime, "observed-schema", most=most)
    if schema is None:
        return found
    unknown = set(schema.unknown([str(each.get("path")) for each in found]))
    seen = [{**each, "declared": each.get("path") not in unknown} for each in found]
    there = {each.get("path") for each in found}
    more = [
        {"path": path, "type": kind, "count": 0, "of": found[0].get("of", 0) if found else 0, "declared": True}
        for path, kind in schema.leaves()
        if path not in there
    ]
    return sorted([*seen, *more], key=lambda each: str(each["path"]))


def _profile(
    control: Control, runtime: Runtime, caller: Caller, namespace: str | None, identity: str | None
) -> Mapping[str, Any]:
    if not namespace or not identity:
        raise problem(Code.BAD_PARAMETER, "name an identity: entityId and entityIdNS")
    engine.in_engines_sandbox(control, caller)
    answer = engine.asked(runtime, "profile", namespace=namespace, id=identity)
    if answer is None:
        raise problem(Code.NOT_FOUND, "no profile has this identity")
    found: Mapping[str, Any] = answer
    return found


def _identity_map(identities: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in identities:
        found.setdefault(str(each.get("namespace", "")).lower(), []).append({"id": each.get("id")})
    return found


def _projected(entity: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The members that paths lead to, nested as they were."""
    made: dict[str, Any] = {}
    for path in fields:
        value: Any = entity
        steps = path.strip().split(".")
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            continue
        inner = made
        for step in steps[:-1]:
            following = inner.setdefault(step, {})
            # A path through what another one already shows whole adds nothing.
            inner = following if isinstance(following, dict) else {}
        inner[steps[-1]] = value
    return made
