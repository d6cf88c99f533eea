"""One kill under load: an engine that trades, something that goes wrong, a kill, a tap that knows what came after it.

    simulator <--> tap (reads, or does not) <--> engine, whose processes are stopped, killed, started again
                    |                                  ^
                    `-- mark at effective              `-- kill: command, signal, file, bare word

Everything is drawn from the run's seed: topology, what goes wrong, to whom, when, and how the kill is given.
A *plant* is a bug in the engine's place, made in its shared memory or its files: the judge must see each.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ffi import lib
from hotctl import kill_local
from hotpath.control.paths import drop_path, latch_path
from hotpath.drill.engine import DrillEngine, drill_config, drill_venue, until
from hotpath.drill.rehearse import refuses_to_arm
from hotpath.drill.wire import WireTap
from hotpath.errors import HotpathError, SegmentError
from hotpath.topology import PROCESSES, STAGES

ESCALATE_MS = 300
ORDERS_FIRST = 20
GONE_SECONDS = 0.3  # that late bytes are waited for, everything running again
UNREAD_SECONDS = 0.15  # that the venue has not read when the kill comes

TROUBLES = (
    "none",
    "venue does not read",
    "process stopped",
    "process stopped, venue does not read",
    "process killed",
    "process killed, venue does not read",
    "process restarted",
    "all stopped",
    "all stopped, venue does not read",
    "supervisor stopped",
    "supervisor and gateway stopped",
    "supervisor killed",
    "supervisor killed, venue does not read",
)
WAYS = ("command", "word", "signal", "file")
PLANTS = {  # and what the judge then says
    "ignores the epoch": "orders after effective",
    "effective too early": "orders after effective",
    "not latched": "the next run was armed",
}


@dataclass
class Run:
    """What was done, and what came of it."""

    seed: int
    topology: str
    trouble: str
    victim: str
    way: str
    orders: int = 0
    effective_ms: float = 0.0
    by: str = ""  # "gateway" or "reset"
    in_flight: int = 0
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """For people."""
        what = f"{self.trouble}{f' ({self.victim})' if 'process' in self.trouble else ''}"
        verdict = "; ".join(self.wrong) or f"effective by {self.by} after {self.effective_ms:.1f} ms"
        return f"seed {self.seed}: {self.topology}, {what}, killed by {self.way}, {self.orders} orders: {verdict}"


class Drill:
    """One run of the campaign."""

    def __init__(self, run: Run, chance: random.Random, engine: DrillEngine, tap: WireTap, plant: str) -> None:
        self.run = run
        self.chance = chance
        self.engine = engine
        self.tap = tap
        self.plant = plant
        self.stopped: list[int] = []
        self.over = False

    # ---- what goes wrong -------------------------------------------------------------------------

    def _stop(self, pid: int) -> None:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.stopped.append(pid)

    def _continue_all(self) -> None:
        for pid in self.stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped.clear()

    def _family(self) -> list[int]:
        try:
            supervisor = psutil.Process(self.engine.process.pid)
            return [supervisor.pid, *(child.pid for child in supervisor.children(recursive=True))]
        except psutil.NoSuchProcess:
            return []

    def make_trouble(self) -> None:
        """Before the kill."""
        trouble, engine = self.run.trouble, self.engine
        if "does not read" in trouble:
            self.tap.reading = False
            time.sleep(UNREAD_SECONDS)
        victim = engine.pid_of(self.run.victim)
        if trouble.startswith("process stopped"):
            self._stop(victim)
        elif trouble.startswith(("process killed", "process restarted")) and victim:
            os.kill(victim, signal.SIGKILL)
            if "restarted" in trouble:  # its successor is somewhere on its way when the kill comes
                time.sleep(self.chance.uniform(0.0, 0.6))
        elif trouble.startswith("all stopped"):
            for pid in self._family():
                self._stop(pid)
        elif trouble.startswith("supervisor killed"):
            engine.process.send_signal(signal.SIGKILL)
        elif trouble.startswith("supervisor"):
            self._stop(engine.process.pid)
            if "gateway" in trouble:
                self._stop(engine.pid_of("gateway"))

    # ---- the kill --------------------------------------------------------------------------------

    def kill(self) -> tuple[int, Callable[[], None]]:
        """The epoch, and what to do when it does not take effect by itself."""
        control = self.engine.control
        before = int(control.kill_epoch)
        supervisor_hears = "supervisor" not in self.run.trouble and "all" not in self.run.trouble
        way = self.run.way
        if way == "signal" and not supervisor_hears:
            way = "command"
        if way == "file" and not (supervisor_hears or self.run.trouble == "supervisor stopped"):
            way = "command"
        self.run.way = way
        if way == "signal":
            self.engine.process.send_signal(signal.SIGUSR1)
        elif way == "file":
            drop_path(self.engine.config).write_text("the drill dropped it")
        elif way == "word":
            lib.control_kill(control)
        else:
            killer = kill_local.Kill(self.engine.name)
            killer.latch("the drill")
            return killer.epoch, killer.escalate
        until(lambda: control.kill_epoch > before, f"a kill by {way}")
        return int(control.kill_epoch), lambda: self._escalate_as_a_command(int(control.kill_epoch))

    def _escalate_as_a_command(self, epoch: int) -> None:
        """What an operator would do next: the command, whose kill is one more."""
        killer = kill_local.Kill(self.engine.name)
        killer.latch("the drill, again")
        killer.escalate()

    def wait_effective(self, epoch: int, escalate: Callable[[], None]) -> None:
        """Until no byte can leave any more; the tap takes its mark at once."""
        started = time.monotonic()
        control = self.engine.control
        if self.plant:
            self._plant(epoch)
        escalated = False
        while not self.engine.effective(epoch):
            waited = time.monotonic() - started
            self.run.in_flight = max(self.run.in_flight, int(control.in_flight_bytes))
            if waited > 1.5 * ESCALATE_MS / 1000 and not escalated:
                escalated = True
                escalate()
            if waited > 10:
                self.run.wrong.append(f"never effective ({control.in_flight_bytes} bytes under way)")
                break
            time.sleep(0.0001)
        self.tap.mark()
        self.run.effective_ms = (time.monotonic() - started) * 1000
        self.run.by = "gateway" if control.killed_epoch_sent >= epoch else "reset"

    def _plant(self, epoch: int) -> None:
        control = self.engine.control
        if "effective too early" in self.plant:
            control.killed_epoch_sent = epoch
        elif "ignores the epoch" in self.plant:
            control.killed_epoch_sent = epoch
            threading.Thread(target=self._keep_armed, args=(control,), daemon=True).start()

    def _keep_armed(self, control: Any) -> None:
        while not self.over:
            lib.control_arm(control, control.kill_epoch)
            time.sleep(0.0002)

    # ---- afterwards ------------------------------------------------------------------------------

    def aftermath(self, epoch: int) -> None:
        """Everything runs and reads again; nothing may come of it but cancels."""
        self._continue_all()
        self.tap.reading = True
        time.sleep(GONE_SECONDS)
        self.over = True
        if self.engine.process.poll() is None and not self.plant:
            try:
                until(
                    lambda: self.engine.settled(epoch) or self.engine.process.poll() is not None, "cancels", seconds=15
                )
            except HotpathError:
                control = self.engine.control
                self.run.wrong.append(
                    f"cancels: {control.open_orders} outstanding, swept {control.sweep_epoch} of {epoch}, "
                    f"sent {control.killed_epoch_sent}"
                )
        self._stopped_anew()
        self.engine.end()
        with contextlib.suppress(HotpathError):
            until(self.tap.drained, "the wire to be read", seconds=5)
        late = self.tap.late()
        if late:
            self.run.wrong.append(f"{len(late)} orders after effective, the first: {late[0][:160]}")

    def _stopped_anew(self) -> None:
        """A successor may have been stopped in its parent's name; nothing stays stopped."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def restart(self, folder: Path) -> None:
        """Over the death of every process: not armed, whatever is asked for."""
        if "not latched" in self.plant:
            latch_path(self.engine.config).unlink(missing_ok=True)
            drop_path(self.engine.config).unlink(missing_ok=True)
        orders = self.tap.orders
        if not refuses_to_arm(self.engine.config, folder):
            self.run.wrong.append("the next run was armed")
        if self.tap.orders != orders:
            self.run.wrong.append(f"the next run sent {self.tap.orders - orders} orders")


