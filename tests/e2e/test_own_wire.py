"""The engine's own traffic as others read it: a capture of a run rebuilds what the engine wrote down of itself.

                   +--> tshark: SoupBinTCP, OUCH 4.2 --+
capture of a run --+--> tshark: MoldUDP64 --> itchfeed +--> orders  == intent file
                   +--> SoupBinTCP --> field tables ---+    reports == exec events
                        of OUCH 5.0                         feed    == raw ring, norm events
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath.recordings import Recording
from hotpath.venues.config import AccountConfig
from hotpath.venues.fault_config import FaultsConfig, GapFault
from tests import wire_tables
from tests.scripted_venue import parse_order
from tests.support.busy import busy_config
from tests.support.dissection import Protocol, assert_known, decode_as, dissect
from tests.support.engines import EngineProcess, engine_config, stored_frames, stored_records, until, venue

PROTOCOLS = ["ouch42", "ouch50"]
SIGNALS: dict[str, Any] = {"cooldown_ms": 20, "order_life_ms": 400, "style": "join", "threshold": 0.1}
MARKET: dict[str, Any] = {"instruments": 4, "intents_per_second": 3000, "live_orders": 400}
LOST = FaultsConfig(gap=GapFault(probability=0.01))  # so that retransmission is on the wire too
ORDERS = 100
PCAP_HEADER, RECORD_HEADER, IP_HEADER, TCP_HEADER, UDP_HEADER = 24, 16, 20, 20, 8
IP_TCP = 6
SOUP_HEADER, MOLD_HEADER = 3, 20
EXEC_OF = {
    "A": lib.EXEC_ACCEPTED, "U": lib.EXEC_REPLACED, "C": lib.EXEC_CANCELED, "E": lib.EXEC_FILL,
    "J": lib.EXEC_REJECTED, "I": lib.EXEC_CANCEL_REJECTED, "P": lib.EXEC_PENDING_CANCEL,
}  # fmt: skip
CMD_OF = {"O": lib.CMD_NEW, "U": lib.CMD_REPLACE, "X": lib.CMD_CANCEL}
SILENT = "SQ"  # of no order

Values = dict[str, int | str]  # a message by the names below


# ---- the capture -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """One packet of the capture. ``at``: its record in the file; ``start``: its payload in the packet."""

    at: int
    is_tcp: bool
    source: int
    target: int
    start: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.at + RECORD_HEADER + self.start + len(self.payload)


def frames_of(capture: bytes | bytearray) -> list[Frame]:
    """Every packet, read without help: raw IPv4 with TCP or UDP in it."""
    frames, at = [], PCAP_HEADER
    while at < len(capture):
        size = struct.unpack_from("<I", capture, at + 8)[0]
        packet = capture[at + RECORD_HEADER : at + RECORD_HEADER + size]
        is_tcp = packet[9] == IP_TCP
        source, target = struct.unpack_from(">HH", packet, IP_HEADER)
        start = IP_HEADER + (TCP_HEADER if is_tcp else UDP_HEADER)
        frames.append(Frame(at, is_tcp, source, target, start, bytes(packet[start:])))
        at += RECORD_HEADER + size
    return frames


# ---- two readers of orders and reports, neither of them ours ---------------------------------------

TSHARK_NAMES = {
    "ouch.order_token": "name", "ouch.replacement_order_token": "name", "ouch.existing_order_token": "previous",
    "ouch.previous_order_token": "previous", "ouch.buy_sell_indicator": "side", "ouch.shares": "quantity",
    "ouch.executed_shares": "quantity", "ouch.decrement_shares": "quantity", "ouch.stock": "symbol",
    "ouch.price": "price", "ouch.execution_price": "price", "ouch.timestamp": "time_ns",
    "ouch.order_reference_number": "venue_ref", "ouch.match_number": "match", "ouch.liquidity_flag": "liquidity",
    "ouch.cancel_reason": "reason", "ouch.reject_reason": "reason",
}  # fmt: skip
TABLE_NAMES = {
    "userref": "name", "new": "name", "orig": "previous", "side": "side", "qty": "quantity", "decrement": "quantity",
    "symbol": "symbol", "price": "price", "ts": "time_ns", "order_ref": "venue_ref", "match": "match",
    "liq": "liquidity", "reason": "reason",
}  # fmt: skip
TEXTS = ("name", "previous", "symbol", "side")


def read_by_tshark(ouch: Protocol) -> Values:
    """An OUCH 4.2 message, by the dissector's field names."""
    found = ouch.values()
    values: Values = {"kind": found["ouch.packet_type"].decode()}
    for theirs, value in found.items():
        if name := TSHARK_NAMES.get(theirs):
            values[name] = value.decode().rstrip() if name in TEXTS else int.from_bytes(value, "big")
    return values


