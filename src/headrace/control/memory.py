"""The store in memory: for tests and for a process without a database. Nothing outlives it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from .paging import Order
from .resources import Kind, Resource, Scope
from .run_figures import RunSums, SumsQuery, sums
from .store import AuditEntry, AuditQuery, Query

_Key = tuple[Kind, Scope, str]
_VALUES: Final[dict[str, Callable[[Resource], str | int]]] = {
    "name": lambda resource: resource.name,
    "id": lambda resource: resource.id,
    "state": lambda resource: resource.state,
    "createdAt": lambda resource: resource.created_ms,
    "updatedAt": lambda resource: resource.updated_ms,
}


def place(resource: Resource, order: Sequence[Order]) -> tuple[str | int, ...]:
    """A record's place in an order: the keys' values and its id, as ``Query.after`` takes it."""
    return (*(_VALUES[each.field](resource) for each in order), resource.id)


def _compare(order: Sequence[Order], one: tuple[str | int, ...], other: tuple[str | int, ...]) -> int:
    directions = [*(each.descending for each in order), False]
    for left, right, descending in zip(one, other, directions, strict=True):
        if left != right:
            less = left < right  # type: ignore[operator]  # the same field on both sides
            return 1 if less == descending else -1
    return 0


class _Contents:
    """What one transaction sees; a writing one changes a copy."""

    def __init__(self, records: dict[_Key, Resource], audit: tuple[AuditEntry, ...]) -> None:
        self.records = records
        self.entries = audit

    def get(self, kind: Kind, scope: Scope, resource_id: str) -> Resource | None:
        found = self.records.get((kind, scope, resource_id))
        return _copy(found) if found else None

    def unique(self, kind: Kind, text: str) -> Resource | None:
        found = self._holder(kind, text)
        return _copy(found) if found else None

    def _holder(self, kind: Kind, text: str) -> Resource | None:
        found = (each for each in self.records.values() if each.kind is kind and each.unique == text != "")
        return next(found, None)

    def find(self, query: Query) -> list[Resource]:
        order = functools.partial(_compare, query.order)
        found = sorted(self._matching(query), key=lambda pair: functools.cmp_to_key(order)(pair[0]))
        if query.after is not None:
            after = query.after
            found = [each for each in found if order(each[0], after) > 0]
        return [_copy(resource) for _, resource in found[: query.limit]]

    def _matching(self, query: Query) -> list[tuple[tuple[str | int, ...], Resource]]:
        return [
            (place(each, query.order), each)
            for each in self.records.values()
            if each.kind is query.kind
            and each.scope == query.scope
            and (query.ids is None or each.id in query.ids)
            and (query.names is None or each.name in query.names)
            and (query.refers is None or not query.refers.isdisjoint(each.refers))
        ]

    def count(self, query: Query) -> int:
        return len(self._matching(query))

    def sums(self, query: SumsQuery) -> RunSums:
        runs = (each for each in self.records.values() if each.kind is Kind.RUN and each.scope == query.scope)
        return sums(runs, query)

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        wanted = {
            name: value
            for name in ("subject", "action", "kind", "resource_id")
            if (value := getattr(query, name)) is not None
        }
        found = [
            each
            for each in reversed(self.entries)
            if each.scope.org == query.org
            and (query.sandbox is None or each.scope.sandbox == query.sandbox)
            and all(getattr(each, name) == value for name, value in wanted.items())
            and (query.from_ms is None or each.at_ms >= query.from_ms)
            and (query.to_ms is None or each.at_ms < query.to_ms)
            and (query.before is None or each.sequence < query.before)
        ]
        return found[: query.limit]

    def insert(self, resource: Resource) -> bool:
        key = (resource.kind, resource.scope, resource.id)
        if key in self.records or self._holder(resource.kind, resource.unique):
            return False
        self.records[key] = _copy(resource)
        return True

    def replace(self, resource: Resource, etag: str) -> bool:
        key = (resource.kind, resource.scope, resource.id)
        present, taken = self.records.get(key), self._holder(resource.kind, resource.unique)
        if present is None or present.etag != etag or (taken is not None and taken is not present):
            return False
        self.records[key] = _copy(resource)
        return True

    def remove(self, resource: Resource) -> bool:
        key = (resource.kind, resource.scope, resource.id)
        present = self.records.get(key)
        if present is None or present.etag != resource.etag:
            return False
        del self.records[key]
        return True

    def note(self, resource: Resource, notes: dict[str, Any]) -> None:
        key = (resource.kind, resource.scope, resource.id)
        if key in self.records:
            self.records[key] = _copy(msgspec.structs.replace(self.records[key], notes=notes))

    def append(self, entries: Sequence[AuditEntry]) -> None:
        last = self.entries[-1].sequence if self.entries else 0
        self.entries += tuple(
            msgspec.structs.replace(each, sequence=last + index) for index, each in enumerate(entries, 1)
        )


def _copy(resource: Resource) -> Resource:
    """A copy that shares nothing with its maker."""
    body, notes = msgspec.json.decode(msgspec.json.encode([resource.body, resource.notes]))
    return msgspec.structs.replace(resource, body=body, notes=notes, hidden=dict(resource.hidden))


class MemoryStore:
    """See ``store.Store``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[dict[_Key, Resource], tuple[AuditEntry, ...]] = ({}, ())

    @contextmanager
    def read(self) -> Iterator[_Contents]:
        """See ``store.Store``."""
        yield _Contents(*self._kept)

    @contextmanager
    def write(self) -> Iterator[_Contents]:
        """See ``store.Store``."""
        with self._lock:
            records, entries = self._kept
            contents = _Contents(dict(records), entries)
            yield contents
            self._kept = (contents.records, contents.entries)

    @property
    def remote(self) -> bool:
        """See ``Store``."""
        return False

    def close(self) -> None:
        """See ``store.Store``."""
