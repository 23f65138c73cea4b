"""The activation wizard: destination, audiences, attributes, review; a preview of the message all along."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import drafts, engine, overview, preview
from headrace.console.calls import call
from headrace.console.drafts import Draft
from headrace.console.masking import masked_message
from headrace.console.mistakes import told
from headrace.console.visit import Console, Visit, page
from headrace.control import backfills, flows, profiles, segments, trials
from headrace.control.access import ACTIVATE, require
from headrace.core.compile import RECOMMENDED_ATTRIBUTES, RECOMMENDED_SEGMENTS
from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.errors import UseCaseError

from . import people
from .audiences import told_sizes
from .destination import Tested, outcome

STEPS: Final = ("audiences", "attributes", "review")
_MOST_AUDIENCES: Final = 1000
_TYPED: Final = 300
"""Profiles that are looked at for the types of a made-up one."""
_GOAL_S: Final = 600
"""The estimate says how many shards send everybody within this time."""


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/activate", choose),
        page(console, "/activate/{flow_id}", begin),
        page(console, "/activate/{flow_id}", go_on, change=True),
        page(console, "/activate/{flow_id}/preview", show_preview, change=True),
        page(console, "/activate/{flow_id}/done", show_done),
    ]


def choose(visit: Visit) -> Response:
    """Which destination."""
    require(visit.caller, ACTIVATE)
    spec = visit.query("spec")
    rows = [
        each for each in overview.rows(visit.control, visit.caller) if spec in ("", each.spec.id if each.spec else "")
    ]
    if len(rows) == 1 and spec:
        return visit.redirect(f"/ui/activate/{rows[0].id}")
    return visit.page("activate_choose.html", rows=rows, spec=spec)


def begin(visit: Visit) -> Response:
    """The first step, with what the flow maps now."""
    require(visit.caller, ACTIVATE)
    return _step(visit, drafts.begun(overview.row(visit.control, visit.caller, visit.path("flow_id"))), STEPS[0])


def go_on(visit: Visit) -> Response:
    """The step that the form asks for; the last one stores."""
    require(visit.caller, ACTIVATE)
    draft = drafts.sent(visit, overview.row(visit.control, visit.caller, visit.path("flow_id")))
    wanted = visit.field("step", STEPS[0])
    if wanted == "attributes" and visit.field("from") == "audiences" and not draft.audiences:
        return _step(visit, draft, "audiences", nobody=True)
    if wanted == "without":
        wanted = "attributes"
    if wanted == "finish":
        return _finish(visit, draft)
    if wanted == "test":
        return _step(visit, draft, "review", tested=_tested(visit, draft))
    if visit.field("remove") or visit.field("new_path"):
        wanted = "attributes"
    if visit.field("external_id"):
        wanted = "audiences"
    return _step(visit, draft, wanted if wanted in STEPS else STEPS[0])


def _tested(visit: Visit, draft: Draft) -> Tested:
    """Send the draft's message about a made-up person."""
    made = preview.rendered(visit, draft, types=_types(visit))
    if made.message is None:
        return Tested(problem=made.reason or visit.t("preview.nothing"))
    body = {"message": made.message}
    answer = engine.tried(lambda: trials.send_test(visit.control, visit.runtime, visit.caller, draft.row.id, body))
    if answer.ok:
        return outcome(visit, answer)
    return Tested(problem=answer.problem)


def _step(visit: Visit, draft: Draft, step: str, **context: Any) -> Response:
    shown: dict[str, Any] = {
        "draft": draft,
        "steps": STEPS,
        "step": step,
        "told": None,
        "tested": None,
        "nobody": False,
        "status": 200,
        **context,
    }
    if step == "audiences":
        found = segments.list_audiences(visit.control, visit.caller, limit=_MOST_AUDIENCES, sort="name:asc").items
        known = {each["id"] for each in found}
        shown["audiences"] = found
        shown["sizes"] = told_sizes(visit) if found else engine.Answer()
        shown["others"] = [each for each in draft.audiences if each.id not in known]
    if step == "attributes":
        observed = _observed(visit)
        shown["observed"] = observed
        shown["tree"] = drafts.schema_tree(observed.value or [])
        fresh = not draft.row.audiences and not draft.row.paths
        shown["suggested"] = [each for each in drafts.USUAL if fresh and each in draft.paths]
        shown["paths_seen"] = {each["path"] for each in observed.value or []}
    if step == "review":
        made = preview.rendered(visit, draft, types=_types(visit))
        shown |= {"preview": made, "estimate": _estimate(visit, draft, made), "guards": _guards(draft)}
        shown["names"] = _names(visit, draft)
        shown["before"] = {each["id"] for each in draft.row.audiences}
        shown["added"] = [each for each in draft.audiences if each.id not in shown["before"]]
    return visit.page(f"activate_{step}.html", **shown)


def _observed(visit: Visit, most: int | None = None) -> engine.Answer:
    return engine.tried(lambda: profiles.observed_schema(visit.control, visit.runtime, visit.caller, most=most))