def read_order50(message: bytes) -> Values:
    """An OUCH 5.0 order, by the scripted venue's reader."""
    order = parse_order(message)
    values: Values = {"kind": order.type, "name": str(order.user_ref), "quantity": order.quantity}
    if order.type != "X":
        values |= {"price": order.price, "order_id": int(order.client_order_id)}
    if order.type == "O":
        values |= {"side": order.side, "symbol": order.symbol}
    if order.type == "U":
        values["previous"] = str(order.previous_ref)
    return values


def read_report50(message: bytes) -> Values:
    """An OUCH 5.0 report, by the field tables."""
    table = wire_tables.OUCH50_REPORTS[chr(message[0])]
    appendage = struct.unpack_from(">H", message, table.length - 2)[0] if table.type in "AUER" else 0
    assert len(message) == table.length + appendage, message
    values: Values = {"kind": table.type}
    for field in table.fields:
        value = message[field.offset : field.offset + field.size]
        name = TABLE_NAMES.get(field.name, "")
        if name in ("symbol", "side"):
            values[name] = value.decode().rstrip()
        elif name:
            number = int.from_bytes(value, "big")
            values[name] = str(number) if name in ("name", "previous") else number
    return values


# ---- what the wire says ----------------------------------------------------------------------------


@dataclass
class Wire:
    """A run's capture, read."""

    orders: list[tuple[bytes, Values]]  # whole frames, SoupBinTCP header included
    reports: list[tuple[int, Values]]  # with their numbers
    feed: dict[int, bytes]  # ITCH messages by number
    feed_packets: int
    session_bytes: dict[str, int]


def read_wire(path: Path, ready: dict[str, Any], protocol: str) -> Wire:
    """Every byte of the capture by the field that tshark put it in; fails on one that is in none."""
    order_port, feed_ports = ready["order_port"], (ready["feed_port"], ready["retransmission_port"])
    arguments = decode_as(soup=[order_port], mold=feed_ports)
    if protocol == "ouch50":
        arguments += ["--disable-protocol", "ouch"]  # it knows 4.2 only: what is inside is for another reader
    frames = frames_of(path.read_bytes())
    dissected = dissect(path, *arguments)
    assert len(frames) == len(dissected)
    wire = Wire([], [], {}, 0, {"in": 0, "out": 0})
    sent: dict[bool, bytes] = {True: b"", False: b""}
    rebuilt: dict[bool, list[bytes]] = {True: [], False: []}
    number = 0
    for frame, protocols in zip(frames, dissected, strict=True):
        if protocol == "ouch42" or not frame.is_tcp:
            assert_known(protocols)
        if not frame.is_tcp:
            read_feed_packet(frame, protocols, wire)
            continue
        from_venue = frame.source == order_port
        sent[from_venue] += frame.payload
        for index, soup in enumerate(protocols):
            if soup.name != "soupbintcp":
                continue
            inside = protocols[index + 1] if protocols[index + 1 :] else None
            ouch = inside if inside and inside.name == "ouch" else None
            data = soup.rebuilt() + (ouch.rebuilt() if ouch else b"")
            rebuilt[from_venue].append(data)
            kind, message = data[2:SOUP_HEADER].decode(), data[SOUP_HEADER:]
            if kind == "A":
                number = int(soup.values()["soupbintcp.next_seq_num"])
            elif kind == "U" and message != b"Q":
                wire.orders.append((data, read_by_tshark(ouch) if ouch else read_order50(message)))
            elif kind == "S":
                wire.reports.append((number, read_by_tshark(ouch) if ouch else read_report50(message)))
                number += 1
    for from_venue, stream in sent.items():
        assert b"".join(rebuilt[from_venue]) == stream, "tshark's fields do not make up the stream"
        wire.session_bytes["out" if from_venue else "in"] = len(stream)
    return wire


def read_feed_packet(frame: Frame, protocols: list[Protocol], wire: Wire) -> None:
    """One MoldUDP64 packet of the feed, or an answer of the retransmission server."""
    (mold,) = [protocol for protocol in protocols if protocol.name == "moldudp64"]
    assert mold.rebuilt() == frame.payload, "tshark's fields do not make up the packet"
    wire.feed_packets += 1
    number = int.from_bytes(mold.values()["moldudp64.sequence"], "big")
    for field in mold.fields:
        if field.name == "moldudp64.msgdata":
            message = bytes.fromhex(field.value)
            assert wire.feed.setdefault(number, message) == message, f"message {number} was sent in two ways"
            number += 1


