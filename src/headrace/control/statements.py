"""The statements that look for records, put together once for each shape of a query; that costs more than running."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from .paging import Order
from .schema import RECORDS, REFERENCES
from .store import Query

_COLUMNS: Final = {
    "name": RECORDS.c.name,
    "id": RECORDS.c.id,
    "state": RECORDS.c.state,
    "createdAt": RECORDS.c.created_ms,
    "updatedAt": RECORDS.c.updated_ms,
}


class _Among(FunctionElement[bool]):
    """True for a column whose value is among the texts of a JSON array: one parameter, however many texts."""

    name = "among"
    inherit_cache = True
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> _Among:
        """Itself: as a condition it would become ``(…) = 1`` on SQLite, for which no index is used."""
        return self


@compiles(_Among, "sqlite")
def _among_sqlite(element: _Among, compiler: Any, **more: Any) -> str:
    column, texts = (compiler.process(each, **more) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608  # both are SQLAlchemy's


@compiles(_Among, "postgresql")
def _among_postgresql(element: _Among, compiler: Any, **more: Any) -> str:
    column, texts = (compiler.process(each, **more) for each in element.clauses)
    return f"{column} = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({texts} AS jsonb))))"


class _Aside(FunctionElement[Any]):
    """A column to sort by, when few records are sorted: SQLite would walk all in that order, to find these few."""

    name = "aside"
    inherit_cache = True


@compiles(_Aside)
def _aside(element: _Aside, compiler: Any, **more: Any) -> str:
    (column,) = (compiler.process(each, **more) for each in element.clauses)
    return str(column)


@compiles(_Aside, "sqlite")
def _aside_sqlite(element: _Aside, compiler: Any, **more: Any) -> str:
    # Not a column any more, so that no index has its order.
    return f"+{_aside(element, compiler, **more)}"


class Shape(NamedTuple):
    """What makes the statement of a query; fields as of ``Query``, or whether they are there."""

    ids: bool
    names: bool
    refers: bool
    order: tuple[Order, ...]
    after: bool
    limit: bool

    @classmethod
    def of(cls, query: Query) -> Shape:
        """The shape of a query."""
        return cls(
            query.ids is not None, query.names is not None, query.refers is not None, query.order,
            query.after is not None, query.limit is not None,
        )  # fmt: skip


def values(query: Query) -> dict[str, Any]:
    """The values that a statement of the query's shape takes."""
    org, sandbox = query.scope
    made: dict[str, Any] = {"kind_": query.kind.value, "org_": org, "sandbox_": sandbox}
    for name in ("ids", "names", "refers"):
        chosen = getattr(query, name)
        if chosen is not None:
            made[f"{name}_"] = msgspec.json.encode(sorted(chosen)).decode()
    if query.after is not None:
        made |= {f"after_{index}": value for index, value in enumerate(query.after)}
    if query.limit is not None:
        made["limit_"] = query.limit
    return made


@functools.lru_cache(maxsize=512)
def heads(shape: Shape) -> sa.Select[Any]:
    """Ids, etags and notes, in order."""
    columns = [*((_COLUMNS[each.field], each.descending) for each in shape.order), (RECORDS.c.id, False)]
    statement = sa.select(RECORDS.c.id, RECORDS.c.etag, RECORDS.c.notes).where(*_conditions(shape))
    if shape.after:
        statement = statement.where(_behind(columns))
    few = shape.ids or shape.names or shape.refers
    for column, down in columns:
        key: sa.ColumnElement[Any] = _Aside(column) if few else column
        statement = statement.order_by(key.desc() if down else key.asc())
    return statement.limit(sa.bindparam("limit_", type_=sa.Integer)) if shape.limit else statement


@functools.lru_cache(maxsize=1)
def whole() -> sa.Select[Any]:
    """The records of some ids."""
    return sa.select(RECORDS).where(*_conditions(Shape(True, False, False, (), False, False)))


@functools.lru_cache(maxsize=64)
def count(shape: Shape) -> sa.Select[Any]:
    """How many there are."""
    return sa.select(sa.func.count()).select_from(RECORDS).where(*_conditions(shape))


def _conditions(shape: Shape) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [
        RECORDS.c[name] == sa.bindparam(f"{name}_") for name in ("kind", "org", "sandbox")
    ]
    if shape.ids:
        conditions.append(_Among(RECORDS.c.id, sa.bindparam("ids_", type_=sa.Text)))
    if shape.names:
        conditions.append(_Among(RECORDS.c.name, sa.bindparam("names_", type_=sa.Text)))
    if shape.refers:
        referring = sa.select(REFERENCES.c.id).where(
            *(REFERENCES.c[name] == sa.bindparam(f"{name}_") for name in ("kind", "org", "sandbox")),
            _Among(REFERENCES.c.refers, sa.bindparam("refers_", type_=sa.Text)),
        )
        conditions.append(RECORDS.c.id.in_(referring))
    return conditions


def _behind(columns: Sequence[tuple[sa.Column[Any], bool]]) -> sa.ColumnElement[bool]:
    """True for rows that stand behind a place in an order of these columns."""
    places = [sa.bindparam(f"after_{index}", type_=column.type) for index, (column, _) in enumerate(columns)]
    ways = []
    for index, (column, descending) in enumerate(columns):
        same = [earlier == value for (earlier, _), value in zip(columns[:index], places[:index], strict=True)]
        ways.append(sa.and_(*same, column < places[index] if descending else column > places[index]))
    return sa.or_(*ways)
