"""The stores and the world of this room's suites."""

from __future__ import annotations

import pytest

from headrace.control.store import Store
from tests.control.conftest import postgres, postgres_database, sqlite_file, store

from .world import World, world

__all__ = ["postgres", "postgres_database", "sqlite_file", "store"]


@pytest.fixture
def w() -> World:
    """A world in memory."""
    return world()


@pytest.fixture
def stored(store: Store) -> World:
    """A world on each kind of store."""
    return world(store)


@pytest.fixture(scope="module")
def unchanged() -> World:
    """A world that the tests of a module share, none of which changes anything."""
    return world()
