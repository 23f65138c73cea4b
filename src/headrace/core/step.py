"""The one function that decides: profile, input, time and configuration in; profile and exports out.

Holds always (tests/core/test_step.py, tests/core/test_properties.py):
    P1  The same arguments give the same bytes and ids (I1).
    P2  For every flow an input gives exactly one export or exactly one reason why not (I8).
    P3  Status changes, identity changes and attribute writes of one input make one export.
    P4  An immediate repeat leaves identities, attributes and memberships as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.core import message
from headrace.core.cause import WITHDRAWN, active, cause_of, consents, is_member, members
from headrace.core.envelope import Envelope
from headrace.core.export import export_of
from headrace.core.flow import CompiledFlow, Snapshot
from headrace.core.lifetimes import arrived, ends, run_out
from headrace.core.merge import Moved, Notes, add_identities, fold_attributes, fold_memberships, join, newer_fields
from headrace.core.model import (
    FORMAT,
    Backfill,
    Cause,
    Delete,
    Export,
    Identity,
    Membership,
    Replay,
    Tick,
    Unlink,
)
from headrace.core.prepared import Prepared, prepared
from headrace.core.times import from_ms
from headrace.core.update import Update
from headrace.core.view import View

Input = Update | Tick | Backfill | Delete | Replay | Unlink
"""All that can happen to a profile; closed."""

_EXPORTED: Final = ""
CATCH_UP: Final = "catch-up"
"""Why a flow over its budget holds back; kind of the exports that make up for it."""
ORIGINAL: Final = "original"
"""Kind of the exports that send a dead letter's message as it was."""


class Step:
    """What an input did.

    Attributes:
        envelope: The profile afterwards; None when it does not exist (any more).
        changed: The envelope differs from the one given and must be stored.
        exports: (index of the flow, bucket, export), in the order of the flows.
        held: Per flow the reason why nothing was exported, "" where something was.
        notes: What else happened, counted.
        ends: When memberships that changed leave or are removed by themselves, epoch milliseconds.
    """

    __slots__ = ("changed", "ends", "envelope", "exports", "held", "notes")

    def __init__(
        self, envelope: Envelope | None, changed: bool, exports: list[tuple[int, int, Export]], held: list[str],  # noqa: FBT001
        notes: Notes, ends: list[int] | None = None,
    ) -> None:  # fmt: skip
        self.envelope, self.changed, self.exports, self.held, self.notes = envelope, changed, exports, held, notes
        self.ends = ends or []


def step(
    envelope: Envelope | None,
    absorbed: Sequence[Envelope],
    change: Input,
    identities: Sequence[Identity],
    profile_id: str,
    ordinal: int,
    now_ms: int,
    snapshot: Snapshot,
) -> Step:
    """Apply one input to one profile.

    Args:
        envelope: The profile, None when it is to be made (only an ``Update`` makes one).
        absorbed: Profiles that this input joins into it, oldest first.
        change: What happens.
        identities: Those of the update that belong to the profile, from ``link``.
        profile_id: Its id.
        ordinal: The input's place in the order of all inputs, 1 or more, growing.
        now_ms: Time of the batch, epoch milliseconds.
        snapshot: The configuration.
    """
    if isinstance(change, Update):
        return _update(
            envelope, absorbed, change, identities, profile_id, ordinal, now_ms, prepared(snapshot)
        )  # fmt: skip
    if envelope is None:
        return Step(None, False, [], ["unknown-profile"] * len(snapshot.flows), {})
    if isinstance(change, Tick):
        return _tick(envelope, ordinal, now_ms, snapshot)
    if isinstance(change, Delete):
        return _delete(envelope, ordinal, now_ms, snapshot)
    if isinstance(change, Unlink):
        return _unlink(envelope, change, ordinal, now_ms, snapshot)
    return _restate(envelope, change, ordinal, now_ms, snapshot)


