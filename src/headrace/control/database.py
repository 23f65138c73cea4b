"""Open the database of the control plane by its URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from headrace.errors import StateError

BUSY_TIMEOUT_MS: Final = 10_000
"""How long a transaction waits for the writers before it."""
CONNECT_TIMEOUT_S: Final = 10
"""How long a server may take to answer, where its URL does not say it."""


def engine_of(url: str) -> sa.Engine:
    """An engine for a database of a kind that is supported; nothing is connected yet.

    Args:
        url: ``sqlite:///PATH`` (made for its owner alone when it is not there) or ``postgresql://…``.

    Raises:
        StateError: The URL is no such one, the file cannot be made, or the driver is missing.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise StateError("the URL of the control plane's database cannot be read; sqlite:///PATH") from None
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    elif parsed.get_backend_name() != "sqlite":
        raise StateError(f"databases of {parsed.get_backend_name()} are not supported; use sqlite or postgresql")
    elif not parsed.database or parsed.database == ":memory:":
        raise StateError("the URL of the control plane's database names no file; sqlite:///PATH")
    else:
        _own(Path(parsed.database))
    try:
        sqlite = parsed.drivername.startswith("sqlite")
        waits = {} if sqlite or "connect_timeout" in parsed.query else {"connect_timeout": CONNECT_TIMEOUT_S}
        # hide_parameters: no error text shows a statement's values.
        engine = sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=not sqlite, connect_args=waits)
    except ModuleNotFoundError:
        raise StateError("PostgreSQL needs the extra: pip install 'headrace[postgres]'") from None
    if parsed.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _own(path: Path) -> None:
    """Make the file if it is not there, for nobody but its owner."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StateError(f"the database {path} cannot be opened: {error.strerror}") from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own way of opening transactions would begin them too late.
    connection.isolation_level = None
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    ):
        connection.execute(statement)
