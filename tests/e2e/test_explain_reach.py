"""Explanations reach over all that is kept: whichever input is asked about, and however many there are.

In `make soak` a million updates; what each way to ask costs is noted, and held to the two seconds that are promised.
"""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from bench.road.updates import configuration, updates

from headrace.testing import Child, read_records
from headrace.testing.recording import Written
from tests.cli.commands import HEADRACE, environment, headrace
from tests.soak.results import note

PROMISED_S: Final = 2.0


def cpu_s() -> float:
    """What the commands that have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Asked:
    """Asks the command on a folder, and notes what each way to ask took at most, in seconds of wall and processor."""

    def __init__(self, data: Path, *, cold: bool) -> None:
        self._data, self._cold = data, cold
        self.most: dict[str, tuple[float, float]] = {}

    def ask(self, way: str, *arguments: str) -> Any:
        """The explanation."""
        begun_s, used_s = time.monotonic(), cpu_s()
        said = headrace("explain", *arguments, "--json", data=self._data, cold=self._cold)
        took = (time.monotonic() - begun_s, cpu_s() - used_s)
        assert said.code == 0, said
        self.most[way] = max(self.most.get(way, took), took)
        return said.json


def chosen(recording: Path, places: Sequence[float]) -> list[Written]:
    """Records of the flow with metadata, by parts of the way from its first one to its last."""

    def records() -> Iterator[Written]:
        return (record for record in read_records(recording) if record.stream == "s1")

    count = sum(1 for _ in records())
    wanted = {int((count - 1) * part) for part in places}
    return [record for index, record in enumerate(records()) if index in wanted]


def told(asked: Asked, record: Written) -> None:
    """Every way to ask about a record leads to the input that made it."""
    message = msgspec.json.decode(record.data)
    export_id = message["_headrace"]["exportId"]
    by_place = asked.ask("shard and sequence", "--shard", record.shard, "--sequence", record.sequence)
    by_export = asked.ask("export id", "--export", export_id)
    assert by_place == by_export
    assert by_place["unknown"] == []
    (flow,) = (each for each in by_place["flows"] if each["export_id"] == export_id)
    assert (flow["export_id"], flow["message"].encode()) == (export_id, record.data)
    ordinal, at = by_place["input"]["ordinal"], by_place["input"]["time"]
    namespace, entries = next(iter(message["identityMap"].items()))
    who = f"{namespace}:{entries[0]['id']}"
    assert asked.ask("identity", "--identity", who)["input"]["ordinal"] >= ordinal
    then = asked.ask("identity at a time", "--identity", who, "--at", at)["input"]
    assert then["ordinal"] >= ordinal  # its batch may hold another one about the person
    assert then["time"] == at


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_input_that_is_kept_can_be_explained(tmp_path: Path, *, soak: bool) -> None:
    """The first, the last and some between, by place, export, person, and person at a time."""
    count, places = (1_000_000, (0.0, 0.3, 0.7, 1.0)) if soak else (3_000, (0.0, 1.0))
    recording, data, config = tmp_path / "received", tmp_path / "data", tmp_path / "config.yaml"
    with (tmp_path / "input.jsonl").open("wb") as file:
        file.writelines(line + b"\n" for line in updates(count, count // 10, 3))
    with Child(streams={"s1": 4, "s2": 4}, record=recording, keep=False) as kinesis:
        config.write_text(configuration(kinesis.url))
        begun_s = time.monotonic()
        ran = subprocess.run(
            [HEADRACE, "run", "-c", config, "-i", tmp_path / "input.jsonl", "-q"], env=environment(data),
            stdin=subprocess.DEVNULL, timeout=2400, check=False,
        )  # fmt: skip
        assert ran.returncode == 0
        took_s = time.monotonic() - begun_s
    asked = Asked(data, cold=soak)  # where it is measured, its start counts
    for record in chosen(recording, places):
        told(asked, record)
    totals = headrace("status", "--json", data=data).json["totals"]
    exported = sum(flow["exported"] for flow in totals["flows"].values())
    assert totals["received"] == count
    assert exported > count / 2
    if soak:
        figures = (
            f"{totals['received']:,} inputs, {exported:,} exports, filled in {took_s:.0f} s; wall and CPU at most: "
        )
        figures += ", ".join(f"by {way} {wall:.2f} s, {cpu:.2f} s" for way, (wall, cpu) in asked.most.items())
        print(figures)
        slow = sum(cpu > PROMISED_S for _, cpu in asked.most.values())
        note("explain over all that is kept", figures, len(places) * len(asked.most), slow)
        assert not slow
