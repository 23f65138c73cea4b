"""Records, what they refer to, and the audit log that only grows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of the first version."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    key = ("kind", "org", "sandbox", "id")
    op.create_table(
        "records",
        *(sa.Column(name, text, primary_key=True) for name in key),
        sa.Column("name", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("created_by", "updated_by", "created_client", "updated_client", "etag")
        ),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("body", "hidden", "refers")),
        sa.Column("unique_text", text, nullable=True),
        sa.Column("notes", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "unique_text", name="records_unique_text"),
    )
    op.create_index("records_created", "records", ["kind", "org", "sandbox", "created_ms", "id"])
    op.create_index("records_name", "records", ["kind", "org", "sandbox", "name"])
    op.create_table(
        "record_references",
        *(sa.Column(name, text, primary_key=True) for name in ("kind", "org", "sandbox", "refers", "id")),
        sa.ForeignKeyConstraint(
            key, [f"records.{name}" for name in key], ondelete="CASCADE", name="record_references_record"
        ),
    )
    op.create_index("record_references_record", "record_references", list(key))
    op.create_table(
        "audit",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        *(
            sa.Column(name, text, nullable=False)
            for name in ("org", "sandbox", "subject", "client", "action", "kind", "resource_id", "name")
        ),
        sa.Column("before", sa.Text, nullable=True),
        sa.Column("after", sa.Text, nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_org", "audit", ["org", "sequence"])
    op.create_index("audit_resource", "audit", ["org", "resource_id", "sequence"])
    _only_append()


def _only_append() -> None:
    """Let the database itself refuse to change or remove a line of the audit log."""
    if op.get_bind().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{action.lower()} BEFORE {action} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()"
    )
