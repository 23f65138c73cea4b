"""Alerts and the audit log."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.calls import call
from headrace.console.engine import Answer
from headrace.console.visit import Console, Visit, page
from headrace.control import accounts, activity
from headrace.control import alerts as control_alerts
from headrace.control.access import Permission
from headrace.control.resources import Kind

from .destinations import live_by_flow

_LINES: Final = 50
_MOST: Final = 100


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/alerts", alerts),
        page(console, "/alerts/bell", bell),
        page(console, "/alerts/read", mark_read, change=True),
        page(console, "/audit", audit),
    ]


def alerts(visit: Visit) -> Response:
    """What needs somebody now, as the engine's status shows it, and the alerts it has raised."""
    status, raised = visit.ask("status", brief=True), _raised(visit, "all", _LINES)
    names = {row.id: row.name for row in overview.rows(visit.control, visit.caller)}
    live = live_by_flow(status)
    halted = [(flow_id, each) for flow_id, each in live.items() if each.get("halted")]
    paused = [(flow_id, each) for flow_id, each in live.items() if each.get("paused")]
    return visit.page(
        "alerts.html", stands=status, halted=halted, paused=paused, names=names, raised=raised,
        open_alerts=_open(raised), unread=sum(not each["read"] for each in _open(raised)), channels=channels(visit),
        dead=[(flow_id, each) for flow_id, each in live.items() if each.get("dead_lettered")],
    )  # fmt: skip


def _open(raised: Answer) -> list[dict[str, Any]]:
    """Those that are not over."""
    return [each for each in raised.value or () if not each.get("until_ms")]


def bell(visit: Visit) -> Response:
    """How many open alerts were not read, for the top of every page; nothing without any, or when nobody tells."""
    found = _raised(visit, "open", _MOST).value or ()
    return visit.page("bell.html", count=sum(not each["read"] for each in found), read=len(found))


def mark_read(visit: Visit) -> Response:
    """Note that whoever asks has read what is open."""
    engine.tried(lambda: control_alerts.mark_read(visit.control, visit.runtime, visit.caller))
    return visit.redirect("/ui/alerts")


def channels(visit: Visit) -> Answer:
    """Who is told of alerts."""
    return engine.tried(lambda: control_alerts.list_channels(visit.control, visit.runtime, visit.caller))


def _raised(visit: Visit, state: str, limit: int) -> Answer:
    return engine.tried(
        lambda: control_alerts.list_alerts(visit.control, visit.runtime, visit.caller, state=state, limit=limit)
    )


def audit(visit: Visit) -> Response:
    """Who changed what, the latest first."""
    before = visit.query("before")
    whole = visit.query("organisation") == "true" and visit.may(Permission.MANAGE_ACCESS)
    found = activity.list_activity(
        visit.control, visit.caller, subject=visit.query("subject") or None, action=visit.query("action") or None,
        kind=visit.query("kind") or None, resource_id=visit.query("resource") or None,
        before=int(before) if before.isdecimal() else None, limit=_LINES, organisation=whole,
    )  # fmt: skip
    query = {"kind": visit.query("kind"), "subject": visit.query("subject"), "resourceId": visit.query("resource")}
    asked = urlencode({name: value for name, value in query.items() if value})
    return visit.page(
        "audit.html", calls=[call(visit, "GET", f"/headrace/audit?{asked}".rstrip("?"))],
        lines=found.items, before=found.before, people=_people(visit),
        kinds=[each.value for each in Kind],
        chosen={name: visit.query(name) for name in ("subject", "action", "kind", "resource", "organisation")},
    )  # fmt: skip


def _people(visit: Visit) -> dict[str, str]:
    """Account ids to names, for those who may read them; others see ids, and their own name."""
    known = {visit.caller.subject: visit.login}
    if visit.may(Permission.MANAGE_ACCESS):
        for kind in (Kind.USER, Kind.CLIENT):
            found: list[dict[str, Any]] = accounts.list_accounts(visit.control, visit.caller, kind)
            known |= {each["id"]: each["name"] for each in found}
    return known
