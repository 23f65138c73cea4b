"""What Alembic runs to apply the steps: on the connection that ``control.schema.upgrade`` hands over."""

from __future__ import annotations

from alembic import context

from headrace.control.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
