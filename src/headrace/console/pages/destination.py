"""One destination: how it stands, its runs, what it activates, its backfills and dead letters; edited in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import alert_fields, engine, overview, rendering
from headrace.console.calls import call
from headrace.console.mistakes import by_field, told
from headrace.console.overview import Row
from headrace.console.visit import Console, Visit, page
from headrace.control import backfills, dead_letters, flows, pauses, runs, segments, trials
from headrace.control.access import ACTIVATE, CONNECT, Permission, require
from headrace.control.paging import read
from headrace.control.run_figures import HOUR_MS
from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.errors import UseCaseError

from .audiences import told_sizes
from .destinations import live_by_flow

_RUNS: Final = 24
_DAY_MS: Final = 24 * HOUR_MS
TABS: Final = ("runs", "activation", "backfills", "letters", "configuration")


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    at = "/destinations/{flow_id}"
    return [
        page(console, at, show),
        page(console, at + "/edit", edit, change=True),
        page(console, at + "/alerts", edit_alerts, change=True),
        page(console, at + "/runs/{run_id}", show_run),
        page(console, at + "/backfill", ask_backfill),
        page(console, at + "/backfill", start_backfill, change=True),
        page(console, at + "/backfill/{run_id}/cancel", ask_cancel),
        page(console, at + "/backfill/{run_id}", steer_backfill, change=True),
        page(console, at + "/test", send_test, change=True),
        page(console, at + "/resume", resume, change=True),
        page(console, at + "/catch-up", catch_up, change=True),
    ]


def show(visit: Visit, tab: str = "", **context: Any) -> Response:
    """The page, with one of its tabs."""
    row = overview.row(visit.control, visit.caller, visit.path("flow_id"))
    tab = tab or visit.query("tab", TABS[0])
    tab = tab if tab in TABS else TABS[0]
    status = visit.ask("status", flow=row.id, brief=True)
    parts = {
        "runs": _runs,
        "activation": _activation,
        "backfills": _backfills,
        "letters": _letters,
        "configuration": _configuration,
    }[tab](visit, row)
    live = live_by_flow(status).get(row.id, {})
    # While the engine does not know the flow yet, there is nothing to say of it.
    standing = engine.tried(lambda: pauses.get_standing(visit.control, visit.runtime, visit.caller, row.id)).value
    known: dict[str, Any] = {
        "problem": status.problem,
        "told": None,
        "tested": None,
        "from_done": False,
        "status": 200,
        **parts,
        **context,
    }
    return visit.page(
        "destination.html", row=row, tab=tab, tabs=TABS, live=live, standing=standing or {},
        pause_mode=overview.own_settings(row.flow).get("pauseMode", pauses.MODES[0]), pause_modes=pauses.MODES,
        **known,
    )  # fmt: skip


def _runs(visit: Visit, row: Row) -> dict[str, Any]:
    listing = read(limit=_RUNS, properties=(f"flowId=={row.id}",), token=visit.query("token") or None)
    found = runs.list_runs(visit.control, visit.caller, listing)
    calls = [call(visit, "GET", f"/runs?property=flowId=={row.id}&limit={_RUNS}")]
    return {"runs": [figures(each) for each in found.items], "token": found.token, "calls": calls}


def delivery_rate(activated: int, failed: int) -> float | None:
    """The share of what was to be delivered that was; None where nothing was to be."""
    return activated / (activated + failed) if activated + failed else None


def figures(run: dict[str, Any]) -> dict[str, Any]:
    """A run's record with its figures on top, as tables and charts need them.

    The rate is of deliveries, not AEP's: what is excluded says nothing about how well delivery works.
    """
    metrics = run.get("metrics") or {}
    records, times = metrics.get("recordSummary") or {}, metrics.get("durationSummary") or {}
    received = records.get("inputRecordCount", 0)
    activated, skipped = records.get("outputRecordCount", 0), records.get("skippedRecordCount", 0)
    failed = records.get("failedRecordCount", 0)
    return {
        **run,
        "started_ms": times.get("startedAtUTC") or run["createdAt"],
        "completed_ms": times.get("completedAtUTC"),
        "received": received,
        "activated": activated,
        "skipped": skipped,
        "failed": failed,
        "rate": delivery_rate(activated, failed),
        "sent_bytes": (metrics.get("sizeSummary") or {}).get("outputBytes", 0),
        "latency": metrics.get("latencySummary") or {},
        "failures": records.get("failedInfo") or [],
        "skips": records.get("skippedInfo") or [],
    }


def _activation(visit: Visit, row: Row) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = {}
    ids = [{"id": each["id"]} for each in row.audiences]
    if ids and visit.may(Permission.VIEW_SEGMENTS):
        known = segments.get_segments(visit.control, visit.caller, {"ids": ids})
    since_ms = visit.control.clock.now_ms() - _DAY_MS
    sent = runs.sum_audiences(visit.control, visit.caller, row.id, since_ms=since_ms)
    calls = [call(visit, "GET", f"/flows/{row.id}")]
    return {"mapped": row.audiences, "known": known, "paths": row.paths, "sent": sent, "calls": calls}


def _backfills(visit: Visit, row: Row) -> dict[str, Any]:
    return {
        "backfills": engine.tried(
            lambda: backfills.list_backfills(visit.control, visit.runtime, visit.caller, row.id)
        ),
        "calls": [call(visit, "GET", f"/headrace/flows/{row.id}/backfills")],
    }


def _letters(visit: Visit, row: Row) -> dict[str, Any]:
    if not visit.may(Permission.VIEW_PROFILES):
        return {"letters": engine.Answer(problem=visit.t("letters.hidden")), "calls": []}
    return {
        "calls": [call(visit, "GET", f"/headrace/flows/{row.id}/dead-letters")],
        "letters": engine.tried(
            lambda: dead_letters.list_dead_letters(visit.control, visit.runtime, visit.caller, row.id, limit=50)
        ),
    }


def _configuration(visit: Visit, row: Row) -> dict[str, Any]:
    settings = overview.own_settings(row.flow)
    shown = {name: row.flow[name] for name in ("name", "transformations", "policy") if name in row.flow}
    return {
        "alerts": alert_fields.shown(settings.get("alerts") or {}),
        "alerts_wrong": {},
        "alert_kinds": alert_fields.KINDS,
        "document": shown,
        "calls": [
            call(visit, "GET", f"/flows/{row.id}"),
            call(visit, "POST", f"/headrace/flows/{row.id}/test-record"),
        ],
    }


def edit(visit: Visit) -> Response:
    """Change name and description."""
    require(visit.caller, CONNECT)
    flow_id = visit.path("flow_id")
    operations = [
        {"op": "replace", "path": "/name", "value": visit.field("name")},
        {"op": "add", "path": "/description", "value": visit.field("description")},
    ]
    try:
        flows.patch_flow(visit.control, visit.caller, flow_id, operations, visit.field("etag"))
    except UseCaseError as error:
        if error.status == 403:
            raise
        said = told(visit.t, error)
        return show(visit, status=error.status, told=("bad", said.title, said.words))
    return visit.redirect(f"/ui/destinations/{flow_id}")


def edit_alerts(visit: Visit) -> Response:
    """Change what is told of the destination, and whom; an empty form leaves it to the installation's settings."""
    require(visit.caller, ACTIVATE)
    row = overview.row(visit.control, visit.caller, visit.path("flow_id"))
    alerts = alert_fields.typed(visit)
    settings = overview.own_settings(row.flow)
    before = settings.pop("alerts", None) or {}
    if before.get("mailTo") == []:
        # Nobody, which a field cannot say: it stays until somebody is named.
        alerts.setdefault("mailTo", [])
    if alerts:
        settings["alerts"] = alerts
    operations = [{"op": "add", "path": "/transformations/0/params/headrace", "value": settings}]
    try:
        flows.patch_flow(visit.control, visit.caller, row.id, operations, visit.field("etag"))
    except UseCaseError as error:
        if error.status == 403:
            raise
        wrong, rest = by_field(visit.t, error, alert_fields.PREFIX)
        said = told(visit.t, error)
        more = ("bad", said.title, said.words if said.changed else "; ".join(rest)) if rest else None
        return show(
            visit, status=error.status, tab="configuration", alerts=alert_fields.shown(alerts), alerts_wrong=wrong,
            told=more,
        )  # fmt: skip
    return visit.redirect(f"/ui/destinations/{row.id}?tab=configuration")


