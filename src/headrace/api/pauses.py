"""How flows stand in the engine, and pauses on top of their state."""

from __future__ import annotations

from typing import Final

from headrace.control import pauses
from headrace.control.access import ACTIVATE, CONNECT, Permission

from .call import Answer, Call
from .operation import Operations
from .schemas import ref

operations: Final = Operations("/headrace/flows", "Pauses")
_VIEW: Final = (Permission.VIEW_DESTINATIONS,)


@operations("GET", "", answer=ref("Standings"), needs=_VIEW, asks_engine=True)
def list_flow_standings(call: Call) -> Answer:
    """List how the flows stand in the engine: which are paused and why, what waits, what was skipped."""
    return Answer(content={"flows": pauses.list_standings(call.control, call.runtime, call.caller)})


@operations("GET", "/{id}", answer=ref("Standing"), needs=_VIEW, asks_engine=True)
def get_flow_standing(call: Call) -> Answer:
    """Look up how a flow stands in the engine."""
    return Answer(content=pauses.get_standing(call.control, call.runtime, call.caller, call.path["id"]))


@operations(
    "POST",
    "/{id}/pause",
    body=ref("NewPause"),
    body_required=False,
    answer=ref("Standing"),
    needs=CONNECT,
    asks_engine=True,
)
def pause_flow(call: Call) -> Answer:
    """Pause a flow in the engine until it is resumed, whatever becomes of its state.

    With `keep` changes meanwhile are exported and wait; with `skip` they are counted, and offered for a catch-up.
    """
    found = pauses.pause_flow(call.control, call.runtime, call.caller, call.path["id"], call.body())
    return Answer(content=found)


@operations(
    "POST",
    "/{id}/resume",
    body=ref("Resumption"),
    body_required=False,
    answer=ref("Standing"),
    needs=CONNECT,
    asks_engine=True,
)
def resume_flow(call: Call) -> Answer:
    """Lift a pause by command, or by the cap on dead letters.

    With `catchUp`, which needs the permissions of activation, what was skipped is made up for at once.
    """
    found = pauses.resume_flow(call.control, call.runtime, call.caller, call.path["id"], call.body())
    return Answer(content=found)


@operations("POST", "/{id}/catch-up", status=201, answer=ref("Backfill"), needs=ACTIVATE, asks_engine=True)
def catch_up_flow(call: Call) -> Answer:
    """Export the present state of every profile that changed while the flow skipped: a run like a backfill."""
    return Answer(content=pauses.catch_up(call.control, call.runtime, call.caller, call.path["id"]), status=201)
