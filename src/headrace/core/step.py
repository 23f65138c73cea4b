"""The one function that decides: profile, input, time and configuration in; profile and exports out.

Holds always (tests/core/test_step.py, tests/core/test_properties.py):
    P1  The same arguments give the same bytes and ids (I1).
    P2  For every flow an input gives exactly one export or exactly one reason why not (I8).
    P3  Status changes, identity changes and attribute writes of one input make one export.
    P4  An immediate repeat leaves identities, attributes and memberships as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from headrace.core import message
from headrace.core.flow import CompiledFlow, MappedSegment, Snapshot
from headrace.core.link import digest
from headrace.core.merge import Moved, Notes, add_identities, fold_attributes, fold_memberships, join
from headrace.core.model import (
    FORMAT,
    Backfill,
    Cause,
    Delete,
    Envelope,
    Export,
    FlowMark,
    Identity,
    Input,
    Membership,
    MembershipChange,
    Replay,
    Step,
    Tick,
    Update,
)
from headrace.core.paths import parse, read, written
from headrace.core.times import from_ms

_EXPORTED: Final = ""


class _View:
    """A profile before and after, and what each flow needs of it, made once."""

    __slots__ = ("_identity", "_plain", "after", "before", "bucket", "config", "identities_grew", "input_kind",
                 "moved", "now_ms", "ordinal", "patch")  # fmt: skip

    def __init__(
        self, before: Envelope, after: Envelope, moved: Sequence[Moved], patch: dict[str, Any], *, grew: bool,
        kind: str, ordinal: int, now_ms: int, config: str,
    ) -> None:  # fmt: skip
        self.before, self.after, self.moved, self.patch = before, after, moved, patch
        self.identities_grew, self.input_kind = grew, kind
        self.ordinal, self.now_ms, self.config = ordinal, now_ms, config
        self.bucket = -1
        self._identity = self._plain = b""

    def identity_part(self) -> bytes:
        if not self._identity:
            self._identity = message.identity_part(self.after.identities)
        return self._identity

    def plain_membership_part(self) -> bytes:
        if not self._plain:
            self._plain = message.plain_membership_part(self.after.memberships)
        return self._plain


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
        return _update(envelope, absorbed, change, identities, profile_id, ordinal, now_ms, snapshot)
    if envelope is None:
        return Step(None, False, [], ["unknown-profile"] * len(snapshot.flows), {})
    if isinstance(change, Tick):
        return _tick(envelope, ordinal, now_ms, snapshot)
    if isinstance(change, Delete):
        return _delete(envelope, ordinal, now_ms, snapshot)
    return _restate(envelope, change, ordinal, now_ms, snapshot)


def _update(
    envelope: Envelope | None, absorbed: Sequence[Envelope], update: Update, identities: Sequence[Identity],
    profile_id: str, ordinal: int, now_ms: int, snapshot: Snapshot,
) -> Step:  # fmt: skip
    notes: Notes = {}
    before = envelope or Envelope(FORMAT, profile_id, ordinal, 0, {}, {}, {}, {}, {}, ordinal)
    base = join(before, absorbed, notes) if absorbed else before
    timed = snapshot.merge_by == "timestamp"
    stamp = (update.stamp_ms if update.stamp_ms is not None else now_ms) if timed else ordinal
    known = add_identities(base.identities, identities)
    attributes, stamps = base.attributes, base.stamps
    if update.attributes:
        attributes, stamps = fold_attributes(attributes, stamps, update.attributes, stamp, timed=timed, notes=notes)
    memberships, moved = fold_memberships(base.memberships, update.memberships, now_ms, notes)
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
    view = _View(
        before, after, moved, update.attributes, grew=known is not before.identities, kind="live", ordinal=ordinal,
        now_ms=now_ms, config=snapshot.version,
    )  # fmt: skip
    return _decide(view, snapshot, notes, changed=changed)


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
    """Memberships whose validUntil has passed leave at that time."""
    notes: Notes = {}
    now = from_ms(now_ms)
    ended = [
        MembershipChange(namespace, segment_id, False, max(m.valid_until, m.since), m.valid_until)
        for namespace, segments in envelope.memberships.items()
        for segment_id, m in segments.items()
        if m.member and m.valid_until is not None and m.valid_until <= now
    ]
    memberships, moved = fold_memberships(envelope.memberships, ended, now_ms, notes)
    after = _with(envelope, memberships=memberships, ordinal=ordinal)
    view = _View(envelope, after, moved, {}, grew=False, kind="live", ordinal=ordinal, now_ms=now_ms,
                 config=snapshot.version)  # fmt: skip
    return _decide(view, snapshot, notes, changed=bool(moved))


def _delete(envelope: Envelope, ordinal: int, now_ms: int, snapshot: Snapshot) -> Step:
    """Forget the profile; a flow with onDelete exit sends its mapped memberships, all exited."""
    now = from_ms(now_ms)
    gone = {
        namespace: {
            segment_id: Membership(False, max(now, m.since), None, now_ms) if m.member else m
            for segment_id, m in segments.items()
        }
        for namespace, segments in envelope.memberships.items()
    }
    view = _View(envelope, _with(envelope, memberships=gone, ordinal=ordinal), [], {}, grew=False, kind="delete",
                 ordinal=ordinal, now_ms=now_ms, config=snapshot.version)  # fmt: skip
    exports: list[tuple[int, int, Export]] = []
    held: list[str] = []
    for index, flow in enumerate(snapshot.flows):
        mark = envelope.marks.get(flow.id)
        if flow.on_delete != "exit" or mark is None or not mark.seq:
            held.append("no-relevant-change")
            continue
        left = [f"{n}/{s}" for n, ids in flow.segments.items() for s in ids if s in envelope.memberships.get(n, {})]
        export, last = _export(view, flow, flow.segments, Cause("delete", [], [], [], left), "")
        exports.append((index, last.bucket, export))
        held.append(_EXPORTED)
    return Step(None, True, exports, held, {})


def _restate(envelope: Envelope, change: Backfill | Replay, ordinal: int, now_ms: int, snapshot: Snapshot) -> Step:
    """Export the current state to one flow, whatever changed."""
    kind, run = (change.kind, change.run_id) if isinstance(change, Backfill) else ("replay", change.letter_id)
    after = _with(envelope, memberships=envelope.memberships, ordinal=ordinal)
    view = _View(envelope, after, [], {}, grew=False, kind=kind, ordinal=ordinal, now_ms=now_ms,
                 config=snapshot.version)  # fmt: skip
    exports: list[tuple[int, int, Export]] = []
    held: list[str] = []
    for index, flow in enumerate(snapshot.flows):
        mapped = _active(flow, now_ms) if flow.dated else flow.segments
        if flow.id != change.flow_id:
            held.append("no-relevant-change")
        elif kind != "replay" and not _is_member(after, mapped):
            held.append("not-a-member")
        elif not _consents(flow, after.attributes):
            held.append("consent")
        else:
            held.append(_EXPORTED)
            export, mark = _export(view, flow, mapped, Cause(kind), run)
            exports.append((index, mark.bucket, export))
            after.marks = {**after.marks, flow.id: mark}
    if exports:
        after.version = envelope.version + 1
    return Step(after if exports else envelope, bool(exports), exports, held, {})


def _with(envelope: Envelope, *, memberships: dict[str, dict[str, Membership]], ordinal: int) -> Envelope:
    e = envelope
    return Envelope(
        FORMAT, e.profile_id, e.epoch, e.version, e.identities, e.attributes, e.stamps, memberships, e.marks, ordinal
    )


def _decide(view: _View, snapshot: Snapshot, notes: Notes, *, changed: bool) -> Step:
    """Ask each flow; where one exports, or something changed, the profile's version grows."""
    exports: list[tuple[int, int, Export]] = []
    held: list[str] = []
    after = view.after
    marks = after.marks
    for index, flow in enumerate(snapshot.flows):
        mapped = flow.segments if not flow.dated else _active(flow, view.now_ms)
        cause = _cause(view, flow, mapped)
        if isinstance(cause, str):
            held.append(cause)
            continue
        held.append(_EXPORTED)
        export, mark = _export(view, flow, mapped, cause, "")
        exports.append((index, mark.bucket, export))
        if marks is after.marks:
            marks = dict(marks)
        marks[flow.id] = mark
    if not changed and not exports:
        return Step(view.before, False, exports, held, notes)
    after.version += 1
    after.marks = marks
    return Step(after, True, exports, held, notes)


