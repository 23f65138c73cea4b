"""What each input comes to, worked out by the plain fold: triggers, reasons, memberships. No code of the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from headrace.testing.fold import FlowPlan, Identity, _Folder, _identities, _Profile, _wrote

_TRIGGERS = ("segment", "identity", "attribute")


class Told(NamedTuple):
    """One input, as it should be explained.

    Attributes:
        line: Number of its line, from 0.
        triggers: Per flow those that fire; empty where nothing is exported.
        reasons: Per flow why nothing is, "" where something is.
        before: Audience to status, of the profile as it was.
        after: Likewise afterwards.
        born: Which profile it is about: the order of creation; -1 for none.
        absorbed: Likewise those that it joined into that one.
        fresh: It made the profile.
    """

    line: int
    triggers: dict[str, list[str]]
    reasons: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    born: int
    absorbed: list[int]
    fresh: bool


def told(lines: Sequence[bytes], plans: Mapping[str, FlowPlan], repeats: frozenset[int] = frozenset()) -> list[Told]:
    """One entry for each input that is no refusal, in order; repeats among them.

    Each trigger is asked for alone, by a flow that has no other: a message of it tells that the trigger fires.
    """
    alone = {
        f"{flow}/{trigger}": plan._replace(triggers=(trigger,))
        for flow, plan in plans.items()
        for trigger in _TRIGGERS
    }
    folder = _Folder(alone, None, lambda _: 0)
    found: list[Told] = []
    for number, line in enumerate(lines):
        try:
            update = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        named = _identities(update) if isinstance(update, dict) else set()
        if not named:
            continue
        owners = {o.born: o for i in named if (o := folder._owner.get(i)) is not None}
        oldest = owners[min(owners)] if owners else None
        before = _statuses(oldest)
        if number in repeats:
            held = dict.fromkeys(plans, "repeat")
            owner = folder._owner[primary(update)]
            before = _statuses(owner)
            found.append(Told(number, {flow: [] for flow in plans}, held, before, before, owner.born, [], False))
            continue
        grew = len(owners) > 1 or any(i not in folder._owner for i in named)
        had = {name: _count(folder, name) for name in alone}
        folder.take(number, line)
        after = folder._owner[next(iter(named))]
        said = {
            name: part for name, part in update.items() if name not in ("identityMap", "segmentMembership", "_id")
        }
        triggers: dict[str, list[str]] = {}
        reasons: dict[str, str] = {}
        for flow, plan in plans.items():
            fired = [t for t in _TRIGGERS if _count(folder, f"{flow}/{t}") > had[f"{flow}/{t}"]]
            triggers[flow] = [t for t in fired if t in plan.triggers]
            if triggers[flow]:
                reasons[flow] = ""
            elif not ("segment" in fired or grew or any(_wrote(said, path) for path in plan.paths)):
                reasons[flow] = "no-relevant-change"
            elif not any(after.is_in(segment) for segment in plan.segments) and "segment" not in fired:
                reasons[flow] = "not-a-member"
            else:
                reasons[flow] = "trigger-off"
        found.append(
            Told(
                number,
                triggers,
                reasons,
                before,
                _statuses(after),
                after.born,
                [born for born in owners if born != after.born],
                oldest is None,
            )
        )
    return found


def identities(update: Any) -> list[Identity]:
    """Its identities, sorted."""
    return sorted(_identities(update))


def primary(update: Any) -> Identity:
    """The identity that an update names as primary, else the least."""
    marked = [
        (namespace.lower(), entry["id"])
        for namespace, entries in update["identityMap"].items()
        for entry in entries
        if entry.get("primary")
    ]
    return marked[0] if marked else identities(update)[0]


def _count(folder: _Folder, name: str) -> int:
    return sum(map(len, folder._messages[name].values()))


def _statuses(profile: _Profile | None) -> dict[str, str]:
    if profile is None:
        return {}
    return {
        "/".join(segment): "realized" if membership.member else "exited"
        for segment, membership in profile.memberships.items()
    }
