"""How fast one shard may be written while it throttles.

Holds always (tests/destinations/test_rates.py checks each by its number):
    S2  A throttle cuts that shard's rate only; without throttles it grows again, and ends as no limit.
    S3  While a shard is limited, no more than its rate is taken over any second, plus one burst (of one record a
        flow at least). Flows that want it get equal parts.
"""

from __future__ import annotations

from typing import Final

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
