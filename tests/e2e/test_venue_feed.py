"""What the crowd's market publishes, decoded by other people's ITCH parsers, rebuilds the engine's own book."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ffi import ffi, lib
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.market import Command, CrowdMarket

Level = tuple[int, int, int]  # price in ticks, shares, orders
INSTRUMENTS = 6


def drain(market: CrowdMarket) -> Iterator[bytes]:
    """Messages published and not yet flushed, length prefix included."""
    target, sizes = ffi.new("uint8_t[]", 1 << 20), ffi.new("uint32_t[]", 600)
    while count := lib.publisher_flush(market.publisher, target, 1 << 20, sizes, 600):
        position = 0
        for size in sizes[0:count]:
            packet = bytes(ffi.buffer(target + position, size))
            position += size
            offset = 20
            while offset < size:
                (length,) = struct.unpack_from(">H", packet, offset)
                yield packet[offset : offset + 2 + length]
                offset += 2 + length


@pytest.fixture(scope="module")
def traded_market(tmp_path_factory: pytest.TempPathFactory) -> tuple[CrowdMarket, Path]:
    """A market where a session trades among the crowd, and the file of all that it published."""
    market = CrowdMarket(SimulatorConfig(seed=11, instruments=INSTRUMENTS, live_orders=2000))
    market.open_day()
    chance, messages = Random(11), list(drain(market))
    for order_id in range(1, 400):
        while not market.advance(market.start_time_ns() + order_id * 2_000_000):
            pass
        instrument = chance.randrange(INSTRUMENTS)
        side = chance.randrange(2)
        best = ffi.new("book_order *")
        if lib.book_front(market.live_book(), instrument, side, best) == lib.BOOK_OK:
            price = best.price_ticks + chance.choice([-200, 0, 0, 100, 100, 600]) * (1 if side == 0 else -1)
            kind = chance.choice([lib.CMD_NEW, lib.CMD_NEW, lib.CMD_REPLACE, lib.CMD_CANCEL])
            target = 0 if kind == lib.CMD_NEW else max(1, order_id - chance.randrange(1, 20))
            quantity = 0 if kind == lib.CMD_CANCEL else chance.randrange(1, 9) * 50
            ioc = chance.random() < 0.2
            market.submit(Command(kind, order_id, target, instrument, side, max(price, 100), quantity, ioc))
        messages += drain(market)
    reports = market.take_reports()
    kinds = {report.type for report in reports}
    assert {lib.EXEC_ACCEPTED, lib.EXEC_FILL, lib.EXEC_CANCELED, lib.EXEC_REPLACED} <= kinds
    market.close_day()
    messages += drain(market)
    path = tmp_path_factory.mktemp("feed") / "11202026.NASDAQ_ITCH50"
    path.write_bytes(b"".join(messages))
    assert {message[2:3] for message in messages} >= {bytes([letter]) for letter in b"SRHAEXDUP"}
    return market, path


def engine_levels(market: CrowdMarket, instrument: int, side: int, depth: int) -> list[Level]:
    levels = ffi.new("book_level[]", depth)
    count = lib.book_depth(market.live_book(), instrument, side, levels, depth)
    return [(level.price_ticks, level.quantity_lots, level.orders) for level in levels[0:count]]


def test_the_book_rebuilt_through_itchfeed_equals_the_engines(traded_market: tuple[CrowdMarket, Path]) -> None:
    from itch.parser import MessageParser

    market, path = traded_market
    orders: dict[int, list[Any]] = {}
    directory: dict[int, bytes] = {}
    with path.open("rb") as file:
        for m in MessageParser().parse_file(file):
            kind = m.message_type
            if kind == b"R":
                directory[m.stock_locate] = m.stock
            elif kind == b"A":
                side = 0 if m.buy_sell_indicator == b"B" else 1
                assert m.stock == directory[m.stock_locate] and m.order_reference_number not in orders
                orders[m.order_reference_number] = [m.stock_locate - 1, side, m.price, m.shares]
            elif kind in (b"E", b"X"):
                order = orders[m.order_reference_number]
                order[3] -= m.executed_shares if kind == b"E" else m.cancelled_shares
                assert order[3] >= 0
                if not order[3]:
                    del orders[m.order_reference_number]
            elif kind == b"D":
                del orders[m.order_reference_number]
            elif kind == b"U":
                old = orders.pop(m.order_reference_number)
                orders[m.new_order_reference_number] = [old[0], old[1], m.price, m.shares]
    assert len(directory) == INSTRUMENTS
    assert len(orders) == lib.book_order_count(market.live_book()) > 1000
    for instrument in range(INSTRUMENTS):
        for side in (0, 1):
            levels: dict[int, list[int]] = {}
            for o in orders.values():
                if o[:2] == [instrument, side]:
                    level = levels.setdefault(o[2], [0, 0])
                    level[0] += o[3]
                    level[1] += 1
            rebuilt = [(price, *levels[price]) for price in sorted(levels, reverse=side == 0)]
            assert rebuilt == engine_levels(market, instrument, side, 4096)


def test_the_book_of_itch_book_equals_the_engines(traded_market: tuple[CrowdMarket, Path]) -> None:
    import itch_book

    market, path = traded_market
    last: dict[int, dict[str, int]] = {}
    for batch in itch_book.open(str(path), price_type="fixed").batches(tables=("depth",), depth=5):
        columns = {name: column for name, column in batch.depth.items() if name[:3] in ("bid", "ask")}
        for i, locate in enumerate(batch.depth["locate"]):
            last[int(locate)] = {name: int(column[i]) for name, column in columns.items()}
    assert sorted(last) == list(range(1, INSTRUMENTS + 1))
    for locate, row in last.items():
        for side, name in ((0, "bid"), (1, "ask")):
            rows = [(row[f"{name}_px_{i:02}"], row[f"{name}_sz_{i:02}"], row[f"{name}_ct_{i:02}"]) for i in range(5)]
            assert [level for level in rows if level[1]] == engine_levels(market, locate - 1, side, 5)
