"""What should be exported, worked out a second time, plainly and slowly, from the updates themselves.

This is the expectation that the judge holds the product to. It shares no code with the core and must
not: a mistake that both made would go unseen. It knows the rules as the specification words them:

    F1  Identities link people. Namespaces compare in lower case; the profile created first survives a merge.
    F2  Attributes merge deeply, by arrival. Null removes, arrays replace, an object and a scalar replace each other.
        When profiles merge, of each top-level attribute the side that got its present value (or lost it) later lies
        on top of the other; writing what is there already renews nothing.
    F3  A membership older than the stored one is ignored; of equal times the later input wins, where it says
        something else.
    F4  At most one message per input and flow, when a mapped audience was entered or left, or, for a member of a
        mapped audience after the input, when identities were added or joined, or a mapped path was written.
    F5  The message holds the mapped attributes that there are (an empty object is none), memberships, and all
        identities.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from headrace.testing.judge import Join, canonical

_IN: Final = {"realized": True, "existing": True, "exited": False}

_NO_ATTRIBUTES: Final = frozenset({"identityMap", "segmentMembership", "_id"})

Identity = tuple[str, str]
Segment = tuple[str, str]


class FlowPlan(NamedTuple):
    """What a flow maps, in the plainest words.

    Attributes:
        segments: Mapped audiences as (namespace, id).
        paths: Mapped attributes as dotted paths.
        scope: ``all`` memberships in the message, or ``mapped`` ones only.
        triggers: Of segment, identity and attribute: those that are on.
    """

    segments: Sequence[Segment]
    paths: Sequence[str] = ()
    scope: str = "all"
    triggers: Sequence[str] = ("segment", "identity", "attribute")


class _Membership(NamedTuple):
    member: bool
    since: datetime
    order: int


class _Profile:
    """One profile; *born* is the order of creation and its key for the judge."""

    def __init__(self, born: int) -> None:
        self.born = born
        self.identities: set[Identity] = set()
        self.attributes: dict[str, Any] = {}
        self.written: dict[str, int] = {}
        self.memberships: dict[Segment, _Membership] = {}

    def is_in(self, segment: Segment) -> bool:
        return segment in self.memberships and self.memberships[segment].member


class Folded(NamedTuple):
    """What was worked out.

    Attributes:
        messages: For each flow, for each profile (by order of creation, from 0), its messages in order,
            or what ``identify`` made of them.
        joins: For each flow, which profiles took in which; for the judge.
        people: Profile to the profile that it is part of at the end (itself when it was not absorbed).
        identities: For each profile that is left at the end, its identities, sorted.
        refused: Numbers (from 0) of lines that are no update: not JSON, no object, or without identity.
    """

    messages: dict[str, dict[int, list[Any]]]
    joins: dict[str, list[Join]]
    people: dict[int, int]
    identities: dict[int, tuple[Identity, ...]]
    refused: list[int]

    def expected(self, flow: str) -> dict[int, list[Hashable]]:
        """Return a flow's messages ready for the judge, which identifies them by ``judge.content``."""
        return {
            profile: [canonical(message) if isinstance(message, dict) else message for message in messages]
            for profile, messages in self.messages[flow].items()
        }


def fold(
    lines: Iterable[bytes | str],
    flows: Mapping[str, FlowPlan],
    *,
    now: str | None = None,
    identify: Callable[[Mapping[str, Any]], Hashable] | None = None,
) -> Folded:
    """Fold updates into the messages that each flow should export.

    Args:
        lines: One JSON text each: a bare XDM record.
        flows: Flow id to what it maps.
        now: Time of every input, for memberships that state none; None refuses to guess.
        identify: Keep only this of each message, for large inputs: ``judge.canonical``.

    Raises:
        ValueError: A membership states no time and *now* is None, or a status or time is none.
    """
    folder = _Folder(flows, _time(now) if now else None, identify)
    for number, line in enumerate(lines):
        folder.take(number, line)
    return folder.result()