def _types(visit: Visit) -> dict[str, str]:
    """Path to type, of those that few profiles show already: for a made-up value of the kind."""
    observed = _observed(visit, _TYPED)
    return {str(each["path"]): str(each.get("type", "")) for each in observed.value or []}


def _names(visit: Visit, draft: Draft) -> dict[str, str]:
    if not draft.audiences:
        return {}
    ids = [{"id": each.id} for each in draft.audiences]
    known = segments.get_segments(visit.control, visit.caller, {"ids": ids})
    return {segment_id: each["name"] for segment_id, each in known.items()}


def _guards(draft: Draft) -> list[tuple[str, int, int]]:
    """What AEP recommends at the most: text key, how many there are, how many it may be."""
    return [
        ("audiences", len(draft.audiences), RECOMMENDED_SEGMENTS),
        ("attributes", len(draft.paths), RECOMMENDED_ATTRIBUTES),
    ]


def _estimate(visit: Visit, draft: Draft, made: preview.Preview) -> dict[str, Any] | None:
    """About how much the first send would be: the members of the audiences that are added, each once.

    None when nothing is added, or the engine does not tell. Rates of a shard are the destination's own limits.
    """
    before = {each["id"] for each in draft.row.audiences}
    added = [
        (each.namespace or made.namespaces.get(each.id, PLATFORM_NAMESPACE), each.id)
        for each in draft.audiences
        if each.id not in before
    ]
    answer = told_sizes(visit, added) if added else engine.Answer(problem="nothing is added")
    if not answer.ok or not made.size_bytes:
        return None
    size = answer.value.together_size()
    message_bytes = made.size_bytes + made.key_bytes
    limits: Mapping[str, int] = {each.name: each.value for each in (draft.row.spec.limits if draft.row.spec else ())}
    records, size_limit = limits.get("shard.records"), limits.get("shard.bytes")
    estimate: dict[str, Any] = {
        "size": size,
        "of": answer.value,
        "message_bytes": message_bytes,
        "total_bytes": size.about * message_bytes,
        "goal_s": _GOAL_S,
    }
    if records and size_limit:
        on_one_s = max(size.about / records, size.about * message_bytes / size_limit)
        estimate |= {"one_shard_s": on_one_s, "shards": max(1, math.ceil(on_one_s / _GOAL_S))}
    return estimate


def show_preview(visit: Visit) -> Response:
    """The message of the draft, for a made-up profile or one that is named."""
    draft = drafts.sent(visit, overview.row(visit.control, visit.caller, visit.path("flow_id")))
    namespace, identity = visit.field("sample_namespace"), visit.field("sample_id")
    entity, problem = _named(visit, namespace, identity) if identity else (None, "")
    made = preview.rendered(visit, draft, entity=entity, types=_types(visit) if entity is None else None)
    shown = masked_message(made.message) if entity is not None and visit.field("unmask") != "true" else made.message
    return visit.page("activate_preview.html", preview=made, message=shown, problem=problem)


def _named(visit: Visit, namespace: str, identity: str) -> tuple[dict[str, Any] | None, str]:
    """A profile by what was typed of it, as Profile lookup finds it; else what is wrong."""
    problem, places = "", [(namespace, identity, "")]
    if not namespace:
        try:
            places = people.places(identity, visit.ask("profiles-seen", most=0))
        except UseCaseError as error:
            return None, error.problem
    for place in places:
        try:
            answer = people.read(visit, *place)
        except UseCaseError as error:
            problem = error.problem
        else:
            return (answer.value.entity, "") if answer.ok else (None, answer.problem)
    return None, problem


def _finish(visit: Visit, draft: Draft) -> Response:
    """Store what was drafted, and begin the backfill of what is new."""
    operations = [{"op": "replace", "path": "/transformations", "value": draft.transformations()}]
    try:
        made = flows.patch_flow(visit.control, visit.caller, draft.row.id, operations, draft.etag)
    except UseCaseError as error:
        if error.status == 403:
            raise
        return _step(visit, draft, "review", status=error.status, told=told(visit.t, error))
    begun, warnings = backfills.begin_mapped(visit.control, visit.runtime, visit.caller, made)
    # Shown by GET, so that reloading stores nothing again. Only what cannot be read back is in the address.
    about = [("run", each.run) for each in begun]
    about += [("unknown", path) for path in draft.paths if any(each.endswith(f" {path}") for each in made.warnings)]
    about += [("waits", "true")] if warnings else []
    return visit.redirect(f"/ui/activate/{draft.row.id}/done?{urlencode(about)}".rstrip("?"))


def show_done(visit: Visit) -> Response:
    """What is activated now, and the backfills that began with it."""
    require(visit.caller, ACTIVATE)
    row = overview.row(visit.control, visit.caller, visit.path("flow_id"))
    asked = visit.request.query_params
    stored = [{"op": "replace", "path": "/transformations", "value": row.flow["transformations"]}]
    return visit.page(
        "activate_done.html", row=row, runs=asked.getlist("run"), waits=visit.query("waits") == "true",
        unknown=[each for each in asked.getlist("unknown") if each in row.paths],
        calls=[call(visit, "PATCH", f"/flows/{row.id}", stored, etag=str(row.flow["etag"]))],
    )  # fmt: skip
