"""Pages and the searches through them, by brute force and by counting the blocks that are opened."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from headrace.core.model import Cause
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import JOURNAL, LEDGER, PAGE, Keys
from headrace.state.ledger import Entry, Ledger, Query, answer
from headrace.state.memory import MemoryState
from headrace.state.pages import EXPORT_ID, PROFILE_ID, SEQUENCE, Pages, Reader, Roll, id_mark, marks_of, text_mark

KEYS = Keys()
HOUR_MS = 3_600_000
CAUSES = [Cause("live", ["segment"]), Cause("live", ["attribute"], ["n"])]


def ids(rng: random.Random, count: int) -> list[str]:
    return [f"{rng.getrandbits(128):032x}" for _ in range(count)]


def ledger_block(
    rng: random.Random, at_ms: int, rows: int, profiles: Sequence[str], first: int
) -> records.LedgerBlock:
    """A block as settlements make it: two flows, three shards, a dead letter now and then."""
    codes = [int(rng.random() < 0.05) for _ in range(rows)]
    return records.LedgerBlock(
        at_ms, ["f1", "f2"], ["c"], ["s0", "s1", "s2"],
        ["", "Bad"],
        [rng.randrange(2) for _ in range(rows)], records.pack_ids(ids(rng, rows)),
        records.pack_ids(rng.choices(profiles, k=rows)), list(range(rows)), [1] * rows, [2] * rows, [3] * rows,
        [0] * rows, [at_ms - 5] * rows, rng.choices(CAUSES, k=rows), [rng.randrange(3) for _ in range(rows)],
        ["" if code else str(10**20 + first + n) for n, code in enumerate(codes)], codes, [1] * rows,
    )  # fmt: skip


def filled(
    state: State, blocks: int = 60, seed: int = 1, page_rows: int = 200
) -> tuple[Roll, list[records.LedgerBlock]]:
    """A ledger of so many blocks of 1 to 40 rows, one a minute; pages of 200 rows."""
    rng = random.Random(seed)
    roll = Roll(state, KEYS, LEDGER, page_rows=page_rows)
    profiles = ids(rng, 100)
    made: list[records.LedgerBlock] = []
    row = 1
    for number in range(blocks):
        block = ledger_block(rng, 60_000 * number, rng.randint(1, 40), profiles, row)
        write = state.batch()
        roll.put(write, row, block)
        state.commit(write)
        made.append(block)
        row += block.rows
    return roll, made


def everything(blocks: Sequence[records.LedgerBlock]) -> list[tuple[str, str, str, str, str, int]]:
    """(export, profile, shard, sequence, flow, time) of every row, in order."""
    return [
        (
            records.unpack_id(b.export_id, i), records.unpack_id(b.profile_id, i), b.shards[b.shard[i]],
            b.sequence[i], b.flows[b.flow[i]], b.at_ms,
        )
        for b in blocks
        for i in range(b.rows)
    ]  # fmt: skip


def dump(state: State, space: bytes = b"") -> dict[bytes, bytes]:
    return dict(state.scan(KEYS.prefix + (space or b"\0"), KEYS.prefix + (space or b"\xff") + b"\xff" * 30))


@pytest.mark.parametrize("column", [EXPORT_ID, PROFILE_ID, SEQUENCE])
def test_g1_every_row_is_a_candidate_or_behind(column: bytes) -> None:
    """G1: for each row, its number is among the candidates of its mark, in both directions, or in the tail."""
    state = MemoryState()
    _, blocks = filled(state)
    pages = Pages(state, KEYS, LEDGER)
    tail = pages.tail()
    rows = everything(blocks)
    assert 0 < tail <= len(rows)
    assert len(rows) - tail < 250
    for row, (export, profile, _, sequence, _, _) in enumerate(rows, 1):
        text = {EXPORT_ID: export, PROFILE_ID: profile, SEQUENCE: sequence}[column]
        mark = text_mark(text) if column == SEQUENCE else id_mark(text)
        forth = list(pages.candidates(column, mark))
        assert row in forth or row >= tail
        assert list(pages.candidates(column, mark, back=True)) == forth[::-1]
        for first, last in ((row, row), (1, row - 1), (row + 1, 1 << 40)):
            expected = [r for r in forth if first <= r <= last]
            assert list(pages.candidates(column, mark, first=first, last=last)) == expected
            assert list(pages.candidates(column, mark, first=first, last=last, back=True)) == expected[::-1]


def test_a_mark_is_the_beginning_of_an_id_at_a_row_of_its_own() -> None:
    """Marks that only appear across two rows are no candidates."""
    state = MemoryState()
    roll = Roll(state, KEYS, JOURNAL, page_rows=1)
    write = state.batch()
    profiles = records.pack_ids(["aabbcc" + "0" * 26, "ddeeff" + "0" * 26])
    roll.put(write, 1, records.JournalBlock(1, 5, "c", b"\0\0", [b"", b""], b"\0\0", ["s"], profiles))
    state.commit(write)
    pages = Pages(state, KEYS, JOURNAL)
    assert list(pages.candidates(PROFILE_ID, bytes.fromhex("bbccdd"))) == []
    assert list(pages.candidates(PROFILE_ID, bytes.fromhex("ddeeff"))) == [2]


def test_g2_a_process_that_starts_makes_the_same_pages() -> None:
    """G2: with a new process after every block, the disk holds the same as with one process."""
    whole, parts = MemoryState(), MemoryState()
    _, blocks = filled(whole)
    row = 1
    for block in blocks:
        write = parts.batch()
        Roll(parts, KEYS, LEDGER, page_rows=200).put(write, row, block)
        parts.commit(write)
        row += block.rows
    assert dump(parts) == dump(whole)
    assert len(dump(whole, PAGE)) > 12


def test_g3_what_is_swept_is_gone_whole() -> None:
    """G3: by age, then by size; what is left is found as ever, and a process that starts counts the same bytes."""
    state = MemoryState()
    roll, blocks = filled(state)
    now_ms = 60_000 * len(blocks)
    for age_ms, most_bytes in ((now_ms // 2, 1 << 40), (1 << 40, roll.bytes // 4)):
        write = state.batch()
        roll.sweep(write, now_ms, age_ms, most_bytes)
        state.commit(write)
        left = [e.export_id for e in Ledger(state, KEYS).find(Query())]
        rows = [row[0] for row in everything(blocks)]
        assert 0 < len(left) < len(rows)
        assert left == rows[-len(left) :]
        assert roll.bytes == Roll(state, KEYS, LEDGER, page_rows=200).bytes <= most_bytes
        begin = len(rows) - len(left) + 1
        numbers = {int.from_bytes(key[-8:], "big") for key in (*dump(state, LEDGER), *dump(state, PAGE))}
        assert min(numbers) == begin
        kept = [b for b in blocks if b.at_ms >= now_ms - age_ms]
        assert set(left) >= {row[0] for row in everything(kept)} or most_bytes < 1 << 40


def test_little_is_swept_in_time_too() -> None:
    """A few rows that fill no page are gone when their time is over; nothing is when it is not."""
    state = MemoryState()
    roll, _ = filled(state, blocks=2, page_rows=10_000)
    for now_ms, gone in ((HOUR_MS // 2, False), (2 * HOUR_MS, False), (26 * HOUR_MS, True)):
        write = state.batch()
        roll.sweep(write, now_ms, 24 * HOUR_MS, 1 << 40)
        state.commit(write)
        assert (not dump(state)) == gone, now_ms
    assert roll.bytes == 0


def test_nothing_is_written_when_nothing_is_kept() -> None:
    """A roll that keeps nothing leaves the batch empty."""
    state = MemoryState()
    write = state.batch()
    Roll(state, KEYS, LEDGER, kept=False).put(write, 1, ledger_block(random.Random(1), 1, 3, ["0" * 32], 1))
    assert write.changes == []


@pytest.mark.parametrize("back", [False, True])
def test_find_gives_what_a_walk_over_everything_gives(back: bool) -> None:
    """Each kind of question, against a filter over all rows; both directions; from and up to any row."""
    state = MemoryState()
    _, blocks = filled(state)
    rows = everything(blocks)
    rng = random.Random(9)
    names = ("export_id", "profile_id", "shard", "sequence", "flow")
    for _ in range(300):
        sample = rng.choice(rows)
        given = {name: value for name, value in zip(names, sample, strict=False) if rng.random() < 0.3}
        since, until = sorted(rng.sample(range(-1, 60_000 * 70), 2)) if rng.random() < 0.5 else (0, 1 << 60)
        first, last = sorted(rng.sample(range(len(rows)), 2)) if rng.random() < 0.3 else (0, 1 << 60)
        query = msgspec.convert({**given, "since_ms": since, "until_ms": until, "first": first, "last": last}, Query)
        expected = [
            number
            for number, row in enumerate(rows, 1)
            if all(not given.get(n) or row[names.index(n)] == given[n] for n in given)
            and since <= row[5] < until
            and first <= number <= last
        ]
        found = [entry.row for entry in Ledger(state, KEYS).find(query, back=back)]
        assert found == (expected[::-1] if back else expected), query


def test_few_blocks_are_opened() -> None:
    """Counted, not timed: of 400 blocks a search opens those that hold what it finds, and those behind the pages."""
    state = MemoryState()
    _, blocks = filled(state, 400)
    rows = everything(blocks)
    tail = Pages(state, KEYS, LEDGER).tail()
    behind = sum(1 for _ in Reader(state, KEYS, LEDGER).stored(tail, 1 << 60))
    assert behind < 20
    for row in random.Random(2).sample(range(tail - 1), 50):
        export, profile, shard, sequence, _, at_ms = rows[row]
        holding = len({r[5] for r in rows if r[1] == profile})
        for query, most in (
            (Query(export_id=export), 1),
            (Query(sequence=sequence, shard=shard), 1 if sequence else 400),
            (Query(profile_id=profile), holding),
            (Query(since_ms=at_ms, until_ms=at_ms + 60_000), 1),
        ):
            ledger = Ledger(state, KEYS)
            assert export in [entry.export_id for entry in ledger.find(query)]
            assert ledger.reader.opened <= most + behind + 1, query
    ledger = Ledger(state, KEYS)
    assert next(ledger.find(Query(flow="f1"))).flow == "f1"
    assert ledger.reader.opened <= 2
    ledger = Ledger(state, KEYS)
    assert list(ledger.find(Query(flow="none"))) == []
    assert ledger.reader.opened <= behind


def test_an_entry_tells_everything() -> None:
    """All columns come back by their meaning; a dead letter has a code and no sequence number."""
    state = MemoryState()
    block = ledger_block(random.Random(4), 10_000, 2, ["ab" * 16], 1)
    block.codes, block.code, block.sequence = ["", "TooLarge"], [0, 1], ["77", ""]
    block.cause, block.shard, block.flow = CAUSES[::-1], [2, 0], [0, 1]
    write = state.batch()
    Roll(state, KEYS, LEDGER).put(write, 1, block)
    state.commit(write)
    one, other = answer(state, KEYS, {"back": False})
    assert one == Entry(
        row=1, flow="f1", export_id=records.unpack_id(block.export_id, 0), profile_id="ab" * 16, ordinal=0, seq=1,
        version=2, epoch=3, configuration="c", cause=Cause("live", ["attribute"], ["n"]), made_ms=9_995,
        settled_ms=10_000, outcome="delivered", shard="s2", sequence="77", code="", attempts=1,
    )  # fmt: skip
    assert (other.outcome, other.code, other.sequence, other.shard) == ("dead-letter", "TooLarge", "", "s0")
    assert [entry.row for entry in answer(state, KEYS, {"limit": 1})] == [2]


def test_a_block_is_read_without_opening_it() -> None:
    """Time and rows stand before the compressed part; what a block holds comes back whole."""
    block = ledger_block(random.Random(6), 123_456, 17, ["ab" * 16], 1)
    stored = records.packed(block)
    assert records.heading(stored) == (123_456, 17)
    assert records.ledger_block(stored) == block
    inputs = records.JournalBlock(5, 77, "c", b"\0\1", [b"{}", b"x"], b"\0\xff", ["s"], bytes(32), [("", "paused")],
                                  [0, 0], {1: ["ab" * 16]}, {0: [1]}, {0: [], 1: [b"e"]})  # fmt: skip
    assert records.heading(records.packed(inputs)) == (77, 2)
    assert records.journal_block(records.packed(inputs)) == inputs


def test_ids_are_packed_and_others_are_zeros() -> None:
    """32 hexadecimal digits come back; anything else is no id and does not disturb its neighbours."""
    good = "0123456789abcdef" * 2
    for wrong in ("", "zz", "ab", good + "00", "é" * 16):
        column = records.pack_ids([good, wrong, good])
        assert [records.unpack_id(column, i) for i in range(3)] == [good, "", good]
    assert marks_of(records.JournalBlock(1, 1, "", b"", [], b"", [], b"")) == {PROFILE_ID: b""}
