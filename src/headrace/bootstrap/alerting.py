"""Alerts beside an engine: looks at it every few seconds, keeps the list, tells the channels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from headrace import logs
from headrace.alerts.book import Book, listed
from headrace.alerts.channels import Notice, configured, mistakes
from headrace.alerts.rules import Alert, Limits, Rules, RunSeen
from headrace.alerts.telling import Desk
from headrace.clock import Clock, System
from headrace.core.times import from_ms
from headrace.errors import AlertError, ConfigurationError, RefusedError
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.hours import Hours
from headrace.runtimes.embedded.seen import seen
from headrace.settings import Settings

LOOK_S: Final = 5.0
STATES: Final = ("open", "all")


class Watching:
    """Looks at an engine, again and again.

    Args:
        engine: At work.
        settings: Limits and channels.
        clock: Time.
        failed_runs: Runs that failed and were not started again.
    """

    def __init__(
        self, engine: Engine, settings: Settings, clock: Clock,
        failed_runs: Callable[[], Sequence[RunSeen]] = tuple,
    ) -> None:  # fmt: skip
        self._engine, self._clock, self._failed_runs = engine, clock, failed_runs
        self._book = Book(settings.data_dir)
        self._rules = Rules(
            Limits(lag_s=settings.alert_lag_s, skip_percent=settings.alert_skip_percent), self._book.memory
        )
        self._desk = Desk(self._book, configured(settings, clock), clock)
        self._first = True

    @property
    def open(self) -> list[Alert]:
        """Alerts that are open, as of the last look."""
        return self._rules.memory.open

    def start(self) -> None:
        """Begin to tell, with what a former process could not."""
        self._desk.start()

    async def look(self) -> list[Alert]:
        """Look once; what was raised or recovered, told and kept."""
        changed = self._rules.look(seen(self._engine, self._clock.now_ms(), self._failed_runs()))
        if not changed and not self._first:
            return changed
        self._first = False
        flows = self._engine.flows
        notices = []
        for alert in changed:
            flow = flows.get(alert.flow)
            state = "raised" if alert.until_ms is None else "recovered"
            mail_to = flow.compiled.alerts.mail_to if flow is not None else None
            notices.append(Notice(id=f"{alert.id}-{state}", state=state, alert=alert, mail_to=mail_to))
        over = [alert for alert in changed if alert.until_ms is not None]
        await asyncio.to_thread(self._book.record, self._rules.memory, over, notices, self._desk.names)
        self._desk.tell(notices)
        return changed

    async def keep(self) -> None:
        """Look every few seconds, for as long as it is awaited; a failure is told of and ends nothing."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - alerts must not end with one of their own mistakes
                logs.get().error("alerts were not looked at", problem=type(error).__name__)
            await self._clock.sleep(LOOK_S)

    async def close(self) -> None:
        """Stop telling."""
        await asyncio.to_thread(self._desk.close)


def failed_runs(past: Sequence[Mapping[str, Any]]) -> list[RunSeen]:
    """Hourly runs that failed: in the last hour that is over, a flow delivered nothing and dead-lettered something.

    Args:
        past: Closed hours, the oldest first, as of ``Hours.answer``.
    """
    found = []
    if len(past) > 1:
        before, last = past[-2]["flows"], past[-1]
        for flow_id, flow in last["flows"].items():
            now, then = flow["totals"], before.get(flow_id, {"totals": {}})["totals"]
            failed = now["dead_lettered"] - then.get("dead_lettered", 0)
            if failed > 0 and now["delivered"] == then.get("delivered", 0):
                hour = from_ms(last["start_ms"])
                found.append(RunSeen(id=hour, flow=flow_id, problem=f"{failed:,} exports failed, none was delivered"))
    return found


def check_channels(settings: Settings) -> None:
    """Refuse settings of channels that do not go together.

    Raises:
        ConfigurationError: With every mistake.
    """
    found = mistakes(settings)
    if found:
        raise ConfigurationError(mistakes=found)


@contextlib.asynccontextmanager
async def alerting(engine: Engine, settings: Settings, hours: Hours | None = None) -> AsyncIterator[Watching]:
    """Watch an engine for as long as this is open; *hours* tell of its runs, where there are any.

    Raises:
        ConfigurationError: The settings of the channels do not go together.
    """
    check_channels(settings)
    watching = Watching(
        engine, settings, System(), lambda: failed_runs(hours.answer()["past"]) if hours is not None else []
    )  # fmt: skip
    watching.start()
    task = asyncio.create_task(watching.keep(), name="alerts")
    try:
        yield watching
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watching.close()


def answer(settings: Settings, wanted: Mapping[str, Any]) -> list[Alert]:
    """Answer the question for alerts: ``state`` (open, the default, or all) and ``limit``."""
    state = str(wanted.get("state") or "open")
    if state not in STATES:
        raise RefusedError(f"state {state[:40]!r} is not known; allowed: {', '.join(STATES)}")
    return listed(settings.data_dir, state, max(0, int(wanted.get("limit") or 100)))


def channels(settings: Settings) -> list[dict[str, Any]]:
    """The channels that the settings name, in words for whoever may see them: no secret, nor a part of one."""
    found: list[dict[str, Any]] = []
    for channel in configured(settings, System()):
        told: dict[str, Any] = {"name": channel.name}
        if channel.name == "webhook":
            told["signed"] = bool(settings.alert_webhook_key.reveal())
        elif channel.name == "e-mail":
            told |= {
                "server": f"{settings.alert_smtp_host}:{settings.alert_smtp_port}",
                "from": settings.alert_mail_from,
                "to": [each.strip() for each in settings.alert_mail_to.split(",") if each.strip()],
            }
        found.append(told)
    return found


def send_test(settings: Settings) -> dict[str, str]:
    """Send a test notice by every channel that the settings name.

    Returns:
        Channel to what went wrong; "" for one that took it.
    """
    clock = System()
    now_ms = clock.now_ms()
    alert = Alert(
        id=f"{now_ms}-test", kind="test", flow="", severity="info", title="a test of the alerts of Headrace",
        detail="Nothing is wrong: somebody called headrace alerts test.", what_to_do="Nothing is to be done.",
        since_ms=now_ms,
    )  # fmt: skip
    notice = Notice(id=f"{now_ms}-test", state="test", alert=alert)
    found = {}
    for channel in configured(settings, clock):
        try:
            channel.send(notice)
            found[channel.name] = ""
        except AlertError as error:
            found[channel.name] = error.problem
    return found
