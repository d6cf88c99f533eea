"""The tap of a whole engine: what it publishes is what passed through the rings, and what it lost it counts."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath.config import Config, TapConfig
from hotpath.endpoints import find_endpoint
from hotpath.event_view import Seen
from hotpath.recordings import Recording
from hotpath.segments import attach, list_segments, unlink_all
from hotpath.tap_reader import TAPPED, Loss, NewRun, TapReader
from hotpath.topology import side_segment
from tests.support.busy import busy_config, file_feed
from tests.support.engines import REPOSITORY, EngineProcess, until
from tests.support.synthetic import write_synthetic_day

MARGIN_NS = 300_000_000  # frames of one instant are several: at the end some may not have come
STAMP_BYTES = 8  # of a slot: on the disk they hold the record's own mark


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=200_000)


def tapped(day: Path, folder: Path, name: str, *, rate: int = 15_000, **tap: Any) -> Config:
    """An engine on paper with a tap, that reads a day at so many messages a second."""
    sections: dict[str, Any] = {
        "engine": {"name": name, "topology": "fused", "state_dir": str(folder)},
        "rings": {"norm": 4096},
    }
    return msgspec.structs.replace(
        busy_config(**sections),
        feed=file_feed(day, pace="rate", rate_per_second=rate),
        tap=TapConfig(enabled=True, endpoint=f"ipc://{folder.parent}/{name[-8:]}.tap", **tap),
    )


@contextmanager
def started(config: Config, folder: Path, *options: str) -> Iterator[EngineProcess]:
    process = EngineProcess(config, folder, *options)
    try:
        until(lambda: process.count("feed", "messages") > 0, "the feed's first message")
        yield process
    finally:
        process.close()


@pytest.fixture(scope="module")
def onlooked(day: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """One engine for those who only look on."""
    folder = tmp_path_factory.mktemp("onlooked")
    name = f"t{os.getpid()}-onlooked"
    with started(tapped(day, folder, name, rate=3000), folder, "--arm") as process:  # the day lasts for over a minute
        yield process
        process.process.kill()  # the supervisor; what it leaves is looked at, then removed
        process.process.wait()
        left = ("--ring", "exec", "--since", "1h", "--count", "1")
        until(lambda: tail(name, *left).stdout != "", "what the dead engine's rings hold")
    unlink_all(list_segments(name))


class Heard:
    """Everything that a reader has heard, by ring."""

    def __init__(self) -> None:
        self.events: dict[str, list[Seen]] = defaultdict(list)
        self.losses: list[Loss] = []
        self.runs: list[NewRun] = []

    def complete(self, ring: str) -> list[int]:
        """Sequences up to those that may not all have come yet."""
        events = self.events[ring]
        end = max((seen.time_ns for seen in events), default=0) - MARGIN_NS
        last = max((seen.sequence for seen in events if seen.time_ns < end), default=-1)
        return sorted(seen.sequence for seen in events if seen.sequence <= last)

    def listen(self, reader: TapReader, *, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for item in reader.read(timeout_ms=50):
                if isinstance(item, Seen):
                    self.events[item.ring].append(item)
                elif isinstance(item, Loss):
                    self.losses.append(item)
                else:
                    self.runs.append(item)


def finish(process: EngineProcess) -> None:
    process.signal()
    assert process.wait() == 0, process.errors()


def tap_counters(engine: str) -> dict[str, int]:
    page = attach(engine, side_segment("tap"), lib.SEGMENT_STAGE).view("stage_page")[0]
    numbers = {"events": lib.TAP_EVENTS, "lost": lib.TAP_LOST, "frames": lib.TAP_FRAMES}
    return {"pid": int(page["pid"]), **{name: int(page["counter"][number]) for name, number in numbers.items()}}


def test_tap_says_what_the_journal_wrote(day: Path, tmp_path: Path, engine: str) -> None:
    with started(tapped(day, tmp_path, engine), tmp_path, "--arm", "--record", str(tmp_path / "recording")) as running:
        said_is_written(running, tmp_path)


def said_is_written(running: EngineProcess, folder: Path) -> None:
    endpoint = find_endpoint(running.name, "tap")
    assert endpoint is not None
    socket = Path(endpoint.removeprefix("ipc://"))
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    heard = Heard()
    with TapReader(endpoint) as reader:
        heard.listen(reader, seconds=1.0)
        assert tap_counters(running.name)["events"] > 10_000
    assert heard.losses == [] and [run.engine for run in heard.runs] == [running.name]
    finish(running)
    assert not socket.exists()
    recording = Recording(folder / "recording")
    symbols = [entry.decode() for entry in np.load(folder / "recording" / "instruments.npy")["symbol"]]
    for ring in TAPPED:
        written = recording.events(ring)
        for seen in heard.events[ring]:
            assert written[seen.sequence].tobytes()[STAMP_BYTES:] == seen.slot.tobytes()[STAMP_BYTES:]
            instrument = int(seen.slot["header"]["instrument"])
            assert seen.symbol == (symbols[instrument] if instrument < len(symbols) else "")
        sequences = heard.complete(ring)
        first = sequences[0] if sequences else 0
        assert sequences == list(range(first, first + len(sequences))), f"{ring}: a hole that was not told"
    assert len(heard.events["norm"]) > 5000 and len(heard.events["cmd"]) > 0 and len(heard.events["exec"]) > 0


def test_only_what_was_asked_for_is_sent(onlooked: EngineProcess) -> None:
    endpoint = find_endpoint(onlooked.name, "tap")
    assert endpoint is not None
    before = tap_counters(onlooked.name)["frames"]
    time.sleep(0.3)
    assert tap_counters(onlooked.name)["frames"] == before, "a frame that nobody asked for"
    heard = Heard()
    with TapReader(endpoint, rings=("norm",), symbols=("ZAAAC",)) as reader:
        heard.listen(reader, seconds=0.7)
    assert {seen.symbol for seen in heard.events["norm"]} <= {"ZAAAC", ""} and set(heard.events) == {"norm"}
    assert any(seen.symbol for seen in heard.events["norm"])


def test_slow_reader_is_told_what_it_lost(day: Path, tmp_path: Path, engine: str) -> None:
    """The queues hold a frame each: who sleeps loses whole frames, and the positions of a topic say how many events."""
    with started(tapped(day, tmp_path, engine, queue_frames_max=1), tmp_path, "--arm") as process:
        endpoint = find_endpoint(process.name, "tap")
        assert endpoint is not None
        heard = Heard()
        with TapReader(endpoint, rings=("norm",), symbols=("ZAAAA",), queue_frames_max=1) as reader:
            heard.listen(reader, seconds=0.3)
            for _ in range(10):  # a busy machine may let the tap be lapped as well, or not run it at all for a while
                time.sleep(1.0)
                heard.listen(reader, seconds=0.5)
                if any(loss.where == "way" for loss in heard.losses):
                    break
        assert "way" in {loss.where for loss in heard.losses}
        stamps = [seen.sequence for seen in heard.events["norm"]]
        assert len(set(stamps)) == len(stamps)
        assert process.count("feed", "messages") > 10_000


def test_tap_that_stops_or_dies_costs_only_what_it_says(day: Path, tmp_path: Path, engine: str) -> None:
    with started(tapped(day, tmp_path, engine), tmp_path, "--arm") as running:
        endpoint = find_endpoint(running.name, "tap")
        assert endpoint is not None
        heard = Heard()
        with TapReader(endpoint, rings=("norm",)) as reader:
            heard.listen(reader, seconds=0.3)
            pid = tap_counters(running.name)["pid"]
            os.kill(pid, signal.SIGSTOP)
            start = running.count("feed", "messages")
            until(lambda: running.count("feed", "messages") > start + 6000, "a lap of the norm ring")
            os.kill(pid, signal.SIGCONT)
            heard.listen(reader, seconds=0.7)
            assert "tap" in {loss.where for loss in heard.losses}
            sequences = heard.complete("norm")
            lost = sum(loss.count for loss in heard.losses)
            assert sequences[-1] + 1 - sequences[0] - len(set(sequences)) == lost > 0
            assert len(set(sequences)) == len(sequences)
            assert tap_counters(running.name)["lost"] == sum(loss.count for loss in heard.losses if loss.where == "tap")

            os.kill(pid, signal.SIGKILL)
            until(lambda: tap_counters(running.name)["pid"] not in (0, pid), "the tap's restart")
            count = len(heard.events["norm"])
            heard.listen(reader, seconds=0.7)
        assert len(heard.events["norm"]) > count, "the reader did not find the new tap"
        assert len(heard.runs) == 1, "another tap of the same run is not another run"
        finish(running)
        notices = running.report()["notices"]
        assert [notice for notice in notices if "tap" in notice] == ["the tap ended by SIGKILL; restart 1 in 0.05 s"]


# ---- the verb ----------------------------------------------------------------------------------------


def tail(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hotpath", "tail", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)


def test_tail_prints_what_is_chosen(onlooked: EngineProcess) -> None:
    done = tail(onlooked.name, "--ring", "exec", "--type", "fill", "--since", "1h", "--count", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(" fill " in line and "leaves" in line for line in lines)
    done = tail(onlooked.name, "--ring", "norm,cmd", "--symbol", "ZAAAB", "--count", "50", "--json")
    events = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    events = [event for event in events if "lost" not in event]
    assert len(events) == 50 and {event["symbol"] for event in events} <= {"ZAAAB", ""}
    priced = next(event for event in events if event["type"] == "norm_add")
    assert priced["price"] == f"{priced['price_ticks'] / 10_000:.4f}" and priced["side"] in ("buy", "sell")


def test_tail_shows_what_the_rings_still_hold(onlooked: EngineProcess) -> None:
    done = tail(onlooked.name, "--ring", "norm", "--since", "1h", "--count", "8000", "--json", "--seconds", "5")
    events = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    sequences = [event["sequence"] for event in events if "sequence" in event]
    assert len(sequences) > 3500 and len(set(sequences)) == len(sequences)  # the ring holds 4,096
    assert sequences[:3500] == sorted(sequences[:3500])


def test_tail_says_what_to_do_where_there_is_nothing_to_read(day: Path, tmp_path: Path, engine: str) -> None:
    config = msgspec.structs.replace(tapped(day, tmp_path, engine), tap=TapConfig())
    with started(config, tmp_path) as process:
        done = tail(process.name)
        assert done.returncode == 78 and "runs without a tap" in done.stderr and "[tap] enabled = true" in done.stderr
