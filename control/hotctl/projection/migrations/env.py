"""Alembic's environment: the connection comes from hotctl.projection.database, within its transaction."""

from __future__ import annotations

from alembic import context

from hotctl.projection.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
