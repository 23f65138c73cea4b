"""Read what a data folder holds, for people: totals, dead letters, journal. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import DEAD_LETTER, JOURNAL, Keys


def totals(state: State, keys: Keys) -> records.Totals:
    """All counts as of the last commit."""
    stored = state.get_many([keys.totals])[0]
    return records.decode_totals(stored) if stored else records.Totals()


def dead_letters(
    state: State, keys: Keys, *, limit: int, kind: str = "", reason: str = "", flow: str = "", before: str = ""
) -> Iterator[records.DeadLetter]:
    """Dead letters, the newest first.

    Args:
        state: Where they lie.
        keys: Of the sandbox.
        limit: At most so many.
        kind: Only ``update`` or ``export``; empty for both.
        reason: Only with this reason.
        flow: Only of this flow.
        before: Only older ones than that of this id.
    """
    found = 0
    start, end = keys.space(DEAD_LETTER)
    at_ms, _, number = before.partition("-")
    if at_ms.isdigit() and number.isdigit():
        end = keys.numbered(DEAD_LETTER, int(at_ms), int(number))
    for _, value in state.scan_back(start, end):
        letter = records.decode_letter(value)
        if (kind and letter.kind != kind) or (reason and letter.reason != reason) or (flow and letter.flow != flow):
            continue
        yield letter
        found += 1
        if found >= limit:
            return


def dead_letter(state: State, keys: Keys, letter_id: str) -> records.DeadLetter | None:
    """One dead letter by its id, ``<milliseconds>-<number>``; None when there is none."""
    at_ms, _, number = letter_id.partition("-")
    if not at_ms.isdigit() or not number.isdigit() or len(at_ms) > 18 or len(number) > 18:
        return None
    stored = state.get_many([keys.numbered(DEAD_LETTER, int(at_ms), int(number))])[0]
    return records.decode_letter(stored) if stored else None


def journal(state: State, keys: Keys, first: int = 0) -> Iterator[records.JournalBlock]:
    """Journal blocks in order, from the one that holds ordinal *first*."""
    start, end = keys.space(JOURNAL)
    if first:
        for key, _ in state.scan_back(start, keys.numbered(JOURNAL, first + 1)):
            start = key
            break
    for _, value in state.scan(start, end):
        yield records.journal_block(value)
