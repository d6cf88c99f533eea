"""The ingress kernel: what is taken, what is refused and why, and what the feed is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of, enum_names
from hotpath.config import SENDERS_MAX
from hotpath.examples.ingress import push_itch
from tests.support.feed_driver import DrivenFeed
from tests.support.ingress_driver import SILENCE_NS, DrivenIngress, norm_bytes, raw_payload
from tests.support.memory import Ring

REPOSITORY = Path(__file__).resolve().parents[2]
MIDNIGHT_NS = 1_580_360_400 * 10**9
A, B, C = b"A" * 36, b"B" * 19, b"C" * 36


@pytest.fixture
def ingress() -> DrivenIngress:
    made = DrivenIngress("a", "b")
    assert made.session() == "taken"
    assert made.events() == [("session", 1)]
    return made


# ---- one stream --------------------------------------------------------------------------------------


def test_messages_come_out_as_they_went_in(ingress: DrivenIngress) -> None:
    assert ingress.raw(A, B, sequence=1) == "taken" and ingress.next == 3
    first, second = ingress.ring.events(1)
    assert bytes(first["bytes"][: first["length"]]) == A and bytes(second["bytes"][: second["length"]]) == B
    assert first["total"] == 36 and first["header"]["ingress_time_ns"] == 1
    assert [int(event["header"]["flags"]) for event in (first, second)] == [0, lib.FLAG_PACKET_END]


def test_duplicates_are_dropped_and_their_tail_is_taken(ingress: DrivenIngress) -> None:
    ingress.raw(A, B, sequence=1)
    assert ingress.raw(A, B, sequence=1) == "duplicate"
    assert ingress.raw(B, C, sequence=2) == "taken"
    assert ingress.events() == [("message", 1), ("message", 2), ("message", 3)]
    assert ingress.count(lib.INGRESS_DUPLICATES) == 3 and ingress.count(lib.INGRESS_MESSAGES) == 3


def test_missing_message_makes_books_stale_until_a_new_session(ingress: DrivenIngress) -> None:
    ingress.raw(A, sequence=1)
    assert ingress.raw(B, sequence=4) == "gap" and ingress.next == 5
    assert ingress.raw(C, sequence=5) == "gap", "the sender is told until it begins anew"
    assert ingress.raw(C, sequence=9) == "gap"
    assert ingress.session(session=8) == "taken"
    assert ingress.raw(A, sequence=1, session=8) == "taken"
    assert ingress.events() == [
        ("message", 1), ("gap", 2), ("message", 4), ("message", 5), ("message", 9), ("session", 1), ("message", 1)
    ]  # fmt: skip
    assert ingress.count(lib.INGRESS_GAPS) == 2 and ingress.count(lib.INGRESS_GAP_MESSAGES) == 5


def test_heartbeat_reveals_a_gap_at_the_end_of_a_burst(ingress: DrivenIngress) -> None:
    assert ingress.frame(lib.INGRESS_HEARTBEAT, sequence=1) == "taken"
    assert ingress.frame(lib.INGRESS_HEARTBEAT, sequence=3) == "gap"
    assert ingress.events() == [("gap", 2)]


def test_snapshot_is_stale_until_it_is_whole() -> None:
    ingress = DrivenIngress("a")
    ingress.session(snapshot=3)
    ingress.raw(A, B, sequence=1)
    ingress.raw(A, B, C, sequence=3)
    assert [kind for kind, _ in ingress.events()] == [
        "session", "gap", "message", "message", "message", "gap_closed", "message", "message"
    ]  # fmt: skip


def test_half_a_snapshot_is_no_book() -> None:
    ingress = DrivenIngress("a")
    ingress.session(snapshot=3)
    ingress.raw(A, sequence=1)
    assert ingress.frame(lib.INGRESS_END, sequence=2) == "gap"
    assert [kind for kind, _ in ingress.events()] == ["session", "gap", "message", "session_end"]
    assert ingress.count(lib.INGRESS_STALE) == 1


def test_silence_is_told_once_and_ends_with_the_next_word(ingress: DrivenIngress) -> None:
    ingress.tick(later_ns=SILENCE_NS)
    ingress.tick(later_ns=SILENCE_NS)
    assert ingress.events() == [("gap", 0)]
    assert ingress.frame(lib.INGRESS_HEARTBEAT) == "taken"
    ingress.tick()
    assert ingress.events() == [("gap_closed", 0)]
    assert ingress.count(lib.INGRESS_SILENCES) == 1


def test_silence_after_the_end_of_a_session_is_no_fault(ingress: DrivenIngress) -> None:
    assert ingress.frame(lib.INGRESS_END) == "taken"
    assert ingress.frame(lib.INGRESS_END) == "duplicate"
    assert ingress.raw(A, sequence=1) == "session_wanted"
    ingress.tick(later_ns=10 * SILENCE_NS)
    assert ingress.events() == [("session_end", 1)]


# ---- several ---------------------------------------------------------------------------------------


def test_second_sender_joins_without_clearing_the_books_of_the_first(ingress: DrivenIngress) -> None:
    ingress.raw(A, sequence=1)
    assert ingress.session("b", session=3, snapshot=1) == "taken"
    assert ingress.raw(B, sequence=1, sender="b", session=3) == "taken"
    assert ingress.raw(C, sequence=2) == "taken"
    assert [kind for kind, _ in ingress.events()] == ["message", "gap", "message", "gap_closed", "message"]


def test_who_begins_anew_clears_the_books_and_the_others_must_too(ingress: DrivenIngress) -> None:
    ingress.session("b", session=3)
    assert ingress.session("a", session=8) == "taken"
    assert ingress.raw(B, sequence=1, sender="b", session=3) == "session_wanted"
    assert ingress.session("b", session=4) == "taken"
    assert ingress.raw(B, sequence=1, sender="b", session=4) == "taken"
    assert ingress.events() == [("session", 1), ("message", 1)]


def test_session_of_another_does_not_hide_that_one_is_silent(ingress: DrivenIngress) -> None:
    ingress.session("b", session=3)
    ingress.now_ns += SILENCE_NS
    ingress.raw(A, sequence=1)
    ingress.tick()
    assert [kind for kind, _ in ingress.events()] == ["message", "gap"]
    ingress.raw(B, sequence=2)
    assert [kind for kind, _ in ingress.events()] == ["message"], "b is silent still"
    ingress.frame(lib.INGRESS_HEARTBEAT, sender="b", session=3)
    assert [kind for kind, _ in ingress.events()] == ["gap_closed"]


def test_older_session_is_superseded(ingress: DrivenIngress) -> None:
    ingress.session(session=8)
    assert ingress.raw(A, sequence=1, session=7) == "superseded"
    assert ingress.session(session=7) == "superseded"
    assert ingress.session(session=8) == "duplicate"
    assert ingress.raw(A, sequence=1, session=9) == "session_wanted"


def test_successor_of_a_dead_ingress_believes_no_book(ingress: DrivenIngress) -> None:
    ingress.raw(A, sequence=1)
    ingress.events()
    lib.ingress_init(ingress.c)
    ingress.tick()
    assert ingress.events() == [("gap", 0)]
    assert ingress.raw(B, sequence=2) == "session_wanted"
    assert ingress.session(session=8) == "taken"
    assert ingress.events() == [("session", 1)]


# ---- room --------------------------------------------------------------------------------------------


def test_full_ring_takes_a_frame_up_where_it_was_left_off() -> None:
    ingress = DrivenIngress("a", capacity=64)
    ingress.session()
    messages = [bytes([65 + index % 26]) * 20 for index in range(200)]
    seen: list[tuple[str, int]] = []
    statuses: list[str] = []
    while not statuses or statuses[-1] == "full":
        statuses.append(ingress.raw(*messages, sequence=1))
        seen += ingress.events()
    assert statuses[-1] == "taken" and len(statuses) > 3 and ingress.next == 201
    assert seen == [("session", 1)] + [("message", number) for number in range(1, 201)]
    assert ingress.count(lib.INGRESS_FULL_WAITS) == 1 and ingress.count(lib.INGRESS_DUPLICATES) == 0
    assert ingress.count(lib.INGRESS_MESSAGES) == 200


# ---- refusals --------------------------------------------------------------------------------------


def head(**changes: object) -> bytes:
    fields = {
        "magic": b"HPIN", "version": 1, "kind": lib.INGRESS_RAW, "reserved0": 0, "sender": b"a", "session": 7,
        "sequence": 1, "count": 1, "size": 38, **changes,
    }  # fmt: skip
    return push_itch.FRAME.pack(*fields.values())


BODY = raw_payload(A)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "bad_size"),
        (b"\0", "bad_size"),
        (head()[:-1], "bad_size"),
        (head(magic=b"HPAP") + BODY, "bad_magic"),
        (head(version=2) + BODY, "bad_version"),
        (head(kind=0) + BODY, "bad_kind"),
        (head(kind=6) + BODY, "bad_kind"),
        (head(reserved0=1) + BODY, "bad_reserved"),
        (head()[:-1] + b"\1" + BODY, "bad_reserved"),
        (head(sender=b"c") + BODY, "unknown_sender"),
        (head(sender=b"a\0b") + BODY, "unknown_sender"),
        (head(session=0) + BODY, "bad_sequence"),
        (head(sequence=0) + BODY, "bad_sequence"),
        (head(sequence=2**63) + BODY, "bad_sequence"),
        (head() + BODY[:-1], "bad_size"),
        (head() + BODY + b"\0", "bad_size"),
        (head(count=0) + BODY, "bad_count"),
        (head(count=2) + BODY, "bad_count"),
        (head(count=4097) + BODY, "bad_count"),
        (head(size=2) + b"\0\0", "bad_message"),
        (head(size=67) + b"\0\x41" + bytes(65), "bad_message"),
        (head(size=10) + b"\0\x09" + bytes(8), "bad_size"),
        (head(count=1, size=len(BODY) * 2) + BODY * 2, "bad_size"),
        (head(kind=lib.INGRESS_NORM, size=63) + bytes(63), "bad_size"),
        (head(kind=lib.INGRESS_HEARTBEAT, count=1, size=0), "bad_count"),
        (head(kind=lib.INGRESS_END, count=0, size=1) + b"\0", "bad_size"),
        (head(session=8) + BODY, "session_wanted"),
        (head(session=6) + BODY, "superseded"),
        (head(size=lib.INGRESS_FRAME_MAX) + bytes(lib.INGRESS_FRAME_MAX), "bad_size"),
    ],
)
def test_frame_that_cannot_be_is_refused_whole_and_counted(frame: bytes, reason: str, ingress: DrivenIngress) -> None:
    assert ingress.offer(frame) == reason
    assert ingress.events() == []
    status = next(value for value, name in enum_names("ingress_status").items() if name == f"INGRESS_{reason.upper()}")
    assert ingress.count(lib.INGRESS_REFUSALS + status) == 1 and ingress.count(lib.INGRESS_FRAMES) == 2
    assert ingress.raw(A, sequence=1) == "taken", "what was refused used up no number"


# ---- canonical events --------------------------------------------------------------------------------


def normalised(ingress: DrivenIngress, event: bytes, *, midnight_ns: int = 0) -> tuple[int, dict[str, int]]:
    ingress.events()
    before = ingress.ring.published
    assert ingress.frame(lib.INGRESS_NORM, event, sequence=ingress.next, count=1) == "taken"
    raw = ingress.ring.events(before)
    target = ffi.new("norm_event *")
    status = lib.ingress_normalise(ffi.cast("raw_event *", ffi.from_buffer(raw)), 1, midnight_ns, target)
    header = target.header
    said = {"type": header.type, "instrument": header.instrument, "flags": header.flags}
    return status, {**said, "price": target.price_ticks, "quantity": target.quantity_lots, "order": target.order_ref}


@pytest.fixture
def norms(ingress: DrivenIngress) -> DrivenIngress:
    ingress.frame(lib.INGRESS_HEARTBEAT)
    return ingress


def test_canonical_event_becomes_what_it_says(norms: DrivenIngress) -> None:
    event = norm_bytes(lib.NORM_ADD, flags=lib.FLAG_SELL, order_ref=9, price_ticks=1_000_000, quantity_lots=5)
    status, said = normalised(norms, event)
    assert status == lib.ITCH_OK
    assert said == {
        "type": lib.NORM_ADD, "instrument": 0, "flags": lib.FLAG_SELL, "price": 1_000_000, "quantity": 5, "order": 9
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (norm_bytes(lib.NORM_GAP, symbol=b""), lib.ITCH_UNKNOWN_TYPE),
        (norm_bytes(lib.NORM_CLEAR, symbol=b""), lib.ITCH_UNKNOWN_TYPE),
        (norm_bytes(lib.SIGNAL_NEW), lib.ITCH_UNKNOWN_TYPE),
        (norm_bytes(0), lib.ITCH_UNKNOWN_TYPE),
        (norm_bytes(lib.NORM_ADD, symbol=b"MSFT"), lib.ITCH_UNKNOWN_INSTRUMENT),
        (norm_bytes(lib.NORM_ADD, symbol=b""), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_ADD, price_ticks=-1), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_ADD, price_ticks=2**32), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_ADD, quantity_lots=-(2**63)), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_REPLACE, quantity_lots=2**32), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_ADD, flags=lib.FLAG_STALE), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_ADD, flags=lib.FLAG_OWN), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_STATUS, order_ref=5), lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_ADD)[:-1] + b"\1", lib.ITCH_BAD_FIELD),
        (norm_bytes(lib.NORM_SYSTEM, symbol=b"", order_ref=ord("Q")), lib.ITCH_OK),
        (norm_bytes(lib.NORM_CROSS, quantity_lots=2**40), lib.ITCH_OK),
    ],
)
def test_canonical_event_is_held_to_what_a_venue_can_say(event: bytes, status: int, norms: DrivenIngress) -> None:
    assert normalised(norms, event)[0] == status


@pytest.mark.parametrize(
    ("origin_ns", "status"),
    [
        (MIDNIGHT_NS - 1, lib.ITCH_BAD_FIELD),
        (MIDNIGHT_NS, lib.ITCH_OK),
        (MIDNIGHT_NS + 2**48 - 1, lib.ITCH_OK),
        (MIDNIGHT_NS + 2**48, lib.ITCH_BAD_FIELD),
        (0, lib.ITCH_BAD_FIELD),
        (2**64 - 1, lib.ITCH_BAD_FIELD),
    ],
)
def test_time_of_a_canonical_event_is_of_the_day(origin_ns: int, status: int, norms: DrivenIngress) -> None:
    event = norm_bytes(lib.NORM_ADD, order_ref=1, price_ticks=1, quantity_lots=1, origin=origin_ns)
    assert normalised(norms, event, midnight_ns=MIDNIGHT_NS)[0] == status


def test_time_that_cannot_be_moves_no_clock(norms: DrivenIngress) -> None:
    source = ffi.new("ingress_source *", {"midnight_ns": MIDNIGHT_NS, "batch_max": 64})
    norms.ring.attach_reader(ffi.addressof(source, "ring"), "feed")
    raw, writer = Ring("raw_event", "feed", capacity=64), ffi.new("ring_writer *")
    raw.attach_writer(writer)
    for origin_ns in (MIDNIGHT_NS + 5, 2**64 - 1, MIDNIGHT_NS - 1):
        event = norm_bytes(lib.NORM_ADD, order_ref=1, origin=origin_ns)
        assert norms.frame(lib.INGRESS_NORM, event, sequence=norms.next, count=1) == "taken"
    lib.ingress_poll(source, writer, 77, 1)
    assert source.origin_time_ns == MIDNIGHT_NS + 5
    assert raw.events()["header"]["origin_time_ns"][-3:].tolist() == [MIDNIGHT_NS + 5] * 3


def test_feed_takes_canonical_events_into_its_book_and_doubts_what_it_cannot_read() -> None:
    feed = DrivenFeed(batch_max=16)

    def push(event: bytes, *, instrument: int = 0) -> None:
        slot = ffi.cast("raw_event *", lib.ring_claim(ffi.addressof(feed.feed, "raw")))
        slot.header.type, slot.header.instrument = lib.RAW_NORM, instrument
        slot.header.flags = lib.FLAG_PACKET_END
        slot.length = slot.total = 64
        slot.offset = 0
        ffi.memmove(slot.bytes, event, 64)
        lib.ring_commit(ffi.addressof(feed.feed, "raw"))
        assert feed.turn() == 1

    push(norm_bytes(lib.NORM_ADD, order_ref=1, price_ticks=100, quantity_lots=7))
    push(norm_bytes(lib.NORM_ADD, order_ref=2, price_ticks=120, quantity_lots=9, flags=lib.FLAG_SELL))
    _, both = feed.norm.events(0)
    assert (int(both["bid_price_ticks"]), int(both["ask_quantity_lots"])) == (100, 9)
    push(norm_bytes(lib.NORM_DELETE, order_ref=1))
    assert int(feed.norm.events(2)[0]["bid_quantity_lots"]) == 0
    push(norm_bytes(lib.NORM_ADD, price_ticks=-1))
    gap = feed.norm.events(3)[0]
    assert int(gap["header"]["type"]) == lib.NORM_GAP and gap["header"]["flags"] & lib.FLAG_STALE
    assert feed.counter(lib.FEED_BAD_MESSAGE) == 1 and feed.counter(lib.FEED_STALE_INSTRUMENTS) == 1
    push(norm_bytes(lib.NORM_ADD, symbol=b"MSFT"), instrument=lib.NO_INSTRUMENT)
    assert feed.counter(lib.FEED_UNKNOWN_INSTRUMENT) == 1 and feed.counter(lib.FEED_MESSAGES) == 5


# ---- the format is written once ----------------------------------------------------------------------


def test_documented_format_is_the_compiled_one() -> None:
    text = (REPOSITORY / "docs" / "ingress.md").read_text()
    for struct in ("ingress_frame", "ingress_norm", "ingress_answer"):
        table = text.split(f"`{struct}`")[1].split("\n\n")[1]
        rows = re.findall(r"^\| (\d+) \| (\S+) \| `(\w+)` \|", table, re.MULTILINE)
        fields = {name: int(offset) for offset, _, name in rows}
        dtype = dtype_of(struct)
        assert dtype.fields is not None
        assert fields == {name: field[1] for name, field in dtype.fields.items()}, struct
    for value, name in enum_names("ingress_status").items():
        if name not in ("INGRESS_STATUSES", "INGRESS_FULL"):
            assert f"| {value} | `{name}` |" in text
    assert push_itch.FRAME.size == push_itch.ANSWER.size == push_itch.NORM.size == 64
    assert SENDERS_MAX == lib.INGRESS_SENDERS_MAX
