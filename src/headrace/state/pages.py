"""Pages: a few bytes about every row of many blocks, so that a search opens only the blocks that hold what it seeks.

Journal and ledger are rows numbered from 1, in blocks; a block's key is the number of its first row. For every
``PAGE_ROWS`` rows or so there is a page beside them: a summary, and per column one *mark* of three bytes a row, in
the order of the rows. A mark is the beginning of a value that is a hash anyway, so a search is a search for bytes:
a day at 1,000 rows a second is 259 MB of marks a column, and about five of its rows bear a given mark by chance.

Holds always (tests/state/test_pages.py checks each by its number):
    G1  A row that holds the value sought is among the candidates, or not before the tail.
    G2  A page follows from its blocks alone, and is committed with the last of them: what a killed process left
        open is made again from the blocks behind the last page.
    G3  What is swept is gone whole: blocks, marks and summary.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Final

import msgspec

from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import JOURNAL, LEDGER, MOST, PAGE, Keys
from headrace.state.rows import JournalRows, journal_rows, ledger_rows

PAGE_ROWS: Final = 16_384
MARK_BYTES: Final = 3

SUMMARY: Final = b"s"
PROFILE_ID: Final = b"p"
EXPORT_ID: Final = b"e"
SEQUENCE: Final = b"q"
COLUMNS: Final = {JOURNAL: (PROFILE_ID,), LEDGER: (EXPORT_ID, PROFILE_ID, SEQUENCE)}

Block = records.JournalBlock | records.LedgerBlock
Marks = dict[bytes, bytes]
"""Column to its marks, one after the other."""

_SEAL_MS: Final = 3_600_000


class Page(msgspec.Struct, array_like=True):
    """Summary of a page. Field order is the format: append only.

    Attributes:
        first: Its first row.
        last: Its last row.
        bytes: Of its blocks and marks, as they are given to the state.
        least_ms: Earliest time of its blocks, epoch milliseconds.
        most_ms: Latest time of its blocks.
        flows: For the ledger: ids of the flows in it.
    """

    first: int
    last: int
    bytes: int
    least_ms: int
    most_ms: int
    flows: list[str] = []


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Page).decode


def id_mark(text: str) -> bytes:
    """The mark of an id of a profile or export, 32 hexadecimal digits."""
    return records.pack_ids([text])[:MARK_BYTES]


def text_mark(text: str) -> bytes:
    """The mark of any other text: sequence numbers."""
    return zlib.crc32(text.encode()).to_bytes(4, "little")[:MARK_BYTES]


def _every(column: bytes, width: int) -> bytes:
    """The first bytes of each value of a column."""
    marks = bytearray(MARK_BYTES * (len(column) // width))
    for at in range(MARK_BYTES):
        marks[at::MARK_BYTES] = column[at::width]
    return bytes(marks)


def marks_of(block: Block) -> Marks:
    """The marks of a block's rows."""
    if isinstance(block, records.JournalBlock):
        return {PROFILE_ID: _every(block.profiles, records.ID_BYTES)}
    hashes = map(zlib.crc32, map(str.encode, block.sequence))
    return {
        EXPORT_ID: _every(block.export_id, records.ID_BYTES),
        PROFILE_ID: _every(block.profile_id, records.ID_BYTES),
        SEQUENCE: _every(struct.pack(f"<{block.rows}I", *hashes), 4),
    }


def _column(keys: Keys, space: bytes, column: bytes) -> Callable[[int], bytes]:
    prefix = keys.prefix + PAGE + space + column
    return lambda row: prefix + row.to_bytes(8, "big")


