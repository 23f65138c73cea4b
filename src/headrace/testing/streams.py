"""Streams and shards as Kinesis has them: hash ranges, splits and merges, quotas, what each shard holds."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from typing import Final

from headrace.testing.recording import Written
from headrace.testing.refusals import ServiceError, invalid
from headrace.testing.script import Quota

HASHES: Final = 1 << 128
"""Hash keys: MD5 of the partition key as a number, or the explicit hash key, below this."""


def hash_of(key: str) -> int:
    """Return the hash key of a partition key: its MD5 as a big-endian number."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest())


class Bucket:
    """A token bucket that may go into debt by one large record, as Kinesis lets large records burst."""

    def __init__(self, rate: float, depth: float, now_s: float) -> None:
        self._rate, self._depth, self._tokens, self._at_s = rate, depth, depth, now_s

    def holds(self, cost: float, now_s: float) -> bool:
        """Refill up to *now_s* and tell whether *cost* can be paid; nothing is taken yet."""
        self._tokens = min(self._depth, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        return self._tokens >= min(cost, self._depth)

    def take(self, cost: float) -> None:
        """Pay *cost*."""
        self._tokens -= cost


class Shard:
    """One shard.

    Attributes:
        id: ``shardId-`` and twelve digits.
        first: First hash key of its range.
        last: Last hash key of its range, inclusive.
        parents: Ids of the shards it came from, none to two.
        open: Takes records; a split or merged shard does not any more.
        written: What it holds, in order.
        since: Arrival number before its first possible record, for sequence ranges.
    """

    def __init__(self, number: int, first: int, last: int, parents: tuple[str, ...], since: int) -> None:
        self.id = f"shardId-{number:012d}"
        self.first, self.last, self.parents, self.since = first, last, parents, since
        self.open = True
        self.written: list[Written] = []
        self._records: Bucket | None = None
        self._bytes: Bucket | None = None

    def limit(self, quota: Quota | None, now_s: float) -> None:
        """Start the quota over, full; None takes it away."""
        self._records = self._bytes = None
        if quota is not None:
            factor = quota.factors.get(self.id, 1.0)
            records, size = quota.records_per_s * factor, quota.bytes_per_s * factor
            self._records = Bucket(records, max(1.0, records * quota.burst_s), now_s)
            self._bytes = Bucket(size, max(1.0, size * quota.burst_s), now_s)

    def admit(self, size_bytes: int, now_s: float) -> bool:
        """Tell whether the quota lets a record of *size_bytes* in, and if so count it."""
        if self._records is None or self._bytes is None:
            return True
        if not (self._records.holds(1, now_s) and self._bytes.holds(size_bytes, now_s)):
            return False
        self._records.take(1)
        self._bytes.take(size_bytes)
        return True


class Stream:
    """One stream: its shards, open and closed, covering all hash keys without gap or overlap.

    Attributes:
        name: Its name.
        shards: All, in the order they were made.
        mode: PROVISIONED or ON_DEMAND.
        auto: AUTO record distribution: keys are ignored.
        created_ms: Epoch milliseconds.
    """

    def __init__(self, name: str, shards: int, *, created_ms: int, arrival: int, mode: str = "PROVISIONED") -> None:
        if not 1 <= shards <= 10_000:
            raise invalid("ShardCount must be between 1 and 10000.")
        self.name, self.mode, self.created_ms, self.auto = name, mode, created_ms, False
        edges = [HASHES * i // shards for i in range(shards + 1)]
        self.shards = [Shard(i, edges[i], edges[i + 1] - 1, (), arrival) for i in range(shards)]
        self._open: list[Shard] = []
        self._lasts: list[int] = []
        self._sort()

    def _sort(self) -> None:
        self._open = sorted((s for s in self.shards if s.open), key=lambda shard: shard.first)
        self._lasts = [shard.last for shard in self._open]

    @property
    def open_shards(self) -> list[Shard]:
        """Open shards in the order of their hash ranges."""
        return self._open

    def locate(self, key: str, explicit: int | None) -> Shard:
        """Find the open shard of a partition key, or of an explicit hash key."""
        if len(self._open) == 1:
            return self._open[0]
        return self._open[bisect_left(self._lasts, hash_of(key) if explicit is None else explicit)]

    def shard(self, shard_id: str) -> Shard:
        """Find a shard by id, open or closed.

        Raises:
            ServiceError: There is none.
        """
        for shard in self.shards:
            if shard.id == shard_id:
                return shard
        raise ServiceError(
            aws_code="ResourceNotFoundException",
            detail=f"Shard {shard_id} in stream {self.name} under account {{account}} does not exist",
        )

    def split(self, shard_id: str, *, arrival: int) -> tuple[Shard, Shard]:
        """Close a shard and open two in its place, each with half its range."""
        old = self.shard(shard_id)
        if not old.open or old.first == old.last:
            raise invalid(f"Shard {shard_id} cannot be split.")
        middle = (old.first + old.last + 1) // 2
        made = len(self.shards)
        low = Shard(made, old.first, middle - 1, (old.id,), arrival)
        high = Shard(made + 1, middle, old.last, (old.id,), arrival)
        old.open = False
        self.shards += (low, high)
        self._sort()
        return low, high

    def merge(self, shard_id: str, other_id: str, *, arrival: int) -> Shard:
        """Close two neighbours and open one over both their ranges."""
        low, high = sorted((self.shard(shard_id), self.shard(other_id)), key=lambda shard: shard.first)
        if not (low.open and high.open) or low.last + 1 != high.first:
            raise invalid(f"Shards {shard_id} and {other_id} are not open neighbours.")
        merged = Shard(len(self.shards), low.first, high.last, (shard_id, other_id), arrival)
        low.open = high.open = False
        self.shards.append(merged)
        self._sort()
        return merged