def draw(seed: int) -> tuple[Run, random.Random]:
    """What a seed means: the troubles take turns, so that any row of seeds has them all."""
    chance = random.Random(seed)
    topology = sorted(PROCESSES)[seed % len(PROCESSES)]
    trouble = TROUBLES[(seed // len(PROCESSES)) % len(TROUBLES)]
    return Run(seed, topology, trouble, chance.choice(STAGES), chance.choice(WAYS)), chance


def run_once(seed: int, folder: Path, *, plant: str = "") -> Run:
    """One engine, traded, troubled, killed, judged and ended."""
    run, chance = draw(seed)
    if "effective too early" in plant:
        run.trouble, run.way = "venue does not read", "word"
    elif plant:
        run.trouble, run.way = "none", "command"
    folder.mkdir(parents=True, exist_ok=True)
    with drill_venue(folder, seed=seed + 1) as (venue, tap):
        name = f"drill{os.getpid()}-{seed}"
        config = drill_config(name, venue, tap, folder, topology=run.topology, wait="yield", hang_ms=2000)
        config = with_escalation(config, ESCALATE_MS)
        engine = DrillEngine(config, folder, "--arm")
        drill = Drill(run, chance, engine, tap, plant)
        try:
            engine.wait_trading(tap, orders=ORDERS_FIRST + chance.randrange(30))
            _ = engine.control, engine.clock
            drill.make_trouble()
            epoch, escalate = drill.kill()
            drill.wait_effective(epoch, escalate)
            drill.aftermath(epoch)
            drill.restart(folder)
        except (HotpathError, SegmentError, kill_local.RefusedError) as error:
            run.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            drill.over = True
            drill._continue_all()
            engine.close()
        run.orders = tap.orders
    return run


def with_escalation(config: Any, escalate_ms: int) -> Any:
    """The same engine, more impatient."""
    import msgspec

    gateway = msgspec.structs.replace(config.gateway, kill_escalate_ms=escalate_ms)
    return msgspec.structs.replace(config, gateway=gateway)
