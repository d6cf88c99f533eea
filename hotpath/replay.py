"""Replay: the same engine over a recorded feed, in virtual time, with the paper venue.

    hotpath replay FILE          length-prefixed ITCH -> raw -> feed -> signal -> risk -> gateway (paper)
    hotpath replay FILE.pcap     MoldUDP64 packets -> line -> raw -> the same
    hotpath replay RECORDING     a live run's journal: its turns again, its orders compared byte for byte
    hotpath replay RECORDING --set KEY=VALUE     its market again, with other settings, against the paper venue

Time is the feed's own (the messages' times for decisions, the capture's stamps for the line's waits and arrivals),
stages take turns in lockstep, and nothing looks at a clock to decide, so one file and one configuration give one
order log, in every topology and on every machine.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from ffi import ffi, lib
from hotpath import captures, flows, intents
from hotpath.config import Config, load_config
from hotpath.engine import EngineSpec, engine_memory, make_spec
from hotpath.errors import CaptureError, StageError
from hotpath.history.sampler import RunSampler
from hotpath.journal import Journal
from hotpath.report import RunReport, collect_report
from hotpath.runs import load_instruments, next_rolls, traded_table, with_hours
from hotpath.scratch import scratch_folder
from hotpath.stages import ProcessStages, intents_path
from hotpath.strategy_host import StrategyHost, summary
from hotpath.supervisor import EngineName, StopSignals, Supervisor, supervise

Progress = Callable[[int, int], None]  # bytes done, bytes in all
SAMPLE_SECONDS = 0.1  # flat out, a day goes by in seconds
SLICE_NS = 200_000_000
WATCHED_SLICE_NS = 1_000_000  # somebody reads the rings after each: at ten million events a second they still hold it
STOPPED = "the replay was stopped before its end"
UNDATED = date(2000, 1, 3)  # a Monday: the trading date of a file that does not tell


@dataclass(frozen=True)
class ReplayOptions:
    """What `hotpath replay` can be told. None: `trading_date` as the file is named, `topology` as configured."""

    config_path: Path | None = None
    topology: str | None = None
    trading_date: date | None = None
    messages_per_round: int = 1
    ports: tuple[int, ...] = ()  # of a capture: lines A and B; none: the only feed in it
    out: Path | None = None  # keep the intent file and the report here
    engine_name: str = field(default_factory=lambda: f"replay-{os.getpid()}")  # so that replays run side by side
    settings: tuple[str, ...] = ()  # "key=value", in place of the configuration's
    trust_code: bool = False  # run the user's code that a journal names
    states_every: int = 0  # raw events between two digests of the stages' state; 0: none


class Onlooker(Protocol):
    """Who takes from the rings of a replay what it wants, slice by slice."""

    def drain(self) -> None:
        """Called after each slice."""

    def state(self, messages: int, stages: ProcessStages) -> None:
        """Called when so many messages, and all that came of them, are through."""


Watch = Callable[[EngineSpec], Onlooker]  # called once the engine's memory is there


def replay_file(
    path: Path, options: ReplayOptions, *, progress: Progress | None = None, watch: Watch | None = None
) -> RunReport:
    """Run the engine over a recorded feed and report. `progress(done, total)` is called now and then, in bytes
    of a file, packets of a capture or events of a journal. With `watch` all stages run in this process."""
    with StopSignals() as stop, scratch_folder("replay") as scratch:
        if path.is_dir():
            spec = journal_spec(path, options, state_dir=scratch)
        else:
            spec = replay_spec(path, options, state_dir=scratch)
        sampler = RunSampler(spec, options.out / "runs" if options.out else None, interval_seconds=SAMPLE_SECONDS)
        if spec.config.engine.topology == "fused":
            report = _replay_here(spec, options, sampler, progress, stop, watch)
        else:
            report = _replay_supervised(spec, options, sampler, stop)
        report.outcome = "finished"
        report.order_log_sha256 = order_log_digest(intents_path(spec.config))
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            shutil.copy(intents_path(spec.config), options.out)
        report.notices += filter(None, [sampler.trouble])
        sampler.finish(report)
        return report


def replay_spec(path: Path, options: ReplayOptions, *, state_dir: Path) -> EngineSpec:
    """The configured engine with its feed and venue replaced by the file and the paper venue."""
    config = load_config(options.config_path) if options.config_path else default_replay_config()
    config = _with_settings(config, options)
    replace = msgspec.structs.replace
    engine = replace(
        config.engine,
        name=options.engine_name,
        state_dir=str(state_dir.resolve()),
        topology=options.topology or (config.engine.topology if options.config_path else "fused"),
    )
    with captures.MappedFile(path) as file:
        kind = "pcap" if captures.detect_format(file) is captures.CaptureFormat.PCAP else "file"
        captured_ns = flows.feed_packets(file, options.ports).first_time_ns if kind == "pcap" else None
    feed = replace(
        config.feed,
        kind=kind,
        path=str(path.resolve()),
        pace="flat",
        pcap_ports=list(options.ports),
    )
    config = replace(config, engine=engine, feed=feed, gateway=replace(config.gateway, kind="paper", intents_dir=""))
    data = load_instruments(config)
    calendar = data.calendar_named(config.engine.calendar)
    day = options.trading_date or date_of_name(path.name)
    if day is None:
        day = UNDATED if captured_ns is None else calendar.trading_date(captured_ns)
    midnight_ns = calendar.midnight_ns(day)
    config = with_hours(config, calendar, day)
    return make_spec(
        config,
        traded_table(config, data),
        midnight_ns=midnight_ns,
        roll_times_ns=next_rolls(calendar, midnight_ns),
        lockstep=True,
    )


def _with_settings(config: Config, options: ReplayOptions) -> Config:
    """The configuration with what --set says."""
    if not options.settings:
        return config
    from hotpath.backtest.settings import with_settings

    return with_settings(config, options.settings)


def journal_spec(folder: Path, options: ReplayOptions, *, state_dir: Path) -> EngineSpec:
    """The engine of a recorded run over the market that its journal has, with the paper venue.

    Its instruments, day and settings are the run's own, but for what `options` changes. Raises CaptureError for one
    that names code of somebody's own, unless that is trusted.
    """
    journal = Journal(folder)
    run, replace = journal.run, msgspec.structs.replace
    config = _with_settings(run.config, options)
    code = [each for each in (config.signal.native, *(strategy.code for strategy in config.strategies)) if each]
    if code and not options.trust_code:
        raise CaptureError(
            f"{folder}: names code of somebody's own, which a replay would run: {', '.join(code)}",
            next_step="if you know that code and who made the recording: hotpath replay --trust-code",
        )
    engine = replace(
        config.engine,
        name=options.engine_name,
        state_dir=str(state_dir.resolve()),
        topology=options.topology or "fused",
    )
    feed = replace(config.feed, kind="file", path=str(folder.resolve()), pace="flat")
    gateway = replace(config.gateway, kind="paper", intents_dir="")
    config = replace(config, engine=engine, feed=feed, gateway=gateway)
    return make_spec(
        config,
        np.array(journal.instruments),
        midnight_ns=run.midnight_ns,
        roll_times_ns=run.roll_times_ns,
        lockstep=True,
    )


def default_replay_config() -> Config:
    """For a file on its own: a slice of a day may begin after the venue said what trades, and no snapshot comes."""
    config, replace = Config(), msgspec.structs.replace
    return replace(
        config,
        risk=replace(config.risk, require_trading_state=False),
        feed=replace(config.feed, late_start="trust"),
    )


def date_of_name(name: str) -> date | None:
    """A date in a file's name: 20200130, 2020-01-30, or as the exchange writes it, 01302020."""
    for year, month, day in re.findall(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)", name):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    for month, day, year in re.findall(r"(?<!\d)(\d{2})(\d{2})(\d{4})(?!\d)", name):
        try:
            return date(int(year), int(month), int(day))
        except ValueError:
            continue
    return None


