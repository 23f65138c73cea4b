"""Use cases: backfills and re-sends, which export the profiles that are members already.

The engine keeps and drives them; here is who may start one, and for what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.core.report import Report
from headrace.errors import UseCaseError

from . import access, compiling, engine
from .access import ACTIVATE, Caller, Permission
from .problems import Code, not_found, problem, refuse
from .runtime import Runtime
from .service import Control, Written, body_of

__all__ = [
    "Begun", "act_on_backfill", "begin_mapped", "get_backfill", "list_backfills", "resend_adhoc", "start_backfill",
]  # fmt: skip

KINDS: Final = ("backfill", "resend")
ACTIONS: Final = ("pause", "resume", "cancel")
MAX_ADHOC_SEGMENTS: Final = 80
"""Audiences in one ad-hoc activation (AEP, ad-hoc activation API)."""
_KEYS: Final = ("segments", "identities", "kind", "qualified_after_ms", "qualified_before_ms", "rate")
_VIEW: Final = Permission.VIEW_DESTINATIONS
_NOT_AUTOMATIC: Final = "HEADRACE_AUTO_BACKFILL is off; start it where its members are to be sent"


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A backfill that was begun.

    Attributes:
        flow: Its flow.
        run: Its id.
        segments: Its audiences; empty for all that the flow maps.
    """

    flow: str
    run: str
    segments: tuple[str, ...] = ()


def begin_mapped(control: Control, runtime: Runtime, caller: Caller, made: Written) -> tuple[list[Begun], list[str]]:
    """The backfills that begin by themselves for the audiences that a change of a flow added.

    The engine begins them when it sees the change; one that is down sees it when it is back. The change itself stands
    in any case.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who made the change.
        made: The change.

    Returns:
        What was begun, and warnings when nothing was, or not yet.
    """
    segments = tuple(segment for _, segment in made.mapped)
    if not segments or not engine.works_for(control, caller):
        return [], []
    try:
        engine.asked(runtime, "configure")
        answer = engine.asked(runtime, "backfill-mapped", flow=made.id, segments=list(segments))
    except UseCaseError as error:
        return [], [
            f"the backfill of {', '.join(segments)} begins when the engine has seen the change: {error.problem}"
        ]
    warnings = [] if answer["automatic"] else [f"no backfill of {', '.join(segments)} was begun: {_NOT_AUTOMATIC}"]
    return [Begun(flow=made.id, run=run, segments=segments) for run in answer["runs"]], warnings


def start_backfill(control: Control, runtime: Runtime, caller: Caller, flow_id: str, body: Any) -> Begun:
    """Export the members of a flow's audiences; needs the permissions of activation.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        flow_id: The flow.
        body: ``segments``?, ``identities``?, ``kind``? (backfill or resend), ``qualified_after_ms``?,
            ``qualified_before_ms``?, ``rate``?; nothing for all that the flow maps.

    Raises:
        UseCaseError: 1101-404, 3000-400, 3016-503 or 3017-400.
    """
    access.require(caller, ACTIVATE)
    flow = engine.flow_of(control, caller, flow_id)
    given = body_of(body, _KEYS) if body else {}
    report = Report()
    kind = report.choice(given, "kind", "", KINDS)
    mapped = {value["id"] for value in compiling.selectors(flow.body)}
    segments = _segments(report, given, mapped)
    identities = _identities(report, given)
    after_ms = report.whole(given, "qualified_after_ms", "", least=0, most=2**53)
    before_ms = report.whole(given, "qualified_before_ms", "", least=0, most=2**53)
    rate = given.get("rate")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1e9):
        report.mistake("rate", "must be a number of exports a second", "above 0")
    refuse(report.mistakes)
    run = _started(
        runtime, flow.id, kind, segments, identities=identities, qualified_after_ms=after_ms,
        qualified_before_ms=before_ms, rate=rate,
    )  # fmt: skip
    engine.note(control, caller, f"start-{kind}", "backfills", run, {"flow": flow.id, "segments": list(segments)})
    return Begun(flow=flow.id, run=run, segments=segments)


def list_backfills(control: Control, runtime: Runtime, caller: Caller, flow_id: str) -> list[dict[str, Any]]:
    """The backfills of a flow, with how far they are; needs View Destinations.

    Raises:
        UseCaseError: 1101-404, 3016-503.
    """
    access.require(caller, (_VIEW,))
    flow = engine.flow_of(control, caller, flow_id)
    found: list[dict[str, Any]] = engine.asked(runtime, "backfill-status", flow=flow.id)
    return found


