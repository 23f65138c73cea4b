"""Browse: the connected destinations, and what can be done to one from the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.calls import call
from headrace.console.overview import Row
from headrace.console.visit import Console, Visit, page
from headrace.control import flows, pauses
from headrace.control.access import CONNECT, require

_SORTS: Final = {
    "name": lambda row: row.name.lower(),
    "created": lambda row: row.flow["createdAt"],
    "state": lambda row: row.flow["state"],
    "destination": lambda row: row.spec.name if row.spec else "",
}


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/destinations", browse),
        page(console, "/destinations/{flow_id}/state", switch, change=True),
        page(console, "/destinations/{flow_id}/delete", ask_delete),
        page(console, "/destinations/{flow_id}/delete", delete, change=True),
    ]


def browse(visit: Visit) -> Response:
    """The list, narrowed and sorted as the URL says."""
    rows = overview.rows(visit.control, visit.caller)
    wanted, spec, state = visit.query("q").lower(), visit.query("spec"), visit.query("state")
    shown = [
        each
        for each in rows
        if wanted in f"{each.name} {each.place} {each.account.get('name', '')} {each.id}".lower()
        and spec in ("", each.spec.id if each.spec else "")
        and state in ("", each.flow["state"])
    ]
    sort = visit.query("sort", "-created")
    key = _SORTS.get(sort.removeprefix("-"), _SORTS["created"])
    shown.sort(key=key, reverse=sort.startswith("-"))
    answer = visit.ask("status", brief=True) if rows else engine.Answer({})
    standings = engine.tried(
        lambda: pauses.list_standings(visit.control, visit.runtime, visit.caller) if rows else []
    )
    return visit.page(
        "browse.html", calls=[call(visit, "GET", "/flows")],
        rows=shown, count=len(rows), wanted=visit.query("q"), spec=spec, state=state, sort=sort,
        specs={each.spec.id: each.spec.name for each in rows if each.spec}, live=live_by_flow(answer),
        problem=answer.problem,
        paused={each["flow"]: each["pause"] for each in standings.value or () if each["pause"]},
    )  # fmt: skip


def live_by_flow(answer: engine.Answer) -> dict[str, Mapping[str, Any]]:
    """How each flow stands in the engine, by flow id; empty without an answer."""
    if not answer.ok:
        return {}
    value = answer.value or {}
    totals = (value.get("totals") or {}).get("flows") or {}
    found: dict[str, Mapping[str, Any]] = {flow_id: dict(each) for flow_id, each in totals.items()}
    for each in value.get("flows") or ():
        found[each["flow_id"]] = {**found.get(each["flow_id"], {}), **each}
    return found


def switch(visit: Visit) -> Response:
    """Enable or disable a flow; what the engine does not do of it, the page shows afterwards."""
    flow_id = visit.path("flow_id")
    pauses.switch_flow(
        visit.control, visit.runtime, visit.caller, flow_id, visit.field("action"), visit.field("etag") or None,
        changes=visit.field("changes") or None, catches_up=visit.field("catch_up") == "true",
    )  # fmt: skip
    return visit.redirect("/ui/destinations" if visit.query("from") == "list" else f"/ui/destinations/{flow_id}")


def ask_delete(visit: Visit) -> Response:
    """What deleting would do."""
    require(visit.caller, CONNECT)
    row: Row = overview.row(visit.control, visit.caller, visit.path("flow_id"))
    live = live_by_flow(visit.ask("status", flow=row.id, brief=True)).get(row.id, {})
    return visit.page(
        "confirm.html",
        title=visit.t("details.delete_title", name=row.name),
        words=visit.t("details.delete_words"),
        points=[
            visit.t("details.delete_pending", count=live.get("pending", 0))
            if live
            else visit.t("details.delete_unknown"),
            visit.t("details.delete_stream"),
            visit.t("details.delete_account", account=row.account.get("name", "")),
        ],
        action=f"/ui/destinations/{row.id}/delete",
        button=visit.t("details.delete"),
        back=f"/ui/destinations/{row.id}",
        fields={"etag": row.flow["etag"]},
        calls=[call(visit, "DELETE", f"/flows/{row.id}")],
        allowed=visit.can()["connect"],
    )


def delete(visit: Visit) -> Response:
    """Delete a flow."""
    flows.delete_flow(visit.control, visit.caller, visit.path("flow_id"), visit.field("etag") or None)
    return visit.redirect("/ui/destinations")
