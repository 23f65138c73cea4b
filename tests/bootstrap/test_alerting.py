"""An engine is looked at: what it shows becomes alerts, and they are listed with and without it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from headrace import settings
from headrace.alerts.rules import Alert
from headrace.bootstrap import alerting
from headrace.bootstrap.alerting import Watching
from headrace.core.flow import FlowAlerts
from headrace.destinations.base import Verdict
from headrace.destinations.memory import Rule
from headrace.errors import ConfigurationError, RefusedError
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.seen import seen
from tests.alerts.logged import logged
from tests.runtimes.living import live, passes, quiet
from tests.runtimes.road import MemoryDisk, Road, flow, members, refuse, snapshot

QUIET = {"alert_log": "no"}


def looks(road: Road, folder: Path, found: list[list[str]], **given: str) -> object:
    """An act that looks at the engine once, as another process each time, and notes what it came to."""
    loaded = settings.load(environ={}, data_dir=folder, **(QUIET | given))

    async def look(engine: Engine) -> None:
        watching = Watching(engine, loaded, road.clock)
        changed = await watching.look()
        found.append([f"{a.kind} {a.flow} {'raised' if a.until_ms is None else 'recovered'}" for a in changed])

    return look


def test_an_engine_in_trouble_is_told_of_over_restarts(tmp_path: Path) -> None:
    """A halted flow, one that is paused, one with its own lag, dead letters; once each, though each look is new."""
    halted, paused, slow = flow("h"), flow("p", paused=True), flow("s", alerts=FlowAlerts(lag_s=60))
    road = quiet(MemoryDisk(), members(20, 5), snapshot(halted, paused, slow))
    refuse(road, Rule(Verdict.HALT, code="AccessDenied", detail="no"), flow_id="h")
    refuse(road, Rule(Verdict.RETRY, code="Throttled"), flow_id="s")
    found: list[list[str]] = []
    look = looks(road, tmp_path, found)
    live(road, look, look)  # type: ignore[arg-type]
    assert found[0] == ["destination-halted h raised", "flow-paused p raised"]
    assert found[1] == []
    loaded = settings.load(environ={}, data_dir=tmp_path)
    assert {a.kind for a in alerting.answer(loaded, {})} == {"destination-halted", "flow-paused"}


def test_what_an_engine_shows(tmp_path: Path) -> None:
    """Ages, counts and reasons are those of its totals; a flow that settles all has no oldest export."""
    road = quiet(MemoryDisk(), members(20, 5), snapshot(flow("p", paused=True), flow("w")))
    shown = live(road, passes(road, 100), lambda engine: seen(engine, road.clock.now_ms()))[-1]
    waits, well = sorted(shown.flows, key=lambda each: each.id)
    assert (waits.paused, waits.pending, waits.exported) == (True, 20, 20)
    assert waits.oldest_ms >= 100_000
    assert (well.oldest_ms, well.pending, well.exported, well.skipped) == (0, 0, 20, {})


def test_what_is_asked_wrongly_is_refused(tmp_path: Path) -> None:
    """A state that is none, and settings that do not go together."""
    loaded = settings.load(environ={}, data_dir=tmp_path)
    with pytest.raises(RefusedError, match="allowed: open, all"):
        alerting.answer(loaded, {"state": "shut"})
    with pytest.raises(ConfigurationError, match="ALERT_MAIL_FROM"):
        alerting.check_channels(settings.load(environ={}, data_dir=tmp_path, alert_smtp_host="mail"))


def test_a_look_that_fails_ends_nothing(tmp_path: Path) -> None:
    """It is told of, and the next look is taken."""
    road = quiet(MemoryDisk(), [])
    looked: list[int] = []

    def broken() -> list[object]:
        looked.append(1)
        raise ValueError

    async def keep(engine: Engine) -> None:
        loaded = settings.load(environ={}, data_dir=tmp_path)
        watching = Watching(engine, loaded, road.clock, broken)  # type: ignore[arg-type]
        task = asyncio.create_task(watching.keep())
        while len(looked) < 2:
            await asyncio.sleep(0)
            road.clock.advance(alerting.LOOK_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with logged() as said:
        live(road, keep)
    assert "alerts were not looked at" in said.text


def test_alerts_are_plain_values() -> None:
    """What the console reads of each."""
    assert {"id", "kind", "flow", "severity", "title", "detail", "what_to_do", "since_ms", "until_ms"} <= set(
        Alert.__struct_fields__
    )


def test_an_hour_that_delivered_nothing_and_failed_something_is_a_failed_run() -> None:
    """Only the last hour that is over counts, and only where the one before it is known."""

    def hour(start_ms: int, delivered: int, dead: int) -> dict[str, Any]:
        return {"start_ms": start_ms, "flows": {"f": {"totals": {"delivered": delivered, "dead_lettered": dead}}}}

    first, failed, well = hour(0, 5, 1), hour(3_600_000, 5, 4), hour(7_200_000, 6, 9)
    assert alerting.failed_runs([failed]) == []
    (run,) = alerting.failed_runs([first, failed])
    assert (run.id, run.flow, run.problem) == (
        "1970-01-01T01:00:00.000Z", "f", "3 exports failed, none was delivered",
    )  # fmt: skip
    assert alerting.failed_runs([first, failed, well]) == []


def test_channels_are_told_without_secrets(tmp_path: Path) -> None:
    """Which there are, by whom mails are sent and to whom; neither the webhook's URL nor a part of it."""
    assert alerting.channels(settings.load(environ={}, data_dir=tmp_path, **QUIET)) == []
    loaded = settings.load(
        environ={}, data_dir=tmp_path, alert_webhook_url="https://hooks.example.com/T0KEN",
        alert_webhook_key="k" * 32, alert_smtp_host="mail.example.com", alert_smtp_password="s3cret",
        alert_mail_from="a@example.com", alert_mail_to="b@example.com, c@example.com",
    )  # fmt: skip
    found = alerting.channels(loaded)
    assert found == [
        {"name": "log"},
        {"name": "webhook", "signed": True},
        {
            "name": "e-mail", "server": "mail.example.com:587", "from": "a@example.com",
            "to": ["b@example.com", "c@example.com"],
        },
    ]  # fmt: skip
    assert not any(each in str(found) for each in ("hooks", "T0KEN", "k" * 32, "s3cret"))
