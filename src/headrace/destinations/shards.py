"""What a stream has shown of itself: which shard takes which keys, and which shards are limited.

One ``StreamControl`` is shared by all flows that write to one stream, so that they share its shards fairly. Whether
it answers each flow finds out for itself (``flight.py``): another's credentials or proxy may be what is wrong.
Nothing here needs a permission beyond writing: all is learned from answers (R8).

Holds always (tests/destinations/test_shards.py):
    S1  A shard that was never throttled has no limit.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from typing import Final

from headrace.clock import Clock
from headrace.destinations.rates import ShardLimit

_SAMPLE: Final = 512
"""Keys that are watched for AUTO distribution."""
_RETURNS: Final = 3
"""Returns of a key to a shard that it had left, which are taken for AUTO distribution."""


def hash_of(key: str) -> int:
    """The 128-bit hash by which Kinesis gives a partition key to a shard."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")


class Observation:
    """What was noticed about a stream.

    Attributes:
        shards: Shards that answered.
        resharded: Times that a shard not seen before took keys that another had.
        auto: Keys go back and forth between live shards: its owner has switched AUTO distribution on, and
            order by key is gone. Then no shard is known by key, and none is limited.
    """

    __slots__ = ("auto", "resharded", "shards")

    def __init__(self) -> None:
        self.shards = self.resharded = 0
        self.auto = False


class StreamControl:
    """See the module.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.limits: dict[str, ShardLimit] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        """Lowest and highest hash that each shard answered for; they never overlap."""
        self._lows: list[int] = []
        self._shards: list[str] = []
        """The same in the order of hashes."""
        self._known: set[str] = set()
        self._last: dict[str, str] = {}
        self._former: dict[str, str] = {}
        self._returns = 0
        self.seen = Observation()

    # -- which shard ------------------------------------------------------------------------------

    def learn(self, key_hash: int, shard: str) -> None:
        """A record whose key has this MD5 hash was answered by that shard."""
        span = self._ranges.get(shard)
        if span is None:
            self._set(shard, key_hash, key_hash)
        elif not span[0] <= key_hash <= span[1]:
            self._set(shard, min(span[0], key_hash), max(span[1], key_hash))

    def _set(self, shard: str, low: int, high: int) -> None:
        """Set a shard's range. A shard's keys are contiguous, so whoever had some of these has them no more."""
        if self.seen.auto:
            return
        lows, shards = self._lows, self._shards
        first = bisect_right(lows, low) - 1
        if first < 0 or self._ranges[shards[first]][1] < low:
            first += 1
        last = bisect_right(lows, high)
        gone = [other for other in shards[first:last] if other != shard]
        lows[first:last], shards[first:last] = [low], [shard]
        self._ranges[shard] = (low, high)
        for other in gone:
            del self._ranges[other]
            self.limits.pop(other, None)
        if shard not in self._known:
            self._known.add(shard)
            self.seen.shards += 1
            self.seen.resharded += bool(gone)

    def shard_of(self, key_hash: int) -> str | None:
        """The shard that takes a key, as far as answers have shown; None when unknown.

        A key between the ranges seen of two shards may be either's, so it stays unknown until one answers.
        """
        at = bisect_right(self._lows, key_hash) - 1
        if at < 0:
            return None
        shard = self._shards[at]
        return shard if key_hash <= self._ranges[shard][1] else None

    def noticed(self, key: str, shard: str) -> None:
        """Look at some keys over time: back and forth between shards is AUTO distribution.

        Once is not enough: an answer that was long under way may come after those of the shard's children.
        """
        last = self._last.get(key)
        if last == shard or (last is None and len(self._last) >= _SAMPLE):
            return
        self._last[key] = shard
        if last is None:
            return
        self._returns += self._former.get(key) == shard
        self._former[key] = last
        if self._returns >= _RETURNS and not self.seen.auto:
            self.seen.auto = True
            self._ranges, self._lows, self._shards = {}, [], []
            self.limits.clear()

    # -- how fast ---------------------------------------------------------------------------------

    def throttled(self, shard: str) -> None:
        """A shard refused a record for its rate."""
        if self.seen.auto:
            return
        now_s = self._clock.monotonic_s()
        limit = self.limits.get(shard)
        if limit is None:
            self.limits[shard] = ShardLimit(now_s, 1.0)
        else:
            limit.throttled(now_s)

    def look(self, written: list[tuple[str, str]]) -> None:
        """Learn where keys went: (partition key, shard) of delivered records."""
        for key, shard in written:
            self.learn(hash_of(key), shard)
            self.noticed(key, shard)

    def relax(self) -> None:
        """Drop limits that limit nothing any more."""
        now_s = self._clock.monotonic_s()
        for shard in [shard for shard, limit in self.limits.items() if limit.open_at(now_s)]:
            del self.limits[shard]
