"""Totals and cursor: how much was done, and how far; stored together with what they count."""

from __future__ import annotations

from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import Keys


class Counts:
    """Both as of now, counted on in memory; the state has them as of the last commit.

    Args:
        state: Where they lie.
        keys: Of the sandbox.
    """

    def __init__(self, state: State, keys: Keys) -> None:
        self._state, self._keys = state, keys
        totals, cursor = state.get_many([keys.totals, keys.cursor])
        self.totals = records.decode_totals(totals) if totals else records.Totals()
        self.cursor = records.decode_cursor(cursor) if cursor else records.Cursor()

    def put(self, write: Batch) -> None:
        """Into the commit of what they count."""
        write.put(self._keys.totals, records.encode(self.totals))
        write.put(self._keys.cursor, records.encode(self.cursor))

    def store(self) -> None:
        """In a commit of their own."""
        write = self._state.batch()
        self.put(write)
        self._state.commit(write)
