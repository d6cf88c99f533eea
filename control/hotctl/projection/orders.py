"""What became of each order: the newest word of the venue, beside what was asked for.

Commands and executions come from two rings, and either may be read before the other: what a command says and what
the venue says are different columns, so the row is the same in the end, whichever came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ffi import lib
from hotctl.projection.rows import SIDES, Events, Names, enum_word, reason_name
from hotctl.projection.tables import orders

COLUMNS = [column.name for column in orders.columns]
AT = {name: index for index, name in enumerate(COLUMNS)}
KINDS = {lib.CMD_NEW: "new", lib.CMD_REPLACE: "replace"}
DONE = ("filled", "canceled", "rejected", "refused", "replaced", "closed")
SENT = "sent"
SAYS_NOTHING = (lib.EXEC_REPEATED, lib.EXEC_ADJUSTED, lib.EXEC_HELD, lib.EXEC_RELEASED, lib.EXEC_SESSION_UP,
                lib.EXEC_SESSION_DOWN, lib.EXEC_BROKEN, lib.EXEC_CORRECTED)  # fmt: skip
STATES: dict[int, tuple[str, str]] = {  # with lots left, without
    lib.EXEC_ACCEPTED: ("open", "closed"),
    lib.EXEC_REPLACED: ("open", "closed"),
    lib.EXEC_RESTATED: ("open", "closed"),
    lib.EXEC_FILL: ("open", "filled"),
    lib.EXEC_CANCELED: ("open", "canceled"),
    lib.EXEC_REJECTED: ("rejected", "rejected"),
    lib.EXEC_REPLACE_REJECTED: ("rejected", "rejected"),
    lib.EXEC_REFUSED: ("refused", "refused"),
    lib.EXEC_UNKNOWN: ("unknown", "unknown"),
    lib.EXEC_PENDING_CANCEL: ("pending_cancel", "pending_cancel"),
}

OrderRow = list[Any]
Load = Callable[[Sequence[int]], Iterable[Sequence[Any]]]


class OrderFold:
    """Rows of orders that are open, or that this batch speaks of."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._rows: dict[int, OrderRow] = {}
        self._touched: set[int] = set()

    def prepare(self, commands: Events, executions: Events, load: Load) -> None:
        """Have the rows of every order that these events name; `load` reads those that are not here."""
        wanted = {*commands["order_id"].tolist(), *executions["order_id"].tolist()}
        wanted |= set(executions["target_order_id"].tolist())
        missing = sorted(wanted - self._rows.keys() - {0})
        for row in load(missing):
            self._rows[row[AT["order_id"]]] = list(row)

    def _row(self, order_id: int) -> OrderRow:
        row = self._rows.get(order_id)
        if row is None:
            row = [None] * len(COLUMNS)
            row[0], row[1] = self._names.run_epoch, order_id
            row[AT["state"]] = SENT
            self._rows[order_id] = row
        self._touched.add(order_id)
        return row

    def commands(self, events: Events) -> None:
        """What was asked for."""
        head = events["header"]
        for kind, time, instrument, order, target, price, lots, side, tif, version, account, strategy in zip(
            head["type"].tolist(),
            head["publish_time_ns"].tolist(),
            head["instrument"].tolist(),
            events["order_id"].tolist(),
            events["target_order_id"].tolist(),
            events["price_ticks"].tolist(),
            events["quantity_lots"].tolist(),
            events["side"].tolist(),
            events["time_in_force"].tolist(),
            events["limits_version"].tolist(),
            events["id"]["account"].tolist(),
            events["id"]["strategy"].tolist(),
            strict=True,
        ):
            if kind not in KINDS:
                continue  # a cancel is no order
            row = self._row(order)
            row[2:14] = (
                KINDS[kind], self._names.index(instrument), self._names.symbol(instrument), account, strategy,
                SIDES.get(side), price, lots, enum_word("time_in_force", "TIF_", tif), target or None, version, time,
            )  # fmt: skip
            if row[AT["exec_ns"]] is None:
                row[AT["leaves_lots"]], row[AT["filled_lots"]] = lots, 0

    def executions(self, events: Events, sequences: Sequence[int], repeated: set[int]) -> None:
        """What the venue, or the gateway, says; a repetition says nothing."""
        head = events["header"]
        leaves_at, filled_at, state_at = AT["leaves_lots"], AT["filled_lots"], AT["state"]
        ref_at, reason_at, time_at = AT["venue_ref"], AT["reason"], AT["exec_ns"]
        for sequence, kind, time, order, target, lots, leaves, filled, ref, reason in zip(
            sequences,
            head["type"].tolist(),
            head["publish_time_ns"].tolist(),
            events["order_id"].tolist(),
            events["target_order_id"].tolist(),
            events["quantity_lots"].tolist(),
            events["leaves_lots"].tolist(),
            events["cumulative_lots"].tolist(),
            events["venue_ref"].tolist(),
            events["reason"].tolist(),
            strict=True,
        ):
            if not order or kind in SAYS_NOTHING or sequence in repeated:
                continue
            if kind == lib.EXEC_REFUSED and not lots:
                continue  # of a cancel
            row = self._row(order)
            states = STATES.get(kind)
            if states is not None:
                row[state_at] = states[leaves <= 0]
                row[leaves_at], row[filled_at] = leaves, filled
            if ref:
                row[ref_at] = str(ref)
            if reason:
                row[reason_at] = reason_name(kind, reason)
            row[time_at] = time
            if kind == lib.EXEC_REPLACED and target and target != order:
                replaced = self._row(target)
                replaced[state_at], replaced[leaves_at], replaced[time_at] = "replaced", 0, time

    def take_touched(self) -> list[OrderRow]:
        """Rows to write; those of orders that are done are not kept after this."""
        rows = [self._rows[order_id] for order_id in sorted(self._touched)]
        self._touched.clear()
        state_at = AT["state"]
        self._rows = {order_id: row for order_id, row in self._rows.items() if row[state_at] not in DONE}
        return rows
