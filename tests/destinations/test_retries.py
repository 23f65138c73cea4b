"""When refused records are written again."""

from __future__ import annotations

import pytest

from headrace.core.model import Cause, Export
from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.block import Block
from headrace.destinations.halts import Counts
from headrace.destinations.pending import Pending, pending
from headrace.destinations.retries import Retries
from headrace.destinations.verdicts import Refusals
from tests.destinations.lanes import LongestWait


def refused(n: int, attempts: int, wait_s: float = 0.0) -> Pending:
    """A record that was just refused."""
    p = pending(Export(n, f"p{n}", "", 1, 1, 1, f"p{n}", b"x", Cause("live"), 0, ""), Block(0, [n]), 0)
    p.attempts, p.outcome = attempts, Outcome(code="InternalFailure", verdict=Verdict.RETRY, wait_s=wait_s)
    return p


def test_a_record_refused_often_makes_no_other_wait() -> None:
    """Refused in one request, each comes back after the wait of its own attempt, at the longest draw."""
    retries = Retries(LongestWait())
    often, first, second = refused(0, 6), refused(1, 1), refused(2, 1)
    for group in Refusals([first, often, second], Counts()).waits.values():
        retries.back_off(group, now_s=10.0)
    assert retries.wait_s(10.0) == pytest.approx(0.05)
    assert retries.due(10.06) == [first, second]
    assert retries.due(11.59) == []
    assert retries.due(11.61) == [often]
    assert retries.wait_s(12.0) is None


def test_a_wait_that_was_asked_for_is_kept() -> None:
    """Longer than the draw: it counts."""
    retries = Retries(LongestWait())
    retries.back_off([refused(0, 1, wait_s=7.0)], now_s=0.0)
    assert retries.wait_s(0.0) == pytest.approx(7.0)