def _crossed(view: _View, mapped: message.Mapped) -> tuple[list[str], list[str]]:
    """Mapped audiences entered and left by this input, as ``namespace/id``."""
    joined: list[str] = []
    left: list[str] = []
    for namespace, segment_id, was, now in view.moved:
        if namespace in mapped and segment_id in mapped[namespace]:
            if now and not was:
                joined.append(f"{namespace}/{segment_id}")
            elif was and not now:
                left.append(f"{namespace}/{segment_id}")
    return joined, left


def _cause(view: _View, flow: CompiledFlow, mapped: message.Mapped) -> Cause | str:
    """Why this flow exports, or the reason why it does not (spec 1.3)."""
    joined, left = _crossed(view, mapped) if view.moved else ([], [])
    paths = written(flow.tree, view.patch) if view.patch else []
    if not joined and not left and not view.identities_grew and not paths:
        return "no-relevant-change"
    if flow.paused and flow.pause_mode == "skip":
        return "paused"
    if flow.consent is not None and not _consents(flow, view.after.attributes):
        return _withdrawn(view, flow, mapped)
    member = _is_member(view.after, mapped)
    if not member and not joined and not left:
        return "not-a-member"
    triggers, reason = _triggers(view, flow, paths, crossed=bool(joined or left), member=member)
    return Cause(view.input_kind, triggers, paths, joined, left) if triggers else reason