def _update(
    envelope: Envelope | None, absorbed: Sequence[Envelope], update: Update, identities: Sequence[Identity],
    profile_id: str, ordinal: int, now_ms: int, config: Prepared,
) -> Step:  # fmt: skip
    notes: Notes = {}
    before = envelope or Envelope(FORMAT, profile_id, ordinal, 0, {}, {}, {}, {}, {}, ordinal)
    base = join(before, absorbed, notes) if absorbed else before
    timed = config.timed
    stamp = (update.stamp_ms if update.stamp_ms is not None else now_ms) if timed else ordinal
    known = add_identities(base.identities, identities)
    attributes, stamps, patch = base.attributes, base.stamps, update.attributes
    if patch:
        if timed:
            patch = newer_fields(patch, stamps, stamp, notes)
        attributes, stamps = fold_attributes(attributes, stamps, patch, stamp, timed=timed, notes=notes)
    memberships = base.memberships
    moved: list[Moved] = []
    if update.memberships:
        stated = arrived(update.memberships, now_ms, config.snapshot.lifetimes)
        memberships, moved = fold_memberships(memberships, stated, ordinal, now_ms, notes)
    after = Envelope(
        FORMAT, base.profile_id, base.epoch, base.version, known, attributes, stamps, memberships, base.marks,
        ordinal,
    )  # fmt: skip
    if absorbed:
        moved = _moved_by_join(before, absorbed, memberships)
    changed = (
        envelope is None
        or bool(absorbed)
        or known is not base.identities
        or attributes is not base.attributes
        or stamps is not base.stamps
        or memberships is not base.memberships
    )
    view = View(
        before, after, moved, patch, grew=known is not before.identities, kind="live", now_ms=now_ms,
        config=config.version, absorbed=absorbed,
    )  # fmt: skip
    return _decide(view, config, notes, changed=changed)


def _moved_by_join(
    before: Envelope, absorbed: Sequence[Envelope], memberships: dict[str, dict[str, Membership]]
) -> list[Moved]:
    """Every membership afterwards against what a consumer may have been told of any of the profiles."""
    moved: list[Moved] = []
    for namespace, segments in memberships.items():
        for segment_id, m in segments.items():
            told = [
                had.member
                for profile in (before, *absorbed)
                if (had := profile.memberships.get(namespace, {}).get(segment_id)) is not None
            ]
            own = before.memberships.get(namespace, {}).get(segment_id)
            was = own.member if own else None
            if not m.member and any(told):
                was = True
            moved.append(Moved(namespace, segment_id, was, m.member))
    return moved


def _tick(envelope: Envelope, ordinal: int, now_ms: int, snapshot: Snapshot) -> Step:
    """Memberships that have run out leave at the time that they did, and exited ones are removed in the end."""
    notes: Notes = {}
    leaving, kept = run_out(envelope.memberships, now_ms, snapshot.lifetimes)
    memberships, moved = fold_memberships(kept, leaving, ordinal, now_ms, notes)
    after = _with(envelope, memberships=memberships, ordinal=ordinal)
    view = View(envelope, after, moved, {}, grew=False, kind="live", now_ms=now_ms, config=snapshot.version)
    return _decide(view, prepared(snapshot), notes, changed=memberships is not envelope.memberships)


def _delete(envelope: Envelope, ordinal: int, now_ms: int, snapshot: Snapshot) -> Step:
    """Forget the profile; a flow with onDelete exit sends its mapped memberships, all exited."""
    now = from_ms(now_ms)
    gone = {
        namespace: {
            segment_id: Membership(False, max(now, m.since), None, ordinal, now_ms) if m.member else m
            for segment_id, m in segments.items()
        }
        for namespace, segments in envelope.memberships.items()
    }
    after = _with(envelope, memberships=gone, ordinal=ordinal)
    view = View(envelope, after, [], {}, grew=False, kind="delete", now_ms=now_ms, config=snapshot.version)
    exports: list[tuple[int, int, Export]] = []
    held: list[str] = []
    for index, of in enumerate(prepared(snapshot).flows):
        flow = of.flow
        if flow.on_delete != "exit" or flow.id not in envelope.marks:
            held.append("no-relevant-change")
            continue
        if not consents(flow.consent, envelope.attributes):
            held.append("consent")
            continue
        # A pause that skips does not skip this: there is nobody left of whom a catch-up could tell.
        left = members(envelope, flow.segments)
        export, last = export_of(view, of, flow.segments, Cause("delete", [], [], [], left), "")
        exports.append((index, last.bucket, export))
        held.append(_EXPORTED)
    return Step(None, True, exports, held, {})