class Roll:
    """Writes the blocks of one space and their pages, and removes what is too old or too much.

    Args:
        state: Where they lie.
        keys: Of the sandbox.
        space: JOURNAL or LEDGER.
        kept: False writes nothing at all.
        page_rows: Rows after which a page is written.
    """

    def __init__(
        self, state: State, keys: Keys, space: bytes, *, kept: bool = True, page_rows: int = PAGE_ROWS
    ) -> None:
        self.kept = kept
        self._keys, self._space, self._page_rows = keys, space, page_rows
        self._pages = deque(Pages(state, keys, space).summaries())
        self.bytes = sum(page.bytes for page in self._pages)
        self._begin()
        read: Callable[[bytes], Block] = records.journal_block if space == JOURNAL else records.ledger_block
        tail = self._pages[-1].last + 1 if self._pages else 0
        for key, stored in state.scan(keys.numbered(space, tail), keys.space(space)[1]):
            self._note(int.from_bytes(key[-8:], "big"), read(stored), len(stored))

    def _begin(self) -> None:
        self._open: Page | None = None
        self._marks: dict[bytes, list[bytes]] = {column: [] for column in COLUMNS[self._space]}

    def put(self, batch: Batch, first: int, block: Block) -> None:
        """Put a block into a batch, and the page that it completes.

        Args:
            batch: Where to.
            first: Number of its first row: one more than that of the last block's last row.
            block: At least one row.
        """
        if not self.kept:
            return
        stored = records.packed(block)
        batch.put(self._keys.numbered(self._space, first), stored)
        page = self._note(first, block, len(stored))
        if page.last - page.first + 1 >= self._page_rows:
            self.seal(batch)

    def _note(self, first: int, block: Block, size: int) -> Page:
        for column, marks in marks_of(block).items():
            self._marks[column].append(marks)
            size += len(marks)
        at_ms = block.at_ms
        page = self._open
        if page is None:
            page = self._open = Page(first, first, 0, at_ms, at_ms)
        page.last = first + block.rows - 1
        page.bytes += size
        page.least_ms = min(page.least_ms, at_ms)
        page.most_ms = max(page.most_ms, at_ms)
        if isinstance(block, records.LedgerBlock):
            page.flows += [flow for flow in block.flows if flow not in page.flows]
        self.bytes += size
        return page

    def forget(self, rows: Collection[int]) -> None:
        """Some rows were erased: what is noted of their profiles goes from the page that is open."""
        page = self._open
        if page is None or not any(row >= page.first for row in rows):
            return
        marks = bytearray(b"".join(self._marks[PROFILE_ID]))
        for row in rows:
            at = (row - page.first) * MARK_BYTES
            if 0 <= at < len(marks):
                marks[at : at + MARK_BYTES] = bytes(MARK_BYTES)
        self._marks[PROFILE_ID] = [bytes(marks)]

    def seal(self, batch: Batch) -> None:
        """Put the page that is open into a batch, however short it is."""
        page = self._open
        if page is None:
            return
        for column, marks in self._marks.items():
            batch.put(_column(self._keys, self._space, column)(page.first), b"".join(marks))
        batch.put(_column(self._keys, self._space, SUMMARY)(page.first), _encode(page))
        self._pages.append(page)
        self._begin()

    def sweep(self, batch: Batch, now_ms: int, age_ms: int, most_bytes: int) -> None:
        """Remove whole pages, the oldest first: what is older than *age_ms*, and what makes more than *most_bytes*.

        So that little comes to lie in the one page that is open, it is written now and then however short it is.
        """
        page = self._open
        if page is not None and (
            now_ms - page.least_ms >= min(_SEAL_MS, age_ms // 8) or page.bytes > most_bytes // 8
        ):
            self.seal(batch)
        pages, last = self._pages, 0
        while pages and (pages[0].most_ms < now_ms - age_ms or self.bytes > most_bytes):
            gone = pages.popleft()
            self.bytes -= gone.bytes
            last = gone.last
        if not last:
            return
        batch.delete_range(self._keys.numbered(self._space, 0), self._keys.numbered(self._space, last + 1))
        for column in (SUMMARY, *COLUMNS[self._space]):
            key = _column(self._keys, self._space, column)
            batch.delete_range(key(0), key(last + 1))


class Pages:
    """Reads the pages of one space.

    Args:
        state: Where they lie.
        keys: Of the sandbox.
        space: JOURNAL or LEDGER.
    """

    def __init__(self, state: State, keys: Keys, space: bytes) -> None:
        self._state, self._keys, self._space = state, keys, space

    def summaries(self, *, back: bool = False) -> Iterator[Page]:
        """All summaries, by row; with *back* the last first."""
        key = _column(self._keys, self._space, SUMMARY)
        scan = self._state.scan_back if back else self._state.scan
        for _, stored in scan(key(0), key(MOST)):
            yield _decode(stored)

    def tail(self) -> int:
        """The first row that no page covers (yet); 0 when there is no page."""
        return next((page.last + 1 for page in self.summaries(back=True)), 0)

    def candidates(
        self, column: bytes, mark: bytes, *, first: int = 0, last: int = MOST, back: bool = False
    ) -> Iterator[int]:
        """Rows of [first, last], before the tail, that bear a mark; with *back* the last first."""
        key = _column(self._keys, self._space, column)
        if back:
            found = self._state.scan_back(key(0), key(min(last, MOST - 1) + 1))
        else:
            begin = next((int.from_bytes(k[-8:], "big") for k, _ in self._state.scan_back(key(0), key(first + 1))), 0)
            found = self._state.scan(key(begin), key(MOST))
        for stored_key, marks in found:
            begin = int.from_bytes(stored_key[-8:], "big")
            if begin > last:
                return
            rows = [row for at in _places(marks, mark) if first <= (row := begin + at) <= last]
            yield from reversed(rows) if back else rows
            if back and begin <= first:
                return


def _places(marks: bytes, mark: bytes) -> Iterator[int]:
    """Numbers of the rows whose mark it is."""
    at = marks.find(mark)
    while at >= 0:
        row, rest = divmod(at, MARK_BYTES)
        if not rest:
            yield row
        at = marks.find(mark, at + 1)


class Reader:
    """Reads blocks of one space by row; what was opened last is kept.

    Attributes:
        opened: Blocks decompressed so far.
    """

    def __init__(self, state: State, keys: Keys, space: bytes) -> None:
        self._state, self._keys, self._space = state, keys, space
        self._last: tuple[int, JournalRows | records.LedgerBlock] | None = None
        self.opened = 0

    def stored(self, first: int, last: int, *, back: bool = False) -> Iterator[tuple[int, bytes]]:
        """(First row, stored block) of each block that begins within [first, last]; none is opened."""
        scan = self._state.scan_back if back else self._state.scan
        start = self._keys.numbered(self._space, first)
        end = self._keys.space(self._space)[1] if last >= MOST else self._keys.numbered(self._space, last + 1)
        for key, value in scan(start, end):
            yield int.from_bytes(key[-8:], "big"), value

    def find(self, row: int) -> tuple[int, bytes] | None:
        """(First row, stored block) of the block that holds a row; None when it is gone."""
        for first, stored in self.stored(0, row, back=True):
            return (first, stored) if row < first + records.heading(stored)[1] else None
        return None

    def journal(self, first: int, stored: bytes) -> JournalRows:
        """Open a block of the journal."""
        if self._last is None or self._last[0] != first:
            self.opened += 1
            self._last = first, journal_rows(stored)
        block = self._last[1]
        assert isinstance(block, JournalRows)
        return block

    def ledger(self, first: int, stored: bytes) -> records.LedgerBlock:
        """Open a block of the ledger."""
        if self._last is None or self._last[0] != first:
            self.opened += 1
            self._last = first, ledger_rows(stored)
        block = self._last[1]
        assert isinstance(block, records.LedgerBlock)
        return block