def _triggers(
    view: _View, flow: CompiledFlow, paths: list[str], *, crossed: bool, member: bool
) -> tuple[list[str], str]:
    """The triggers that fire, and the reason where none does."""
    triggers = ["segment"] if crossed and flow.trigger_segment else []
    if flow.deliver != "all" or not member:
        return triggers, "trigger-off"
    if view.identities_grew and flow.trigger_identity:
        triggers.append("identity")
    if paths and flow.trigger_attribute:
        if not flow.same_value and not _values_differ(view, flow, paths):
            return triggers, "same-value"
        triggers.append("attribute")
    return triggers, "trigger-off"


def _withdrawn(view: _View, flow: CompiledFlow, mapped: message.Mapped) -> Cause | str:
    """A consent just withdrawn sends one exit message, if anything was sent before; nothing after."""
    mark = view.before.marks.get(flow.id)
    if mark is None or not mark.seq or not _consents(flow, view.before.attributes):
        return "consent"
    left = [
        f"{n}/{s}" for n, ids in mapped.items() for s, m in view.after.memberships.get(n, {}).items()
        if s in ids and m.member
    ]  # fmt: skip
    return Cause("live", ["consent"], [], [], left)


def _consents(flow: CompiledFlow, attributes: dict[str, Any]) -> bool:
    consent = flow.consent
    if consent is None:
        return True
    said = read(consent.steps, attributes)
    return any(said == value and type(said) is type(value) for value in consent.allowed)


def _is_member(profile: Envelope, mapped: message.Mapped) -> bool:
    for namespace, segments in profile.memberships.items():
        of_flow = mapped.get(namespace)
        if of_flow:
            for segment_id, m in segments.items():
                if m.member and segment_id in of_flow:
                    return True
    return False


