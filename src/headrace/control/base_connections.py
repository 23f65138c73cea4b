"""Use cases: base connections, the accounts at a destination."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from typing import Any, Final

import msgspec

from headrace.core.compile import READ_ONLY
from headrace.core.report import Report
from headrace.destinations.base import Check, Lists, Places
from headrace.destinations.base import Permission as Shown
from headrace.errors import Mistake, UseCaseError

from . import access, auth, paging
from . import connection_rules as rules
from .access import CONNECT, Caller, Permission
from .catalog import STREAMING_ID
from .connection_rules import Target
from .lists import Page, listed
from .paging import Listing
from .problems import Code, problem, refuse
from .resources import SETTABLE, Kind, Resource, changeable, secrets_masked, stamped, transition
from .service import Change, Control, Written, body_of, check_if_match, found, patched, reading, stated, writing
from .store import Query, Reading

__all__ = [
    "create_connection", "delete_connection", "get_connection", "list_connections", "list_places", "patch_connection",
    "search_connections", "test_connection",
]  # fmt: skip

_KEYS: Final = ("name", "description", "connectionSpec", "auth")
_DROPPED: Final = READ_ONLY | {"id", "state", "headrace"}
_VIEW: Final = Permission.VIEW_DESTINATIONS


def create_connection(control: Control, caller: Caller, body: Any) -> Written:
    """Make a base connection; needs View and Manage Destinations.

    Args:
        control: The parts.
        caller: Who.
        body: ``name``, ``description``?, ``connectionSpec`` and, for a destination, ``auth``.

    Raises:
        UseCaseError: 1405-400, or what ``auth.checked`` raises.
    """
    with writing(control, caller, *CONNECT) as change:
        document = stated(body_of(body, _KEYS, _DROPPED))
        connection_id = control.new_id()
        document, hidden, _ = auth.checked(control, caller.scope, connection_id, document, None)
        made = change.insert(
            Resource(
                kind=Kind.CONNECTION,
                id=connection_id,
                scope=caller.scope,
                body=_authorized(control, document),
                hidden=hidden,
            )
        )
        return Written(id=made.id, etag=made.etag)


def list_connections(control: Control, caller: Caller, listing: Listing) -> Page:
    """A part of the base connections; needs View Destinations."""
    with reading(control, caller, _VIEW) as transaction:
        return listed(
            transaction,
            caller,
            Kind.CONNECTION,
            listing,
            lambda found_: [_item(control, each, caller) for each in found_],
        )


def search_connections(control: Control, caller: Caller, body: Any, token: str | None = None) -> Page:
    """The base connections that a search names; needs View Destinations."""
    access.require(caller, (_VIEW,))
    return list_connections(control, caller, paging.read_search(body, token))


def get_connection(control: Control, caller: Caller, connection_id: str) -> dict[str, Any]:
    """One base connection, its secrets masked; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        return _item(control, found(transaction, Kind.CONNECTION, caller.scope, connection_id), caller)


def patch_connection(
    control: Control, caller: Caller, connection_id: str, operations: Any, if_match: str | None
) -> Written:
    """Change a base connection by a patch; needs View and Manage Destinations.

    The mask in the place of a secret keeps it. The connection's targets are checked against what it becomes.

    Raises:
        UseCaseError: 1101-404, 1403-400, 1404-412, 1414-400, 1416-400, 1434-400, 1455-400, 1456-400, or what
            ``auth.checked`` raises.
    """
    with writing(control, caller, *CONNECT) as change:
        old = change.found(Kind.CONNECTION, connection_id)
        changeable(old)
        document = patched(control, old, {**secrets_masked(old), "state": old.state}, operations, if_match)
        document = stated(body_of(document, (*_KEYS, "state")))
        state = _state(old, document.pop("state", None))
        if document.get("connectionSpec") != old.body["connectionSpec"]:
            raise problem(Code.SPEC_FIXED, "the connection spec of a connection cannot be updated; make a new one")
        document, hidden, target = auth.checked(control, caller.scope, old.id, document, old)
        _check_targets(change, old, target)
        same = document.get("auth") == old.body.get("auth") and hidden == old.hidden
        new = msgspec.structs.replace(
            old,
            body=document if same else _authorized(control, document),
            hidden=hidden,
            state=state,
            notes=old.notes if same else {},
        )
        made = change.replace(old, new)
        return Written(id=made.id, etag=made.etag)