def get_backfill(control: Control, runtime: Runtime, caller: Caller, flow_id: str, run: str) -> dict[str, Any]:
    """One backfill of a flow; needs View Destinations.

    Raises:
        UseCaseError: 1101-404, 3016-503.
    """
    for each in list_backfills(control, runtime, caller, flow_id):
        if each.get("run") == run:
            return each
    raise not_found("backfills", run)


def act_on_backfill(
    control: Control, runtime: Runtime, caller: Caller, flow_id: str, run: str, action: str
) -> dict[str, Any]:
    """Pause, resume or cancel a backfill; needs the permissions of activation.

    Raises:
        UseCaseError: 1101-404, 1422-400, 3016-503 or 3017-400.
    """
    access.require(caller, ACTIVATE)
    get_backfill(control, runtime, caller, flow_id, run)
    if action not in ACTIONS:
        raise problem(Code.ACTION_REFUSED, f"the action {action[:40]!r} is none of {', '.join(ACTIONS)}")
    engine.asked(runtime, f"backfill-{action}", run=run)
    engine.note(control, caller, f"{action}-backfill", "backfills", run, {"flow": flow_id})
    return get_backfill(control, runtime, caller, flow_id, run)


def resend_adhoc(control: Control, runtime: Runtime, caller: Caller, body: Any) -> list[Begun]:
    """Send all members of audiences again (ad-hoc activation); needs the permissions of activation.

    Everything is checked before anything begins: one run for each flow and audience.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        body: ``activationInfo``: flow id to audience ids.

    Raises:
        UseCaseError: 1101-404, 1405-400, 3000-400, 3016-503 or 3017-400.
    """
    access.require(caller, ACTIVATE)
    given = body_of(body, ("activationInfo",))
    report = Report()
    wanted = given.get("activationInfo")
    if not isinstance(wanted, Mapping) or not wanted:
        report.mistake("activationInfo", "must name flows", '{"FLOW ID": ["AUDIENCE ID"]}')
        wanted = {}
    pairs: list[tuple[str, str]] = []
    for flow_id in wanted:
        flow = engine.flow_of(control, caller, flow_id)
        mapped = {value["id"] for value in compiling.selectors(flow.body)}
        for index, each in enumerate(report.elements(wanted, flow_id, "activationInfo", required=True)):
            if not isinstance(each, str) or each not in mapped:
                place = f"activationInfo.{flow_id}[{index}]"
                report.mistake(place, "is not part of this dataflow", ", ".join(sorted(mapped)))
            else:
                pairs.append((flow_id, each))
    if len(pairs) > MAX_ADHOC_SEGMENTS:
        report.mistake("activationInfo", f"names {len(pairs)} audiences", f"at most {MAX_ADHOC_SEGMENTS}")
    refuse(report.mistakes)
    begun = []
    for flow_id, segment in dict.fromkeys(pairs):
        run = _started(runtime, flow_id, "resend", (segment,))
        engine.note(control, caller, "start-resend", "backfills", run, {"flow": flow_id, "segments": [segment]})
        begun.append(Begun(flow=flow_id, run=run, segments=(segment,)))
    return begun


def _started(runtime: Runtime, flow_id: str, kind: str, segments: tuple[str, ...], **more: Any) -> str:
    answer = engine.asked(runtime, "backfill-start", flow=flow_id, kind=kind, segments=list(segments) or None, **more)
    return str(answer["run"])


def _segments(report: Report, given: Mapping[str, Any], mapped: set[str]) -> tuple[str, ...]:
    found = []
    for index, each in enumerate(report.elements(given, "segments", "")):
        if isinstance(each, str) and each in mapped:
            found.append(each)
        else:
            report.mistake(f"segments[{index}]", "is not mapped by the flow", ", ".join(sorted(mapped)))
    return tuple(dict.fromkeys(found))


def _identities(report: Report, given: Mapping[str, Any]) -> list[str] | None:
    """As the engine takes them: ``namespace:id``."""
    found = []
    for index, each in enumerate(report.elements(given, "identities", "")):
        place = f"identities[{index}]"
        if not isinstance(each, Mapping):
            report.mistake(place, "must be an object with namespace and id")
            continue
        members = report.members(each, place, ("namespace", "id"))
        namespace, identity = (report.text(members, name, place, required=True) for name in ("namespace", "id"))
        found.append(f"{namespace}:{identity}")
    return found or None