def _unlink(envelope: Envelope, change: Unlink, ordinal: int, now_ms: int, snapshot: Snapshot) -> Step:
    """An identity less: a change of identities like any other, for the flows."""
    ids = envelope.identities.get(change.namespace, [])
    if change.id not in ids or sum(map(len, envelope.identities.values())) == 1:
        return Step(envelope, False, [], ["no-relevant-change"] * len(snapshot.flows), {})
    left = {**envelope.identities, change.namespace: [one for one in ids if one != change.id]}
    after = _with(envelope, memberships=envelope.memberships, ordinal=ordinal)
    after.identities = {namespace: kept for namespace, kept in left.items() if kept}
    view = View(envelope, after, [], {}, grew=True, kind="live", now_ms=now_ms, config=snapshot.version)
    return _decide(view, prepared(snapshot), {}, changed=True)


def _restate(envelope: Envelope, change: Backfill | Replay, ordinal: int, now_ms: int, snapshot: Snapshot) -> Step:
    """Export the current state to one flow, whatever changed."""
    kept = None
    unless_since = 0
    if isinstance(change, Backfill):
        kind, run, unless_since = change.kind, change.run_id, change.unless_since
    else:
        kind, run = "replay", change.letter_id
        if change.original:
            kind, kept = ORIGINAL, (change.key, change.original)
    after = _with(envelope, memberships=envelope.memberships, ordinal=ordinal)
    view = View(envelope, after, [], {}, grew=False, kind=kind, now_ms=now_ms, config=snapshot.version)
    exports: list[tuple[int, int, Export]] = []
    held: list[str] = []
    for index, of in enumerate(prepared(snapshot).flows):
        flow = of.flow
        mapped = active(flow, now_ms) if flow.dated else flow.segments
        if flow.id != change.flow_id:
            held.append("no-relevant-change")
        elif flow.id in snapshot.overflowing:
            held.append(CATCH_UP)
        elif not _wanted(kind, after, flow, mapped):
            held.append("not-a-member")
        elif unless_since and flow.id in after.marks and after.marks[flow.id].ordinal >= unless_since:
            held.append("told-since")
        elif not consents(flow.consent, after.attributes) and not (kind == CATCH_UP and flow.id in after.marks):
            held.append("consent")
        else:
            held.append(_EXPORTED)
            # Of one that was told of, a consent withdrawn is told too: that may be what was held back.
            withdrawn = [] if consents(flow.consent, after.attributes) else [WITHDRAWN]
            export, mark = export_of(view, of, mapped, Cause(kind, withdrawn), run, kept)
            exports.append((index, mark.bucket, export))
            after.marks = {**after.marks, flow.id: mark}
    if exports:
        after.version = envelope.version + 1
    return Step(after if exports else envelope, bool(exports), exports, held, {})


def _wanted(kind: str, profile: Envelope, flow: CompiledFlow, mapped: message.Mapped) -> bool:
    """Backfills are about members. A catch-up also tells of one that has left meanwhile, a replay of anybody."""
    if kind in ("replay", ORIGINAL) or is_member(profile, mapped):
        return True
    mark = profile.marks.get(flow.id)
    return kind == CATCH_UP and mark is not None and (mark.seq > 0 or bool(mark.absorbed))


def _with(envelope: Envelope, *, memberships: dict[str, dict[str, Membership]], ordinal: int) -> Envelope:
    e = envelope
    return Envelope(
        FORMAT, e.profile_id, e.epoch, e.version, e.identities, e.attributes, e.stamps, memberships, e.marks, ordinal
    )


def _decide(view: View, config: Prepared, notes: Notes, *, changed: bool) -> Step:
    """Ask each flow; where one exports, or something changed, the profile's version grows."""
    exports: list[tuple[int, int, Export]] = []
    held: list[str] = []
    after = view.after
    marks = after.marks
    for index, flow in enumerate(config.flows):
        mapped = flow.segments if not flow.dated else active(flow.flow, view.now_ms)
        why = cause_of(view, flow, mapped)
        if isinstance(why, str):
            held.append(why)
            continue
        if flow.holds_back and WITHDRAWN not in why.triggers:
            held.append(CATCH_UP)
            continue
        held.append(_EXPORTED)
        export, mark = export_of(view, flow, mapped, why, "")
        exports.append((index, mark.bucket, export))
        if marks is after.marks:
            marks = dict(marks)
        marks[flow.id] = mark
    if not changed and not exports:
        return Step(view.before, False, exports, held, notes)
    after.version += 1
    after.marks = marks
    if view.moved:
        lifetimes = config.snapshot.lifetimes
        return Step(after, True, exports, held, notes, ends(view.moved, after.memberships, lifetimes))
    return Step(after, True, exports, held, notes)
