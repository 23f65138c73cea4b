"""Decide one batch: decode, find the profiles, step each input, and say what must be written.

Reads the state, writes nothing to it: everything goes into the batch that the caller commits. What later
inputs of the same batch must see is kept in two small caches, which also spare hot profiles the reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from headrace.core.cause import WITHDRAWN
from headrace.core.envelope import decode, encode
from headrace.core.flow import Snapshot
from headrace.core.link import Guards, Link, Row, link, name
from headrace.core.model import Backfill, Delete, Envelope, Export, Identity, Replay, Step, Tick, Unlink, Update
from headrace.core.step import CATCH_UP, step
from headrace.core.update import parse_update
from headrace.errors import UpdateRefusedError
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Refused
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import END, TIMER, Keys

K = TypeVar("K")
V = TypeVar("V")

Command = Tick | Backfill | Delete | Replay | Unlink

_KINDS: Final = {
    Tick: records.TICK,
    Backfill: records.BACKFILL,
    Delete: records.DELETE,
    Replay: records.REPLAY,
    Unlink: records.UNLINK,
}


_BASE_VERSIONS: Final = 256
"""A profile is also journaled as it was at every so many of its versions, so that few inputs lead to any state."""

_TIMER_MS: Final = 1000
"""What ends within the same second is looked at together."""

_SLICE: Final = 64
"""Updates that are decoded before they are decided."""

_REPEATED: Final = b"repeated"
"""In place of an update id's digest: known to be a repeat."""


class _Recent(Generic[K, V]):
    """A bounded cache in two generations: what was not used during the last one is dropped.

    Turned over between batches only, so that nothing a batch has changed can fall out before it is stored.
    """

    __slots__ = ("_most", "_old", "young")

    def __init__(self, most: int) -> None:
        self._most = most
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.young[key] = found
        return found

    def drop(self, key: K) -> None:
        self.young.pop(key, None)
        self._old.pop(key, None)

    def turn(self) -> None:
        if len(self.young) > self._most:
            self._old = self.young
            self.young = {}


class Decision:
    """What a batch of inputs comes to.

    Attributes:
        journal: The inputs, ready to store; None when none was journaled.
        exports: Per flow (index) its new exports as (bucket, export).
        refused: Per source batch the updates that were refused.
        answers: Per command what was decided: for each flow the reason why nothing was exported, "" where
            something was.
        discards: (flow id, profile id, ordinal, reason): exports before the ordinal that must not be sent any more.
        soonest_ms: When the first of the memberships that changed ends by itself; None when none does.
        last: Ordinal of the last input.
    """

    __slots__ = ("answers", "discards", "exports", "journal", "last", "refused", "soonest_ms")

    def __init__(self, flows: int, batches: int) -> None:
        self.journal: records.JournalBlock | None = None
        self.exports: list[list[tuple[int, Export]]] = [[] for _ in range(flows)]
        self.refused: list[list[Refused]] = [[] for _ in range(batches)]
        self.answers: list[tuple[str, ...]] = []
        self.discards: list[tuple[str, str, int, str]] = []
        self.soonest_ms: int | None = None
        self.last = 0


class Decider:
    """Decides batches against one state.

    Args:
        state: Where profiles and identities lie.
        keys: Of the sandbox.
        snapshot: The configuration; may be replaced between batches.
        installation_key: Names profiles.
        dedup_window_ms: How long an update's id is remembered.
        cached: Profiles kept in memory, as bytes.

    Attributes:
        base_from: A profile that no input from this ordinal on has changed is journaled as it was before the
            next one does, so that what that comes to can be told without all that came before.
    """

    def __init__(
        self, state: State, keys: Keys, snapshot: Snapshot, installation_key: bytes, *, dedup_window_ms: int,
        cached: int = 4096,
    ) -> None:  # fmt: skip
        self._state, self._keys = state, keys
        self.snapshot = snapshot
        self._installation_key = installation_key
        self._window_ms = dedup_window_ms
        self._rows: _Recent[Identity, Row] = _Recent(2 * cached)
        self._profiles: _Recent[str, bytes] = _Recent(cached)
        self.base_from = 0

    def decide(
        self, batches: Sequence[SourceBatch], commands: Sequence[Command], first: int, now_ms: int,
        totals: records.Totals, batch: Batch, *, repeats: frozenset[int] | None = None,
        named: Sequence[str] | None = None,
    ) -> Decision:  # fmt: skip
        """Decide inputs in order: the batches', then the commands.

        Args:
            batches: Raw updates.
            commands: Other inputs.
            first: Ordinal of the first input.
            now_ms: Time of the batch.
            totals: Counted into.
            batch: Profiles, identities and update ids are put into it.
            repeats: When a journal is folded again: indexes of the updates that were repeats. Update ids
                themselves are then not looked at.
            named: Likewise: the profile of each input. A new profile's plain name may have been taken by one that
                was erased since.
        """
        return _Deciding(self, batches, commands, first, now_ms, totals, batch, repeats, named).run()

    # Shared with the batch under way.

    def read(self, keys: list[bytes]) -> list[bytes | None]:
        """Values of keys."""
        return self._state.get_many(keys)


