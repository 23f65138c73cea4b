"""What a stream has shown of itself: which shard takes which keys, how fast, and whether it answers at all.

One ``StreamControl`` is shared by all flows that write to one stream, so that they share its shards fairly.
Nothing here needs a permission beyond writing: all is learned from answers (R8).

Holds always (tests/destinations/test_rates.py checks each by its number):
    S1  A shard that was never throttled has no limit.
    S2  A throttle cuts that shard's rate only; without throttles it grows again, and ends as no limit.
    S3  While a shard is limited, no more than its rate is taken over any second, plus one burst.
    S4  An open breaker lets one probe through at a time, later and later, and closes at the first answer.
"""

from __future__ import annotations

import hashlib
import random
from typing import Final

import msgspec

from headrace.clock import Clock

_CUT: Final = 0.7
"""What a throttle leaves of a shard's rate."""

_GROWTH: Final = 0.05
"""Of the shard's quota, regained each second without a throttle."""

_QUOTA_RECORDS: Final = 1000.0
_QUOTA_BYTES: Final = 1024.0 * 1024.0
"""What Kinesis grants a shard a second (spec/kinesis-writers.md 1)."""

_LEAST_RECORDS: Final = 5.0
_OPEN_AT: Final = 1.5
"""Times the quota at which a limit that was not hit is dropped."""

_BURST_S: Final = 0.25
_CUT_PAUSE_S: Final = 0.2
"""Throttles of requests that were under way together count once."""

_BREAK_AFTER: Final = 3
_FIRST_PROBE_S: Final = 0.5
_MOST_PROBE_S: Final = 20.0


def hash_of(key: str) -> int:
    """The 128-bit hash by which Kinesis gives a partition key to a shard."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")


class ShardLimit:
    """How fast one shard may be written while it throttles: two token buckets with one rate, in shares of the quota.

    Args:
        now_s: The clock.
        share: Of the quota, to begin with.
    """

    def __init__(self, now_s: float, share: float) -> None:
        self.share = share
        self._grown_s = now_s
        self._cut_s = now_s
        self._claims: dict[object, list[float]] = {}
        """Per flow: records and bytes that it may take, and when they were counted."""
        self.throttles = 1

    def throttled(self, now_s: float) -> None:
        """The shard refused: go slower."""
        self.throttles += 1
        self._grow(now_s)
        if now_s - self._cut_s < _CUT_PAUSE_S:
            return
        self._cut_s = now_s
        self.share = max(_LEAST_RECORDS / _QUOTA_RECORDS, self.share * _CUT)
        for claim in self._claims.values():
            claim[0], claim[1] = min(claim[0], 0.0), min(claim[1], 0.0)

    def _grow(self, now_s: float) -> None:
        self.share += _GROWTH * max(0.0, now_s - self._grown_s)
        self._grown_s = now_s

    def _claim(self, flow: object, now_s: float) -> list[float]:
        """A flow's own tokens: flows that wait for the shard share its rate evenly."""
        self._grow(now_s)
        claim = self._claims.get(flow)
        if claim is None:
            claim = self._claims[flow] = [1.0, 1.0, now_s]
        share = self.share / len(self._claims)
        passed = max(0.0, now_s - claim[2])
        claim[0] = min(claim[0] + _QUOTA_RECORDS * share * passed, max(_QUOTA_RECORDS * share * _BURST_S, 1.0))
        claim[1] = min(claim[1] + _QUOTA_BYTES * share * passed, max(_QUOTA_BYTES * share * _BURST_S, 1.0))
        claim[2] = now_s
        return claim

    def take(self, size: int, now_s: float, flow: object) -> bool:
        """Take a record's tokens, or refuse. A record larger than a burst passes when its flow is not in debt."""
        claim = self._claim(flow, now_s)
        if claim[0] < 1.0 or claim[1] <= 0.0:
            return False
        claim[0] -= 1.0
        claim[1] -= size
        return True

    def leave(self, flow: object) -> None:
        """The flow has nothing more for this shard: its part is the others'."""
        self._claims.pop(flow, None)

    @property
    def open(self) -> bool:
        """True when the limit has grown so far that it limits nothing."""
        return self.share >= _OPEN_AT


