"""How many requests may be under way: the breaker (S4) and the window."""

from __future__ import annotations

import random

import pytest

from headrace.clock import Manual
from headrace.destinations.flight import Breaker, InFlight


def test_s4_a_breaker_opens_after_three_and_probes_later_and_later() -> None:
    """Half a second at first, twenty at the most; drawn from the upper half, so that probes spread."""
    clock = Manual()
    breaker = Breaker(random.Random(1))
    for _ in range(2):
        breaker.failed("timeout", "", clock.monotonic_s())
        assert (breaker.open, breaker.wait_s(clock.monotonic_s())) == (False, 0.0)
    breaker.failed("timeout", "no answer", clock.monotonic_s())
    assert (breaker.open, breaker.code, breaker.detail) == (True, "timeout", "no answer")
    for most in (0.5, 1, 2, 4, 8, 16, 20, 20, *[20] * 2000):
        wait_s = breaker.wait_s(clock.monotonic_s())
        assert most / 2 <= wait_s <= most
        clock.advance(wait_s)
        assert breaker.wait_s(clock.monotonic_s()) == pytest.approx(0, abs=1e-6)
        breaker.probe()
        breaker.failed("timeout", "", clock.monotonic_s())


def test_s4_a_breaker_closes_at_the_first_answer_and_starts_over() -> None:
    """One answer, and nothing is held; three failures later it is half a second again."""
    breaker = Breaker(random.Random(1))
    for now_s in range(30):
        breaker.failed("reset", "", now_s)
        breaker.probe()
    breaker.answered()
    assert (breaker.open, breaker.wait_s(30)) == (False, 0.0)
    for _ in range(3):
        breaker.failed("reset", "", 30)
    assert 0.25 <= breaker.wait_s(30) <= 0.5


def test_s4_requests_that_were_under_way_do_not_put_the_probe_off() -> None:
    """Thirty-two requests fail together: the first probe goes within half a second, not after twenty."""
    breaker = Breaker(random.Random(1))
    for _ in range(32):
        breaker.failed("reset", "", 100.0)
    assert breaker.wait_s(100.0) <= 0.5


def test_the_window_grows_with_answers_and_shrinks_without() -> None:
    """From 4 up to the writer's most; a load refusal takes a tenth, a failure half, never below one."""
    window = InFlight(32)
    assert window.allowed == 4
    for _ in range(2000):
        window.answered(0.02, refused=False)
    assert window.allowed == 32
    window.answered(0.02, refused=True)
    assert window.allowed == 28
    for _ in range(20):
        window.failed()
    assert window.allowed == 1
    assert InFlight(1).allowed == 1


def test_the_window_does_not_grow_while_answers_are_slow() -> None:
    """Answers that take many times the least time are a queue building up at the other end."""
    window = InFlight(32)
    for _ in range(100):
        window.answered(0.02, refused=False)
    before = window.allowed
    for _ in range(500):
        window.answered(2.0, refused=False)
    assert window.allowed <= before + 1
