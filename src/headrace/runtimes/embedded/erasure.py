"""What is erased of a person: rows of journal and ledger, dead letters, timers, runs, marks; some at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from headrace.runtimes.embedded.discards import decode_mark
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.erasing import born, erase_journal, erase_ledger, erase_marks, rows_about
from headrace.state.keys import BACKFILL, DEAD_LETTER, DISCARD, END, JOURNAL, LEDGER, MOST, Keys
from headrace.state.pages import Roll
from headrace.state.runs import encode, runs

_BLOCKS: Final = 20


class Deletion(msgspec.Struct, omit_defaults=True):
    """One deletion.

    Attributes:
        id: Its id.
        state: deleting, settling, erasing, compacting or done.
        asked_ms: When it was asked for, epoch milliseconds.
        profile_id: The profile's id; "" once it is done.
        spans: That id, and those of profiles that it absorbed, each with the first and last ordinal of inputs about
            it: an id may have been another's before. Empty once it is done.
        identities: (namespace, id); likewise.
        ordinal: Ordinal of its input.
        exports: Flow id to the id of its last message about the profile.
        erased: How many inputs, ledger entries and dead letters were made unreadable.
        done_ms: When it was done; 0 before.
    """

    id: str
    state: str
    asked_ms: int
    profile_id: str = ""
    spans: list[tuple[str, int, int]] = []
    identities: list[tuple[str, str]] = []
    ordinal: int = 0
    exports: dict[str, str] = {}
    erased: dict[str, int] = {}
    done_ms: int = 0


class Erasure:
    """Rewrites what is stored without a person.

    Args:
        state: Where everything lies.
        keys: Of the sandbox.
        flows: The flows at work.
        totals: Counted into.

    Attributes:
        rolls: What is written of journal and ledger, by space.
    """

    def __init__(self, state: State, keys: Keys, flows: Mapping[str, RunningFlow], totals: records.Totals) -> None:
        self._state, self._keys, self._flows, self._totals = state, keys, flows, totals
        self.rolls: Mapping[bytes, Roll] = {}

    def some(self, one: Deletion, batch: Batch) -> bool:
        """Rewrite some blocks; when none is left, what else names the person. True when nothing does any more."""
        left = _BLOCKS
        for span in list(one.spans):
            left -= self._journal(one, span, left, batch)
            if left > 0:
                left -= self._ledger(one, span, left, batch)
            if left < _BLOCKS:
                # A block is rewritten once a commit; what these named is looked at in the next round.
                return False
        self._letters(one, batch)
        self._timers(one, batch)
        self._runs(one, batch)
        self._discards(one, batch)
        one.profile_id, one.spans, one.identities = "", [], []
        return True

    def _journal(self, one: Deletion, span: tuple[str, int, int], most: int, batch: Batch) -> int:
        blocks = 0
        rows: list[int] = []
        profile_id, since, until = span
        for first, stored, found in rows_about(self._state, self._keys, JOURNAL, profile_id, first=since, last=until):
            places = [place for place in found if first + place >= since]
            if not places:
                continue
            erased, joined = erase_journal(stored, places)
            batch.put(self._keys.numbered(JOURNAL, first), erased)
            rows += [first + place for place in places]
            for other, ordinal in joined.items():
                known = (other, born(self._state, self._keys, other, ordinal), ordinal)
                if known not in one.spans:
                    one.spans.append(known)
            one.erased["inputs"] = one.erased.get("inputs", 0) + len(places)
            blocks += 1
            if blocks >= most:
                break
        self._marks(JOURNAL, rows, batch)
        return blocks

    def _ledger(self, one: Deletion, span: tuple[str, int, int], most: int, batch: Batch) -> int:
        blocks = 0
        rows: list[int] = []
        profile_id, since, until = span
        for first, stored, places in rows_about(self._state, self._keys, LEDGER, profile_id, first=0, last=MOST - 1):
            block = records.ledger_block(stored)
            places = [place for place in places if since <= block.ordinal[place] <= until]
            if not places:
                continue
            batch.put(self._keys.numbered(LEDGER, first), erase_ledger(stored, places))
            rows += [first + place for place in places]
            one.erased["ledger"] = one.erased.get("ledger", 0) + len(places)
            blocks += 1
            if blocks >= most:
                break
        self._marks(LEDGER, rows, batch)
        return blocks

    def _marks(self, space: bytes, rows: Collection[int], batch: Batch) -> None:
        erase_marks(self._state, self._keys, space, rows, batch)
        if space in self.rolls:
            self.rolls[space].forget(rows)

    def _letters(self, one: Deletion, batch: Batch) -> None:
        needles = [msgspec.json.encode(identity) for _, identity in one.identities]
        count = 0
        for key, value in self._state.scan(*self._keys.space(DEAD_LETTER)):
            letter = records.decode_letter(value)
            export = letter.export
            if export is not None:
                about = any(export.profile_id == who and a <= export.ordinal <= z for who, a, z in one.spans)
            else:
                about = any(needle in letter.body for needle in needles)
            if about:
                batch.delete(key)
                count += 1
        self._totals.dead_letters -= count
        one.erased["dead_letters"] = count

    def _timers(self, one: Deletion, batch: Batch) -> None:
        gone = {bytes.fromhex(profile_id) for profile_id, _, _ in one.spans}
        width = records.ID_BYTES
        for key, value in self._state.scan(*self._keys.space(END)):
            ids = [value[at : at + width] for at in range(0, len(value), width)]
            kept = [packed for packed in ids if packed not in gone]
            if not kept:
                batch.delete(key)
            elif len(kept) < len(ids):
                batch.put(key, b"".join(kept))

    def _runs(self, one: Deletion, batch: Batch) -> None:
        gone = set(one.identities)
        for run in runs(self._state, self._keys):
            if not run.open and not gone.isdisjoint(run.identities):
                run.identities = [identity for identity in run.identities if identity not in gone]
                batch.put(self._keys.named(BACKFILL, run.id), encode(run))

    def _discards(self, one: Deletion, batch: Batch) -> None:
        """Nothing from before waits any more: what must not be sent of it need not be known, either."""
        gone = {profile_id.encode() for profile_id, _, _ in one.spans}
        for key, value in self._state.scan(*self._keys.space(DISCARD)):
            flow_id, _, profile_id = key[len(self._keys.named(DISCARD, "")) :].rpartition(b"\0")
            if profile_id in gone and decode_mark(value)[0] <= one.ordinal:
                batch.delete(key)
                if (flow := self._flows.get(flow_id.decode())) is not None:
                    flow.dispatcher.discarding.pop(profile_id.decode(), None)
