"""An engine whose processes are started by a service manager: real processes, and a pretended manager.

The manager here does what the units in systemd/ say: start, tell how it ended, start again. What could break it: a
keeper that takes a stop for a loss and latches a kill, a ticket taken twice, a successor that never comes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from hotpath.config import Config, config_toml
from hotpath.latch import latch_path
from hotpath.segments import reap
from hotpath.spawn import module_command, module_environment
from hotpath.topology import PROCESSES
from tests.support.busy import busy_config, file_feed
from tests.support.engines import PATIENCE_SECONDS, segments_of, until
from tests.support.synthetic import write_synthetic_day

WATCHDOG_USEC = 800_000
SIDES = ("journal", "snapshots")  # beside the path, with the configuration's defaults


class Unit(threading.Thread):
    """One unit with Restart=always and NotifyAccess=main."""

    def __init__(self, process: str, room: Path) -> None:
        super().__init__(daemon=True)
        self.process, self.room = process, room
        self.stopped = threading.Event()
        self.started: list[subprocess.Popen[bytes]] = []
        self.told: list[tuple[int, str]] = []  # which start, what
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(room / f"{process}.notify"))
        self.socket.settimeout(0.1)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.start()

    def _listen(self) -> None:
        while not self.stopped.is_set():
            try:
                said = self.socket.recv(4096).decode()
            except TimeoutError:
                continue
            self.told += [(len(self.started), line) for line in said.splitlines()]

    def run(self) -> None:
        environment = {
            **module_environment(),
            "NOTIFY_SOCKET": str(self.room / f"{self.process}.notify"),
            "WATCHDOG_USEC": str(WATCHDOG_USEC),
        }
        while not self.stopped.is_set():
            command = module_command("hotpath.units.join", self.process, str(self.room))
            self.started.append(subprocess.Popen(command, env=environment, start_new_session=True))
            code = self.started[-1].wait()
            how = f"killed {signal.Signals(-code).name.removeprefix('SIG')}" if code < 0 else f"exited {code}"
            if self.room.exists():
                (self.room / f"{self.process}.ended").write_text(f"{how}\n")

    def count(self, start: int, line: str) -> int:
        return self.told.count((start, line))

    def end(self) -> None:
        self.stopped.set()
        for each in self.started:
            if each.poll() is None:
                each.terminate()
        self.join(PATIENCE_SECONDS)
        self.listener.join(PATIENCE_SECONDS)
        self.socket.close()


class Engine:
    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.room = config, folder / "room"
        self.room.mkdir(mode=0o700)
        file = folder / "engine.toml"
        file.write_text(config_toml(config))
        self.log = folder / "keeper.log"
        with self.log.open("wb") as log:
            self.keeper = subprocess.Popen(
                module_command("hotpath", "keep", str(file), "--room", str(self.room), "--arm"),
                env=module_environment(), stdout=log, stderr=log,
            )  # fmt: skip
        self.units = {name: Unit(name, self.room) for name in (*PROCESSES[config.engine.topology], *SIDES)}

    def close(self) -> None:
        for unit in self.units.values():
            unit.end()
        if self.keeper.poll() is None:
            self.keeper.kill()
        self.keeper.wait()
        reap(self.config.engine.name)  # a keeper that was killed leaves its memory to the next run


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=60_000)


@contextmanager
def engine(day: Path, folder: Path, topology: str) -> Iterator[Engine]:
    name = f"units{os.getpid()}{topology}"
    settings = {"name": name, "topology": topology, "wait": "yield", "state_dir": str(folder / "var"), "hang_ms": 1000}
    feed = file_feed(day, pace="rate", rate_per_second=2000)
    running = Engine(msgspec.structs.replace(busy_config(engine=settings), feed=feed), folder)
    try:
        yield running
    finally:
        running.close()


def test_units_make_an_engine_that_a_killed_gateway_comes_back_to(day: Path, tmp_path: Path) -> None:
    with engine(day, tmp_path, "split") as running:
        gateway = running.units["gateway"]
        until(lambda: all(unit.count(1, "READY=1") for unit in running.units.values()), "every unit to be ready")
        until(lambda: gateway.count(1, "WATCHDOG=1") >= 2, "the watchdog to be fed")
        gateway.started[0].kill()
        until(lambda: gateway.count(2, "READY=1"), "its successor to be ready")
        done = subprocess.run(
            [sys.executable, "-m", "hotpath.units.keep", "leave", str(running.room)],
            env=module_environment(), timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0
        said = running.log.read_text()
        assert running.keeper.wait(PATIENCE_SECONDS) == 0, said
        assert "process gateway ended by SIGKILL" in said and "restart 1" in said
        assert not segments_of(running.config.engine.name)
        assert not latch_path(running.config).exists(), "a stop in order is no kill"


def test_a_hung_process_is_not_fed_and_comes_back(day: Path, tmp_path: Path) -> None:
    with engine(day, tmp_path, "fused") as running:
        unit = running.units["engine"]
        until(lambda: unit.count(1, "WATCHDOG=1") >= 2, "the watchdog to be fed")
        os.kill(unit.started[0].pid, signal.SIGSTOP)
        fed = unit.count(1, "WATCHDOG=1")
        until(lambda: unit.count(2, "READY=1"), "its successor to have made its state again")
        assert unit.count(1, "WATCHDOG=1") <= fed + 1
        until(lambda: "process engine is back" in running.log.read_text(), "the keeper to let orders leave again")
        assert not latch_path(running.config).exists()
