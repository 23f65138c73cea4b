"""What a stream has shown of itself: which shard takes which keys, how fast, and whether it answers at all.

One ``StreamControl`` is shared by all flows that write to one stream, so that they share its shards fairly. Whether
it answers each flow finds out for itself: another's credentials or proxy may be what is wrong.
Nothing here needs a permission beyond writing: all is learned from answers (R8).

Holds always (tests/destinations/test_rates.py checks each by its number):
    S1  A shard that was never throttled has no limit.
    S2  A throttle cuts that shard's rate only; without throttles it grows again, and ends as no limit.
    S3  While a shard is limited, no more than its rate is taken over any second, plus one burst (of one record a
        flow at least). Flows that want it get equal parts.
    S4  An open breaker lets one probe through at a time, later and later, and closes at the first answer.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
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

_IDLE_S: Final = 1.0
"""A flow that does not ask for so long shares a shard's rate no more."""

_FEW_WAIT: Final = 5.0
_MANY_WAIT: Final = 9.0
_BREAK_AFTER: Final = 3
_FIRST_PROBE_S: Final = 0.5
_MOST_PROBE_S: Final = 20.0


def hash_of(key: str) -> int:
    """The 128-bit hash by which Kinesis gives a partition key to a shard."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")


class _Claim:
    """What one flow may take of a limited shard: records and bytes, below 0 what it owes, and when it last asked."""

    __slots__ = ("asked_s", "bytes", "left", "records")

    def __init__(self, now_s: float) -> None:
        self.records = self.bytes = 1.0
        self.asked_s = now_s
        self.left = False


class ShardLimit:
    """How fast one shard may be written while it throttles: two token buckets with one rate, in shares of the quota.

    Flows that want the shard share its rate evenly. One that leaves, or does not ask for a second, leaves its part
    to the others; what it owes is kept.

    Args:
        now_s: The clock.
        share: Of the quota, to begin with.
    """

    def __init__(self, now_s: float, share: float) -> None:
        self.share = share
        self._grown_s = self._cut_s = self._swept_s = self._shared_s = now_s
        self._claims: dict[object, _Claim] = {}
        self._sharing = 0
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
            claim.records, claim.bytes = min(claim.records, 0.0), min(claim.bytes, 0.0)

    def _grow(self, now_s: float) -> None:
        self.share = min(_OPEN_AT, self.share + _GROWTH * max(0.0, now_s - self._grown_s))
        self._grown_s = now_s

    def _share_out(self, now_s: float) -> None:
        """Give what came in since the last time to the flows that want the shard, evenly."""
        passed = now_s - self._shared_s
        if passed <= 0:
            return
        self._shared_s = now_s
        self._grow(now_s)
        if not self._sharing:
            return
        records, size = _QUOTA_RECORDS * self.share / self._sharing, _QUOTA_BYTES * self.share / self._sharing
        for claim in self._claims.values():
            if not claim.left:
                claim.records = min(claim.records + records * passed, max(records * _BURST_S, 1.0))
                claim.bytes = min(claim.bytes + size * passed, max(size * _BURST_S, 1.0))

    def _claim(self, flow: object, now_s: float) -> _Claim:
        """A flow's own tokens, counted up to now."""
        if not self._sharing:
            # Nobody wanted the shard meanwhile: that gives the first who does a burst at the most.
            self._shared_s = max(self._shared_s, now_s - _BURST_S)
        claim = self._claims.get(flow)
        if claim is None:
            self._share_out(now_s)
            claim = self._claims[flow] = _Claim(now_s)
            self._sharing += 1
        elif claim.left:
            if self._sharing:
                self._share_out(now_s)
            claim.left = False
            self._sharing += 1
        self._share_out(now_s)
        claim.asked_s = now_s
        if now_s - self._swept_s >= _IDLE_S:
            self._sweep(now_s)
        return claim

    def take(self, size: int, now_s: float, flow: object) -> bool:
        """Take a record's tokens, or refuse. A record larger than a burst passes when its flow is not in debt."""
        claim = self._claim(flow, now_s)
        if claim.records < 1.0 or claim.bytes <= 0.0:
            return False
        claim.records -= 1.0
        claim.bytes -= size
        return True

    def leave(self, flow: object) -> None:
        """The flow has nothing more for this shard: its part is the others'."""
        claim = self._claims.get(flow)
        if claim is not None and not claim.left:
            claim.left = True
            self._sharing -= 1

    def _sweep(self, now_s: float) -> None:
        """Leave for flows that ask no more, and forget those that owe nothing."""
        self._swept_s = now_s
        for flow, claim in list(self._claims.items()):
            passed = now_s - claim.asked_s
            if passed < _IDLE_S:
                continue
            self.leave(flow)
            paid = self.share * passed
            if claim.records + _QUOTA_RECORDS * paid >= 1.0 and claim.bytes + _QUOTA_BYTES * paid > 0.0:
                del self._claims[flow]

    def open_at(self, now_s: float) -> bool:
        """True when the limit has grown so far that it limits nothing."""
        self._grow(now_s)
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
        self._probing = False
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
        # Those that were under way when it opened say nothing new; a probe does.
        if self._failures == _BREAK_AFTER or self._probing:
            bound = min(_MOST_PROBE_S, _FIRST_PROBE_S * 2.0 ** min(self._opened, 16))
            self._probe_s = now_s + self._rng.uniform(bound / 2, bound)
            self._opened += 1
            self._probing = False

    def probe(self) -> None:
        """A request starts although it is open."""
        self._probing = True

    def answered(self) -> None:
        """The stream answered: all is well again."""
        self._failures = self._opened = 0
        self._probing = False

    def wait_s(self, now_s: float) -> float:
        """Seconds until a probe may go; 0 when one may now."""
        return max(0.0, self._probe_s - now_s) if self.open else 0.0


class InFlight:
    """How many requests may be under way: so many that the stream is busy, no more that only wait.

    Of requests that take longer than the fastest, the part ``1 - fastest / time`` only waited, here or there
    (the rule of TCP Vegas): the window grows while few wait, and shrinks when many do.

    Args:
        most: Requests under way at once, whatever the answers.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._window = float(min(4, most))
        self._least_s = float("inf")

    @property
    def allowed(self) -> int:
        """Requests that may be under way now."""
        return int(self._window)

    def answered(self, took_s: float, *, refused: bool) -> None:
        """Learn from one answer: its time, and whether any of it was refused."""
        # The fastest is forgotten slowly: the way to the stream may have become longer.
        self._least_s = min(self._least_s * 1.001, took_s)
        waiting = self._window * (1.0 - self._least_s / took_s) if took_s > 0 else 0.0
        if refused:
            self._window = max(1.0, self._window * 0.9)
        elif waiting < _FEW_WAIT:
            self._window = min(self._most, self._window + 1.0 / self._window)
        elif waiting > _MANY_WAIT:
            self._window = max(min(4.0, self._most), self._window - 1.0 / self._window)

    def failed(self) -> None:
        """A request got no answer: start small again."""
        self._window = max(1.0, self._window / 2)


class Observation(msgspec.Struct):
    """What was noticed about a stream.

    Attributes:
        shards: Shards that answered.
        resharded: Times that a shard not seen before took keys that another had.
        auto: Keys go back and forth between live shards: its owner has switched AUTO distribution on, and
            order by key is gone. Then no shard is known by key, and none is limited.
    """

    shards: int = 0
    resharded: int = 0
    auto: bool = False


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


_SAMPLE: Final = 512
"""Keys that are watched for AUTO distribution."""
_RETURNS: Final = 3
"""Returns of a key to a shard that it had left, which are taken for AUTO distribution."""
