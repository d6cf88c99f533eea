"""The processes beside the path: none of them can end a run.

    name      when it dies                                    started, stopped
    journal   resume: started again, it goes on where it      around the stages
              was; until it has caught up, reduce only. Where
              the disk refused: halt, its rings wait no more
    projector  restart: it takes the journal up where it was  around the stages
    reconcile restart: it reads the ring anew; meanwhile     around the stages
              positions may soon only be reduced
    snapshots restart: a dead stage is then made again        when they are ready
              from an older one, or from the beginning
    registrar restart: candidates wait in the inbox           around the stages
    tap       restart: what it did not read is counted lost   around the stages
    ingress   restart: silent meanwhile, so books are stale;  when they are ready
              every sender must begin a new session
    strategies  leave, or restart where configured; the signal  around the stages
              stage has cancelled their orders by then

Each row of `side_processes` is one of them. Where a process is started *around* the stages, it is there
before the first of them and leaves after the last, so that it misses nothing; otherwise it comes when they
are ready and goes before they do. A process with a page announces itself there and beats: silence for
`engine.hang_ms` ends it, which its policy then answers.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hotpath.config import StrategyConfig
from hotpath.engine import EngineSpec
from hotpath.errors import ConfigError
from hotpath.topology import side_segment

PROJECTOR = "hotctl.projection.process"  # of another room, which this one knows by name alone
CONTROL = "hotctl.server"
WhenDead = Literal["resume", "restart", "leave"]


@dataclass(frozen=True)
class SideProcess:
    """One process beside the path, and what its death means.

    resume: started again when it was killed or hung, at most `engine.restarts_max` times in a row; no new orders
    once it is not. restart: again and again, with back-off; never more than a notice.
    leave: a notice, and the run goes on without it.
    """

    name: str
    command: tuple[str, ...]  # of ``python -m``
    when_dead: WhenDead
    around: bool
    page: str = ""  # segment of its stage_page; empty: it has none
    awaited: bool = False  # the run does not begin before its page says that it is ready
    seat: str = ""  # the seat that it holds; it is ended when the engine has cut that


def side_processes(spec: EngineSpec, run_path: Path, *, record: Path | None) -> tuple[SideProcess, ...]:
    """Those that this run has, in the order in which they are started."""
    table: list[SideProcess] = []
    if record is not None:
        recorder = ("hotpath.journal", str(run_path), str(record))
        table.append(SideProcess("journal", recorder, "resume", around=True, page=side_segment("journal")))
    if record is not None and spec.config.projection.enabled:
        refuse_without_sql()
        table.append(SideProcess("projector", (PROJECTOR, str(run_path), str(record)), "restart", around=True))
    if spec.config.control.enabled and not spec.lockstep:
        table.append(SideProcess("control", (CONTROL, str(run_path), str(record or "")), "restart", around=True))
    if spec.reconcile:
        reconciler = ("hotpath.reconcile.process", str(run_path), str(record or ""))
        table.append(SideProcess("reconcile", reconciler, "restart", around=True, page=side_segment("reconcile")))
    if record is not None and spec.config.journal.snapshot_s and not spec.lockstep:
        keeper = ("hotpath.snapshots", str(run_path), str(record))
        table.append(SideProcess("snapshots", keeper, "restart", around=False))
    if spec.config.registry.enabled and not spec.lockstep:
        table.append(SideProcess("registrar", ("hotpath.registry.process", str(run_path)), "restart", around=True))
    if spec.tap:
        table.append(
            SideProcess("tap", ("hotpath.tap", str(run_path)), "restart", around=True, page=side_segment("tap"))
        )
    if spec.ingress:
        command = ("hotpath.ingress", str(run_path))
        page = side_segment("ingress")
        table.append(SideProcess("ingress", command, "restart", around=False, page=page, awaited=True))
    return (*table, *(strategy_process(each, run_path) for each in spec.config.strategies))


def refuse_without_sql() -> None:
    """Raise ConfigError when the projector's packages are not installed."""
    if any(importlib.util.find_spec(package) is None for package in ("sqlalchemy", "alembic")):
        raise ConfigError(
            "projection.enabled: the projector needs packages of its own",
            next_step="pip install 'hotpath-engine[sql]', or enabled = false: hotctl projection follow can do it later",
        )


def strategy_process(config: StrategyConfig, run_path: Path) -> SideProcess:
    """The row of a Python strategy."""
    return SideProcess(
        config.name,
        ("hotpath.strategy_process", config.name, str(run_path)),
        "restart" if config.restart else "leave",
        around=True,
        page=side_segment(config.name),
        awaited=True,
        seat=config.name,
    )
