"""Each fault of the simulator does what it says, as often as it says, and again with the same seed."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ffi import ffi, lib
from hotpath.errors import ConfigError
from hotpath.venues import SimulatorConfig, load_simulator_config
from hotpath.venues.config import check_simulator_config
from hotpath.venues.fault_config import FaultsConfig
from hotpath.venues.faults import Faults, Injector
from hotpath.venues.faulty_desk import CODES_42, CODES_50
from hotpath.venues.faulty_sockets import FaultyConnection, FaultyLine, FaultyRequests, corrupted, diverged, misanswered

DRAWS = 20_000
PACKETS = 400


def faults_of(seed: int = 1, **faults: Any) -> Faults:
    """The faults of a simulator so configured."""
    return Faults(SimulatorConfig(seed=seed, faults=msgspec.convert(faults, FaultsConfig)))


def decisions(injector: Injector) -> list[bool]:
    return [injector.strikes() for _ in range(DRAWS)]


# ---- when ---------------------------------------------------------------------------------------------------


def test_one_seed_makes_the_same_decisions_whatever_else_is_configured() -> None:
    first = decisions(faults_of(gap={"probability": 0.1}).injectors["gap.a"])
    beside = faults_of(gap={"probability": 0.1}, duplicate={"probability": 0.5}, reject={"probability": 0.5})
    decisions(beside.injectors["reject"])
    assert decisions(beside.injectors["gap.a"]) == first
    assert decisions(faults_of(gap={"probability": 0.1}).injectors["gap.b"]) != first
    assert decisions(faults_of(seed=2, gap={"probability": 0.1}).injectors["gap.a"]) != first


@pytest.mark.parametrize("probability", [0.0, 0.01, 0.3, 1.0])
def test_a_fault_strikes_as_often_as_its_probability_says(probability: float) -> None:
    injector = faults_of(reject={"probability": probability}).injectors["reject"]
    struck = sum(decisions(injector))
    spread = 4 * (DRAWS * probability * (1 - probability)) ** 0.5
    assert abs(struck - DRAWS * probability) <= spread
    assert (injector.injected, injector.opportunities) == (struck, DRAWS)


def test_a_schedule_strikes_at_the_next_opportunity_and_a_bound_ends_it() -> None:
    now_ms = 0.0
    config = msgspec.convert({"times_ms": [10, 20, 20], "count_max": 2}, FaultsConfig().reject.__class__)
    injector = Injector("reject", config, seed=1, elapsed_ms=lambda: now_ms)
    assert not injector.strikes()
    now_ms = 30.0
    assert [injector.strikes() for _ in range(4)] == [True, True, False, False]


def test_a_calm_fault_strikes_no_more() -> None:
    faults = faults_of(halt={"probability": 1.0})
    assert faults.injectors["halt"].strikes()
    faults.calm()
    assert not faults.injectors["halt"].strikes()
    assert faults.counts() == {"halt": 1}


def test_what_is_held_back_happens_in_the_order_in_which_it_is_due() -> None:
    faults, done = faults_of(), []
    for delay_ms in (30, 10, 20, 10):
        faults.after(delay_ms, lambda delay_ms=delay_ms: done.append(delay_ms))  # type: ignore[misc]
    faults.finish()
    assert done == [10, 10, 20, 30]


# ---- what is not configured ------------------------------------------------------------------------------------


def test_a_venue_without_faults_has_plain_sockets() -> None:
    faults = faults_of(halt={"probability": 1.0})
    with socket.socket() as plain:
        assert faults.line(plain, index=0) is faults.requests(plain) is faults.connection(plain) is plain
    one_line = faults_of(gap={"probability": 1.0, "line": "b"})
    with socket.socket() as plain:
        assert one_line.line(plain, index=0) is plain
        assert isinstance(one_line.line(plain, index=1), FaultyLine)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[faults.gaps]\nprobability = 0.1", "gaps"),
        ("[faults.gap]\nprobability = 2.0", "faults.gap.probability"),
        ('[faults.late_report]\nkinds = "AZ"', "faults.late_report.kinds"),
        ("[faults.divergence]\nprobability = 0.1", "faults.divergence: needs a second line"),
        ('market = "recording"\nrecording = "x"\n[faults.burst]\nprobability = 0.1', "faults.burst: a recorded"),
    ],
)
def test_a_bad_fault_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "venue.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_simulator_config(path)


def test_faults_are_off_until_asked_for() -> None:
    config = SimulatorConfig()
    check_simulator_config(config)
    assert not any(fault.active for fault in msgspec.structs.astuple(config.faults))
    assert Faults(config).counts() == {}


# ---- the feed ---------------------------------------------------------------------------------------------------


def packet(number: int) -> bytes:
    """A packet of one message that says its own number."""
    return b"SIM0000001" + struct.pack(">QHHI", number, 1, 4, number)


class Wire:
    """A faulty socket that sends to a plain one."""

    def __init__(self, make: Callable[[Faults, socket.socket], Any], **faults: Any) -> None:
        self.faults = faults_of(**faults)
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.receiver.bind(("127.0.0.1", 0))
        self.receiver.setblocking(False)
        self.sender = make(self.faults, socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def send(self, count: int = PACKETS) -> list[bytes]:
        """Send packets 1 to `count`; what arrives, with all that was held back."""
        arrived: list[bytes] = []
        for number in range(1, count + 1):
            assert self.sender.sendto(packet(number), self.receiver.getsockname()) == len(packet(number))
            arrived += self._read()
        self.faults.finish()
        return arrived + self._read()

    def _read(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.receiver.recv(2048))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


@pytest.fixture
def wires() -> Iterator[Callable[..., Wire]]:
    made: list[Wire] = []

    def make(kind: str = "line", **faults: Any) -> Wire:
        makers: dict[str, Callable[[Faults, socket.socket], Any]] = {
            "line": lambda faults, plain: faults.line(plain, index=0),
            "requests": lambda faults, plain: faults.requests(plain),
        }
        made.append(Wire(makers[kind], **faults))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


SENT = [packet(number) for number in range(1, PACKETS + 1)]


def test_a_gap_loses_runs_of_packets(wires: Callable[..., Wire]) -> None:
    wire = wires(gap={"probability": 0.05, "packets_max": 3})
    arrived = wire.send()
    gaps = wire.faults.counts()["gap"]
    assert 0 < gaps <= PACKETS - len(arrived) <= 3 * gaps
    assert arrived == [p for p in SENT if p in arrived]


def test_a_duplicate_comes_twice(wires: Callable[..., Wire]) -> None:
    wire = wires(duplicate={"probability": 0.1})
    arrived = wire.send()
    assert len(arrived) == PACKETS + wire.faults.counts()["duplicate"] > PACKETS
    assert list(dict.fromkeys(arrived)) == SENT


def test_a_reordered_packet_is_overtaken_by_a_few(wires: Callable[..., Wire]) -> None:
    wire = wires(reorder={"probability": 0.1, "packets_max": 2})
    arrived = wire.send()
    assert sorted(arrived) == SENT != arrived
    assert wire.faults.counts()["reorder"] > 0
    assert all(abs(arrived.index(p) - i) <= 10 for i, p in enumerate(SENT))


def test_a_line_that_stands_still_catches_up_in_order(wires: Callable[..., Wire]) -> None:
    wire = wires(delay={"probability": 0.1, "delay_ms": 1000, "count_max": 1})
    assert wire.send() == SENT
    assert wire.faults.counts()["delay"] == 1


def test_a_silent_line_loses_all_that_it_was_given(wires: Callable[..., Wire]) -> None:
    wire = wires(silence={"probability": 0.02, "span_ms": 60_000})
    arrived = wire.send()
    assert wire.faults.counts()["silence"] == 1
    assert arrived == SENT[: len(arrived)] and len(arrived) < PACKETS


def sound(data: bytes) -> bool:
    """Whether a receiver of this session would take it for a packet."""
    header = ffi.new("mold_header *")
    whole = lib.mold_parse(data, len(data), header) == lib.MOLD_OK and lib.mold_check(data, len(data)) == lib.MOLD_OK
    return whole and data[:10] == b"SIM0000001"


def test_a_corrupt_packet_can_be_known_for_one() -> None:
    draw = random.Random(1)
    assert sound(packet(7))
    spoilt = [corrupted(packet(7), draw) for _ in range(500)]
    assert not any(sound(data) for data in spoilt)
    assert len(set(spoilt)) > 10


def test_a_divergent_packet_differs_in_one_byte_of_a_message() -> None:
    draw = random.Random(1)
    for _ in range(200):
        other = diverged(packet(7), draw)
        assert sound(other) and sum(a != b for a, b in zip(other, packet(7), strict=True)) == 1
        assert other[: lib.MOLD_HEADER_SIZE + 2] == packet(7)[: lib.MOLD_HEADER_SIZE + 2]


def test_a_wrong_answer_is_none_to_the_question() -> None:
    draw = random.Random(1)
    for _ in range(300):
        data = misanswered(packet(5000), draw)
        assert not sound(data) or data[10:18] == struct.pack(">Q", 4000)


def test_answers_are_lost_late_and_wrong(wires: Callable[..., Wire]) -> None:
    lost = wires("requests", answer_lost={"probability": 0.5})
    assert isinstance(lost.sender, FaultyRequests)
    assert len(lost.send()) == PACKETS - lost.faults.counts()["answer_lost"] < PACKETS
    late = wires("requests", answer_late={"probability": 0.5, "delay_ms": 5000})
    arrived = late.send()
    assert sorted(arrived) == SENT and arrived[-late.faults.counts()["answer_late"] :] != SENT[-1:]
    wrong = wires("requests", answer_wrong={"probability": 0.5})
    arrived = wrong.send()
    assert len([p for p in arrived if p not in SENT]) == wrong.faults.counts()["answer_wrong"]


# ---- the order session ---------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[socket.socket, socket.socket]


def flush(connection: Any, data: bytes) -> bytes:
    """As the session server does: what did not leave before the cut."""
    unsent, turns = bytearray(data), 0
    while unsent:
        try:
            del unsent[: connection.send(unsent)]
        except BlockingIOError:
            turns += 1
            assert turns < 10_000
        except OSError:
            break
    return bytes(unsent)


def test_a_connection_is_cut_after_the_byte_that_was_drawn(pair: Pair) -> None:
    ours, theirs = pair
    faults = faults_of(cut_out={"probability": 1.0, "bytes_max": 500})
    connection = faults.connection(ours)
    assert isinstance(connection, FaultyConnection)
    unsent = flush(connection, bytes(1000))
    left = len(theirs.recv(2000))
    assert 1 <= left == 1000 - len(unsent) <= 500
    assert faults.counts() == {"cut_out": 1}
    again = faults_of(cut_out={"probability": 1.0, "bytes_max": 500}).connection(ours)
    assert len(flush(again, bytes(1000))) == len(unsent), "one seed, one byte"


def test_a_connection_is_cut_while_it_reads(pair: Pair) -> None:
    ours, theirs = pair
    faults = faults_of(cut_in={"probability": 1.0, "bytes_max": 100})
    connection = faults.connection(ours)
    theirs.send(bytes(1000))
    read = 0
    with pytest.raises(ConnectionResetError):
        while True:
            read += len(connection.recv(4096))
    assert 1 <= read <= 100 and faults.counts() == {"cut_in": 1}


def test_a_trickling_write_leaves_byte_by_byte(pair: Pair) -> None:
    ours, theirs = pair
    connection = faults_of(trickle={"probability": 1.0}).connection(ours)
    sizes, unsent = [], bytearray(b"SEQUENCED")
    while unsent:
        try:
            sent = connection.send(unsent)
        except BlockingIOError:
            continue
        sizes.append(sent)
        del unsent[:sent]
    assert sizes == [1] * 9 and theirs.recv(100) == b"SEQUENCED"


def test_a_venue_that_does_not_write_or_read_does_later(pair: Pair) -> None:
    ours, theirs = pair
    faults = faults_of(
        mute={"probability": 1.0, "span_ms": 2, "count_max": 1},
        stall={"probability": 1.0, "span_ms": 2, "count_max": 1},
    )
    connection = faults.connection(ours)
    with pytest.raises(BlockingIOError):
        connection.send(b"now")
    assert flush(connection, b"now") == b"" and theirs.recv(10) == b"now"
    theirs.send(b"read me")
    data = b""
    while not data:
        try:
            data = connection.recv(10)
        except BlockingIOError:
            continue
    assert data == b"read me" and faults.counts() == {"mute": 1, "stall": 1}


def test_every_code_of_a_protocol_is_there_once() -> None:
    assert tuple(range(1, 0x34)) == CODES_50
    assert len(set(CODES_42)) == len(CODES_42) and set(CODES_42) <= set(b"".join(bytes([c]) for c in range(65, 123)))
