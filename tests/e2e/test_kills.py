"""I2, I3, I4 under SIGKILL: a run killed at every seam of the road and restarted loses nothing and keeps the order.

What the stream received is judged against an independent fold of the input; no counter of ours is believed. The
counters are then held to what the stream received.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from headrace.testing import (
    Child,
    Fault,
    Script,
    export_id,
    read_records,
)  # fmt: skip
from tests.e2e.killed import SEAMS
from tests.e2e.lives import OUTSIDE, Lives, Stream
from tests.e2e.updates import PLANS, STREAMS, judged, write_configuration, write_updates

IN_FLIGHT: Final = 8
RECORDS: Final = 250
BOUND: Final = len(PLANS) * (IN_FLIGHT * RECORDS + 2 * 2000)
"""Most messages that a kill may send again: in flight, and settlements that one commit takes, with those that
come during it (docs/cli.md)."""


class Size(NamedTuple):
    """How large a run is: updates, people (three profiles each), most new messages before a kill, where to die."""

    updates: int
    people: int
    new: int
    places: list[str]


KILLS: Final = Size(200_000, 7000, 2500, [OUTSIDE, *SEAMS, OUTSIDE] * 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_lose_nothing_and_keep_the_order(tmp_path: Path) -> None:
    """Every message of the fold is received, in order per profile and through merges; repeats stay within bounds."""
    size = KILLS
    begun = time.monotonic()
    lines = write_updates(tmp_path / "input.jsonl", 7, size.updates, size.people)
    recording = tmp_path / "received"
    rng = random.Random(11)
    # Single records are throttled all the while, so that order is kept under partial failures too.
    script = Script(faults=(Fault(kind="throttle", rate=0.003),), seed=5)
    with Child(streams=dict.fromkeys(STREAMS.values(), 4), script=script, record=recording, keep=False) as kinesis:
        write_configuration(tmp_path / "config.json", kinesis.url, in_flight=IN_FLIGHT, records=RECORDS)
        stream = Stream(recording)
        lives = Lives(tmp_path, stream)
        for place in size.places:
            print(lives.kill(place, 1 + int(size.new * rng.random())))
        final = lives.finish()
        assert final.returncode == 0, final.stdout + final.stderr
        lived_s = time.monotonic() - begun
        received = stream.read()
        status = msgspec.json.decode(lives.ask("status", "--json").stdout)
        once_more = lives.finish()
        assert once_more.returncode == 0, once_more.stderr
        assert stream.read() == received, "a finished run sent something again"

    for death in lives.deaths:
        assert death.locked, death
        assert death.new >= 1, death
    verdict = judged(lines, recording)
    assert status["totals"]["joined"] > len(lines) // 500, "too few merges to show anything"
    print(verdict)
    per_kill = [after.again for after in lives.deaths[1:]]
    print(
        f"{len(lives.deaths)} kills, {verdict.duplicates.count} duplicates (at most {max(per_kill)} after one kill), "
        f"{verdict.lost.count} lost, {verdict.disorder.count} out of order, {lived_s:.0f} s"
    )
    assert verdict.ok, verdict
    assert verdict.duplicates.count <= len(size.places) * BOUND
    counted = sum(flow["possible_duplicates"] for flow in status["totals"]["flows"].values())
    assert verdict.duplicates.count <= counted, "more was sent again than was counted as possible duplicates"
    _hold_the_counters(status, size, recording)


def _hold_the_counters(status: dict[str, Any], size: Size, recording: Path) -> None:
    """The totals say what the stream received: everything once, whatever was sent again."""
    received = {flow: Counter[Hashable]() for flow in PLANS}
    flows = {stream: flow for flow, stream in STREAMS.items()}
    said: dict[Hashable, set[Hashable]] = {}
    for record in read_records(recording):
        named = export_id(record.data)
        received[flows[record.stream]][named] += 1
        said.setdefault(named, set()).add(record.data)
    assert all(len(different) == 1 for different in said.values()), "an export was written in two versions"
    totals = status["totals"]
    assert totals["received"] == totals["accepted"] == size.updates
    for flow, counts in received.items():
        counted = totals["flows"][flow]
        assert counted["exported"] == counted["delivered"] == len(counts)
        assert counted["dead_lettered"] == 0
