"""Captures: every byte of a real one is accounted for, and a damaged one says where."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ffi import ffi, lib
from hotpath.captures import (
    MappedFile,
    detect_format,
    index_messages,
    index_packets,
    itch_messages,
    message_lengths,
    payload_of,
    reassemble,
)
from hotpath.errors import CaptureError
from hotpath.inspect import inspect_capture, render, run_inspect, show_time, to_json
from tests import packets, wire_tables

AAPL = Path("itch_aapl_20200130/locate-13-10k.bin")
DIRECTORY = Path("itch_dir_sample/sample.itch")
GOOG = Path("itch_goog_20120621_derived/GOOG_20120621_L10.itch50")
PCAPS = Path("omi_pcaps")

# By type, from the notes beside the data.
ITCH_COUNTS = {
    AAPL: {"A": 4758, "D": 4083, "E": 849, "P": 240, "L": 52, "U": 7, "X": 6, "F": 2, "R": 1, "H": 1, "Y": 1},
    DIRECTORY: {"R": 993, "H": 3, "Y": 3, "S": 1},
    GOOG: None,
}
GOOG_MESSAGES = 239_568
OMI_ITCH = PCAPS / "Nasdaq/Nasdaq.Equities.TotalView.Itch.v5.0"
OMI_OUCH = PCAPS / "Nasdaq/Nasdaq.Nsm.Ouch.v5.0"

ADD = wire_tables.compose(wire_tables.ITCH["A"], wire_tables.plain_values(wire_tables.ITCH["A"]))
DELETE = wire_tables.compose(wire_tables.ITCH["D"], wire_tables.plain_values(wire_tables.ITCH["D"]))


def framed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "capture"
    path.write_bytes(data)
    return path


# ---- real captures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ITCH_COUNTS, ids=lambda path: path.name)
def test_every_real_itch_message_decodes_and_encodes_back(shared_data: Path, name: Path) -> None:
    decoded, target = ffi.new("itch_message *"), ffi.new("uint8_t[64]")
    counts: Counter[str] = Counter()
    size = 0
    for message in itch_messages(shared_data / name):
        assert lib.itch_decode(message, len(message), decoded) == lib.ITCH_OK
        assert lib.itch_encode(decoded, target, 64) == len(message)
        assert ffi.buffer(target, len(message)) == message
        counts[chr(decoded.type)] += 1
        size += 2 + len(message)
    assert size == (shared_data / name).stat().st_size
    expected = ITCH_COUNTS[name]
    assert dict(counts) == expected if expected is not None else counts.total() == GOOG_MESSAGES


@pytest.mark.parametrize("name", ITCH_COUNTS, ids=lambda path: path.name)
def test_real_itch_file_is_accounted_for(shared_data: Path, name: Path) -> None:
    found = inspect_capture(shared_data / name)
    assert found.format == "itch"
    assert found.undecoded_bytes == found.malformed == found.time_reversals == 0
    assert sum(found.accounts.values()) == found.bytes == (shared_data / name).stat().st_size
    assert found.remarks == []
    if ITCH_COUNTS[name] is not None:
        assert {entry.type: entry.count for entry in found.counts} == ITCH_COUNTS[name]


def test_real_day_names_its_instrument_and_its_hours(shared_data: Path) -> None:
    found = inspect_capture(shared_data / AAPL)
    assert [(entry.symbol, entry.locate, entry.messages, entry.adds) for entry in found.instruments] == [
        ("AAPL", 13, 10_000, 4_760)
    ]
    assert found.first_time_ns is not None
    assert found.last_time_ns is not None
    assert show_time(found.first_time_ns).startswith("03:07:14.")
    assert show_time(found.last_time_ns).startswith("07:59:30.")


def test_every_real_packet_is_accounted_for(shared_data: Path) -> None:
    captures = sorted((shared_data / PCAPS).rglob("*.pcap"))
    assert len(captures) == 12
    types: Counter[tuple[str, str]] = Counter()
    for path in captures:
        found = inspect_capture(path)
        assert found.format == "pcap"
        assert found.undecoded_bytes == found.malformed == found.tcp_missing_bytes == 0, path.name
        assert sum(found.accounts.values()) == found.bytes == path.stat().st_size
        types.update({(entry.protocol, entry.type): entry.count for entry in found.counts})
    assert types == {
        ("ITCH", "A"): 37, ("ITCH", "F"): 2, ("ITCH", "D"): 2, ("ITCH", "L"): 1, ("ITCH", "I"): 1, ("ITCH", "E"): 1,
        ("ITCH", "U"): 1, ("ITCH", "H"): 1, ("SoupBinTCP", "R"): 1, ("SoupBinTCP", "H"): 1,
        ("OUCH 5.0 order", "O"): 1, ("OUCH 5.0 report", "A"): 1,
    }  # fmt: skip


def test_real_packets_carry_their_sequence_numbers(shared_data: Path) -> None:
    found = inspect_capture(shared_data / OMI_ITCH / "Multiple.Packets.pcap")
    assert [(gap.session, gap.first, gap.count) for gap in found.sequence_gaps] == [("000010059B", 14764497, 4244620)]
    assert found.packets == {"UDP": 2}
    assert found.messages == 39


def test_real_ouch_session_is_reassembled(shared_data: Path) -> None:
    with MappedFile(shared_data / OMI_OUCH / "EnterOrderMessage.pcap") as file:
        (stream,) = reassemble(file, index_packets(file).packets)
    assert stream.target == "206.200.125.172:8001"
    assert stream.runs[0][:4] == b"\x00\x36UO"
    assert stream.missing_bytes == stream.repeated_bytes == 0


def test_inspection_is_shown_to_people_and_machines(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared_data / OMI_ITCH / "Multiple.Packets.pcap"
    assert run_inspect(path, json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads(to_json(inspect_capture(path)))
    assert shown["messages"] == 39
    assert run_inspect(path, json=False) == 0
    assert "META" in capsys.readouterr().out
    assert render(inspect_capture(path))


# ---- ITCH files, damaged ---------------------------------------------------------------------------------------------


def test_offsets_and_lengths_name_each_message(tmp_path: Path) -> None:
    with MappedFile(written(tmp_path, framed(ADD, DELETE, ADD) + b"\0\0")) as file:
        offsets = index_messages(file)
        assert offsets.tolist() == [2, 40, 61]
        assert message_lengths(file, offsets).tolist() == [36, 19, 36]


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    whole = framed(ADD, DELETE, ADD)
    starts = {0, 38, 59, len(whole)}
    for size in range(1, len(whole)):
        path = written(tmp_path, whole[:size])
        if size <= 2:
            with pytest.raises(CaptureError, match="neither a length-prefixed"):
                inspect_capture(path)
            continue
        found = inspect_capture(path)
        last = max(start for start in starts if start <= size)
        assert sum(found.accounts.values()) == size
        assert found.undecoded_bytes == size - last
        with MappedFile(path) as file:
            assert len(index_messages(file, partial=True)) == sorted(starts).index(last)
            if size not in starts:
                with pytest.raises(CaptureError, match=f"at byte {last} of {size}: the last message is cut short"):
                    index_messages(file)


def test_bytes_behind_the_end_mark_are_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, framed(ADD) + b"\0\0junk")
    with MappedFile(path) as file, pytest.raises(CaptureError, match="4 bytes follow the end mark"):
        index_messages(file)
    found = inspect_capture(path)
    assert found.accounts == {"ITCH messages": 36, "lengths": 4, "tail": 4}
    assert found.remarks == ["4 bytes behind the end mark at byte 40"]


def test_messages_that_are_not_understood_are_counted_by_reason(tmp_path: Path) -> None:
    wrong_side = ADD[:19] + b"?" + ADD[20:]
    path = written(tmp_path, framed(ADD, b"zzz", ADD + b"!", wrong_side))
    found = inspect_capture(path)
    assert found.messages == 1
    assert found.malformed == 3
    assert found.accounts == {"ITCH messages": 36, "lengths": 8, "messages not understood": 3 + 37 + 36}
    assert run_inspect(path, json=True) == 65


def test_times_that_run_back_are_counted(tmp_path: Path) -> None:
    table = wire_tables.ITCH["D"]
    messages = [wire_tables.compose(table, {"time": time_ns, "locate": 1}) for time_ns in (5, 9, 8, 8, 10)]
    found = inspect_capture(written(tmp_path, framed(*messages)))
    assert (found.first_time_ns, found.last_time_ns, found.time_reversals) == (5, 10, 1)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "a pcapng capture"),
        (b"GET / HTTP/1.1", "neither a length-prefixed ITCH message nor a pcap header"),
    ],
)
def test_what_is_no_capture_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    with MappedFile(written(tmp_path, data)) as file, pytest.raises(CaptureError, match=what):
        detect_format(file)


def test_missing_file_is_a_capture_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="No such file"):
        inspect_capture(tmp_path / "absent")


# ---- packet captures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanosecond", [True, False])
def test_pcap_of_either_byte_order_and_resolution(tmp_path: Path, order: str, nanosecond: bool) -> None:
    frames = [packets.udp_frame(b"first"), packets.udp_frame(b"second")]
    path = written(tmp_path, packets.pcap(frames, order=order, nanosecond=nanosecond))
    with MappedFile(path) as file:
        found = index_packets(file).packets
        assert [payload_of(file, packet) for packet in found] == [b"first", b"second"]
        assert found["time_ns"].tolist() == [0, 1_000_000_001 if nanosecond else 1_000_001_000]
        assert found["source_port"].tolist() == [20000, 20000]
        assert found["target_port"].tolist() == [26477, 26477]


KINDS = {
    "plain": (packets.udp_frame(b"x"), lib.PACKET_UDP),
    "vlan": (packets.udp_frame(b"x", tags=[0x8100]), lib.PACKET_UDP),
    "stacked vlan": (packets.udp_frame(b"x", tags=[0x88A8, 0x8100]), lib.PACKET_UDP),
    "ipv6": (packets.ethernet(packets.ipv6(packets.UDP, packets.udp(b"x")), ether_type=0x86DD), lib.PACKET_UDP),
    "padded": (packets.udp_frame(b"x") + bytes(17), lib.PACKET_UDP),
    "tcp": (packets.tcp_frame(b"x", sequence=1, source_port=1, target_port=2), lib.PACKET_TCP),
    "icmp": (packets.ethernet(packets.ipv4(1, b"ping")), lib.PACKET_OTHER),
    "arp": (packets.ethernet(bytes(28), ether_type=0x0806), lib.PACKET_OTHER),
    "first fragment": (
        packets.ethernet(packets.ipv4(packets.UDP, packets.udp(b"x"), fragment=0x2000)),
        lib.PACKET_FRAGMENT,
    ),
    "later fragment": (packets.ethernet(packets.ipv4(packets.UDP, b"more", fragment=1)), lib.PACKET_FRAGMENT),
    "ip longer than the frame": (packets.udp_frame(b"xyz")[:-1], lib.PACKET_MALFORMED),
    "udp longer than ip": (
        packets.ethernet(packets.ipv4(packets.UDP, b"\0\1\0\2\0\xff\0\0x")),
        lib.PACKET_MALFORMED,
    ),
    "udp shorter than its header": (
        packets.ethernet(packets.ipv4(packets.UDP, b"\0\1\0\2\0\7\0\0x")),
        lib.PACKET_MALFORMED,
    ),
    "no frame": (b"", lib.PACKET_MALFORMED),
}


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_what_they_are(tmp_path: Path, name: str) -> None:
    frame, kind = KINDS[name]
    path = written(tmp_path, packets.pcap([frame]))
    with MappedFile(path) as file:
        (packet,) = index_packets(file).packets
        assert packet["kind"] == kind
        if kind in (lib.PACKET_UDP, lib.PACKET_TCP):
            assert payload_of(file, packet) == b"x"
    assert sum(inspect_capture(path).accounts.values()) == path.stat().st_size


def test_pcap_truncated_at_every_byte(tmp_path: Path) -> None:
    frames = [
        packets.udp_frame(packets.mold_packet([ADD])),
        packets.udp_frame(packets.mold_packet([DELETE], sequence=2)),
    ]
    whole = packets.pcap(frames)
    starts = [24, 24 + 16 + len(frames[0]), len(whole)]
    for size in range(24, len(whole)):
        path = written(tmp_path, whole[:size])
        found = inspect_capture(path)
        assert sum(found.accounts.values()) == size
        last = max(start for start in starts if start <= size)
        assert found.accounts.get("tail", 0) == size - last
        if size not in starts:
            with (
                MappedFile(path) as file,
                pytest.raises(CaptureError, match=f"at byte {last} of {size}: the last record"),
            ):
                index_packets(file)


def test_record_of_impossible_length_is_damage(tmp_path: Path) -> None:
    whole = packets.pcap([packets.udp_frame(b"x")]) + bytes(8) + b"\xff\xff\xff\x7f" * 2 + b"rest"
    path = written(tmp_path, whole)
    with MappedFile(path) as file, pytest.raises(CaptureError, match="a record of impossible length"):
        index_packets(file)
    assert inspect_capture(path).accounts["tail"] == 20


def test_other_links_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, packets.pcap([], link_type=105))
    with MappedFile(path) as file, pytest.raises(CaptureError, match="at byte 20 of 24: link type 105"):
        index_packets(file)


def test_gaps_are_found_whatever_the_order_of_packets(tmp_path: Path) -> None:
    sent = [(1, [ADD]), (4, [ADD, DELETE]), (2, [DELETE]), (4, [ADD, DELETE]), (9, [])]  # 3 and 6 to 8 are missing
    frames = [packets.udp_frame(packets.mold_packet(messages, sequence=sequence)) for sequence, messages in sent]
    found = inspect_capture(written(tmp_path, packets.pcap(frames)))
    assert [(gap.first, gap.count) for gap in found.sequence_gaps] == [(3, 1), (6, 3)]
    assert found.duplicate_messages == 2


def test_udp_that_is_not_moldudp64_is_not_understood(tmp_path: Path) -> None:
    path = written(tmp_path, packets.pcap([packets.udp_frame(b"hello"), packets.udp_frame(packets.mold_packet([ADD]))]))
    found = inspect_capture(path)
    assert found.accounts["UDP not understood"] == found.undecoded_bytes == 5
    assert found.messages == 1


# ---- TCP -------------------------------------------------------------------------------------------------------------


def segments(*parts: tuple[int, bytes]) -> list[bytes]:
    return [packets.tcp_frame(data, sequence=at, source_port=5000, target_port=8001) for at, data in parts]


@pytest.mark.parametrize("origin", [1000, 2**32 - 4])
def test_stream_is_put_in_order(tmp_path: Path, origin: int) -> None:
    parts = [(0, b"abc"), (6, b"ghi"), (3, b"def"), (0, b"abc"), (5, b"fgh")]
    frames = segments(*((origin + at, data) for at, data in parts))
    with MappedFile(written(tmp_path, packets.pcap(frames))) as file:
        (stream,) = reassemble(file, index_packets(file).packets)
    assert stream.runs == (b"abcdefghi",)
    assert stream.repeated_bytes == 6
    assert stream.missing_bytes == 0
    assert (stream.source, stream.target) == ("10.1.1.1:5000", "10.1.1.2:8001")


def test_hole_in_a_stream_begins_a_new_run(tmp_path: Path) -> None:
    with MappedFile(written(tmp_path, packets.pcap(segments((10, b"abc"), (20, b"xyz"))))) as file:
        (stream,) = reassemble(file, index_packets(file).packets)
    assert stream.runs == (b"abc", b"xyz")
    assert stream.missing_bytes == 7


@pytest.mark.parametrize(
    ("protocol", "orders", "reports"),
    [
        ("OUCH 5.0", wire_tables.OUCH50_ORDERS, wire_tables.OUCH50_REPORTS),
        ("OUCH 4.2", wire_tables.OUCH42_ORDERS, wire_tables.OUCH42_REPORTS),
    ],
)
def test_session_over_tcp_is_told_by_what_understands_it(
    tmp_path: Path, protocol: str, orders: dict[str, wire_tables.Message], reports: dict[str, wire_tables.Message]
) -> None:
    out = packets.soup_packet(b"L", b"x" * 46)
    back = packets.soup_packet(b"A", b"x" * 30)
    for table, kind in ((orders, b"U"), (reports, b"S")):
        for message in table.values():
            data = wire_tables.compose(message, wire_tables.plain_values(message))
            appended = wire_tables.OUCH50_ORDERS_APPENDED if kind == b"U" else wire_tables.OUCH50_REPORTS_APPENDED
            if protocol == "OUCH 5.0" and message.type in appended:
                data = data[:-2] + b"\0\0"
            if kind == b"U":
                out += packets.soup_packet(kind, data)
            else:
                back += packets.soup_packet(kind, data)
    frames = [
        packets.tcp_frame(out[at : at + 100], sequence=at, source_port=5, target_port=6)
        for at in range(0, len(out), 100)
    ]
    frames += [
        packets.tcp_frame(back[at : at + 90], sequence=at, source_port=6, target_port=5)
        for at in range(0, len(back), 90)
    ]
    found = inspect_capture(written(tmp_path, packets.pcap(frames)))
    assert found.undecoded_bytes == 0
    counted = {(entry.protocol, entry.type) for entry in found.counts}
    assert counted == {("SoupBinTCP", "L"), ("SoupBinTCP", "A")} | {
        *((f"{protocol} order", letter) for letter in orders),
        *((f"{protocol} report", letter) for letter in reports),
    }


def test_stream_that_is_no_session_is_not_understood(tmp_path: Path) -> None:
    found = inspect_capture(written(tmp_path, packets.pcap(segments((1, b"GET / HTTP/1.1\r\n\r\n")))))
    assert found.undecoded_bytes == found.accounts["TCP not understood"] == 18
    assert sum(found.accounts.values()) == found.bytes
