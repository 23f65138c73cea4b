"""Fold updates into a profile and profiles into each other. Copies along the changed path only.

Holds always (tests/core/test_merge.py):
    M1  What is given is never changed in place; what did not change comes back as the same object.
    M2  Folding the same update in twice at once gives the same as once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core.envelope import Envelope
from headrace.core.model import FlowMark, Identity, Membership, MembershipChange
from headrace.core.times import from_ms

Notes = dict[str, int]
"""Codes of ``reasons.NOTES`` to how often."""


class Moved:
    """One membership before and after; None where there was none."""

    __slots__ = ("after", "before", "namespace", "segment_id")

    def __init__(self, namespace: str, segment_id: str, before: bool | None, after: bool) -> None:  # noqa: FBT001
        self.namespace, self.segment_id, self.before, self.after = namespace, segment_id, before, after


_ABSENT: Any = object()
_text: Final = msgspec.json.Encoder().encode


def note(notes: Notes, code: str, times: int = 1) -> None:
    """Count something that happened."""
    notes[code] = notes.get(code, 0) + times


def merged(old: dict[str, Any], patch: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Fold a patch in: null removes, objects merge, everything else replaces."""
    new: dict[str, Any] | None = None
    for key, value in patch.items():
        had = old.get(key, _ABSENT)
        kind = type(value)
        if isinstance(value, dict):
            value = _object(had, value, notes)
            if value is had:
                continue
        elif value is None:
            if had is not _ABSENT:
                if new is None:
                    new = dict(old)
                del new[key]
            continue
        elif type(had) is kind:
            # 1, 1.0 and true, and 0.0 and -0.0, are equal to Python and different in JSON: the text decides there.
            if had == value and (kind is str or kind is int or kind is bool or repr(had) == repr(value)):
                continue
        elif isinstance(had, dict):
            note(notes, "type-conflict")
        if new is None:
            new = dict(old)
        new[key] = value
    return old if new is None else new


