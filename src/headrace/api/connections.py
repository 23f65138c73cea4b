"""Base, source and target connections."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import Any, Final

import msgspec

from headrace.control import base_connections, source_connections, target_connections
from headrace.control.access import CONNECT, Permission
from headrace.errors import UseCaseError

from .call import After, Answer, Call
from .flow_service import BASE, CREATED, DELETED, LISTING, PATCHED, TOKEN, listed, one, written
from .operation import Operations
from .schemas import items, page, ref

operations: Final = Operations(BASE, "Connections")
ours: Final = Operations("", "Connections")
_VIEW: Final = (Permission.VIEW_DESTINATIONS,)
_MADE: Final[dict[str, Any]] = {**CREATED, "refusals": (409, 422), "needs": CONNECT}


@operations("GET", "/connections", parameters=LISTING, answer=page("Connection"), needs=_VIEW)
def list_connections(call: Call) -> Answer:
    """List the base connections."""
    return listed("/connections", base_connections.list_connections(call.control, call.caller, call.listing()))


@operations("POST", "/connections", body=ref("NewConnection"), **_MADE)
def create_connection(call: Call) -> Answer:
    """Make a base connection: an account at a destination, or the profile store.

    Once it is answered, the account is tried; what is found stands in the connection.
    """
    made = base_connections.create_connection(call.control, call.caller, call.body())
    return msgspec.structs.replace(written(made, 201), after=_tried(call, made.id))


@operations(
    "POST", "/connections/search", body=ref("Search"), parameters=(TOKEN,), answer=page("Connection"), needs=_VIEW
)
def search_connections(call: Call) -> Answer:
    """Search the base connections."""
    found = base_connections.search_connections(call.control, call.caller, call.body(), call.one("continuationToken"))
    return listed("/connections/search", found)


@operations("GET", "/connections/{id}", answer=items("Connection"), needs=_VIEW)
def get_connection(call: Call) -> Answer:
    """Look up a base connection; its secrets are masked."""
    return one(base_connections.get_connection(call.control, call.caller, call.path["id"]))


@operations("PATCH", "/connections/{id}", needs=CONNECT, **PATCHED)
def patch_connection(call: Call) -> Answer:
    """Change a base connection.

    The flows that use it go on with what it becomes, without a restart. `****` keeps a secret.
    """
    made = base_connections.patch_connection(call.control, call.caller, call.path["id"], call.body(), call.if_match)
    return msgspec.structs.replace(written(made), after=_tried(call, made.id))


@operations("DELETE", "/connections/{id}", status=204, needs=CONNECT, **DELETED)
def delete_connection(call: Call) -> Answer:
    """Remove a base connection that no flow uses, with its source and target connections."""
    base_connections.delete_connection(call.control, call.caller, call.path["id"], call.if_match)
    return Answer(status=204)


@operations("GET", "/connections/{id}/test", answer=ref("Tested"), needs=CONNECT)
async def test_connection(call: Call) -> Answer:
    """Try a base connection with each of its targets; nothing is written to them.

    Of one without targets the listing of its streams is tried; `permissions` has what that shows.
    """
    found = await base_connections.test_connection(call.control, call.caller, call.path["id"])
    targets = [{"id": target, **msgspec.to_builtins(check)} for target, check in found.checks]
    return Answer(
        content={
            "result": found.result,
            "permissions": msgspec.to_builtins(found.permissions),
            "problems": list(found.problems),
            "warnings": list(found.warnings),
            "targets": targets,
        }
    )


@ours("GET", "/headrace/connections/{id}/streams", answer=ref("Streams"), needs=CONNECT)
async def list_streams(call: Call) -> Answer:
    """List the streams of an account, for a choice among them."""
    found = await base_connections.list_places(call.control, call.caller, call.path["id"])
    content: dict[str, Any] = {"streams": list(found.names), "complete": found.complete}
    if found.problem:
        content["problem"] = found.problem
    return Answer(content=content)


@operations("GET", "/sourceConnections", parameters=LISTING, answer=page("SourceConnection"), needs=_VIEW)
def list_source_connections(call: Call) -> Answer:
    """List the source connections."""
    found = source_connections.list_source_connections(call.control, call.caller, call.listing())
    return listed("/sourceConnections", found)


@operations("POST", "/sourceConnections", body=ref("NewSourceConnection"), **_MADE)
def create_source_connection(call: Call) -> Answer:
    """Make a source connection: the profile store as the beginning of flows."""
    return written(source_connections.create_source_connection(call.control, call.caller, call.body()), 201)


@operations("GET", "/sourceConnections/{id}", answer=items("SourceConnection"), needs=_VIEW)
def get_source_connection(call: Call) -> Answer:
    """Look up a source connection."""
    return one(source_connections.get_source_connection(call.control, call.caller, call.path["id"]))


@operations("PATCH", "/sourceConnections/{id}", needs=CONNECT, **PATCHED)
def patch_source_connection(call: Call) -> Answer:
    """Change a source connection."""
    made = source_connections.patch_source_connection(
        call.control, call.caller, call.path["id"], call.body(), call.if_match
    )
    return written(made)


@operations("DELETE", "/sourceConnections/{id}", status=202, needs=CONNECT, **DELETED)
def delete_source_connection(call: Call) -> Answer:
    """Remove a source connection that no flow uses."""
    source_connections.delete_source_connection(call.control, call.caller, call.path["id"], call.if_match)
    return Answer(status=202)


@operations("GET", "/targetConnections", parameters=LISTING, answer=page("TargetConnection"), needs=_VIEW)
def list_target_connections(call: Call) -> Answer:
    """List the target connections."""
    found = target_connections.list_target_connections(call.control, call.caller, call.listing())
    return listed("/targetConnections", found)


@operations("POST", "/targetConnections", body=ref("NewTargetConnection"), **_MADE)
def create_target_connection(call: Call) -> Answer:
    """Make a target connection: a place within an account, for example a stream.

    Once it is answered, the connection is tried; what is found stands in the base connection.
    """
    made = target_connections.create_target_connection(call.control, call.caller, call.body())
    return msgspec.structs.replace(written(made, 201), after=_target_tried(call, made.id))


@operations("GET", "/targetConnections/{id}", answer=items("TargetConnection"), needs=_VIEW)
def get_target_connection(call: Call) -> Answer:
    """Look up a target connection."""
    return one(target_connections.get_target_connection(call.control, call.caller, call.path["id"]))


@operations("PATCH", "/targetConnections/{id}", needs=CONNECT, **PATCHED)
def patch_target_connection(call: Call) -> Answer:
    """Change a target connection; its flows go on with what it becomes, without a restart."""
    made = target_connections.patch_target_connection(
        call.control, call.caller, call.path["id"], call.body(), call.if_match
    )
    return msgspec.structs.replace(written(made), after=_target_tried(call, made.id))


@operations("DELETE", "/targetConnections/{id}", status=202, needs=CONNECT, **DELETED)
def delete_target_connection(call: Call) -> Answer:
    """Remove a target connection that no flow uses.

    Once it is answered, its base connection is tried with the targets that are left.
    """
    target_id = call.path["id"]
    after: After | None = None
    with contextlib.suppress(UseCaseError):  # who may not look may not delete either, and is told so below
        target = target_connections.get_target_connection(call.control, call.caller, target_id)
        after = _tried(call, target["baseConnectionId"])
    target_connections.delete_target_connection(call.control, call.caller, target_id, call.if_match)
    return Answer(status=202, after=after)


def _tried(call: Call, connection_id: str) -> After:
    """Tries a base connection."""
    return functools.partial(base_connections.note_check, call.control, call.caller, connection_id)


def _target_tried(call: Call, target_id: str) -> After:
    """Tries the base connection of a target connection."""

    async def after() -> None:
        with contextlib.suppress(UseCaseError):  # it was deleted meanwhile
            target = await asyncio.to_thread(
                target_connections.get_target_connection, call.control, call.caller, target_id
            )
            await base_connections.note_check(call.control, call.caller, target["baseConnectionId"])

    return after
