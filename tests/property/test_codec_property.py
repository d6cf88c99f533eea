"""Any message that a protocol can say survives encode, decode, encode; and the path's event says the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffi import ffi, lib
from tests import wire_tables
from tests.wire_tables import Message, Value

EXAMPLES_OF_A_TYPE = 40  # of each type, so that no run leaves one out
CAPACITY = 512
TARGET: Any = ffi.new("uint8_t[]", CAPACITY)
LOCATES = 65536
MIDNIGHT_NS = 1_580_360_400_000_000_000


def encoded(encode: Any, structure: Any) -> bytes:
    length = encode(structure, TARGET, CAPACITY)
    return bytes(ffi.buffer(TARGET, length))


# ---- ITCH ------------------------------------------------------------------------------------------------------------

itch_messages = st.sampled_from(list(wire_tables.ITCH.values())).flatmap(
    lambda message: st.tuples(st.just(message), wire_tables.message_values(message))
)


@pytest.mark.parametrize("letter", wire_tables.ITCH)
@settings(max_examples=EXAMPLES_OF_A_TYPE)
@given(data=st.data())
def test_itch_round_trip(letter: str, data: st.DataObject) -> None:
    message = wire_tables.ITCH[letter]
    values = data.draw(wire_tables.message_values(message))
    wire = wire_tables.compose(message, values)
    structure = ffi.new("itch_message *")
    assert lib.itch_decode(wire, len(wire), structure) == lib.ITCH_OK
    assert wire_tables.read(structure, message) == values
    assert encoded(lib.itch_encode, structure) == wire


def test_end_of_snapshot_is_a_number_in_digits() -> None:
    structure = ffi.new("itch_message *")
    for sequence in (0, 1, 2**64 - 1):
        wire = b"G" + str(sequence).rjust(20).encode()
        assert lib.itch_decode(wire, 21, structure) == lib.ITCH_OK
        assert structure.order_ref == sequence
        assert encoded(lib.itch_encode, structure) == wire
    for nonsense in (b" " * 20, b"99999999999999999999", b"12 34".rjust(20), b"-1".rjust(20), b"1x".ljust(20)):
        assert lib.itch_decode(b"G" + nonsense, 21, structure) == lib.ITCH_BAD_FIELD


# What each type means on the path, read from the decoded message: a second, slow opinion on itch_normalise.
STATES = {
    ord("T"): lib.STATE_TRADING,
    ord("H"): lib.STATE_HALTED,
    ord("P"): lib.STATE_PAUSED,
    ord("Q"): lib.STATE_QUOTATION,
}
MARKET_WIDE = "SVW"


def letters(word: bytes) -> int:
    return int.from_bytes(word, "big")


class Said(NamedTuple):
    """The fields of norm_event that a message decides."""

    type: int
    order_ref: int = 0
    price: int = 0
    quantity: int = 0
    reference: int = 0
    flags: int = 0


def expected_event(m: Any) -> Said:
    """What a decoded message means."""
    sell = lib.FLAG_SELL if m.side == ord("S") else 0
    match chr(m.type):
        case "A" | "F":
            return Said(lib.NORM_ADD, m.order_ref, m.price, m.shares, flags=sell)
        case "E":
            return Said(lib.NORM_EXECUTE, m.order_ref, 0, m.shares, m.match, lib.FLAG_PRINTABLE)
        case "C":
            printable = lib.FLAG_PRINTABLE if m.printable == ord("Y") else 0
            return Said(lib.NORM_EXECUTE_PRICE, m.order_ref, m.price, m.shares, m.match, printable)
        case "X":
            return Said(lib.NORM_REDUCE, m.order_ref, quantity=m.shares)
        case "D":
            return Said(lib.NORM_DELETE, m.order_ref)
        case "U":
            return Said(lib.NORM_REPLACE, m.order_ref, m.price, m.shares, m.new_ref)
        case "P":
            return Said(lib.NORM_TRADE, m.order_ref, m.price, m.shares, m.match, sell | lib.FLAG_PRINTABLE)
        case "Q":
            return Said(lib.NORM_CROSS, m.cross_type, m.price, m.shares, m.match, lib.FLAG_PRINTABLE)
        case "B":
            return Said(lib.NORM_BROKEN, reference=m.match)
        case "I":
            to_sell = lib.FLAG_SELL if m.detail[0] == ord("S") else 0
            return Said(lib.NORM_IMBALANCE, m.number[0], m.price, m.shares, m.detail[0], to_sell)
        case "H":
            return Said(lib.NORM_STATUS, STATES.get(m.event, 0), reference=letters(bytes(m.detail[0:4])))
        case "h":
            if m.event != ord("Q"):  # a sister market's
                return Said(lib.NORM_NOTICE, m.type, reference=m.event)
            return Said(lib.NORM_OPERATIONAL, STATES.get(m.detail[0], 0), reference=m.event)
        case "R":
            return Said(lib.NORM_DIRECTORY, quantity=m.number[0], reference=m.locate)
        case "S":
            return Said(lib.NORM_SYSTEM, m.event)
        case "J":
            return Said(lib.NORM_COLLAR, price=m.price, quantity=m.number[1], reference=m.number[0])
        case "Y" | "N" | "W":
            return Said(lib.NORM_NOTICE, m.type, reference=m.event)
        case "L":
            return Said(lib.NORM_NOTICE, m.type, reference=m.detail[1])
        case _:
            return Said(lib.NORM_NOTICE, m.type)


def found_event(event: Any) -> Said:
    header = event.header
    return Said(header.type, event.order_ref, event.price_ticks, event.quantity_lots, event.reference, header.flags)


@pytest.mark.parametrize("letter", wire_tables.ITCH)
@settings(max_examples=EXAMPLES_OF_A_TYPE)
@given(data=st.data(), known=st.integers(0, LOCATES - 1))
def test_normalise_says_what_the_decoder_says(letter: str, data: st.DataObject, known: int) -> None:
    message = wire_tables.ITCH[letter]
    values = data.draw(wire_tables.message_values(message))
    wire = wire_tables.compose(message, values)
    decoded = ffi.new("itch_message *")
    assert lib.itch_decode(wire, len(wire), decoded) == lib.ITCH_OK
    instrument = ffi.new("uint32_t[]", LOCATES)
    instrument[decoded.locate] = known
    context = ffi.new("itch_context *", {"instrument": instrument, "midnight_ns": MIDNIGHT_NS})
    event = ffi.new("norm_event *")
    event.header.stamp = event.header.cause_sequence = event.header.ingress_time_ns = event.bid_price_ticks = 77
    status = lib.itch_normalise(context, wire, len(wire), event)
    if message.type in "QI" and decoded.shares >= 1 << 63:
        assert status == lib.ITCH_BAD_FIELD
        return
    assert status == lib.ITCH_OK
    assert found_event(event) == expected_event(decoded)
    assert event.header.instrument == (lib.NO_INSTRUMENT if message.type in MARKET_WIDE else known)
    assert event.header.origin_time_ns == MIDNIGHT_NS + decoded.time_ns
    assert event.header.stamp == event.header.cause_sequence == event.header.ingress_time_ns == 77
    assert event.bid_price_ticks == 77


@given(itch_messages)
def test_normalise_refuses_a_locate_it_does_not_know(case: tuple[Message, dict[str, Value]]) -> None:
    message, values = case
    wire = wire_tables.compose(message, values)
    context = ffi.new("itch_context *", {"instrument": ffi.new("uint32_t[]", [lib.NO_INSTRUMENT] * LOCATES)})
    event = ffi.new("norm_event *")
    if message.type in MARKET_WIDE:
        assert lib.itch_normalise(context, wire, len(wire), event) == lib.ITCH_OK
        assert event.header.instrument == lib.NO_INSTRUMENT
    else:
        assert lib.itch_normalise(context, wire, len(wire), event) == lib.ITCH_UNKNOWN_INSTRUMENT
        assert bytes(ffi.buffer(event)) == bytes(ffi.sizeof("norm_event"))


@pytest.mark.parametrize(("letter", "offset"), [("A", 19), ("F", 19), ("P", 19), ("C", 31)])
def test_a_letter_that_is_none_is_a_bad_field_and_touches_nothing(letter: str, offset: int) -> None:
    message = wire_tables.ITCH[letter]
    wire = bytearray(wire_tables.compose(message, wire_tables.plain_values(message)))
    context = ffi.new("itch_context *", {"instrument": ffi.new("uint32_t[]", LOCATES)})
    event, decoded = ffi.new("norm_event *"), ffi.new("itch_message *")
    allowed = b"YN" if letter == "C" else b"BS"
    for value in set(range(256)) - set(allowed):
        wire[offset] = value
        assert lib.itch_normalise(context, bytes(wire), len(wire), event) == lib.ITCH_BAD_FIELD
        assert lib.itch_decode(bytes(wire), len(wire), decoded) == lib.ITCH_BAD_FIELD
    assert bytes(ffi.buffer(event)) == bytes(ffi.sizeof("norm_event"))
    assert bytes(ffi.buffer(decoded)) == bytes(ffi.sizeof("itch_message"))


@given(itch_messages)
def test_order_ref_is_that_of_the_order_the_book_will_touch(case: tuple[Message, dict[str, Value]]) -> None:
    message, values = case
    wire = wire_tables.compose(message, values)
    expected = values.get("ref", values.get("old_ref", 0)) if message.type in "AFECXDU" else 0
    assert lib.itch_order_ref(wire, len(wire)) == expected


# ---- OUCH ------------------------------------------------------------------------------------------------------------


def appendages() -> st.SearchStrategy[dict[int, Value]]:
    numbers: dict[int, st.SearchStrategy[Value]] = {
        tag: st.integers(-(2**31), 2**31 - 1)
        if tag in wire_tables.APPENDAGE_SIGNED
        else st.integers(0, (1 << 8 * size) - 1)
        for tag, (_, size) in wire_tables.APPENDAGE_NUMBERS.items()
    }
    texts: dict[int, st.SearchStrategy[Value]] = {
        tag: st.text(wire_tables.ASCII, min_size=size, max_size=size).map(str.encode)
        for tag, (_, size) in wire_tables.APPENDAGE_TEXTS.items()
    }
    return st.fixed_dictionaries({}, optional=numbers | texts)


def compose_appendage(values: dict[int, Value]) -> bytes:
    """The bytes after the fixed part, by rising tag, length included."""
    elements = bytearray()
    for tag in sorted(values):
        value = values[tag]
        if isinstance(value, int):
            size = wire_tables.APPENDAGE_NUMBERS[tag][1]
            value = (value % (1 << 8 * size)).to_bytes(size, "big")
        elements += bytes([len(value) + 1, tag]) + value
    return len(elements).to_bytes(2, "big") + bytes(elements)


def read_appendage(appendage: Any) -> dict[int, Value]:
    values: dict[int, Value] = {}
    for tag, (name, _) in wire_tables.APPENDAGE_NUMBERS.items():
        if appendage.present >> tag & 1:
            values[tag] = getattr(appendage, name)
    for tag, (name, _) in wire_tables.APPENDAGE_TEXTS.items():
        if appendage.present >> tag & 1:
            values[tag] = bytes(ffi.buffer(getattr(appendage, name)))
    return values


OUCH_TABLES = {
    "50-order": (wire_tables.OUCH50_ORDERS, "ouch_order *", lib.ouch50_encode_order, lib.ouch50_decode_order),
    "50-report": (wire_tables.OUCH50_REPORTS, "ouch_report *", lib.ouch50_encode_report, lib.ouch50_decode_report),
    "42-order": (wire_tables.OUCH42_ORDERS, "ouch_order *", lib.ouch42_encode_order, lib.ouch42_decode_order),
    "42-report": (wire_tables.OUCH42_REPORTS, "ouch_report *", lib.ouch42_encode_report, lib.ouch42_decode_report),
}
APPENDED = {"50-order": wire_tables.OUCH50_ORDERS_APPENDED, "50-report": wire_tables.OUCH50_REPORTS_APPENDED}


@pytest.mark.parametrize("dialect", OUCH_TABLES)
@given(data=st.data())
def test_ouch_round_trip(dialect: str, data: st.DataObject) -> None:
    table, struct, encode, decode = OUCH_TABLES[dialect]
    message = data.draw(st.sampled_from(list(table.values())))
    values = data.draw(wire_tables.message_values(message))
    appended = message.type in APPENDED.get(dialect, "")
    may_append = dialect == "50-order" and message.type in wire_tables.OUCH50_ORDERS_MAY_APPEND
    extras = data.draw(appendages()) if appended or may_append else {}
    wire = wire_tables.compose(message, values, appended=appended)
    if appended or extras:
        wire += compose_appendage(extras)
    structure = ffi.new(struct)
    assert decode(wire, len(wire), structure) == lib.OUCH_OK
    assert wire_tables.read(structure, message) == values
    assert read_appendage(structure.appendage) == extras
    assert encoded(encode, structure) == wire
    for capacity in range(len(wire)):
        assert encode(structure, TARGET, capacity) == 0


@given(appendages(), st.integers(1, 254), st.binary(max_size=40), st.integers(0, 30))
def test_unknown_tags_are_counted_and_passed_over(known: dict[int, Value], tag: int, value: bytes, where: int) -> None:
    if tag in wire_tables.APPENDAGE_NUMBERS or tag in wire_tables.APPENDAGE_TEXTS:
        tag = 21
    elements = [compose_appendage({each: known[each]})[2:] for each in known]
    elements.insert(where % (len(elements) + 1), bytes([len(value) + 1, tag]) + value)
    body = b"".join(elements)
    wire = b"X" + bytes(8) + len(body).to_bytes(2, "big") + body
    order = ffi.new("ouch_order *")
    assert lib.ouch50_decode_order(wire, len(wire), order) == lib.OUCH_OK
    assert order.appendage.unknown_tags == 1
    assert read_appendage(order.appendage) == known


@given(st.integers(0, 2**32 - 1))
def test_token_comes_back_as_its_user_ref(user_ref: int) -> None:
    token = ffi.new("char[14]")
    found = ffi.new("uint32_t *")
    lib.ouch42_token(user_ref, token)
    assert bytes(ffi.buffer(token)).isalnum()
    assert lib.ouch42_user_ref(token, found) == lib.OUCH_OK
    assert found[0] == user_ref


@given(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_orders_of_42_are_named_by_their_user_refs(user_ref: int, previous_ref: int) -> None:
    order, back = ffi.new("ouch_order *"), ffi.new("ouch_order *")
    order.user_ref, order.previous_ref = user_ref, previous_ref
    for letter in "OUXM":
        order.type = ord(letter)
        wire = encoded(lib.ouch42_encode_order, order)
        assert lib.ouch42_decode_order(wire, len(wire), back) == lib.OUCH_OK
        assert back.user_ref == user_ref
        assert back.previous_ref == (previous_ref if letter == "U" else 0)


# ---- MoldUDP64 and SoupBinTCP ----------------------------------------------------------------------------------------


@given(
    st.binary(min_size=10, max_size=10), st.integers(0, 2**64 - 1), st.lists(st.binary(max_size=60), max_size=30),
    st.integers(0, 60),
)  # fmt: skip
def test_mold_packet_holds_what_was_appended(session: bytes, first: int, messages: list[bytes], cut: int) -> None:
    packet = ffi.new("uint8_t[]", lib.MOLD_PACKET_MAX)
    header = ffi.new("mold_header *", {"session": session, "sequence": first})
    size = lib.mold_header_encode(header, packet)
    kept = []
    for message in messages:
        grown = lib.mold_append(packet, size, lib.MOLD_PACKET_MAX, message, len(message))
        if grown:
            kept.append(message)
            size = grown
        else:
            assert size + 2 + len(message) > lib.MOLD_PACKET_MAX
    wire = bytes(packet[0:size])
    assert wire == session + first.to_bytes(8, "big") + len(kept).to_bytes(2, "big") + b"".join(
        len(message).to_bytes(2, "big") + message for message in kept
    )
    assert lib.mold_check(wire, size) == lib.MOLD_OK
    assert lib.mold_parse(wire, size, header) == lib.MOLD_OK
    assert (bytes(ffi.buffer(header.session)), header.sequence, header.count) == (session, first, len(kept))
    assert walk(wire, len(kept)) == (kept, 0)

    short = wire[: max(0, size - 1 - cut)]
    found, missing = walk(short, len(kept))
    assert found == kept[: len(found)]
    assert missing == len(kept) - len(found)
    assert lib.mold_check(short, len(short)) != lib.MOLD_OK
    assert lib.mold_check(wire + b"\0", size + 1) == lib.MOLD_TRAILING


def walk(packet: bytes, count: int) -> tuple[list[bytes], int]:
    walker = ffi.new("mold_walker *")
    keep = ffi.from_buffer("uint8_t[]", packet)
    lib.mold_walk(walker, keep, len(packet), count)
    found = []
    while lib.mold_next(walker):
        found.append(bytes(ffi.buffer(walker.bytes, walker.length)))
    return found, walker.remaining


def test_heartbeat_and_end_of_session_hold_no_messages() -> None:
    for count in (0, lib.MOLD_END_OF_SESSION):
        packet = b"SESSION001" + (42).to_bytes(8, "big") + count.to_bytes(2, "big")
        assert lib.mold_check(packet, 20) == lib.MOLD_OK
        assert walk(packet, count) == ([], 0)
        assert lib.mold_check(packet + b"\0\0", 22) == lib.MOLD_TRAILING
        assert lib.mold_check(packet[:19], 19) == lib.MOLD_SHORT


@given(st.integers(0, 255), st.binary(max_size=400), st.binary(max_size=40))
def test_soup_packet_comes_back_whole_from_a_stream(letter: int, payload: bytes, following: bytes) -> None:
    target = ffi.new("uint8_t[512]")
    size = lib.soup_encode(letter, payload, len(payload), target, 512)
    wire = bytes(target[0:size])
    assert wire == (len(payload) + 1).to_bytes(2, "big") + bytes([letter]) + payload
    assert lib.soup_encode(letter, payload, len(payload), target, size - 1) == 0
    packet = ffi.new("soup_packet *")
    for available in range(size):
        assert lib.soup_parse(wire, available, packet) == lib.SOUP_NEED_MORE
    stream = ffi.from_buffer("uint8_t[]", wire + following)
    assert lib.soup_parse(stream, len(wire + following), packet) == lib.SOUP_OK
    assert (packet.type, packet.size) == (letter, size)
    assert bytes(ffi.buffer(packet.payload, packet.length)) == payload


def test_soup_packet_without_a_type_is_no_packet() -> None:
    packet = ffi.new("soup_packet *")
    assert lib.soup_parse(b"\0\0S", 3, packet) == lib.SOUP_BAD_LENGTH


def test_soup_packet_longer_than_its_length_field_can_say_is_declined() -> None:
    target = ffi.new("uint8_t[70000]")
    assert lib.soup_encode(ord("S"), bytes(65534), 65534, target, 70000) == 65537
    assert lib.soup_encode(ord("S"), bytes(65535), 65535, target, 70000) == 0


names = st.text(wire_tables.ASCII, min_size=10, max_size=10).map(str.encode)


@given(names, names, names, st.integers(0, 2**64 - 1))
def test_soup_logins_round_trip(username: bytes, password: bytes, session: bytes, sequence: int) -> None:
    fields = {"username": username[:6], "password": password, "session": session, "sequence": sequence}
    login = ffi.new("soup_login *", fields)
    target = ffi.new("uint8_t[64]")
    size = lib.soup_login_encode(login, target, 64)
    digits = str(sequence).rjust(20).encode()
    assert bytes(target[0:size]) == b"\0\x2fL" + username[:6] + password + session + digits
    packet, back = ffi.new("soup_packet *"), ffi.new("soup_login *")
    assert lib.soup_parse(target, size, packet) == lib.SOUP_OK
    assert lib.soup_login_decode(packet, back) == lib.SOUP_OK
    assert bytes(ffi.buffer(back)) == bytes(ffi.buffer(login))

    size = lib.soup_accept_encode(session, sequence, target, 64)
    assert bytes(target[0:size]) == b"\0\x1fA" + session + digits
    found_session, found_sequence = ffi.new("char[10]"), ffi.new("uint64_t *")
    assert lib.soup_parse(target, size, packet) == lib.SOUP_OK
    assert lib.soup_accept_decode(packet, found_session, found_sequence) == lib.SOUP_OK
    assert (bytes(ffi.buffer(found_session)), found_sequence[0]) == (session, sequence)
    assert lib.soup_login_decode(packet, back) == lib.SOUP_BAD_FIELD
