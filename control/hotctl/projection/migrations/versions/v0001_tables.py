"""The first tables, and the audit trail's triggers: what once stands there is neither changed nor removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQLITE_TRIGGERS = """
CREATE TRIGGER order_audit_trail_keeps BEFORE UPDATE ON order_audit_trail
    BEGIN SELECT RAISE(ABORT, 'order_audit_trail is append-only'); END;
CREATE TRIGGER order_audit_trail_stays BEFORE DELETE ON order_audit_trail
    BEGIN SELECT RAISE(ABORT, 'order_audit_trail is append-only'); END;
CREATE TRIGGER order_audit_trail_once BEFORE INSERT ON order_audit_trail
    WHEN EXISTS (SELECT 1 FROM order_audit_trail
                 WHERE run_epoch = NEW.run_epoch AND ring = NEW.ring AND sequence = NEW.sequence)
    BEGIN SELECT RAISE(ABORT, 'order_audit_trail is append-only'); END
"""  # the last one: INSERT OR REPLACE removes a row without asking the second

POSTGRESQL_TRIGGERS = """
CREATE FUNCTION order_audit_trail_refuse() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''order_audit_trail is append-only''; END';
CREATE TRIGGER order_audit_trail_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON order_audit_trail
    FOR EACH STATEMENT EXECUTE FUNCTION order_audit_trail_refuse()
