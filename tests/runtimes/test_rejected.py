"""A refusal for good is stored before anything that comes after it about the profile is written (I4)."""

from __future__ import annotations

import pytest

from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import MemoryStream, Rule
from tests.runtimes.road import Lines, MemoryDisk, PowerCut, Road, flow, snapshot, update

MERGED = [
    update(0, "email:a", vip=True),
    update(1, "email:a", vip=True),
    update(2, "email:b", vip=True),
    update(3, "email:b", vip=True),
    update(4, "email:b", "email:a", vip=True),
    update(5, "email:a", vip=True),
]
ALONE = [update(n, "email:a", vip=True) for n in range(6)]


@pytest.mark.parametrize("lines", [ALONE, MERGED], ids=["alone", "merged"])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_i4_a_refused_record_taken_after_a_power_cut_comes_before_its_followers(
    lines: list[bytes], number: int
) -> None:
    """Wherever the power is cut: the record that was refused once, and would be taken now, never comes late."""
    text = b'"n":%d' % number
    cut, dead, taken = 1, 0, 0
    while True:
        road = Road(
            MemoryDisk(), Lines(lines, sizes=lambda: 3), snapshot(flow(metadata=True)), limits=Limits(records=3)
        )
        stream = road.streams["f"] = MemoryStream([Rule(Verdict.REJECTED, contains=text, times=1, code="Once")])
        whole = False
        try:
            road.run(cut=cut)
            whole = True
        except PowerCut:
            road.run()
        verdict = road.judged()
        assert not verdict.disorder.count, (cut, verdict, [record.data for record in stream.accepted])
        if any(text in record.data for record in stream.accepted):
            taken += 1
        else:
            dead += 1
        if whole:
            break
        cut += 1
    assert dead > 0
    assert taken > 0, "the power was never cut between the refusal and its storing"
