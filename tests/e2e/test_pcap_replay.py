"""A capture replayed: the same orders as from the messages themselves, however the packets came and were written."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from ffi import lib
from hotpath import captures
from hotpath.cli import app
from hotpath.config import FeedConfig, config_toml
from hotpath.errors import CaptureError
from hotpath.flows import feed_packets, flow_messages
from hotpath.inspect import inspect_capture
from hotpath.recordings import replay_recording
from hotpath.replay import ReplayOptions, replay_file
from hotpath.report import RunReport
from hotpath.venues.config import SimulatorConfig
from hotpath.venues.simulator import Simulator
from tests.packets import UDP, ethernet, ipv4, mold_packet, pcap, udp, udp_frame
from tests.support.busy import busy_config
from tests.support.engines import EngineProcess, until

RECORD = struct.Struct("<IIII")


@dataclasses.dataclass(frozen=True)
class Day:
    """What one simulated session left: its wire, its messages, and the orders that a replay of them makes."""

    pcap: Path
    messages: Path
    config: Path
    report: RunReport

    def replay(self, file: Path, *, topology: str = "fused", ports: tuple[int, ...] = ()) -> RunReport:
        """A file with the same configuration."""
        return replay_file(file, ReplayOptions(config_path=self.config, topology=topology, ports=ports))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("day")
    config = SimulatorConfig(
        seed=5,
        instruments=4,
        intents_per_second=5000,
        live_orders=300,
        duration_s=2.0,
        linger_ms=0,
        feed_b_port=0,
        packet_bytes_max=700,
        pcap_path=str(folder / "wire.pcap"),
        feed_path=str(folder / "messages.itch"),
    )
    simulator = Simulator(config)
    try:
        simulator.run()
    finally:
        simulator.close()
    (folder / "busy.toml").write_text(config_toml(busy_config()))
    options = ReplayOptions(config_path=folder / "busy.toml", topology="fused")
    report = replay_file(folder / "messages.itch", options)
    assert report.count("gateway", "frames_out") > 30
    return Day(folder / "wire.pcap", folder / "messages.itch", folder / "busy.toml", report)


def records(path: Path) -> list[tuple[int, int, bytes]]:
    """Seconds, nanoseconds and frame of every record of a pcap file that the simulator wrote."""
    data, position, found = path.read_bytes(), 24, []
    while position < len(data):
        seconds, fraction, captured, _ = RECORD.unpack_from(data, position)
        position += RECORD.size
        found.append((seconds, fraction, data[position : position + captured]))
        position += captured
    return found


def written(path: Path, frames: list[tuple[int, int, bytes]], *, link: int = 101, nanosecond: bool = True) -> Path:
    """A pcap file of such records."""
    magic = 0xA1B23C4D if nanosecond else 0xA1B2C3D4
    parts = [struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    for seconds, fraction, frame in frames:
        unit = fraction if nanosecond else fraction // 1000
        parts.append(RECORD.pack(seconds, unit, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(parts))
    return path


def target_port(frame: bytes) -> int:
    return int.from_bytes(frame[22:24], "big")


def same(report: RunReport, day: Day) -> bool:
    return report.order_log_sha256 == day.report.order_log_sha256


def test_capture_of_a_session_makes_the_orders_of_its_messages(day: Day) -> None:
    report = day.replay(day.pcap)
    assert same(report, day)
    assert report.count("feed", "messages") == day.report.count("feed", "messages")
    assert report.count("feed", "a_packets") == report.count("feed", "b_packets") > 50
    assert report.count("feed", "gaps") == report.count("feed", "stale_instruments") == 0
    assert same(day.replay(day.pcap), day)


def test_four_processes_make_the_same_orders(day: Day, tmp_path: Path) -> None:
    whole = records(day.pcap)
    morning = written(tmp_path / "morning.pcap", whole[: len(whole) // 3])
    fused, split = day.replay(morning), day.replay(morning, topology="split")
    assert fused.count("gateway", "frames_out") > 5
    assert split.order_log_sha256 == fused.order_log_sha256 != day.report.order_log_sha256


def test_every_byte_of_the_simulators_capture_is_understood(day: Day) -> None:
    found = inspect_capture(day.pcap)
    assert found.undecoded_bytes == 0 and found.malformed == 0 and found.sequence_gaps == []
    assert found.messages == 2 * day.report.count("feed", "messages"), "two lines"


def ether(tags: tuple[int, ...]) -> Callable[[bytes], bytes]:
    return lambda frame: ethernet(frame, tags=tags)


@pytest.mark.parametrize(
    ("link", "wrap"),
    [
        (1, ether(())),
        (1, ether((0x8100,))),
        (1, ether((0x88A8, 0x8100))),
        (113, lambda frame: bytes(14) + b"\x08\x00" + frame),
        (276, lambda frame: b"\x08\x00" + bytes(18) + frame),
        (0, lambda frame: b"\x02\0\0\0" + frame),
    ],
    ids=["ethernet", "one tag", "two tags", "cooked", "cooked 2", "loopback"],
)
@pytest.mark.parametrize("nanosecond", [True, False])
def test_frames_of_every_kind_hold_the_same(
    day: Day, tmp_path: Path, link: int, wrap: Callable[[bytes], bytes], nanosecond: bool
) -> None:
    frames = [(seconds, fraction, wrap(frame)) for seconds, fraction, frame in records(day.pcap)]
    file = written(tmp_path / "frames.pcap", frames, link=link, nanosecond=nanosecond)
    with captures.MappedFile(file) as mapped, captures.MappedFile(day.pcap) as plain:
        wrapped, bare = feed_packets(mapped), feed_packets(plain)
        assert list(flow_messages(mapped, wrapped.packets)) == list(flow_messages(plain, bare.packets))
        difference = np.abs(wrapped.packets["time_ns"].astype(np.int64) - bare.packets["time_ns"].astype(np.int64))
        assert difference.max() <= (0 if nanosecond else 999) and wrapped.lines == bare.lines == 2


def test_what_one_line_lost_the_other_brings(day: Day, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    whole = records(day.pcap)
    ports = sorted({target_port(frame) for _, _, frame in whole})
    lost = rng.random(len(whole)) < 0.2
    kept, last = [], dict.fromkeys(ports, False)
    for record, gone in zip(whole, lost, strict=True):
        port = target_port(record[2])
        drop = bool(gone) and port == ports[0]  # only of one line
        last[port] = drop
        if not drop:
            kept.append(record)
    assert len(kept) < len(whole) - 20
    report = day.replay(written(tmp_path / "lossy.pcap", kept), ports=tuple(ports))
    assert same(report, day) and report.count("feed", "gaps_lost") == 0


def test_packet_lost_on_both_lines_is_a_gap_that_nothing_fills(day: Day, tmp_path: Path) -> None:
    whole = records(day.pcap)
    body = whole[60][2][28:]
    kept = [record for record in whole if record[2][28:] != body]
    assert len(whole) - len(kept) == 2
    first = day.replay(written(tmp_path / "gap.pcap", kept))
    assert first.count("feed", "gaps_lost") == 1 and first.count("feed", "stale") == 1
    assert first.order_log_sha256 == day.replay(tmp_path / "gap.pcap").order_log_sha256
    used, unused = first.count("feed", "used"), sum(first.stat.unused.values())
    assert first.count("feed", "messages") == used + unused


def test_recorded_run_over_a_capture_decides_the_same_again(day: Day, tmp_path: Path, engine: str) -> None:
    """Its states are dated by the front end: session, gap and loss, of a day that is not the clock's."""
    whole = records(day.pcap)
    body = whole[-60][2][28:]
    lossy = written(tmp_path / "gap.pcap", [record for record in whole if record[2][28:] != body])
    config = busy_config(engine={"name": engine, "topology": "fused", "state_dir": str(tmp_path)})
    config = msgspec.structs.replace(config, feed=FeedConfig(kind="pcap", path=str(lossy), pace="flat"))
    process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
    try:
        until(lambda: process.count("feed", "gaps_lost") == 1, "the loss")
        process.signal()
        assert process.wait() == 0, process.errors()
    finally:
        process.close()
    replay = replay_recording(tmp_path / "recording")
    assert replay.same, replay.mismatches
    assert replay.events["norm"] > 1000


