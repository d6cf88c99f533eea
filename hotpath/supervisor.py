"""The supervisor: makes the engine's memory, starts its processes, watches them, and ends the run in order.

    make memory (killed) -> start processes -> all ready -> arm -> watch -> kill -> drain -> stop -> remove

What it does when a process dies:

    gateway alone       restarted with back-off; it recovers from its intent file and the venue's stream
    any other stage     the run ends killed: new orders stop, open orders are cancelled, the latch is set
                        (until a journal can rebuild a stage's state, there is nothing to restart it from)
    journal             ends the recording, not the run: the mode word of the journal halts new orders

A latch is a file; while it lies there, no run of this engine is armed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from ffi import lib
from hotpath.config import Config
from hotpath.engine import EngineMemory, EngineSpec
from hotpath.errors import HotpathError, StageError
from hotpath.run_file import write_run_file
from hotpath.topology import STAGES

READY_SECONDS = 30.0
DRAIN_SECONDS = 3.0
STOP_SECONDS = 5.0
HANG_SECONDS = 5.0  # without a heartbeat a process counts as hung
WATCH_SECONDS = 0.05
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
RESTARTABLE = ("gateway",)


@dataclass
class Child:
    """One started process."""

    name: str
    stages: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log_path: Path
    restarts: int = 0
    restart_at: float | None = None  # monotonic seconds; None: it runs


@dataclass
class Outcome:
    """How a run ended."""

    reason: str  # "stopped", "finished", or what went wrong
    failed: bool = False
    restarts: dict[str, int] = field(default_factory=dict)


class Supervisor:
    """One run of one engine."""

    def __init__(self, spec: EngineSpec, *, arm: bool, record: Path | None = None, messages_per_round: int = 0) -> None:
        self.spec = spec
        self.arm_when_ready = arm
        self.record = record
        self.messages_per_round = messages_per_round
        self.state_dir = Path(spec.config.engine.state_dir)
        self.latch_path = self.state_dir / f"{spec.name}.killed"
        self.children: dict[str, Child] = {}
        self.notices: list[str] = []
        self._lock_file = self._take_name()
        self._refuse_latched()
        self.memory = EngineMemory(spec)
        self.run_path = self.state_dir / f"{spec.name}.run.json"
        write_run_file(self.run_path, spec, run_epoch=self.memory.run_epoch, messages_per_round=messages_per_round)

    # ---- before ----------------------------------------------------------------------------------

    def _take_name(self) -> int:
        """One engine of a name at a time, held by a lock that dies with this process."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        path = self.state_dir / f"{self.spec.name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StageError(
                f"an engine named {self.spec.name} is running already (it holds {path})",
                next_step="stop it first, or give this one another engine.name and state_dir",
            ) from None
        return descriptor

    def _refuse_latched(self) -> None:
        if not self.arm_when_ready or not self.latch_path.exists():
            return
        latch = json.loads(self.latch_path.read_text())
        os.close(self._lock_file)
        raise StageError(
            f"engine {self.spec.name} is latched in killed state since {latch['at']}: {latch['reason']}",
            next_step='find out why, then accept it: hotpath run CONFIG --arm --clear-kill "reason"',
        )

    def start(self) -> None:
        """Start every process and wait until all are ready; arm if that was asked for.

        In virtual time the first process to start begins at once, so the engine is armed before it:
        whether an order passes may not depend on how long a start takes.
        """
        if self.arm_when_ready and self.spec.lockstep:
            self.arm()
        if self.record is not None:
            self._start_child(
                "journal", (), [sys.executable, "-m", "hotpath.journal", str(self.run_path), str(self.record)]
            )
        for place in self.spec.placement.places:
            self._start_stages(place.process, place.stages)
        self._wait_ready()
        if self.arm_when_ready and not self.spec.lockstep:
            self.arm()

    def _start_stages(self, name: str, stages: tuple[str, ...]) -> None:
        for stage in stages:
            lib.stage_announce(self.memory.stage_page(stage), lib.STAGE_STARTING, 0, 0)
        self._start_child(name, stages, [sys.executable, "-m", "hotpath.stage_process", name, str(self.run_path)])

    def _start_child(self, name: str, stages: tuple[str, ...], command: list[str]) -> None:
        log_path = self.state_dir / f"{self.spec.name}.{name}.log"
        with log_path.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        known = self.children.get(name)
        if known is None:
            self.children[name] = Child(name, stages, process, log_path)
        else:
            known.process = process
            known.restart_at = None

    def _state(self, stage: str) -> int:
        return int(self.memory.stage_page(stage).state)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        waiting = set(STAGES)
        while waiting:
            waiting = {stage for stage in waiting if self._state(stage) < lib.STAGE_READY}
            for child in self.children.values():
                if child.process.poll() is not None and self._state_of(child) < lib.STAGE_READY:
                    raise StageError(f"process {child.name} ended while starting: {last_lines(child.log_path)}")
            if time.monotonic() > deadline:
                raise StageError(f"not ready within {READY_SECONDS:g} s: {', '.join(sorted(waiting))}")
            time.sleep(0.005)

    def _state_of(self, child: Child) -> int:
        return min((self._state(stage) for stage in child.stages), default=lib.STAGE_READY)

    # ---- kill and arm ------------------------------------------------------------------------------

    def arm(self) -> None:
        """Accept the kill that stands; orders may leave from here on."""
        control = self.memory.control
        if not lib.control_arm(control, control.kill_epoch):
            self.notices.append("killed while arming: the engine stays killed")

    def kill(self, reason: str, *, latch: bool) -> None:
        """No new order leaves after this; with `latch`, over restarts too."""
        epoch = lib.control_kill(self.memory.control)
        if latch:
            self.notices.append(f"killed (epoch {epoch}): {reason}")
            set_latch(self.latch_path, reason=reason, epoch=int(epoch))

    # ---- while -------------------------------------------------------------------------------------

    def watch(self, *, until: Callable[[], bool], each: Callable[[], None] | None = None) -> Outcome:
        """Look after the processes until `until` says so, the run finishes, or a stage is lost.

        `each` is called every round, for a live view.
        """
        while not until():
            for child in self.children.values():
                trouble = self._check(child)
                if trouble is not None:
                    return self._outcome(trouble, failed=trouble != "finished")
            if each is not None:
                each()
            time.sleep(WATCH_SECONDS)
        return self._outcome("stopped")

    def _check(self, child: Child) -> str | None:
        """None while all is well or being mended; else why the run must end."""
        if child.restart_at is not None:
            if time.monotonic() >= child.restart_at:
                self._start_stages(child.name, child.stages)
            return None
        code = child.process.poll()
        if code is None:
            return self._check_heartbeat(child)
        if code == 0 and self.spec.lockstep and child.stages:
            return "finished"
        if not child.stages:
            return self._journal_lost(child, code)
        return self._lost(child, f"process {child.name} {describe_exit(code)}")

    def _check_heartbeat(self, child: Child) -> str | None:
        for stage in child.stages:
            page = self.memory.stage_page(stage)
            if page.state != lib.STAGE_READY or not page.heartbeat_time_ns:
                continue
            now_ns = lib.clock_now(self.memory.segments["clock"].cast("clock_page *"))
            silence_ns = int(now_ns) - int(page.heartbeat_time_ns)
            if silence_ns > HANG_SECONDS * 1e9:
                child.process.kill()
                child.process.wait()
                return self._lost(child, f"process {child.name} hung: no heartbeat for {silence_ns / 1e9:.1f} s")
        return None

    def _journal_lost(self, child: Child, code: int) -> str | None:
        """Without its journal an engine takes no new orders; what is open may still be cancelled."""
        if child.process.returncode is not None and child.restarts == 0:
            child.restarts = 1
            lib.control_mode(self.memory.control, lib.TIGHTENER_JOURNAL, lib.MODE_HALTED)
            self.notices.append(f"the journal {describe_exit(code)}: halted")
        return None

    def _lost(self, child: Child, what: str) -> str | None:
        log = last_lines(child.log_path)
        if log:
            what += f" ({log})"
        limit = self.spec.config.engine.restarts_max
        if child.stages == RESTARTABLE and child.restarts < limit:
            delay = BACKOFF_SECONDS[min(child.restarts, len(BACKOFF_SECONDS) - 1)]
            child.restarts += 1
            child.restart_at = time.monotonic() + delay
            self.notices.append(f"{what}; restart {child.restarts} of {limit} in {delay:g} s")
            return None
        self.kill(what, latch=True)
        return what

    def _outcome(self, reason: str, *, failed: bool = False) -> Outcome:
        restarts = {child.name: child.restarts for child in self.children.values() if child.stages and child.restarts}
        return Outcome(reason, failed=failed, restarts=restarts)

    # ---- after -------------------------------------------------------------------------------------

    def drain(self) -> int:
        """Stop taking new work and wait until open orders are cancelled. Returns how many are left."""
        if not lib.control_killed(self.memory.control):
            self.kill("the run is being stopped", latch=False)
        lib.control_stop(self.memory.control, 1)
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline and self.open_orders() and self._alive("gateway"):
            time.sleep(0.01)
        return self.open_orders()

    def open_orders(self) -> int:
        """Orders that the gateway knows to be open or of unknown fate."""
        return int(self.memory.stage_page("gateway").counter[lib.GATEWAY_OPEN_ORDERS])

    def _alive(self, stage: str) -> bool:
        return any(stage in child.stages and child.process.poll() is None for child in self.children.values())

    def stop(self) -> None:
        """Let every process leave its loop; end those that do not. The journal goes last."""
        lib.control_stop(self.memory.control, 2)
        deadline = time.monotonic() + STOP_SECONDS
        for child in (each for each in self.children.values() if each.stages):
            end_process(child.process, deadline)
        for child in (each for each in self.children.values() if not each.stages):
            if child.process.poll() is None:
                child.process.terminate()
            end_process(child.process, time.monotonic() + STOP_SECONDS)

    def close(self) -> None:
        """Remove the segments and give the name back."""
        self.memory.unlink()
        os.close(self._lock_file)


def end_process(process: subprocess.Popen[bytes], deadline: float) -> None:
    """Wait until `deadline` (monotonic seconds), then end it."""
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clear_latch(config: Config, *, reason: str) -> None:
    """Accept a kill that outlived its run: put the latch aside, with the reason, for people to read."""
    path = Path(config.engine.state_dir) / f"{config.engine.name}.killed"
    if not path.exists():
        return
    latch = {**json.loads(path.read_text()), "cleared_at": time.strftime("%Y-%m-%d %H:%M:%S"), "cleared": reason}
    path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.cleared").write_text(json.dumps(latch))
    path.unlink()


def set_latch(path: Path, *, reason: str, epoch: int) -> None:
    """Write the latch and have it on disk before anyone is told of it."""
    text = json.dumps({"at": time.strftime("%Y-%m-%d %H:%M:%S"), "reason": reason, "epoch": epoch})
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def describe_exit(code: int) -> str:
    """ "ended by SIGKILL" or "ended with exit code 70"."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def last_lines(path: Path, count: int = 3) -> str:
    """The end of a log, on one line; empty when it says nothing."""
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return " | ".join(line.strip() for line in lines[-count:])


class StopSignals:
    """SIGINT and SIGTERM as a flag: ``with StopSignals() as stop: ... while not stop.set``."""

    def __init__(self) -> None:
        self.set = False
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.set = True

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def supervise(
    supervisor: Supervisor,
    *,
    until: Callable[[], bool],
    each: Callable[[], None] | None = None,
    before_removal: Callable[[], None] | None = None,
) -> Outcome:
    """A whole run: start, watch, drain, stop, remove. `before_removal` may still read the counters."""
    try:
        supervisor.start()
        outcome = supervisor.watch(until=until, each=each)
        left = supervisor.drain()
        if left:
            supervisor.notices.append(f"{left} open orders were not confirmed cancelled")
        supervisor.stop()
        if before_removal is not None:
            before_removal()
        return outcome
    except HotpathError:
        supervisor.stop()
        raise
    finally:
        supervisor.stop()
        supervisor.close()
