"""The stores that the suites of this room run on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.control.memory import MemoryStore
from headrace.control.store import Store
from headrace.control.tables import TablesStore
from tests.postgres import new_database, server

_NUMBERS = itertools.count()

STORES = ("memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server."""
    with server() as url:
        yield url


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore()
        case "sqlite":
            made = TablesStore(f"sqlite:///{tmp_path}/control.db")
        case _:
            made = TablesStore(new_database(request.getfixturevalue("postgres"), f"t{next(_NUMBERS)}"))
    yield made
    made.close()
