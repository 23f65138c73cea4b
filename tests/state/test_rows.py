"""Blocks read for a few of their rows hold what they hold when they are read whole."""

from __future__ import annotations

import random

import msgspec

from headrace.state import records, rows
from tests.state.test_pages import ledger_block


def test_a_journal_block_tells_the_same_of_each_input() -> None:
    """All columns have their place, and what was decided is decoded for each input."""
    block = records.JournalBlock(
        5, 77, "c", b"\0\1\0", [b"{}", b"x", b""], b"\0\xff\0", ["s"], bytes(48), [("", "paused"), ("repeat", "")],
        [1, 0, 1], {1: ["ab" * 16]}, {0: [1]}, {0: [], 1: [b"e"]}, ["f"],
    )  # fmt: skip
    assert rows.JournalRows.__struct_fields__ == records.JournalBlock.__struct_fields__
    found = rows.journal_rows(records.packed(block))
    assert found.rows == block.rows == 3
    assert [found.held(place) for place in range(3)] == [block.decisions[index] for index in block.decision]
    for name in set(block.__struct_fields__) - {"decisions"}:
        assert getattr(found, name) == getattr(block, name), name


def test_a_ledger_block_tells_the_same_of_each_export() -> None:
    """Its causes too, one by one and some of them."""
    block = ledger_block(random.Random(6), 123_456, 17, ["ab" * 16], 1)
    found = rows.ledger_rows(records.packed(block))
    assert list(found.cause) == block.cause
    assert list(found.cause[3:9]) == block.cause[3:9]
    assert found.cause[-1] == block.cause[-1]
    assert len(found.cause) == found.rows == 17
    assert isinstance(found, records.LedgerBlock)
    found.cause = block.cause
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(block)