def _values_differ(view: _View, flow: CompiledFlow, paths: list[str]) -> bool:
    before, after = view.before.attributes, view.after.attributes
    return any(read(steps, before) != read(steps, after) for path in paths if type(steps := parse(path)) is tuple)


def _active(flow: CompiledFlow, now_ms: int) -> dict[str, dict[str, MappedSegment]]:
    """The mapped audiences whose start and end dates hold now."""
    return {
        namespace: {segment_id: s for segment_id, s in segments.items() if s.active(now_ms)}
        for namespace, segments in flow.segments.items()
    }


def bucket_of(key: str) -> int:
    """The outbox bucket of a partition key: the top six bits of its MD5, as Kinesis hashes keys to shards."""
    return hashlib.md5(key.encode(), usedforsecurity=False).digest()[0] >> 2


def _partition_key(flow: CompiledFlow, profile: Envelope) -> str:
    """The flow's rule; the profile id where the rule finds nothing, cut to the service's 256 characters."""
    rule = flow.partition_key
    if rule.kind == "identity":
        ids = profile.identities.get(rule.namespace)
        return ids[0][:256] if ids else profile.profile_id
    if rule.kind == "attribute":
        value = read(rule.steps, profile.attributes)
        if type(value) in (str, int, float, bool) and value != "":
            return str(value)[:256]
    return profile.profile_id


def _memberships(view: _View, flow: CompiledFlow, mapped: message.Mapped, cause: Cause) -> bytes:
    memberships = view.after.memberships
    if "consent" in cause.triggers or cause.kind == "delete":
        memberships = {
            n: {s: Membership(False, m.since, None, 0) for s, m in ids.items() if s in mapped.get(n, {})}
            for n, ids in memberships.items()
            if n in mapped
        }
    elif flow.deliver == "joinedLeft" and cause.kind == "live":
        named = {*cause.joined, *cause.left}
        memberships = {
            n: kept
            for n, ids in memberships.items()
            if (kept := {s: m for s, m in ids.items() if f"{n}/{s}" in named})
        }
    elif flow.plain:
        return view.plain_membership_part()
    entered = {(m.namespace, m.segment_id) for m in view.moved if m.after and not m.before}
    return message.membership_part(flow, mapped, memberships, entered)


def _export(
    view: _View, flow: CompiledFlow, mapped: message.Mapped, cause: Cause, run: str
) -> tuple[Export, FlowMark]:
    """Render one export, and what the profile remembers of it."""
    after = view.after
    if flow.partition_key.kind == "profileId":
        key = after.profile_id
        if view.bucket < 0:
            view.bucket = bucket_of(key)
        bucket = view.bucket
    else:
        key = _partition_key(flow, after)
        bucket = bucket_of(key)
    mark = after.marks.get(flow.id)
    waits: list[tuple[int, int]] = []
    seq = 1
    if mark is not None:
        seq = mark.seq + 1
        waits = list(mark.after)
        cause.absorbed = mark.absorbed
        if mark.ordinal and mark.bucket != bucket:
            waits.append((mark.bucket, mark.ordinal))
    version = after.version + 1
    export_id = digest(flow.id, after.profile_id, str(after.epoch), str(version), flow.digest, run)
    block = None
    if flow.metadata:
        block = message.metadata_part(
            export_id=export_id, seq=seq, version=version, epoch=after.epoch, config=view.config, cause=cause
        )
    content = message.assemble(
        flow, after.attributes, _memberships(view, flow, mapped, cause), view.identity_part(), block
    )
    export = Export(
        view.ordinal, after.profile_id, export_id, seq, version, after.epoch, key, content, cause, view.now_ms,
        view.config, waits,
    )  # fmt: skip
    return export, FlowMark(seq, view.ordinal, bucket)