class _Folder:
    def __init__(
        self,
        flows: Mapping[str, FlowPlan],
        now: datetime | None,
        identify: Callable[[Mapping[str, Any]], Hashable] | None,
    ) -> None:
        self._flows, self._now = flows, now
        self._keep: Callable[[dict[str, Any]], Any] = identify or copy.deepcopy
        self._owner: dict[Identity, _Profile] = {}
        self._parent: dict[int, int] = {}
        self._messages: dict[str, dict[int, list[Any]]] = {flow: {} for flow in flows}
        self._joins: dict[str, list[Join]] = {flow: [] for flow in flows}
        self._refused: list[int] = []

    def take(self, order: int, line: bytes | str) -> None:
        """Take one input."""
        try:
            update = msgspec.json.decode(line)
        except msgspec.DecodeError:
            update = None
        identities = _identities(update) if isinstance(update, dict) else set()
        if not identities:
            self._refused.append(order)
            return
        profile, absorbed = self._find(identities)
        before = {segment for segment in profile.memberships if profile.is_in(segment)}
        before_any = before.union(*({s for s in other.memberships if other.is_in(s)} for other in absorbed))
        fresh = bool(absorbed) or not identities <= profile.identities
        for other in absorbed:
            self._absorb(profile, other)
        if absorbed:
            _lay_attributes(profile, [profile, *absorbed])
        profile.identities |= identities
        for identity in profile.identities:
            self._owner[identity] = profile
        self._remember(profile, update.get("segmentMembership") or {}, order)
        said = {name: part for name, part in update.items() if name not in _NO_ATTRIBUTES}
        for name, part in said.items():
            if _write(profile.attributes, name, part):
                profile.written[name] = order
        for flow, plan in self._flows.items():
            if _is_due(plan, profile, before, before_any, said, fresh=fresh):
                self._messages[flow].setdefault(profile.born, []).append(self._keep(_message(plan, profile)))

    def _find(self, identities: set[Identity]) -> tuple[_Profile, list[_Profile]]:
        known = {self._owner[i].born: self._owner[i] for i in identities if i in self._owner}
        if not known:
            born = len(self._parent)
            self._parent[born] = born
            return _Profile(born), []
        oldest, *others = (known[born] for born in sorted(known))
        return oldest, others

    def _absorb(self, profile: _Profile, other: _Profile) -> None:
        """Take over another profile's identities and memberships, and note that it ends here."""
        profile.identities |= other.identities
        for segment, membership in other.memberships.items():
            mine = profile.memberships.get(segment)
            if mine is None or (membership.since, membership.order) > (mine.since, mine.order):
                profile.memberships[segment] = membership
        self._parent[other.born] = profile.born
        for flow, joins in self._joins.items():
            position = len(self._messages[flow].get(profile.born, ()))
            joins.append(Join(other.born, profile.born, position))

    def _remember(self, profile: _Profile, stated: Mapping[str, Any], order: int) -> None:
        for namespace, segments in stated.items():
            for segment_id, membership in segments.items():
                segment = (namespace, segment_id)
                status = membership.get("status", "realized")
                if status not in _IN:
                    raise ValueError(f"a membership with status {status}")
                member = _IN[status]
                since = membership.get("lastQualificationTime", membership.get("timestamp"))
                stored = profile.memberships.get(segment)
                if since is None:
                    if stored is not None and stored.member == member:
                        continue
                    if self._now is None:
                        raise ValueError("a membership states no time, and none was given for the inputs")
                    profile.memberships[segment] = _Membership(member, self._now, order)
                elif stored is None or (_time(since) >= stored.since and (member, _time(since)) != stored[:2]):
                    profile.memberships[segment] = _Membership(member, _time(since), order)

    def result(self) -> Folded:
        """Return what was worked out so far."""
        people = {}
        for born in self._parent:
            root = born
            while self._parent[root] != root:
                root = self._parent[root]
            people[born] = root
        left = {profile.born: tuple(sorted(profile.identities)) for profile in self._owner.values()}
        return Folded(self._messages, self._joins, people, left, self._refused)