def _replay_here(
    spec: EngineSpec,
    options: ReplayOptions,
    sampler: RunSampler,
    progress: Progress | None,
    stop: StopSignals,
    watch: Watch | None,
) -> RunReport:
    """All four stages in this process."""
    with engine_memory(spec) as memory:
        stages = ProcessStages(
            spec,
            spec.placement.places[0],
            run_epoch=memory.run_epoch,
            messages_per_round=options.messages_per_round,
            strategies_here=True,
        )
        stages.follow_models()
        strategies = [StrategyHost(spec, each, run_epoch=memory.run_epoch) for each in spec.config.strategies]
        lib.control_arm(memory.control, memory.control.kill_epoch)
        onlooker = watch(spec) if watch is not None else None
        slice_ns = SLICE_NS if onlooker is None else WATCHED_SLICE_NS
        stops = _Stops(stages, options.states_every if onlooker is not None else 0)
        sampler.begin()
        started = time.perf_counter()
        result = lib.DUTY_SLICE_OVER
        while result in (lib.DUTY_SLICE_OVER, lib.DUTY_STRATEGIES):
            if stop.set:
                break
            stood = stops.stands
            result = stages.run(slice_ns)
            while result == lib.DUTY_STRATEGIES:
                _strategies_turn(strategies, stages.duty.lockstep)
                result = stages.run(slice_ns)
            if onlooker is not None:
                onlooker.drain()
                if stood:
                    onlooker.state(stops.messages, stages)
                    stops.go_on()
            if progress is not None:
                progress(*_progress_of(stages.feed))
        seconds = time.perf_counter() - started
        if onlooker is not None and options.states_every:
            onlooker.state(stops.messages, stages)
        for strategy in strategies:
            strategy.stop()
        notices = cut_notices(strategies)
        stages.close()
        sampler.end()
        if stop.set:
            raise StageError(STOPPED)
        if result != lib.DUTY_FINISHED:
            raise StageError(f"the replay ended early (duty result {result})")
        report = collect_report(memory, seconds=seconds)
        report.notices = notices
        for strategy in strategies:
            strategy.close()
        return report


