"""The tables, and getting a database to the schema of this version."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import alembic.command
import alembic.config
import alembic.runtime.migration
import alembic.script
import sqlalchemy as sa

from headrace.errors import StateError

METADATA: Final = sa.MetaData()

# Texts are compared by their code points everywhere: lists have the same order on every database.
_TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

RECORDS: Final = sa.Table(
    "records",
    METADATA,
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("org", _TEXT, primary_key=True),
    sa.Column("sandbox", _TEXT, primary_key=True),
    sa.Column("id", _TEXT, primary_key=True),
    sa.Column("name", _TEXT, nullable=False),
    sa.Column("state", _TEXT, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", _TEXT, nullable=False),
    sa.Column("updated_by", _TEXT, nullable=False),
    sa.Column("created_client", _TEXT, nullable=False),
    sa.Column("updated_client", _TEXT, nullable=False),
    sa.Column("etag", _TEXT, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hidden", sa.Text, nullable=False),
    sa.Column("refers", sa.Text, nullable=False),
    sa.Column("unique_text", _TEXT, nullable=True),
    sa.Column("notes", sa.Text, nullable=False),
    sa.UniqueConstraint("kind", "unique_text", name="records_unique_text"),
    sa.Index("records_created", "kind", "org", "sandbox", "created_ms", "id"),
    sa.Index("records_name", "kind", "org", "sandbox", "name"),
)

REFERENCES: Final = sa.Table(
    "record_references",
    METADATA,
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("org", _TEXT, primary_key=True),
    sa.Column("sandbox", _TEXT, primary_key=True),
    sa.Column("refers", _TEXT, primary_key=True),
    sa.Column("id", _TEXT, primary_key=True),
    sa.ForeignKeyConstraint(
        ["kind", "org", "sandbox", "id"],
        ["records.kind", "records.org", "records.sandbox", "records.id"],
        ondelete="CASCADE",
        name="record_references_record",
    ),
    sa.Index("record_references_record", "kind", "org", "sandbox", "id"),
)


def _of_runs(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table about the runs of an hour, or of a longer stretch, whose rows have no id of a run."""
    place = (("org", _TEXT), ("sandbox", _TEXT), ("step_ms", sa.BigInteger), ("start_ms", sa.BigInteger))
    whole = (*place, ("flow", _TEXT), ("id", _TEXT))
    return sa.Table(
        name,
        METADATA,
        *(sa.Column(each, kind, primary_key=True, autoincrement=False) for each, kind in whole),
        *columns,
        sqlite_with_rowid=False,
    )


FIGURES: Final = _of_runs(
    "run_figures",
    *(
        sa.Column(name, sa.BigInteger, nullable=False)
        for name in ("received", "activated", "skipped", "failed", "sent_bytes", "weighed_ms", "weighed", "runs")
    ),
    sa.Column("greatest_ms", sa.BigInteger, nullable=True),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)

REASONS: Final = _of_runs(
    "run_reasons",
    sa.Column("kind", _TEXT, primary_key=True),
    sa.Column("code", _TEXT, primary_key=True),
    sa.Column("message", _TEXT, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
)

AUDIT: Final = sa.Table(
    "audit",
    METADATA,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("org", _TEXT, nullable=False),
    sa.Column("sandbox", _TEXT, nullable=False),
    sa.Column("subject", _TEXT, nullable=False),
    sa.Column("client", _TEXT, nullable=False),
    sa.Column("action", _TEXT, nullable=False),
    sa.Column("kind", _TEXT, nullable=False),
    sa.Column("resource_id", _TEXT, nullable=False),
    sa.Column("name", _TEXT, nullable=False),
    sa.Column("before", sa.Text, nullable=True),
    sa.Column("after", sa.Text, nullable=True),
    sa.Index("audit_org", "org", "sequence"),
    sa.Index("audit_resource", "org", "resource_id", "sequence"),
    sqlite_autoincrement=True,
)


def _configuration() -> alembic.config.Config:
    configuration = alembic.config.Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return configuration


def upgrade(connection: sa.Connection) -> None:
    """Bring a database to this version's schema, within the connection's transaction.

    Raises:
        StateError: A newer version made it.
    """
    configuration = _configuration()
    script = alembic.script.ScriptDirectory.from_config(configuration)
    found = alembic.runtime.migration.MigrationContext.configure(connection).get_current_revision()
    if found == script.get_current_head():
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        raise StateError(f"the database has schema {found}, which this version does not know; run the newer version")
    configuration.attributes["connection"] = connection
    alembic.command.upgrade(configuration, "head")
