"""Base connections that are tried, with their targets or alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.clock import Manual
from headrace.control import base_connections, target_connections
from headrace.control.store import Store
from headrace.destinations.base import Permission, Places
from headrace.destinations.memory import MemoryDestination

from .asking import changed, replaced
from .plane import ANN, MEMORY_ID, SECRET, connection_body, memory_body, plane, platform_body, target_body

B, T = base_connections, target_connections


def test_a_test_of_a_connection_tries_each_target_and_is_kept(store: Store) -> None:
    """The verdicts are shown with the connection, without a new etag, until the account changes."""
    control = plane(store)
    base = B.create_connection(control, ANN, memory_body())
    body = {"name": "t", "baseConnectionId": base.id, "params": {"stream": "s"}}
    target = T.create_target_connection(control, ANN, body).id
    tested = asyncio.run(B.test_connection(control, ANN, base.id))
    assert tested.result
    assert [(each, check.permissions[0].verdict) for each, check in tested.checks] == [(target, "allowed")]
    item = B.get_connection(control, ANN, base.id)
    assert item["etag"] == base.etag
    assert item["headrace"]["check"]["result"] is True
    assert item["headrace"]["check"]["targets"][0]["permissions"][0]["action"] == "memory:Write"
    changed(control, base.id, replaced("/name", "New"))
    assert "headrace" in B.get_connection(control, ANN, base.id)
    auth = {"specName": "No authentication", "params": {}}
    changed(control, base.id, {"op": "add", "path": "/auth", "value": auth})
    assert "headrace" not in B.get_connection(control, ANN, base.id)
    assert asyncio.run(B.test_connection(control, ANN, B.create_connection(control, ANN, platform_body()).id)).result


def test_a_test_of_an_unreachable_account_tells_why() -> None:
    """Nothing listens there: the result is false and the problem is told, without the secret."""
    control = plane()
    made = B.create_connection(control, ANN, connection_body(endpointUrl="https://localhost:1"))
    alone = asyncio.run(B.test_connection(control, ANN, made.id))
    assert (alone.result, alone.checks, len(alone.problems)) == (False, (), 1)
    assert B.get_connection(control, ANN, made.id)["headrace"]["check"]["result"] is False
    T.create_target_connection(control, ANN, target_body(made.id))
    tested = asyncio.run(B.test_connection(control, ANN, made.id))
    assert not tested.result
    assert SECRET not in msgspec.json.encode((alone, tested)).decode()


class Unlisted(MemoryDestination):
    """Memory whose keys may write but not list."""

    async def places(self, auth: Mapping[str, Any]) -> Places:
        """None, with the reason."""
        denied = Permission("memory:List", "denied", "ask for it")
        return Places(complete=False, problem="listing is denied; type a name", permissions=(denied,))


def test_an_account_that_may_not_list_passes_with_a_warning() -> None:
    """Keys that may write need not be allowed to list: the verdict is kept, and nothing counts as failed."""
    control = plane(destinations={MEMORY_ID: Unlisted()})
    made = B.create_connection(control, ANN, memory_body())
    alone = asyncio.run(B.test_connection(control, ANN, made.id))
    assert (alone.result, alone.problems, alone.warnings) == (True, (), ("listing is denied; type a name",))
    kept = B.get_connection(control, ANN, made.id)["headrace"]["check"]
    assert [each["verdict"] for each in kept["permissions"]] == ["denied"]


class SlowToList(MemoryDestination):
    """Memory whose places are listed only when somebody lets go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def places(self, auth: Mapping[str, Any]) -> Places:
        """List them, late."""
        self.asked.set()
        await self.go.wait()
        return await super().places(auth)


def test_a_test_that_began_earlier_does_not_replace_later_verdicts() -> None:
    """It answers late, when the account has a target that it did not know of."""
    slow, clock = SlowToList(), Manual()
    control = plane(destinations={MEMORY_ID: slow}, clock=clock)
    made = B.create_connection(control, ANN, memory_body())

    async def overlapping() -> None:
        earlier = asyncio.create_task(B.test_connection(control, ANN, made.id))
        await slow.asked.wait()
        clock.advance(1)
        T.create_target_connection(
            control, ANN, {"name": "t", "baseConnectionId": made.id, "params": {"stream": "s"}}
        )
        await B.test_connection(control, ANN, made.id)
        slow.go.set()
        await earlier

    asyncio.run(overlapping())
    assert len(B.get_connection(control, ANN, made.id)["headrace"]["check"]["targets"]) == 1
