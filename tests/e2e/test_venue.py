"""The venue simulator over real sockets, against a client that shares no code with it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hotpath.venues.tap import IN, OUT, read_tap
from tests.venue_client import (
    FeedReader,
    OrderClient,
    Venue,
    cancel42,
    cancel50,
    enter42,
    enter50,
    replace42,
    replace50,
    venue_and_feed,
)

# The crowd never begins: nothing happens but what the client does.
QUIET = {"start_after_ms": 3_600_000, "symbols": ["AAPL", "MSFT"], "control_port": 0}


@pytest.fixture(scope="module")
def quiet_venue() -> Iterator[Venue]:
    """One venue for many tests; each has its own account."""
    accounts = [{"username": f"USER{i}", "password": "pw", "protocol": "ouch50"} for i in range(8)]
    accounts.append({"username": "OLD", "password": "pw", "protocol": "ouch42"})
    with Venue(**QUIET, accounts=accounts, heartbeat_ms=200) as venue:
        yield venue
        assert venue.finish()["malformed_in"] == 0


def client_of(venue: Venue, username: str, sequence: int = 1) -> OrderClient:
    client = OrderClient(venue.ready, username=username, password="pw", sequence=sequence)
    assert client.answer[0] == b"A", client.answer
    return client


# ---- market data -----------------------------------------------------------------------------------


def test_one_seed_publishes_the_same_messages_whatever_the_pace() -> None:
    streams: list[list[bytes]] = []
    for tick_us in (200, 3000):
        with venue_and_feed(seed=7, duration_s=0.3, instruments=10, tick_us=tick_us, linger_ms=500) as (venue, reader):
            messages = reader.read_to_end(venue.ready)
            summary = venue.finish(kill=False)
            assert len(messages) == summary["messages_out"] > 4000
            streams.append(messages)
    assert streams[0] == streams[1]
    assert [m[:1] for m in streams[0][:21]] == [b"S"] + [b"R"] * 10 + [b"H"] * 10


def test_another_seed_publishes_another_market() -> None:
    heads: list[list[bytes]] = []
    for seed in (1, 2):
        with venue_and_feed(seed=seed, duration_s=0.05, instruments=4, linger_ms=300) as (venue, reader):
            heads.append(reader.read_to_end(venue.ready)[12:])
    assert heads[0] != heads[1]


def test_a_late_reader_recovers_the_whole_session_by_retransmission() -> None:
    with Venue(instruments=10, linger_ms=0) as venue, FeedReader() as reader:
        reader.recover(2000, venue.ready)
        assert len(reader.messages) >= 2000 and reader.recovered >= 2000
        times = [int.from_bytes(message[5:11], "big") for message in reader.messages]
        assert times == sorted(times)
        assert venue.finish()["requests_answered"] > 40


def test_the_feed_goes_out_by_multicast() -> None:
    group = "239.255.77.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((group, 0))
        membership = socket.inet_aton(group) + socket.inet_aton("127.0.0.1")
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        listener.settimeout(5)
        with Venue(feed_address=group, feed_port=listener.getsockname()[1], linger_ms=0) as venue:
            _, sequence, count, messages = FeedReader.unpack(listener.recv(2048))
            assert (sequence, len(messages)) == (1, count) and messages[0][:1] == b"S"
            venue.finish()


def test_the_second_line_carries_the_same_packets() -> None:
    settings = {"seed": 7, "duration_s": 0.1, "instruments": 4, "linger_ms": 300}
    with FeedReader() as second, venue_and_feed(feed_b_port=second.port, **settings) as (venue, first):
        assert venue.ready["feed_b_port"] == second.port
        assert first.read_to_end(venue.ready) == second.read_to_end(venue.ready)
        assert first.packets == second.packets and first.recovered == second.recovered == 0


# ---- order sessions --------------------------------------------------------------------------------


def test_ouch50_order_lifecycle(quiet_venue: Venue) -> None:
    with client_of(quiet_venue, "USER0") as client:
        assert client.message()[0:1] == b"S"  # system event: start of day
        client.packet(b"U", enter50(1, side="B", quantity=300, symbol="AAPL", price=10_000, cl_ord_id="FIRST"))
        accepted = client.message()
        assert len(accepted) == 64 and accepted[47:62] == b"LFIRST" + b" " * 9
        assert struct.unpack_from(">IcI8sQ", accepted, 9) == (1, b"B", 300, b"AAPL    ", 10_000)
        client.packet(b"U", replace50(1, 2, quantity=500, price=10_100))
        replaced = client.message()
        assert replaced[:1] == b"U" and struct.unpack_from(">IIcI8sQ", replaced, 9) == (
            1,
            2,
            b"B",
            500,
            b"AAPL    ",
            10_100,
        )
        client.packet(b"U", enter50(3, side="S", quantity=200, symbol="AAPL", price=10_000))
        assert client.message()[:1] == b"A"
        fills = {struct.unpack_from(">I", fill, 9)[0]: fill for fill in (client.message("E"), client.message("E"))}
        for user_ref, liquidity in ((3, b"R"), (2, b"A")):
            assert struct.unpack_from(">IQc", fills[user_ref], 13) == (200, 10_100, liquidity)
        assert fills[2][26:34] == fills[3][26:34]  # one match number for both sides
        client.packet(b"U", cancel50(2, 100))
        assert struct.unpack_from(">IIc", client.message(), 9) == (2, 200, b"U")
        client.packet(b"U", cancel50(2))
        assert struct.unpack_from(">IIc", client.message(), 9) == (2, 100, b"U")
        client.packet(b"U", cancel50(2))
        assert client.message()[:1] == b"I"
        client.packet(b"U", replace50(2, 4, quantity=500, price=10_100))
        assert client.message()[:1] == b"J"
        client.packet(b"U", enter50(5, side="S", quantity=100, symbol="AAPL", price=10_000, tif="3"))
        assert client.message()[:1] == b"A"
        assert client.message()[:1] == b"C"
        client.packet(b"U", b"Q")
        assert struct.unpack_from(">I", client.message("Q"), 9) == (6,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": "NOPE"}, 0x17),
        ({"quantity": 0}, 0x13),
        ({"quantity": 1_000_000}, 0x1E),
        ({"price": 0}, 0x1D),
        ({"price": 10_001}, 0x1D),
        ({"side": "X"}, 0x09),
    ],
)
def test_bad_orders_are_rejected_with_the_reason(quiet_venue: Venue, change: dict[str, Any], reason: int) -> None:
    with client_of(quiet_venue, "USER1", sequence=0) as client:
        client.packet(b"U", b"Q")
        (user_ref,) = struct.unpack_from(">I", client.message("Q"), 9)
        order: dict[str, Any] = {"side": "B", "quantity": 100, "symbol": "AAPL", "price": 10_000}
        client.packet(b"U", enter50(user_ref, **(order | change)))
        assert struct.unpack_from(">IH", client.message("J"), 9) == (user_ref, reason)


def test_a_repeated_or_older_number_is_ignored(quiet_venue: Venue) -> None:
    with client_of(quiet_venue, "USER2") as client:
        for user_ref in (5, 5, 4, 6):
            client.packet(b"U", enter50(user_ref, side="B", quantity=100, symbol="MSFT", price=500))
        assert [struct.unpack_from(">I", client.message("A"), 9)[0] for _ in range(2)] == [5, 6]
        client.packet(b"U", b"Q")
        assert client.message()[:1] == b"Q"


def test_a_login_replays_the_stream_from_any_number(quiet_venue: Venue) -> None:
    with client_of(quiet_venue, "USER3") as client:
        for user_ref in range(1, 6):
            client.packet(b"U", enter50(user_ref, side="B", quantity=100, symbol="MSFT", price=500))
            client.message("A")
        first = list(client.stream)
    with client_of(quiet_venue, "USER3", sequence=0) as client:  # the lost connection had its orders canceled
        client.packet(b"U", b"Q")
        client.message("Q")
        whole_count = int(client.answer[1][10:]) + 1
    for start in (1, 3, whole_count - 2):
        with client_of(quiet_venue, "USER3", sequence=start) as client:
            assert int(client.answer[1][10:]) == start and client.answer[1][:10].strip() == b"SIM0000001"
            replay = [client.message() for _ in range(whole_count - start)]
            assert replay[: len(first) - start + 1] == first[start - 1 :]
            if start == 1:
                assert [m[:1] for m in replay] == [b"S"] + [b"A"] * 5 + [b"C"] * 5 + [b"Q"]


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        ({"username": "NOBODY", "password": "pw"}, b"A"),
        ({"username": "USER4", "password": "wrong"}, b"A"),
        ({"username": "USER4", "password": "pw", "session": "ANOTHER"}, b"S"),
        ({"username": "USER4", "password": "pw", "sequence": 999}, b"S"),
    ],
)
def test_a_bad_login_is_rejected_and_closed(quiet_venue: Venue, login: dict[str, Any], reason: bytes) -> None:
    with OrderClient(quiet_venue.ready, **login) as client:
        assert client.answer == (b"J", reason)
        assert client.read() == (b"", b"")


def test_heartbeats_arrive_and_a_later_login_takes_the_session_over(quiet_venue: Venue) -> None:
    with client_of(quiet_venue, "USER5", sequence=0) as first:
        assert first.read() == (b"H", b"")
        with client_of(quiet_venue, "USER5", sequence=0) as second:
            while first.read()[0] == b"H":
                pass
            assert second.read() == (b"H", b"")
            second.packet(b"O")
            while second.read()[0] == b"H":
                pass


def test_a_client_that_announces_too_much_or_nonsense_is_cut(quiet_venue: Venue) -> None:
    for nonsense in (b"\xff\xffU", b"\x00\x00", b"\x00\x01O"):
        with client_of(quiet_venue, "USER6", sequence=0) as client:
            client.socket.sendall(nonsense + bytes(2000))
            while client.read()[0] == b"H":
                pass
    with OrderClient(quiet_venue.ready, username="USER6", password="pw", sequence=0) as client:
        assert client.answer[0] == b"A"


def test_a_halt_a_broken_trade_and_a_cut_on_command(quiet_venue: Venue) -> None:
    with client_of(quiet_venue, "USER7") as client:
        client.packet(b"U", enter50(1, side="B", quantity=100, symbol="MSFT", price=20_000))
        client.packet(b"U", enter50(2, side="S", quantity=100, symbol="MSFT", price=20_000))
        match = struct.unpack_from(">Q", client.message("E"), 26)[0]
        client.message("E")
        assert quiet_venue.control(command="break", match=match) == {"ok": True}
        assert {struct.unpack_from(">IQ", client.message("B"), 9) for _ in range(2)} == {(1, match), (2, match)}
        assert quiet_venue.control(command="break", match=match) == {"ok": False}
        assert quiet_venue.control(command="halt", symbol="MSFT") == {"ok": True}
        client.packet(b"U", enter50(3, side="B", quantity=100, symbol="MSFT", price=20_000))
        assert struct.unpack_from(">IH", client.message("J"), 9) == (3, 7)
        assert quiet_venue.control(command="resume", symbol="MSFT") == {"ok": True}
        assert "error" in quiet_venue.control(command="dance")
        assert quiet_venue.control(command="disconnect") == {"ok": True}
        while client.read()[0] == b"H":
            pass


def test_ouch42_order_lifecycle(quiet_venue: Venue) -> None:
    with client_of(quiet_venue, "OLD") as client:
        client.packet(b"U", enter42("ONE", side="B", quantity=300, symbol="AAPL", price=15_000))
        accepted = client.message("A")
        assert len(accepted) == 66 and accepted[9:23] == b"ONE".ljust(14)
        client.packet(b"U", enter42("ONE", side="B", quantity=300, symbol="AAPL", price=15_000))  # ignored
        client.packet(b"U", replace42("ONE", "TWO", quantity=400, price=15_100))
        replaced = client.message()
        assert len(replaced) == 80 and replaced[9:23] == b"TWO".ljust(14) and replaced[65:79] == b"ONE".ljust(14)
        client.packet(b"U", enter42("THREE", side="S", quantity=150, symbol="AAPL", price=15_000, tif=0))
        client.message("A")
        fills = {
            fill[9:23].rstrip(): struct.unpack_from(">II", fill, 23) for fill in (client.message(), client.message())
        }
        assert fills == {b"THREE": (150, 15_100), b"TWO": (150, 15_100)}
        client.packet(b"U", cancel42("TWO"))
        assert struct.unpack_from(">14sIc", client.message(), 9) == (b"TWO".ljust(14), 250, b"U")
        client.packet(b"U", enter42("BAD", side="B", quantity=300, symbol="NOPE", price=15_000))
        assert client.message("J")[-1:] == b"S"
        client.packet(b"U", cancel42("TWO"))
        assert client.message()[:1] == b"I"


def test_the_end_of_the_day_reaches_every_session() -> None:
    with Venue(**QUIET) as venue, OrderClient(venue.ready) as client:
        venue.process.terminate()
        kinds = [client.message()[9:10], client.message()[9:10]]
        assert kinds == [b"S", b"E"]
        assert client.read() == (b"Z", b"") and client.read() == (b"", b"")
        assert venue.finish()["logins"] == 1


def test_a_client_that_never_logs_in_or_falls_silent_is_dropped() -> None:
    with Venue(**QUIET, login_timeout_ms=200, client_timeout_ms=400, heartbeat_ms=100) as venue:
        with OrderClient(venue.ready, sequence=0) as client:
            while client.read()[0] == b"H":
                pass
        assert venue.finish()["timeouts"] == 1


def test_orders_meet_a_recorded_day_on_paper(shared_data: Path) -> None:
    recording = str(shared_data / "itch_goog_20120621_derived" / "GOOG_20120621_L10.itch50")
    settings: dict[str, Any] = {
        "market": "recording",
        "recording": recording,
        "trading_date": "2012-06-21",
        "speed": 60.0,
    }
    with venue_and_feed(**settings, start="login") as (venue, _reader), OrderClient(venue.ready) as client:
        assert venue.ready["symbols"] == ["GOOG"]
        client.message("S")
        price = 5_900_000
        for user_ref in range(1, 4):
            client.packet(b"U", enter50(user_ref, side="B", quantity=10 * user_ref, symbol="GOOG", price=price))
        filled = 0
        while filled < 60:
            filled += struct.unpack_from(">I", client.message("E"), 13)[0]
        summary = venue.finish()
        assert summary["filled_lots"] == 60 and summary["recorded_unknown"] == 0


# ---- other people's code ---------------------------------------------------------------------------


def test_the_nasdaq_protocols_client_logs_in_trades_and_gets_its_stream() -> None:
    from nasdaq_protocols import soup

    async def session(ready: dict[str, Any]) -> list[bytes]:
        received: list[bytes] = []
        enough = asyncio.Event()

        async def on_message(message: Any) -> None:
            if isinstance(message, soup.SequencedData):
                received.append(bytes(message.data))
                if len(received) == 3:
                    enough.set()

        client = await soup.connect_async(
            (ready["order_host"], ready["order_port"]), "HOTPTH", "simulator", sequence=1, on_msg_coro=on_message
        )
        client.send_unseq_data(enter50(1, side="B", quantity=100, symbol="AAPL", price=10_000))
        client.send_unseq_data(cancel50(1))
        await asyncio.wait_for(enough.wait(), 10)
        client.logout()
        await asyncio.sleep(0.1)
        return received

    with Venue(**QUIET) as venue:
        received = asyncio.run(session(venue.ready))
        assert [message[:1] for message in received] == [b"S", b"A", b"C"]
        summary = venue.finish()
        assert (summary["logins"], summary["accepted"], summary["canceled"]) == (1, 1, 1)


def tshark(pcap: Path, *arguments: str) -> list[str]:
    command = ["tshark", "-n", "-r", str(pcap), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (Debian package tshark)")
def test_tshark_decodes_every_byte_of_the_wire(tmp_path: Path) -> None:
    pcap, tap = tmp_path / "wire.pcap", tmp_path / "session.tap"
    account = {"username": "OLD", "password": "pw", "protocol": "ouch42"}
    settings = QUIET | {
        "start_after_ms": 0,
        "intents_per_second": 2000,
        "accounts": [account],
        "pcap_path": str(pcap),
        "tap_path": str(tap),
    }
    with Venue(**settings) as venue:
        with OrderClient(venue.ready, username="OLD", password="pw") as client:
            client.packet(b"U", enter42("ONE", side="B", quantity=300, symbol="AAPL", price=1_000))
            client.packet(b"U", replace42("ONE", "TWO", quantity=400, price=1_100))
            client.packet(b"U", enter42("THREE", side="S", quantity=150, symbol="AAPL", price=1_000, tif=0))
            client.message("E")
            client.packet(b"U", cancel42("TWO"))
            client.packet(b"U", enter42("BAD", side="B", quantity=300, symbol="NOPE", price=15_000))
            client.message("J")
            client.packet(b"R")
            client.packet(b"O")
            while client.read()[0]:
                pass
        venue.finish()
        ready = venue.ready
    decode = [
        "-d", f"udp.port=={ready['feed_port']},moldudp64",
        "-d", f"tcp.port=={ready['order_port']},soupbintcp",
    ]  # fmt: skip
    assert (
        tshark(pcap, *decode, "-Y", "_ws.malformed || data || ouch.unknown_message || _ws.expert.severity == error")
        == []
    )
    feed = tshark(pcap, *decode, "-Y", "moldudp64", "-T", "fields", "-e", "moldudp64.count", "-e", "udp.length")
    assert len(feed) > 3
    kinds = tshark(pcap, *decode, "-Y", "ouch", "-T", "fields", "-e", "ouch.packet_type", "-E", "aggregator=,")
    seen = [kind for line in kinds for kind in line.replace("'", "").split(",")]
    assert len(seen) >= 12 and {"O", "U", "X", "S", "A", "E", "C", "J"} <= set(seen)
    records = list(read_tap(tap))
    assert {record.direction for record in records} == {IN, OUT}
    inbound = b"".join(record.data for record in records if record.direction == IN)
    assert inbound.count(b"NOPE    ") == 1 and inbound.startswith(b"\x00\x2fL")
