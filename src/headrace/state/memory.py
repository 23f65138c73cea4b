"""A state in memory: for tests, and for runs that need not survive.

Ordered by a sorted list of keys, rebuilt when scanned after a change; good for thousands of keys.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from headrace.state.base import Batch


class MemoryBatch:
    """See ``state.base.Batch``."""

    def __init__(self) -> None:
        self.changes: list[tuple[bytes, bytes | None, bytes | None]] = []
        """(key, value or None for a deletion, None or the end of a deleted range)."""

    def put(self, key: bytes, value: bytes) -> None:
        """See ``state.base.Batch``."""
        self.changes.append((key, value, None))

    def delete(self, key: bytes) -> None:
        """See ``state.base.Batch``."""
        self.changes.append((key, None, None))

    def delete_range(self, start: bytes, end: bytes) -> None:
        """See ``state.base.Batch``."""
        self.changes.append((start, None, end))


class MemoryState:
    """See ``state.base.State``. ``crash`` forgets what was not synced, as a power cut would."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = None
        self._undo: dict[bytes, bytes | None] = {}
        """What each key changed since the last sync held then."""
        self.syncs = 0

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``state.base.State``."""
        return [self._values.get(key) for key in keys]

    def _window(self, start: bytes, end: bytes) -> list[bytes]:
        if self._sorted is None:
            self._sorted = sorted(self._values)
        return self._sorted[bisect.bisect_left(self._sorted, start) : bisect.bisect_left(self._sorted, end)]

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See ``state.base.State``."""
        return iter([(key, self._values[key]) for key in self._window(start, end)])

    def scan_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See ``state.base.State``."""
        return iter([(key, self._values[key]) for key in reversed(self._window(start, end))])

    def batch(self) -> MemoryBatch:
        """See ``state.base.State``."""
        return MemoryBatch()

    def commit(self, batch: Batch) -> None:
        """See ``state.base.State``."""
        assert isinstance(batch, MemoryBatch)
        values, undo = self._values, self._undo
        for key, value, end in batch.changes:
            if end is not None:
                for inside in [k for k in values if key <= k < end]:
                    undo.setdefault(inside, values.pop(inside))
                continue
            undo.setdefault(key, values.get(key))
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self._sorted = None
        batch.changes = []

    def sync(self) -> None:
        """See ``state.base.State``."""
        self._undo = {}
        self.syncs += 1

    def crash(self) -> None:
        """Go back to what was synced last."""
        for key, value in self._undo.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
        self._undo, self._sorted = {}, None

    def compact(self) -> None:
        """See ``state.base.State``: nothing remains here anyway."""

    def close(self) -> None:
        """See ``state.base.State``."""
