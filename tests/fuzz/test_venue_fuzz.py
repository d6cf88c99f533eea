"""The order desk and the session server under sensible, strange and broken input, in process.

Whatever a client sends: the venue goes on, each order is answered exactly once, and every lot of it is
accounted for: filled + canceled + live = accepted. HOTPATH_FUZZ_SEED=n replays one run.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from ffi import ffi, lib
from hotpath.errors import CaptureError
from hotpath.venues.config import AccountConfig, SimulatorConfig
from hotpath.venues.market import CrowdMarket, RecordedMarket
from hotpath.venues.orders import Account, Desk
from hotpath.venues.sessions import SessionServer
from hotpath.venues.tap import Tap
from tests.venue_client import cancel42, cancel50, enter42, enter50, replace42, replace50

SEED = os.environ.get("HOTPATH_FUZZ_SEED")
SEEDS = [int(SEED)] if SEED else list(range(12))
SYMBOLS = ["AAPL", "MSFT"]


def new_desk(seed: int, protocol: str) -> tuple[CrowdMarket, Desk, Account]:
    account = AccountConfig(username="FUZZ", password="pw", protocol=protocol)  # type: ignore[arg-type]
    config = SimulatorConfig(seed=seed, symbols=SYMBOLS, live_orders=64, accounts=[account], store_bytes=1 << 20)
    market = CrowdMarket(config)
    market.open_day()
    desk = Desk(config, market)
    return market, desk, desk.accounts["FUZZ"]


def message(chance: Random, protocol: str, number: int) -> bytes:
    """An OUCH message: mostly sensible, at times wrong in one field, at times damaged."""
    kind = chance.choice("OOOOUUXX" + ("Q" if protocol == "ouch50" else ""))
    order: dict[str, Any] = {
        "side": chance.choice("BBSSTEZ"),
        "quantity": chance.choice([0, 1, 100, 500, 5000, 1_000_001, 0xFFFFFFFF]),
        "symbol": chance.choice([*SYMBOLS, *SYMBOLS, "NOPE", "\x00\x00"]),
        "price": chance.choice([0, 1, 99, 10_000, 500_000, 1_000_000, 5_000_050, 0x7FFFFFFF, 1_999_999_900]),
    }
    earlier = max(1, number - chance.randrange(8))
    terms = {"quantity": order["quantity"], "price": order["price"]}
    remaining = chance.choice([0, 0, 0, 50, 100, 10_000])
    if protocol == "ouch50":
        order["tif"] = terms["tif"] = chance.choice("003")
        makers: dict[str, Callable[[], bytes]] = {
            "O": lambda: enter50(number, **order),
            "U": lambda: replace50(earlier, number, **terms),
            "X": lambda: cancel50(earlier, remaining),
            "Q": lambda: b"Q",
        }
    else:
        order["tif"] = terms["tif"] = chance.choice([0, 99998, 99998, 30])
        makers = {
            "O": lambda: enter42(f"T{number}", **order),
            "U": lambda: replace42(f"T{earlier}", f"T{number}", **terms),
            "X": lambda: cancel42(f"T{earlier}", remaining),
        }
    made = makers[kind]()
    if chance.random() < 0.1 and len(made) > 9:
        damaged = bytearray(made)
        # Not in the order's own number: a huge one would make the venue ignore every later one.
        damaged[chance.randrange(9, len(damaged))] = chance.randrange(256)
        made = bytes(damaged[: chance.choice([len(damaged), chance.randrange(len(damaged) + 1)])])
    return made


def accounts_for(stream: Iterable[bytes], protocol: str) -> dict[bytes, list[int]]:
    """By order name: [answers, accepted lots, filled, canceled], from the stream alone."""
    state: dict[bytes, list[int]] = {}
    wide = protocol == "ouch50"
    size = 4 if wide else 14
    for payload in stream:
        kind = payload[:1]
        if kind == b"U":
            new, old = (payload[13:17], payload[9:13]) if wide else (payload[9:23], payload[65:79])
        else:
            new = payload[9 : 9 + size]
        if kind in (b"A", b"J", b"U"):
            entry = state.setdefault(new, [0, 0, 0, 0])
            entry[0] += 1
            offset = {b"A": 9 + size + 1, b"U": 18 if wide else 24}.get(kind)
            if offset is not None:
                entry[1] = struct.unpack_from(">I", payload, offset)[0]
            if kind == b"U":
                replaced = state[old]
                replaced[3] = replaced[1] - replaced[2]  # what was live passes to the new order
        elif kind in (b"E", b"C"):
            state[new][2 if kind == b"E" else 3] += struct.unpack_from(">I", payload, 9 + size)[0]
    return state


@pytest.mark.parametrize("protocol", ["ouch50", "ouch42"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_order_is_answered_once_and_every_lot_accounted_for(seed: int, protocol: str) -> None:
    chance = Random(seed)
    market, desk, account = new_desk(seed, protocol)
    for number in range(1, 400):
        if chance.random() < 0.5:
            market.advance(market.now_ns + chance.randrange(5_000_000))
        desk.receive(account, message(chance, protocol, number))
    market.advance(market.now_ns + 100_000_000)
    desk.deliver(market.take_reports())
    state = accounts_for(account.stream, protocol)
    assert all(answers == 1 for answers, *_ in state.values())
    live = {name: accepted - filled - canceled for name, (_, accepted, filled, canceled) in state.items()}
    assert min(live.values()) >= 0
    assert sum(live.values()) == sum(order.leaves_lots for order in desk.orders.values() if order.live)
    for order_id, order in desk.orders.items():
        assert lib.match_owner(market._match, market._live[order_id].ref) == order_id
        assert market._live[order_id].leaves_lots == order.leaves_lots
    desk.cancel_all(account)
    desk.deliver(market.take_reports())
    state = accounts_for(account.stream, protocol)
    assert all(accepted == filled + canceled for _, accepted, filled, canceled in state.values())
    assert not desk.orders and not market._live and not account.by_name
    assert desk.counts["fills"] > 0 and desk.counts["rejected"] > 0


def recorded_day(path: Path, seed: int) -> SimulatorConfig:
    """A recording made from what a crowd's market publishes."""
    crowd = CrowdMarket(SimulatorConfig(seed=seed, symbols=SYMBOLS, live_orders=64, store_bytes=1 << 20))
    crowd.open_day()
    while not crowd.advance(crowd.start_time_ns() + 400_000_000):
        pass
    target, sizes = ffi.new("uint8_t[]", 2 << 20), ffi.new("uint32_t[]", 2000)
    count = lib.publisher_flush(crowd.publisher, target, 2 << 20, sizes, 2000)
    packets, position = b"", 0
    for size in sizes[0:count]:
        packets += bytes(ffi.buffer(target + position + 20, size - 20))  # blocks are framed as a file's messages are
        position += size
    path.write_bytes(packets)
    account = AccountConfig(username="FUZZ", password="pw", protocol="ouch50")
    return SimulatorConfig(market="recording", recording=str(path), accounts=[account], latency_ns=20_000)


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_orders_on_a_recorded_day_are_answered_once_and_accounted_for(seed: int, tmp_path: Path) -> None:
    chance = Random(seed)
    config = recorded_day(tmp_path / "day.itch", seed)
    market = RecordedMarket(config)
    assert list(market.symbols) == SYMBOLS
    desk = Desk(config, market)
    account = desk.accounts["FUZZ"]
    start = market.start_time_ns()
    for number in range(1, 400):
        while not market.advance(start + number * 1_000_000):
            pass
        desk.receive(account, message(chance, "ouch50", number))
    while not market.advance(start + 500_000_000):
        pass
    desk.deliver(market.take_reports())
    state = accounts_for(account.stream, "ouch50")
    assert all(answers == 1 for answers, *_ in state.values())
    live = sum(accepted - filled - canceled for _, accepted, filled, canceled in state.values())
    assert live == sum(order.leaves_lots for order in desk.orders.values())
    desk.cancel_all(account)
    market.advance(start + 600_000_000)
    desk.deliver(market.take_reports())
    state = accounts_for(account.stream, "ouch50")
    assert all(accepted == filled + canceled for _, accepted, filled, canceled in state.values())
    assert not desk.orders and desk.counts["fills"] > 0


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_a_damaged_recording_is_played_to_its_end_or_refused(seed: int, tmp_path: Path) -> None:
    chance = Random(seed)
    config = recorded_day(tmp_path / "day.itch", seed)
    data = bytearray((tmp_path / "day.itch").read_bytes())
    for _ in range(50):
        data[chance.randrange(len(data))] = chance.randrange(256)
    (tmp_path / "day.itch").write_bytes(data[: chance.randrange(len(data))])
    try:
        market = RecordedMarket(msgspec.structs.replace(config, pace="flat"))
    except CaptureError:
        return
    for _ in range(1000):
        if market.finished:
            return
        market.advance(0)
    raise AssertionError("the recording does not end")


