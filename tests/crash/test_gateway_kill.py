"""SIGKILL of a gateway process at random moments: one wire order for each command at most, every fill
counted once.

    test: risk --cmd--> [gateway process, killed and started again] --tcp--> venue, pumped by the test
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ffi import lib
from tests.gateway_driver import Risk, World, run_until
from tests.scripted_venue import ScriptedVenue

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ROUNDS = 200 if os.environ.get("HOTPATH_SOAK") else 12
SEED = 20261121


def start(folder: Path, port: int, durability: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.gateway_driver", str(folder), str(port), durability]
    return subprocess.Popen(command, cwd=REPOSITORY)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_gateway_killed_at_random_moments(tmp_path: Path, durability: str) -> None:
    chance = random.Random(SEED)
    world = World(tmp_path, ring_capacity=4096, exec_capacity=4096)
    venue, risk = ScriptedVenue(), Risk(world)
    commands = 0
    for _ in range(ROUNDS):
        logins = len(venue.logins)
        process = start(tmp_path, venue.port, durability)
        try:
            run_until(logged_in_since(venue, logins), venue.pump)
            # From before the session is up to the middle of a burst.
            end = time.monotonic() + chance.uniform(0, 0.06)
            while time.monotonic() < end:
                if commands < 1500 and chance.random() < 0.3:
                    risk.new(quantity=chance.randint(1, 500))
                    commands += 1
                if venue.live and chance.random() < 0.2:
                    ref = chance.choice(list(venue.live))
                    venue.fill(ref, chance.randint(1, venue.live[ref].leaves))
                venue.pump()
                risk.read()
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        risk.read()
    process = start(tmp_path, venue.port, durability)
    try:
        count = len(risk.of_type(lib.EXEC_SESSION_UP))
        run_until(lambda: len(risk.of_type(lib.EXEC_SESSION_UP)) > count, venue.pump)
        run_until(lambda: sequences(risk)[-1:] == [last_report(venue)], venue.pump)
        world.control.stop = 1
        process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
    venue.close()
    check(world, venue, risk, commands)


def logged_in_since(venue: ScriptedVenue, logins: int) -> Callable[[], bool]:
    return lambda: len(venue.logins) > logins


def sequences(risk: Risk) -> list[int]:
    risk.read()
    return [int(event["session_sequence"]) for event in risk.seen if event["session_sequence"]]


def last_report(venue: ScriptedVenue) -> int:
    return max(i + 1 for i, message in enumerate(venue.stream) if message[0:1] not in b"QS")


def check(world: World, venue: ScriptedVenue, risk: Risk, commands: int) -> None:
    wire = Counter(int(order.client_order_id) for order in venue.new_orders())
    assert max(wire.values()) == 1, "a command went out twice"
    refs = [order.user_ref for order in venue.new_orders()]
    assert refs == sorted(set(refs))
    records = world.intents()
    stored = {int(record["order_id"]) for record in records}
    assert set(wire) <= stored, "nothing leaves that was not stored"
    refused = Counter(int(event["order_id"]) for event in risk.of_type(lib.EXEC_REFUSED))
    assert max(refused.values(), default=1) == 1, "a refusal is told once"
    assert len(stored) + len(refused) == commands and not stored & set(refused)
    spoken = [i + 1 for i, message in enumerate(venue.stream) if message[0:1] not in b"QS"]
    assert sequences(risk) == spoken, "each report is published once, in order"
    filled = sum(int(event["quantity_lots"]) for event in risk.of_type(lib.EXEC_FILL))
    at_venue = sum(int.from_bytes(m[13:17], "big") for m in venue.stream if m[0:1] == b"E")
    assert filled == at_venue > 0
    # Each order that was stored is live at the venue, or is told to be dead.
    ended = {
        int(event["order_id"])
        for event in risk.seen
        if event["header"]["type"] in (lib.EXEC_CANCELED, lib.EXEC_FILL) and event["leaves_lots"] == 0
    }
    live = {int(held.order.client_order_id) for held in venue.live.values()}
    assert stored == ended | live and not ended & live