def delete_connection(control: Control, caller: Caller, connection_id: str, if_match: str | None = None) -> None:
    """Remove a base connection with its unused source and target connections; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1416-400, or 1418-400 while flows use it.
    """
    with writing(control, caller, *CONNECT) as change:
        connection = change.found(Kind.CONNECTION, connection_id)
        check_if_match(control, connection, if_match)
        changeable(connection)
        below = _below(change.transaction, connection)
        using = frozenset(each.id for each in below)
        flows = change.transaction.find(Query(kind=Kind.FLOW, scope=caller.scope, refers=using)) if using else []
        if flows:
            raise problem(
                Code.CONNECTION_USED,
                f"the base connection with the ID {connection.id} cannot be deleted because it is being used in "
                f"{len(flows)} flows; delete these first: {', '.join(each.id for each in flows[:10])}",
            )
        for each in below:
            change.remove(each)
        change.remove(connection)


async def list_places(control: Control, caller: Caller, connection_id: str) -> Places:
    """What a target of the connection may name, for a choice; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    connection, _ = await asyncio.to_thread(_testable, control, caller, connection_id)
    destination = control.destinations.get(connection.body["connectionSpec"]["id"])
    if not isinstance(destination, Lists):
        return Places(complete=False, problem="this kind of destination does not list its places; name one yourself")
    return await destination.places(auth.base_target(control, connection).revealed())


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """What a test of a connection found.

    Attributes:
        result: True when nothing stops its flows.
        checks: For each target connection its id and what was found; empty without targets.
        permissions: Without targets, the verdicts that listing the account's places gave, which is all that can be
            tried of an account alone.
        problems: What is wrong with the account's own parameters, and, without targets, with its keys or endpoint.
        warnings: What stops no flow: that the places cannot be listed, and so must be typed.
    """

    result: bool
    checks: tuple[tuple[str, Check], ...] = ()
    permissions: tuple[Shown, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


async def test_connection(control: Control, caller: Caller, connection_id: str) -> Tested:
    """Try a base connection with each of its targets, without writing a record; needs View and Manage Destinations.

    The verdicts are kept with the connection (``headrace.check`` of the item).

    Raises:
        UseCaseError: 1101-404.
    """
    begun_ms = control.clock.now_ms()
    connection, targets = await asyncio.to_thread(_testable, control, caller, connection_id)
    destination = control.destinations.get(connection.body["connectionSpec"]["id"])
    if destination is None:
        return Tested(result=connection.state == "enabled")
    base = auth.base_target(control, connection)
    problems = [str(each) for each in auth.destination_mistakes(control, base, "auth")]
    checks = [(each.id, await destination.check(base.revealed(), each.body.get("params", {}))) for each in targets]
    permissions: tuple[Shown, ...] = ()
    warnings: list[str] = []
    if not targets and not problems and isinstance(destination, Lists):
        # Nothing would be tried otherwise, and wrong keys would pass as right ones.
        places = await destination.places(base.revealed())
        permissions = places.permissions
        (warnings if places.usable else problems).extend([places.problem] if places.problem else [])
    tested = Tested(
        result=not problems and all(check.ok for _, check in checks),
        checks=tuple(checks),
        permissions=permissions,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )
    await asyncio.to_thread(_note, control, connection, tested, begun_ms)
    return tested


async def note_check(control: Control, caller: Caller, connection_id: str) -> None:
    """Try a connection that was just made or changed, so that its verdicts stand there for whoever looks.

    Nothing comes of it when it was deleted meanwhile, or is being changed again.
    """
    with contextlib.suppress(UseCaseError):
        await test_connection(control, caller, connection_id)


def _testable(control: Control, caller: Caller, connection_id: str) -> tuple[Resource, list[Resource]]:
    with reading(control, caller, *CONNECT) as transaction:
        connection = found(transaction, Kind.CONNECTION, caller.scope, connection_id)
        targets = [each for each in _below(transaction, connection) if each.kind is Kind.TARGET]
        return connection, targets


def _note(control: Control, connection: Resource, tested: Tested, begun_ms: int) -> None:
    content = {
        "at": begun_ms,
        "result": tested.result,
        "permissions": msgspec.to_builtins(tested.permissions),
        "problems": tested.problems,
        "warnings": tested.warnings,
        "targets": [{"id": target_id, **msgspec.to_builtins(check)} for target_id, check in tested.checks],
    }
    with control.store.write() as transaction:
        present = transaction.get(connection.kind, connection.scope, connection.id)
        # Verdicts about an account that was changed meanwhile would be about another one; those of a test that began
        # later know targets that this one did not.
        if (
            present is not None
            and present.etag == connection.etag
            and present.notes.get("check", {}).get("at", begun_ms) <= begun_ms
        ):
            transaction.note(connection, {**present.notes, "check": content})


def _below(transaction: Reading, connection: Resource) -> list[Resource]:
    """The source and target connections of a base connection."""
    refers = frozenset({connection.id})
    return [
        each
        for kind in (Kind.SOURCE, Kind.TARGET)
        for each in transaction.find(Query(kind=kind, scope=connection.scope, refers=refers))
    ]


def _check_targets(change: Change, connection: Resource, base: Target) -> None:
    """Refuse when a target of the connection would no longer fit it."""
    mistakes: list[Mistake] = []
    for each in _below(change.transaction, connection):
        if each.kind is not Kind.TARGET:
            continue
        report = Report()
        place = f"targetConnections[{each.id}]"
        target = rules.read_target(report, each.body, place, change.control.catalog.specs, base)
        mistakes += report.mistakes
        mistakes += [
            mistake._replace(place=f"{place}.{mistake.place}")
            for mistake in auth.destination_mistakes(change.control, target, "target")
        ]
    refuse(mistakes)


def _state(old: Resource, value: Any) -> str:
    """The state that a patch asks for.

    Raises:
        UseCaseError: 1421-400, 1422-400 or 1456-400.
    """
    if not isinstance(value, str) or value not in SETTABLE:
        raise problem(
            Code.BAD_STATE, f"State {value!r:.60} is not a valid value. Allowed values are [{', '.join(SETTABLE)}]."
        )
    return transition(old, value)


def _authorized(control: Control, document: dict[str, Any]) -> dict[str, Any]:
    """The document with today as the day on which its account was given."""
    if not isinstance(document.get("auth"), dict):
        return document
    day = datetime.datetime.fromtimestamp(control.clock.now_ms() / 1000, datetime.UTC).date().isoformat()
    return {**document, "auth": {**document["auth"], "authorizedDate": day}}


def _item(control: Control, resource: Resource, caller: Caller) -> dict[str, Any]:
    body = secrets_masked(resource)
    if body["connectionSpec"]["id"] == STREAMING_ID:
        body = _with_inlet(control, resource.id, body)
    shown = stamped(msgspec.structs.replace(resource, body=body), caller.sandbox_id)
    return shown | {"headrace": resource.notes} if resource.notes else shown


def _with_inlet(control: Control, connection_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body with where the updates are sent to."""
    auth_ = body.get("auth") or {}
    inlet = {"inletId": connection_id, "inletUrl": f"{control.collection_url}/collection/{connection_id}"}
    return {**body, "auth": {**auth_, "params": {**auth_.get("params", {}), **inlet}}}
