"""What became of the exports that one input made: their entries in the ledger, found together.

All are about one profile and were settled after the input came in, mostly at about the same time. So the blocks since
then are gone through once for all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from headrace.runtimes.embedded.past import Line
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import LEDGER, MOST, Keys
from headrace.state.ledger import Entry, Ledger, Query
from headrace.state.pages import PROFILE_ID, Pages, id_mark

_MOST_OPENED: Final = 200
"""Blocks behind the pages are all opened; before them each export is looked for by its own id after so many."""
_BACK_MS: Final = 300_000
"""A clock that was set back by no more makes nobody look through all of the ledger."""


class Became:
    """Finds the entries of one input's exports.

    Args:
        state: Where the ledger lies.
        keys: Of the sandbox.
        ledger: Reads it.
        line: The input.
    """

    def __init__(self, state: State, keys: Keys, ledger: Ledger, line: Line) -> None:
        self._pages, self._ledger, self._line = Pages(state, keys, LEDGER), ledger, line
        self._packed = records.pack_ids([line.profile_id])
        self._since_ms = line.block.now_ms - _BACK_MS

    def of(self, exports: Mapping[str, str], *, ever: bool = False) -> dict[str, Entry]:
        """Flow id to entry, of those that are in the ledger.

        Args:
            exports: Flow id to the id of the export, "" where that is not known.
            ever: In all of the ledger, as where the clock was set back by much.
        """
        if ever:
            self._since_ms = 0
        found: dict[str, Entry] = {}
        tail = self._pages.tail()
        if not self._line.profile_id:
            for first, stored in self._after(tail):
                if len(found) == len(exports):
                    break
                self._take(first, stored, exports, found)
            return found
        opened = 0
        for first, stored in self._since(tail):
            opened += first < tail
            if len(found) == len(exports) or opened > _MOST_OPENED:
                break
            self._take(first, stored, exports, found)
        else:
            return found
        for flow in exports.keys() - found.keys():
            query = Query(export_id=exports[flow], profile_id=self._line.profile_id, flow=flow, last=tail - 1)
            for entry in self._ledger.find(query, back=True):
                if entry.ordinal == self._line.ordinal:
                    found[flow] = entry
                    break
        return found

    def _since(self, tail: int) -> Iterator[tuple[int, bytes]]:
        """Blocks since the input came in that may hold something about its profile, the last first."""
        reader = self._ledger.reader
        for first, stored in reader.stored(tail, MOST, back=True):
            if records.heading(stored)[0] < self._since_ms:
                return
            yield first, stored
        last = tail
        for row in self._pages.candidates(PROFILE_ID, id_mark(self._line.profile_id), last=tail - 1, back=True):
            if row >= last or (holding := reader.find(row)) is None:
                continue
            last, stored = holding
            if records.heading(stored)[0] < self._since_ms:
                return
            yield last, stored

    def _after(self, tail: int) -> Iterator[tuple[int, bytes]]:
        """Every block since the input came in, the first first: of somebody who was erased, pages tell nothing."""
        reader = self._ledger.reader
        paged = (
            block
            for page in self._pages.summaries()
            if page.most_ms >= self._since_ms
            for block in reader.stored(page.first, page.last)
        )
        for first, stored in itertools.chain(paged, reader.stored(tail, MOST)):
            if records.heading(stored)[0] >= self._since_ms:
                yield first, stored

    def _take(self, first: int, stored: bytes, exports: Mapping[str, str], found: dict[str, Entry]) -> None:
        """Add what a block holds of the input's exports."""
        for flow, row in self._rows(first, stored):
            if flow in exports and flow not in found and (entry := self._entry(row)) is not None:
                found[flow] = entry

    def _rows(self, first: int, stored: bytes) -> Iterator[tuple[str, int]]:
        """Flow id and row of each export of the input that a block holds."""
        block, width = self._ledger.reader.ledger(first, stored), records.ID_BYTES
        if self._packed not in block.profile_id:
            return
        wanted = self._line.ordinal
        for place in [place for place, ordinal in enumerate(block.ordinal) if ordinal == wanted]:
            if block.profile_id[place * width : (place + 1) * width] == self._packed:
                yield block.flows[block.flow[place]], first + place

    def _entry(self, row: int) -> Entry | None:
        query = Query(profile_id=self._line.profile_id, first=row, last=row)
        return next(self._ledger.find(query, back=True), None)
