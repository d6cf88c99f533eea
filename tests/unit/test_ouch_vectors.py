"""OUCH 5.0 as the venue itself wrote it: real packets, decoded and encoded back bit for bit."""

from __future__ import annotations

import pytest
from ffi import ffi, lib

# SoupBinTCP packets from Nasdaq sessions of 2023-05-11 and 2024-04-29.
ENTER = "0036 55 4f00000071 54 000000e1 43564c5420202020 0000000000099db8 30 59 41 4e 4e 4838465542384956202020202020 0006 05 02 4c494d45"
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
