"""Use cases: what was refused for good, exports by their destination and updates by Headrace, once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.core.report import Report

from . import access, engine
from .access import ACTIVATE, Caller, Permission
from .problems import Code, not_found, problem, refuse
from .runtime import Runtime
from .service import Control, body_of

__all__ = ["REPLAY_UPDATES", "get_dead_letter", "list_dead_letters", "replay_dead_letters", "replay_updates"]

MAX_LIMIT: Final = 1000
_KEYS: Final = ("ids", "reason", "dryRun", "original")
_VIEW: Final = (Permission.VIEW_DESTINATIONS, Permission.VIEW_PROFILES)
REPLAY_UPDATES: Final = (*_VIEW, Permission.MANAGE_DESTINATIONS)
"""What replaying updates needs: they hold a person's values, and may lead to messages of every flow."""


def list_dead_letters(
    control: Control, runtime: Runtime, caller: Caller, flow_id: str, *, limit: int = 100, reason: str | None = None
) -> list[dict[str, Any]]:
    """A flow's dead letters, the latest first; needs View Destinations and View Profiles.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        flow_id: The flow.
        limit: Most, 1 to 1000.
        reason: Only with this reason.

    Raises:
        UseCaseError: 1101-404, 1451-400, 3016-503.
    """
    access.require(caller, _VIEW)
    flow = engine.flow_of(control, caller, flow_id)
    if not 1 <= limit <= MAX_LIMIT:
        raise problem(Code.BAD_PARAMETER, f"limit must be a whole number from 1 to {MAX_LIMIT}, not {limit}")
    found: list[dict[str, Any]] = engine.asked(
        runtime, "dead-letters", flow=flow.id, kind="export", limit=limit, reason=reason
    )
    return found


def get_dead_letter(control: Control, runtime: Runtime, caller: Caller, flow_id: str, letter: str) -> dict[str, Any]:
    """One dead letter of a flow, with its message; needs View Destinations and View Profiles.

    Raises:
        UseCaseError: 1101-404, 3016-503.
    """
    access.require(caller, _VIEW)
    flow = engine.flow_of(control, caller, flow_id)
    found = engine.asked(runtime, "dead-letter", id=letter)
    if not isinstance(found, dict) or found.get("flow") != flow.id:
        raise not_found("deadLetters", letter)
    return found


def replay_dead_letters(
    control: Control, runtime: Runtime, caller: Caller, flow_id: str, body: Any
) -> dict[str, Any]:
    """Send dead letters of a flow again; needs the permissions of activation.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        flow_id: The flow.
        body: ``ids``? (all when absent), ``reason``?, ``dryRun``? (only say how many), ``original``? (the message as
            it was, instead of the profile as it is now).

    Raises:
        UseCaseError: 1101-404, 3000-400, 3016-503 or 3017-400.
    """
    access.require(caller, ACTIVATE)
    flow = engine.flow_of(control, caller, flow_id)
    given = body_of(body, _KEYS) if body else {}
    report = Report()
    ids = _ids(report, given)
    reason = report.text(given, "reason", "")
    dry_run = report.flag(given, "dryRun", "", default=False)
    original = report.flag(given, "original", "", default=False)
    refuse(report.mistakes)
    wanted = {"flow": flow.id} | ({"reason": reason} if reason else {})
    answer = engine.asked(
        runtime, "dead-letter-replay", ids=ids or None, filter=wanted, dry_run=dry_run, original=original
    )
    if not dry_run:
        engine.note(control, caller, "replay", "deadLetters", flow.id, {"ids": ids, "reason": reason})
    return answer if isinstance(answer, dict) else {"answer": answer}


def replay_updates(control: Control, runtime: Runtime, caller: Caller, body: Any) -> dict[str, Any]:
    """Decide refused updates again; needs View Destinations, View Profiles and Manage Destinations.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        body: ``ids``? (all when absent), ``reason``?, ``dryRun``? (only say how many).

    Returns:
        ``updates`` that are decided again, and ``left``: why some stay, with how many.

    Raises:
        UseCaseError: 2120-403, 3000-400, 3016-503 or 3017-400.
    """
    access.require(caller, REPLAY_UPDATES)
    engine.in_engines_sandbox(control, caller)
    given = body_of(body, ("ids", "reason", "dryRun")) if body else {}
    report = Report()
    ids = _ids(report, given)
    reason = report.text(given, "reason", "")
    dry_run = report.flag(given, "dryRun", "", default=False)
    refuse(report.mistakes)
    wanted = {"kind": "update"} | ({"reason": reason} if reason else {})
    answer = engine.asked(runtime, "dead-letter-replay", ids=ids or None, filter=wanted, dry_run=dry_run)
    if not dry_run:
        engine.note(control, caller, "replay", "deadLetters", "updates", {"ids": ids, "reason": reason})
    return answer if isinstance(answer, dict) else {"answer": answer}


def _ids(report: Report, given: Mapping[str, Any]) -> list[str]:
    """The ids of a request, each a text."""
    ids = report.elements(given, "ids", "")
    for index, each in enumerate(ids):
        if not isinstance(each, str):
            report.mistake(f"ids[{index}]", "must be text")
    return list(ids)
