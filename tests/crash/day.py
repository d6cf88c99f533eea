"""A day of one gateway against the real simulator: its commands, what it is told, and what both sides must agree on.

test: commands --cmd--> [gateway process] --tcp--> [simulator process] --> wire tap, drop copy
               <--exec--
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from ffi import lib
from hotpath.reconcile.client import CopyClient
from hotpath.reconcile.wire import CopyEnd, CopyExecution, CopyLine
from hotpath.venues.config import AccountConfig, SimulatorConfig
from tests.gateway_driver import INSTRUMENTS, Risk, World
from tests.support.engines import wire_orders

ENDS = (lib.EXEC_CANCELED, lib.EXEC_FILL, lib.EXEC_REJECTED, lib.EXEC_REPLACE_REJECTED, lib.EXEC_REFUSED)
ACCOUNT = AccountConfig(username="HOTPAT", password="secret", cancel_on_disconnect=False, drop_copy="COPY")


def simulator_of(folder: Path) -> SimulatorConfig:
    """A venue with a quiet market, a wire tap at folder/tap and a drop copy."""
    return SimulatorConfig(
        accounts=[ACCOUNT], symbols=list(INSTRUMENTS), intents_per_second=2000, live_orders=600, heartbeat_ms=50,
        tap_path=str(folder / "tap"),
    )  # fmt: skip


class Scene:
    """Commands, and what is told of them."""

    def __init__(self, world: World) -> None:
        self.risk = Risk(world)
        self._ended: set[int] = set()
        self.ups = self._read = 0
        self.up = False
        self.orders: set[int] = set()
        self._cancelled: set[int] = set()

    def read(self) -> None:
        self.risk.read()
        for event in self.risk.seen[self._read :]:
            kind, order_id = int(event["header"]["type"]), int(event["order_id"])
            if kind in ENDS and (event["leaves_lots"] == 0 or kind == lib.EXEC_REFUSED):
                self._ended.add(order_id)
            elif kind == lib.EXEC_REPLACED:
                self._ended.add(int(event["target_order_id"]))
            elif kind in (lib.EXEC_SESSION_UP, lib.EXEC_SESSION_DOWN):
                self.up = kind == lib.EXEC_SESSION_UP
                self.ups += self.up
        self._read = len(self.risk.seen)
        time.sleep(0.0005)

    def send(self) -> None:
        """Four commands at once: they leave in as few pieces as the gateway likes."""
        resting = self.risk.new(price=100, quantity=10)
        moved = self.risk.replace(resting, price=200, quantity=20)
        taking = self.risk.new(price=100_000_000, quantity=5, instrument=1, time_in_force=lib.TIF_IOC)
        self.risk.cancel(moved)
        self.orders |= {resting, moved, taking}

    def over(self) -> bool:
        """Every order has ended, as far as this side was told. A resting one whose replacement failed is cancelled."""
        self.read()
        for order_id in self.orders - self._ended:
            last = next((e for e in reversed(self.risk.seen[-40:]) if int(e["order_id"]) == order_id), None)
            if last is not None and last["header"]["type"] in (lib.EXEC_ACCEPTED, lib.EXEC_CANCEL_REJECTED):
                return bool(self._cancel(order_id))
        return self.orders <= self._ended

    def _cancel(self, order_id: int) -> int:
        if order_id not in self._cancelled:
            self._cancelled.add(order_id)
            self.risk.cancel(order_id)
        return 0

    def up_since(self, count: int) -> bool:
        self.read()
        return self.up and self.ups > count


def copy_of(port: int) -> tuple[list[CopyExecution], dict[str, int]]:
    """What the venue's drop copy tells: every execution, and the positions."""
    client = CopyClient("127.0.0.1", port, username="COPY", password="secret")
    executions: list[CopyExecution] = []
    lines: dict[str, int] = {}
    asked = False
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for message in client.poll(0.05):
            if isinstance(message, CopyExecution):
                executions.append(message)
            elif isinstance(message, CopyLine):
                lines[message.symbol] = message.lots
            elif isinstance(message, CopyEnd):
                client.close()
                assert (message.executions, message.lines) == (len(executions), len(lines))
                return executions, lines
        asked = asked or bool(client.ask())
    raise AssertionError("the drop copy did not answer")


def check(
    scene: Scene,
    world: World,
    executions: list[CopyExecution],
    positions: dict[str, int],
    summary: dict[str, int],
    folder: Path,
) -> None:
    orders = [frame for frame in wire_orders(folder / "tap") if frame[3:4] in (b"O", b"U")]
    refs = [int.from_bytes(frame[4:8] if frame[3:4] == b"O" else frame[8:12], "big") for frame in orders]
    names = Counter(frame[34:48] if frame[3:4] == b"O" else frame[27:41] for frame in orders)
    assert refs == sorted(set(refs)) and max(names.values()) == 1, "an order left twice"
    assert summary["ignored_in"] == 0
    fills = scene.risk.of_type(lib.EXEC_FILL)
    told = {(int(fill["match_id"]), int(fill["quantity_lots"]), int(fill["price_ticks"])) for fill in fills}
    there = {(each.match, each.quantity, each.price) for each in executions}
    assert told == there and len(fills) == len(executions) == summary["fills"] > 0, "a fill was lost or told twice"
    assert positions == {INSTRUMENTS[1]: summary["filled_lots"]}
    sequences = [int(event["session_sequence"]) for event in scene.risk.seen if event["session_sequence"]]
    assert sequences == sorted(set(sequences)), json.dumps(sequences)
    assert world.counter("UNMATCHED") == world.counter("MALFORMED") == 0
