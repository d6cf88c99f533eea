"""One process of a running engine: ``python -m hotpath.stage_process PROCESS RUN_FILE STAGE,... [JOURNAL TIMES]``.

Started by the supervisor. It prepares the machine for its loop (processor, memory, scheduler, garbage
collector), binds its stages, and then stays in C but for a look at its signals every slice. It imports
little: nothing of the command line, of gRPC or of research. With the folder of a JOURNAL it takes the place of a
process that died, and makes its stages again before it goes on (hotpath/recovery.py); TIMES are "NOTICED,STARTED":
when the death was noticed and when this process was started, on the engine clock.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from ffi import ffi, lib
from hotpath import host
from hotpath.control.paths import drop_path
from hotpath.errors import HotpathError
from hotpath.latch import latch_path, read_latch, set_latch
from hotpath.notify import Watchdog, notify
from hotpath.run_file import read_run_file
from hotpath.stages import ProcessStages
from hotpath.states import note_states

SLICE_NS = 50_000_000  # between two looks at signals
LEAVE_SLICES = 60  # that a process which was told to stop gives its gateway, to see every open order cancelled

_told_to_stop = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = True


@dataclass(frozen=True)
class Succession:
    """What a process needs that takes the place of a dead one; instants of the engine clock."""

    journal: Path
    noticed_ns: int
    started_ns: int
    entered_ns: int = field(default_factory=time.monotonic_ns)  # monotonic: the successor's imports are done


def run_process(process: str, run_path: Path, only: tuple[str, ...] = (), succession: Succession | None = None) -> int:
    """Run one process until the engine stops. Returns its exit code: 0, or 70 when a stage failed.

    `only` names the stages of its place that are wanted, by default all of them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to answer
    signal.signal(signal.SIGTERM, _stop)
    host.die_with_parent()
    run, spec = read_run_file(run_path)
    place = spec.placement.place_of(process)
    if only:
        place = dataclasses.replace(place, stages=tuple(stage for stage in place.stages if stage in only))
    stages = ProcessStages(spec, place, run_epoch=run.run_epoch, messages_per_round=run.messages_per_round)
    if succession is not None:
        _succeed(stages, succession)
    stages.follow_models(succeeds=succession is not None)
    host.prepare(place, spec.config.engine)
    host.freeze_garbage()
    _announce(stages, lib.STAGE_READY)
    notify("READY=1", "STATUS=runs")
    watchdog = Watchdog()
    result = lib.DUTY_SLICE_OVER
    parent = os.getppid()
    dropped = drop_path(spec.config) if "gateway" in place.stages and not spec.lockstep else None
    while result == lib.DUTY_SLICE_OVER and not _told_to_stop:
        result = stages.run(SLICE_NS)
        watchdog.feed(_beats(stages))
        if dropped is not None and dropped.exists() and not lib.control_killed(stages.duty.control):
            lib.control_kill(stages.duty.control)  # the supervisor latches it, when it can
    failed = result == lib.DUTY_FAILED
    if _told_to_stop:  # nobody coordinates this end
        _leave_killed(stages, orphaned=os.getppid() != parent)
    if not failed:
        note_states(stages)
    _announce(stages, lib.STAGE_FAILED if failed else lib.STAGE_STOPPED)
    stages.close()
    return 70 if failed else 0


def _succeed(stages: ProcessStages, succession: Succession) -> None:
    """Make the stages again as they were. Raises RecoveryError."""
    from hotpath.recovery import Past, Phases, rebuild_stages

    phases = Phases(stages.duty.clock, noticed_ns=succession.noticed_ns, started_ns=succession.started_ns)
    phases.split(lib.RESTART_START, lib.RESTART_ATTACH, last_ns=time.monotonic_ns() - succession.entered_ns)
    past = Past(stages.spec, run_epoch=stages.run_epoch, folder=succession.journal)
    rebuild_stages(stages, past, phases)


def _leave_killed(stages: ProcessStages, *, orphaned: bool) -> None:
    """No new order may follow; what is open is cancelled, and the venue is heard confirming it.

    Where the supervisor is gone, the gateway's process alone kills, so that another word is somebody else's: that one
    is latched here, since nobody else is left to do it.
    """
    if orphaned and stages.gateway == ffi.NULL:
        return
    control = stages.duty.control
    stood = bool(lib.control_killed(control)) and control.armed_epoch > 0
    own = int(lib.control_kill(control))
    _cancel_all(stages)
    if orphaned and stages.gateway != ffi.NULL and (stood or control.kill_epoch != own):
        latch = latch_path(stages.spec.config)
        if read_latch(latch) is None:
            set_latch(latch, reason="another process stored the word and said nothing", epoch=int(control.kill_epoch))


def _cancel_all(stages: ProcessStages) -> None:
    for _ in range(LEAVE_SLICES):
        result = stages.run(SLICE_NS)
        if stages.gateway == ffi.NULL or result == lib.DUTY_FAILED:
            return
        counter = stages.gateway.stage.page.counter
        if not counter[lib.GATEWAY_OPEN_ORDERS] or not counter[lib.GATEWAY_SESSION_UP]:
            return


def _beats(stages: ProcessStages) -> int:
    """The oldest heartbeat of its stages: it moves only while each of them takes turns."""
    return min(int(getattr(stages, stage).stage.page.heartbeat_time_ns) for stage in stages.place.stages)


def _announce(stages: ProcessStages, state: int) -> None:
    cpu = stages.place.cpu if stages.place.cpu is not None else 0xFFFFFFFF
    for stage in stages.place.stages:
        page = getattr(stages, stage).stage.page
        lib.stage_announce(ffi.cast("stage_page *", page), state, os.getpid(), cpu)


def main(arguments: list[str]) -> int:
    """Entry point; errors go to standard error, which the supervisor keeps as the process's log."""
    process, run_path, *rest = arguments
    only = tuple(rest[0].split(",")) if rest else ()
    succession = None
    if len(rest) == 3:
        noticed, _, started = rest[2].partition(",")
        succession = Succession(Path(rest[1]), int(noticed), int(started))
    try:
        return run_process(process, Path(run_path), only, succession)
    except HotpathError as error:
        print(f"{process}: {error}", file=sys.stderr)
        if error.next_step:
            print(f"  {error.next_step}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