def show_run(visit: Visit) -> Response:
    """One run: its figures, and why what failed or was skipped did."""
    row = overview.row(visit.control, visit.caller, visit.path("flow_id"))
    run = runs.get_run(visit.control, visit.caller, visit.path("run_id"))
    calls = [call(visit, "GET", f"/runs/{visit.path('run_id')}")]
    return visit.page("run.html", row=row, run=figures(run), calls=calls)


def ask_backfill(visit: Visit) -> Response:
    """What sending the present members again would do: whom it is about, and about how many."""
    require(visit.caller, ACTIVATE)
    row = overview.row(visit.control, visit.caller, visit.path("flow_id"))
    wanted = visit.request.query_params.getlist("audience")
    mapped = [each for each in row.audiences if not wanted or each["id"] in wanted]
    known: dict[str, dict[str, Any]] = {}
    if mapped:
        ids = [{"id": each["id"]} for each in mapped]
        known = segments.get_segments(visit.control, visit.caller, {"ids": ids})
    whole = [{**each, **known.get(each["id"], {})} for each in mapped]
    body: dict[str, Any] = {"kind": "resend", **({"segments": wanted} if wanted else {})}
    return visit.page(
        "confirm.html", title=visit.t("backfill.ask_title", name=row.name), words=visit.t("backfill.ask_words"),
        points=[
            visit.t("backfill.ask_audiences", names=", ".join(str(each.get("name", each["id"])) for each in whole)),
            *_sizes(visit, [(str(each.get("namespace") or PLATFORM_NAMESPACE), each["id"]) for each in whole]),
            visit.t("backfill.ask_order"),
        ],
        action=f"/ui/destinations/{row.id}/backfill", button=visit.t("details.resend"), danger=False,
        back=f"/ui/destinations/{row.id}?tab=activation", fields={"kind": "resend", "audience": wanted},
        calls=[call(visit, "POST", f"/headrace/flows/{row.id}/backfills", body)], allowed=bool(mapped),
    )  # fmt: skip


