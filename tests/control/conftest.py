"""The stores that the suites of this room run on."""

from __future__ import annotations

import itertools
import shutil
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


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables and nothing in them, which is copied for each test."""
    folder = tmp_path_factory.mktemp("sqlite")
    TablesStore(f"sqlite:///{folder}/control.db").close()
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="session")
def postgres_database(postgres: str) -> str:
    """The name of such a database of the server."""
    TablesStore(new_database(postgres, "tables")).close()
    return "tables"


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore()
        case "sqlite":
            shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "control.db")
            made = TablesStore(f"sqlite:///{tmp_path}/control.db")
        case _:
            like = request.getfixturevalue("postgres_database")
            url = new_database(request.getfixturevalue("postgres"), f"t{next(_NUMBERS)}", like=like)
            made = TablesStore(url)
    yield made
    made.close()