class _Stops:
    """Where a recorded feed stands still until the state was looked at: after every so many messages."""

    def __init__(self, stages: ProcessStages, every: int) -> None:
        self._source = stages.feed.source if every else ffi.NULL
        self._every = every
        self.go_on()

    @property
    def stands(self) -> bool:
        """Whether nothing more is given; what was given is through by the end of the next slice."""
        source = self._source
        return bool(source != ffi.NULL and source.stop_sequence and source.sequence >= source.stop_sequence)

    @property
    def messages(self) -> int:
        """Given so far."""
        return max(0, int(self._source.sequence) - 1) if self._source != ffi.NULL else 0

    def go_on(self) -> None:
        """Up to the next stop."""
        if self._source != ffi.NULL:
            self._source.stop_sequence = (self.messages // self._every + 1) * self._every + 1


def _strategies_turn(strategies: list[StrategyHost], page: Any) -> None:
    """Each its turn, in the order of configuration; the baton goes on after each."""
    for strategy in strategies:
        strategy.turn(calls_max=None)
        lib.duty_pass(page)


def cut_notices(strategies: list[StrategyHost]) -> list[str]:
    """What people should know about strategies that did not last."""
    return [
        f"strategy {each.config.name} was cut off{f': {summary(each.error)}' if each.error else f': {each.cut}'}"
        for each in strategies
        if each.error or each.cut
    ]


def _progress_of(feed: Any) -> tuple[int, int]:
    """Bytes of the file that are done, and in all; of a capture, packets."""
    if feed.capture != ffi.NULL:
        return int(feed.capture.next), int(feed.capture.count)
    return int(feed.source.offset), int(feed.source.size)


def _replay_supervised(spec: EngineSpec, options: ReplayOptions, sampler: RunSampler, stop: StopSignals) -> RunReport:
    """The stages in the processes of their topology."""
    reports: list[RunReport] = []
    started = time.perf_counter()

    def collect() -> None:
        sampler.end()
        reports.append(collect_report(supervisor.memory, seconds=time.perf_counter() - started))

    with EngineName(spec.config):
        supervisor = Supervisor(spec, arm=True, messages_per_round=options.messages_per_round)
        try:
            outcome = supervise(supervisor, until=lambda: stop.set, when_started=sampler.begin, before_removal=collect)
        finally:
            sampler.end()
    if stop.set:
        raise StageError(STOPPED)
    if outcome.failed:
        raise StageError(f"the replay failed: {outcome.reason}")
    reports[0].notices = supervisor.notices
    return reports[0]


def order_log_digest(path: Path) -> str:
    """SHA-256 over the frames of the intent file, in order: equal logs, equal orders."""
    with intents.read_intents(path) as file:
        return intents.frames_digest(file.frames())
