"""What waits in a dispatcher: halted flows until they are probed, and exports for others that come first."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from headrace.clock import Manual
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.dispatch import Halt, Pending
from headrace.destinations.memory import Rule
from tests.destinations.lanes import Lanes

HALTED = Rule(Verdict.HALT, times=None, code="AccessDeniedException", detail="not allowed")


def test_d5_a_halt_keeps_everything_and_is_probed_with_one_request() -> None:
    """After 5, 10, 30, 60, 60 s one request each; nothing is settled, and nothing is lost or overtaken."""
    lanes = Lanes(HALTED, limits=Limits(records=10), clock=Manual(), linger_s=0)
    exports = [lanes.export(f"p{n % 40}") for n in range(80)]

    async def use(_: Lanes) -> None:
        lanes.dispatcher.add(exports)
        await lanes.turns()
        sent = len(lanes.writer.requests)
        assert sent == 4
        assert lanes.dispatcher.halt == Halt("AccessDeniedException", "not allowed")
        for pause in (5, 10, 30, 60, 60):
            lanes.clock.advance(pause - 0.01)
            await lanes.turns()
            assert len(lanes.writer.requests) == sent
            lanes.clock.advance(0.01)
            await lanes.turns()
            sent += 1
            assert len(lanes.writer.requests) == sent
        assert (lanes.settled, lanes.dispatcher.records, lanes.halts) == ([], 80, 1)
        lanes.stream.clear_rules()
        lanes.clock.advance(60)
        await lanes.all_settled(80)
        assert lanes.dispatcher.halt is None

    lanes.run(use)
    assert sorted(lanes.accepted()) == sorted(p.data for p in exports)


def test_d5_many_requests_halted_at_once_are_one_halt() -> None:
    """Four requests under way when access is lost: the first probe comes after 5 s all the same, and tells once."""
    lanes = Lanes(HALTED, limits=Limits(records=1), clock=Manual(), linger_s=0)

    async def use(_: Lanes) -> None:
        lanes.add(*(f"p{n}" for n in range(100)))
        await lanes.turns()
        assert len(lanes.writer.requests) == 4
        lanes.stream.clear_rules()
        lanes.clock.advance(5)
        await lanes.all_settled(100)

    lanes.run(use)
    assert lanes.halts == 1


def test_d5_a_halt_starts_over_after_it_was_lifted() -> None:
    """Halted again later, it is told again and probed after 5 s again."""
    lanes = Lanes(Rule(Verdict.HALT, times=3), Rule(Verdict.HALT, nth=5), clock=Manual(), linger_s=0)

    async def use(_: Lanes) -> None:
        lanes.add("a")
        for pause in (5, 10, 30):
            await lanes.turns()
            lanes.clock.advance(pause)
        await lanes.all_settled(1)
        lanes.add("b")
        await lanes.turns()
        assert lanes.dispatcher.halt is not None
        lanes.clock.advance(5)
        await lanes.all_settled(2)

    lanes.run(use)
    assert lanes.halts == 2


def test_d5_a_probe_without_answer_lifts_nothing() -> None:
    """A time-out is no sign that records are accepted again; one request at a time goes on trying."""
    lanes = Lanes(
        Rule(Verdict.HALT, key="p0"), Rule(Verdict.UNKNOWN, times=3, key="p0"), Rule(Verdict.UNKNOWN, times=20),
        limits=Limits(records=1, in_flight=1), linger_s=0,
    )  # fmt: skip

    async def use(_: Lanes) -> None:
        lanes.add("p0")
        await lanes.until(lambda: lanes.dispatcher.halt is not None)
        lanes.writer.limits = Limits(records=1, in_flight=5)
        lanes.add("p1", "p2", "p3")
        await lanes.until(lambda: len(lanes.writer.requests) == 6)
        assert lanes.dispatcher.halt is not None
        assert lanes.writer.most_under_way == 1
        await lanes.all_settled(4)
        assert lanes.dispatcher.halt is None

    lanes.run(use)


def test_d5_part_of_a_request_may_be_halted() -> None:
    """What was delivered beside a halted record is delivered."""
    lanes = Lanes(Rule(Verdict.HALT, key="b"), clock=Manual(), linger_s=0)

    async def use(_: Lanes) -> None:
        lanes.add("a", "b", "c", "a")
        await lanes.all_settled(2)
        assert [p.lane for p in lanes.settled] == ["a", "c"]
        assert lanes.dispatcher.halt is not None
        lanes.clock.advance(5)
        await lanes.all_settled(4)

    lanes.run(use)
    assert [p.data for p in lanes.writer.requests[1]][:1] == [b"b#2"]


def test_d5_only_what_can_never_be_sent_is_left_when_a_halt_is_probed() -> None:
    """A probe that turns out to hold nothing to send does not stop what is to be tried again later."""
    lanes = Lanes(
        Rule(Verdict.RETRY, key="a", wait_s=100), Rule(Verdict.HALT, key="b"), clock=Manual(), linger_s=0,
        limits=Limits(records=1, in_flight=2),
    )  # fmt: skip

    async def use(_: Lanes) -> None:
        lanes.add("a", "b")
        await lanes.turns()
        # The limits tighten while it is halted, so that the halted record itself becomes oversize.
        lanes.writer.limits = Limits(records=1, in_flight=2, key_chars=0)
        lanes.clock.advance(5)
        await lanes.all_settled(1)
        lanes.writer.limits = Limits(records=1, in_flight=2)
        for _second in range(100):
            lanes.clock.advance(1)
            await lanes.turns(5)
        await lanes.all_settled(2)

    lanes.run(use)


# -- what must come after something else ----------------------------------------------------------


def place(p: Pending) -> tuple[int, int]:
    """Where an export lies."""
    return p.block.bucket, p.export.ordinal


def test_d2_an_export_waits_for_what_it_names() -> None:
    """The survivor's first export is written once the absorbed profile's last one is settled, refused ones too."""
    lanes = Lanes(Rule(Verdict.RETRY, key="absorbed", nth=2, times=4), linger_s=0)
    absorbed = [lanes.export("absorbed") for _ in range(3)]
    survivor = lanes.export("survivor", after=[place(absorbed[-1])])
    behind = lanes.export("survivor")
    others = [lanes.export(f"p{n}") for n in range(5)]
    lanes.send([survivor, behind, *others, *absorbed])
    assert [p for p in lanes.settled if p not in others] == [*absorbed, survivor, behind]


def test_d2_a_chain_of_merges() -> None:
    """a is absorbed by b, b by c, c by d: each waits for the one before, in whatever order they are added."""
    for order in itertools.permutations(range(4)):
        lanes = Lanes(linger_s=0)
        chain: list[Pending] = []
        for lane in "abcd":
            chain.append(lanes.export(lane, after=[place(chain[-1])] if chain else []))
        lanes.send([chain[n] for n in order])
        assert [p.lane for p in lanes.settled] == list("abcd")


def test_d2_several_things_to_wait_for() -> None:
    """It goes after the last of them; that one of them is rejected settles it as well."""
    lanes = Lanes(Rule(Verdict.REJECTED, key="a"), Rule(Verdict.RETRY, key="b", times=3), linger_s=0)
    a, b, c = (lanes.export(lane) for lane in "abc")
    last = lanes.export("d", after=[place(a), place(b), place(c)])
    lanes.send([last, a, b, c])
    assert lanes.settled[-1] is last
    assert len(lanes.settled) == 4


def test_d2_what_is_settled_already_is_not_waited_for() -> None:
    """An export that names something that never was, or is long settled, goes at once."""
    lanes = Lanes(clock=Manual(), linger_s=0)

    async def use(_: Lanes) -> None:
        (a,) = lanes.add("a")
        await lanes.all_settled(1)
        lanes.dispatcher.add([lanes.export("b", after=[place(a), (9, 999)])])
        await lanes.all_settled(2)

    lanes.run(use)


def test_d2_what_turns_out_to_be_settled_is_let_go() -> None:
    """Something thought to wait on disk that is found settled there: ``recheck`` lets go what waited for it."""
    lanes = Lanes(clock=Manual(), linger_s=0)

    async def use(_: Lanes) -> None:
        lanes.waiting.add((3, 7))
        lanes.dispatcher.add([lanes.export("b", after=[(3, 7)]), lanes.export("b")])
        await lanes.turns()
        lanes.dispatcher.recheck()
        await lanes.turns()
        assert lanes.writer.requests == []
        lanes.waiting.discard((3, 7))
        lanes.dispatcher.recheck()
        await lanes.all_settled(2)

    lanes.run(use)


@pytest.mark.parametrize("ordered", [True, False])
def test_d2_what_is_waited_for_in_the_same_request(ordered: bool) -> None:
    """Both become ready at once: it still goes in a later request."""
    lanes = Lanes(linger_s=0, ordered=ordered)
    first = [lanes.export(f"p{n}") for n in range(5)]
    then = [lanes.export(f"q{n}", after=[place(first[n])]) for n in range(5)]
    lanes.send([*then, *first])
    assert [[p.lane[0] for p in request] for request in lanes.writer.requests] == [["p"] * 5, ["q"] * 5]


def test_d2_a_lane_is_put_in_order_where_its_partition_keys_differ() -> None:
    """Read back bucket by bucket, a lane's later export may come before the earlier one that it waits for."""
    for order in itertools.permutations(range(5)):
        lanes = Lanes(linger_s=0)
        one = lanes.export("p", bucket=9)
        two = lanes.export("p", bucket=4, after=[place(one)])
        three = lanes.export("p", bucket=4)
        four = lanes.export("p", bucket=1, after=[place(three)])
        five = lanes.export("p", bucket=9, after=[place(four)])
        lane = [one, two, three, four, five]
        added = [lane[n] for n in order]
        # Within a bucket the order is kept.
        if order.index(1) > order.index(2) or order.index(0) > order.index(4):
            continue
        lanes.send(added)
        assert lanes.settled == lane