def _object(had: Any, value: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """An object written over what was there; *had* itself when nothing changes."""
    if isinstance(had, dict):
        # Most objects of most updates are as they were: told so by their text, at a third of the time.
        if had == value and _text(had) == _text(value):
            return had
        return merged(had, value, notes)
    if had is not _ABSENT:
        note(notes, "type-conflict")
    for inner in value.values():
        if inner is None or isinstance(inner, dict):
            return merged({}, value, notes)
    return value


def newer_fields(patch: dict[str, Any], stamps: Mapping[str, int], stamp: int, notes: Notes) -> dict[str, Any]:
    """With mergeBy timestamp: the patch without the fields that are older than the stored ones."""
    late = [key for key in patch if stamp < stamps.get(key, stamp)]
    if not late:
        return patch
    note(notes, "older-field", len(late))
    return {key: value for key, value in patch.items() if key not in late}


def fold_attributes(
    old: dict[str, Any], stamps: dict[str, int], patch: dict[str, Any], stamp: int, *, timed: bool, notes: Notes
) -> tuple[dict[str, Any], dict[str, int]]:
    """Fold an update's attributes in, and keep when each top-level field got its value.

    A field that is removed keeps its stamp, so that an older value cannot come back.

    Args:
        old: The profile's attributes.
        stamps: Their stamps.
        patch: The update's attributes; with *timed* those that ``newer_fields`` leaves.
        stamp: Its ordinal, or with *timed* its own time in epoch milliseconds.
        timed: mergeBy timestamp: writing the same value, or removing what is not there, renews the stamp.
        notes: Counts what was replaced.
    """
    new = merged(old, patch, notes)
    if timed:
        moved = [key for key in patch if stamps.get(key) != stamp]
    elif new is old:
        return old, stamps
    else:
        moved = [key for key in patch if new.get(key) is not old.get(key)]
    if moved:
        stamps = dict(stamps)
        for key in moved:
            stamps[key] = stamp
    return new, stamps


def fold_memberships(
    old: dict[str, dict[str, Membership]],
    changes: Sequence[MembershipChange],
    ordinal: int,
    now_ms: int,
    notes: Notes,
) -> tuple[dict[str, dict[str, Membership]], list[Moved]]:
    """Fold an update's memberships in; the later lastQualificationTime wins, at a tie the one that arrives.

    Args:
        old: The profile's memberships.
        changes: What the update states.
        ordinal: Its ordinal.
        now_ms: Time of the batch, for memberships that state none.
        notes: Counts what was ignored.

    Returns:
        The memberships, and what each changed one was and is, in the update's order.
    """
    new = old
    moved: list[Moved] = []
    if not changes:
        return old, moved
    for change in changes:
        namespace, segment_id = change.namespace, change.segment_id
        segments = new.get(namespace) or {}
        had = segments.get(segment_id)
        now = _requalified(had, change, ordinal, now_ms)
        if now is None:
            note(notes, "older-membership")
            continue
        if now is had:
            continue
        if new is old:
            new = dict(old)
        if had is not None:
            new[namespace] = {**segments, segment_id: now}
        else:
            # Kept in order, so that rendering never sorts.
            new[namespace] = dict(sorted([*segments.items(), (segment_id, now)]))
            if not segments:
                new = dict(sorted(new.items()))
        moved.append(Moved(namespace, segment_id, had.member if had else None, now.member))
    return new, moved


def _requalified(had: Membership | None, change: MembershipChange, ordinal: int, now_ms: int) -> Membership | None:
    """The membership after the change; *had* itself when nothing changes, None when the change is older."""
    since, member, until = change.since, change.member, change.valid_until
    if had is None:
        return Membership(member, since or from_ms(now_ms), until, ordinal, now_ms)
    was = had.since
    if since is None:
        if member == had.member and (until is None or until == had.valid_until):
            return had
        since = max(from_ms(now_ms), was)
    elif since < was:
        return None
    if since == was and member == had.member and until == had.valid_until:
        return had
    return Membership(member, since, until, ordinal, now_ms)


def add_identities(old: dict[str, list[str]], found: Iterable[Identity]) -> dict[str, list[str]]:
    """Add identities; the same object when none is new."""
    added: dict[str, set[str]] = {}
    for namespace, key in found:
        known = old.get(namespace)
        if known is None or key not in known:
            added.setdefault(namespace, set()).add(key)
    if not added:
        return old
    new = old | {namespace: sorted(ids.union(old.get(namespace, ()))) for namespace, ids in added.items()}
    return new if len(new) == len(old) else dict(sorted(new.items()))


def join(survivor: Envelope, absorbed: Sequence[Envelope], notes: Notes) -> Envelope:
    """Join profiles into the oldest one.

    A field that several have is taken from the one whose value is newest, objects merged with the newest
    on top; memberships by lastQualificationTime, at a tie by arrival.
    """
    identities = survivor.identities
    memberships = survivor.memberships
    marks = survivor.marks
    for other in absorbed:
        identities = add_identities(identities, [Identity(n, i) for n, ids in other.identities.items() for i in ids])
        memberships = _later(memberships, other.memberships)
        marks = _joined_marks(marks, other)
    attributes, stamps = _newest_on_top((survivor, *absorbed), notes)
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
            if had is None or (m.since, m.ordinal) > (had.since, had.ordinal):
                into[segment_id] = m
    return {namespace: dict(sorted(segments.items())) for namespace, segments in sorted(new.items())}


def _newest_on_top(sides: Sequence[Envelope], notes: Notes) -> tuple[dict[str, Any], dict[str, int]]:
    """Lay the attributes of several profiles on each other, each top-level field in the order of its stamps.

    A field that was removed has a stamp and no value, and takes away what is older. At a tie (only with
    mergeBy timestamp) the older profile's lies on top.
    """
    new: dict[str, Any] = {}
    stamps: dict[str, int] = {}
    for key in dict.fromkeys(key for side in sides for key in side.stamps):
        holding = [side for side in reversed(sides) if key in side.stamps]
        for side in sorted(holding, key=lambda side: side.stamps[key]):
            stamps[key] = side.stamps[key]
            if key not in side.attributes:
                new.pop(key, None)
            elif key in new:
                new = merged(new, {key: side.attributes[key]}, notes)
            else:
                new[key] = side.attributes[key]
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
