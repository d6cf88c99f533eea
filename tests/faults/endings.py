"""The end of an order session, again and again: a gateway of its own for each, since each ends for good."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from ffi import lib
from hotpath.demo import DemoOptions, running_simulator, simulator_config
from hotpath.venues.config import AccountConfig
from hotpath.venues.fault_config import FaultsConfig
from tests.gateway_driver import MS, SECOND, Gateway, Risk, World, make_config

PATIENCE_SECONDS = 10.0
ENDING = {"end_of_session": {"probability": 0.3}}


def _gateway(folder: Path, ready: dict[str, Any]) -> tuple[World, Gateway, Risk]:
    world = World(folder)
    for i, symbol in enumerate(ready["symbols"][:3]):
        world.instruments[i].symbol = symbol.encode()
    config = make_config(
        session_port=ready["order_port"],
        quiet_ns=5 * MS,
        query_timeout_ns=SECOND,
        midnight_time_ns=ready["midnight_ns"],
    )
    config.session.username, config.session.password = b"DEMO  ", b"simulator "
    # The account's stream goes on from one ending to the next; each gateway takes up where it stands.
    return world, Gateway(world, config), Risk(world)


def _one(folder: Path, ready: dict[str, Any]) -> list[str]:
    """One gateway that trades until its session ends. What is wrong with how it took that."""
    world, gateway, risk = _gateway(folder, ready)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        sent = 0
        while gateway.state != lib.SESSION_CLOSED:
            gateway.now_ns = int(lib.clock_now(world.clock))
            gateway.turn(advance_ns=0)
            if gateway.state == lib.SESSION_UP and sent < 5:
                risk.new(price=100, quantity=10)
                sent += 1
            if time.monotonic() > deadline:
                return [f"no end of session came (state {gateway.state})"]
        wrong = [] if gateway.reason == lib.SESSION_ENDED else [f"closed for reason {gateway.reason}"]
        logins = world.counter("LOGINS")
        risk.new(price=100, quantity=10)
        for _ in range(20):
            gateway.turn(advance_ns=SECOND)
        if world.gateway_mode != lib.MODE_CANCEL_ONLY:
            wrong.append(f"mode {world.gateway_mode}")
        if world.counter("LOGINS") != logins or gateway.state != lib.SESSION_CLOSED:
            wrong.append("it logged in again")
        if [int(event["reason"]) for event in risk.of_type(lib.EXEC_REFUSED)][-1:] != [lib.REJECT_SESSION_DOWN]:
            wrong.append("an order was not refused")
        downs = [int(event["reason"]) for event in risk.of_type(lib.EXEC_SESSION_DOWN)]
        if len(risk.of_type(lib.EXEC_SESSION_UP)) and downs[-1:] != [lib.SESSION_ENDED]:
            wrong.append(f"session down was told as {downs}")
        return wrong
    finally:
        gateway.die()


def end_of_session(*, seed: int, wanted: int, folder: Path) -> tuple[list[str], int, str]:
    """(what is wrong, sessions ended, what to show)."""
    folder.mkdir(parents=True, exist_ok=True)
    config = simulator_config(DemoOptions(seed=seed, instruments=3, rate_per_second=500))
    config = msgspec.structs.replace(
        config,
        accounts=[AccountConfig(username="DEMO")],
        live_orders=300,
        heartbeat_ms=20,
        linger_ms=0,
        faults=msgspec.convert(ENDING, FaultsConfig),
    )
    wrong: list[str] = []
    ended = 0
    with running_simulator(config, folder) as venue:
        while ended < wanted and not wrong:
            wrong = [f"ending {ended + 1}: {what}" for what in _one(folder / f"gateway{ended}", venue.ready)]
            ended += not wrong
    if venue.summary["faults"][next(iter(ENDING))] < ended:
        wrong.append("the venue counts fewer endings")
    return wrong, ended, f"{ended} gateways closed, none came back; the venue counts {venue.summary['logins']} logins"
