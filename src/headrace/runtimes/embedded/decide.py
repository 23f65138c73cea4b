"""Decide one batch: decode, find the profiles, step each input, and say what must be written.

Reads the state through ``lookup``, writes nothing to it: everything goes into the batch that the caller commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headrace.core import plain
from headrace.core.cause import WITHDRAWN
from headrace.core.envelope import Envelope, encode
from headrace.core.flow import Snapshot
from headrace.core.link import Guards, Link, Row, link
from headrace.core.model import Backfill, Delete, Export, Identity, Replay, Tick, Unlink
from headrace.core.step import CATCH_UP, Step, step
from headrace.destinations.pending import Pending
from headrace.errors import UpdateRefusedError
from headrace.runtimes.embedded.counting import Counting
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.entries import Entries
from headrace.runtimes.embedded.lookup import Lookup, Recent
from headrace.runtimes.embedded.marks import Marks
from headrace.runtimes.embedded.parsed import REPEATED, Parsed
from headrace.runtimes.embedded.parser import Parser
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


class Decider:
    """Decides batches against one state.

    Args:
        state: Where profiles and identities lie.
        keys: Of the sandbox.
        snapshot: The configuration; may be replaced between batches.
        installation_key: Names profiles.
        dedup_window_ms: How long an update's id is remembered.
        cached: Profiles kept in memory, as bytes.
        by_c: Decide plain updates by C, where it is compiled. Not where a journal is folded again, so that what C
            decided is held against what Python decides.

    Attributes:
        base_from: A profile that no input from this ordinal on has changed is journaled as it was before the
            next one does, so that what that comes to can be told without all that came before.
    """

    def __init__(
        self, state: State, keys: Keys, snapshot: Snapshot, installation_key: bytes, *, dedup_window_ms: int,
        cached: int = 4096, by_c: bool = True,
    ) -> None:  # fmt: skip
        self._state, self._keys = state, keys
        self.snapshot = snapshot
        self._by_c = by_c
        self._planned: tuple[Snapshot, Any] | None = None
        self._installation_key = installation_key
        self._window_ms = dedup_window_ms
        self._rows: Recent[bytes, Row] = Recent(2 * cached)
        self._profiles: Recent[str, bytes] = Recent(cached)
        self.base_from = 0

    @property
    def plan(self) -> Any:
        """The snapshot for ``plain.Slice``; None where Python decides."""
        if self._planned is None or self._planned[0] is not self.snapshot:
            self._planned = (self.snapshot, plain.plan(self.snapshot) if self._by_c else None)
        return self._planned[1]

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
        self._named = named
        self._snapshot = decider.snapshot
        self._commands = commands
        self._ordinal, self._now_ms = first, now_ms
        self._first = first
        self._totals = totals
        self._guards = Guards(self._snapshot.max_identities, self._snapshot.unstitchable)
        self._entries = Entries(lookup, decider.base_from)
        self._out = Decision(len(self._snapshot.flows), len(batches))
        self._counting = Counting(totals, self._snapshot)
        self._slice: Any = None
        if decider.plan is not None and named is None:
            self._slice = lookup.by_c(
                decider.plan, self._entries.columns, self._out.exports, decider.base_from, self._guards,
                heeds_ids=repeats is None,
            )  # fmt: skip
        self._parser = Parser(
            batches, lookup, self._out, totals, stamped=self._snapshot.merge_by == "timestamp", repeats=repeats,
        )  # fmt: skip
        self._repeat_held = ("repeat",) * len(self._snapshot.flows)
        self._overflowing = bool(self._snapshot.overflowing)
        self._consents = any(flow.consent is not None for flow in self._snapshot.flows)
        self.marks = Marks(self._snapshot, lookup)

    def run(self) -> Decision:
        parser = self._parser
        if self._slice is not None:
            self._run_by_c()
        while parsed := parser.next_slice():
            self._lookup.prefetch(parsed)
            for one in parsed:
                self._apply_update(one)
        if self._commands:
            self._lookup.prefetch_profiles({command.profile_id for command in self._commands})
        for command in self._commands:
            self._lookup.at_hand.clear()
            self._apply_command(command)
        for refused in self._out.refused:
            refused.sort(key=lambda one: one.index)  # some are found out only when they are stored
        self._counting.fold(list(self._entries.decisions))
        self._out.soonest_ms = self.marks.soonest_ms
        self._out.journal = self._entries.block(
            self._first, self._now_ms, self._snapshot.version, parser.names, sorted(self._snapshot.overflowing)
        )
        self._out.last = self._ordinal - 1
        return self._out

    # -- by C -------------------------------------------------------------------------------------

    def _run_by_c(self) -> None:
        """Have C read and decide, slice by slice, and decide here what it leaves."""
        parser, lookup, by_c = self._parser, self._lookup, self._slice
        while size := parser.fill(by_c):
            lookup.prefetch(parser.left, by_c.look())
            left = iter(parser.left)
            at = 0
            while True:
                to: int = by_c.decide(at, self._ordinal)
                self._ordinal += to - at
                self.marks.hear(by_c.told(), self._now_ms)
                if to == size:
                    break
                read = by_c.left(to)
                one = next(left) if read is None else parser.parse(*read)
                if one is not None:
                    self._apply_update(one)
                at = to + 1
        self._counting.by_c(by_c.counted())

    # -- by Python --------------------------------------------------------------------------------

    def _apply_update(self, one: Parsed) -> None:
        lookup, digest = self._lookup, one.digest
        if digest is not None:
            if digest is REPEATED or lookup.seen[digest]:
                self._repeat(one)
                return
            lookup.came(digest)
        row = self._row_of(one.identities)
        if row is not None:
            found = Link(row.profile_id, (), one.identities)
        else:
            lookup.at_hand.clear()
            rows = {i: lookup.row(i) for i in one.identities}
            found = link(one.identities, one.primary, rows, lookup.count, self._guards)
        named = self._named[self._ordinal - self._first] if self._named is not None else ""
        profile_id = found.profile_id or lookup.new_name(one.primary, self._ordinal, named)
        self._step(one, found, profile_id, indexed=row is not None)

    def _step(self, one: Parsed, found: Link, profile_id: str, *, indexed: bool) -> None:
        lookup, update, digest = self._lookup, one.update, one.digest
        envelope = lookup.existing(profile_id, fresh=indexed) if found.profile_id else None
        absorbed = [lookup.existing(other) for other in found.absorbed]
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
                self._parser.refuse(one.number, Refused(one.index, error.reason, str(error)))
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

    def _row_of(self, identities: list[Identity]) -> Row | None:
        """Whose update it is, where the index says the same profile of all its identities, as of most updates."""
        row = self._lookup.row(identities[0])
        if row is not None:
            for identity in identities[1:]:
                if self._lookup.row(identity) != row:
                    return None
        return row

    def _relink(self, envelope: Envelope, absorbed: Sequence[Envelope], found: Link) -> None:
        """Point identities at their profile: new ones, and all of absorbed profiles."""
        lookup = self._lookup
        row = Row(envelope.profile_id, envelope.epoch)
        for identity in found.identities:
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

    def _repeat(self, one: Parsed) -> None:
        self._totals.repeats += 1
        row = self._lookup.row(one.primary)
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
        self._counting.decided(place, applied=counted)

    def _count_step(self, done: Step) -> tuple[str, ...]:
        held = tuple(done.held)
        for index, bucket, export in done.exports:
            self._out.exports[index].append(Pending(export, bucket))
            self._counting.made(index, export)
            if self._consents and WITHDRAWN in export.cause.triggers:
                self._withdrawn(self._snapshot.flows[index].id, export)
        for code, n in done.notes.items():
            self._counting.note(code, n)
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
