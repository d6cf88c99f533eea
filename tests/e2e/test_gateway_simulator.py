"""The gateway against the venue simulator in its own process, in both protocols, with the venue's wire tap and
its own summary as the truth."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ffi import lib
from tests.gateway_driver import MS, SECOND, Gateway, Risk, World, make_config, run_until

REPOSITORY = Path(__file__).resolve().parent.parent.parent
KINDS = {"ouch50": "VENUE_OUCH50", "ouch42": "VENUE_OUCH42"}


class Simulated:
    """A simulator process with one account, and a gateway that talks to it in real time."""

    def __init__(self, folder: Path, protocol: str) -> None:
        account = {"username": "HOTPAT", "password": "secret", "protocol": protocol, "cancel_on_disconnect": False}
        settings = {
            "accounts": json.dumps([account]),
            "instruments": 3,
            "intents_per_second": 2000,
            "live_orders": 600,
            "control_port": 0,
            "heartbeat_ms": 50,
        }
        command = [sys.executable, "-m", "hotpath.venues"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.world = World(folder)
        for i, symbol in enumerate(self.ready["symbols"]):
            self.world.instruments[i].symbol = symbol.encode()
        self.risk = Risk(self.world)
        config = make_config(
            kind=getattr(lib, KINDS[protocol]),
            session_port=self.ready["order_port"],
            quiet_ns=100 * MS,
            query_timeout_ns=5 * SECOND,
            midnight_time_ns=self.ready["midnight_ns"],
        )
        config.session.username, config.session.password = b"HOTPAT", b"secret    "
        self.gateway = Gateway(self.world, config)

    def step(self) -> None:
        self.gateway.now_ns = int(lib.clock_now(self.world.clock))
        if not self.gateway.turn(advance_ns=0):
            time.sleep(0.0005)
        self.risk.read()

    def until_told(self, type_: int, count: int) -> list[Any]:
        run_until(lambda: len(self.risk.of_type(type_)) >= count, self.step)
        events = self.risk.of_type(type_)
        assert len(events) == count
        return events

    def control(self, **command: Any) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            line.sendto(json.dumps(command).encode(), ("127.0.0.1", self.ready["control_port"]))

    def summary(self) -> dict[str, Any]:
        self.process.terminate()
        out, _ = self.process.communicate(timeout=20)
        found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return found


@pytest.fixture(params=sorted(KINDS))
def simulated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Simulated]:
    made = Simulated(tmp_path, request.param)
    yield made
    made.gateway.die()
    if made.process.poll() is None:
        made.process.kill()
    made.process.communicate()


def test_order_life_and_reconnection(simulated: Simulated) -> None:
    risk = simulated.risk
    simulated.until_told(lib.EXEC_SESSION_UP, 1)
    resting = [risk.new(price=100, quantity=10 + i, instrument=i, side=lib.SIDE_BUY) for i in range(3)]
    accepted = simulated.until_told(lib.EXEC_ACCEPTED, 3)
    assert [int(event["order_id"]) for event in accepted] == resting
    assert [int(event["leaves_lots"]) for event in accepted] == [10, 11, 12]
    opened = simulated.ready["midnight_ns"] + 9 * 3600 * SECOND
    assert all(int(event["header"]["origin_time_ns"]) > opened for event in accepted)

    moved = risk.replace(resting[0], price=200, quantity=20)
    (replaced,) = simulated.until_told(lib.EXEC_REPLACED, 1)
    assert (int(replaced["order_id"]), int(replaced["target_order_id"])) == (moved, resting[0])
    assert (int(replaced["price_ticks"]), int(replaced["leaves_lots"])) == (200, 20)

    bought = risk.new(price=100_000_000, quantity=5, side=lib.SIDE_BUY, time_in_force=lib.TIF_IOC)
    run_until(lambda: sum(int(e["quantity_lots"]) for e in risk.of_type(lib.EXEC_FILL)) == 5, simulated.step)
    fills = risk.of_type(lib.EXEC_FILL)
    assert {int(event["order_id"]) for event in fills} == {bought}
    assert int(fills[-1]["leaves_lots"]) == 0 and int(fills[-1]["cumulative_lots"]) == 5

    simulated.control(command="disconnect")
    simulated.until_told(lib.EXEC_SESSION_DOWN, 1)
    risk.cancel(resting[1])  # held over until the next login
    simulated.until_told(lib.EXEC_SESSION_UP, 2)
    simulated.until_told(lib.EXEC_CANCELED, 1)
    risk.cancel(resting[2])
    risk.cancel(moved)
    gone = simulated.until_told(lib.EXEC_CANCELED, 3)
    assert sorted(int(event["order_id"]) for event in gone) == sorted([resting[1], resting[2], moved])
    assert simulated.world.counter("OPEN_ORDERS") == 0

    simulated.control(command="break", match=int(fills[0]["match_id"]))
    (undone,) = simulated.until_told(lib.EXEC_BROKEN, 1)
    for field in ("order_id", "match_id", "quantity_lots", "price_ticks"):
        assert undone[field] == fills[0][field]

    sequences = [int(event["session_sequence"]) for event in risk.seen if event["session_sequence"]]
    assert sequences == sorted(set(sequences))
    assert simulated.world.counter("UNMATCHED") == simulated.world.counter("MALFORMED") == 0
    assert simulated.world.gateway_mode == lib.MODE_NORMAL


def test_kill_and_new_process(simulated: Simulated) -> None:
    risk = simulated.risk
    simulated.until_told(lib.EXEC_SESSION_UP, 1)
    orders = [risk.new(price=100, quantity=10) for _ in range(20)]
    simulated.until_told(lib.EXEC_ACCEPTED, 20)
    simulated.gateway.die()
    simulated.gateway = Gateway(simulated.world, simulated.gateway.config)
    epoch = lib.control_kill(simulated.world.control)
    run_until(lambda: len(risk.of_type(lib.EXEC_SESSION_UP)) == 2, simulated.step)
    gone = simulated.until_told(lib.EXEC_CANCELED, 20)
    assert sorted(int(event["order_id"]) for event in gone) == orders
    assert len(risk.of_type(lib.EXEC_ACCEPTED)) == 20, "nothing is told twice"
    run_until(lambda: simulated.world.control.killed_epoch_sent == epoch, simulated.step)
    assert simulated.summary()["event"] == "summary"
