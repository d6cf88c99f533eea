"""Alembic's scripts, run by hotctl.projection.database (hotctl.projection.migrations.env)."""