class Breaker:
    """Whether a stream answers at all.

    Args:
        rng: Jitter of probes.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self._opened = 0
        self._probe_s = 0.0
        self.code = ""
        self.detail = ""

    @property
    def open(self) -> bool:
        """True while nothing but probes is sent."""
        return self._failures >= _BREAK_AFTER

    def failed(self, code: str, detail: str, now_s: float) -> None:
        """A whole request got no useful answer."""
        self._failures += 1
        self.code, self.detail = code, detail
        if self.open:
            bound = min(_MOST_PROBE_S, _FIRST_PROBE_S * 2.0**self._opened)
            self._probe_s = now_s + self._rng.uniform(bound / 2, bound)
            self._opened += 1

    def answered(self) -> None:
        """The stream answered: all is well again."""
        self._failures = self._opened = 0

    def wait_s(self, now_s: float) -> float:
        """Seconds until a probe may go; 0 when one may now."""
        return max(0.0, self._probe_s - now_s) if self.open else 0.0


class InFlight:
    """How many requests may be under way: grows while answers come as fast as ever, shrinks when they do not."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._window = float(min(4, most))
        self._least_s = float("inf")

    @property
    def allowed(self) -> int:
        """Requests that may be under way now."""
        return int(self._window)

    def answered(self, took_s: float, *, refused: bool) -> None:
        """Learn from one answer: its time, and whether any of it was refused for load."""
        self._least_s = min(self._least_s * 1.001, took_s)
        if refused:
            self._window = max(1.0, self._window * 0.9)
        elif took_s <= self._least_s * 4 + 0.05:
            self._window = min(float(self._most), self._window + 1.0 / self._window)

    def failed(self) -> None:
        """A request got no answer: start small again."""
        self._window = max(1.0, self._window / 2)


class Observation(msgspec.Struct):
    """What was noticed about a stream.

    Attributes:
        shards: Shards that answered.
        resharded: Times that keys moved to a shard not seen before.
        auto: One key was written to several live shards in turn: its owner has switched AUTO distribution on, and
            order by key is gone.
    """

    shards: int = 0
    resharded: int = 0
    auto: bool = False


class StreamControl:
    """See the module.

    Args:
        clock: Time.
        rng: Jitter.
    """

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self.breaker = Breaker(rng)
        self.limits: dict[str, ShardLimit] = {}
        self._ranges: dict[str, tuple[int, int]] = {}
        self._last: dict[str, str] = {}
        self._former: dict[str, str] = {}
        self.seen = Observation()

    # -- which shard ------------------------------------------------------------------------------

    def learn(self, key_hash: int, shard: str) -> None:
        """A record whose key has this MD5 hash was answered by that shard."""
        span = self._ranges.get(shard)
        if span is None:
            self._new_shard(shard, key_hash)
            self._ranges[shard] = (key_hash, key_hash)
        elif not span[0] <= key_hash <= span[1]:
            self._ranges[shard] = (min(span[0], key_hash), max(span[1], key_hash))

    def _new_shard(self, shard: str, key_hash: int) -> None:
        """A shard not seen before: if it answers for keys that another had, the stream was resharded."""
        self.seen.shards += 1
        parents = [name for name, (low, high) in self._ranges.items() if low <= key_hash <= high]
        for parent in parents:
            del self._ranges[parent]
            self.limits.pop(parent, None)
            self.seen.resharded += 1

    def shard_of(self, key_hash: int) -> str | None:
        """The shard that takes a key, as far as answers have shown; None when unknown.

        A key between the ranges seen of two shards may be either's, so it stays unknown until one answers.
        """
        for shard, (low, high) in self._ranges.items():
            if low <= key_hash <= high:
                return shard
        return None

    def noticed(self, key: str, shard: str) -> None:
        """Look at one key over time (a sample is enough): back and forth between shards is AUTO distribution."""
        last = self._last.get(key)
        if last is not None and last != shard:
            if self._former.get(key) == shard:
                self.seen.auto = True
            self._former[key] = last
        elif last is None and len(self._last) >= _SAMPLE:
            return
        self._last[key] = shard

    # -- how fast ---------------------------------------------------------------------------------

    def throttled(self, shard: str) -> None:
        """A shard refused a record for its rate."""
        now_s = self._clock.monotonic_s()
        limit = self.limits.get(shard)
        if limit is None:
            self.limits[shard] = ShardLimit(now_s, 1.0)
        else:
            limit.throttled(now_s)

    def look(self, written: list[tuple[str, str]]) -> None:
        """Learn where keys went: (partition key, shard) of delivered records."""
        for key, shard in written:
            key_hash = hash_of(key)
            self.learn(key_hash, shard)
            if key_hash >> 122 == 0:
                self.noticed(key, shard)

    def relax(self) -> None:
        """Drop limits that limit nothing any more."""
        for shard in [shard for shard, limit in self.limits.items() if limit.open]:
            del self.limits[shard]


_SAMPLE: Final = 512
"""Keys that are watched for AUTO distribution."""
