"""What an item shows of the records it uses: ``inheritedAttributes`` of source and target connections and flows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .resources import Kind, Resource, Scope, stamped
from .store import Query, Reading

TYPE_INFO: Final = {"type": "ProfileFragments", "id": "ups"}
"""Of a source connection: the profiles."""


def by_id(transaction: Reading, kind: Kind, scope: Scope, ids: Iterable[str]) -> dict[str, Resource]:
    """The records of these ids, read at once."""
    wanted = frozenset(ids)
    return {each.id: each for each in transaction.find(Query(kind=kind, scope=scope, ids=wanted))} if wanted else {}


def connections(transaction: Reading, records: list[Resource], sandbox_id: str) -> list[dict[str, Any]]:
    """Items of source or target connections."""
    if not records:
        return []
    ids = [each.body["baseConnectionId"] for each in records if each.body.get("baseConnectionId")]
    bases = by_id(transaction, Kind.CONNECTION, records[0].scope, ids)
    items = []
    for each in records:
        item = stamped(each, sandbox_id)
        if each.kind is Kind.SOURCE:
            item["typeInfo"] = TYPE_INFO
        item["inheritedAttributes"] = _base(each, bases)
        items.append(item)
    return items


def flows(transaction: Reading, records: list[Resource], sandbox_id: str) -> list[dict[str, Any]]:
    """Items of flows."""
    if not records:
        return []
    scope = records[0].scope
    sources = by_id(
        transaction, Kind.SOURCE, scope, (i for each in records for i in each.body["sourceConnectionIds"])
    )
    targets = by_id(
        transaction, Kind.TARGET, scope, (i for each in records for i in each.body["targetConnectionIds"])
    )
    used = [*sources.values(), *targets.values()]
    bases = by_id(
        transaction, Kind.CONNECTION, scope, (i for each in used if (i := each.body.get("baseConnectionId")))
    )
    # Shared by the items: many flows use the same connections.
    begins = {each.id: {**_used(each, bases), "typeInfo": TYPE_INFO} for each in sources.values()}
    ends = {each.id: _used(each, bases) for each in targets.values()}
    return [
        {
            **stamped(each, sandbox_id),
            "inheritedAttributes": {
                "properties": {"isDestinationFlow": True},
                "sourceConnections": [begins[i] for i in each.body["sourceConnectionIds"] if i in begins],
                "targetConnections": [ends[i] for i in each.body["targetConnectionIds"] if i in ends],
            },
            "runs": f"/runs?property=flowId=={each.id}",
            **each.notes,
        }
        for each in records
    ]


def _used(connection: Resource, bases: Mapping[str, Resource]) -> dict[str, Any]:
    return {"id": connection.id, "connectionSpec": connection.body.get("connectionSpec"), **_base(connection, bases)}


def _base(connection: Resource, bases: Mapping[str, Resource]) -> dict[str, Any]:
    base = bases.get(connection.body.get("baseConnectionId") or "")
    if base is None:
        return {}
    return {"baseConnection": {"id": base.id, "connectionSpec": base.body["connectionSpec"]}}
