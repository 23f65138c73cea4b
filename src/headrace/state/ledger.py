"""Search the ledger: every export that was settled, by its id, profile, place on the stream, flow or time.

Rows are looked for through the pages beside the blocks (state/pages.py); only blocks that may hold one are opened.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from headrace.core.model import Cause
from headrace.core.reasons import DISCARDS
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import LEDGER, MOST, Keys
from headrace.state.pages import EXPORT_ID, PROFILE_ID, SEQUENCE, Pages, Reader, id_mark, text_mark

DELIVERED: Final = "delivered"
DEAD_LETTER: Final = "dead-letter"
DISCARDED: Final = "discarded"


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for; what is empty does not matter.

    Attributes:
        export_id: Of one export.
        profile_id: Exports about this profile, under the id it had then.
        shard: With ``sequence`` the place of one record; alone, all of one shard.
        sequence: A sequence number.
        flow: Of this flow.
        since_ms: Settled then or later, epoch milliseconds.
        until_ms: Settled before.
        first: From this row on.
        last: Up to this row.
    """

    export_id: str = ""
    profile_id: str = ""
    shard: str = ""
    sequence: str = ""
    flow: str = ""
    since_ms: int = 0
    until_ms: int = MOST
    first: int = 0
    last: int = MOST

    def mark(self) -> tuple[bytes, bytes] | None:
        """The column and mark that tell most; None when only pages and blocks as a whole can be left out."""
        if self.export_id:
            return EXPORT_ID, id_mark(self.export_id)
        if self.sequence:
            return SEQUENCE, text_mark(self.sequence)
        if self.profile_id:
            return PROFILE_ID, id_mark(self.profile_id)
        return None


class Entry(msgspec.Struct, kw_only=True):
    """One settled export.

    Attributes:
        row: Its number in the ledger.
        flow: Flow id.
        export_id: Its id.
        profile_id: The profile it is about.
        ordinal: Ordinal of the input that made it.
        seq: Its number among the flow's exports about the profile.
        version: The profile's version.
        epoch: The profile's epoch.
        configuration: Version of the configuration that made it.
        cause: Why it was made.
        made_ms: When, epoch milliseconds.
        settled_ms: When its outcome was stored.
        outcome: delivered, dead-letter or discarded.
        shard: Where it was written, or which shard refused it.
        sequence: Its sequence number there.
        code: Why it was refused.
        attempts: Writes.
    """

    row: int
    flow: str
    export_id: str
    profile_id: str
    ordinal: int
    seq: int
    version: int
    epoch: int
    configuration: str
    cause: Cause
    made_ms: int
    settled_ms: int
    outcome: str
    shard: str
    sequence: str
    code: str
    attempts: int


class Ledger:
    """Reads the ledger of a sandbox.

    Args:
        state: Where it lies.
        keys: Of the sandbox.
    """

    def __init__(self, state: State, keys: Keys) -> None:
        self._pages = Pages(state, keys, LEDGER)
        self.reader = Reader(state, keys, LEDGER)

    def find(self, query: Query, *, back: bool = False) -> Iterator[Entry]:
        """Entries by row; with *back* the newest first."""
        for first, stored in self._blocks(query, back=back):
            at_ms, rows = records.heading(stored)
            if not query.since_ms <= at_ms < query.until_ms or first + rows <= query.first or first > query.last:
                continue
            block = self.reader.ledger(first, stored)
            found = [i for i in _matching(block, query) if query.first <= first + i <= query.last]
            for index in reversed(found) if back else found:
                yield _entry(block, first, index)

    def _blocks(self, query: Query, *, back: bool) -> Iterator[tuple[int, bytes]]:
        """Blocks that may hold what is looked for, each once."""
        mark = query.mark()
        behind = self.reader.stored(self._pages.tail(), query.last, back=back)
        paged = self._of_pages(query, back=back) if mark is None else self._marked(mark, query, back=back)
        if back:
            yield from behind
            yield from paged
        else:
            yield from paged
            yield from behind

    def _marked(self, mark: tuple[bytes, bytes], query: Query, *, back: bool) -> Iterator[tuple[int, bytes]]:
        known = range(0)
        for row in self._pages.candidates(*mark, first=query.first, last=query.last, back=back):
            if row in known:
                continue
            found = self.reader.find(row)
            if found is not None:
                known = range(found[0], found[0] + records.heading(found[1])[1])
                yield found

    def _of_pages(self, query: Query, *, back: bool) -> Iterator[tuple[int, bytes]]:
        for page in self._pages.summaries(back=back):
            if page.last < query.first or page.first > query.last:
                continue
            if page.most_ms < query.since_ms or page.least_ms >= query.until_ms:
                continue
            if not query.flow or query.flow in page.flows:
                yield from self.reader.stored(page.first, page.last, back=back)


def _matching(block: records.LedgerBlock, query: Query) -> Iterator[int]:
    """Indexes of the rows that are as asked."""
    width = records.ID_BYTES
    export_id, profile_id = records.pack_ids([query.export_id]), records.pack_ids([query.profile_id])
    flow = _index(block.flows, query.flow)
    shard = _index(block.shards, query.shard)
    for i in range(block.rows):
        if query.export_id and block.export_id[i * width : (i + 1) * width] != export_id:
            continue
        if query.profile_id and block.profile_id[i * width : (i + 1) * width] != profile_id:
            continue
        if (flow is not None and block.flow[i] != flow) or (shard is not None and block.shard[i] != shard):
            continue
        if query.sequence and block.sequence[i] != query.sequence:
            continue
        yield i


def _index(names: list[str], wanted: str) -> int | None:
    """Where a name is; None when any will do, -1 when it is not there."""
    if not wanted:
        return None
    return names.index(wanted) if wanted in names else -1


def _entry(block: records.LedgerBlock, first: int, i: int) -> Entry:
    code = block.codes[block.code[i]]
    return Entry(
        row=first + i,
        flow=block.flows[block.flow[i]],
        export_id=records.unpack_id(block.export_id, i),
        profile_id=records.unpack_id(block.profile_id, i),
        ordinal=block.ordinal[i],
        seq=block.seq[i],
        version=block.version[i],
        epoch=block.epoch[i],
        configuration=block.configs[block.config[i]],
        cause=block.cause[i],
        made_ms=block.made_ms[i],
        settled_ms=block.at_ms,
        outcome=DELIVERED if not code else DISCARDED if code in DISCARDS else DEAD_LETTER,
        shard=block.shards[block.shard[i]],
        sequence=block.sequence[i],
        code=code,
        attempts=block.attempts[i],
    )


def answer(state: State, keys: Keys, wanted: Mapping[str, Any]) -> list[Entry]:
    """Answer a question of plain values: those of ``Query``, ``limit``, and ``back`` for the newest first."""
    given = dict(wanted)
    limit, back = int(given.pop("limit", 20)), bool(given.pop("back", True))
    return list(itertools.islice(Ledger(state, keys).find(msgspec.convert(given, Query), back=back), limit))
