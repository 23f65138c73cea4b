"""The records of the control plane: one shape for all kinds, their states, and how they look from outside.

A record's ``body`` is its document as the API takes and gives it, without the common fields and without secrets.
What must never leave (sealed secrets, hashes) is in ``hidden`` and nowhere else, so one rule keeps it in.

Common fields and states: Flow Service API, entities. ``etag`` holds its double quotes, as AEP's does.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from .problems import Code, problem

MASK: Final = "****"
"""Stands for a secret on every way out."""


class Kind(enum.StrEnum):
    """Kinds of records; the text is the collection's name in the API where it has one."""

    ORGANISATION = "organisations"
    SANDBOX = "sandboxes"
    ROLE = "roles"
    CLIENT = "clients"
    USER = "users"
    CONNECTION = "connections"
    SOURCE = "sourceConnections"
    TARGET = "targetConnections"
    FLOW = "flows"
    RUN = "runs"
    SEGMENT = "segments"
    SIGN_IN_LINK = "signInLinks"
    SCHEMA = "profileSchemas"


class Scope(NamedTuple):
    """Where a record belongs.

    Attributes:
        org: Organisation id (``imsOrgId``).
        sandbox: Sandbox name; empty for what belongs to the organisation itself.
    """

    org: str
    sandbox: str = ""


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One record.

    Attributes:
        kind: What it is.
        id: Unique within kind and scope.
        scope: Where it belongs.
        name: As in the body; empty when the kind has none.
        state: One of ``STATES[kind]``.
        created_ms: Epoch milliseconds.
        updated_ms: Epoch milliseconds.
        created_by: Account that made it.
        updated_by: Account that changed it last.
        created_client: Client through which it was made.
        updated_client: Client through which it was changed last.
        etag: Changes at each change, double quotes included.
        body: The document.
        hidden: Texts that never leave: sealed secrets by parameter name, hashes.
        refers: Ids of the records that it uses.
        unique: Text that no other record of the kind has; empty for none.
        notes: What was observed about it (last check, last run); changes without a new etag.
    """

    kind: Kind
    id: str
    scope: Scope
    name: str = ""
    state: str = "enabled"
    created_ms: int = 0
    updated_ms: int = 0
    created_by: str = ""
    updated_by: str = ""
    created_client: str = ""
    updated_client: str = ""
    etag: str = ""
    body: dict[str, Any] = {}
    hidden: dict[str, str] = {}
    refers: tuple[str, ...] = ()
    unique: str = ""
    notes: dict[str, Any] = {}


_SETTLED: Final = frozenset({"enabled", "disabled"})
STATES: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.CONNECTION: _SETTLED | {"initializing"},
    Kind.SOURCE: _SETTLED | {"inProgress", "updating", "enabling", "disabling"},
    Kind.TARGET: _SETTLED | {"inProgress", "updating", "enabling", "disabling"},
    Kind.FLOW: _SETTLED | {"pending", "enabled-finalizing", "delete-finalizing"},
    Kind.RUN: frozenset({"inProgress", "success", "failed"}),
    Kind.SEGMENT: frozenset({"draft", "published", "inactive", "archived"}),
    Kind.SANDBOX: frozenset({"creating", "active", "deleting", "resetting", "deleted", "failed"}),
    Kind.ORGANISATION: _SETTLED,
    Kind.CLIENT: _SETTLED,
    Kind.USER: _SETTLED,
    Kind.ROLE: _SETTLED,
    Kind.SIGN_IN_LINK: _SETTLED,
    Kind.SCHEMA: _SETTLED,
}

TRANSITIONS: Final[Mapping[Kind, Mapping[str, frozenset[str]]]] = {
    Kind.CONNECTION: {
        "initializing": _SETTLED,
        "enabled": frozenset({"disabled"}),
        "disabled": frozenset({"enabled"}),
    },
    Kind.FLOW: {"enabled": frozenset({"disabled"}), "disabled": frozenset({"enabled"})},
}
"""State to the states that a request may lead to; a state that is not named is one on the way, and stays."""

SETTABLE: Final = ("enabled", "disabled", "initializing")
"""States that a patch of a connection may name."""


def changeable(resource: Resource) -> None:
    """Refuse a change or removal of a record that is on its way to another state.

    Raises:
        UseCaseError: 1416-400 for a connection, 1421-400 for the rest.
    """
    if resource.kind is Kind.CONNECTION:
        if resource.state not in SETTABLE:
            raise problem(
                Code.CONNECTION_STATE,
                f"the connection is {resource.state}; it can be changed or deleted only while "
                f"{', '.join(SETTABLE[:-1])} or {SETTABLE[-1]}",
            )
    elif resource.kind in (Kind.SOURCE, Kind.TARGET, Kind.FLOW) and resource.state not in _SETTLED:
        raise problem(Code.STATE_BUSY, f"the current state {resource.state} cannot be changed; try again later")


def transition(resource: Resource, state: str) -> str:
    """The state that a request leads to; asking for the present one changes nothing.

    Raises:
        UseCaseError: 1421-400 or 1422-400, when it does not lead there.
    """
    if state == resource.state:
        return state
    reachable = TRANSITIONS.get(resource.kind, {}).get(resource.state)
    if reachable is None:
        raise problem(Code.STATE_BUSY, f"the current state {resource.state} cannot be transitioned")
    if state not in reachable:
        raise problem(
            Code.ACTION_REFUSED,
            f"the state {state} cannot follow the current state {resource.state}; "
            f"allowed: {', '.join(sorted(reachable))}",
        )
    return state


def stamped(resource: Resource, sandbox_id: str = "") -> dict[str, Any]:
    """The record as the Flow Service shows it: common fields around a copy of the body's top level.

    Args:
        resource: The record; what is hidden does not take part.
        sandbox_id: Id of its sandbox.
    """
    item: dict[str, Any] = {
        "id": resource.id,
        "createdAt": resource.created_ms,
        "updatedAt": resource.updated_ms,
        "createdBy": resource.created_by,
        "updatedBy": resource.updated_by,
        "createdClient": resource.created_client,
        "updatedClient": resource.updated_client,
        "sandboxId": sandbox_id,
        "sandboxName": resource.scope.sandbox,
        "imsOrgId": resource.scope.org,
        "state": resource.state,
        "version": resource.etag,
        "etag": resource.etag,
    }
    item.update(resource.body)
    return item


def secrets_masked(resource: Resource) -> dict[str, Any]:
    """The body with the mask in the place of each sealed parameter of ``auth.params``."""
    if not resource.hidden or "auth" not in resource.body:
        return resource.body
    auth = resource.body["auth"]
    params = {**auth.get("params", {}), **dict.fromkeys(resource.hidden, MASK)}
    return {**resource.body, "auth": {**auth, "params": params}}
