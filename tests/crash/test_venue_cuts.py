"""The connection to the venue cut after every byte, sent or answered: no order leaves twice, no fill is lost.

    test: commands --cmd--> [gateway process] --tcp--> proxy, which cuts --tcp--> [simulator process]
                   <--exec--                                                         '--> wire tap, drop copy

One day of one session: for each byte a fresh connection is cut there while four commands are on their way (a new order,
its replacement, an order that is filled at once, a cancel), and the next connection finds out what became of them. In
CI every STRIDE-th byte; HOTPATH_SOAK=1 takes each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ffi import lib
from hotpath.demo import running_simulator
from hotpath.reconcile.client import CopyClient
from hotpath.reconcile.wire import CopyEnd, CopyExecution, CopyLine
from hotpath.venues.config import AccountConfig, SimulatorConfig
from tests.gateway_driver import INSTRUMENTS, Risk, World, run_until
from tests.support.cut_proxy import IN, OUT, CutProxy
from tests.support.engines import wire_orders

REPOSITORY = Path(__file__).resolve().parent.parent.parent
STRIDE = 1 if os.environ.get("HOTPATH_SOAK") else 7
BYTES_MAX = 700  # of one connection in one direction; the scenario has fewer
ENDS = (lib.EXEC_CANCELED, lib.EXEC_FILL, lib.EXEC_REJECTED, lib.EXEC_REPLACE_REJECTED, lib.EXEC_REFUSED)
ACCOUNT = AccountConfig(username="HOTPAT", password="secret", cancel_on_disconnect=False, drop_copy="COPY")


class Scene:
    """The commands of one cut, and what is told of them."""

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


@pytest.mark.parametrize("direction", [OUT, IN])
def test_cut_at_every_byte_doubles_no_order_and_loses_no_fill(tmp_path: Path, direction: str) -> None:
    config = SimulatorConfig(
        accounts=[ACCOUNT], symbols=list(INSTRUMENTS), intents_per_second=2000, live_orders=600, heartbeat_ms=50,
        tap_path=str(tmp_path / "tap"),
    )  # fmt: skip
    with running_simulator(config, tmp_path) as venue:
        world = World(tmp_path / "engine")
        with CutProxy(("127.0.0.1", venue.ready["order_port"])) as proxy:
            command = [sys.executable, "-m", "tests.gateway_driver", str(tmp_path / "engine"), str(proxy.port)]
            gateway = subprocess.Popen(command, cwd=REPOSITORY)
            try:
                scene = Scene(world)
                run_until(lambda: scene.up_since(0), scene.read)
                tried = 0
                for byte in range(1, BYTES_MAX, STRIDE):
                    ups, cuts = scene.ups, proxy.cuts
                    proxy.arm(direction, byte)
                    run_until(lambda: scene.up_since(ups), scene.read)  # noqa: B023  (called here and now)
                    scene.send()
                    run_until(lambda: scene.over() and scene.up, scene.read)
                    tried += 1
                    if proxy.cuts == cuts and proxy.bytes[direction] < byte:
                        break  # the whole scenario has fewer bytes
                assert proxy.cuts > 200 // STRIDE and tried >= proxy.cuts
                executions, positions = copy_of(venue.ready["order_port"])
                world.control.stop = 1
                gateway.wait(timeout=10)
            finally:
                gateway.kill()
                gateway.wait()
        scene.read()
    check(scene, world, executions, positions, venue.summary, tmp_path)


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
