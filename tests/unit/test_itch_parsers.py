"""ITCH that we encode, read by two parsers of other people's making: itchfeed and itch-book."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib
from hotpath.captures import itch_messages
from tests import wire_tables
from tests.wire_tables import Message, Value

DAY = dt.date(2020, 1, 30)
LOCATE = 7
AAPL = Path("itch_aapl_20200130/locate-13-10k.bin")


def encoded(message: Message, values: dict[str, Value]) -> bytes:
    """The message as our encoder writes it; fields not given are 0 or spaces."""
    structure = ffi.new("itch_message *")
    blank: dict[str, Value] = {field.name: b"" if field.is_text else 0 for field in message.fields}
    wire_tables.fill(structure, message, blank | values)
    target = ffi.new("uint8_t[64]")
    length = lib.itch_encode(structure, target, 64)
    assert length == message.length
    return bytes(target[0:length])


# ---- itchfeed --------------------------------------------------------------------------------------------------------


def read_by_itchfeed(wire: bytes) -> list[Any]:
    """The values that itchfeed finds, in wire order."""
    itchfeed = pytest.importorskip("itch.messages", reason="itchfeed is missing (pip install itchfeed)")
    values = dict(vars(itchfeed.messages[wire[:1]](wire)))
    time_ns = values.pop("timestamp")  # it puts the time last
    found = list(values.values())
    return [*found[:2], time_ns, *found[2:]]


def as_itchfeed_says(message: Message, values: dict[str, Value]) -> list[Any]:
    """Our values in its words: a number of one byte is a letter there."""
    said: list[Any] = []
    for field in message.fields:
        value = values[field.name]
        said.append(bytes([value]) if isinstance(value, int) and field.size == 1 else value)
    return said


@pytest.mark.parametrize("letter", wire_tables.ITCH)
def test_itchfeed_reads_every_type_as_we_meant_it(letter: str) -> None:
    message = wire_tables.ITCH[letter]
    values = wire_tables.plain_values(message)
    assert read_by_itchfeed(encoded(message, values)) == as_itchfeed_says(message, values)


def test_itchfeed_reads_a_real_day_as_we_do(shared_data: Path) -> None:
    structure = ffi.new("itch_message *")
    for wire in itch_messages(shared_data / AAPL):
        assert lib.itch_decode(wire, len(wire), structure) == lib.ITCH_OK
        message = wire_tables.ITCH[chr(structure.type)]
        assert read_by_itchfeed(wire) == as_itchfeed_says(message, wire_tables.read(structure, message))


# ---- itch-book -------------------------------------------------------------------------------------------------------


def a_day() -> list[tuple[str, dict[str, Value]]]:
    """One stock's day in miniature: each type that itch-book has a table for, and those it passes over."""
    stock = b"TEST"
    buy, sell = ord("B"), ord("S")
    auction: dict[str, Value] = {"far": 11, "near": 12, "ref": 13, "cross_type": ord("O"), "price_var": b"L"}
    return [
        ("S", {"event": ord("O")}),
        ("R", {"stock": stock, "mkt_category": b"Q", "round_lot": 100, "issue_subtype": b"C", "etp_leverage": 3}),
        ("H", {"stock": stock, "state": ord("T"), "reason": b"IPOQ"}),
        ("Y", {"stock": stock, "action": ord("1")}),
        ("J", {"stock": stock, "ref": 100_000, "upper": 110_000, "lower": 90_000, "extension": 2}),
        ("h", {"stock": stock, "market": ord("B"), "action": b"H"}),
        ("A", {"stock": stock, "ref": 1, "side": buy, "shares": 100, "price": 100_000}),
        ("F", {"stock": stock, "ref": 2, "side": sell, "shares": 200, "price": 100_100, "attribution": b"NITE"}),
        ("A", {"stock": stock, "ref": 3, "side": sell, "shares": 300, "price": 100_200}),
        ("E", {"ref": 1, "shares": 10, "match": 901}),
        ("C", {"ref": 2, "shares": 20, "match": 902, "printable": ord("N"), "price": 100_050}),
        ("X", {"ref": 3, "cancelled": 30}),
        ("U", {"old_ref": 2, "new_ref": 4, "shares": 150, "price": 100_150}),
        ("D", {"ref": 3}),
        ("P", {"stock": stock, "side": buy, "shares": 55, "price": 100_020, "match": 903}),
        ("Q", {"stock": stock, "shares": 1_000, "price": 100_030, "match": 904, "cross_type": ord("O")}),
        ("B", {"match": 904}),
        ("I", {"stock": stock, "paired": 500, "imbalance": 60, "direction": b"B", **auction}),
        *((letter, {}) for letter in "VWKLNO"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The day as itch-book sees it: rows of each of its tables."""
    itch_book = pytest.importorskip("itch_book", reason="itch-book is missing (pip install itch-book)")
    path = tmp_path_factory.mktemp("itch") / "day.itch"
    wire = [
        encoded(wire_tables.ITCH[letter], {"locate": LOCATE, "time": number, **values})
        for number, (letter, values) in enumerate(a_day(), start=1)
    ]
    path.write_bytes(b"".join(len(message).to_bytes(2, "big") + message for message in wire))
    feed = itch_book.Feed(str(path), date=DAY, price_type="fixed")
    (batch,) = feed.batches(tables=itch_book.TABLES)
    stats = feed.stats
    assert (stats["messages"], stats["unknown"], stats["malformed"], stats["pending_bytes"]) == (len(wire), 0, 0, 0)
    midnight = dt.datetime(DAY.year, DAY.month, DAY.day, 5, tzinfo=dt.UTC)  # five hours behind in January
    return {name: _rows(columns, int(midnight.timestamp())) for name, columns in vars(batch).items()}


def _rows(columns: dict[str, Any], midnight_s: int) -> list[dict[str, Any]]:
    """Rows in plain Python, their time as ns since midnight."""
    plain = {
        name: [getattr(value, "item", lambda v=value: v)() for value in column] for name, column in columns.items()
    }
    rows = [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]
    for row in rows:
        if "ts_event" in row:
            row["time"] = row.pop("ts_event") - midnight_s * 1_000_000_000
    return rows


def pick(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_itch_book_reads_our_orders(tables: dict[str, list[dict[str, Any]]]) -> None:
    names = ("time", "locate", "type", "side", "price", "size", "remaining", "printable", "order_id", "old_order_id")
    assert pick(tables["messages"], *names) == [
        (7, LOCATE, b"A", b"B", 100_000, 100, 100, True, 1, 0),
        (8, LOCATE, b"F", b"S", 100_100, 200, 200, True, 2, 0),
        (9, LOCATE, b"A", b"S", 100_200, 300, 300, True, 3, 0),
        (10, LOCATE, b"E", b"B", 100_000, 10, 90, True, 1, 0),
        (11, LOCATE, b"C", b"S", 100_050, 20, 180, False, 2, 0),
        (12, LOCATE, b"X", b"S", 100_200, 30, 270, True, 3, 0),
        (13, LOCATE, b"U", b"S", 100_150, 150, 150, True, 4, 2),
        (14, LOCATE, b"D", b"S", 100_200, 270, 0, True, 3, 0),
    ]


def test_itch_book_reads_our_prints(tables: dict[str, list[dict[str, Any]]]) -> None:
    names = ("time", "kind", "price", "size", "match_number", "cross_type")
    printed = pick(tables["trades"], *names)
    assert [row for row in printed if row[1] != b"C"] == [
        (10, b"E", 100_000, 10, 901, b"N"),
        (15, b"P", 100_020, 55, 903, b"N"),
        (16, b"Q", 100_030, 1_000, 904, b"O"),
        (17, b"B", 0, 0, 904, b"N"),
    ]


def test_itch_book_reads_our_states(tables: dict[str, list[dict[str, Any]]]) -> None:
    assert pick(tables["system_events"], "time", "event") == [(1, b"O")]
    assert pick(tables["halts"], "time", "kind", "state", "reason", "market") == [
        (3, b"H", b"T", b"IPOQ", b"N"),
        (6, b"h", b"H", b"    ", b"B"),
    ]
    assert pick(tables["reg_sho"], "time", "action") == [(4, b"1")]
    assert pick(tables["luld"], "ref_px", "upper_px", "lower_px", "extension") == [(100_000, 110_000, 90_000, 2)]
    assert pick(tables["symbols"], "locate", "symbol", "market_category", "round_lot_size", "issue_subtype") == [
        (LOCATE, "TEST", "Q", 100, "C")
    ]
    assert pick(tables["symbols"], "etp_leverage") == [(3,)]
    names = ("paired", "imbalance", "direction", "far_px", "near_px", "ref_px", "cross_type", "variation")
    assert pick(tables["noii"], *names) == [(500, 60, b"B", 11, 12, 13, b"O", b"L")]


def test_nasdaq_protocols_imports() -> None:
    """The venue's own client, which the simulator's tests log in with."""
    pytest.importorskip("nasdaq_protocols.soup", reason="nasdaq-protocols is missing (pip install nasdaq-protocols)")
