"""The writer benchmark's contenders that need nothing extra, against faults, judged by what was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.writer.__main__ import run
from bench.writer.contenders import WARM_UP, make_records

from headrace.testing import Child, Script, Verdict, judge, random_faults, read_records, whole

FAULTS = random_faults(
    throttle=0.05,
    internal_failure=0.02,
    error_500=0.05,
    error_503=0.05,
    reset_before=0.05,
    reset_after=0.05,
    wrong_count=0.05,
    unparsable=0.05,
)


def verdict_of(name: str, folder: Path, script: Script, count: int, keys: int) -> Verdict:
    """Run a contender against a recording server."""
    record = folder / "records"
    with Child(streams={"s": 3}, script=script, record=record, keep=False) as child:
        report = run(name, child.url, count, keys, None)
        assert report is not None
    assert (report.acknowledged, report.failed) == (count, 0)
    expected: dict[str, list[bytes]] = {}
    for key, data in make_records(count, keys):
        expected.setdefault(key, []).append(data)
    return judge({"s": expected}, (r for r in read_records(record) if not r.key.startswith("warm-")), identify=whole)


def test_records_are_what_the_row_says() -> None:
    """Records have 650 bytes, are all different, and use so many keys."""
    records = make_records(1000, 10)
    assert {len(data) for _, data in records} == {650}
    assert len({data for _, data in records}) == 1000
    assert len({key for key, _ in records}) == 10
    assert WARM_UP > 0


@pytest.mark.slow
def test_headrace_under_every_fault(tmp_path: Path) -> None:
    """With many faults at once, records shuffled within requests, nothing is lost and no key loses its order."""
    verdict = verdict_of("headrace", tmp_path, Script(faults=FAULTS, seed=11, shuffle=True), 5000, 700)
    assert verdict.ok, verdict
    assert verdict.broken_replays.count == 0, verdict
    assert verdict.duplicates.count > 0, "some fates were unknown"


@pytest.mark.slow
def test_the_judge_sees_what_boto3_does(tmp_path: Path) -> None:
    """The usual batches with retries lose the order under throttles: the judge is not blind."""
    verdict = verdict_of("boto3", tmp_path, Script(faults=random_faults(throttle=0.05), seed=11), 5000, 50)
    assert verdict.lost.count == 0
    assert verdict.disorder.count > 0
