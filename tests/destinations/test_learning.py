"""What an answer tells of the stream: throttles slow what was throttled, and other failures slow nothing."""

from __future__ import annotations

import random

import pytest

from headrace.clock import Manual
from headrace.core.model import Cause, Export
from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.block import Block
from headrace.destinations.flight import Flight
from headrace.destinations.kinesis.faults import record_refusal
from headrace.destinations.learning import Learning
from headrace.destinations.pending import Pending, pending
from headrace.destinations.retries import Retries
from headrace.destinations.shards import StreamControl

SHARD = "shardId-000000000003"


class Stream:
    """One flow's view of a stream, and answers to it."""

    def __init__(self) -> None:
        clock = Manual()
        self.control = StreamControl(clock)
        self.flight = Flight(32, random.Random(1))
        self.learning = Learning(self.control, self.flight, Retries(random.Random(1)), clock)

    def answer(self, delivered: int, refused: list[Outcome], times: int = 1) -> None:
        """So many records delivered beside these refused."""
        for _ in range(times):
            done = [one(n, Outcome(shard=SHARD, sequence="1")) for n in range(delivered)]
            self.learning.answered(done, [one(delivered + n, each) for n, each in enumerate(refused)], 0.01)


def one(n: int, outcome: Outcome) -> Pending:
    """A record that was answered."""
    export = Export(n, f"p{n}", "", 1, 1, 1, f"p{n}", b"x", Cause("live"), 0, "")
    p = pending(export, Block(0, [n]), 0)
    p.outcome = outcome
    return p


def refusal(code: str, words: str) -> Outcome:
    """As the writer reads it out of an answer."""
    outcome = Outcome(code=code, detail=words)
    record_refusal(outcome, 100, 10)
    return outcome


@pytest.mark.slow
def test_failures_of_the_service_slow_nothing() -> None:
    """A fifth of the records fails with InternalFailure: the window grows as without, and no shard is limited."""
    calm, failing = Stream(), Stream()
    calm.answer(500, [], times=200)
    failing.answer(400, [refusal("InternalFailure", "Internal service failure.")] * 100, times=200)
    assert failing.flight.window.allowed == calm.flight.window.allowed > 10
    assert failing.control.limits == {}


@pytest.mark.slow
def test_d6_a_throttle_that_names_its_shard_slows_that_shard_alone() -> None:
    """The window grows on; the shard has a limit."""
    stream = Stream()
    throttle = refusal("ProvisionedThroughputExceededException", f"Rate exceeded for shard {SHARD} in stream s")
    stream.answer(400, [throttle], times=200)
    assert stream.flight.window.allowed > 10
    assert list(stream.control.limits) == [SHARD]


def test_a_throttle_that_names_no_shard_slows_the_flow() -> None:
    """Nobody knows which shard it was, so fewer requests are under way at once."""
    stream = Stream()
    stream.answer(400, [refusal("ProvisionedThroughputExceededException", "Rate exceeded")], times=20)
    assert stream.flight.window.allowed == 1
    assert stream.control.limits == {}


def test_a_request_that_fails_whole_counts_for_the_breaker() -> None:
    """Three in turn open it, and one answer closes it."""
    stream = Stream()
    stream.answer(0, [Outcome(code="timeout", verdict=Verdict.UNKNOWN)] * 5, times=3)
    assert stream.flight.breaker.open
    stream.answer(1, [])
    assert not stream.flight.breaker.open
