"""How many requests may be under way: while all is well, while a stream does not answer, while a flow is halted.

Holds always (tests/destinations/test_flight.py):
    S4  An open breaker lets one probe through at a time, later and later, and closes at the first answer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from headrace.destinations.base import Verdict
from headrace.destinations.halts import Halt
from headrace.destinations.pending import Pending

_FEW_WAIT: Final = 5.0
_MANY_WAIT: Final = 9.0
_BREAK_AFTER: Final = 3
_FIRST_PROBE_S: Final = 0.5
_MOST_PROBE_S: Final = 20.0

# Of any length, so that mypyc keeps it as an object: it takes a final tuple of four floats for one that was not set.
_PROBE_S: Final[tuple[float, ...]] = (5.0, 10.0, 30.0, 60.0)
"""Pauses before a halted flow is tried again; the last one repeats."""


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


class Flight:
    """How many requests of one flow may be under way now.

    Args:
        most: Requests under way at once, whatever the answers.
        rng: Jitter of probes.

    Attributes:
        breaker: Whether the stream answers at all.
        window: How many requests keep it busy.
        halt: Why nothing of the flow is accepted; None while it is.
    """

    def __init__(self, most: int, rng: random.Random) -> None:
        self.breaker = Breaker(rng)
        self.window = InFlight(most)
        self.halt: Halt | None = None
        self._halts = 0
        self._probe_at_s = 0.0

    @property
    def probing(self) -> bool:
        """Whether nothing but one request at a time may go."""
        return self.halt is not None or self.breaker.open

    def wait_s(self, now_s: float) -> float:
        """Seconds until a probe may go; 0 when one may now."""
        wait_s = self.breaker.wait_s(now_s)
        return max(self._probe_at_s - now_s, wait_s) if self.halt is not None else wait_s

    def started(self) -> None:
        """A request starts."""
        if self.breaker.open:
            self.breaker.probe()

    def lift(self, verdicts: set[int]) -> None:
        """A halt ends with an answer that says nothing of it; none at all is no sign that records are accepted."""
        if self.halt is not None and Verdict.HALT not in verdicts and verdicts != {Verdict.UNKNOWN}:
            self.halt = None
            self._halts = 0

    def halted(self, code: str, detail: str, now_s: float) -> bool:
        """Nothing of the flow is accepted; whether that is new. A probe follows by itself."""
        known = self.halt is not None
        self.halt = Halt(code, detail)
        if not known or now_s >= self._probe_at_s:  # else it was under way when another one halted: no further sign
            self._probe_at_s = now_s + _PROBE_S[min(self._halts, len(_PROBE_S) - 1)]
            self._halts += 1
        return not known

    def unanswered(self, refused: Sequence[Pending], now_s: float) -> bool:
        """Whether a whole request failed for a reason that is not of its records; learns from it."""
        first = refused[0].outcome
        if first is None or first.shard or first.verdict not in (Verdict.RETRY, Verdict.UNKNOWN):
            return False
        for p in refused:
            outcome = p.outcome
            if outcome is None or outcome.code != first.code or outcome.shard:
                return False
        self.window.failed()
        self.breaker.failed(first.code, first.detail, now_s)
        return True