class _Deciding:
    """One batch under way."""

    def __init__(
        self, decider: Decider, batches: Sequence[SourceBatch], commands: Sequence[Command], first: int,
        now_ms: int, totals: records.Totals, batch: Batch, repeats: frozenset[int] | None,
        named: Sequence[str] | None,
    ) -> None:  # fmt: skip
        self._d = decider
        self._repeats, self._named_before = repeats, named
        self._snapshot = decider.snapshot
        self._keys = decider._keys
        self._rows, self._profiles = decider._rows, decider._profiles
        self._batches, self._commands = batches, commands
        self._ordinal, self._now_ms = first, now_ms
        self._first = first
        self._totals, self._batch = totals, batch
        self._guards = Guards(self._snapshot.max_identities, self._snapshot.unstitchable)
        self._dirty: dict[str, bytes | None] = {}
        self._at_hand: dict[str, Envelope] = {}
        """Profiles decoded for the input at hand."""
        self._index: dict[Identity, Row | None] = {}
        self._names: dict[Identity, str] = {}
        """What profiles to be made of identities are called."""
        self._kinds = bytearray()
        self._bodies: list[bytes] = []
        self._sources = bytearray()
        self._out = Decision(len(self._snapshot.flows), len(batches))
        self._flow_totals = [totals.flows.setdefault(f.id, records.FlowTotals()) for f in self._snapshot.flows]
        self._seen: dict[bytes, bool] = {}
        self._asked: list[bytes] = []
        self._stamped = self._snapshot.merge_by == "timestamp"
        self._new_ids: list[bytes] = []
        self._held: dict[tuple[str, ...], int] = {}
        self._stale: dict[tuple[str, str], bool] = {}
        self._decisions: dict[tuple[str, ...], int] = {}
        self._decision: list[int] = []
        self._named: list[str] = []
        self._absorbed: dict[int, list[str]] = {}
        self._links: dict[int, list[int]] = {}
        self._bases: dict[int, list[bytes]] = {}
        self._ends: dict[int, list[str]] = {}

    def run(self) -> Decision:
        self._rows.turn()
        self._profiles.turn()
        names: list[str] = []
        places: list[tuple[int, int, int]] = []
        for number, batch in enumerate(self._batches):
            if batch.source not in names:
                names.append(batch.source)
            source = names.index(batch.source)
            self._totals.received += len(batch.bodies)
            places += [(number, index, source) for index in range(len(batch.bodies))]
        # A slice at a time is decoded, read and decided: so much stays in the processor's cache.
        for start in range(0, len(places), _SLICE):
            parsed = [one for place in places[start : start + _SLICE] if (one := self._parse(*place)) is not None]
            self._prefetch([update for update, _, _, _, _ in parsed])
            for update, digest, number, index, source in parsed:
                self._at_hand.clear()
                self._apply_update(number, index, update, digest, self._batches[number].bodies[index], source)
        if self._commands:
            self._prefetch_profiles({command.profile_id for command in self._commands})
        for command in self._commands:
            self._at_hand.clear()
            self._apply_command(command)
        for refused in self._out.refused:
            refused.sort(key=lambda one: one.index)  # some are found out only when they are stored
        self._count_flows()
        self._write(names)
        return self._out

    # -- reading ----------------------------------------------------------------------------------

    def _parse(
        self, number: int, index: int, source: int
    ) -> tuple[Update, bytes | None, int, int, int] | None:  # fmt: skip
        """Decode one update, with the digest of its id; None where it is refused."""
        batch = self._batches[number]
        for before in batch.refused:
            if before.index == index:
                self._refuse(number, before)
                return None
        try:
            update = parse_update(batch.bodies[index], stamped=self._stamped)
        except UpdateRefusedError as error:
            self._refuse(number, Refused(index, error.reason, str(error)))
            return None
        digest = None
        if self._repeats is not None:
            digest = _REPEATED if index in self._repeats else None
        else:
            update_id = (batch.ids[index] if batch.ids is not None else None) or update.update_id
            if update_id is not None:
                digest = hashlib.blake2b(update_id.encode(), digest_size=16).digest()
                if digest not in self._seen:
                    self._asked.append(digest)
        return update, digest, number, index, source

    def _refuse(self, number: int, refused: Refused) -> None:
        self._out.refused[number].append(refused)
        counts = self._totals.refused
        counts[refused.reason] = counts.get(refused.reason, 0) + 1

    def _prefetch(self, updates: Sequence[Update]) -> None:
        """One read for identities and update ids, one for profiles."""
        rows = self._rows
        ids: set[str] = set()
        wanted: dict[Identity, None] = {}
        unknown: list[Update] = []
        for update in updates:
            known = False
            for identity in update.identities:
                row = rows.get(identity)
                if row is None:
                    wanted[identity] = None
                else:
                    ids.add(row.profile_id)
                    known = True
            if not known:
                unknown.append(update)
        digests, self._asked = self._asked, []
        key = self._keys.identity
        stored = self._d.read([*(key(*i) for i in wanted), *(self._keys.update_id(d) for d in digests)])
        for identity, value in zip(wanted, stored, strict=False):
            if value is not None:
                found = records.decode_index_row(value)
                rows.young[identity] = Row(found.profile_id, found.epoch)
                ids.add(found.profile_id)
        for digest, value in zip(digests, stored[len(wanted) :], strict=True):
            self._seen[digest] = value is not None and int.from_bytes(value, "big") > self._now_ms
        for update in unknown:
            if not any(identity in rows.young for identity in update.identities):
                made = self._names[update.primary] = name(self._d._installation_key, update.primary)
                ids.add(made)
        self._prefetch_profiles(ids)

    def _prefetch_profiles(self, ids: Iterable[str]) -> None:
        recent, dirty = self._profiles, self._dirty
        wanted = [one for one in ids if one not in dirty and recent.get(one) is None]
        stored = self._d.read([self._keys.profile(profile_id) for profile_id in wanted])
        for profile_id, value in zip(wanted, stored, strict=True):
            if value is not None:
                recent.young[profile_id] = value

    def _stored(self, profile_id: str) -> bytes | None:
        """A profile's bytes as of now; None when it does not exist."""
        if profile_id in self._dirty:
            return self._dirty[profile_id]
        return self._profiles.young.get(profile_id)

    def _profile(self, profile_id: str) -> Envelope | None:
        """A profile as of now, decoded once an input."""
        found = self._at_hand.get(profile_id)
        if found is None:
            stored = self._stored(profile_id)
            if stored is None:
                return None
            found = self._at_hand[profile_id] = decode(stored)
        return found

    def _existing(self, profile_id: str) -> Envelope:
        found = self._profile(profile_id)
        assert found is not None
        return found

    # -- deciding ---------------------------------------------------------------------------------

    def _count(self, profile_id: str) -> int:
        profile = self._profile(profile_id)
        return sum(map(len, profile.identities.values())) if profile else 0

    def _apply_update(
        self, number: int, index: int, update: Update, digest: bytes | None, body: bytes, source: int
    ) -> None:  # fmt: skip
        if digest is not None:
            if digest is _REPEATED or self._seen[digest]:
                self._repeat(update, body, source)
                return
            self._seen[digest] = True
            self._new_ids.append(digest)
        found, indexed = self._link(update)
        profile_id = found.profile_id or self._new_name(update)
        envelope = self._existing(profile_id) if found.profile_id else None
        absorbed = [self._existing(other) for other in found.absorbed] if found.absorbed else []
        done = step(
            envelope, absorbed, update, found.identities, profile_id, self._ordinal, self._now_ms, self._snapshot
        )
        if found.refused:
            done.notes["refused-stitch"] = 1
        if done.changed:
            assert done.envelope is not None
            try:
                encoded = encode(done.envelope)
            except UpdateRefusedError as error:
                self._refuse(number, Refused(index, error.reason, str(error)))
                if digest is not None:
                    self._seen[digest] = False
                    self._new_ids.remove(digest)
                return
            self._base(envelope, absorbed)
            self._dirty[profile_id] = encoded
            if done.ends:
                self._end(profile_id, done.ends)
            if not indexed:
                self._relink(done.envelope, absorbed, found)
            if envelope is None:
                self._totals.profiles += 1
        if len(found.identities) != len(update.identities):
            self._links[len(self._kinds)] = [update.identities.index(i) for i in found.identities]
        held = self._count_step(done)
        self._hold_back(held, profile_id)
        self._journal(records.UPDATE, body, source, profile_id, held)

    def _end(self, profile_id: str, ends: Sequence[int]) -> None:
        """Remember to look at a profile when memberships of it end; by the second, so that many share a timer."""
        for at_ms in ends:
            of_second = self._ends.setdefault(-(-at_ms // _TIMER_MS) * _TIMER_MS, [])
            if not of_second or of_second[-1] != profile_id:
                of_second.append(profile_id)

    def _hold_back(self, held: tuple[str, ...], profile_id: str) -> None:
        """Mark the profile stale for the flows that are over their budget and would have told of it."""
        if self._snapshot.overflowing and CATCH_UP in held:
            for flow, reason in zip(self._snapshot.flows, held, strict=True):
                if reason == CATCH_UP:
                    self._stale[flow.id, profile_id] = True

    def _link(self, update: Update) -> tuple[Link, bool]:
        """Whose update it is, and whether the index says so of all its identities already."""
        rows = self._rows.young
        identities = update.identities
        row = rows.get(identities[0])
        if row is not None:
            # Most updates are about one known profile.
            for identity in identities:
                if rows.get(identity) != row:
                    break
            else:
                return Link(row.profile_id, (), identities), True
        return link(update, {i: rows.get(i) for i in identities}, self._count, self._guards), False

    def _new_name(self, update: Update) -> str:
        profile_id = self._names.get(update.primary) or name(self._d._installation_key, update.primary)
        if self._stored(profile_id) is not None:
            return name(self._d._installation_key, update.primary, self._ordinal)
        if self._named_before is not None:
            other = name(self._d._installation_key, update.primary, self._ordinal)
            if self._named_before[self._ordinal - self._first] == other:
                return other
        return profile_id

    def _relink(self, envelope: Envelope, absorbed: Sequence[Envelope], found: Link) -> None:
        """Point identities at their profile: new ones, and all of absorbed profiles."""
        rows = self._rows.young
        row = Row(envelope.profile_id, envelope.epoch)
        for identity in found.identities:
            if rows.get(identity) != row:
                rows[identity] = row
                self._index[identity] = row
        for other in absorbed:
            for namespace, ids in other.identities.items():
                for key in ids:
                    identity = Identity(namespace, key)
                    rows[identity] = row
                    self._index[identity] = row
            self._forget(other.profile_id)
            self._inherit_stale(envelope.profile_id, other.profile_id)
            self._totals.joined += 1

    def _inherit_stale(self, survivor: str, absorbed: str) -> None:
        """What a flow has not told of an absorbed profile, it has not told of the survivor."""
        flows = [flow.id for flow in self._snapshot.flows]
        marks = self._d.read([self._keys.stale(flow_id, absorbed) for flow_id in flows])
        for flow_id, mark in zip(flows, marks, strict=True):
            if self._stale.get((flow_id, absorbed), mark is not None):
                self._stale[flow_id, survivor] = True
                self._stale[flow_id, absorbed] = False

    def _forget(self, profile_id: str) -> None:
        self._dirty[profile_id] = None
        self._totals.profiles -= 1

    def _repeat(self, update: Update, body: bytes, source: int) -> None:
        self._totals.repeats += 1
        row = self._rows.young.get(update.primary)
        held = ("repeat",) * len(self._snapshot.flows)
        self._journal(records.REPEAT, body, source, row.profile_id if row else "", held)

    def _base(self, envelope: Envelope | None, absorbed: Sequence[Envelope]) -> None:
        """Keep profiles as they were before the input at hand, when the journal would not lead there soon."""
        if envelope is None:
            self._bases[len(self._kinds)] = []
        elif absorbed:
            self._bases[len(self._kinds)] = [self._stored(e.profile_id) or b"" for e in (envelope, *absorbed)]
            self._absorbed[len(self._kinds)] = [e.profile_id for e in absorbed]
        elif envelope.ordinal < self._d.base_from or not envelope.version % _BASE_VERSIONS:
            self._bases[len(self._kinds)] = [self._stored(envelope.profile_id) or b""]

    def _apply_command(self, command: Command) -> None:
        self._totals.received += 1
        envelope = self._profile(command.profile_id)
        done = step(envelope, (), command, (), command.profile_id, self._ordinal, self._now_ms, self._snapshot)
        if done.changed:
            self._base(envelope, ())
        if done.changed and done.envelope is not None:
            self._dirty[command.profile_id] = encode(done.envelope)
            if done.ends:
                self._end(command.profile_id, done.ends)
            if isinstance(command, Unlink):
                identity = Identity(command.namespace, command.id)
                self._rows.drop(identity)
                self._index[identity] = None
        elif envelope is not None and done.envelope is None:
            self._deleted(envelope)
        held = self._count_step(done)
        if isinstance(command, Backfill) and command.kind == CATCH_UP and command.flow_id in self._snapshot.by_id:
            self._stale[command.flow_id, command.profile_id] = False
        self._hold_back(held, command.profile_id)
        self._out.answers.append(held)
        self._journal(_KINDS[type(command)], msgspec.msgpack.encode(command), 255, command.profile_id, held)

    def _journal(self, kind: int, body: bytes, source: int, profile_id: str, held: tuple[str, ...]) -> None:
        self._named.append(profile_id)
        self._decision.append(self._decisions.setdefault(held, len(self._decisions)))
        self._kinds.append(kind)
        self._bodies.append(body)
        self._sources.append(source)
        self._ordinal += 1

    def _count_step(self, done: Step) -> tuple[str, ...]:
        self._totals.accepted += 1
        held = tuple(done.held)
        self._held[held] = self._held.get(held, 0) + 1
        for index, bucket, export in done.exports:
            self._out.exports[index].append((bucket, export))
            if WITHDRAWN in export.cause.triggers:
                self._withdrawn(self._snapshot.flows[index].id, export)
        if done.notes:
            for code, n in done.notes.items():
                self._totals.notes[code] = self._totals.notes.get(code, 0) + n
        return held

    def _withdrawn(self, flow_id: str, export: Export) -> None:
        """A consent is gone: what waits about the profile is given up, and nothing is left to be made up for."""
        self._out.discards.append((flow_id, export.profile_id, export.ordinal, "consent-withdrawn"))
        self._stale[flow_id, export.profile_id] = False

    def _deleted(self, envelope: Envelope) -> None:
        """A profile is forgotten, and what waits about it, or about those it absorbed, given up."""
        for namespace, ids in envelope.identities.items():
            for key in ids:
                identity = Identity(namespace, key)
                self._rows.drop(identity)
                self._index[identity] = None
        self._forget(envelope.profile_id)
        for flow_id, mark in envelope.marks.items():
            self._stale[flow_id, envelope.profile_id] = False
            for profile_id in (envelope.profile_id, *mark.absorbed):
                self._out.discards.append((flow_id, profile_id, self._ordinal, "profile-deleted"))

    def _count_flows(self) -> None:
        """Fold what this batch did into the totals of each flow."""
        for held, n in self._held.items():
            for counted, reason in zip(self._flow_totals, held, strict=True):
                counted.accepted += n
                if reason:
                    counted.held[reason] = counted.held.get(reason, 0) + n
        for counted, exports in zip(self._flow_totals, self._out.exports, strict=True):
            counted.exported += len(exports)
            triggers = counted.triggers
            for _, export in exports:
                counted.bytes += len(export.data)
                cause = export.cause
                for trigger in cause.triggers or (cause.kind,):
                    triggers[trigger] = triggers.get(trigger, 0) + 1

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, names: list[str]) -> None:
        batch, keys = self._batch, self._keys
        recent = self._profiles
        for profile_id, encoded in self._dirty.items():
            if encoded is None:
                batch.delete(keys.profile(profile_id))
                recent.drop(profile_id)
            else:
                batch.put(keys.profile(profile_id), encoded)
                recent.young[profile_id] = encoded
        for identity, row in self._index.items():
            if row is None:
                batch.delete(keys.identity(*identity))
            else:
                batch.put(keys.identity(*identity), records.encode(row))
        for (flow_id, profile_id), stale in self._stale.items():
            if stale:
                batch.put(keys.stale(flow_id, profile_id), b"")
            else:
                batch.delete(keys.stale(flow_id, profile_id))
        if self._new_ids:
            expiry = self._now_ms + self._d._window_ms
            for digest in self._new_ids:
                batch.put(keys.update_id(digest), expiry.to_bytes(8, "big"))
            batch.put(keys.numbered(TIMER, expiry, 0, self._first), b"".join(self._new_ids))
        for at_ms, profile_ids in self._ends.items():
            batch.put(keys.numbered(END, at_ms, self._first), records.pack_ids(profile_ids))
        for flow_id, profile_id, ordinal, reason in self._out.discards:
            batch.put(keys.discard(flow_id, profile_id), records.encode((ordinal, reason)))
        self._out.soonest_ms = min(self._ends, default=None)
        if self._kinds:
            self._out.journal = records.JournalBlock(
                self._first, self._now_ms, self._snapshot.version, bytes(self._kinds), self._bodies,
                bytes(self._sources), names, records.pack_ids(self._named), list(self._decisions), self._decision,
                self._absorbed, self._links, self._bases, sorted(self._snapshot.overflowing),
            )  # fmt: skip
        self._out.last = self._ordinal - 1