"""


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "adjustments",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("exec_sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("instrument", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("quantity_lots", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("cash_micros", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "exec_sequence"),
    )
    op.create_table(
        "executions",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("exec_sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("origin_ns", sa.BigInteger(), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("match_id", sa.Text(), nullable=False),
        sa.Column("instrument", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity_lots", sa.BigInteger(), nullable=False),
        sa.Column("price_ticks", sa.BigInteger(), nullable=False),
        sa.Column("value_micros", sa.BigInteger(), nullable=False),
        sa.Column("fee_micros", sa.BigInteger(), nullable=False),
        sa.Column("liquidity", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("price_ticks_told", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "exec_sequence"),
    )
    op.create_table(
        "instruments",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("tick_value_micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "instrument"),
    )
    op.create_table(
        "limit_changes",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_epoch", "version"),
    )
    op.create_table(
        "marks",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bid_ticks", sa.BigInteger(), nullable=False),
        sa.Column("ask_ticks", sa.BigInteger(), nullable=False),
        sa.Column("trade_ticks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "instrument"),
    )
    op.create_table(
        "model_versions",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("model_generation", sa.BigInteger(), nullable=False),
        sa.Column("weights_version", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_epoch", "turn"),
    )
    op.create_table(
        "order_audit_trail",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ring", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("origin_ns", sa.BigInteger(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("target_order_id", sa.BigInteger(), nullable=True),
        sa.Column("instrument", sa.Integer(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("side", sa.Text(), nullable=True),
        sa.Column("price_ticks", sa.BigInteger(), nullable=True),
        sa.Column("quantity_lots", sa.BigInteger(), nullable=True),
        sa.Column("leaves_lots", sa.BigInteger(), nullable=True),
        sa.Column("filled_lots", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("match_id", sa.Text(), nullable=True),
        sa.Column("venue_ref", sa.Text(), nullable=True),
        sa.Column("session_sequence", sa.BigInteger(), nullable=True),
        sa.Column("cause_sequence", sa.BigInteger(), nullable=True),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("strategy", sa.BigInteger(), nullable=True),
        sa.Column("limits_version", sa.BigInteger(), nullable=True),
        sa.Column("kill_epoch", sa.BigInteger(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("run_epoch", "ring", "sequence"),
    )
    op.create_table(
        "orders",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("instrument", sa.Integer(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("strategy", sa.BigInteger(), nullable=True),
        sa.Column("side", sa.Text(), nullable=True),
        sa.Column("price_ticks", sa.BigInteger(), nullable=True),
        sa.Column("quantity_lots", sa.BigInteger(), nullable=True),
        sa.Column("time_in_force", sa.Text(), nullable=True),
        sa.Column("target_order_id", sa.BigInteger(), nullable=True),
        sa.Column("limits_version", sa.BigInteger(), nullable=True),
        sa.Column("sent_ns", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("leaves_lots", sa.BigInteger(), nullable=True),
        sa.Column("filled_lots", sa.BigInteger(), nullable=True),
        sa.Column("venue_ref", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("exec_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_epoch", "order_id"),
    )
    op.create_table(
        "position_snapshots",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("taken_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("lots", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("cash_micros", sa.BigInteger(), nullable=False),
        sa.Column("realised_micros", sa.BigInteger(), nullable=False),
        sa.Column("unrealised_micros", sa.BigInteger(), nullable=False),
        sa.Column("fees_micros", sa.BigInteger(), nullable=False),
        sa.Column("mark_ticks", sa.BigInteger(), nullable=False),
        sa.Column("exec_sequence", sa.BigInteger(), nullable=False),
        sa.Column("norm_sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "taken_ns", "instrument"),
    )
    op.create_table(
        "positions",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("lots", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("cash_micros", sa.BigInteger(), nullable=False),
        sa.Column("realised_micros", sa.BigInteger(), nullable=False),
        sa.Column("unrealised_micros", sa.BigInteger(), nullable=False),
        sa.Column("fees_micros", sa.BigInteger(), nullable=False),
        sa.Column("bought_lots", sa.BigInteger(), nullable=False),
        sa.Column("sold_lots", sa.BigInteger(), nullable=False),
        sa.Column("mark_ticks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "instrument"),
    )
    op.create_table(
        "projection_offsets",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ring", sa.Text(), autoincrement=False, nullable=False),
        sa.Column("next_sequence", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "ring"),
    )
    op.create_table(
        "risk_state",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("killed", sa.Boolean(), nullable=False),
        sa.Column("kill_epoch", sa.BigInteger(), nullable=False),
        sa.Column("limits_version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch", "turn"),
    )
    op.create_table(
        "runs",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("trading_day", sa.BigInteger(), nullable=True),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("topology", sa.Text(), nullable=True),
        sa.Column("venue", sa.Text(), nullable=True),
        sa.Column("order_id_base", sa.BigInteger(), nullable=True),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("session_sequence", sa.BigInteger(), nullable=False),
        sa.Column("snapshot_due_ns", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_epoch"),
    )
    op.create_table(
        "signals",
        sa.Column("run_epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        sa.Column("origin_ns", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("target_order_id", sa.BigInteger(), nullable=True),
        sa.Column("instrument", sa.Integer(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("account", sa.BigInteger(), nullable=True),
        sa.Column("strategy", sa.BigInteger(), nullable=True),
        sa.Column("side", sa.Text(), nullable=True),
        sa.Column("price_ticks", sa.BigInteger(), nullable=True),
        sa.Column("quantity_lots", sa.BigInteger(), nullable=True),
        sa.Column("score_ppm", sa.BigInteger(), nullable=True),
        sa.Column("threshold_ppm", sa.BigInteger(), nullable=True),
        sa.Column("cause_sequence", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_epoch", "sequence"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for trigger in SQLITE_TRIGGERS.split("END;"):
            connection.exec_driver_sql(trigger if trigger.rstrip().endswith("END") else f"{trigger}END")
    else:
        for statement in POSTGRESQL_TRIGGERS.split(";\n"):
            connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Remove them; the journal can make them again."""
    op.drop_table("adjustments")
    op.drop_table("executions")
    op.drop_table("instruments")
    op.drop_table("limit_changes")
    op.drop_table("marks")
    op.drop_table("model_versions")
    op.drop_table("order_audit_trail")
    op.drop_table("orders")
    op.drop_table("position_snapshots")
    op.drop_table("positions")
    op.drop_table("projection_offsets")
    op.drop_table("risk_state")
    op.drop_table("runs")
    op.drop_table("signals")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION order_audit_trail_refuse()")