def _identities(update: dict[str, Any]) -> set[Identity]:
    found: set[Identity] = set()
    entries = update.get("identityMap")
    if not isinstance(entries, dict):
        return found
    for namespace, ids in entries.items():
        for entry in ids if isinstance(ids, list) else [None]:
            if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or not entry["id"]:
                return set()
            found.add((namespace.lower(), entry["id"]))
    return found


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"a time without offset: {text}")
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _write(into: dict[str, Any], name: str, part: Any) -> bool:
    """Merge one field, and tell whether that changed anything: F2."""
    if part is None:
        return into.pop(name, None) is not None
    below = into.get(name)
    if isinstance(part, dict):
        fresh = not isinstance(below, dict)
        if fresh:
            into[name] = {}
        inner = [_write(into[name], key, value) for key, value in part.items()]
        return fresh or any(inner)
    into[name] = part
    return below is None or msgspec.json.encode(below) != msgspec.json.encode(part)


def _lay_attributes(profile: _Profile, sides: Sequence[_Profile]) -> None:
    """Lay the attributes of merged profiles on each other, for each top-level field the latest on top: F2."""
    merged: dict[str, Any] = {}
    written: dict[str, int] = {}
    for name in {name for side in sides for name in side.written}:
        for side in sorted((s for s in sides if name in s.written), key=lambda s: s.written[name]):
            _write(merged, name, copy.deepcopy(side.attributes.get(name)))
            written[name] = side.written[name]
    profile.attributes, profile.written = merged, written


def _is_due(
    plan: FlowPlan,
    profile: _Profile,
    before: set[Segment],
    before_any: set[Segment],
    said: dict[str, Any],
    *,
    fresh: bool,
) -> bool:
    """Decide whether an input exports: F4."""
    mapped = set(plan.segments)
    after = {segment for segment in mapped if profile.is_in(segment)}
    joined = after - before
    left = (mapped & before_any) - after
    return (
        ("segment" in plan.triggers and bool(joined or left))
        or ("identity" in plan.triggers and fresh and bool(after))
        or ("attribute" in plan.triggers and bool(after) and any(_wrote(said, path) for path in plan.paths))
    )


def _wrote(said: dict[str, Any], path: str) -> bool:
    """Tell whether an update wrote a path: it holds it, or put a scalar or nothing in an ancestor's place."""
    here: Any = said
    for name in path.split("."):
        if not isinstance(here, dict):
            return True
        if name not in here:
            return False
        here = here[name]
    return True


def _message(plan: FlowPlan, profile: _Profile) -> dict[str, Any]:
    """Render the message: F5. It shares the profile's objects."""
    message: dict[str, Any] = {}
    for path in plan.paths:
        _project(profile.attributes, message, path.split("."))
    memberships: dict[str, dict[str, dict[str, str]]] = {}
    for segment in sorted(profile.memberships):
        if plan.scope == "mapped" and segment not in plan.segments:
            continue
        namespace, segment_id = segment
        membership = profile.memberships[segment]
        memberships.setdefault(namespace, {})[segment_id] = {
            "lastQualificationTime": membership.since.isoformat()[:19] + "Z",
            "status": "realized" if membership.member else "exited",
        }
    identities: dict[str, list[dict[str, str]]] = {}
    for namespace, identity in sorted(profile.identities):
        identities.setdefault(namespace, []).append({"id": identity})
    return message | {"segmentMembership": memberships, "identityMap": identities}


def _project(have: dict[str, Any], into: dict[str, Any], names: Sequence[str]) -> None:
    """Copy what lies at a path, if anything, with the objects around it."""
    here: Any = have
    for name in names:
        if not isinstance(here, dict) or name not in here:
            return
        here = here[name]
    if here == {}:
        return
    for name in names[:-1]:
        into = into.setdefault(name, {})  # of overlapping paths: the profile's own object, and the same value
    into[names[-1]] = here
