"""The tables of the projection, written once; the migrations must lead to exactly these, and a test compares.

    runs -< projection_offsets, instruments, marks
         -< orders, order_audit_trail (append only), executions, adjustments, signals
         -< positions, position_snapshots, risk_state, model_versions, limit_changes

Every row names its run and the sequence of the event that it came from, so none can be there twice. Prices are in
ticks, quantities in lots, money in micros (`instruments` has the value of a tick), instants in ns since the Unix
epoch. A 64-bit name (match, venue's order) is text: it is nobody's number, and SQL has no unsigned one.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text

metadata = MetaData()


def _table(name: str, *columns: Column[object]) -> Table:
    return Table(name, metadata, *columns)


def _key(name: str, kind: type[BigInteger] | type[Integer] | type[Text] = BigInteger) -> Column[object]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _number(name: str, *, null: bool = True) -> Column[object]:
    return Column(name, BigInteger, nullable=null)


def _text(name: str, *, null: bool = True) -> Column[object]:
    return Column(name, Text, nullable=null)


runs = _table(
    "runs",
    _key("run_epoch"),
    _text("engine", null=False),
    _number("trading_day"),
    _text("folder", null=False),
    _text("topology"),
    _text("venue"),
    _number("order_id_base"),
    _number("session", null=False),  # of the last numbered execution, and its number: repetitions are known by them
    _number("session_sequence", null=False),
    _number("snapshot_due_ns", null=False),
    Column("complete", Boolean, nullable=False),
)

projection_offsets = _table(
    "projection_offsets",
    _key("run_epoch"),
    _key("ring", Text),
    _number("next_sequence", null=False),
    _number("lost", null=False),
)

instruments = _table(
    "instruments",
    _key("run_epoch"),
    _key("instrument", Integer),
    _text("symbol", null=False),
    _text("currency", null=False),
    _number("tick_value_micros", null=False),
)

marks = _table(
    "marks",
    _key("run_epoch"),
    _key("instrument", Integer),
    _number("bid_ticks", null=False),
    _number("ask_ticks", null=False),
    _number("trade_ticks", null=False),
)

positions = _table(
    "positions",
    _key("run_epoch"),
    _key("instrument", Integer),
    _text("symbol", null=False),
    _number("lots", null=False),
    _number("cost_micros", null=False),
    _number("cash_micros", null=False),
    _number("realised_micros", null=False),
    _number("unrealised_micros", null=False),
    _number("fees_micros", null=False),
    _number("bought_lots", null=False),
    _number("sold_lots", null=False),
    _number("mark_ticks", null=False),
)

orders = _table(
    "orders",
    _key("run_epoch"),
    _key("order_id"),
    _text("kind"),
    Column("instrument", Integer),
    _text("symbol"),
    _number("account"),
    _number("strategy"),
    _text("side"),
    _number("price_ticks"),
    _number("quantity_lots"),
    _text("time_in_force"),
    _number("target_order_id"),
    _number("limits_version"),
    _number("sent_ns"),
    _text("state", null=False),
    _number("leaves_lots"),
    _number("filled_lots"),
    _text("venue_ref"),
    _text("reason"),
    _number("exec_ns"),
)

order_audit_trail = _table(
    "order_audit_trail",
    _key("run_epoch"),
    _key("ring", Text),
    _key("sequence"),
    _number("time_ns", null=False),
    _number("origin_ns"),
    _text("event", null=False),
    _number("order_id"),
    _number("target_order_id"),
    Column("instrument", Integer),
    _text("symbol"),
    _text("side"),
    _number("price_ticks"),
    _number("quantity_lots"),
    _number("leaves_lots"),
    _number("filled_lots"),
    _text("reason"),
    _text("match_id"),
    _text("venue_ref"),
    _number("session_sequence"),
    _number("cause_sequence"),
    _number("account"),
    _number("strategy"),
    _number("limits_version"),
    _number("kill_epoch"),
    _text("digest"),
)

executions = _table(
    "executions",
    _key("run_epoch"),
    _key("exec_sequence"),
    _number("time_ns", null=False),
    _number("origin_ns"),
    _number("order_id", null=False),
    _text("match_id", null=False),
    Column("instrument", Integer, nullable=False),
    _text("symbol", null=False),
    _text("venue", null=False),
    _text("side", null=False),
    _number("quantity_lots", null=False),
    _number("price_ticks", null=False),
    _number("value_micros", null=False),
    _number("fee_micros", null=False),
    _text("liquidity"),
    _text("state", null=False),  # stands, broken, corrected
    _number("price_ticks_told", null=False),  # before a correction
)

adjustments = _table(
    "adjustments",
    _key("run_epoch"),
    _key("exec_sequence"),
    _number("id", null=False),
    _text("kind", null=False),
    _number("time_ns", null=False),
    Column("instrument", Integer, nullable=False),
    _text("symbol", null=False),
    _number("quantity_lots", null=False),
    _number("cost_micros", null=False),
    _number("cash_micros", null=False),
    _text("who", null=False),
    _text("why", null=False),
)

signals = _table(
    "signals",
    _key("run_epoch"),
    _key("sequence"),
    _number("time_ns", null=False),
    _number("origin_ns"),
    _text("kind", null=False),
    _number("order_id", null=False),  # that it asked for: in `orders` when risk approved it
    _number("target_order_id"),
    Column("instrument", Integer),
    _text("symbol"),
    _number("account"),
    _number("strategy"),
    _text("side"),
    _number("price_ticks"),
    _number("quantity_lots"),
    _number("score_ppm"),  # of [-1, 1]
    _number("threshold_ppm"),
    _number("cause_sequence"),
)

risk_state = _table(
    "risk_state",
    _key("run_epoch"),
    _key("turn"),
    _number("time_ns", null=False),
    _text("mode", null=False),
    Column("killed", Boolean, nullable=False),
    _number("kill_epoch", null=False),
    _number("limits_version", null=False),
)

limit_changes = _table(
    "limit_changes",
    _key("run_epoch"),
    _key("version"),
    _number("turn", null=False),
    _number("time_ns", null=False),
    _text("limits"),  # JSON: of the first version the configuration, of a later one what it changed
)

model_versions = _table(
    "model_versions",
    _key("run_epoch"),
    _key("turn"),
    _number("time_ns", null=False),
    _number("model_generation", null=False),
    _number("weights_version", null=False),
    _text("model"),  # JSON, where the run's configuration says it
)

position_snapshots = _table(
    "position_snapshots",
    _key("run_epoch"),
    _key("taken_ns"),
    _key("instrument", Integer),
    _text("kind", null=False),  # hourly, end, demand
    _text("asked_by"),
    _text("symbol", null=False),
    _number("lots", null=False),
    _number("cost_micros", null=False),
    _number("cash_micros", null=False),
    _number("realised_micros", null=False),
    _number("unrealised_micros", null=False),
    _number("fees_micros", null=False),
    _number("mark_ticks", null=False),
    _number("exec_sequence", null=False),  # folded up to here, exclusive
    _number("norm_sequence", null=False),
)

APPEND_ONLY = (order_audit_trail,)