def test_a_token_of_nothing_is_an_order_like_any_other() -> None:
    _market, desk, account = new_desk(1, "ouch42")
    order = enter42("TOKEN", side="B", quantity=1, symbol="AAPL", price=100)
    for token in (b"\0" * 14, b"\0A".ljust(14), b"\xff" * 14):
        desk.receive(account, order[:1] + token + order[15:])
    assert [payload[:1] for payload in account.stream] == [b"S", b"A", b"A", b"A"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_session_server_survives_any_bytes(seed: int) -> None:
    chance = Random(seed)
    _market, desk, _account = new_desk(seed, "ouch50")
    server = SessionServer(desk.config, desk, Tap("", ""))
    login = b"\x00\x2fL" + b"FUZZ  pw        " + b" " * 10 + b"1".rjust(20)
    now = 1
    try:
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                server.ready(server.listener.fileno(), now)
                data = bytearray(login if chance.random() < 0.7 else b"")
                for number in range(chance.randrange(6)):
                    payload = b"U" + message(chance, "ouch50", number + 1)
                    data += struct.pack(">H", len(payload)) + payload
                data += chance.randbytes(chance.choice([0, 0, 5, 3000]))
                if data and chance.random() < 0.3:
                    data[chance.randrange(len(data))] = chance.randrange(256)
                client.sendall(data)
                for _ in range(4):
                    now += 1
                    for fd in list(server.connections):
                        server.ready(fd, now)
                server.publish(now)
                server.keep_alive(now)
            for fd in list(server.connections):
                server.ready(fd, now)
        assert server.counts["logins"] > 0 and not server.connections
    finally:
        server.close()