def test_d2_a_lane_is_put_in_order_one_by_one() -> None:
    """Also when the loop turns between one and the next, and the first to come waits already."""
    lanes = Lanes(clock=Manual(), linger_s=0)
    one = lanes.export("p", bucket=9)
    two = lanes.export("p", bucket=4, after=[place(one)])
    three = lanes.export("p", bucket=1, after=[place(two)])

    async def use(_: Lanes) -> None:
        for p in (three, one, two):
            lanes.dispatcher.add([p])
            await lanes.turns()
        await lanes.all_settled(3)

    lanes.run(use)
    assert lanes.settled == [one, two, three]


def test_a_cancelled_run_leaves_no_task() -> None:
    """Requests under way end with it, and what they held stays unsettled."""
    lanes = Lanes(clock=Manual(), linger_s=0)

    async def use() -> None:
        lanes.writer.held = asyncio.Event()
        task = asyncio.create_task(lanes.dispatcher.run())
        lanes.add(*(f"p{n}" for n in range(3)))
        await lanes.turns()
        assert lanes.writer.under_way == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await lanes.turns(2)
        assert (lanes.writer.under_way, len(asyncio.all_tasks())) == (0, 1)

    asyncio.run(use())
    assert (lanes.settled, lanes.dispatcher.records) == ([], 3)
