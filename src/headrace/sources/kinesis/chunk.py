"""What one read of a shard came to: updates in order, and for each the place after it."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.sources.base import Refused
from headrace.sources.kinesis.places import Place
from headrace.sources.kinesis.service import Record, Shard
from headrace.sources.kinesis.unpack import members
from headrace.sources.packed import plain


class Chunk:
    """Updates of one shard; or its end.

    Attributes:
        shard: Its id.
        ends: Nothing comes after it.
        bodies: The updates.
        records: Per update the sequence number of its record.
        parts: Per update how many of its record's updates were given with it; 0 for all.
        refused: Those over the limit, by index.
        size: Bytes held.
    """

    __slots__ = ("_taken", "bodies", "ends", "parts", "records", "refused", "shard", "size")

    def __init__(self, shard: str, *, ends: bool = False) -> None:
        self.shard, self.ends = shard, ends
        self.bodies: list[bytes] = []
        self.records: list[str] = []
        self.parts: list[int] = []
        self.refused: dict[int, Refused] = {}
        self.size = 0
        self._taken = 0

    @property
    def left(self) -> int:
        """Updates not taken."""
        return len(self.bodies) - self._taken

    def take(self, most: int) -> tuple[int, int]:
        """The next updates, as indexes."""
        start = self._taken
        self._taken = min(start + most, len(self.bodies))
        return start, self._taken

    def place(self, index: int) -> Place:
        """The place after one update."""
        return Place(self.records[index], self.parts[index])

    def name(self, index: int) -> str:
        """Where an update came from, in words."""
        part = self.parts[index] or (self.parts[index - 1] + 1 if self._of_several(index) else 0)
        return f"record {self.records[index]}" + (f" member {part}" if part else "")

    def _of_several(self, index: int) -> bool:
        return index > 0 and self.records[index - 1] == self.records[index]

    def add(self, sequence: str, updates: Sequence[bytes], skipped: int) -> None:
        """Add a record's updates, without the first *skipped*."""
        for number, packed in enumerate(updates[skipped:], skipped + 1):
            body, problem = plain(packed)
            if problem:
                index = len(self.bodies)
                self.refused[index] = Refused(index, "too-large", problem)
            self.bodies.append(body)
            self.records.append(sequence)
            self.parts.append(number if number < len(updates) else 0)
            self.size += len(body)


def chunk_of(shard: Shard, records: Sequence[Record], at: Place | None) -> Chunk:
    """The updates of a read.

    Args:
        shard: That was read.
        records: In order.
        at: The place read from: of a record that was given in part, the rest is taken.
    """
    chunk = Chunk(shard.id)
    first, last = int(shard.hashes.first), int(shard.hashes.last)
    for record in records:
        skipped = at.part if at is not None and at.part and record.sequence_number == at.sequence else 0
        chunk.add(record.sequence_number, members(record.data, first, last), skipped)
    return chunk
