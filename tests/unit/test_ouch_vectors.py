"""OUCH 5.0 as the venue itself wrote it: real packets, decoded and encoded back bit for bit."""

from __future__ import annotations

import pytest

from ffi import ffi, lib

# SoupBinTCP packets from Nasdaq sessions of 2023-05-11 and 2024-04-29.
ENTER = (
    "0036 55 4f00000071 54 000000e1 43564c5420202020 0000000000099db8 30 59 41 4e 4e"
    "4838465542384956202020202020 0006 05 02 4c494d45"
)
CANCEL = "000a 55 58 00752e71 00000000"
ACCEPTED = (
    "004a 53 41 0000289b4d64af87 00753a8d 42 00000028 4144424520202020 000000000048e748 35 59 000000000f56b4f5"
    "41 4e 4e 4c 3736373233373031202020202020 0009 05024d4c524f 021230"
)
CANCELED = "0013 53 43 0000289b4d681317 00753a8d 00000028 55"


def payload_of(packet: bytes, soup_type: bytes) -> bytes:
    found = ffi.new("soup_packet *")
    assert lib.soup_parse(packet, len(packet), found) == lib.SOUP_OK
    assert found.size == len(packet)
    assert found.type == soup_type[0]
    return packet[lib.SOUP_HEADER_SIZE :]


@pytest.mark.parametrize("packet", [ENTER, CANCEL])
def test_real_orders_encode_back_bit_for_bit(packet: str) -> None:
    message = payload_of(bytes.fromhex(packet), b"U")
    order = ffi.new("ouch_order *")
    assert lib.ouch50_decode_order(message, len(message), order) == lib.OUCH_OK
    target = ffi.new("uint8_t[128]")
    assert lib.ouch50_encode_order(order, target, 128) == len(message)
    assert bytes(ffi.buffer(target, len(message))) == message


@pytest.mark.parametrize("packet", [ACCEPTED, CANCELED])
def test_real_reports_encode_back_bit_for_bit(packet: str) -> None:
    message = payload_of(bytes.fromhex(packet), b"S")
    report = ffi.new("ouch_report *")
    assert lib.ouch50_decode_report(message, len(message), report) == lib.OUCH_OK
    target = ffi.new("uint8_t[128]")
    assert lib.ouch50_encode_report(report, target, 128) == len(message)
    assert bytes(ffi.buffer(target, len(message))) == message


def test_real_enter_order_reads_as_the_client_meant_it() -> None:
    message = payload_of(bytes.fromhex(ENTER), b"U")
    order = ffi.new("ouch_order *")
    assert lib.ouch50_decode_order(message, len(message), order) == lib.OUCH_OK
    assert (order.type, order.side, order.quantity) == (ord("O"), ord("T"), 225)
    assert order.user_ref == 0x71
    assert ffi.string(order.symbol, 8) == b"CVLT    "
    assert order.price == 63_0200
    assert order.time_in_force == ord("0")
    assert ffi.buffer(order.cl_ord_id)[:] == b"H8FUB8IV      "
    assert order.appendage.present == 1 << 2
    assert ffi.buffer(order.appendage.firm)[:] == b"LIME"


def test_real_accepted_reads_as_the_venue_meant_it() -> None:
    message = payload_of(bytes.fromhex(ACCEPTED), b"S")
    report = ffi.new("ouch_report *")
    assert lib.ouch50_decode_report(message, len(message), report) == lib.OUCH_OK
    assert report.time_ns == 0x0000289B4D64AF87
    assert (report.user_ref, report.side, report.quantity) == (0x753A8D, ord("B"), 40)
    assert ffi.buffer(report.symbol)[:] == b"ADBE    "
    assert report.price == 0x48E748
    assert report.order_ref == 0x0F56B4F5
    assert report.state == ord("L")
    assert report.appendage.present == 1 << 2 | 1 << 18
    assert report.appendage.bbo_weight == ord("0")


# ---- appendages ------------------------------------------------------------------------------------------------------

CANCEL_HEAD = bytes.fromhex("58 00752e71 00000000")


@pytest.mark.parametrize(
    ("appendage", "status"),
    [
        ("0000", lib.OUCH_OK),
        ("0006 05 02 4c494d45", lib.OUCH_OK),
        ("0002 01 20", lib.OUCH_OK),  # an unknown tag without a value
        ("0006 05 63 4c494d45", lib.OUCH_OK),  # an unknown tag
        ("0001 00", lib.OUCH_BAD_APPENDAGE),  # an element without a tag
        ("0001 01", lib.OUCH_BAD_APPENDAGE),  # its tag is missing
        ("0006 06 02 4c494d45", lib.OUCH_BAD_APPENDAGE),  # longer than what is there
        ("0006 04 02 4c494d45", lib.OUCH_BAD_APPENDAGE),  # shorter than its tag demands
        ("0005 04 02 4c494d", lib.OUCH_BAD_APPENDAGE),  # a firm of three letters
        ("000c 05 02 4c494d45 05 02 4c494d45", lib.OUCH_BAD_APPENDAGE),  # told twice
        ("0007 05 02 4c494d45", lib.OUCH_BAD_LENGTH),  # one byte fewer than promised
        ("0005 05 02 4c494d45", lib.OUCH_BAD_LENGTH),  # one more
        ("00", lib.OUCH_BAD_LENGTH),
    ],
)
def test_appendage_edges(appendage: str, status: int) -> None:
    message = CANCEL_HEAD + bytes.fromhex(appendage)
    order = ffi.new("ouch_order *")
    assert lib.ouch50_decode_order(message, len(message), order) == status


def test_a_tag_that_has_no_encoding_is_not_written() -> None:
    order = ffi.new("ouch_order *", {"type": ord("X")})
    target = ffi.new("uint8_t[128]")
    for tag in range(32):
        order.appendage.present = 1 << tag
        written = lib.ouch50_encode_order(order, target, 128)
        assert (written == 0) == (tag in (0, 8, 21, *range(24, 32))), tag


def test_a_token_of_another_makers_is_no_order_of_ours() -> None:
    user_ref = ffi.new("uint32_t *")
    beyond_32_bits = b"HP000001Z141Z4"  # 2^32
    for token in (b"XX000000000001", b"HP00000000000a", b"HPZZZZZZZZZZZZ", b"HP            ", beyond_32_bits):
        user_ref[0] = 7
        assert lib.ouch42_user_ref(token, user_ref) == lib.OUCH_BAD_TOKEN
        assert user_ref[0] == 0
    cancel = b"X" + b"FOREIGNTOKEN01" + bytes(4)
    order = ffi.new("ouch_order *")
    assert lib.ouch42_decode_order(cancel, len(cancel), order) == lib.OUCH_OK
    assert order.user_ref == 0
    assert ffi.buffer(order.token)[:] == b"FOREIGNTOKEN01"


def test_reports_with_a_side_or_state_that_is_none_are_refused() -> None:
    accepted = payload_of(bytes.fromhex(ACCEPTED), b"S")
    report = ffi.new("ouch_report *")
    for offset in (13, 47):
        broken = bytearray(accepted)
        broken[offset] = ord("?")
        assert lib.ouch50_decode_report(bytes(broken), len(broken), report) == lib.OUCH_BAD_FIELD
