"""Flows and their runs."""

from __future__ import annotations

from typing import Final

from headrace.control import backfills, flows, pauses, runs
from headrace.control.access import CONNECT, Permission
from headrace.control.service import Written

from .call import Answer, Call
from .flow_service import (
    BASE,
    CREATED,
    DELETED,
    IF_MATCH_MAYBE,
    LISTING,
    PATCHED,
    TOKEN,
    listed,
    one,
    written,
)  # fmt: skip
from .operation import Operations, Parameter
from .schemas import items, page, ref

operations: Final = Operations(BASE, "Flows")
_VIEW: Final = (Permission.VIEW_DESTINATIONS,)


@operations("GET", "/flows", parameters=LISTING, answer=page("Flow"), needs=_VIEW)
def list_flows(call: Call) -> Answer:
    """List the flows."""
    return listed("/flows", flows.list_flows(call.control, call.caller, call.listing()))


@operations("POST", "/flows", body=ref("NewFlow"), refusals=(409, 422), needs=CONNECT, asks_engine=True, **CREATED)
def create_flow(call: Call) -> Answer:
    """Make a flow, enabled.

    With audiences it needs the permissions of activation too, and the backfill of each of them begins.
    """
    return _activated(call, flows.create_flow(call.control, call.caller, call.body()), 201)


@operations("POST", "/flows/search", body=ref("Search"), parameters=(TOKEN,), answer=page("AnyFlow"), needs=_VIEW)
def search_flows(call: Call) -> Answer:
    """Search the flows; `projectionFields` leaves some of their members."""
    found = flows.search_flows(call.control, call.caller, call.body(), call.one("continuationToken"))
    return listed("/flows/search", found)


@operations("GET", "/flows/{id}", answer=items("Flow"), needs=_VIEW)
def get_flow(call: Call) -> Answer:
    """Look up a flow."""
    return one(flows.get_flow(call.control, call.caller, call.path["id"]))


@operations("PATCH", "/flows/{id}", needs=_VIEW, asks_engine=True, **PATCHED)
def patch_flow(call: Call) -> Answer:
    """Change a flow; what it maps needs the permissions of activation, the rest those of connecting.

    Mistakes are refused with all of their places. The backfill of each audience that is added begins.
    Settings of ours stand at `/transformations/0/params/headrace`.
    """
    made = flows.patch_flow(call.control, call.caller, call.path["id"], call.body(), call.if_match)
    return _activated(call, made)


@operations("DELETE", "/flows/{id}", status=202, needs=CONNECT, **DELETED)
def delete_flow(call: Call) -> Answer:
    """Remove a flow; its pending exports are discarded and counted."""
    flows.delete_flow(call.control, call.caller, call.path["id"], call.if_match)
    return Answer(status=202)


@operations(
    "POST",
    "/flows/{id}/action",
    parameters=(
        Parameter(
            name="op",
            words="`enable` or `disable`, in any case.",
            schema={"type": "string", "enum": ["enable", "disable", "ENABLE", "DISABLE"]},
            required=True,
        ),
        Parameter(
            name="changes",
            words="With `disable`: whether changes meanwhile wait, or are skipped; becomes its `pauseMode`.",
            schema={"type": "string", "enum": ["keep", "skip"]},
        ),
        Parameter(
            name="catchUp",
            words="With `enable`: begin to make up for what was skipped; needs the permissions of activation.",
            schema={"type": "boolean"},
        ),
        IF_MATCH_MAYBE,
    ),
    answer=ref("Written"),
    refusals=(409, 412),
    needs=CONNECT,
    asks_engine=True,
)
def act_on_flow(call: Call) -> Answer:
    """Enable or disable a flow: disabling pauses its exports, enabling resumes them.

    What becomes of changes in between is the flow's `headrace.pauseMode`: `keep` or `skip`. Enabling also lifts a
    pause by command, or by the cap on dead letters.
    """
    made, run = pauses.switch_flow(
        call.control, call.runtime, call.caller, call.path["id"], call.one("op"), call.if_match,
        changes=call.one("changes"), catches_up=call.flag("catchUp") is True,
    )  # fmt: skip
    return written(made, backfills=[{"flow": made.id, "run": run}] if run else [])


@operations("GET", "/runs", parameters=LISTING, answer=page("Run"), needs=_VIEW)
def list_runs(call: Call) -> Answer:
    """List dataflow runs: one for each flow and hour."""
    return listed("/runs", runs.list_runs(call.control, call.caller, call.listing()))


@operations("POST", "/runs", body=ref("NewRun"), refusals=(409,), needs=CONNECT, **CREATED)
def create_run(call: Call) -> Answer:
    """Put down a run of your own; the engine puts down its runs itself."""
    return written(runs.create_run(call.control, call.caller, call.body()), 201)


@operations("GET", "/runs/{id}", answer=items("Run"), needs=_VIEW)
def get_run(call: Call) -> Answer:
    """Look up a run."""
    return one(runs.get_run(call.control, call.caller, call.path["id"]))


def _activated(call: Call, made: Written, status: int = 200) -> Answer:
    """The answer to a change of a flow, once the backfills of what it mapped were begun."""
    begun, warnings = backfills.begin_mapped(call.control, call.runtime, call.caller, made)
    answer = written(made, status, backfills=[{"flow": each.flow, "run": each.run} for each in begun])
    if warnings:
        answer.content["warnings"] = [*made.warnings, *warnings]
    return answer
