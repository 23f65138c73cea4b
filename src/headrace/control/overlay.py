"""A store whose connections, audiences and flows are a file's, and whose accounts and runs are its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from .resources import Kind, Resource, Scope
from .run_figures import RunSums, SumsQuery
from .store import AuditEntry, AuditQuery, Query, Reading, Store, Writing

CONFIGURED: Final = frozenset({Kind.CONNECTION, Kind.SOURCE, Kind.TARGET, Kind.FLOW, Kind.SEGMENT})
"""Kinds of which the file rules."""


class _Reading:
    """See ``store.Reading``."""

    def __init__(self, own: Reading, configured: Reading) -> None:
        self._own, self._configured = own, configured

    def _of(self, kind: Kind) -> Reading:
        return self._configured if kind in CONFIGURED else self._own

    def get(self, kind: Kind, scope: Scope, resource_id: str) -> Resource | None:
        return self._of(kind).get(kind, scope, resource_id)

    def unique(self, kind: Kind, text: str) -> Resource | None:
        return self._of(kind).unique(kind, text)

    def find(self, query: Query) -> list[Resource]:
        return self._of(query.kind).find(query)

    def count(self, query: Query) -> int:
        return self._of(query.kind).count(query)

    def sums(self, query: SumsQuery) -> RunSums:
        return self._own.sums(query)

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        return self._own.audit(query)


class _Writing(_Reading):
    """See ``store.Writing``."""

    def __init__(self, own: Writing, configured: Writing) -> None:
        super().__init__(own, configured)
        self._own_write, self._configured_write = own, configured

    def _to(self, kind: Kind) -> Writing:
        return self._configured_write if kind in CONFIGURED else self._own_write

    def insert(self, resource: Resource) -> bool:
        return self._to(resource.kind).insert(resource)

    def replace(self, resource: Resource, etag: str) -> bool:
        return self._to(resource.kind).replace(resource, etag)

    def remove(self, resource: Resource) -> bool:
        return self._to(resource.kind).remove(resource)

    def note(self, resource: Resource, notes: dict[str, Any]) -> None:
        self._to(resource.kind).note(resource, notes)

    def append(self, entries: Sequence[AuditEntry]) -> None:
        self._own_write.append(entries)


class OverlayStore:
    """See ``store.Store``.

    Args:
        own: Keeps accounts, runs and the audit log.
        configured: Holds what the file says; ``Control.read_only`` keeps use cases from changing it.
    """

    def __init__(self, own: Store, configured: Store) -> None:
        self._own = own
        self.configured = configured

    @contextlib.contextmanager
    def read(self) -> Iterator[_Reading]:
        """See ``store.Store``."""
        with self._own.read() as own, self.configured.read() as configured:
            yield _Reading(own, configured)

    @contextlib.contextmanager
    def write(self) -> Iterator[_Writing]:
        """See ``store.Store``."""
        with self._own.write() as own, self.configured.write() as configured:
            yield _Writing(own, configured)

    @property
    def remote(self) -> bool:
        """See ``Store``."""
        return self._own.remote

    def close(self) -> None:
        """See ``store.Store``."""
        self._own.close()
