"""One Python strategy in a process of its own: ``python -m hotpath.strategy_process NAME RUN_FILE``.

Started by the supervisor, which ends it when the engine has cut its seat off. It runs beside the path: whatever
happens here, the path does not wait for it.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from ffi import lib
from hotpath import host
from hotpath.config import StrategyConfig
from hotpath.engine import EngineSpec
from hotpath.errors import ConfigError, HotpathError
from hotpath.notify import notify
from hotpath.run_file import RunFile, read_run_file
from hotpath.strategy_host import StrategyHost

SLICE_NS = 50_000_000
BEAT_SECONDS = 0.02  # between two looks at the run, and publications of counters
SLEEP_SECONDS = 0.000_05
IDLE_BEFORE_SLEEP = 200  # turns without work: an event often follows an event
CUT_OFF = 75  # exit code

_told_to_stop = False


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _told_to_stop
    _told_to_stop = True


def run_strategy(name: str, run_path: Path) -> int:
    """Run one strategy until the engine stops or cuts it off. Returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the supervisor's to answer
    signal.signal(signal.SIGTERM, _stop)
    faulthandler.enable()  # the supervisor ends one that hangs by SIGABRT: its log then says where it hung
    host.die_with_parent(signal.SIGKILL)  # one that hangs answers no other; nobody is left to tell it again
    host.set_thread_name(name)
    run, spec = read_run_file(run_path)
    config = strategy_named(spec, name)
    if config.cpu is None:
        host.stand_aside(spec.placement)
    elif (denial := host.pin(config.cpu)) is not None:
        print(f"{name}: {denial}", file=sys.stderr, flush=True)
    strategy = StrategyHost(spec, config, run_epoch=run.run_epoch)
    os.register_at_fork(after_in_child=strategy.let_go_of_lock)
    gc.collect()
    gc.freeze()
    if spec.lockstep:
        return _run_lockstep(strategy, spec, run)
    return _run_live(strategy, config, spec, run)


def strategy_named(spec: EngineSpec, name: str) -> StrategyConfig:
    """Its configuration. Raises ConfigError."""
    for config in spec.config.strategies:
        if config.name == name:
            return config
    raise ConfigError(f"strategies.{name}: this run has no such strategy")


def _run_live(strategy: StrategyHost, config: StrategyConfig, spec: EngineSpec, run: RunFile) -> int:
    control = strategy.control
    ready = False
    idle = 0
    beat_at = 0.0
    while not _told_to_stop and not strategy.over:
        calls = strategy.turn()
        idle = 0 if calls else idle + 1
        now = time.monotonic()
        if now >= beat_at:
            beat_at = now + BEAT_SECONDS
            strategy.publish_counters()
            if not ready and strategy.started:
                ready = True
                lib.stage_announce(strategy.page, lib.STAGE_READY, os.getpid(), 0xFFFFFFFF)
                notify("READY=1", "STATUS=runs")
            if control.stop:
                break
        if idle > IDLE_BEFORE_SLEEP and config.wait == "sleep":
            time.sleep(SLEEP_SECONDS)
        elif idle and config.wait != "spin":
            os.sched_yield()
    strategy.stop()
    lib.stage_announce(strategy.page, lib.STAGE_STOPPED, os.getpid(), 0xFFFFFFFF)
    return CUT_OFF if strategy.over or strategy.error is not None else 0


def _run_lockstep(strategy: StrategyHost, spec: EngineSpec, run: RunFile) -> int:
    """A turn a round, also when it is cut off: the baton must go on."""
    place = [config.name for config in spec.config.strategies].index(strategy.config.name)
    lib.stage_announce(strategy.page, lib.STAGE_READY, os.getpid(), 0xFFFFFFFF)
    page = strategy.lockstep
    while not _told_to_stop:
        result = lib.duty_await(page, strategy.control, strategy.c.clock, place, SLICE_NS)
        if result == lib.DUTY_STRATEGIES:
            strategy.turn(calls_max=None)
            lib.duty_pass(page)
        else:
            strategy.publish_counters()
        if result in (lib.DUTY_FINISHED, lib.DUTY_STOPPED):
            break
    strategy.stop()
    lib.stage_announce(strategy.page, lib.STAGE_STOPPED, os.getpid(), 0xFFFFFFFF)
    return 0


def main(arguments: list[str]) -> int:
    """Entry point; errors go to standard error, which the supervisor keeps as the process's log."""
    name, run_path = arguments
    try:
        return run_strategy(name, Path(run_path))
    except HotpathError as error:
        print(f"{name}: {error}", file=sys.stderr)
        if error.next_step:
            print(f"  {error.next_step}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
