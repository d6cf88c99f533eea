"""Whole engines killed with their supervisor at once, and started again over what they left in shared memory.

simulator <--> hotpath run, every process of it SIGKILLed --> segments of the dead, some cut, some filled with noise
    |     <--> hotpath run of the same name: takes none of it for its own, goes on with the day --> ends in order
    '--------> the oracle, over all the runs of the day: wire, positions, money
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec

from hotpath.demo import RunningSimulator, running_simulator
from hotpath.journal import Journal, journal_root
from hotpath.segments import SHM_FOLDER
from hotpath.topology import PROCESSES
from tests.crash.engine_kills import CASE, PATIENCE_SECONDS
from tests.crash.tally import Tally, Work
from tests.faults import oracle
from tests.faults.session import CaseFailedError, Evidence, end_engine, engine_of, session_numbers, settled, venue_of
from tests.support.engines import EngineProcess, children_of, until

DAYS = 4
LIVES_OF_A_DAY = 4  # the last one ends in order
TRADES_SECONDS = 0.6  # at most, before everything dies
INTENTS_PER_SECOND = 800
SLOTS = 2**18  # a market that ran on without the engine comes all at once, and must not overtake the journal
HARM = ("none", "cut", "noise", "stranger")


def harm(engine: str, chance: random.Random) -> str:
    """Something done to what a dead engine left in shared memory."""
    what = chance.choice(HARM)
    left = sorted(Path(SHM_FOLDER).glob(f"hotpath.{engine}.*"))
    if what == "stranger":
        Path(SHM_FOLDER, f"hotpath.{engine}.norm").write_bytes(chance.randbytes(777))
    elif what != "none" and left:
        path = chance.choice(left)
        if what == "cut":
            os.truncate(path, chance.randrange(200))
        else:
            with path.open("r+b") as file:
                file.write(chance.randbytes(min(128, path.stat().st_size)))
    return what


def kill_all(engine: EngineProcess) -> int:
    """The supervisor and all that it started; how many there were."""
    pids = [engine.process.pid, *children_of(engine.process.pid)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    engine.process.wait()
    until(lambda: not any(_lives(pid) for pid in pids), "the end of every process")
    return len(pids)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def one_day(seed: int, folder: Path) -> Tally:
    """Several lives of one engine at one venue."""
    tally, chance = Tally(), random.Random(f"{seed} stale")
    folder.mkdir(parents=True)
    market = msgspec.structs.replace(venue_of(CASE, seed, folder), intents_per_second=INTENTS_PER_SECOND)
    with running_simulator(market, folder) as venue:
        config = engine_of(CASE, f"stale-{os.getpid()}-{seed}", venue.ready, folder)
        settings = {"topology": chance.choice(sorted(PROCESSES)), "wait": "yield", "opening": "carry"}
        config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, **settings))
        config = msgspec.structs.replace(
            config,
            journal=msgspec.structs.replace(config.journal, enabled=True),
            rings=msgspec.structs.replace(config.rings, **dict.fromkeys(("raw", "norm", "signal"), SLOTS)),
        )
        for life in range(LIVES_OF_A_DAY):
            place = folder / f"life-{life}"
            place.mkdir()
            engine = EngineProcess(config, place, "--arm")
            try:
                _trade(engine)
                if life + 1 < LIVES_OF_A_DAY:
                    time.sleep(chance.uniform(0, TRADES_SECONDS))
                    tally.counts["SIGKILL"] += kill_all(engine)
                    tally.counts[f"memory: {harm(engine.name, chance)}"] += 1
                    continue
                engine.signal()
                engine.wait(seconds=PATIENCE_SECONDS)
            except (AssertionError, CaseFailedError) as error:
                tally.wrong.append(f"seed {seed}, life {life}: {error}; {engine.errors().strip()[-400:]}")
                return tally
            finally:
                if engine.process.poll() is None or life + 1 == LIVES_OF_A_DAY or tally.wrong:
                    end_engine(engine)
                else:
                    engine.close()
    tally.wrong += [f"seed {seed}: {each}" for each in _wrong(seed, folder, engine, venue)]
    return tally


def _trade(engine: EngineProcess) -> None:
    def trades() -> bool:
        if engine.process.poll() is not None:
            raise CaseFailedError("the engine ended")
        return settled(engine) and engine.count("gateway", "new_orders") > 0

    until(trades, "orders")


def _wrong(seed: int, folder: Path, engine: EngineProcess, venue: RunningSimulator) -> list[str]:
    """The wire of the whole day, against the intents of the day and the last engine's own sums."""
    evidence = Evidence(
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
    # A fill of an order of an earlier life is the position's, and of no order that this gate has given out.
    wrong = [each for each in oracle.engine_ends_in_order(evidence) if "unknown_executions" not in each]
    wrong += oracle.nothing_is_left_open(evidence)
    wrong += oracle.no_order_is_sent_twice(evidence)
    account = evidence.account
    held = sum(abs(lots) for lots in account.position.values())
    if evidence.count("risk.position_lots") != held:
        wrong.append(f"risk.position_lots = {evidence.count('risk.position_lots')}, the wire of the day says {held}")
    runs = [Journal(path.parent).events("exec") for path in journal_root(engine.config).glob("*/run.json")]
    told = sorted(number for events in runs for number in session_numbers(events).tolist())
    expected = [n for n, payload in sorted(evidence.told.stream.items()) if payload[0] not in oracle.SILENT_KINDS]
    if told != expected:
        lost, more = set(expected) - set(told), [n for n, times in Counter(told).items() if times > 1]
        wrong.append(f"of {len(expected)} reports {len(lost)} are in no run's journal, {len(more)} in two")
    return wrong


def stale(work: Work) -> Tally:
    """Some days."""
    tally = Tally()
    for day in range(1 if work.quick else DAYS):
        part = one_day(work.seed + day, work.folder / str(day))
        tally.take(part)
        work.say(f"{LIVES_OF_A_DAY} lives, seed {work.seed + day}: {'FAILED' if part.wrong else 'ok'}")
    return tally
