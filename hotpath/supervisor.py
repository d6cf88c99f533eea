"""The supervisor: makes the engine's memory, starts its processes, watches them, and ends the run in order.

    make memory (killed) -> start processes -> all ready -> arm -> watch -> kill -> drain -> stop -> remove

What it does when a process of the path dies:

    gateway alone       restarted with back-off; it recovers from its intent file and the venue's stream
    any other stage     with a journal: restarted with back-off; its successor makes its state again from what is
                        recorded (hotpath/recovery.py). Until it has, orders are only cancelled.
                        Without a journal, with engine.on_crash = "end", after engine.restarts_max restarts within
                        engine.restarts_window_s, or when what was made again differs:
                        the run ends killed: new orders stop, open orders are cancelled,
                        the latch is set; where the gateway died with it, one is started again for the cancels alone

Whatever else goes wrong while orders may leave (the machine starts no process, a disk is full) ends the run in the
same way. Only when the supervisor itself is killed do its children end by themselves.

The processes beside the path, and what their deaths mean, are rows of hotpath/side_processes.py.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from ffi import lib
from ffi.dtypes import enum_names
from hotpath import strategy_watch
from hotpath.arming import missing_preconditions
from hotpath.broken_promise import refuse_broken
from hotpath.children import LOG_BYTES_MAX, Child, describe_exit, remarks_of
from hotpath.config import Config
from hotpath.control.answer import answer
from hotpath.control.envelope import envelope_missing
from hotpath.control.guards import Guards
from hotpath.control.kill_watch import KillSignal, KillWatch
from hotpath.control.requests import RequestDesk
from hotpath.engine import EngineMemory, EngineSpec
from hotpath.errors import ConfigError, RecoveryError, StageError
from hotpath.holders import Hold, engine_lock, hold
from hotpath.journal import run_folder
from hotpath.journal.watch import JournalWatch
from hotpath.latch import latch_path, refuse_latched, set_latch
from hotpath.ledger.desk import AdjustmentDesk
from hotpath.models.page import load_configured
from hotpath.models.watch import ModelWatch
from hotpath.reconcile.watch import ReconcileWatch
from hotpath.run_file import write_run_file
from hotpath.seat_watch import bury_coprocesses
from hotpath.side_processes import side_processes
from hotpath.topology import MODELS_SEGMENT, MODELS_WATCH_SEGMENT, STAGES, page_segment, side_segment

READY_SECONDS = 30.0
PRECONDITION_SECONDS = 5.0  # that a start waits for them; afterwards the run goes on unarmed until they hold
DRAIN_SECONDS = 3.0
STOP_SECONDS = 5.0
RESCUE_SECONDS = 8.0  # for a gateway started again to cancel what its predecessor left open
WATCH_SECONDS = 0.05
ABSENT_SECONDS = 1.0  # a round this late: the supervisor itself did not run, and saw no heartbeat either
TOLD_ONE_BY_ONE = 5  # restarts of a side process; later ones are told when their number has doubled
RESTARTABLE = ("gateway",)  # by itself, from its own memory


@dataclass
class Outcome:
    """How a run ended."""

    reason: str  # "stopped", "finished", or what went wrong
    failed: bool = False
    restarts: dict[str, int] = field(default_factory=dict)


class EngineName:
    """The engine's name, which one process at a time has on this host and over its state_dir.

    Whoever has it may touch the engine's files: latch, intents, logs. It goes with the block, or with this process.
    """

    def __init__(self, config: Config) -> None:
        """Raises HeldError when another engine of this name runs, ConfigError when there can be no state_dir."""
        name, state_dir = config.engine.name, Path(config.engine.state_dir)
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"engine.state_dir: {state_dir}: cannot be made: {error.strerror}") from None
        self._holds: list[Hold] = []
        try:
            for path, other in (
                (engine_lock(name), "another engine.name"),
                (state_dir / f"{name}.lock", "another engine.name or engine.state_dir"),
            ):
                self._holds.append(
                    hold(
                        path,
                        f"the engine name {name}",
                        note=f"state_dir {state_dir}",
                        next_step=f"stop that engine first (hotpath stat {name} shows it), or give this one {other}",
                    )
                )
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give it back."""
        while self._holds:
            self._holds.pop().release()

    def __enter__(self) -> EngineName:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Supervisor:
    """One run of one engine, whose name the caller has (EngineName)."""

    def __init__(self, spec: EngineSpec, *, arm: bool, record: Path | None = None, messages_per_round: int = 0) -> None:
        self.spec = spec
        self.make_child: Callable[..., Child] = Child  # hotpath/units has another, which a service manager starts
        self.arm_when_ready = arm
        self.messages_per_round = messages_per_round
        self.state_dir = Path(spec.config.engine.state_dir)
        self.latch_path = latch_path(spec.config)
        self.children: dict[str, Child] = {}
        self.notices: list[str] = []
        self.run_path = self.state_dir / f"{spec.name}.run.json"
        self._seen_at = self._absent_until = time.monotonic()
        self._armed = False
        self._killed_here = False
        self._unarmed_for: list[str] = []  # preconditions that did not hold when the engine should have been armed
        self._away: dict[str, float] = {}  # processes of the path that are being made again, since when
        if arm:
            refuse_latched(spec.config)
            refuse_broken(spec.config)
        self.memory = EngineMemory(spec)
        if spec.journal and record is None:
            record = run_folder(spec.config, trading_day=spec.trading_day, run_epoch=self.memory.run_epoch)
        self.record = record  # the folder of this run's journal
        self.side_processes = side_processes(spec, self.run_path, record=record)
        self._journal = JournalWatch(self.memory)
        self.desk = AdjustmentDesk(self.memory)
        self.reconciliation = ReconcileWatch(self.memory, self.desk)
        self.end_wanted = ""  # why the run shall end, when somebody asked for it
        self._requests = RequestDesk(spec.config, run_epoch=self.memory.run_epoch)
        self.kills = KillWatch(self.memory)
        self._guards = Guards(self.memory)
        self._models = self._watch_models()
        try:
            write_run_file(self.run_path, spec, run_epoch=self.memory.run_epoch, messages_per_round=messages_per_round)
        except BaseException:
            self.close()
            raise

    # ---- before ----------------------------------------------------------------------------------

    def start(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Start every process and wait until all are ready, or `until` says to stop; arm if that was asked for.

        In virtual time the first process to start begins at once, so the engine is armed before it:
        whether an order passes may not depend on how long a start takes. Raises StageError.
        """
        try:
            self._start(until)
        except OSError as error:
            raise StageError(f"the engine's processes cannot be started: {error}") from None

    def _start(self, until: Callable[[], bool]) -> None:
        if self.arm_when_ready and self.spec.lockstep:
            self.arm()
        self._start_sides(around=True)
        if self.spec.config.models.load and self.spec.journal:
            load_configured(self.spec, run_epoch=self.memory.run_epoch)
        self.notices += self.desk.serve()  # before the gateway's first turn, so that they stand before its executions
        for place in self.spec.placement.places:
            self._start_stages(place.process, place.stages)
        ready = self._wait_ready(until, [page_segment(stage) for stage in STAGES])
        self._start_sides(around=False)
        awaited = [side.page for side in self.side_processes if side.awaited]
        if ready and self._wait_ready(until, awaited) and self.arm_when_ready and not self.spec.lockstep:
            self._arm_or_wait(until)

    def _arm_or_wait(self, until: Callable[[], bool]) -> None:
        """Arm once every precondition holds; after a while say what is missing, and go on looking."""
        deadline = time.monotonic() + PRECONDITION_SECONDS
        while (missing := self._missing()) and time.monotonic() < deadline and not until():
            self._check_reconciliation()
            time.sleep(0.005)
        self._check_reconciliation()  # what was found holds its instrument before the first order
        self._unarmed_for = missing
        self.notices += [f"not armed: {each}" for each in missing]
        if not missing:
            self.arm()

    def _missing(self) -> list[str]:
        """What must hold before orders may leave, and does not."""
        missing = [*missing_preconditions(self.memory), *self.desk.missing(), *envelope_missing(self.spec.config)]
        return missing or self.reconciliation.missing

    def _watch_models(self) -> ModelWatch | None:
        """In virtual time nobody looks on: what is found there must not depend on when."""
        config = self.spec.config.models
        if not config.enabled or self.spec.lockstep:
            return None
        segments = self.memory.segments
        return ModelWatch(segments[MODELS_SEGMENT], segments[MODELS_WATCH_SEGMENT], config)

    def _check_reconciliation(self) -> None:
        self.notices += self.reconciliation.check()

    def _arm_late(self) -> None:
        """What was missing at the start may hold by now. A kill since then is people's to accept."""
        if not self._unarmed_for or self._killed_here or self.kills.latched:
            return
        missing = self._missing()
        self.notices += [f"not armed: {each}" for each in missing if each not in self._unarmed_for]
        self._unarmed_for = missing
        if not missing:
            self.notices.append("armed: every precondition holds now")
            self.arm()

    def _start_stages(self, name: str, stages: tuple[str, ...]) -> None:
        """Start the process of this name; it runs `stages` of its place."""
        command = ["hotpath.stage_process", name, str(self.run_path), ",".join(stages)]
        child = self.children.get(name) or self.make_child(name, command, self._log_path(name))
        child.command, child.stages = command, stages
        self._start_child(child)

    def _start_sides(self, *, around: bool) -> None:
        for side in self.side_processes:
            if side.around == around:
                self._start_child(self.make_child(side.name, list(side.command), self._log_path(side.name), side=side))

    def _log_path(self, name: str) -> Path:
        return self.state_dir / f"{self.spec.name}.{name}.log"

    def _start_child(self, child: Child) -> None:
        """Start it, or start it again; its pages forget its predecessor. Raises OSError when the machine cannot."""
        for name in self._pages(child):
            page = self._page(name)
            page.heartbeat_time_ns = 0
            lib.stage_announce(page, lib.STAGE_STARTING, 0, 0)
        child.without = self._secrets_of_others(child)
        if child.rebuilds:
            times = f"{child.noticed_ns},{self._now_ns()}"
            child.command = [*child.command[:4], str(self.record), times]
        child.start()
        self.children[child.name] = child

    def _secrets_of_others(self, child: Child) -> tuple[str, ...]:
        """Variables that hold a secret of a stage which this process does not run."""
        config = self.spec.config
        owners = {
            "gateway": config.gateway.password_env,
            "feed": config.feed.snapshot_password_env,
            "projector": config.projection.password_env,
            "reconcile": config.reconcile.password_env,
        }
        own = {owners[name] for name in owners if name in (*child.stages, child.name)}
        return tuple(name for name in owners.values() if name and name not in own)

    def _pages(self, child: Child) -> list[str]:
        """Segments of the pages in which a process announces itself."""
        if child.side is not None:
            return [child.side.page] if child.side.page else []
        return [page_segment(stage) for stage in child.stages]

    def _page(self, name: str) -> Any:
        return self.memory.segments[name].cast("stage_page *")

    def _ready(self, name: str) -> bool:
        return int(self._page(name).state) >= int(lib.STAGE_READY)

    def _wait_ready(self, until: Callable[[], bool], pages: list[str]) -> bool:
        """Whether every one of `pages` says that it is ready; False when `until` ended the wait."""
        deadline = time.monotonic() + READY_SECONDS
        waiting = set(pages)
        while waiting:
            if until():
                return False
            waiting = {name for name in waiting if not self._ready(name)}
            for child in self.children.values():
                if child.exit_code() is not None and waiting.intersection(self._pages(child)):
                    raise StageError(f"process {child.name} ended while starting: {child.said() or 'it said nothing'}")
            if time.monotonic() > deadline:
                late = ", ".join(sorted(name.partition(".")[2] for name in waiting))
                raise StageError(f"not ready within {READY_SECONDS:g} s: {late}")
            time.sleep(0.005)
        return True

    def remarks(self) -> list[str]:
        """What the processes said of themselves so far, such as privileges that they miss: each remark once."""
        return remarks_of(list(self.children.values()))

    # ---- kill and arm ------------------------------------------------------------------------------

    def arm(self) -> None:
        """Accept the kill that stands; orders may leave from here on."""
        if not self.accept(int(self.memory.control.kill_epoch)):
            self.notices.append("killed while arming: the engine stays killed")

    def accept(self, epoch: int) -> bool:
        """Accept one kill; False when a later one stands, which was not meant."""
        self._armed, self._killed_here, self._unarmed_for = True, False, []
        return bool(lib.control_arm(self.memory.control, epoch))

    def kill(self, reason: str, *, latch: bool) -> None:
        """No new order leaves after this; with `latch`, over restarts too."""
        epoch = lib.control_kill(self.memory.control)
        self._killed_here = True
        self.kills.knows(int(epoch))
        if latch:
            self.notices.append(f"killed (epoch {epoch}): {reason}")
            try:
                set_latch(self.latch_path, reason=reason, epoch=int(epoch))
            except OSError as error:  # the kill itself stands in memory, and orders are yet to be cancelled
                self.notices.append(f"not latched, {self.latch_path} cannot be written: {error.strerror}")

    # ---- while -------------------------------------------------------------------------------------

    def watch(self, *, until: Callable[[], bool], each: Callable[[], None] | None = None) -> Outcome:
        """Look after the processes until `until` says so, the run finishes, or a stage is lost.

        `each` is called every round, for a live view; one that fails is called no more.
        """
        while not until():
            if self.end_wanted:
                return self._outcome(self.end_wanted)
            self._beat()
            self.notices += self.kills.check(list(self.children.values()), self.latch_path)
            for child in list(self.children.values()):
                trouble = self._check(child)
                if trouble is not None:
                    return self._outcome(trouble, failed=trouble != "finished")
            self._check_away()
            self._check_journal()
            self._check_reconciliation()
            if self._models is not None:
                self.notices += self._models.check()
            self.notices += self._guards.check() + self.desk.serve()
            self.notices += self._requests.serve(partial(answer, self))
            self._arm_late()
            bury_coprocesses(self.memory)
            if each is not None:
                try:
                    each()
                except Exception as error:  # the run matters, its picture does not
                    each = None
                    self.notices.append(f"the view failed: {type(error).__name__}: {error}")
            time.sleep(WATCH_SECONDS)
        return self._outcome("stopped")

    def _beat(self) -> None:
        """The engine tightens by itself once this is not heard (leases.supervisor_ms)."""
        lib.control_beat(self.memory.control, lib.BEAT_SUPERVISOR, 0 if self.spec.lockstep else self._now_ns())

    def _check(self, child: Child) -> str | None:
        """None while all is well or being mended; else why the run must end."""
        if child.left:
            return None
        if child.restart_at is not None:
            if time.monotonic() >= child.restart_at:
                return self._start_again(child)
            return None
        if child.bound_log():
            self.notices.append(f"{child.log_path} was begun anew: it had more than {LOG_BYTES_MAX >> 20} MiB")
        code = child.exit_code()
        if child.side is not None and child.side.seat:
            return self._check_strategy(child, code)
        if code is None:
            return self._check_heartbeat(child)
        if code == 0 and self.spec.lockstep and child.stages:
            return "finished"
        return self._lost(child, describe_exit(code))

    def _start_again(self, child: Child) -> str | None:
        try:
            self._start_child(child)
        except OSError as error:
            child.restart_at = None
            return self._lost(child, f"cannot be started: {error.strerror}")
        return None

    def _check_strategy(self, child: Child, code: int | None) -> str | None:
        """One whose seat was cut is ended, whatever it does. In virtual time all must take their turns to the end."""
        if self.spec.lockstep:
            child.left = code == 0 and bool(self.memory.segments["lockstep"].cast("lockstep_page *").finished)
            if code is None or child.left:
                return None
            return f"strategy {child.name} {strategy_watch.what_happened(child, '')}"
        reason = strategy_watch.cut_reason(self.memory, child)
        if code is None and not reason:
            return self._check_heartbeat(child)
        if code is None:
            strategy_watch.end_cut_off(child)
        self._side_lost(child, f"strategy {child.name} {strategy_watch.what_happened(child, reason)}")
        return None

    def _check_heartbeat(self, child: Child) -> str | None:
        now = time.monotonic()
        for name in self._pages(child):
            silence = self._silence_seconds(child, name, now)
            starting = not self._ready(name)
            if silence <= (READY_SECONDS if starting else self.spec.config.engine.hang_ms / 1000):
                continue
            child.kill()
            what = f"not ready within {silence:.1f} s" if starting else f"hung: no heartbeat for {silence:.1f} s"
            return self._lost(child, what)
        return None

    def _silence_seconds(self, child: Child, page: str, now: float) -> float:
        """Since the last heartbeat or, before the first, since the start; only time in which we watched counts."""
        if now - self._seen_at > ABSENT_SECONDS:  # a machine that was suspended has no hung process
            self._absent_until = now
        self._seen_at = now
        heartbeat_ns = int(self._page(page).heartbeat_time_ns)
        silence = now - max(child.started, self._absent_until)
        if not heartbeat_ns:
            return silence
        clock = self.memory.segments["clock"].cast("clock_page *")
        return min(silence, (int(lib.clock_now(clock)) - heartbeat_ns) / 1e9)

    def _check_journal(self) -> None:
        journal = self.children.get("journal")
        if journal is None or journal.left:
            return
        running = journal.restart_at is None and self._ready(side_segment("journal"))
        notice = self._journal.check(running=running)
        if notice:
            self.notices.append(notice)

    # ---- losses ------------------------------------------------------------------------------------

    def _lost(self, child: Child, what: str) -> str | None:
        """A process is dead: None when the run goes on without it or with its successor, else why it must end."""
        said = child.said()
        what += f" ({said})" if said else ""
        if child.side is not None:
            self._side_lost(child, f"the {child.name} {what}")
            return None
        what = f"process {child.name} {what}"
        alone = child.stages == RESTARTABLE
        if (alone or self._can_rebuild(child)) and not self._too_often(child):
            if not alone:
                self._set_aside(child)
            elif (
                self.spec.config.gateway.kind == "paper"
            ):  # a venue without a memory of its own: the market is replayed
                child.rebuilds, child.noticed_ns = self._can_rebuild(child), self._now_ns()
            delay = child.restart_later()
            self.notices.append(f"{what}; restart {self._count(child)} in {delay:g} s")
            return None
        if child.name in self._away:
            lib.control_cause(self.memory.control, lib.CAUSE_SUPERVISOR, lib.MODE_HALTED)
        self.kill(what, latch=True)
        return what

    def _too_often(self, child: Child) -> bool:
        """Whether it has had as many restarts as it may have within the window."""
        engine = self.spec.config.engine
        return child.recent_restarts(engine.restarts_window_s) >= engine.restarts_max

    def _count(self, child: Child) -> str:
        """Its restarts so far, and how many it may have."""
        engine = self.spec.config.engine
        window = f" within {engine.restarts_window_s} s" if engine.restarts_window_s else ""
        return f"{child.recent_restarts(engine.restarts_window_s)} of {engine.restarts_max}{window}"

    # ---- stages that are made again ----------------------------------------------------------------

    def _now_ns(self) -> int:
        return int(lib.clock_now(self.memory.segments["clock"].cast("clock_page *")))

    def _can_rebuild(self, child: Child) -> bool:
        """Whether a successor can make its stages again: from a journal that lives, and that did not contradict it."""
        journal = self.children.get("journal")
        if self.record is None or journal is None or journal.left or self.spec.lockstep:
            return False
        refused = child.name in self._away and child.exit_code() == RecoveryError.exit_code
        return self.spec.config.engine.on_crash == "recover" and not refused

    def _set_aside(self, child: Child) -> None:
        """Nothing new is ordered while a stage is away; cancels pass, as far as those stages that are here can."""
        child.rebuilds = True
        child.noticed_ns = self._now_ns()
        self._away.setdefault(child.name, time.monotonic())
        lib.control_cause(self.memory.control, lib.CAUSE_SUPERVISOR, lib.MODE_CANCEL_ONLY)

    def _check_away(self) -> None:
        """Those that have made their stages again are back; with the last of them orders may leave as before."""
        for name, since in list(self._away.items()):
            child = self.children[name]
            if child.restart_at is not None or not all(self._ready(page) for page in self._pages(child)):
                continue
            del self._away[name]
            self.notices.append(f"process {name} is back after {time.monotonic() - since:.2f} s: {self._phases(child)}")
            if not self._away:
                lib.control_cause(self.memory.control, lib.CAUSE_SUPERVISOR, lib.MODE_NORMAL)

    def _phases(self, child: Child) -> str:
        """What the time of its restart went to."""
        page = self._page(self._pages(child)[0])
        names = enum_names("restart_phase")
        spans = (
            f"{names[index].removeprefix('RESTART_').lower()} {page.restart_ns[index] / 1e6:.0f} ms"
            for index in range(lib.RESTART_PHASES)
        )
        return f"{page.restart_turns} turns made again; {', '.join(spans)}"

    def _side_lost(self, child: Child, what: str) -> None:
        """The policy of its row; none ends the run."""
        assert child.side is not None, "the caller looked"
        if child.side.when_dead == "restart" and not self._given_up(child):
            delay = child.restart_later()
            if child.restarts <= TOLD_ONE_BY_ONE or child.restarts & (child.restarts - 1) == 0:
                self.notices.append(f"{what}; restart {child.restarts} in {delay:g} s")
            return
        if child.side.when_dead == "resume" and self._may_resume(child):
            self._journal.went_away()
            delay = child.restart_later()
            self.notices.append(f"{what}; reduce only, restart {child.restarts} in {delay:g} s")
            return
        child.left = True
        halted = f": {self._journal.died()}" if child.side.when_dead == "resume" else ": the run goes on without it"
        self.notices.append(what + halted)

    def _may_resume(self, child: Child) -> bool:
        """Whether it was killed; one that ended itself, as for a disk that refuses, would only do it again."""
        code = child.exit_code()
        return (code is None or code < 0) and child.failures < self.spec.config.engine.restarts_max

    def _given_up(self, child: Child) -> bool:
        """Whether a strategy has had its restarts: each cancels its orders and begins anew. Others have no limit."""
        return bool(child.side and child.side.seat) and self._too_often(child)

    def _outcome(self, reason: str, *, failed: bool = False) -> Outcome:
        restarts = {child.name: child.restarts for child in self.children.values() if child.restarts}
        return Outcome(reason, failed=failed, restarts=restarts)

    # ---- after -------------------------------------------------------------------------------------

    def drain(self) -> int:
        """Stop taking new work and wait until open orders are cancelled. Returns how many are left."""
        lib.control_beat(self.memory.control, lib.BEAT_SUPERVISOR, 0)  # it leaves in order
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
        return self._alive("gateway") and (self.open_orders() > 0 or not self._ready(page_segment("gateway")))

    def _rescue(self) -> None:
        """A gateway for the cancels alone, where one died in company: it recovers, killed, and sweeps."""
        name = next(child.name for child in self.children.values() if "gateway" in child.stages)
        self.notices.append("the gateway is started again to cancel what is open")
        try:
            self._start_stages(name, RESTARTABLE)
        except OSError as error:
            self.notices.append(f"the gateway cannot be started: {error.strerror}")

    def open_orders(self) -> int:
        """Orders that the gateway knows to be open or of unknown fate."""
        return int(self.memory.stage_page("gateway").counter[lib.GATEWAY_OPEN_ORDERS])

    def _alive(self, stage: str) -> bool:
        return any(stage in child.stages and child.exit_code() is None for child in self.children.values())

    def abandon(self, error: BaseException) -> None:
        """The run cannot be watched on: if orders may have left, none follows and those that are open are cancelled.

        Raises nothing: what goes wrong here as well becomes a notice.
        """
        if not self._armed or self.spec.lockstep:  # nothing left, or nothing that a venue could know of
            return
        try:
            self.kill(f"the supervisor failed: {type(error).__name__}: {error}", latch=True)
            left = self.drain()
            if left:
                self.notices.append(f"{left} open orders were not confirmed cancelled")
        except Exception as another:
            self.notices.append(f"open orders may be left: {type(another).__name__}: {another}")

    def stop(self) -> None:
        """Let every process leave: first those that came after the stages, then the stages, then the rest."""
        self._stop_sides(around=False)
        lib.control_stop(self.memory.control, 2)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children.values():
            if child.side is None:
                child.end(seconds=deadline - time.monotonic())
        self._stop_sides(around=True)
        self.notices += [each for each in self.reconciliation.ended() if each not in self.notices]
        if self.spec.lockstep:
            self.notices += [
                notice
                for child in self.children.values()
                if (notice := strategy_watch.notice_of(child)) not in ("", *self.notices)
            ]

    def _stop_sides(self, *, around: bool) -> None:
        for child in reversed(self.children.values()):
            if child.side is not None and child.side.around == around:
                self._let_resume(child)
                child.end(seconds=STOP_SECONDS, tell=True)

    def _let_resume(self, child: Child) -> None:
        """A journal that was killed, and is not yet started again, writes down what the rings still hold."""
        if child.left or child.side is None or child.side.when_dead != "resume":
            return
        if child.restart_at is None and (child.exit_code() is None or not self._may_resume(child)):
            return
        try:
            self._start_child(child)
        except OSError as error:
            self.notices.append(f"the {child.name} cannot be started: {error.strerror}")
            return
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and child.exit_code() is None and not self._ready(child.side.page):
            time.sleep(0.01)

    def close(self) -> None:
        """Remove the segments."""
        self.memory.unlink()


class StopSignals:
    """SIGINT, SIGTERM and SIGHUP as a flag: ``with StopSignals() as stop: ... while not stop.set``.

    SIGHUP is what a closing terminal sends; nohup has it ignored, which stays so. Only a main thread hears signals;
    in another the flag is never set.
    """

    def __init__(self) -> None:
        self.set = False
        self._before: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.set = True

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
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
        try:
            with KillSignal(supervisor.kills.by_signal):
                supervisor.start(until=until)
                if when_started is not None:
                    when_started()
                outcome = supervisor.watch(until=until, each=each)
        except BaseException as error:
            supervisor.abandon(error)
            raise
        left = supervisor.drain()
        if left and not supervisor.spec.lockstep:
            supervisor.notices.append(f"{left} open orders were not confirmed cancelled")
        supervisor.stop()
        if before_removal is not None:
            before_removal()
        return outcome
    finally:  # whatever went wrong, no process and no segment is left
        try:
            supervisor.stop()
        finally:
            supervisor.close()
