"""What an answer tells about the stream: that it lives, how fast it is, which shard has which keys."""

from __future__ import annotations

from typing import Final

from headrace.clock import Clock
from headrace.destinations.flight import Flight
from headrace.destinations.pending import Pending
from headrace.destinations.retries import Retries
from headrace.destinations.shards import StreamControl, hash_of

_LOOK_EVERY: Final = 16
"""Answers between two looks at where keys went, while nothing is limited."""
_LOOK_AT: Final = 64
"""Records looked at then, at the most."""


class Learning:
    """See the module.

    Args:
        control: Learns of shards; shared by the flows to one stream.
        flight: Learns how many requests may be under way.
        retries: What waits there goes at once when the stream lives again.
        clock: Time of answers.
    """

    def __init__(self, control: StreamControl, flight: Flight, retries: Retries, clock: Clock) -> None:
        self._control, self._flight, self._retries, self._clock = control, flight, retries, clock
        self._answers = 0

    def answered(self, delivered: list[Pending], refused: list[Pending], took_s: float) -> None:
        """Learn from one request that ended, by an answer or without one."""
        control, flight = self._control, self._flight
        if not delivered and flight.unanswered(refused, self._clock.monotonic_s()):
            return
        if flight.breaker.open:
            self._retries.at_once()
        flight.breaker.answered()
        flight.window.answered(took_s, refused=self._throttled(refused))
        self._answers += 1
        if control.limits:
            self._look(delivered)
        elif not self._answers % _LOOK_EVERY:
            self._look(delivered[:: len(delivered) // _LOOK_AT + 1])

    def _throttled(self, refused: list[Pending]) -> bool:
        """Slow the shards that named themselves, each alone (D6); whether the stream as a whole is too slow."""
        control = self._control
        whole = False
        for p in refused:
            outcome = p.outcome
            if outcome is None or not outcome.over_rate:
                continue  # a failure of the service's own says nothing of a rate
            if outcome.shard and not control.seen.auto:
                control.learn(hash_of(p.key), outcome.shard)
                control.throttled(outcome.shard)
            else:
                whole = True
        return whole

    def _look(self, delivered: list[Pending]) -> None:
        """Learn where keys went."""
        written: list[tuple[str, str]] = []
        for p in delivered:
            outcome = p.outcome
            if outcome is not None and outcome.shard:
                written.append((p.key, outcome.shard))
        self._control.look(written)
