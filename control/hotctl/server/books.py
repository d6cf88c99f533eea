"""Orders and positions of the running engine, folded from its journal as it grows.

cmd, exec, adjust of the journal --what is new since the last look--> open orders by id; positions (hotpath/ledger)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffi import lib
from hotctl.server.hands import Hands
from hotctl.server.refusal import not_now
from hotpath.errors import JournalError
from hotpath.journal import Journal, journal_root
from hotpath.ledger import FeeBook, Ledger

SIDES = {int(lib.SIDE_BUY): "buy", int(lib.SIDE_SELL): "sell"}
DEAD = (lib.EXEC_REJECTED, lib.EXEC_REFUSED, lib.EXEC_CANCELED)
STATES = {int(lib.EXEC_UNKNOWN): "unknown", int(lib.EXEC_PENDING_CANCEL): "being cancelled"}


@dataclass
class OpenOrder:
    """One order that is open, as far as it was told."""

    order_id: int
    instrument: int
    side: str
    open_lots: int
    price_ticks: int
    strategy: int
    account: int
    state: str = "sent"


class Books:
    """Of whatever run there is; thread-safe."""

    def __init__(self, hands: Hands, record: Path | None = None) -> None:
        """`record`: the folder of the run's journal, where it is not in its usual place."""
        self._hands = hands
        self._record = record
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._run_epoch = 0

    def folder(self) -> Path:
        """The journal of the run that is there. Raises Refusal when it keeps none."""
        run_epoch = self._hands.run().run_epoch
        if self._record is not None and self._record.name and self._record.is_dir():
            return self._record
        found = list(journal_root(self._hands.config).glob(f"*-{run_epoch}"))
        if not found:
            raise not_now("this run keeps no journal that is known here: [journal] enabled = true")
        return found[0]

    def look(self) -> tuple[dict[int, OpenOrder], Ledger, list[str]]:
        """Open orders by id, the ledger, and the symbols, as of now. Raises Refusal. Read them, and nothing else."""
        with self._lock:
            try:
                return self._follow()
            except JournalError as error:
                self._journal = None
                raise not_now(f"the journal cannot be read now: {error}") from None

    def _follow(self) -> tuple[dict[int, OpenOrder], Ledger, list[str]]:
        run_epoch = self._hands.run().run_epoch
        if self._journal is None or self._run_epoch != run_epoch:
            self._journal, self._run_epoch = Journal(self.folder()), run_epoch
            instruments = self._journal.instruments
            self._symbols = [bytes(each).rstrip(b"\0").decode() for each in instruments["symbol"].tolist()]
            self._ledger = Ledger(instruments["tick_value_micros"].tolist(), FeeBook(self._hands.config.fees))
            self._orders: dict[int, OpenOrder] = {}
            self._seen = {"cmd": 0, "exec": 0}
        self._journal.refresh()
        executions = self._new("exec")  # before the commands: each stands on one that was recorded before it
        for command in self._new("cmd"):
            self._command(command)
        for event in executions:
            self._execution(event)
        first = self._seen["exec"] - len(executions)
        adjustments = self._journal.events("adjust") if "adjust" in self._journal.rings else np.zeros(0)
        if len(executions):
            self._ledger.apply(executions, adjustments, first_sequence=first)
        return self._orders, self._ledger, self._symbols

    def _new(self, ring: str) -> Any:
        assert self._journal is not None, "the caller opened it"
        if ring not in self._journal.rings:
            return np.zeros(0)
        found = self._journal.events(ring, max(self._seen[ring], self._journal.first(ring)))
        self._seen[ring] = self._journal.next(ring)
        return found

    def _command(self, command: Any) -> None:
        kind = int(command["header"]["type"])
        if kind == lib.CMD_CANCEL:
            return
        order_id = int(command["order_id"])
        self._orders[order_id] = OpenOrder(
            order_id=order_id,
            instrument=int(command["header"]["instrument"]),
            side=SIDES.get(int(command["side"]), "?"),
            open_lots=int(command["quantity_lots"]),
            price_ticks=int(command["price_ticks"]),
            strategy=int(command["id"]["strategy"]),
            account=int(command["id"]["account"]),
        )

    def _execution(self, event: Any) -> None:
        kind, order_id = int(event["header"]["type"]), int(event["order_id"])
        if kind == lib.EXEC_REPLACED:
            self._orders.pop(int(event["target_order_id"]), None)
        order = self._orders.get(order_id)
        if order is None:
            return
        if kind == lib.EXEC_REPLACE_REJECTED:
            del self._orders[order_id]
        elif kind in (lib.EXEC_ACCEPTED, lib.EXEC_REPLACED, lib.EXEC_FILL, lib.EXEC_RESTATED, *DEAD):
            order.open_lots = int(event["leaves_lots"]) if kind not in (lib.EXEC_REJECTED, lib.EXEC_REFUSED) else 0
            order.state = "open"
            if kind == lib.EXEC_RESTATED:
                order.price_ticks = int(event["price_ticks"])
            if order.open_lots <= 0:
                del self._orders[order_id]
        elif kind in STATES:
            order.state = STATES[kind]
