"""Make what journal and ledger hold of a person unreadable, and leave everything else as it is.

Rows keep their numbers: an erased row of the journal has the kind ``records.ERASED`` and nothing of the input, one of
the ledger names no profile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from headrace.core.model import Cause
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import JOURNAL, MOST, PAGE, Keys
from headrace.state.pages import MARK_BYTES, PROFILE_ID, Pages, Reader, id_mark

_NOBODY = bytes(records.ID_BYTES)


def rows_about(
    state: State, keys: Keys, space: bytes, profile_id: str, *, first: int, last: int
) -> Iterator[tuple[int, bytes, list[int]]]:
    """(First row, stored block, places of the rows about a profile) of the blocks with rows of [first, last]."""
    pages, reader = Pages(state, keys, space), Reader(state, keys, space)
    tail = pages.tail()
    begun: set[int] = set()
    packed = records.pack_ids([profile_id])
    for row in pages.candidates(PROFILE_ID, id_mark(profile_id), first=first, last=last):
        found = reader.find(row)
        if found is not None and found[0] not in begun:
            begun.add(found[0])
            if places := _places(space, found[1], packed, last - found[0]):
                yield *found, places
    holding = reader.find(max(tail, first))
    start = holding[0] if holding is not None else max(tail, first)
    for begin, stored in reader.stored(start, last):
        if begin not in begun and (places := _places(space, stored, packed, last - begin)):
            yield begin, stored, places


def _places(space: bytes, stored: bytes, packed: bytes, most: int) -> list[int]:
    block = records.journal_block(stored) if space == JOURNAL else records.ledger_block(stored)
    column = block.profiles if isinstance(block, records.JournalBlock) else block.profile_id
    if packed not in column:
        return []
    width = records.ID_BYTES
    return [i for i in range(min(block.rows, most + 1)) if column[i * width : (i + 1) * width] == packed]


def born(state: State, keys: Keys, profile_id: str, last: int) -> int:
    """Ordinal of the last input by then that made a profile with this id; 0 where the journal does not tell."""
    found = 0
    for first, stored, places in rows_about(state, keys, JOURNAL, profile_id, first=0, last=last):
        bases = records.journal_block(stored).bases
        found = max([found, *(first + place for place in places if bases.get(place) == [])])
    return found


def erase_journal(stored: bytes, places: Collection[int]) -> tuple[bytes, dict[str, int]]:
    """A journal block without what it holds of some rows, and the profiles that they joined, each with the row."""
    block = records.journal_block(stored)
    kinds, profiles = bytearray(block.kinds), bytearray(block.profiles)
    joined: dict[str, int] = {}
    for place in places:
        kinds[place] = records.ERASED
        block.bodies[place] = b""
        profiles[place * records.ID_BYTES : (place + 1) * records.ID_BYTES] = _NOBODY
        joined |= dict.fromkeys(block.absorbed.pop(place, ()), block.first + place)
        block.links.pop(place, None)
        block.bases.pop(place, None)
    block.kinds, block.profiles = bytes(kinds), bytes(profiles)
    return records.packed(block), joined


def erase_ledger(stored: bytes, places: Collection[int]) -> bytes:
    """A ledger block that does not tell whom some rows were about."""
    block = records.ledger_block(stored)
    profiles, causes = bytearray(block.profile_id), list(block.cause)
    for place in places:
        profiles[place * records.ID_BYTES : (place + 1) * records.ID_BYTES] = _NOBODY
        causes[place] = Cause(causes[place].kind)
    block.profile_id, block.cause = bytes(profiles), causes
    return records.packed(block)


def erase_marks(state: State, keys: Keys, space: bytes, rows: Collection[int], batch: Batch) -> None:
    """Take the marks of rows out of the pages that hold them; once a commit, for all rows of a space in it."""
    prefix = keys.prefix + PAGE + space + PROFILE_ID
    key: Callable[[int], bytes] = lambda row: prefix + row.to_bytes(8, "big")  # noqa: E731
    pages: dict[bytes, bytearray] = {}
    for row in rows:
        found = next(state.scan_back(key(0), key(min(row, MOST - 1) + 1)), None)
        if found is None:
            continue
        marks = pages.setdefault(found[0], bytearray(found[1]))
        at = (row - int.from_bytes(found[0][-8:], "big")) * MARK_BYTES
        if at < len(marks):
            marks[at : at + MARK_BYTES] = bytes(MARK_BYTES)
    for page, marks in pages.items():
        batch.put(page, bytes(marks))