def test_real_packets_of_the_exchange_are_replayed(shared_data: Path) -> None:
    folder = shared_data / "omi_pcaps" / "Nasdaq" / "Nasdaq.Equities.TotalView.Itch.v5.0"
    report = replay_file(folder / "AddOrderNoMpidAttributionMessage.pcap", ReplayOptions())
    assert report.count("feed", "book_updates") == report.count("feed", "used") == 1
    many = replay_file(folder / "Multiple.Packets.pcap", ReplayOptions())
    assert many.count("feed", "packets") == 2 and many.count("feed", "packets_malformed") == 0
    assert many.count("feed", "messages_in") == 39


def test_capture_of_two_feeds_asks_which(tmp_path: Path) -> None:
    def frame(port: int, session: bytes) -> bytes:
        return ethernet(ipv4(UDP, udp(mold_packet([b"S" + bytes(11)], session=session), target_port=port)))

    path = tmp_path / "two.pcap"
    path.write_bytes(pcap([frame(1000, b"FEED000001"), frame(2000, b"FEED000002"), frame(1000, b"FEED000001")]))
    with captures.MappedFile(path) as file:
        with pytest.raises(CaptureError, match="several feeds") as error:
            feed_packets(file)
        assert "--port 1000" in error.value.next_step
        assert len(feed_packets(file, (2000,)).packets) == 1
        with pytest.raises(CaptureError, match="to port 3000"):
            feed_packets(file, (3000,))


def test_answers_of_a_retransmission_server_are_told_from_a_line(tmp_path: Path) -> None:
    def frame(port: int, sequence: int) -> bytes:
        return ethernet(ipv4(UDP, udp(mold_packet([b"S" + bytes(11)], sequence=sequence), target_port=port)))

    path = tmp_path / "answers.pcap"
    path.write_bytes(pcap([frame(1000, 1), frame(1000, 3), frame(5555, 2), *(frame(1000, n) for n in range(4, 9))]))
    with captures.MappedFile(path) as file:
        chosen = feed_packets(file)
    assert chosen.lines == 1
    assert chosen.sides.tolist() == [lib.LINE_A, lib.LINE_A, lib.LINE_ANSWER] + [lib.LINE_A] * 5


def test_capture_without_a_feed_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "other.pcap"
    path.write_bytes(pcap([udp_frame(b"hello")]))
    result = CliRunner().invoke(app, ["replay", str(path)])
    assert isinstance(result.exception, CaptureError) and "no MoldUDP64 packet" in str(result.exception)


def test_verb_takes_the_port(day: Day) -> None:
    ports = sorted({target_port(frame) for _, _, frame in records(day.pcap)})
    result = CliRunner().invoke(
        app,
        [
            "replay",
            str(day.pcap),
            "--config",
            str(day.config),
            "--topology",
            "fused",
            "--port",
            str(ports[0]),
            "--json",
        ],
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.output)
    assert report["order_log_sha256"] == day.report.order_log_sha256
    assert report["stat"]["stages"]["feed"]["counters"]["b_packets"] == 0
