"""The memory destination keeps the contract, and refuses exactly what its script says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from headrace.destinations.base import Outcome, Record, Verdict, Writer
from headrace.destinations.memory import MEMORY, MemoryDestination, MemoryStream, Rule
from tests.destinations.contract import Bench, Rec, WriterContract, records


class MemoryBench(Bench):
    """A stream of a destination of its own."""

    def __init__(self, *rules: Rule, shards: int = 1) -> None:
        self.destination = MemoryDestination(rules)
        self.stream: MemoryStream = self.destination.stream("s", shards)

    def open(self) -> Writer:
        return self.destination.writer({}, {"stream": "s"})

    def read(self) -> Mapping[tuple[str, str], tuple[str, bytes]]:
        return {(r.shard, str(r.sequence)): (r.key, r.data) for r in self.stream.accepted}

    def write(self, *sent: Record) -> Sequence[Outcome]:
        return asyncio.run(self.open().write(sent))


@pytest.fixture
def bench() -> Bench:
    return MemoryBench(shards=4)


class TestMemory(WriterContract):
    """W1 to W6 on the memory destination."""


def test_the_nth_record_of_a_key_is_refused_once() -> None:
    """A rule counts only the records it is about, over requests, and is over after its times."""
    bench = MemoryBench(Rule(Verdict.RETRY, nth=2, key="b", code="Throttled", wait_s=1.5))
    first = bench.write(Rec("b", b"1"), Rec("a", b"2"))
    second = bench.write(Rec("a", b"3"), Rec("b", b"4"), Rec("b", b"5"))
    assert [o.verdict for o in first] == [Verdict.DELIVERED, Verdict.DELIVERED]
    assert [(o.verdict, o.code, o.wait_s) for o in second] == [(0, "", 0.0), (1, "Throttled", 1.5), (0, "", 0.0)]
    assert [r.data for r in bench.stream.accepted] == [b"1", b"2", b"3", b"5"]
    assert [data for _, data in bench.stream.attempts] == [b"1", b"2", b"3", b"4", b"5"]
    assert bench.stream.requests == 2


def test_a_refusal_can_last_for_ever_and_be_lifted() -> None:
    """``times=None`` refuses until the rules are cleared."""
    bench = MemoryBench(Rule(Verdict.HALT, times=None))
    for _ in range(3):
        assert bench.write(Rec("a", b"1"))[0].verdict == Verdict.HALT
    bench.stream.clear_rules()
    assert bench.write(Rec("a", b"1"))[0].verdict == Verdict.DELIVERED


def test_a_time_out_after_the_write_leaves_the_record_written() -> None:
    """``written`` is the case that makes duplicates: the answer is lost, the record is not."""
    bench = MemoryBench(Rule(Verdict.UNKNOWN, written=True))
    assert bench.write(Rec("a", b"1"))[0].verdict == Verdict.UNKNOWN
    assert bench.write(Rec("a", b"1"))[0].verdict == Verdict.DELIVERED
    assert [r.data for r in bench.stream.accepted] == [b"1", b"1"]


def test_a_poison_record_refuses_the_request_it_is_in() -> None:
    """``request`` with ``contains``: everybody in the request is refused, and nothing of it is taken."""
    bench = MemoryBench(Rule(Verdict.SPLIT, times=None, contains=b"poison", request=True))
    refused = bench.write(Rec("a", b"1"), Rec("b", b"poison"), Rec("c", b"3"))
    assert [o.verdict for o in refused] == [Verdict.SPLIT] * 3
    assert bench.stream.accepted == []
    assert bench.write(Rec("a", b"1"))[0].verdict == Verdict.DELIVERED


def test_the_first_rule_that_applies_decides_and_each_counts_for_itself() -> None:
    """Two rules about the same records keep their own turns."""
    bench = MemoryBench(Rule(Verdict.RETRY, nth=1), Rule(Verdict.REJECTED, nth=2))
    assert [o.verdict for o in bench.write(*records(3))] == [Verdict.RETRY, Verdict.REJECTED, Verdict.DELIVERED]


def test_keys_are_spread_as_kinesis_does() -> None:
    """With two shards the top bit of the key's MD5 decides: md5("a") begins with 0, md5("b") with 9."""
    bench = MemoryBench(shards=2)
    assert [o.shard for o in bench.write(Rec("a", b""), Rec("b", b""))] == [
        "shardId-000000000000",
        "shardId-000000000001",
    ]


def test_a_stream_outlives_its_writers_and_streams_are_apart() -> None:
    """A writer opened again goes on in the same stream; another name is another stream."""
    memory = MemoryDestination()

    async def run() -> None:
        for n in range(2):
            writer = memory.writer({}, {"stream": "s"})
            await writer.write([Rec("a", b"%d" % n)])
            await writer.close()

    asyncio.run(run())
    assert [r.data for r in memory.stream("s").accepted] == [b"0", b"1"]
    assert memory.stream("other").accepted == []
    memory.forget()
    assert memory.stream("s").accepted == []


def test_the_check_is_well() -> None:
    """There is nothing to be denied."""
    assert asyncio.run(MEMORY.check({}, {"stream": "s"})).ok
    assert MEMORY.mistakes({}, {"stream": "s"}) == ()
