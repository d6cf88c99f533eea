"""Whole engines in tests: a simulator, an engine of real processes for it, and the truth that each leaves behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import psutil

from ffi import lib
from hotpath.config import Config, config_toml
from hotpath.demo import DemoOptions, RunningSimulator, demo_config, running_simulator, simulator_config
from hotpath.errors import SegmentError
from hotpath.intents import read_intents
from hotpath.segments import attach, list_segments
from hotpath.stages import intents_path
from hotpath.stat import EngineStat, EngineView
from hotpath.venues.tap import IN, read_tap

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PATIENCE_SECONDS = 30.0  # until a test gives up on something that must happen
SOUP_UNSEQUENCED = b"U"
ORDER_BYTES = (b"O", b"U", b"X")  # enter, replace, cancel in OUCH 4.2 and 5.0


@contextmanager
def venue(folder: Path, **changes: Any) -> Iterator[RunningSimulator]:
    """A simulator with a wire tap at folder/tap; `changes` are keys of its configuration."""
    options = DemoOptions(instruments=12, rate_per_second=6000)
    config = msgspec.structs.replace(
        simulator_config(options), **{"tap_path": str(folder / "tap"), "live_orders": 2000, **changes}
    )
    with running_simulator(config, folder) as running:
        yield running


def engine_config(name: str, running: RunningSimulator, folder: Path, *, topology: str, busy: Config) -> Config:
    """The demo's engine with the signals and limits of a busy one."""
    config = demo_config(DemoOptions(topology=topology), running.ready, folder, intents_dir=folder)
    engine = msgspec.structs.replace(config.engine, name=name)
    return msgspec.structs.replace(config, engine=engine, signal=busy.signal, risk=busy.risk)


def until(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that must happen; fails by its name when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.01)


class EngineProcess:
    """``hotpath run`` as its user starts it, with what it prints, and a look at its memory."""

    def __init__(self, config: Config, folder: Path, *options: str, prefix: tuple[str, ...] = ()) -> None:
        self.config = config
        self.name = config.engine.name
        self.folder = folder
        self._started_ns = time.time_ns()
        path = folder / "engine.toml"
        path.write_text(config_toml(config))
        self.out_path, self.error_path = folder / "run.out", folder / "run.err"
        with self.out_path.open("w") as out, self.error_path.open("w") as error:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "hotpath", "run", str(path), "--json", *options],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=error,
            )
        self._view: EngineView | None = None

    def look(self) -> EngineStat | None:
        """A snapshot; None before the engine's memory is there."""
        try:
            if self._view is None:
                self._view = EngineView(self.name)
            stat = self._view.snapshot()
            if stat.run_epoch > self._started_ns:
                return stat
        except SegmentError:
            pass
        if self._view is not None:  # of a run before this one, or of half of each
            self._view.close()
            self._view = None
        return None

    def count(self, stage: str, name: str) -> int:
        """A counter, 0 before there is one."""
        stat = self.look()
        return stat.counter(stage, name) if stat else 0

    def pid_of(self, stage: str) -> int:
        """The process that runs a stage; 0 before it does."""
        stat = self.look()
        return stat.stages[stage].pid if stat and stage in stat.stages else 0

    def wait_trading(self, *, fills: int = 3) -> None:
        """Until orders have been filled."""

        def trading() -> bool:
            assert self.process.poll() is None, f"the engine ended: {self.errors()}"
            return self.count("gateway", "fills") >= fills

        until(trading, f"{fills} fills")

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code."""
        return self.process.wait(timeout=seconds)

    def errors(self) -> str:
        """All that it wrote to standard error."""
        return self.error_path.read_text()

    def report(self) -> dict[str, Any]:
        """The report that it printed."""
        found: dict[str, Any] = msgspec.json.decode(self.out_path.read_bytes())
        return found

    def close(self) -> None:
        """End whatever is left of it."""
        if self._view is not None:
            self._view.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def children_of(pid: int) -> list[int]:
    """Processes started by a process, that live."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def segments_of(name: str) -> list[str]:
    """Segments that lie under an engine's name."""
    return [info.segment for info in list_segments(name)]


def wire_orders(tap: Path) -> list[bytes]:
    """Every order frame that came in over any connection, transport header included, in order of arrival."""
    streams: dict[int, bytearray] = {}
    frames = []
    for record in read_tap(tap):
        if record.direction != IN:
            continue
        stream = streams.setdefault(record.connection, bytearray())
        stream += record.data
        while len(stream) >= 2 and len(stream) >= 2 + int.from_bytes(stream[:2], "big"):
            length = 2 + int.from_bytes(stream[:2], "big")
            frame = bytes(stream[:length])
            del stream[:length]
            if frame[2:3] == SOUP_UNSEQUENCED and frame[3:4] in ORDER_BYTES:
                frames.append(frame)
    return frames


def stored_frames(config: Config) -> list[bytes]:
    """Every frame of the intent file, in order."""
    with read_intents(intents_path(config)) as file:
        return file.frames()


def stored_records(config: Config) -> npt.NDArray[Any]:
    """Every record of the intent file."""
    with read_intents(intents_path(config)) as file:
        return file.records()


def fold_position(executions: npt.NDArray[Any]) -> dict[int, int]:
    """Position by instrument: the fills less those broken, each once."""
    position: dict[int, int] = {}
    header = executions["header"]
    for kind, sign in ((lib.EXEC_FILL, 1), (lib.EXEC_BROKEN, -1)):
        chosen = header["type"] == kind
        signed = np.where(executions["side"] == lib.SIDE_BUY, 1, -1) * executions["quantity_lots"] * sign
        for instrument, lots in zip(header["instrument"][chosen], signed[chosen], strict=True):
            position[int(instrument)] = position.get(int(instrument), 0) + int(lots)
    return {instrument: lots for instrument, lots in position.items() if lots}


def most_quoted(engine: str) -> str:
    """A symbol whose book is thin and moves: the one with most events in the ring."""
    ring = attach(engine, "norm", lib.SEGMENT_RING)
    events = ring.view("norm_event", offset=lib.RING_SLOTS_OFFSET, count=ring.info.capacity).copy()
    seen = events["header"]["instrument"][(events["bid_price_ticks"] > 0) & (events["ask_price_ticks"] > 0)]
    table = attach(engine, "instruments", lib.SEGMENT_INSTRUMENTS)
    symbols = table.view("instrument_entry", count=table.info.capacity)["symbol"]
    return str(symbols[int(np.bincount(seen, minlength=len(symbols))[: len(symbols)].argmax())].decode())
