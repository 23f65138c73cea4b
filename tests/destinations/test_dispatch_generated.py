"""D1 to D5 under generated refusals, limits, dependencies and interleavings."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.destinations.base import Limits, Verdict
from headrace.destinations.dispatch import Pending
from headrace.destinations.memory import Rule
from tests.destinations.lanes import Lanes

LANES = [f"p{n}" for n in range(6)]

rules = st.lists(
    st.builds(
        Rule,
        verdict=st.sampled_from(
            [Verdict.RETRY, Verdict.RETRY, Verdict.UNKNOWN, Verdict.REJECTED, Verdict.HALT, Verdict.SPLIT]
        ),
        nth=st.integers(1, 20),
        times=st.integers(1, 5),
        key=st.sampled_from([None, None, *LANES]),
        written=st.booleans(),
        request=st.booleans(),
        wait_s=st.sampled_from([0.0, 0.0, 0.3, 25.0]),
    ),
    max_size=6,
).map(lambda made: [rule for rule in made if rule.verdict == Verdict.UNKNOWN or not rule.written])

limits = st.builds(
    Limits,
    records=st.integers(1, 8),
    request_bytes=st.integers(30, 200),
    record_bytes=st.just(25),
    in_flight=st.integers(1, 4),
)


changes = st.lists(
    st.tuples(
        st.sampled_from(LANES), st.integers(0, 9), st.sampled_from([b"", b"", b"", b"x" * 30]), st.booleans(),
        st.integers(0, 3),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@given(rules, limits, changes, st.booleans(), st.integers(0, 1000))
@example(
    [Rule(Verdict.SPLIT, request=True)], Limits(records=4), [(lane, 0, b"", False, 0) for lane in LANES], True, 0
)
def test_d1_to_d5(
    script: list[Rule], most: Limits, made: list[tuple[str, int, bytes, bool, int]], ordered: bool, seed: int
) -> None:
    """Whatever is refused: settled exactly once, in order, within the limits, and written no more than needed."""
    rng = random.Random(seed)
    lanes = Lanes(*script, limits=most, ordered=ordered, rng=rng, turns=lambda: rng.randrange(6))
    exports: list[Pending] = []
    chunks: list[list[Pending]] = [[]]
    for lane, back, padding, cuts, bucket in made:
        after = []
        if back and back <= len(exports):
            waits_for = exports[-back]
            after = [(waits_for.block.bucket, waits_for.export.ordinal)]
        name = b"%s#%d" % (lane.encode(), len(exports))
        exports.append(lanes.export(lane, name + padding, after=after, bucket=bucket))
        chunks[-1].append(exports[-1])
        if cuts:
            chunks.append([])

    async def use(_: Lanes) -> None:
        for chunk in chunks:
            lanes.dispatcher.add(chunk)
            await lanes.turns(rng.randrange(12))
        await lanes.all_settled(len(exports))

    lanes.run(use)  # D2 and D4 are watched at every write
    judge(lanes, exports)


def judge(lanes: Lanes, exports: list[Pending]) -> None:
    """D1 and D3, and the counts, from what the stream saw."""
    assert Counter(map(id, lanes.settled)) == Counter(map(id, exports))
    assert (lanes.dispatcher.records, lanes.dispatcher.bytes) == (0, 0)
    attempts = Counter(data for _, data in lanes.stream.attempts)
    accepted = Counter(lanes.accepted())
    for p in exports:
        assert p.attempts == attempts[p.data]
        assert p.outcome is not None
        if p.outcome.verdict == Verdict.DELIVERED:
            # Once for the acknowledgement, and at most once for each write whose fate nobody told.
            assert 1 <= accepted[p.data] <= 1 + p.unknown
        else:
            assert p.outcome.verdict == Verdict.REJECTED
            assert accepted[p.data] <= p.unknown
    counts = lanes.dispatcher.counts
    assert counts.requests == lanes.stream.requests
    assert counts.possible_duplicates == sum(p.unknown for p in exports)
    assert counts.retried == sum(max(p.attempts - 1 - p.unknown, 0) for p in exports if p.attempts)
    assert lanes.dispatcher.halt is None or lanes.halts


@given(st.permutations(range(8)), st.integers(0, 1000))
def test_d2_lanes_that_are_read_back_out_of_order(order: list[int], seed: int) -> None:
    """A profile whose partition key changes each time: any order of reading back ends in the order of changes."""
    rng = random.Random(seed)
    lanes = Lanes(Rule(Verdict.RETRY, nth=2, times=2), rng=rng, turns=lambda: rng.randrange(4))
    lane: list[Pending] = []
    for n in range(8):
        after = [(lane[-1].block.bucket, lane[-1].export.ordinal)] if lane else []
        lane.append(lanes.export("p", bucket=n, after=after))

    async def use(_: Lanes) -> None:
        for n in order:
            lanes.dispatcher.add([lane[n]])
            await lanes.turns(rng.randrange(4))
        await lanes.all_settled(8)

    lanes.run(use)
    assert lanes.settled == lane
