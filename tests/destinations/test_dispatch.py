"""The dispatcher keeps D1 to D5, each under the trouble that could break it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from headrace.clock import Manual
from headrace.destinations.base import Limits, Outcome, Verdict
from headrace.destinations.dispatch import Dispatcher, Pending
from headrace.destinations.memory import Rule
from headrace.errors import BugError, StorageError
from tests.destinations.lanes import Lanes, LongestWait

RETRY, UNKNOWN, REJECTED, HALT, SPLIT = (
    Verdict.RETRY, Verdict.UNKNOWN, Verdict.REJECTED, Verdict.HALT, Verdict.SPLIT,
)  # fmt: skip


def test_d1_everything_is_settled_once_and_in_full_requests() -> None:
    """50 profiles of 40 changes: 40 requests of 50, since one export of a profile is on its way at a time."""
    lanes = Lanes()
    exports = [lanes.export(f"p{n % 50}") for n in range(2000)]
    lanes.send(exports)
    assert Counter(map(id, lanes.settled)) == Counter(map(id, exports))
    assert lanes.accepted() == [p.data for p in exports]
    assert [len(request) for request in lanes.writer.requests] == [50] * 40
    assert (lanes.dispatcher.records, lanes.dispatcher.bytes) == (0, 0)


def test_d3_the_number_of_records_written_is_what_the_script_says() -> None:
    """50 profiles of 40 changes one a request, 76 refusals: 2,076 writes, every change once and in order."""
    rules = [Rule(RETRY, key="p3", nth=5, times=30), Rule(RETRY, key="p9", times=7), Rule(RETRY, key="p0", nth=40)]
    rules += [Rule(RETRY, key="p49", nth=n) for n in range(3, 79, 2)]
    lanes = Lanes(*rules, limits=Limits(records=1))
    exports = [lanes.export(f"p{n % 50}") for n in range(2000)]
    lanes.send(exports)
    assert len(lanes.stream.attempts) == len(lanes.writer.requests) == lanes.dispatcher.counts.requests == 2076
    assert lanes.dispatcher.counts.retried == sum(p.attempts - 1 for p in exports) == 76
    assert sorted(lanes.accepted()) == sorted(p.data for p in exports)
    for lane, sent in lanes.of_lane.items():
        assert [data for data in lanes.accepted() if data.startswith(lane.encode() + b"#")] == [p.data for p in sent]


@pytest.mark.parametrize("refused", [0, 1, 13])
def test_d3_the_number_of_requests_is_what_the_script_says(refused: int) -> None:
    """50 profiles of 40 changes, some requests refused whole: as many requests more, and no record more."""
    # Every second request: the rule applies to its first record, and refuses the other 49 with it.
    lanes = Lanes(*(Rule(RETRY, nth=100 * n + 1, request=True) for n in range(refused)))
    exports = [lanes.export(f"p{n % 50}") for n in range(2000)]
    lanes.send(exports)
    assert [len(request) for request in lanes.writer.requests] == [50] * (40 + refused)
    assert len(lanes.stream.attempts) == 2000 + 50 * refused
    assert lanes.accepted() == [p.data for p in exports]


def test_d2_a_refused_record_holds_back_its_own_lane_only() -> None:
    """While one lane waits, with the time standing still, every other lane goes to its end."""
    lanes = Lanes(Rule(RETRY, key="a", wait_s=60), clock=Manual(), linger_s=0)
    exports = [lanes.export(lane) for _ in range(20) for lane in "abc"]

    async def use(_: Lanes) -> None:
        lanes.dispatcher.add(exports)
        await lanes.all_settled(40)
        assert {p.lane for p in lanes.settled} == {"b", "c"}
        lanes.clock.advance(59)
        await lanes.turns()
        assert len(lanes.settled) == 40
        lanes.clock.advance(1)
        await lanes.all_settled(60)

    lanes.run(use)
    assert [p.data for p in lanes.settled if p.lane == "a"] == [p.data for p in lanes.of_lane["a"]]
    assert lanes.dispatcher.counts.retried == 1


def test_d3_only_what_was_refused_is_written_again() -> None:
    """Of a request of 500 with 3 refused, the second request holds those 3, in their order."""
    lanes = Lanes(Rule(RETRY, key="p7"), Rule(UNKNOWN, key="p300"), Rule(RETRY, key="p499"))
    lanes.send([lanes.export(f"p{n}") for n in range(500)])
    assert [len(request) for request in lanes.writer.requests] == [500, 3]
    assert [p.key for p in lanes.writer.requests[1]] == ["p7", "p300", "p499"]


def test_d3_an_unknown_fate_is_written_again_and_counted_apart() -> None:
    """A record that was written although nobody answered is there twice: once counted as a possible duplicate."""
    lanes = Lanes(Rule(UNKNOWN, key="a", written=True, times=2), Rule(RETRY, key="b"))
    a, b, c = (lanes.export(lane) for lane in "abc")
    lanes.send([a, b, c])
    assert Counter(lanes.accepted()) == {a.data: 3, b.data: 1, c.data: 1}
    assert (a.attempts, a.unknown, b.attempts, b.unknown) == (3, 2, 2, 0)
    assert (lanes.dispatcher.counts.possible_duplicates, lanes.dispatcher.counts.retried) == (2, 1)
    assert lanes.dispatcher.counts.refusals == {"Scripted": 3}


def test_waits_double_up_to_twenty_seconds() -> None:
    """Longest draws: 50 ms, 100 ms, then the breaker's probes: 0.5 s, 1 s, ... 20 s; a wait asked for is kept."""
    lanes = Lanes(Rule(RETRY, times=11), Rule(RETRY, nth=12, wait_s=33), rng=LongestWait(), linger_s=0)
    begun = lanes.clock.monotonic_s()
    lanes.send([lanes.export("a")])
    waits = [0.05, 0.1, *(0.5 * 2**n for n in range(6)), 20.0, 20.0, 20.0, 33.0]
    assert lanes.clock.monotonic_s() - begun == pytest.approx(sum(waits), abs=0.01)


