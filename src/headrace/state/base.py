"""What a state is: ordered bytes with atomic batches, made durable by an explicit sync.

Contract of a State (tests/state/contract.py runs it on each):
    T1  ``commit`` applies a whole batch or nothing, in the order it was built.
    T2  What was committed is seen by every later read, synced or not.
    T3  After ``sync`` returned, everything committed before the call survives a crash. ``sync`` may run in
        another thread than ``commit``, and holds no interpreter lock while the disk works.
    T4  ``scan`` yields keys in byte order, start included, end excluded.
    T5  ``close`` may be called twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class Batch(Protocol):
    """Changes that become visible together."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set one key."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove one key, present or not."""
        ...

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove every key of [start, end)."""
        ...


class State(Protocol):
    """Ordered bytes; see the contract above. Raises ``StorageError`` when the disk refuses."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """One value or None per key, in order."""
        ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of [start, end), in byte order."""
        ...

    def scan_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of [start, end), last first."""
        ...

    def batch(self) -> Batch:
        """An empty batch."""
        ...

    def commit(self, batch: Batch) -> None:
        """Apply a batch; see T1 and T2. The batch is used up."""
        ...

    def sync(self) -> None:
        """Make all commits so far durable; see T3."""
        ...

    def compact(self) -> None:
        """Let nothing that was overwritten or deleted remain in the folder. May run in a thread of its own."""
        ...

    def close(self) -> None:
        """Let go of the folder."""
        ...