def _sizes(visit: Visit, audiences: list[tuple[str, str]]) -> list[str]:
    """About how many profiles some audiences have together; nothing when the engine does not tell."""
    told = told_sizes(visit, audiences)
    if not told.ok or not audiences:
        return []
    size = told.value.together_size()
    return [visit.t("backfill.ask_size", count=size.about, about=rendering.number(size.about))]


def ask_cancel(visit: Visit) -> Response:
    """What ending a backfill would do."""
    require(visit.caller, ACTIVATE)
    row, run = overview.row(visit.control, visit.caller, visit.path("flow_id")), visit.path("run_id")
    return visit.page(
        "confirm.html", title=visit.t("backfill.cancel_title"), words=row.name,
        points=[visit.t("backfill.cancel_sent"), visit.t("backfill.cancel_rest")],
        action=f"/ui/destinations/{row.id}/backfill/{run}", button=visit.t("backfill.cancel"),
        back=f"/ui/destinations/{row.id}?tab=backfills", fields={"action": "cancel"},
        calls=[call(visit, "POST", f"/headrace/flows/{row.id}/backfills/{run}/cancel")], allowed=True,
    )  # fmt: skip


def start_backfill(visit: Visit) -> Response:
    """Send the members of the chosen audiences again, or for the first time."""
    flow_id = visit.path("flow_id")
    body: dict[str, Any] = {"kind": visit.field("kind", "resend")}
    if chosen := visit.fields("audience"):
        body["segments"] = chosen
    answer = engine.tried(lambda: backfills.start_backfill(visit.control, visit.runtime, visit.caller, flow_id, body))
    return _after(visit, answer, "backfills")


def steer_backfill(visit: Visit) -> Response:
    """Pause, resume or cancel a backfill."""
    flow_id, run, action = visit.path("flow_id"), visit.path("run_id"), visit.field("action")
    answer = engine.tried(
        lambda: backfills.act_on_backfill(visit.control, visit.runtime, visit.caller, flow_id, run, action)
    )
    return _after(visit, answer, "backfills")


def resume(visit: Visit) -> Response:
    """Lift a pause by command or cap, and make up for what was skipped when that is asked for."""
    flow_id, body = visit.path("flow_id"), {"catchUp": visit.field("catch_up") == "true"}
    answer = engine.tried(lambda: pauses.resume_flow(visit.control, visit.runtime, visit.caller, flow_id, body))
    return _after(visit, answer, "backfills" if answer.ok and answer.value["run"] else TABS[0])


def catch_up(visit: Visit) -> Response:
    """Make up for what was skipped."""
    flow_id = visit.path("flow_id")
    answer = engine.tried(lambda: pauses.catch_up(visit.control, visit.runtime, visit.caller, flow_id))
    return _after(visit, answer, "backfills")


def send_test(visit: Visit) -> Response:
    """Send one record of a sample profile to the destination."""
    flow_id = visit.path("flow_id")
    answer = engine.tried(lambda: trials.send_test(visit.control, visit.runtime, visit.caller, flow_id))
    if answer.ok:
        return show(visit, tested=outcome(visit, answer), from_done=visit.field("from") == "done")
    failed = Tested(problem=answer.problem or visit.t("details.test_failed"))
    return show(visit, status=409, tested=failed, from_done=visit.field("from") == "done")


class Tested(msgspec.Struct, kw_only=True):
    """What came of a test record.

    Attributes:
        problem: Why it was not sent; empty otherwise.
        facts: Label and value of what the destination answered.
        message: What was written; None when that is not told.
    """

    problem: str = ""
    facts: Sequence[tuple[str, str]] = ()
    message: Any = None


def outcome(visit: Visit, answer: engine.Answer) -> Tested:
    """What the destination answered to a test record, labelled."""
    value = answer.value if isinstance(answer.value, dict) else {}
    facts = [(visit.t(f"explain.{name}"), str(value[name])) for name in ("shard", "sequence") if value.get(name)]
    if "size_bytes" in value:
        facts.append((visit.t("live.size"), rendering.in_bytes(value["size_bytes"])))
    if "took_ms" in value:
        facts.append((visit.t("details.test_took"), rendering.duration(value["took_ms"])))
    return Tested(facts=facts, message=value.get("message"))


def _after(visit: Visit, answer: engine.Answer, tab: str) -> Response:
    if answer.ok:
        return visit.redirect(f"/ui/destinations/{visit.path('flow_id')}?tab={tab}")
    return show(visit, status=409, told=("bad", visit.t("engine.refused"), visit.t.said(answer.problem)))
