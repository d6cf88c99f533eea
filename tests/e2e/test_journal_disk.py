"""Engines whose journal's disk is full, slow to answer, or refuses: what they do, and what is left."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from hotpath.config import Config
from hotpath.journal import Journal, journal_root
from hotpath.journal.repair import repair
from hotpath.journal.verify import verify
from hotpath.recordings import replay_recording
from tests.support.busy import busy_config, file_feed
from tests.support.engines import EngineProcess, until
from tests.support.synthetic import write_synthetic_day

SHIM = Path(__file__).resolve().parent.parent / "crash" / "disk_fault.c"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=60_000)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "disk_fault.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SHIM), "-ldl"], check=True)
    return library


def config_of(name: str, day: Path, folder: Path, **journal: object) -> Config:
    """An engine on paper that keeps a journal as it does by default."""
    config = busy_config(engine={"name": name, "topology": "paired", "state_dir": str(folder)}, journal=dict(journal))
    return msgspec.structs.replace(config, feed=file_feed(day, pace="rate", rate_per_second=10_000))


@pytest.fixture
def started() -> Iterator[list[EngineProcess]]:
    processes: list[EngineProcess] = []
    yield processes
    for process in processes:
        process.close()


def mode_word(process: EngineProcess) -> str:
    """The strictest that the journal's causes demand: behind, little room, lost."""
    stat = process.look()
    if stat is None:
        return ""
    words = {word for cause, word in stat.mode_words.items() if cause.startswith("journal")}
    return next((mode for mode in ("halted", "reduce_only") if mode in words), "normal")


def only_run(config: Config) -> Path:
    (run,) = journal_root(config).iterdir()
    return run


def test_run_keeps_a_journal_by_default_that_replays(
    day: Path, tmp_path: Path, engine: str, started: list[EngineProcess]
) -> None:
    """With the strictest of policies: each batch is on the disk before its ring may forget it."""
    config = config_of(engine, day, tmp_path, sync="batch")
    process = EngineProcess(config, tmp_path, "--arm")
    started.append(process)
    until(lambda: process.count("gateway", "frames_out") >= 20, "20 orders")
    stat = process.look()
    assert stat is not None and stat.journal is not None
    assert stat.journal.sync == "batch" and stat.journal.lost == 0 and stat.journal.space == "enough"
    assert stat.journal.loss_window_ns is not None and stat.sides["journal"].counters["syncs"] > 0
    process.signal()
    assert process.wait() == 0, process.errors()
    run = only_run(config)
    verdict = verify(run)
    assert verdict.ended and not verdict.findings
    assert replay_recording(run).same


@pytest.mark.parametrize(("low", "out", "mode"), [(2**30, 0, "reduce_only"), (2**30, 2**30, "halted")])
def test_little_room_tightens_before_the_disk_is_full(
    low: int, out: int, mode: str, day: Path, tmp_path: Path, engine: str, started: list[EngineProcess]
) -> None:
    process = EngineProcess(config_of(engine, day, tmp_path, space_low_mib=low, space_out_mib=out), tmp_path, "--arm")
    started.append(process)
    until(lambda: mode_word(process) == mode, mode)
    process.signal()
    assert process.wait() == 0, process.errors()
    assert any("MiB free on the journal's disk" in notice for notice in process.report()["notices"])


FAULTS = {
    "a sync fails": (f"fdatasync:60:{errno.EIO}:events", "Input/output error"),
    "a write fails": (f"pwrite64:500:{errno.EIO}:events", "Input/output error"),
}


@pytest.mark.parametrize("what", sorted(FAULTS))
def test_disk_that_refuses_halts_and_is_not_asked_again(
    what: str, shim: Path, day: Path, tmp_path: Path, engine: str, started: list[EngineProcess]
) -> None:
    plan, reason = FAULTS[what]
    log = tmp_path / "faults"
    preload = ("env", f"LD_PRELOAD={shim}", f"HOTPATH_DISK_FAULT={plan}", f"HOTPATH_DISK_FAULT_LOG={log}")
    config = config_of(engine, day, tmp_path, sync_ms=50)
    process = EngineProcess(config, tmp_path, "--arm", prefix=preload)
    started.append(process)
    until(lambda: process.count("gateway", "new_orders") > 0 and mode_word(process) == "halted", "the halt")
    sent = process.count("gateway", "new_orders")
    until(lambda: process.count("risk", "reject_mode") > 5, "orders to be refused")
    assert process.count("gateway", "new_orders") == sent
    process.signal()
    assert process.wait() == 0, process.errors()
    assert any(f"cannot be written: {reason}" in notice for notice in process.report()["notices"])
    assert log.read_text().count("\n") == 1, "what failed once was tried again"
    run = only_run(config)
    assert not verify(run).damaged and not Journal(run).ended
    repair(run)
    assert verify(run).ended and not verify(run).findings


def test_no_room_for_the_next_segment_halts_while_this_one_takes_the_rest(
    shim: Path, day: Path, tmp_path: Path, engine: str, started: list[EngineProcess]
) -> None:
    """As under a quota, which no look at the disk shows. Whatever was decided until then is on it."""
    plan = f"posix_fallocate64:12:{errno.ENOSPC}:spare"
    config = config_of(engine, day, tmp_path)
    process = EngineProcess(
        config, tmp_path, "--arm", prefix=("env", f"LD_PRELOAD={shim}", f"HOTPATH_DISK_FAULT={plan}")
    )
    started.append(process)
    until(lambda: mode_word(process) == "halted", "the halt")
    process.signal()
    assert process.wait() == 0, process.errors()
    assert any("no new orders until there is room" in notice for notice in process.report()["notices"])
    assert not verify(only_run(config)).damaged


def test_killed_run_is_repaired_and_replays(
    day: Path, tmp_path: Path, engine: str, started: list[EngineProcess]
) -> None:
    """Every process at once, as when the machine dies: what is left is closed, and decides as it did."""
    config = config_of(engine, day, tmp_path)
    process = EngineProcess(config, tmp_path, "--arm")
    started.append(process)
    until(lambda: process.count("gateway", "frames_out") >= 20, "20 orders")
    process.signal(signal.SIGSTOP)
    (journal,) = (
        child.pid for child in psutil.Process(process.process.pid).children() if "hotpath.journal" in child.cmdline()
    )
    os.kill(journal, signal.SIGKILL)
    process.process.kill()  # the stages follow
    process.process.wait()
    run = only_run(config)
    until(lambda: _no_more(run), "the journal's end")
    verdict = verify(run)
    assert not verdict.damaged and not verdict.ended
    repaired = repair(run)
    assert repaired["cmd"].events >= 20 and Journal(run).end is not None
    assert not verify(run).findings


def test_journal_of_a_dead_supervisor_stays_until_the_stages_have_ended(
    day: Path, tmp_path: Path, engine: str, started: list[EngineProcess]
) -> None:
    config = config_of(engine, day, tmp_path)
    process = EngineProcess(config, tmp_path, "--arm")
    started.append(process)
    until(lambda: process.count("gateway", "frames_out") >= 20, "20 orders")
    process.process.kill()
    process.process.wait()
    run = Journal(only_run(config))
    until(lambda: run.refresh() and run.ended, "the journal's end")
    assert not verify(run.folder).findings
    stat = process.look()
    assert stat is not None
    turns = {stage: run.count(f"{stage}.ctl") for stage in stat.stages}
    assert turns == {stage: page.turns for stage, page in stat.stages.items()}


def _no_more(run: Path) -> bool:
    journal = Journal(run)
    time.sleep(0.3)
    return not journal.refresh()
