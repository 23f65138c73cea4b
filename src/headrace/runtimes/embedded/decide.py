"""Decide one batch: decode, find the profiles, step each input, and say what must be written.

Reads the state through ``lookup``, writes nothing to it: everything goes into the batch that the caller commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from headrace.core.cause import WITHDRAWN
from headrace.core.envelope import Envelope, encode
from headrace.core.flow import Snapshot
from headrace.core.link import Guards, Link, Row, link
from headrace.core.model import Backfill, Delete, Export, Identity, Replay, Tick, Unlink
from headrace.core.step import CATCH_UP, Step, step
from headrace.core.update import Update, parse_update
from headrace.errors import UpdateRefusedError
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.entries import Entries
from headrace.runtimes.embedded.lookup import Lookup, Recent
from headrace.runtimes.embedded.marks import Marks
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Refused
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import Keys

_KINDS: Final = {
    Tick: records.TICK,
    Backfill: records.BACKFILL,
    Delete: records.DELETE,
    Replay: records.REPLAY,
    Unlink: records.UNLINK,
}

_SLICE: Final = 64
"""Updates that are decoded before they are decided."""

_REPEATED: Final = b"repeated"
"""In place of an update id's digest: known to be a repeat."""


class _Parsed:
    """An update of a slice.

    Attributes:
        digest: Of its id; None where it has none.
        number: Its batch.
        index: Its place there.
        source: Index of its source.
    """

    __slots__ = ("body", "digest", "index", "number", "source", "update")

    def __init__(
        self, update: Update, digest: bytes | None, body: bytes, number: int, index: int, source: int
    ) -> None:  # fmt: skip
        self.update, self.digest, self.body = update, digest, body
        self.number, self.index, self.source = number, index, source


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
        self._rows: Recent[Identity, Row] = Recent(2 * cached)
        self._profiles: Recent[str, bytes] = Recent(cached)
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
        self._rows.turn()
        self._profiles.turn()
        keys = self._keys
        lookup = Lookup(self._state, keys, self._rows, self._profiles, self._installation_key, now_ms)
        under_way = _Deciding(self, lookup, batches, commands, first, now_ms, totals, repeats, named)
        decision = under_way.run()
        lookup.write(batch, first, self._window_ms)
        under_way.marks.write(batch, keys, first)
        for flow_id, profile_id, ordinal, reason in decision.discards:
            batch.put(keys.discard(flow_id, profile_id), records.encode((ordinal, reason)))
        return decision


