"""``hotpath run``: one engine from its configuration, under a supervisor, until it is told to stop."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hotpath import host
from hotpath.config import Config, load_config
from hotpath.control.envelope import under_envelope
from hotpath.control.loss import clear_loss
from hotpath.errors import HotpathError
from hotpath.history.sampler import RunSampler, runs_folder
from hotpath.latch import clear_latch
from hotpath.ledger.carry import open_with_last
from hotpath.notify import Watchdog, notify
from hotpath.recordings import keep_intents, keep_intents_of_cut_off
from hotpath.report import RunReport, collect_report, measure_spin
from hotpath.runs import live_spec, with_engine
from hotpath.scratch import reap_leftovers
from hotpath.stages import intents_path
from hotpath.states import keep_states, noted_states
from hotpath.supervisor import EngineName, Outcome, StopSignals, Supervisor, supervise
from hotpath.units.child import UnitChild

OWNER_ONLY = 0o077  # umask: what an engine trades is nobody else's to read


@dataclass(frozen=True)
class RunOptions:
    """What `hotpath run` can be told."""

    arm: bool = False
    clear_kill: str = ""  # the reason for accepting a latched kill; empty: it stands
    clear_loss: str = ""  # the same of the loss latch
    record: Path | None = None  # the journal's folder; None: as configured
    seconds: float | None = None  # None: until SIGINT or SIGTERM
    watch: bool = False  # show the live screen
    topology: str | None = None
    room: Path | None = None  # where units wait that run the processes; None: they are started from here
    spin_seconds: float = 0.0  # measure the machine itself for so long afterwards


def run_engine(config_path: Path, options: RunOptions) -> tuple[Outcome, RunReport]:
    """Run until stopped; returns how it ended and what it did. Raises HotpathError when it cannot start."""
    config = load_config(config_path)
    if options.topology:
        config = with_engine(config, topology=options.topology)
    return run_configured(config, options)


def intents_note(config: Config) -> list[str]:
    """What it costs to keep intents on a disk, where the configuration does."""
    folder = intents_path(config).parent
    if folder.exists() and host.on_tmpfs(folder):
        return []
    return [
        f"the intent file lies on a disk ({folder}): the first store to each of its pages takes tens of "
        'microseconds, about every 20th order; gateway.intents_dir = "/dev/shm" or a folder of /run avoids it'
    ]


def run_configured(config: Config, options: RunOptions) -> tuple[Outcome, RunReport]:
    """The same with a configuration that is already loaded."""
    reap_leftovers()
    before = os.umask(OWNER_ONLY)
    try:
        config = under_envelope(config)
        with StopSignals() as stop, EngineName(config):  # its name first: what lies under it may be a running engine's
            if options.clear_kill:
                clear_latch(config, reason=options.clear_kill)
            if options.clear_loss:
                clear_loss(config, reason=options.clear_loss)
            return _run_named(config, options, stop)
    finally:
        os.umask(before)


def _run_named(config: Config, options: RunOptions, stop: StopSignals) -> tuple[Outcome, RunReport]:
    """A run, by the process that has the engine's name."""
    keep_intents_of_cut_off(config)
    spec = live_spec(config, journal=options.record is not None or config.journal.enabled)
    for note in (*spec.placement.notes, *intents_note(config)):
        print(f"note: {note}", file=sys.stderr)
    open_with_last(config, trading_day=spec.trading_day)
    reports: list[RunReport] = []
    states: dict[str, str] = {}
    sampler = RunSampler(spec, runs_folder(spec))
    started: float | None = None  # monotonic seconds; what the processes take to start is no part of the run

    def elapsed() -> float:
        return 0.0 if started is None else time.monotonic() - started

    def collect() -> None:
        sampler.end()
        reports.append(collect_report(supervisor.memory, seconds=elapsed()))
        states.update(noted_states(supervisor.memory))

    told = 0

    def tell() -> None:
        """What the supervisor has to say, when it happens; all of it stands in the report again."""
        nonlocal told
        for line in supervisor.notices[told:]:
            print(f"note: {line}", file=sys.stderr)
        told = len(supervisor.notices)

    def ready() -> None:
        nonlocal started
        started = time.monotonic()
        try:
            sampler.begin()
        except HotpathError as error:  # the run matters, its picture does not
            print(f"note: the run is not sampled: {error}", file=sys.stderr)
        notify("STATUS=every process is ready")
        for line in supervisor.remarks():
            print(f"note: {line}", file=sys.stderr)
        if not options.watch:
            tell()

    watchdog = Watchdog()

    def over() -> bool:
        watchdog.feed(time.monotonic_ns())
        return stop.set or (options.seconds is not None and elapsed() > options.seconds)

    supervisor = Supervisor(spec, arm=options.arm, record=options.record)
    if options.room is not None:
        supervisor.make_child = partial(UnitChild, room=options.room)
    notify("READY=1", "STATUS=the room is made, processes may come")  # of the keeper; each process is ready by itself
    try:
        if options.watch:
            from hotpath.screen import live_screen

            with live_screen(spec.name) as refresh:
                outcome = supervise(supervisor, until=over, each=refresh, when_started=ready, before_removal=collect)
        else:
            outcome = supervise(supervisor, until=over, each=tell, when_started=ready, before_removal=collect)
    except BaseException:  # there will be no report to tell them
        tell()
        raise
    finally:
        sampler.end()
    if supervisor.record is not None:
        keep_intents(config, supervisor.record)
        keep_states(states, supervisor.record)
    report = reports[0]
    if options.spin_seconds:
        report.spin = measure_spin(cpu=spec.placement.places[0].cpu, seconds=options.spin_seconds)
    report.outcome = outcome.reason
    report.notices = [*supervisor.notices, *filter(None, [sampler.trouble])]
    sampler.finish(report)
    return outcome, report
