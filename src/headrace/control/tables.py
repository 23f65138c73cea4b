"""The store in a database: SQLite in a file by default, PostgreSQL by URL.

SQLite: one writer at a time by its own lock (``BEGIN IMMEDIATE``), readers by the write-ahead log.
PostgreSQL: one writer at a time by an advisory lock, readers by ``REPEATABLE READ``.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from headrace.errors import StateError

from . import run_tables, schema, statements
from .database import BUSY_TIMEOUT_MS, engine_of
from .filters import storable
from .problems import Code, problem
from .resources import Kind, Resource, Scope
from .run_figures import RunSums, SumsQuery
from .schema import AUDIT, RECORDS, REFERENCES
from .statements import Shape
from .store import AuditEntry, AuditQuery, Query

_WRITERS_LOCK: Final = 0x6865_6164_7261_6365
"""Key of PostgreSQL's advisory lock: "headrace"."""
_CHUNK: Final = 1000
"""Ids in one statement."""
_PLAIN: Final = (
    *("id", "name", "state", "created_ms", "updated_ms", "created_by", "updated_by", "created_client"),
    *("updated_client", "etag"),
)
_CODED: Final = ("body", "hidden", "refers", "notes")
_STRINGS: Final = msgspec.json.Decoder(dict[str, str])
_IDS: Final = msgspec.json.Decoder(tuple[str, ...])
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class _Decoded:
    """Records as they were decoded, by their etag, which changes with everything but notes: lists read few bodies.

    Args:
        most: Records kept; the longest unused goes first.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._records: OrderedDict[tuple[str, ...], Resource] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[tuple[str, ...]]) -> list[Resource | None]:
        """The records of these keys, None for those that are not here."""
        with self._lock:
            found = [self._records.get(key) for key in keys]
            for key, record in zip(keys, found, strict=True):
                if record is not None:
                    self._records.move_to_end(key)
            return found

    def put(self, key: tuple[str, ...], record: Resource) -> None:
        with self._lock:
            self._records[key] = record
            if len(self._records) > self._most:
                self._records.popitem(last=False)


class _Reading:
    """See ``store.Reading``."""

    def __init__(self, connection: sa.Connection, decoded: _Decoded) -> None:
        self._connection = connection
        self._decoded = decoded

    def get(self, kind: Kind, scope: Scope, resource_id: str) -> Resource | None:
        if not storable(resource_id):
            return None
        row = self._connection.execute(_GET, _key(kind, scope, resource_id)).one_or_none()
        return _resource(row) if row else None

    def unique(self, kind: Kind, text: str) -> Resource | None:
        if not text or not storable(text):
            return None
        row = self._connection.execute(_UNIQUE, {"kind_": kind.value, "unique_": text}).one_or_none()
        return _resource(row) if row else None

    def find(self, query: Query) -> list[Resource]:
        rows = self._connection.execute(statements.heads(Shape.of(query)), statements.values(query)).all()
        head = (query.kind.value, *query.scope)
        known = self._decoded.get([(*head, record_id, etag) for record_id, etag, _ in rows])
        found = {row[0]: record for row, record in zip(rows, known, strict=True)}
        missing = [each for each, record in found.items() if record is None]
        for start in range(0, len(missing), _CHUNK):
            some = Query(kind=query.kind, scope=query.scope, ids=frozenset(missing[start : start + _CHUNK]))
            for row in self._connection.execute(statements.whole(), statements.values(some)):
                record = msgspec.structs.replace(_resource(row), notes={})
                self._decoded.put((*head, record.id, record.etag), record)
                found[record.id] = record
        return [_noted(found[record_id], notes) for record_id, _, notes in rows]

    def count(self, query: Query) -> int:
        # Its limit and start do not count.
        counted = msgspec.structs.replace(query, after=None, limit=None)
        return int(
            self._connection.execute(statements.count(Shape.of(counted)), statements.values(counted)).scalar_one()
        )

    def sums(self, query: SumsQuery) -> RunSums:
        return run_tables.sums(self._connection, query)

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        statement = sa.select(AUDIT).where(AUDIT.c.org == query.org)
        for name in ("sandbox", "subject", "action", "kind", "resource_id"):
            if getattr(query, name) is not None:
                statement = statement.where(AUDIT.c[name] == getattr(query, name))
        if query.from_ms is not None:
            statement = statement.where(AUDIT.c.at_ms >= query.from_ms)
        if query.to_ms is not None:
            statement = statement.where(AUDIT.c.at_ms < query.to_ms)
        if query.before is not None:
            statement = statement.where(AUDIT.c.sequence < query.before)
        statement = statement.order_by(AUDIT.c.sequence.desc()).limit(query.limit)
        return [_entry(row) for row in self._connection.execute(statement)]


class _Writing(_Reading):
    """See ``store.Writing``. Looking before writing is safe: writers run one after the other."""

    def insert(self, resource: Resource) -> bool:
        if self.get(resource.kind, resource.scope, resource.id) or self.unique(resource.kind, resource.unique):
            return False
        self._connection.execute(sa.insert(RECORDS), [_row(resource)])
        self._refer(resource)
        if resource.kind is Kind.RUN:
            run_tables.put(self._connection, resource)
        return True

    def replace(self, resource: Resource, etag: str) -> bool:
        taken = self.unique(resource.kind, resource.unique)
        if taken and (taken.scope, taken.id) != (resource.scope, resource.id):
            return False
        key = _key(resource.kind, resource.scope, resource.id)
        before = self._run(resource)
        statement = sa.update(RECORDS).where(_BY_KEY, RECORDS.c.etag == sa.bindparam("etag_"))
        if self._connection.execute(statement.values(_row(resource)), {**key, "etag_": etag}).rowcount != 1:
            return False
        self._connection.execute(sa.delete(REFERENCES).where(_REFERENCES_BY_KEY), key)
        self._refer(resource)
        if before is not None:
            run_tables.drop(self._connection, before)
            run_tables.put(self._connection, resource)
        return True

    def _run(self, resource: Resource) -> Resource | None:
        """A run as it is kept, whose figures go when it changes; None for other kinds."""
        return self.get(resource.kind, resource.scope, resource.id) if resource.kind is Kind.RUN else None

    def _refer(self, resource: Resource) -> None:
        org, sandbox = resource.scope
        rows = [
            {"kind": resource.kind.value, "org": org, "sandbox": sandbox, "id": resource.id, "refers": each}
            for each in dict.fromkeys(resource.refers)
        ]
        if rows:
            self._connection.execute(sa.insert(REFERENCES), rows)

    def remove(self, resource: Resource) -> bool:
        key = _key(resource.kind, resource.scope, resource.id)
        before = self._run(resource)
        statement = sa.delete(RECORDS).where(_BY_KEY, RECORDS.c.etag == sa.bindparam("etag_"))
        removed = self._connection.execute(statement, {**key, "etag_": resource.etag}).rowcount == 1
        if removed and before is not None:
            run_tables.drop(self._connection, before)
        return removed

    def note(self, resource: Resource, notes: dict[str, Any]) -> None:
        key = _key(resource.kind, resource.scope, resource.id)
        self._connection.execute(sa.update(RECORDS).where(_BY_KEY).values(notes=_text(notes)), key)

    def append(self, entries: Sequence[AuditEntry]) -> None:
        if entries:
            self._connection.execute(sa.insert(AUDIT), [_line(each) for each in entries])


class TablesStore:
    """See ``store.Store``.

    Args:
        url: ``sqlite:///PATH``, or ``postgresql://…`` (with the extra ``postgres``). A SQLite file is made for
            its owner alone.

    Raises:
        StateError: The database cannot be opened, or a newer version made it.
    """

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)
        self._decoded = _Decoded()
        self._sqlite = self._engine.dialect.name == "sqlite"
        try:
            with self._transaction(writing=True) as connection:
                schema.upgrade(connection)
        except sa.exc.SQLAlchemyError as error:
            self._engine.dispose()
            # Neither the URL (it holds a password) nor the statement; the driver's first line alone.
            reason = str(getattr(error, "orig", error)).partition("\n")[0]
            raise StateError(f"the database of the control plane cannot be opened: {reason}") from None

    @contextlib.contextmanager
    def _transaction(self, *, writing: bool) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
            elif writing:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_MS}")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield connection
            connection.commit()

    @contextlib.contextmanager
    def read(self) -> Iterator[_Reading]:
        """See ``store.Store``."""
        with self._transaction(writing=False) as connection:
            yield _Reading(connection, self._decoded)

    @contextlib.contextmanager
    def write(self) -> Iterator[_Writing]:
        """See ``store.Store``."""
        try:
            with self._transaction(writing=True) as connection:
                yield _Writing(connection, self._decoded)
        except sa.exc.OperationalError as error:
            text = str(error.orig)
            if "database is locked" in text or "lock timeout" in text:
                raise problem(Code.UNAVAILABLE, "the database is busy; try again", wait_s=1.0) from None
            raise

    @property
    def remote(self) -> bool:
        """See ``Store``."""
        return not self._sqlite

    def close(self) -> None:
        """See ``store.Store``."""
        self._engine.dispose()


_BY_KEY: Final = sa.and_(*(RECORDS.c[name] == sa.bindparam(f"{name}_") for name in ("kind", "org", "sandbox", "id")))
_REFERENCES_BY_KEY: Final = sa.and_(
    *(REFERENCES.c[name] == sa.bindparam(f"{name}_") for name in ("kind", "org", "sandbox", "id"))
)
_GET: Final = sa.select(RECORDS).where(_BY_KEY)
_UNIQUE: Final = sa.select(RECORDS).where(
    RECORDS.c.kind == sa.bindparam("kind_"), RECORDS.c.unique_text == sa.bindparam("unique_")
)


def _key(kind: Kind, scope: Scope, resource_id: str) -> dict[str, str]:
    return {"kind_": kind.value, "org_": scope.org, "sandbox_": scope.sandbox, "id_": resource_id}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _row(resource: Resource) -> dict[str, Any]:
    return {
        "kind": resource.kind.value,
        "org": resource.scope.org,
        "sandbox": resource.scope.sandbox,
        **{name: getattr(resource, name) for name in _PLAIN},
        **{name: _text(getattr(resource, name)) for name in _CODED},
        "unique_text": resource.unique or None,
    }


def _resource(row: Any) -> Resource:
    return Resource(
        kind=Kind(row.kind),
        scope=Scope(row.org, row.sandbox),
        **{name: getattr(row, name) for name in _PLAIN},
        body=_OBJECT.decode(row.body),
        hidden=_STRINGS.decode(row.hidden),
        refers=_IDS.decode(row.refers),
        notes=_OBJECT.decode(row.notes),
        unique=row.unique_text or "",
    )


def _noted(record: Resource | None, notes: str) -> Resource:
    assert record is not None
    return record if notes == "{}" else msgspec.structs.replace(record, notes=_OBJECT.decode(notes))


def _line(entry: AuditEntry) -> dict[str, Any]:
    plain = ("at_ms", "subject", "client", "action", "kind", "resource_id", "name")
    return {
        **{name: getattr(entry, name) for name in plain},
        "org": entry.scope.org,
        "sandbox": entry.scope.sandbox,
        "before": None if entry.before is None else _text(entry.before),
        "after": None if entry.after is None else _text(entry.after),
    }


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        sequence=row.sequence, at_ms=row.at_ms, scope=Scope(row.org, row.sandbox), subject=row.subject,
        client=row.client, action=row.action, kind=row.kind, resource_id=row.resource_id, name=row.name,
        before=None if row.before is None else _OBJECT.decode(row.before),
        after=None if row.after is None else _OBJECT.decode(row.after),
    )  # fmt: skip
