"""Processes of running engines killed at random instants, and what must hold afterwards.

    simulator (wire tap, ledger, feed file) <--> hotpath run, whose processes die again and again --> journal, intents
                     |                                                                                  |
                     '--------------------------> the oracle of the fault matrix <----------------------'

Each run is of one topology, with a few deaths; everything is drawn from its own seed, which replays it: the same
victims after the same delays (the machine decides at which instruction they are).
The oracle is tests/faults/oracle.py: no order on the wire twice or without its intent, every report of the venue
told once, positions and cash equal on all sides, every message of the feed taken once, books as the venue's; and the
journal, run again, makes the same decisions and the same order bytes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hotpath.config import config_toml
from hotpath.demo import RunningSimulator, running_simulator
from hotpath.topology import PROCESSES, STAGES
from tests.crash.tally import Tally, Work
from tests.faults.oracle import judge
from tests.faults.session import Case, CaseFailedError, Evidence, end_engine, engine_of, settled, venue_of
from tests.support.engines import EngineProcess

KILLS_OF_A_RUN = 6  # each restart of a process waits longer than the one before
PATIENCE_SECONDS = 30.0
HANG_MS = 700  # what stands still for so long is ended
CALM_SECONDS = 0.3
VICTIMS = (*STAGES, "journal")
CASE = Case(
    name="crash",
    faults={},
    expected="every process goes on where it was cut off",
    check=lambda evidence: [],
)


@dataclass
class Death:
    """What was done to a process."""

    stage: str
    number: int
    after_ms: float  # since the one before
    while_away: bool  # the one before had not come back yet


@dataclass
class Outcome:
    """One run of the campaign."""

    seed: int
    topology: str
    deaths: list[Death] = field(default_factory=list)
    orders: int = 0
    fills: int = 0
    restart_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def run_once(seed: int, *, kills: int, folder: Path) -> Outcome:
    """One engine with its venue, killed `kills` times, then ended in order and judged."""
    chance = random.Random(seed)
    topology = chance.choice(sorted(PROCESSES))
    outcome = Outcome(seed, topology)
    folder.mkdir(parents=True, exist_ok=True)
    with running_simulator(venue_of(CASE, seed, folder), folder) as venue:
        config = engine_of(CASE, f"crash-{os.getpid()}-{seed}", venue.ready, folder)
        config = msgspec.structs.replace(config, journal=msgspec.structs.replace(config.journal, snapshot_s=2))
        style = chance.choice(["join", "take"])  # orders that rest, orders that are filled at once
        config = msgspec.structs.replace(config, signal=msgspec.structs.replace(config.signal, style=style))
        settings = {"topology": topology, "wait": "yield", "restarts_max": 10_000, "hang_ms": HANG_MS}
        config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, **settings))
        (folder / "engine-as-run.toml").write_text(config_toml(config))
        engine = EngineProcess(config, folder, "--arm", "--record", str(folder / "recording"))
        try:
            engine.wait_trading(fills=1)
            for _ in range(kills):
                outcome.deaths.append(_strike(engine, chance))
            _settle(engine)
            engine.signal()
            engine.wait(seconds=PATIENCE_SECONDS)
        except (AssertionError, CaseFailedError) as error:
            outcome.wrong.append(str(error))
        finally:
            end_engine(engine)
    if engine.process.returncode is None or not (folder / "run.out").stat().st_size:
        outcome.wrong.append(f"no report: {engine.errors().strip()[-600:]}")
        return outcome
    evidence = _evidence(seed, folder, engine, venue)
    outcome.orders, outcome.fills = len(evidence.told.orders), evidence.count("gateway.fills")
    outcome.restart_ms = [1e3 * _seconds(notice) for notice in evidence.report["notices"] if "is back after" in notice]
    outcome.wrong += judge(evidence, replay=True)
    if outcome.wrong:
        outcome.wrong += [f"notice: {notice}" for notice in evidence.report["notices"]]
    return outcome


def _evidence(seed: int, folder: Path, engine: EngineProcess, venue: RunningSimulator) -> Evidence:
    return Evidence(
        case=CASE,
        seed=seed,
        folder=folder,
        config=engine.config,
        injected={},
        venue=venue.summary,
        report=engine.report(),
        exit_code=int(engine.process.returncode),
        errors=engine.errors(),
    )


def _seconds(notice: str) -> float:
    return float(notice.partition("is back after ")[2].partition(" s")[0])


def _strike(engine: EngineProcess, chance: random.Random) -> Death:
    """Wait a while, mostly until orders leave again, and end or stop a process."""
    stage = chance.choice(VICTIMS)
    number = signal.SIGSTOP if chance.random() < 0.1 else signal.SIGKILL
    while_away = chance.random() < 0.25
    delay = chance.uniform(0, 0.5)
    if not while_away:
        _wait(engine, lambda: settled(engine), "the engine's return")
        orders = engine.count("gateway", "new_orders")
        _wait(engine, lambda: engine.count("gateway", "new_orders") > orders, "orders")
    time.sleep(delay)
    pid = _pid_of(engine, stage)
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return Death(stage, int(number), delay * 1e3, while_away)


def _pid_of(engine: EngineProcess, victim: str) -> int:
    """0 while there is none."""
    if victim in STAGES:
        return engine.pid_of(victim)
    stat = engine.look()
    return stat.sides[victim].pid if stat and victim in stat.sides and stat.sides[victim].alive else 0


def _settle(engine: EngineProcess) -> None:
    """Until every stage is back and the engine trades."""
    orders = engine.count("gateway", "new_orders")
    _wait(engine, lambda: settled(engine) and engine.count("gateway", "new_orders") > orders, "trading to go on")
    time.sleep(CALM_SECONDS)


def _wait(engine: EngineProcess, condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if engine.process.poll() is not None:
            raise CaseFailedError(f"the engine ended: {engine.errors().strip()[-800:]}")
        if time.monotonic() > deadline:
            raise CaseFailedError(f"waited {PATIENCE_SECONDS:g} s in vain: {what}")
        time.sleep(0.005)


def engine_kills(work: Work) -> Tally:
    """So many deaths, a few in each run; what failed is kept in `work.keep`, or else thrown away."""
    tally, number, done = Tally(), 0, 0
    returns: list[float] = []
    while done < work.kills:
        seed = work.seed + number
        folder = work.folder / str(seed)
        outcome = run_once(seed, kills=min(KILLS_OF_A_RUN, work.kills - done), folder=folder)
        if outcome.wrong and work.keep is not None:
            shutil.copytree(folder, work.keep / str(seed), dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        number += 1
        done += len(outcome.deaths)
        returns += outcome.restart_ms
        stops = sum(death.number == signal.SIGSTOP for death in outcome.deaths)
        tally.counts += Counter(
            {
                "SIGKILL": len(outcome.deaths) - stops,
                "SIGSTOP": stops,
                "orders": outcome.orders,
                "fills": outcome.fills,
                **Counter(f"{death.stage} deaths" for death in outcome.deaths),
            }
        )
        tally.wrong += [f"seed {seed}: {each}" for each in outcome.wrong]
        work.say(
            f"{done} of {work.kills}: seed {seed}, {outcome.topology}, {outcome.orders} orders, {outcome.fills} fills, "
            f"slowest return {max(outcome.restart_ms, default=0.0):.0f} ms: {'FAILED' if outcome.wrong else 'ok'}"
        )
        if outcome.wrong:
            tally.replay = f"SEED={seed} KILLS={KILLS_OF_A_RUN}"
        if not outcome.deaths:
            break
    if returns:
        returns.sort()
        tally.notes.append(f"back after {returns[len(returns) // 2]:.0f} ms (median), {returns[-1]:.0f} ms (slowest)")
    return tally
