"""Use cases: how flows stand in the engine, and pauses that lie on top of their state.

A flow is off by its record (``disabled``), or paused in the engine: by command, or by the cap on dead letters. A
pause of the second kind outlives every change of the record; enabling the flow lifts it, too.
"""

from __future__ import annotations

from typing import Any, Final

from headrace.core.report import Report
from headrace.errors import UseCaseError

from . import access, engine, flows
from .access import ACTIVATE, CONNECT, Caller, Permission
from .problems import Code, problem, refuse
from .resources import Kind
from .runtime import Runtime
from .service import Control, Written, body_of, reading
from .store import Query

__all__ = ["MODES", "catch_up", "get_standing", "list_standings", "pause_flow", "resume_flow", "switch_flow"]

MODES: Final = ("keep", "skip")
"""What becomes of changes during a pause: they wait, or are counted and offered for a catch-up."""
_VIEW: Final = (Permission.VIEW_DESTINATIONS,)


def list_standings(control: Control, runtime: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """How the sandbox's flows stand in the engine; needs View Destinations.

    Returns:
        For each that the engine knows: ``flow``, ``paused``, ``halted`` (why nothing is accepted), ``pending``,
        ``pause`` (None, or ``mode``, ``since_ms`` and ``reason``: operator or dead-letters), ``skipped`` (changes
        that were skipped and not made up for), ``catch_up`` (they can be made up for now).

    Raises:
        UseCaseError: 2120-403, 3016-503 or 3017-400.
    """
    with reading(control, caller, *_VIEW) as transaction:
        known = {each.id for each in transaction.find(Query(kind=Kind.FLOW, scope=caller.scope))}
    engine.in_engines_sandbox(control, caller)
    return [_told(each) for each in engine.asked(runtime, "flows") if each["flow"] in known]


def get_standing(control: Control, runtime: Runtime, caller: Caller, flow_id: str) -> dict[str, Any]:
    """How one flow stands in the engine, as of ``list_standings``; needs View Destinations.

    Raises:
        UseCaseError: 1101-404, 2120-403, 3016-503, or 3017-400 while the engine does not know it.
    """
    access.require(caller, _VIEW)
    flow = engine.flow_of(control, caller, flow_id)
    found = _standing(runtime, flow.id)
    if found is None:
        raise problem(Code.ENGINE_REFUSED, f"the engine does not know the flow {flow.id} yet; try again in a second")
    return found


def pause_flow(control: Control, runtime: Runtime, caller: Caller, flow_id: str, body: Any = None) -> dict[str, Any]:
    """Pause a flow in the engine until it is resumed; needs View and Manage Destinations.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        flow_id: The flow.
        body: ``mode``?: keep or skip; the flow's ``pauseMode`` when absent.

    Returns:
        As of ``get_standing``.

    Raises:
        UseCaseError: 1101-404, 2120-403, 3000-400, 3016-503 or 3017-400.
    """
    access.require(caller, CONNECT)
    flow = engine.flow_of(control, caller, flow_id)
    given = body_of(body, ("mode",)) if body else {}
    report = Report()
    mode = report.choice(given, "mode", "", MODES) if "mode" in given else None
    refuse(report.mistakes)
    told = _told(engine.asked(runtime, "flow-pause", flow=flow.id, mode=mode))
    engine.note(control, caller, "pause", "flows", flow.id, {"mode": told["pause"]["mode"]})
    return told


def resume_flow(control: Control, runtime: Runtime, caller: Caller, flow_id: str, body: Any = None) -> dict[str, Any]:
    """Lift a pause by command or cap; needs View and Manage Destinations, and for a catch-up those of activation.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        flow_id: The flow.
        body: ``catchUp``?: begin at once to make up for what was skipped.

    Returns:
        As of ``get_standing``, with ``run``: the catch-up, or None.

    Raises:
        UseCaseError: 1101-404, 2120-403, 3000-400, 3016-503, or 3017-400 when it is not paused in this way.
    """
    access.require(caller, CONNECT)
    flow = engine.flow_of(control, caller, flow_id)
    given = body_of(body, ("catchUp",)) if body else {}
    report = Report()
    catches_up = report.flag(given, "catchUp", "", default=False)
    refuse(report.mistakes)
    return _resumed(control, runtime, caller, flow.id, catches_up=catches_up)


def catch_up(control: Control, runtime: Runtime, caller: Caller, flow_id: str) -> dict[str, Any]:
    """Export the present state of every profile that changed while a flow skipped; needs those of activation.

    Returns:
        The run, as of ``backfills.get_backfill``.

    Raises:
        UseCaseError: 1101-404, 2120-403, 3016-503, or 3017-400 when nothing was skipped.
    """
    access.require(caller, ACTIVATE)
    flow = engine.flow_of(control, caller, flow_id)
    found: dict[str, Any] = engine.asked(runtime, "flow-catch-up", flow=flow.id)
    engine.note(control, caller, "start-catch-up", "backfills", str(found["run"]), {"flow": flow.id})
    return found


def switch_flow(
    control: Control, runtime: Runtime, caller: Caller, flow_id: str, action: str | None,
    if_match: str | None = None, *, changes: str | None = None, catches_up: bool = False,
) -> tuple[Written, str]:  # fmt: skip
    """Enable or disable a flow as of ``flows.act_on_flow``; enabling lifts a pause by command or cap, too.

    The record is what counts: an engine that does not answer is told of in a warning.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        flow_id: The flow.
        action: enable or disable, in any case.
        if_match: Its etag, or None for any.
        changes: When disabling, what becomes of changes until it is enabled: keep or skip; None as its ``pauseMode``.
        catches_up: When enabling, begin to make up for what was skipped; needs the permissions of activation.

    Returns:
        The change, and the id of the catch-up or "".

    Raises:
        UseCaseError: 1451-400, 2120-403, or what ``flows.act_on_flow`` raises.
    """
    enables = (action or "").strip().lower() == "enable"
    if catches_up:
        if not enables:
            raise problem(Code.BAD_PARAMETER, "catchUp goes with the action enable")
        access.require(caller, ACTIVATE)
    made = flows.act_on_flow(control, caller, flow_id, action, if_match, changes=changes)
    if not enables or not engine.works_for(control, caller):
        return made, ""
    try:
        return made, _lifted(control, runtime, caller, flow_id, catches_up=catches_up)
    except UseCaseError as error:
        warning = f"the flow is enabled; a pause in the engine, by command or cap, stays: {error.problem}"
        return Written(id=made.id, etag=made.etag, warnings=(*made.warnings, warning)), ""


def _lifted(control: Control, runtime: Runtime, caller: Caller, flow_id: str, *, catches_up: bool) -> str:
    """Lift the pause there is, and begin the catch-up; its id."""
    if catches_up:
        # What was skipped is offered once the engine has seen that the flow goes on.
        engine.asked(runtime, "configure")
    standing = _standing(runtime, flow_id)
    if standing is None:
        return ""
    if standing["pause"] is not None:
        return str(_resumed(control, runtime, caller, flow_id, catches_up=catches_up)["run"] or "")
    if catches_up and standing["catch_up"]:
        return str(catch_up(control, runtime, caller, flow_id)["run"])
    return ""


def _resumed(control: Control, runtime: Runtime, caller: Caller, flow_id: str, *, catches_up: bool) -> dict[str, Any]:
    if catches_up:
        access.require(caller, ACTIVATE)
    answer = engine.asked(runtime, "flow-resume", flow=flow_id, catch_up=catches_up)
    told = {**_told(answer), "run": answer.get("run")}
    engine.note(control, caller, "resume", "flows", flow_id, {"catchUp": told["run"]} if told["run"] else {})
    return told


def _standing(runtime: Runtime, flow_id: str) -> dict[str, Any] | None:
    found = engine.asked(runtime, "flows", flow=flow_id)
    return next((_told(each) for each in found if each["flow"] == flow_id), None)


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    """The engine's answer about a flow, with nothing left out."""
    pause = answer["pause"]
    names = ("flow", "paused", "halted", "pending", "skipped", "catch_up")
    return {
        **{name: answer[name] for name in names},
        "pause": None if pause is None else {"reason": "operator", **pause},
    }