def test_d4_no_request_is_over_a_limit_and_no_more_are_under_way() -> None:
    """Limits in records, in bytes with the key's, and in requests are reached and never passed."""
    few = Lanes(limits=Limits(records=7, in_flight=3))
    few.send([few.export(f"p{n}") for n in range(100)])
    assert [len(request) for request in few.writer.requests] == [7] * 14 + [2]
    assert few.writer.most_under_way == 3
    # "é" is one character and two bytes: 4 records of 8 + 2 bytes fill 40.
    small = Lanes(limits=Limits(request_bytes=40, record_bytes=40))
    small.send([small.export(f"p{n}", b"%08d" % n, key="é") for n in range(10)])
    assert [len(request) for request in small.writer.requests] == [4, 4, 2]


def test_d4_a_request_waits_for_more_unless_it_is_full() -> None:
    """Not full: it goes after the linger, and with what came meanwhile. Full: at once."""
    lanes = Lanes(limits=Limits(records=3), clock=Manual(), linger_s=0.02)

    async def use(_: Lanes) -> None:
        lanes.add("a")
        await lanes.turns()
        lanes.clock.advance(0.019)
        lanes.add("b")
        await lanes.turns()
        assert lanes.writer.requests == []
        lanes.clock.advance(0.001)
        await lanes.all_settled(2)
        assert [len(request) for request in lanes.writer.requests] == [2]
        lanes.add("c", "d", "e")
        await lanes.all_settled(5)
        assert [len(request) for request in lanes.writer.requests] == [2, 3]

    lanes.run(use)


def test_d1_what_no_request_can_hold_is_rejected_unsent() -> None:
    """Too many bytes with the key, a key too long, no key: rejected with the reason; neighbours and lanes go on."""
    limits = Limits(record_bytes=100, request_bytes=120, key_chars=10)
    lanes = Lanes(limits=limits)
    fits = lanes.export("a", b"x" * 98, key="éa"[:1])
    over = lanes.export("a", b"x" * 99, key="é")
    long = lanes.export("b", key="k" * 11)
    wide = lanes.export("b", key="é" * 10)
    none = lanes.export("c", key="")
    last = lanes.export("c")
    lanes.send([fits, over, long, wide, none, last])
    codes = {p.data: p.outcome.code for p in lanes.settled if p.outcome is not None}
    assert codes == {
        fits.data: "", over.data: "record-too-large", long.data: "bad-partition-key", wide.data: "",
        none.data: "bad-partition-key", last.data: "",
    }  # fmt: skip
    assert sorted(lanes.accepted()) == sorted([fits.data, wide.data, last.data])
    assert over.attempts == 0
    assert over.outcome is not None
    assert over.outcome.detail == "101 bytes of data and partition key, over the limit of 100"


def test_d4_a_record_larger_than_a_request_is_rejected() -> None:
    """Also where the limit of a record would let it pass."""
    lanes = Lanes(limits=Limits(record_bytes=100, request_bytes=50))
    lanes.send([lanes.export("a", b"x" * 60), lanes.export("a", b"y" * 49)])
    assert lanes.accepted() == [b"y" * 49]


@pytest.mark.parametrize("poisoned", [[0], [255], [499], [10, 11], [0, 250, 499]])
def test_d1_a_poison_record_is_found_and_rejected_alone(poisoned: list[int]) -> None:
    """A request refused for what is in it is halved down to the records at fault; all others arrive once."""
    lanes = Lanes(Rule(SPLIT, times=None, contains=b"poison", request=True, code="SerializationException"))
    exports = [lanes.export(f"p{n}", b"poison %d" % n if n in poisoned else b"") for n in range(500)]
    lanes.send(exports)
    assert sorted(lanes.accepted()) == sorted(p.data for n, p in enumerate(exports) if n not in poisoned)
    rejected = [p for p in lanes.settled if p.outcome is not None and p.outcome.verdict == REJECTED]
    assert sorted(p.data for p in rejected) == sorted(exports[n].data for n in poisoned)
    assert {p.outcome.code for p in rejected if p.outcome} == {"SerializationException"}
    # Two requests a level and poison record, and nine levels: 500, 250, 125, ... 2, 1.
    assert len(lanes.writer.requests) <= 1 + 18 * len(poisoned)


