"""One module a change of the tables; the first is hotctl.projection.migrations.versions.v0001_tables."""
