"""The steps of the migrations lead to the tables that the code uses."""

from __future__ import annotations

from pathlib import Path

import alembic.autogenerate
import alembic.runtime.migration
import pytest
import sqlalchemy as sa

from headrace.control import schema
from headrace.control.tables import TablesStore
from tests.postgres import new_database


def differences(store: TablesStore, url: str) -> list[object]:
    """What a database made by the steps has otherwise than the table definitions."""
    store.close()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = alembic.runtime.migration.MigrationContext.configure(connection)
        found = alembic.autogenerate.compare_metadata(context, schema.METADATA)
    engine.dispose()
    return list(found)


def test_on_sqlite(tmp_path: Path) -> None:
    """They do not differ."""
    url = f"sqlite:///{tmp_path}/control.db"
    assert differences(TablesStore(url), url) == []


@pytest.mark.postgres
def test_on_postgresql(postgres: str) -> None:
    """They do not differ."""
    url = new_database(postgres, "schema")
    assert differences(TablesStore(url), url.replace("postgresql:", "postgresql+psycopg:")) == []


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    """A database of this version is used as it is."""
    url = f"sqlite:///{tmp_path}/control.db"
    TablesStore(url).close()
    before = (tmp_path / "control.db").read_bytes()
    TablesStore(url).close()
    assert (tmp_path / "control.db").read_bytes() == before