# ---- the run ---------------------------------------------------------------------------------------


@dataclass
class Run:
    """An engine's run, and all that is left of it."""

    protocol: str
    folder: Path
    config: Any
    ready: dict[str, Any]
    summary: dict[str, Any]

    @property
    def capture(self) -> Path:
        return self.folder / "wire.pcap"

    @cached_property
    def recording(self) -> Recording:
        return Recording(self.folder / "recording")

    @cached_property
    def wire(self) -> Wire:
        return read_wire(self.capture, self.ready, self.protocol)

    def doctored(self, frame: Frame, *, offset: int | None = None, bits: int = 1) -> Wire:
        """The capture read again with other bits at an offset of one payload, or without that packet; of the order
        session or of the feed alone, whichever the packet is of."""
        capture = bytearray(self.capture.read_bytes())
        kept = [other for other in frames_of(capture) if other.is_tcp == frame.is_tcp]
        if offset is None:
            kept.remove(frame)
        else:
            capture[frame.at + RECORD_HEADER + frame.start + offset] ^= bits
        path = self.folder / "doctored.pcap"
        path.write_bytes(capture[:PCAP_HEADER] + b"".join(capture[other.at : other.end] for other in kept))
        return read_wire(path, self.ready, self.protocol)


def trade(protocol: str, folder: Path, name: str) -> Run:
    """A few seconds of a real engine at a real simulator, each a process of its own."""
    account = AccountConfig(username="DEMO", protocol=protocol)  # type: ignore[arg-type]
    settings = MARKET | {"pcap_path": str(folder / "wire.pcap"), "accounts": [account], "faults": LOST}
    with venue(folder, **settings) as running:
        config = engine_config(name, running, folder, topology="fused", busy=busy_config(signal=SIGNALS))
        gateway = msgspec.structs.replace(config.gateway, kind=protocol)
        config = msgspec.structs.replace(config, gateway=gateway)
        process = EngineProcess(config, folder, "--arm", "--record", str(folder / "recording"))
        try:
            process.wait_trading(fills=2)
            until(lambda: process.count("gateway", "frames_out") > ORDERS, f"{ORDERS} orders")
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
    return Run(protocol, folder, config, running.ready, running.summary)


