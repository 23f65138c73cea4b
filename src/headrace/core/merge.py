"""Fold updates into a profile and profiles into each other. Copies along the changed path only.

Holds always (tests/core/test_merge.py):
    M1  What is given is never changed in place; what did not change comes back as the same object.
    M2  Folding the same update in twice at once gives the same as once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from headrace.core.model import Envelope, FlowMark, Identity, Membership, MembershipChange
from headrace.core.times import from_ms

Notes = dict[str, int]
"""Codes of ``reasons.NOTES`` to how often."""


class Moved(NamedTuple):
    """One membership before and after; None where there was none."""

    namespace: str
    segment_id: str
    before: bool | None
    after: bool


_ABSENT: Any = object()


def note(notes: Notes, code: str, times: int = 1) -> None:
    """Count something that happened."""
    notes[code] = notes.get(code, 0) + times


def merged(old: dict[str, Any], patch: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """Fold a patch in: null removes, objects merge, everything else replaces."""
    new: dict[str, Any] | None = None
    for key, value in patch.items():
        had = old.get(key, _ABSENT)
        kind = type(value)
        if kind is dict:
            if type(had) is dict:
                kept = merged(had, value, notes)
                if kept is had:
                    continue
                value = kept
            else:
                if had is not _ABSENT:
                    note(notes, "type-conflict")
                value = merged({}, value, notes)
        elif value is None:
            if had is not _ABSENT:
                if new is None:
                    new = dict(old)
                del new[key]
            continue
        elif type(had) is kind:
            # 1, 1.0 and true are equal to Python and different in JSON, so arrays are compared by their text.
            if had == value and (kind is not list or repr(had) == repr(value)):
                continue
        elif type(had) is dict:
            note(notes, "type-conflict")
        if new is None:
            new = dict(old)
        new[key] = value
    return old if new is None else new


def fold_attributes(
    old: dict[str, Any], stamps: dict[str, int], patch: Mapping[str, Any], stamp: int, *, timed: bool, notes: Notes
) -> tuple[dict[str, Any], dict[str, int]]:
    """Fold an update's attributes in, and keep when each top-level field got its value.

    Args:
        old: The profile's attributes.
        stamps: Their stamps.
        patch: The update's attributes.
        stamp: Its ordinal, or with *timed* its own time in epoch milliseconds.
        timed: mergeBy timestamp: a field older than the stored one is ignored.
        notes: Counts what was ignored or replaced.
    """
    if timed:
        late = [key for key in patch if stamp < stamps.get(key, stamp)]
        if late:
            note(notes, "older-field", len(late))
            patch = {key: value for key, value in patch.items() if key not in late}
    new = merged(old, patch, notes)
    if new is old and not timed:
        return old, stamps
    moved = {key: stamp for key in patch if new.get(key, _ABSENT) is not old.get(key, _ABSENT)}
    if timed:
        moved |= {key: stamp for key in patch if stamp > stamps.get(key, stamp) and key in new}
    return new, {**stamps, **moved} if moved else stamps


def fold_memberships(
    old: dict[str, dict[str, Membership]], changes: Sequence[MembershipChange], now_ms: int, notes: Notes
) -> tuple[dict[str, dict[str, Membership]], list[Moved]]:
    """Fold an update's memberships in; the later lastQualificationTime wins, at a tie the one that arrives.

    Returns:
        The memberships, and what each changed one was and is, in the update's order.
    """
    new = old
    moved: list[Moved] = []
    for change in changes:
        segments = new.get(change.namespace, {})
        had = segments.get(change.segment_id)
        now = _requalified(had, change, now_ms)
        if now is None:
            note(notes, "older-membership")
            continue
        if now is had:
            continue
        if new is old:
            new = dict(old)
        if had is not None:
            new[change.namespace] = {**segments, change.segment_id: now}
        else:
            # Kept in order, so that rendering never sorts.
            new[change.namespace] = dict(sorted([*segments.items(), (change.segment_id, now)]))
            if not segments:
                new = dict(sorted(new.items()))
        moved.append(Moved(change.namespace, change.segment_id, had.member if had else None, now.member))
    return new, moved


def _requalified(had: Membership | None, change: MembershipChange, now_ms: int) -> Membership | None:
    """The membership after the change; *had* itself when nothing changes, None when the change is older."""
    since = change.since
    if had is None:
        return Membership(change.member, since or from_ms(now_ms), change.valid_until, now_ms)
    if since is None:
        if change.member == had.member and change.valid_until in (None, had.valid_until):
            return had
        since = max(from_ms(now_ms), had.since)
    elif since < had.since:
        return None
    if (change.member, since, change.valid_until) == (had.member, had.since, had.valid_until):
        return had
    return Membership(change.member, since, change.valid_until, now_ms)


def add_identities(old: dict[str, list[str]], found: Iterable[Identity]) -> dict[str, list[str]]:
    """Add identities; the same object when none is new."""
    new = old
    for namespace, key in found:
        ids = new.get(namespace, [])
        if key not in ids:
            if new is old:
                new = dict(old)
            new[namespace] = sorted([*ids, key])
    return new if new is old or len(new) == len(old) else dict(sorted(new.items()))


def join(survivor: Envelope, absorbed: Sequence[Envelope], notes: Notes) -> Envelope:
    """Join profiles into the oldest one.

    A field that several have is taken from the one whose value is newest, objects merged with the newest
    on top; memberships by lastQualificationTime, at a tie the oldest profile's.
    """
    identities = survivor.identities
    memberships = survivor.memberships
    attributes, stamps = survivor.attributes, survivor.stamps
    marks = survivor.marks
    for other in absorbed:
        identities = add_identities(identities, [Identity(n, i) for n, ids in other.identities.items() for i in ids])
        memberships = _later(memberships, other.memberships)
        attributes, stamps = _newer(attributes, stamps, other.attributes, other.stamps, notes)
        marks = _joined_marks(marks, other)
    note(notes, "merged")
    return Envelope(
        survivor.format, survivor.profile_id, survivor.epoch, survivor.version,
        identities, attributes, stamps, memberships, marks, survivor.ordinal,
    )  # fmt: skip


def _later(
    ours: dict[str, dict[str, Membership]], theirs: dict[str, dict[str, Membership]]
) -> dict[str, dict[str, Membership]]:
    new = {namespace: dict(segments) for namespace, segments in ours.items()}
    for namespace, segments in theirs.items():
        into = new.setdefault(namespace, {})
        for segment_id, m in segments.items():
            had = into.get(segment_id)
            if had is None or m.since > had.since:
                into[segment_id] = m
    return {namespace: dict(sorted(segments.items())) for namespace, segments in sorted(new.items())}


def _newer(
    ours: dict[str, Any],
    our_stamps: dict[str, int],
    theirs: dict[str, Any],
    their_stamps: dict[str, int],
    notes: Notes,
) -> tuple[dict[str, Any], dict[str, int]]:
    new, stamps = dict(ours), dict(our_stamps)
    for key, stamp in their_stamps.items():
        older = stamps.get(key)
        stamps[key] = stamp if older is None else max(stamp, older)
        if key not in theirs:
            # Removed over there: that wins over an older value here.
            if older is not None and stamp > older:
                new.pop(key, None)
            continue
        value = theirs[key]
        if key not in new:
            if older is None or stamp > older:
                new[key] = value
        elif older is None or stamp > older:
            new[key] = merged({key: new[key]}, {key: value}, notes)[key]
        else:
            new[key] = merged({key: value}, {key: new[key]}, notes)[key]
    return new, stamps


def _joined_marks(ours: dict[str, FlowMark], other: Envelope) -> dict[str, FlowMark]:
    """Remember which exports of the absorbed profile must be settled before the survivor's next one."""
    if not other.marks:
        return ours
    new = dict(ours)
    for flow_id, mark in other.marks.items():
        own = new.get(flow_id) or FlowMark(0, 0, 0)
        waits = [*own.after, *mark.after]
        if mark.ordinal:
            waits.append((mark.bucket, mark.ordinal))
        gone = [*own.absorbed, other.profile_id, *mark.absorbed]
        new[flow_id] = FlowMark(own.seq, own.ordinal, own.bucket, waits, gone)
    return new
