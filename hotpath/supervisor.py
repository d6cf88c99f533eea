"""The supervisor: makes the engine's memory, starts its processes, watches them, and ends the run in order.

    make memory (killed) -> start processes -> all ready -> arm -> watch -> kill -> drain -> stop -> remove

What it does when a process dies:

    gateway alone       restarted with back-off; it recovers from its intent file and the venue's stream
    any other stage     the run ends killed: new orders stop, open orders are cancelled, the latch is set
                        (until a journal can rebuild a stage's state, there is nothing to restart it from);
                        where the gateway died with it, one is started again for the cancels alone
    journal             ends the recording, not the run: the mode word of the journal halts new orders, and
                        the rings that waited for it wait no more

A journal half a ring behind reduces positions only, until it has caught up; one that was lapped halts.

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
from hotpath.errors import StageError
from hotpath.run_file import write_run_file
from hotpath.topology import STAGES, Ring

READY_SECONDS = 30.0
DRAIN_SECONDS = 3.0
STOP_SECONDS = 5.0
RESCUE_SECONDS = 8.0  # for a gateway started again to cancel what its predecessor left open
WATCH_SECONDS = 0.05
ABSENT_SECONDS = 1.0  # a round this late: the supervisor itself did not run, and saw no heartbeat either
CAUGHT_UP = 4  # a journal behind by less than this part of a ring has caught up
BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
RESTARTABLE = ("gateway",)


@dataclass
class Child:
    """One started process."""

    name: str
    stages: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log_path: Path
    log_start: int = 0  # where in its log this process began
    started: float = 0.0  # monotonic seconds
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
        self.run_path = self.state_dir / f"{spec.name}.run.json"
        self._seen_at = self._absent_until = time.monotonic()
        try:
            self.memory = EngineMemory(spec)
        except BaseException:
            os.close(self._lock_file)
            raise
        try:
            write_run_file(self.run_path, spec, run_epoch=self.memory.run_epoch, messages_per_round=messages_per_round)
        except BaseException:
            self.close()
            raise

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

    def start(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Start every process and wait until all are ready, or `until` says to stop; arm if that was asked for.

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
        if self._wait_ready(until) and self.arm_when_ready and not self.spec.lockstep:
            self.arm()

    def _start_stages(self, name: str, stages: tuple[str, ...]) -> None:
        """Start the process of this name; it runs `stages` of its place."""
        for stage in stages:
            page = self.memory.stage_page(stage)
            page.heartbeat_time_ns = 0  # its predecessor's, if there was one
            lib.stage_announce(page, lib.STAGE_STARTING, 0, 0)
        command = [sys.executable, "-m", "hotpath.stage_process", name, str(self.run_path)]
        self._start_child(name, stages, [*command, ",".join(stages)])

    def _start_child(self, name: str, stages: tuple[str, ...], command: list[str]) -> None:
        log_path = self.state_dir / f"{self.spec.name}.{name}.log"
        with log_path.open("ab") as log:
            log_start = log.tell()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        restarts = self.children[name].restarts if name in self.children else 0
        self.children[name] = Child(
            name, stages, process, log_path, log_start=log_start, started=time.monotonic(), restarts=restarts
        )

    def _state(self, stage: str) -> int:
        return int(self.memory.stage_page(stage).state)

    def _wait_ready(self, until: Callable[[], bool]) -> bool:
        """Whether every stage is ready; False when `until` ended the wait."""
        deadline = time.monotonic() + READY_SECONDS
        waiting = set(STAGES)
        while waiting:
            if until():
                return False
            waiting = {stage for stage in waiting if self._state(stage) < lib.STAGE_READY}
            for child in self.children.values():
                if child.process.poll() is not None and self._state_of(child) < lib.STAGE_READY:
                    said = last_lines(child.log_path, start=child.log_start)
                    raise StageError(f"process {child.name} ended while starting: {said or 'it said nothing'}")
            if time.monotonic() > deadline:
                raise StageError(f"not ready within {READY_SECONDS:g} s: {', '.join(sorted(waiting))}")
            time.sleep(0.005)
        return True

    def remarks(self) -> list[str]:
        """What the processes said of themselves so far, such as privileges that they miss: each remark once."""
        speakers: dict[str, list[str]] = {}
        for child in self.children.values():
            for line in lines_of(child.log_path, start=child.log_start):
                speaker, _, remark = line.partition(": ")
                speakers.setdefault(remark if speaker == child.name else line, []).append(child.name)
        return [f"{', '.join(names)}: {remark}" for remark, names in speakers.items()]

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
            for child in list(self.children.values()):
                trouble = self._check(child)
                if trouble is not None:
                    return self._outcome(trouble, failed=trouble != "finished")
            self._check_journal_lag()
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
        now = time.monotonic()
        for stage in child.stages:
            silence = self._silence_seconds(child, stage, now)
            starting = self._state(stage) < lib.STAGE_READY
            if silence <= (READY_SECONDS if starting else self.spec.config.engine.hang_ms / 1000):
                continue
            child.process.kill()
            child.process.wait()
            what = f"not ready within {silence:.1f} s" if starting else f"hung: no heartbeat for {silence:.1f} s"
            return self._lost(child, f"process {child.name} {what}")
        return None

    def _silence_seconds(self, child: Child, stage: str, now: float) -> float:
        """Since the last heartbeat or, before the first, since the start; only time in which we watched counts."""
        if now - self._seen_at > ABSENT_SECONDS:  # a machine that was suspended has no hung process
            self._absent_until = now
        self._seen_at = now
        heartbeat_ns = int(self.memory.stage_page(stage).heartbeat_time_ns)
        silence = now - max(child.started, self._absent_until)
        if not heartbeat_ns:
            return silence
        clock = self.memory.segments["clock"].cast("clock_page *")
        return min(silence, (int(lib.clock_now(clock)) - heartbeat_ns) / 1e9)

    # ---- the journal -------------------------------------------------------------------------------

    def _journal_lost(self, child: Child, code: int) -> str | None:
        """Without its journal an engine takes no new orders; what is open may still be cancelled."""
        if child.restarts == 0:
            child.restarts = 1
            lib.control_mode(self.memory.control, lib.TIGHTENER_JOURNAL, lib.MODE_HALTED)
            self.memory.release_reader("journal")
            said = last_lines(child.log_path, start=child.log_start)
            self.notices.append(f"the journal {describe_exit(code)}: halted{f' ({said})' if said else ''}")
        return None

    def _check_journal_lag(self) -> None:
        """Half a ring behind: positions are only reduced, until it is less than a quarter. Lapped: halted."""
        if "journal" not in self.children or self.children["journal"].restarts:
            return
        control = self.memory.control
        mode = control.mode[lib.TIGHTENER_JOURNAL]
        if mode == lib.MODE_HALTED:
            return
        rings = [ring for ring in self.spec.rings if "journal" in (*ring.gating, *ring.observers)]
        lapped = [ring.name for ring in rings if self.memory.cursor(ring, "journal").lost_count]
        if lapped:
            lib.control_mode(control, lib.TIGHTENER_JOURNAL, lib.MODE_HALTED)
            self.notices.append(f"the journal was lapped in {', '.join(lapped)}: halted, the recording has a hole")
            return
        behind = max(self._journal_lag(ring) for ring in rings)
        if behind >= 0.5 and mode == lib.MODE_NORMAL:
            lib.control_mode(control, lib.TIGHTENER_JOURNAL, lib.MODE_REDUCE_ONLY)
            self.notices.append("the journal fell half a ring behind: reduce only, until it has caught up")
        elif behind < 1 / CAUGHT_UP and mode == lib.MODE_REDUCE_ONLY:
            lib.control_mode(control, lib.TIGHTENER_JOURNAL, lib.MODE_NORMAL)

    def _journal_lag(self, ring: Ring) -> float:
        """How far the journal is behind, as a part of the ring."""
        segment = self.memory.segments[ring.name]
        published = int(segment.cast("ring_control *").position)
        return max(0, published - int(self.memory.cursor(ring, "journal").position)) / segment.info.capacity

    # ---- losses ------------------------------------------------------------------------------------

    def _lost(self, child: Child, what: str) -> str | None:
        log = last_lines(child.log_path, start=child.log_start)
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
        if self.open_orders() and not self._alive("gateway") and not self.spec.lockstep:
            self._rescue()
            deadline = time.monotonic() + RESCUE_SECONDS
        while time.monotonic() < deadline and self._draining():
            time.sleep(0.01)
        return self.open_orders()

    def _draining(self) -> bool:
        """Whether orders may yet be cancelled: some are open, or the gateway does not know yet."""
        return self._alive("gateway") and (self.open_orders() > 0 or self._state("gateway") < lib.STAGE_READY)

    def _rescue(self) -> None:
        """A gateway for the cancels alone, where one died in company: it recovers, killed, and sweeps."""
        name = next(child.name for child in self.children.values() if "gateway" in child.stages)
        self.notices.append("the gateway is started again to cancel what is open")
        self._start_stages(name, RESTARTABLE)

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


def lines_of(path: Path, *, start: int = 0) -> list[str]:
    """The lines of a log from byte `start` on, those that say something."""
    try:
        text = path.read_bytes()[start:].decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def last_lines(path: Path, count: int = 3, *, start: int = 0) -> str:
    """The end of a log, on one line; empty when it says nothing from byte `start` on."""
    return " | ".join(lines_of(path, start=start)[-count:])


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
    when_started: Callable[[], None] | None = None,
    before_removal: Callable[[], None] | None = None,
) -> Outcome:
    """A whole run: start, watch, drain, stop, remove. `before_removal` may still read the counters."""
    try:
        supervisor.start(until=until)
        if when_started is not None:
            when_started()
        outcome = supervisor.watch(until=until, each=each)
        left = supervisor.drain()
        if left:
            supervisor.notices.append(f"{left} open orders were not confirmed cancelled")
        supervisor.stop()
        if before_removal is not None:
            before_removal()
        return outcome
    finally:  # whatever went wrong, no process and no segment is left
        supervisor.stop()
        supervisor.close()