def test_d1_a_poison_record_lets_the_next_of_its_lane_go() -> None:
    """Behind a rejected export its lane goes on."""
    lanes = Lanes(Rule(SPLIT, times=None, contains=b"poison", request=True))
    lanes.send([lanes.export("a", b"poison"), lanes.export("b"), lanes.export("a", b"next")])
    assert sorted(lanes.accepted()) == [b"b#2", b"next"]


def test_d9_what_follows_a_refusal_waits_until_it_is_stored() -> None:
    """The next of its lane, and whoever waits for it by name; other lanes and what was delivered wait for nothing."""
    lanes = Lanes(Rule(SPLIT, times=None, contains=b"poison", request=True), confirmed=True)
    poison = lanes.export("a", b"poison")
    exports = [
        poison, lanes.export("b"), lanes.export("a", b"next"), lanes.export("c", after=[(0, 1)]), lanes.export("b")
    ]  # fmt: skip

    async def use(lanes: Lanes) -> None:
        lanes.dispatcher.add(exports)
        await lanes.all_settled(3)
        assert lanes.settled.count(poison) == 1
        assert sorted(lanes.accepted()) == [b"b#2", b"b#5"]
        places = list(lanes.dispatcher.refused)
        assert places == [(0, 1)]
        lanes.dispatcher.stored(places)
        await lanes.all_settled(5)
        assert sorted(lanes.accepted()) == [b"b#2", b"b#5", b"c#4", b"next"]
        assert not lanes.dispatcher.refused

    lanes.run(use)


def test_d2_ordering_none_gives_up_lanes_and_nothing_else() -> None:
    """Many exports of a profile go in one request; each is still settled once."""
    lanes = Lanes(Rule(RETRY, nth=3, times=5), ordered=False)
    lanes.send([lanes.export("a") for _ in range(100)])
    assert [len(request) for request in lanes.writer.requests] == [100, 5]
    assert sorted(lanes.accepted()) == sorted(p.data for p in lanes.of_lane["a"])


class Raising(Lanes):
    """A writer that does not keep its contract."""

    def __init__(self, fault: Exception | None, answers: int = 0) -> None:
        super().__init__()
        write = self.writer.write

        async def broken(records: Sequence[Pending]) -> Sequence[Outcome]:
            if fault is not None:
                raise fault
            return (await write(records))[:answers]

        self.writer.write = broken  # type: ignore[method-assign]


@pytest.mark.parametrize("lanes", [Raising(OSError("no network")), Raising(None, 1)], ids=["raises", "too few"])
def test_a_writer_that_breaks_its_contract_stops_the_flow(lanes: Raising) -> None:
    """A raised error, or fewer outcomes than records, ends the run with BugError; nothing counts as settled."""

    async def use(_: Lanes) -> None:
        lanes.dispatcher.add([lanes.export("a"), lanes.export("b")])
        await lanes.turns(100)

    with pytest.raises(BugError, match="W1"):
        lanes.run(use)
    assert lanes.settled == []


def test_a_disk_that_fails_while_reading_on_is_not_called_a_bug() -> None:
    """What the settled callback raises about the state comes out of the run as it is."""

    def settled(_: Sequence[Pending]) -> None:
        raise StorageError(problem="no space left")

    async def use() -> None:
        lanes = Lanes()
        dispatcher = Dispatcher(lanes.writer, clock=lanes.clock, rng=random.Random(1), settled=settled)
        dispatcher.add([lanes.export("a")])
        with pytest.raises(StorageError, match="no space left"):
            await dispatcher.run()

    asyncio.run(use())


def test_finish_waits_for_answers_and_starts_nothing() -> None:
    """Requests under way are answered and settled, what waits stays; after the grace they are given up."""
    lanes = Lanes(clock=Manual(), linger_s=0)

    async def use(_: Lanes) -> None:
        lanes.writer.held = asyncio.Event()
        lanes.add("a", "a", "b")
        await lanes.turns()
        ending = asyncio.create_task(lanes.dispatcher.finish(5.0))
        await lanes.turns()
        assert not ending.done()
        lanes.writer.held.set()
        await ending
        await lanes.turns()

    lanes.run(use)
    assert [p.lane for p in lanes.settled] == ["a", "b"]
    assert (lanes.dispatcher.records, len(lanes.writer.requests)) == (1, 1)


def test_finish_ends_after_the_grace() -> None:
    """An answer that does not come is not waited for longer; then cancelling gives the requests up."""
    lanes = Lanes(clock=Manual(), linger_s=0)

    async def use(_: Lanes) -> None:
        lanes.writer.held = asyncio.Event()
        lanes.add("a")
        await lanes.turns()
        ending = asyncio.create_task(lanes.dispatcher.finish(5.0))
        await lanes.turns()
        lanes.clock.advance(4.9)
        await lanes.turns()
        assert not ending.done()
        lanes.clock.advance(0.2)
        await asyncio.wait_for(ending, 10)

    lanes.run(use)
    assert lanes.settled == []
    assert (lanes.writer.under_way, lanes.dispatcher.records, lanes.accepted()) == (0, 1, [])
