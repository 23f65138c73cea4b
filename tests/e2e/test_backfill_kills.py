"""Backfill with live traffic on the same profiles and SIGKILLs in between, judged on the stream.

Everybody who is a member at the end was exported, and nobody with an older state after a newer one: each update of a
person carries a number that grows. A tenth of the million that ``make soak`` takes.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest

from headrace.testing import Child, read_records
from tests.e2e.lives import OUTSIDE, Lives, Stream
from tests.e2e.updates import STREAMS, configuration
from tests.soak.results import note

_BODY: Final = (
    b'{"identityMap":{"ECID":[{"id":"%d"}]},"web":{"n":%d},"segmentMembership":{"ups":{"aud-2":{"status":"%b",'
    b'"lastQualificationTime":"2026-01-%02dT00:00:00Z"}}}}'
)
_SAID: Final = re.compile(rb'"n":(\d+).*"status":"(realized|exited)".*"ecid":\[\{"id":"(\d+)"\}\]')


class Size(NamedTuple):
    """Profiles that qualified before, live updates beside the backfill, kills."""

    profiles: int
    live: int
    kills: int


class Person:
    """What a person's updates said last."""

    def __init__(self) -> None:
        self.number, self.member, self.day = 0, False, 1


def updates(people: list[Person], who: Iterator[int], rng: random.Random) -> Iterator[bytes]:
    """An update of each: a number one higher, and three in four times in the audience."""
    for index in who:
        person = people[index]
        person.number += 1
        if rng.random() < 0.4 or person.number == 1:
            person.member, person.day = rng.random() < 0.75, min(28, person.day + 1)
        status = b"realized" if person.member else b"exited"
        yield _BODY % (index, person.number, status, person.day)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_backfill_with_live_traffic_and_kills(tmp_path: Path, *, soak: bool) -> None:
    """Every member exported, none with an older state after a newer one."""
    size = Size(1_000_000, 100_000, 12) if soak else Size(100_000, 10_000, 4)
    rng, begun_s = random.Random(9), time.monotonic()
    people = [Person() for _ in range(size.profiles)]
    source, recording = tmp_path / "input.jsonl", tmp_path / "received"
    with source.open("wb") as file:
        file.writelines(line + b"\n" for line in updates(people, iter(range(size.profiles)), rng))
    with Child(streams=dict.fromkeys(STREAMS.values(), 4), record=recording, keep=False) as kinesis:
        whole = configuration(kinesis.url)
        config = tmp_path / "config.json"
        config.write_bytes(msgspec.json.encode(whole | {"flows": []}))
        stream = Stream(recording)
        lives = Lives(tmp_path, stream)
        assert lives.finish().returncode == 0
        assert stream.read() == 0
        with source.open("ab") as file:
            live = (rng.randrange(size.profiles) for _ in range(size.live))
            file.writelines(line + b"\n" for line in updates(people, live, rng))
        second = whole["flows"][1]
        headrace = second["transformations"][0]["params"]["headrace"]
        headrace["triggers"] = dict.fromkeys(headrace["triggers"], True)
        config.write_bytes(msgspec.json.encode(whole | {"flows": [second]}))
        for _ in range(size.kills):
            print(lives.kill(OUTSIDE, int(size.profiles / size.kills / 3 * (0.5 + rng.random()))))
        final = lives.finish()
        assert final.returncode == 0, final.stdout + final.stderr
        (run,) = msgspec.json.decode(lives.ask("backfill", "status", "--json").stdout)

    assert (run["state"], run["scanned"]) == ("done", size.profiles)
    said: dict[int, tuple[int, bool]] = {}
    seen: set[bytes] = set()
    for record in read_records(recording):
        if record.data in seen:
            continue  # sent again after a kill
        seen.add(record.data)
        found = _SAID.search(record.data)
        assert found is not None, record.data
        number, who = int(found[1]), int(found[3])
        assert number >= said.get(who, (0, False))[0], "an older state after a newer one"
        said[who] = (number, found[2] == b"realized")
    for index, person in enumerate(people):
        if person.member:
            assert said.get(index) == (person.number, True), f"person {index} was not told of as they are"
        elif index in said:
            assert not said[index][1], f"person {index} has left, and that was not told"
    duplicates = sum(death.again for death in lives.deaths)
    figures = (
        f"{size.profiles:,} profiles, {size.live:,} live updates, {size.kills} kills: {len(said):,} people told of, "
        f"{len(seen):,} messages, {run['exported']:,} by the backfill, {duplicates:,} duplicates before the last "
        f"life, 0 members untold, 0 older after newer, {time.monotonic() - begun_s:.0f} s"
    )
    print(figures)
    if soak:
        note("backfill with kills", figures, size.kills, 0)