@pytest.fixture(scope="module", params=PROTOCOLS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    from hotpath import segments

    folder = tmp_path_factory.mktemp(request.param)
    name = f"wire-{request.param}-{folder.parent.name[-6:]}"
    yield trade(request.param, folder, name)
    segments.unlink_all(segments.list_segments(name))


# ---- the wire against the engine's log -------------------------------------------------------------


def check_orders(run: Run, wire: Wire) -> dict[str, int]:
    """What left is what was stored, in that order, and means what the engine meant. Returns order ids by name."""
    stored, records = stored_frames(run.config), stored_records(run.config)
    symbols = [bytes(symbol).decode() for symbol in run.recording.instruments["symbol"]]
    orders: list[Values] = []
    swept: list[Values] = []  # the kill's own cancels; one may repeat a stored one
    for frame, order in wire.orders:
        if len(orders) < len(stored) and frame == stored[len(orders)]:
            orders.append(order)
        else:
            assert order["kind"] == "X", f"not stored, or not in this place: {order}"
            swept.append(order)
    assert len(orders) == len(stored), f"stored, and not on the wire: {stored[len(orders)]!r}"
    order_ids: dict[str, int] = {}
    for order, record in zip(orders, records, strict=True):
        assert CMD_OF[str(order["kind"])] == record["type"]
        name = str(order["name"])
        if order["kind"] == "X":
            assert order_ids[name] == record["target_order_id"]
            continue
        order_ids[name] = int(record["order_id"])
        assert order.get("order_id", record["order_id"]) == record["order_id"]
        assert (order["quantity"], order["price"]) == (record["quantity_lots"], record["price_ticks"])
        if order["kind"] == "O":
            assert (order["side"], order["symbol"]) == ("BS"[record["side"]], symbols[record["instrument"]])
        else:
            assert order_ids[str(order["previous"])] == record["target_order_id"]
    assert all(str(order["name"]) in order_ids for order in swept)
    return order_ids


def check_reports(run: Run, wire: Wire, order_ids: dict[str, int]) -> None:
    """Every numbered message of the venue is one event of the engine, with the same content, in the same order."""
    events = run.recording.events("exec")
    told = events[events["session_sequence"] != 0]
    reports = [(number, report) for number, report in wire.reports if str(report["kind"]) not in SILENT]
    assert [number for number, _ in reports] == told["session_sequence"].tolist(), "reports lost, doubled or invented"
    symbols = [bytes(symbol).decode() for symbol in run.recording.instruments["symbol"]]
    replacements = {int(r["order_id"]) for r in stored_records(run.config) if r["type"] == lib.CMD_REPLACE}
    for (number, report), event in zip(reports, told, strict=True):
        header, order_id = event["header"], order_ids[str(report["name"])]
        kind = EXEC_OF[str(report["kind"])]
        if kind == lib.EXEC_REJECTED and order_id in replacements:
            kind = lib.EXEC_REPLACE_REJECTED
        said = {
            "kind": kind, "name": order_id, "side": "BS"[event["side"]], "symbol": symbols[header["instrument"]],
            "quantity": int(event["quantity_lots"]), "price": int(event["price_ticks"]),
            "time_ns": int(header["origin_time_ns"]) - run.ready["midnight_ns"], "venue_ref": int(event["venue_ref"]),
            "match": int(event["match_id"]), "liquidity": int(event["liquidity"]), "reason": int(event["reason"]),
            "previous": int(event["target_order_id"]),
        }  # fmt: skip
        assert header["type"] == kind, number
        wanted: Values = report | {"kind": kind, "name": order_id}
        if "previous" in report:
            wanted["previous"] = order_ids[str(report["previous"])]
        assert wanted == {name: said[name] for name in wanted}, number


def check_raw(run: Run, wire: Wire) -> None:
    """The raw ring holds what was published, byte for byte, without a hole that is not told of."""
    assert sorted(wire.feed) == list(range(1, len(wire.feed) + 1)), "the capture lacks messages"
    raw = run.recording.events("raw")
    recorded: dict[int, bytes] = {}
    for event in raw[raw["header"]["type"] == lib.RAW_MESSAGE]:
        number, held = int(event["session_sequence"]), bytes(event["bytes"][: event["length"]])
        assert number not in recorded or event["offset"], f"message {number} twice"
        recorded[number] = recorded.get(number, b"") + held
    lost = raw[raw["header"]["type"] == lib.RAW_GAP_LOST]
    holes = {n for e in lost for n in range(int(e["session_sequence"]), int(e["session_sequence"] + e["total"]))}
    assert sorted(holes | set(recorded)) == list(range(1, max(recorded) + 1)) and not holes & set(recorded)
    assert list(recorded) == sorted(recorded)
    differing = [number for number, message in recorded.items() if wire.feed.get(number) != message]
    assert not differing, f"messages that were published otherwise: {differing[:5]}"


Level = tuple[int, int]  # price, quantity
NORM_FIELDS = ("order_ref", "price_ticks", "quantity_lots", "reference")
NORM_OF = {"A": lib.NORM_ADD, "F": lib.NORM_ADD, "U": lib.NORM_REPLACE, "P": lib.NORM_TRADE}
LESS_OF = {"E": lib.NORM_EXECUTE, "C": lib.NORM_EXECUTE_PRICE, "X": lib.NORM_REDUCE, "D": lib.NORM_DELETE}


def follow(message: Any, resting: dict[int, Level]) -> tuple[int, ...] | None:
    """(type, order, price, quantity, reference) of a message that itchfeed read; None of one that is no order's."""
    kind = message.message_type.decode()
    ref = getattr(message, "order_reference_number", 0)
    if kind in "AF":
        resting[ref] = (message.price, message.shares)
        return NORM_OF[kind], ref, message.price, message.shares, 0
    if kind == "U":
        del resting[ref]
        resting[message.new_order_reference_number] = (message.price, message.shares)
        return NORM_OF[kind], ref, message.price, message.shares, message.new_order_reference_number
    if kind == "P":
        return NORM_OF[kind], ref, message.price, message.shares, message.match_number
    if kind not in LESS_OF:
        return None
    price, left = resting.pop(ref)
    gone = left if kind == "D" else message.cancelled_shares if kind == "X" else message.executed_shares
    if left > gone:
        resting[ref] = (price, left - gone)
    told = message.execution_price if kind == "C" else price
    return LESS_OF[kind], ref, told, gone, getattr(message, "match_number", 0)


def check_norm(run: Run, wire: Wire) -> None:
    """itchfeed's reading of the wire is what the engine's decoder and book made of it."""
    itchfeed = pytest.importorskip("itch.messages", reason="itchfeed is missing (pip install itchfeed)")
    raw, norm = run.recording.events("raw"), run.recording.events("norm")
    decoded = raw[: int(run.recording.events("feed.ctl")["input_sequence"][-1][0])]  # the stop came before the rest
    numbers = decoded["session_sequence"][decoded["header"]["type"] == lib.RAW_MESSAGE]
    resting: dict[int, Level] = {}
    wanted = []
    for number in np.unique(numbers).tolist():
        message = itchfeed.messages[wire.feed[number][:1]](wire.feed[number])
        assert message.to_bytes() == wire.feed[number], number
        if event := follow(message, resting):
            wanted.append(event)
    types = [*NORM_OF.values(), *LESS_OF.values()]
    chosen = norm[np.isin(norm["header"]["type"], types)]
    columns = [chosen["header"]["type"], *(chosen[name] for name in NORM_FIELDS)]
    made = list(zip(*(column.tolist() for column in columns), strict=True))
    differing = [pair for pair in zip(wanted, made, strict=False) if pair[0] != pair[1]]
    assert not differing, f"(the wire, the engine): {differing[:3]}"
    assert len(wanted) == len(made)


def test_orders_and_reports_on_the_wire_are_the_engines_log(run: Run) -> None:
    order_ids = check_orders(run, run.wire)
    check_reports(run, run.wire, order_ids)
    kinds = {str(order["kind"]) for _, order in run.wire.orders}
    assert kinds == {"O", "U", "X"} and len(run.wire.orders) > ORDERS
    assert {"A", "E", "C"} <= {str(report["kind"]) for _, report in run.wire.reports}
    assert run.wire.session_bytes == {"in": run.summary["bytes_in"], "out": run.summary["bytes_out"]}


def test_the_feed_on_the_wire_is_the_engines_market(run: Run) -> None:
    check_raw(run, run.wire)
    check_norm(run, run.wire)
    summary = run.summary
    assert len(run.wire.feed) == summary["messages_out"] > 1000
    assert run.wire.feed_packets == summary["packets_out"] + summary["requests_answered"]
    assert summary["requests_answered"] > 0, "no message was lost: nothing was retransmitted"


# ---- the checks must be able to fail ---------------------------------------------------------------


def order_frame(run: Run) -> Frame:
    """A packet in the middle that holds one new order, whole and alone."""
    known = {frame for frame in stored_frames(run.config) if frame[SOUP_HEADER:][:1] == b"O"}
    found = [f for f in frames_of(run.capture.read_bytes()) if f.is_tcp and f.payload in known]
    return found[len(found) // 2]


def feed_frame(run: Run) -> Frame:
    """A packet of the feed with messages that were sent once only, and that the engine used."""
    frames = [f for f in frames_of(run.capture.read_bytes()) if not f.is_tcp]
    again = {f.payload[10:18] for f in frames if f.source == run.ready["retransmission_port"]}
    found = [f for f in frames[: len(frames) // 2] if f.payload[18:20] != b"\0\0" and f.payload[10:18] not in again]
    return found[len(found) // 2]


def test_canary_a_lost_order_is_noticed(run: Run) -> None:
    with pytest.raises(AssertionError):
        check_orders(run, run.doctored(order_frame(run)))


def test_canary_a_changed_order_is_noticed(run: Run) -> None:
    with pytest.raises(AssertionError):
        check_orders(run, run.doctored(order_frame(run), offset=SOUP_HEADER + 8))


def test_canary_a_message_of_no_known_kind_is_noticed(run: Run) -> None:
    with pytest.raises(AssertionError):
        run.doctored(order_frame(run), offset=SOUP_HEADER, bits=0x20)


@pytest.mark.parametrize("run", ["ouch50"], indirect=True)  # the feed is the same beside either
def test_canary_a_changed_feed_message_is_noticed(run: Run) -> None:
    wire = run.doctored(feed_frame(run), offset=MOLD_HEADER + 2 + 12)
    with pytest.raises(AssertionError, match="published otherwise"):
        check_raw(run, wire)
    with pytest.raises((AssertionError, KeyError)):
        check_norm(run, wire)


@pytest.mark.parametrize("run", ["ouch50"], indirect=True)
def test_canary_a_lost_feed_packet_is_noticed(run: Run) -> None:
    with pytest.raises(AssertionError, match="lacks messages"):
        check_raw(run, run.doctored(feed_frame(run)))
