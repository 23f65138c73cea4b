"""I2, I3, I4, I5 under SIGKILL while shards throttle: nothing is lost, the order is kept, repeats are counted.

The rules are those of test_kills.py. The stream's shards take a small part of what is offered, one of them a tenth of
that again, so that every process is killed with its shards limited and a backlog on disk. The flows stop the source
at a backlog of a mebibyte, so that there are updates to decide in every life.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final

import msgspec
import pytest

from headrace.testing import Child, Quota, Script
from tests.e2e.killed import SEAMS
from tests.e2e.lives import OUTSIDE, Lives, Stream
from tests.e2e.updates import PLANS, STREAMS, judged, write_configuration, write_updates
from tests.soak.results import note

IN_FLIGHT: Final = 8
RECORDS: Final = 100
BOUND: Final = len(PLANS) * (IN_FLIGHT * RECORDS + 2 * 2000)
"""See test_kills.py."""
QUOTA: Final = Quota(records_per_s=150.0, burst_s=0.5, factors={"shardId-000000000001": 0.1})
KILLS: Final = 10
SOAK_KILLS: Final = 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_under_throttling_lose_nothing_and_keep_the_order(soak: bool, tmp_path: Path) -> None:
    """Killed from outside and at every seam in turn, each time after some messages that are new."""
    kills = SOAK_KILLS if soak else KILLS
    begun = time.monotonic()
    rng = random.Random(19)
    lines = write_updates(tmp_path / "input.jsonl", 23, (1200 if soak else 2000) * kills, 60 * kills)
    recording = tmp_path / "received"
    places = [(OUTSIDE, *SEAMS)[n % (1 + len(SEAMS))] for n in range(kills)]
    with Child(
        streams=dict.fromkeys(STREAMS.values(), 4), script=Script(quota=QUOTA, seed=5), record=recording, keep=False
    ) as kinesis:
        _stopping(write_configuration(tmp_path / "config.json", kinesis.url, in_flight=IN_FLIGHT, records=RECORDS))
        stream = Stream(recording)
        lives = Lives(tmp_path, stream)
        refused: list[int] = []
        for place in places:
            before = _throttled(kinesis)
            print(lives.kill(place, 1 + int(200 * rng.random())))
            refused.append(_throttled(kinesis) - before)
        backlog = msgspec.json.decode(lives.ask("status", "--json").stdout)
        kinesis.follow(Script())
        final = lives.finish()
        assert final.returncode == 0, final.stdout + final.stderr
        lived_s = time.monotonic() - begun
        received = stream.read()
        status = msgspec.json.decode(lives.ask("status", "--json").stdout)
        assert lives.finish().returncode == 0
        assert stream.read() == received, "a finished run sent something again"
    waiting = sum(flow["exported"] - flow["delivered"] for flow in backlog["totals"]["flows"].values())
    assert waiting > 100, "nothing waited when the last process was killed"
    assert sum(count > 0 for count in refused) > 0.8 * kills, refused
    for death in lives.deaths:
        assert death.locked, death
        assert death.new >= 1, death

    verdict = judged(lines, recording)
    most = max(death.again for death in lives.deaths)
    figures = (
        f"{len(lines):,} updates, {verdict.expected:,} messages, {sum(refused):,} records throttled, "
        f"{verdict.duplicates.count} duplicates (at most {most} after one kill), "
        f"{verdict.lost.count} lost, {verdict.disorder.count} out of order, {waiting:,} waiting at the last kill, "
        f"{lived_s:.0f} s"
    )
    print(f"{kills} kills: {figures}")
    if soak:
        note("kills while throttled", figures, kills, verdict.lost.count + verdict.disorder.count)
    assert verdict.ok, verdict
    assert verdict.duplicates.count <= kills * BOUND
    counted = sum(flow["possible_duplicates"] for flow in status["totals"]["flows"].values())
    assert verdict.duplicates.count <= counted, "more was sent again than was counted as possible duplicates"
    for flow in status["totals"]["flows"].values():
        assert flow["exported"] == flow["delivered"]
        assert flow["dead_lettered"] == 0


def _stopping(path: Path) -> None:
    """Let the flows of a configuration stop the source."""
    configuration = msgspec.json.decode(path.read_bytes())
    for flow in configuration["flows"]:
        flow["transformations"][0]["params"]["headrace"] |= {"overflow": "stop-sources", "diskBudgetBytes": 1 << 20}
    path.write_bytes(msgspec.json.encode(configuration))


def _throttled(kinesis: Child) -> int:
    return sum(kinesis.counts().failed.values())
