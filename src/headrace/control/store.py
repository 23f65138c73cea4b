"""Where the records are kept: the contract. ``memory`` and ``tables`` keep it (tests/control/contract.py).

T1  A transaction takes effect whole when its block ends without an error, and not at all otherwise.
T2  Writing transactions run one after the other, over all processes; each sees what those before it did.
T3  A reading transaction sees one moment, whatever is written meanwhile.
T4  ``replace`` and ``remove`` act only while the record has the etag that was named: of two, one wins.
T5  The audit log only grows.
T6  The sums of runs are those of the runs that are there, in the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from .paging import NEWEST, Order
from .resources import Kind, Resource, Scope
from .run_figures import RunSums, SumsQuery


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which records of one kind.

    Attributes:
        kind: The kind.
        scope: Where they belong.
        ids: Only these ids; None for any.
        names: Only these names.
        refers: Only records that use one of these.
        order: Keys of the order; the id, ascending, decides between equals.
        after: Values of these keys and id of the record before the first; None from the start.
        limit: Most records; None for all.
    """

    kind: Kind
    scope: Scope
    ids: frozenset[str] | None = None
    names: frozenset[str] | None = None
    refers: frozenset[str] | None = None
    order: tuple[Order, ...] = NEWEST
    after: tuple[str | int, ...] | None = None
    limit: int | None = None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log: who did what, with the record before and after, secrets left out.

    Attributes:
        sequence: Grows by one or more per entry; 0 until it is stored.
        at_ms: When.
        scope: Of the record.
        subject: Account that did it.
        client: Client through which it was done.
        action: create, update, delete, enable, disable, sign-in, sign-in-failed, …
        kind: Of the record.
        resource_id: Its id.
        name: Its name then.
        before: The document before; None when there was none.
        after: The document after; None when there is none.
    """

    at_ms: int
    scope: Scope
    subject: str
    client: str
    action: str
    kind: str
    resource_id: str
    name: str = ""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    sequence: int = 0


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of the audit log, the latest first.

    Attributes:
        org: The organisation.
        sandbox: Only of this sandbox; None for all and for what belongs to the organisation.
        subject: Only by this account.
        action: Only this action.
        kind: Only of this kind.
        resource_id: Only of this record.
        from_ms: Not earlier.
        to_ms: Earlier than this.
        before: Only with a smaller sequence, for the next part.
        limit: Most lines.
    """

    org: str
    sandbox: str | None = None
    subject: str | None = None
    action: str | None = None
    kind: str | None = None
    resource_id: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    before: int | None = None
    limit: int = 100


class Reading(Protocol):
    """What a transaction can read. The records are shared with other readers: nobody changes one in place."""

    def get(self, kind: Kind, scope: Scope, resource_id: str) -> Resource | None:
        """One record, or None."""
        ...

    def unique(self, kind: Kind, text: str) -> Resource | None:
        """The record of this unique text, in any scope, or None."""
        ...

    def find(self, query: Query) -> list[Resource]:
        """The records of a query, in its order."""
        ...

    def count(self, query: Query) -> int:
        """How many records a query has, its limit and start apart."""
        ...

    def sums(self, query: SumsQuery) -> RunSums:
        """The figures of runs, summed."""
        ...

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Lines of the audit log, the latest first."""
        ...


class Writing(Reading, Protocol):
    """What a transaction can write."""

    def insert(self, resource: Resource) -> bool:
        """Keep a new record; False, and nothing is kept, when its id or its unique text is taken."""
        ...

    def replace(self, resource: Resource, etag: str) -> bool:
        """Put a record in the place of that with the same id and this etag.

        False, and nothing changes, when there is none, or when the unique text is taken by another.
        """
        ...

    def remove(self, resource: Resource) -> bool:
        """Remove the record that has this id and this etag; False when there is none."""
        ...

    def note(self, resource: Resource, notes: dict[str, Any]) -> None:
        """Put down what was observed of a record, without a new etag; nothing when it is gone."""
        ...

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Add lines to the audit log."""
        ...


class Store(Protocol):
    """Keeps the records; see the contract above. May be used from several threads."""

    @property
    def remote(self) -> bool:
        """Whether reading waits for another process."""
        ...

    def read(self) -> AbstractContextManager[Reading]:
        """A reading transaction."""
        ...

    def write(self) -> AbstractContextManager[Writing]:
        """A writing transaction; an error within its block undoes it.

        Raises:
            UseCaseError: 1103-503, others kept the store busy for too long.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; may be called twice."""
        ...
