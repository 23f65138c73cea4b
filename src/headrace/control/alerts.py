"""Use cases: the alerts that the engine has raised, which of them an account has read, and who is told of them."""

from __future__ import annotations

from typing import Any, Final

from . import access, engine
from .access import Caller, Permission
from .resources import Kind, Resource, Scope
from .runtime import Runtime
from .service import Control
from .store import Reading

__all__ = ["list_alerts", "list_channels", "mark_read"]

_VIEW: Final = (Permission.VIEW_DESTINATIONS,)
_NOTE: Final = "alertsRead"
_MOST: Final = 1000
"""Open alerts that are looked at; there are a few kinds for each flow."""


def list_alerts(
    control: Control, runtime: Runtime, caller: Caller, *, state: str = "open", limit: int = 100
) -> list[dict[str, Any]]:
    """Alerts, the latest first, each with whether the caller has read it (``read``); needs View Destinations.

    Args:
        control: The parts.
        runtime: The engine.
        caller: Who.
        state: ``open``, or ``all`` with those that are over.
        limit: Most of them.

    Raises:
        UseCaseError: 2120-403, 3016-503 or 3017-400.
    """
    access.require(caller, _VIEW)
    found = _asked(control, runtime, caller, state, limit)
    with control.store.read() as transaction:
        account = _account(transaction, caller)
    read = set(account.notes.get(_NOTE, ())) if account is not None else set()
    return [{**each, "read": each["id"] in read} for each in found]


def mark_read(control: Control, runtime: Runtime, caller: Caller) -> int:
    """Note that the caller has read every alert that is open now; how many these are. Needs View Destinations.

    It is a note of the account, not a change of it: it has no line in the audit log, and is kept where a
    configuration file rules too.

    Raises:
        UseCaseError: 2120-403, 3016-503 or 3017-400.
    """
    access.require(caller, _VIEW)
    ids = [each["id"] for each in _asked(control, runtime, caller, "open", _MOST)]
    with control.store.write() as transaction:
        account = _account(transaction, caller)
        if account is not None:
            # Alerts that are over need no mark: only as many are kept as are open.
            transaction.note(account, {**account.notes, _NOTE: ids})
    return len(ids)


def list_channels(control: Control, runtime: Runtime, caller: Caller) -> list[dict[str, Any]]:
    """Who is told of alerts, as the settings of the engine say, without secrets; needs View Destinations.

    Returns:
        For each channel its ``name`` and what is known of it.

    Raises:
        UseCaseError: 2120-403, 3016-503 or 3017-400.
    """
    access.require(caller, _VIEW)
    engine.in_engines_sandbox(control, caller)
    found: list[dict[str, Any]] = engine.asked(runtime, "alert-channels")
    return found


def _asked(control: Control, runtime: Runtime, caller: Caller, state: str, limit: int) -> list[dict[str, Any]]:
    engine.in_engines_sandbox(control, caller)
    found: list[dict[str, Any]] = engine.asked(runtime, "alerts", state=state, limit=limit)
    return found


def _account(transaction: Reading, caller: Caller) -> Resource | None:
    kind = Kind.CLIENT if caller.kind == "client" else Kind.USER
    return transaction.get(kind, Scope(caller.scope.org), caller.subject)
