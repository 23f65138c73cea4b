"""Backfill with live traffic on the same profiles and SIGKILLs in between, judged on the stream.

Everybody who is a member is exported, and nobody with an older state after a newer one: each update writes a number
that no other one has, so that the independent fold tells which state of whom a message shows. ``make soak`` takes a
million profiles, ``make test`` a tenth of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from headrace.testing import Child, FlowPlan, read_records
from tests.e2e.lives import OUTSIDE, Lives, Stream
from tests.e2e.states import Judged, States
from tests.e2e.updates import STREAMS, configuration
from tests.soak.results import note

PLAN: Final = FlowPlan([("ups", "aud-2"), ("ups", "aud-3")], ["web.n"], scope="mapped")
PLACES: Final = [
    OUTSIDE, "after commit before sync", "after send before settlement", "after settlement before it is stored",
    "before the commit of settlements", "after the commit of settlements",
]  # fmt: skip
BACKLOG: Final = 30_000
"""More messages than a run makes before the stream takes some: so far before the end it is still under way."""
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Size(NamedTuple):
    """Profiles that are there before, updates of them beside the backfill, kills."""

    profiles: int
    live: int
    kills: int


def updates(size: Size, rng: random.Random) -> Iterator[bytes]:
    """One of each profile, then the live ones: numbers, audiences entered and left, identities, a few joins."""
    for order in range(size.profiles):
        yield _update(order, {"ECID": [{"id": f"{order}"}]}, rng, moves=0.9, stays=0.8)
    for order in range(size.profiles, size.profiles + size.live):
        who = rng.randrange(size.profiles)
        identities = {"ECID": [{"id": f"{who}"}]}
        chance = rng.random()
        if chance < 0.1:
            identities["Email"] = [{"id": f"{who}@example.com"}]
        elif chance < 0.12:
            identities["ECID"].append({"id": f"{who ^ 1}"})
        yield _update(order, identities, rng, moves=0.3, stays=0.5)


def _update(
    order: int, identities: dict[str, list[dict[str, str]]], rng: random.Random, *, moves: float, stays: float
) -> bytes:
    said: dict[str, Any] = {"identityMap": identities, "web": {"n": order}}
    if rng.random() < moves:
        status = "realized" if rng.random() < stays else "exited"
        since = f"{_START + timedelta(seconds=order):%Y-%m-%dT%H:%M:%SZ}"
        membership = {"lastQualificationTime": since, "status": status}
        said["segmentMembership"] = {"ups": {rng.choice(("aud-2", "aud-2", "aud-3")): membership}}
    return msgspec.json.encode(said) + b"\n"


class Traffic:
    """Appends the live updates to the input while the stream grows: half of its way in step with it."""

    def __init__(self, source: Path, lines: list[bytes], messages: int) -> None:
        self._source, self._lines, self._messages = source, lines, messages
        self.given = 0

    def keep_up(self, received: int) -> None:
        """Give the share that is due when so many messages were received."""
        self._give(min(len(self._lines), len(self._lines) * received // self._messages))

    def give_rest(self) -> None:
        """Give what is left."""
        self._give(len(self._lines))

    def _give(self, upto: int) -> None:
        if upto > self.given:
            with self._source.open("ab") as file:
                file.write(b"".join(self._lines[self.given : upto]))
            self.given = upto


def flows(whole: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the plan's flow, alone."""
    second = whole["flows"][1]
    second["transformations"][0]["params"]["headrace"]["triggers"] = dict.fromkeys(PLAN.triggers, True)
    return whole | {"flows": [second]}


def the_run(lives: Lives) -> dict[str, Any]:
    """The only run there is."""
    (run,) = msgspec.json.decode(lives.ask("backfill", "status", "--json").stdout)
    assert isinstance(run, dict)
    return run


def live_through(lives: Lives, stream: Stream, traffic: Traffic, size: Size, members: int) -> list[float]:
    """Start the backfill and kill it as often as asked for; the share of profiles that it had seen at each kill."""
    rng = random.Random(5)
    shares: list[float] = []
    lives.follow, lives.meanwhile = True, traffic.keep_up
    for number in range(size.kills):
        upto = int((members - BACKLOG) * (number + 1 - 0.5 * rng.random()) / size.kills)
        print(lives.kill(PLACES[number % len(PLACES)], max(200, upto - stream.read())))
        run = the_run(lives)
        shares.append(run["scanned"] / size.profiles)
        assert run["state"] == "running", f"it was at its end before kill {number + 1}: {run}"
        assert shares == sorted(shares), f"it went back: {shares}"
    assert traffic.given > size.live // 4, "too little live traffic beside it"
    lives.follow = False
    traffic.give_rest()
    final = lives.finish()
    assert final.returncode == 0, final.stdout + final.stderr
    return shares


def judged(size: Size, lines: list[bytes], recording: Path) -> tuple[States, Judged]:
    """What the stream held, by the fold."""
    states = States(PLAN)
    for order, line in enumerate(lines):
        states.take(line, live=order >= size.profiles)
    name = STREAMS["second"]
    return states, states.judge(record for record in read_records(recording) if record.stream == name)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_backfill_with_live_traffic_and_kills(tmp_path: Path, *, soak: bool) -> None:
    """Every member exported, none with an older state after a newer one."""
    size = Size(1_000_000, 100_000, 12) if soak else Size(100_000, 10_000, 4)
    lines = list(updates(size, random.Random(9)))
    members = sum(b"realized" in line for line in lines[: size.profiles])
    source, recording, config = tmp_path / "input.jsonl", tmp_path / "received", tmp_path / "config.json"
    source.write_bytes(b"".join(lines[: size.profiles]))
    with Child(streams=dict.fromkeys(STREAMS.values(), 4), record=recording, keep=False) as kinesis:
        whole = flows(configuration(kinesis.url))
        config.write_bytes(msgspec.json.encode(whole | {"flows": []}))
        stream = Stream(recording)
        lives = Lives(tmp_path, stream)
        assert lives.finish(1000).returncode == 0
        loaded_s = lives.cpu_s
        assert stream.read() == 0
        config.write_bytes(msgspec.json.encode(whole))
        begun_s = time.monotonic()
        traffic = Traffic(source, lines[size.profiles :], members)
        shares = live_through(lives, stream, traffic, size, members)
        ran_s, took_s = lives.cpu_s - loaded_s, time.monotonic() - begun_s
        run = the_run(lives)

    states, verdict = judged(size, lines, recording)
    assert states.joins > size.live // 200, "too few joins to show anything"
    figures = (
        f"{size.profiles:,} profiles, {members:,} members when it began, {size.live:,} live updates beside it, "
        f"{states.joins:,} joins, {size.kills} kills with {', '.join(f'{share:.0%}' for share in shares)} looked at: "
        f"{verdict.messages:,} messages, {run['exported']:,} by the backfill, {verdict.duplicates:,} duplicates, "
        f"{len(verdict.lost)} lost, {len(verdict.disorder)} out of order, {len(verdict.unexpected)} unexpected; "
        f"CPU: loaded in {loaded_s:.1f} s, backfill and live traffic {ran_s:.1f} s, wall {took_s:.0f} s"
    )
    print(figures)
    if soak:
        note("backfill with kills", figures, size.profiles, len(verdict.problems))
    assert not verdict.problems, verdict.problems[:5]
    assert run["state"] == "done"
    assert size.profiles - states.joins <= run["scanned"] <= size.profiles
    assert run["scanned"] == run["exported"] + sum(run["excluded"].values())
