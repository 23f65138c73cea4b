"""How a database finds records: by an index that leads to the few a query narrows to, not along all of a kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from headrace.control import statements
from headrace.control.resources import Kind, Scope
from headrace.control.statements import Shape
from headrace.control.store import Query

SCOPE = Scope("org", "prod")
THREE = frozenset({"a", "b", "c"})


def plan(file: Path, statement: sa.Select[tuple[object, ...]], query: Query) -> list[str]:
    """The steps that SQLite goes through."""
    compiled = statement.compile(dialect=sa.create_engine("sqlite://").dialect)
    values = statements.values(query)
    given = [values.get(name, 0) for name in compiled.positiontup or ()]
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", tuple(given)).all()
    engine.dispose()
    return [str(row[3]) for row in rows]


def searched(steps: list[str], table: str) -> str:
    """The columns that the one search of a table goes by."""
    (step,) = (each for each in steps if re.match(rf"(SEARCH|SCAN) {table}\b", each))
    columns = re.search(r"\((.*)\)", step)
    assert columns is not None, step
    return columns[1]


@pytest.mark.parametrize("limit", [None, 25])
@pytest.mark.parametrize(
    ("narrowed", "column"),
    [({"ids": THREE}, "id"), ({"names": THREE}, "name"), ({"refers": THREE}, "id")],
    ids=["ids", "names", "refers"],
)
def test_sqlite_is_led_to_the_records_that_a_query_names(
    sqlite_file: Path, narrowed: dict[str, frozenset[str]], column: str, limit: int | None
) -> None:
    """Whatever the order: with it as the lead, all records of the kind would be walked."""
    query = Query(kind=Kind.RUN, scope=SCOPE, limit=limit, **narrowed)  # type: ignore[arg-type]  # one of the three
    steps = plan(sqlite_file, statements.heads(Shape.of(query)), query)
    assert searched(steps, "records") == f"kind=? AND org=? AND sandbox=? AND {column}=?"
    if "refers" in narrowed:
        assert searched(steps, "record_references") == "kind=? AND org=? AND sandbox=? AND refers=?"


def test_sqlite_is_led_to_records_that_are_read_whole(sqlite_file: Path) -> None:
    """By their ids."""
    query = Query(kind=Kind.RUN, scope=SCOPE, ids=THREE)
    assert searched(plan(sqlite_file, statements.whole(), query), "records").endswith("AND id=?")


def test_sqlite_walks_a_list_that_nothing_narrows_in_its_order(sqlite_file: Path) -> None:
    """It ends where the limit is reached."""
    query = Query(kind=Kind.RUN, scope=SCOPE, limit=25)
    (step, *_) = plan(sqlite_file, statements.heads(Shape.of(query)), query)
    assert "records_created" in step
