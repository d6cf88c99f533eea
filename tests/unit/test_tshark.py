"""What we put on the wire, read by Wireshark's dissectors: no byte left over, each field where we put it.

our encoder --> TCP or UDP frame --> pcap --> tshark -T pdml --> fields with position, size and value
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ffi import ffi, lib
from tests import packets, wire_tables
from tests.support.dissection import assert_understood, decode_as, dissect
from tests.wire_tables import Message

CLIENT, VENUE = 5000, 8001
FEED = 26477
DECODE_AS = decode_as(soup=[VENUE], mold=[FEED])


def encoded(encode: Callable[..., int], structure: Any) -> bytes:
    target = ffi.new("uint8_t[256]")
    length = encode(structure, target, 256)
    assert length > 0
    return bytes(target[0:length])


def realistic(message: Message) -> dict[str, wire_tables.Value]:
    """Values that mean something to a dissector that knows their names."""
    known: dict[str, wire_tables.Value] = {
        "side": ord("B"), "display": ord("Y"), "capacity": ord("A"), "iso": ord("N"), "cross": ord("N"),
        "customer": ord("R"), "state": ord("L"), "bbo_weight": ord("1"), "liquidity": ord("A"), "reason": ord("U"),
        "event": ord("S"), "ref_type": ord("I"), "token": b"HP000000000001", "tif": 99999,
    }  # fmt: skip
    return {name: known.get(name, value) for name, value in wire_tables.plain_values(message).items()}


ORDERS = [("order", message) for message in wire_tables.OUCH42_ORDERS.values()]
REPORTS = [("report", message) for message in wire_tables.OUCH42_REPORTS.values()]


def test_ouch42_over_soupbintcp_is_read_field_for_field(tmp_path: Path) -> None:
    sent = ORDERS + REPORTS
    frames, payloads = [], []
    position = {CLIENT: 1, VENUE: 1}
    target = ffi.new("uint8_t[256]")
    for kind, message in sent:
        structure = ffi.new(f"ouch_{kind} *")
        wire_tables.fill(structure, message, realistic(message))
        body = encoded(lib.ouch42_encode_order if kind == "order" else lib.ouch42_encode_report, structure)
        size = lib.soup_encode(ord("U" if kind == "order" else "S"), body, len(body), target, 256)
        payload = bytes(target[0:size])
        source, other = (CLIENT, VENUE) if kind == "order" else (VENUE, CLIENT)
        frames.append(packets.tcp_frame(payload, sequence=position[source], source_port=source, target_port=other))
        position[source] += size
        payloads.append(payload)
    path = tmp_path / "ouch42.pcap"
    path.write_bytes(packets.pcap(frames))
    dissected = dissect(path, *DECODE_AS)
    assert len(dissected) == len(sent)
    for (_, message), payload, frame, protocols in zip(sent, payloads, frames, dissected, strict=True):
        start = len(frame) - len(payload)
        assert_understood(protocols, payload, start=start)
        (ouch,) = [protocol for protocol in protocols if protocol.name == "ouch"]
        seen = {(field.position - start - lib.SOUP_HEADER_SIZE, field.size): field.value for field in ouch.fields}
        for field in message.fields:
            at = lib.SOUP_HEADER_SIZE + field.offset
            assert seen[field.offset, field.size] == payload[at : at + field.size].hex(), (message.type, field.name)


def session_packets() -> list[tuple[int, bytes]]:
    """Each kind of SoupBinTCP packet, and who sends it."""
    target = ffi.new("uint8_t[256]")

    def packet(letter: str, payload: bytes = b"") -> bytes:
        return bytes(target[0 : lib.soup_encode(ord(letter), payload, len(payload), target, 256)])

    login = {"username": b"USER  ", "password": b"PASSWORD  ", "session": b" " * 10, "sequence": 17}
    request = bytes(target[0 : lib.soup_login_encode(ffi.new("soup_login *", login), target, 256)])
    accepted = bytes(target[0 : lib.soup_accept_encode(b"SESSION001", 17, target, 256)])
    system_event = wire_tables.compose(wire_tables.OUCH42_REPORTS["S"], {"event": ord("S")})
    return [
        (CLIENT, request), (VENUE, accepted), (VENUE, packet("J", b"A")), (VENUE, packet("+", b"a debug text")),
        (CLIENT, packet("R")), (VENUE, packet("H")), (VENUE, packet("S", system_event)), (CLIENT, packet("O")),
        (VENUE, packet("Z")),
    ]  # fmt: skip


def test_every_soupbintcp_packet_is_read(tmp_path: Path) -> None:
    frames, payloads = [], []
    position = {CLIENT: 1, VENUE: 1}
    for source, payload in session_packets():
        other = VENUE if source == CLIENT else CLIENT
        frames.append(packets.tcp_frame(payload, sequence=position[source], source_port=source, target_port=other))
        position[source] += len(payload)
        payloads.append(payload)
    path = tmp_path / "soup.pcap"
    path.write_bytes(packets.pcap(frames))
    shown: dict[str, str] = {}
    for payload, frame, protocols in zip(payloads, frames, dissect(path, *DECODE_AS), strict=True):
        assert_understood(protocols, payload, start=len(frame) - len(payload))
        shown |= {field.name: bytes.fromhex(field.value).decode() for field in protocols[-1].fields if field.value}
    assert shown["soupbintcp.username"] == "USER  "
    assert shown["soupbintcp.password"] == "PASSWORD  "
    assert shown["soupbintcp.req_seq_num"].strip() == "17"
    assert shown["soupbintcp.next_seq_num"].strip() == "17"
    assert shown["soupbintcp.session"] == "SESSION001"
    assert shown["soupbintcp.reject_code"] == "A"
    assert shown["soupbintcp.text"] == "a debug text"


def test_moldudp64_is_read_message_for_message(tmp_path: Path) -> None:
    target = ffi.new("uint8_t[]", lib.MOLD_PACKET_MAX)

    def packet(sequence: int, messages: list[bytes], count: int = 0) -> bytes:
        header = ffi.new("mold_header *", {"session": b"TEST000001", "sequence": sequence, "count": count})
        size = lib.mold_header_encode(header, target)
        for message in messages:
            size = lib.mold_append(target, size, lib.MOLD_PACKET_MAX, message, len(message))
            assert size
        return bytes(target[0:size])

    all_types = []
    for message in wire_tables.ITCH.values():
        structure = ffi.new("itch_message *")
        wire_tables.fill(structure, message, wire_tables.plain_values(message))
        all_types.append(encoded(lib.itch_encode, structure))
    end = packet(1 + len(all_types), [], lib.MOLD_END_OF_SESSION)
    sent = [packet(1, all_types), packet(1 + len(all_types), []), end]
    frames = [packets.udp_frame(payload) for payload in sent]
    path = tmp_path / "mold.pcap"
    path.write_bytes(packets.pcap(frames))
    dissected = dissect(path, *DECODE_AS)
    for payload, frame, protocols in zip(sent, frames, dissected, strict=True):
        assert_understood(protocols, payload, start=len(frame) - len(payload))
    fields = [field for protocol in dissected[0] if protocol.name == "moldudp64" for field in protocol.fields]
    assert [field.value for field in fields if field.name == "moldudp64.msgdata"] == [each.hex() for each in all_types]
    (count,) = [field.value for field in fields if field.name == "moldudp64.count"]
    assert int(count, 16) == len(all_types)
