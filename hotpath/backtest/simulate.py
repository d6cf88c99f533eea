"""A replay as a backtest: the same stages over a recorded market, with what they did collected and reported.

hotpath replay DAY.itch --backtest                        one run, its figures
hotpath replay RECORDING --set limits.collar_ppm_max=50   two runs over the journal's market, and how they differ
hotpath replay DAY.itch --set ... --diff BASE             against a run that is on the disk
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from ffi import ffi, lib
from hotpath.backtest.collect import Collector, Run, load_run
from hotpath.backtest.compare import Comparison, compare_runs, same_market
from hotpath.backtest.report import BacktestReport, report_of
from hotpath.engine import EngineSpec
from hotpath.errors import CaptureError
from hotpath.replay import Progress, ReplayOptions, replay_file
from hotpath.report import RunReport
from hotpath.stages import ProcessStages
from hotpath.states import stage_state
from hotpath.topology import STAGES

Bar = Callable[[str], AbstractContextManager[Progress | None]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a backtest makes."""

    report: BacktestReport
    replay: RunReport
    comparison: Comparison | None
    files: dict[str, str]


def backtest(
    path: Path,
    options: ReplayOptions,
    *,
    base: Path | None,
    bar: Bar,
    html: bool = True,
) -> Outcome:
    """Run, report, and compare: with `base`, a run on the disk, or where settings are changed with the same market
    under the settings as they were. Raises HotpathError."""
    replay, run = simulate(path, options, name=_name(path, options.settings), bar=bar)
    comparison = None
    if base is not None or options.settings:
        if base is not None:
            against = load_run(base)
        else:
            plain = dataclasses.replace(options, settings=(), out=None)
            against = simulate(path, plain, name=f"{path.name} as it was", bar=bar)[1]
        _refuse_other_market(against, run)
        comparison = compare_runs(against, run)
    report = report_of(run)
    report.notes += replay.notices
    files: dict[str, str] = {}
    if options.out is not None:
        from hotpath.backtest.files import write_files

        files = write_files(options.out, run, report, comparison, html=html)
    return Outcome(report, replay, comparison, files)


def _name(path: Path, settings: tuple[str, ...]) -> str:
    return f"{path.name} with {', '.join(settings)}" if settings else path.name


def _refuse_other_market(base: Run, other: Run) -> None:
    if not same_market(base, other):
        raise CaptureError(
            f"{base.name}: saw {base.messages:,} raw events, {other.name} {other.messages:,}: not the same market",
            next_step="compare runs over the same file or journal",
        )


def simulate(path: Path, options: ReplayOptions, *, name: str, bar: Bar) -> tuple[RunReport, Run]:
    """One run, collected. All stages run in this process: the order log is the same in every topology."""
    collectors: list[_Collected] = []

    def watch(spec: EngineSpec) -> _Collected:
        collectors.append(_Collected(spec, name))
        return collectors[0]

    here = dataclasses.replace(options, topology="fused")
    with bar(name) as progress:
        report = replay_file(path, here, progress=progress, watch=watch)
    run = collectors[0].collector.finish()
    run.seconds = report.seconds
    run.messages = report.count("feed", "messages")
    run.order_log_sha256 = report.order_log_sha256
    return report, run


class _Collected:
    """An onlooker: the rings' collector, and digests of the stages' state."""

    def __init__(self, spec: EngineSpec, name: str) -> None:
        table = spec.instruments
        self.run = Run(
            name=name,
            config=spec.config,
            symbols=spec.symbols,
            tick_value_micros=[int(value) for value in table["tick_value_micros"]],
            events={},
            order_id_base=spec.order_id_base,
        )
        self.collector = Collector(spec.name, self.run)

    def drain(self) -> None:
        """The rings, before they are full."""
        self.collector.drain()

    def state(self, messages: int, stages: ProcessStages) -> None:
        """The digest of all stages' state after so many messages."""
        if not self.run.states or self.run.states[-1][0] != messages:
            self.run.states.append((messages, state_digest(stages)))


def state_digest(stages: ProcessStages) -> str:
    """Of books, features, working orders, positions, exposure and intents, as 16 hexadecimal digits: equal states,
    equal digests, on every machine and in every topology."""
    words = np.array([stage_state(stages, stage) for stage in STAGES], np.uint64)
    return f"{int(lib.digest_bytes(0, ffi.from_buffer(words), words.nbytes)):016x}"