class _Deciding:
    """One batch under way."""

    def __init__(
        self, decider: Decider, lookup: Lookup, batches: Sequence[SourceBatch], commands: Sequence[Command],
        first: int, now_ms: int, totals: records.Totals, repeats: frozenset[int] | None,
        named: Sequence[str] | None,
    ) -> None:  # fmt: skip
        self._lookup = lookup
        self._repeats, self._named_before = repeats, named
        self._snapshot = decider.snapshot
        self._batches, self._commands = batches, commands
        self._ordinal, self._now_ms = first, now_ms
        self._first = first
        self._totals = totals
        self._guards = Guards(self._snapshot.max_identities, self._snapshot.unstitchable)
        self._entries = Entries(lookup, decider.base_from)
        self._out = Decision(len(self._snapshot.flows), len(batches))
        self._flow_totals = [totals.flows.setdefault(f.id, records.FlowTotals()) for f in self._snapshot.flows]
        self._stamped = self._snapshot.merge_by == "timestamp"
        self._repeat_held = ("repeat",) * len(self._snapshot.flows)
        self._overflowing = bool(self._snapshot.overflowing)
        self._consents = any(flow.consent is not None for flow in self._snapshot.flows)
        self._counts: list[int] = []
        """Inputs that were applied, for each of the journal's different decisions."""
        self._accepted = 0
        self.marks = Marks(self._snapshot, lookup)

    def run(self) -> Decision:
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
            parsed: list[_Parsed] = []
            for number, index, source in places[start : start + _SLICE]:
                one = self._parse(number, index, source)
                if one is not None:
                    parsed.append(one)
            self._lookup.prefetch([one.update for one in parsed])
            for one in parsed:
                self._apply_update(one)
        if self._commands:
            self._lookup.prefetch_profiles({command.profile_id for command in self._commands})
        for command in self._commands:
            self._lookup.at_hand.clear()
            self._apply_command(command)
        for refused in self._out.refused:
            refused.sort(key=lambda one: one.index)  # some are found out only when they are stored
        self._count_flows()
        self._out.soonest_ms = self.marks.soonest_ms
        self._out.journal = self._entries.block(
            self._first, self._now_ms, self._snapshot.version, names, sorted(self._snapshot.overflowing)
        )
        self._out.last = self._ordinal - 1
        return self._out

    def _parse(self, number: int, index: int, source: int) -> _Parsed | None:
        """Decode one update, with the digest of its id; None where it is refused."""
        batch = self._batches[number]
        for before in batch.refused:
            if before.index == index:
                self._refuse(number, before)
                return None
        body: bytes = batch.bodies[index]
        try:
            update = parse_update(body, stamped=self._stamped)
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
                self._lookup.ask(digest)
        return _Parsed(update, digest, body, number, index, source)

    def _refuse(self, number: int, refused: Refused) -> None:
        self._out.refused[number].append(refused)
        counts = self._totals.refused
        counts[refused.reason] = counts.get(refused.reason, 0) + 1

    # -- deciding ---------------------------------------------------------------------------------

    def _apply_update(self, one: _Parsed) -> None:
        lookup, update, digest = self._lookup, one.update, one.digest
        if digest is not None:
            if digest is _REPEATED or lookup.seen[digest]:
                self._repeat(one)
                return
            lookup.came(digest)
        absorbed: list[Envelope] = []
        found = self._known(update)
        indexed = found is not None
        if found is None:
            lookup.at_hand.clear()
            found = link(update, {i: lookup.rows.get(i) for i in update.identities}, lookup.count, self._guards)
            envelope = lookup.existing(found.profile_id) if found.profile_id else None
            absorbed = [lookup.existing(other) for other in found.absorbed]
        else:
            envelope = lookup.decoded(found.profile_id)
        profile_id = found.profile_id or self._new_name(update)
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
                self._refuse(one.number, Refused(one.index, error.reason, str(error)))
                if digest is not None:
                    lookup.take_back(digest)
                return
            self._entries.base(envelope, absorbed)
            lookup.put(profile_id, encoded)
            if done.ends:
                self.marks.end(profile_id, done.ends)
            if not indexed:
                self._relink(done.envelope, absorbed, found)
            if envelope is None:
                self._totals.profiles += 1
        if len(found.identities) != len(update.identities):
            self._entries.linked([update.identities.index(i) for i in found.identities])
        held = self._count_step(done)
        if self._overflowing:
            self.marks.hold_back(held, profile_id)
        self._journal(records.UPDATE, one.body, one.source, profile_id, held, counted=True)

    def _known(self, update: Update) -> Link | None:
        """Whose update it is, where the index says the same profile of all its identities, as of most updates."""
        rows, identities = self._lookup.rows, update.identities
        row = rows.get(identities[0])
        if row is None:
            return None
        if len(identities) > 1:
            for identity in identities:
                if rows.get(identity) != row:
                    return None
        return Link(row.profile_id, (), identities)

    def _new_name(self, update: Update) -> str:
        lookup, primary = self._lookup, update.primary
        profile_id = lookup.name_of(primary)
        if lookup.stored(profile_id) is not None:
            return lookup.other_name_of(primary, self._ordinal)
        if self._named_before is not None:
            other = lookup.other_name_of(primary, self._ordinal)
            if self._named_before[self._ordinal - self._first] == other:
                return other
        return profile_id

    def _relink(self, envelope: Envelope, absorbed: Sequence[Envelope], found: Link) -> None:
        """Point identities at their profile: new ones, and all of absorbed profiles."""
        lookup = self._lookup
        row = Row(envelope.profile_id, envelope.epoch)
        for identity in found.identities:
            if lookup.rows.get(identity) != row:
                lookup.point(identity, row)
        for other in absorbed:
            for namespace, ids in other.identities.items():
                for key in ids:
                    lookup.point(Identity(namespace, key), row)
            self._forget(other.profile_id)
            self.marks.inherit(envelope.profile_id, other.profile_id)
            self._totals.joined += 1

    def _forget(self, profile_id: str) -> None:
        self._lookup.put(profile_id, None)
        self._totals.profiles -= 1

    def _repeat(self, one: _Parsed) -> None:
        self._totals.repeats += 1
        row = self._lookup.rows.get(one.update.primary)
        profile_id = row.profile_id if row else ""
        self._journal(records.REPEAT, one.body, one.source, profile_id, self._repeat_held, counted=False)

    def _apply_command(self, command: Command) -> None:
        self._totals.received += 1
        envelope = self._lookup.profile(command.profile_id)
        done = step(envelope, (), command, (), command.profile_id, self._ordinal, self._now_ms, self._snapshot)
        if done.changed:
            self._entries.base(envelope, ())
        if done.changed and done.envelope is not None:
            self._lookup.put(command.profile_id, encode(done.envelope))
            if done.ends:
                self.marks.end(command.profile_id, done.ends)
            if isinstance(command, Unlink):
                self._lookup.unpoint(Identity(command.namespace, command.id))
        elif envelope is not None and done.envelope is None:
            self._deleted(envelope)
        held = self._count_step(done)
        if isinstance(command, Backfill) and command.kind == CATCH_UP and command.flow_id in self._snapshot.by_id:
            self.marks.clear(command.flow_id, command.profile_id)
        self.marks.hold_back(held, command.profile_id)
        self._out.answers.append(held)
        body = msgspec.msgpack.encode(command)
        self._journal(_KINDS[type(command)], body, 255, command.profile_id, held, counted=True)

    def _journal(
        self, kind: int, body: bytes, source: int, profile_id: str, held: tuple[str, ...], *, counted: bool
    ) -> None:  # fmt: skip
        place = self._entries.add(kind, body, source, profile_id, held)
        self._ordinal += 1
        while place >= len(self._counts):
            self._counts.append(0)
        if counted:
            self._counts[place] += 1
            self._accepted += 1

    def _count_step(self, done: Step) -> tuple[str, ...]:
        held = tuple(done.held)
        for index, bucket, export in done.exports:
            self._out.exports[index].append((bucket, export))
            if self._consents and WITHDRAWN in export.cause.triggers:
                self._withdrawn(self._snapshot.flows[index].id, export)
        if done.notes:
            for code, n in done.notes.items():
                self._totals.notes[code] = self._totals.notes.get(code, 0) + n
        return held

    def _withdrawn(self, flow_id: str, export: Export) -> None:
        """A consent is gone: what waits about the profile is given up, and nothing is left to be made up for."""
        self._out.discards.append((flow_id, export.profile_id, export.ordinal, "consent-withdrawn"))
        self.marks.clear(flow_id, export.profile_id)

    def _deleted(self, envelope: Envelope) -> None:
        """A profile is forgotten, and what waits about it, or about those it absorbed, given up."""
        for namespace, ids in envelope.identities.items():
            for key in ids:
                self._lookup.unpoint(Identity(namespace, key))
        self._forget(envelope.profile_id)
        for flow_id, mark in envelope.marks.items():
            self.marks.clear(flow_id, envelope.profile_id)
            for profile_id in (envelope.profile_id, *mark.absorbed):
                self._out.discards.append((flow_id, profile_id, self._ordinal, "profile-deleted"))

    def _count_flows(self) -> None:
        """Fold what this batch did into the totals of each flow."""
        self._totals.accepted += self._accepted
        for held, n in zip(self._entries.decisions, self._counts, strict=True):
            for counted, reason in zip(self._flow_totals, held, strict=True):
                counted.accepted += n
                if reason and n:
                    counted.held[reason] = counted.held.get(reason, 0) + n
        for counted, exports in zip(self._flow_totals, self._out.exports, strict=True):
            counted.exported += len(exports)
            triggers: dict[str, int] = counted.triggers
            size_bytes = 0
            for _, export in exports:
                size_bytes += len(export.data)
                cause = export.cause
                fired: list[str] = cause.triggers
                for trigger in fired or [cause.kind]:
                    triggers[trigger] = triggers.get(trigger, 0) + 1
            counted.bytes += size_bytes
