"""From a journal to what is held at its end, and from one run's end to the next one's opening positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ffi import lib
from hotpath.config import Config
from hotpath.errors import AdjustmentError
from hotpath.intents import open_intents
from hotpath.journal import Journal, journal_root
from hotpath.journal.format import RUN_FILE
from hotpath.ledger.adjustments import Adjustment, AdjustmentFile, Applied, adjustments_path, new_adjustment
from hotpath.ledger.fees import FeeBook
from hotpath.ledger.fold import Ledger
from hotpath.ledger.marks import Marks
from hotpath.stages import intents_path

SESSION_NAME_BYTES = 16


def fold_journal(journal: Journal) -> Ledger:
    """The positions at a journal's end. Raises AdjustmentError when executions are missing in it."""
    if journal.lost("exec") or journal.first("exec"):
        raise AdjustmentError(
            f"{journal.folder}: executions are missing: its positions cannot be known",
            next_step="take them from the venue's report: hotpath adjust add",
        )
    ledger = Ledger(journal.instruments["tick_value_micros"].tolist(), FeeBook(journal.run.config.fees))
    adjustments = journal.events("adjust")
    sequence = 0
    for events in journal.batches("exec"):
        ledger.apply(events, adjustments, first_sequence=sequence)
        sequence += len(events)
    return ledger


def last_marks(journal: Journal) -> Marks:
    """Reference prices at a journal's end."""
    marks = Marks(len(journal.instruments))
    for events in journal.batches("norm"):
        marks.apply(events)
    return marks


def runs_of(config: Config) -> list[Path]:
    """The journals of an engine, the oldest first."""
    root = journal_root(config)
    folders = [path.parent for path in root.glob(f"*-*/{RUN_FILE}")] if root.is_dir() else []
    return sorted(folders, key=lambda folder: int(folder.name.rpartition("-")[2]))


def last_run(config: Config) -> Path | None:
    """The journal of the engine's last run; None when there is none."""
    return next(reversed(runs_of(config)), None)


def carry(config: Config, folder: Path | None = None, *, who: str, why: str = "") -> list[Adjustment]:
    """Ask for the positions at the end of a run, by default the last one, as opening positions of the next.

    Once for each run. What that run had of the adjustments counts as applied. Raises AdjustmentError.
    """
    chosen = folder or last_run(config)
    if chosen is None:
        raise AdjustmentError(f"{journal_root(config)}: no run is journaled there", next_step="name the folder of one")
    journal = Journal(chosen)
    epoch = int(journal.run.run_epoch)
    file = AdjustmentFile(adjustments_path(config))
    if _carried(config, epoch):
        raise AdjustmentError(
            f"{chosen}: its positions were carried over before", next_step="hotpath adjust list CONFIG"
        )
    ledger = fold_journal(journal)
    symbols = [symbol.decode() for symbol in journal.instruments["symbol"].tolist()]
    reached = set(journal.events("adjust")["id"].tolist())
    unmarked = tuple(each.id for each in file.pending() if each.id in reached)
    if unmarked:  # the run took it, and died before it could say so
        file.mark(Applied(ids=unmarked, run_epoch=epoch))
    entries = [
        new_adjustment(
            kind="opening",
            symbol=symbols[instrument],
            lots=position.lots,
            cost_micros=position.cost_micros,
            cash_micros=0,
            who=who,
            why=why or f"held at the end of run {epoch}",
            carried_from=epoch,
        )
        for instrument, position in sorted(ledger.positions.items())
        if position.lots
    ]
    return file.ask(entries) if entries else []


def open_with_last(config: Config, *, trading_day: int) -> None:
    """For a run that is about to begin: carry the last one over where the configuration says so, and where it was
    carried over, hear from the venue what its journal does not have, and nothing that it has. `trading_day`: yyyymmdd.
    """
    folder = last_run(config)
    if folder is None:
        return
    journal = Journal(folder)
    carried = _carried(config, int(journal.run.run_epoch))
    if config.engine.opening != "carry" and not carried:
        return
    if config.gateway.kind != "paper" and int(journal.run.trading_day) == trading_day:
        align_stream(config, trading_day=trading_day)
    if not carried:
        carry(config, folder, who="engine.opening")


def _carried(config: Config, epoch: int) -> bool:
    return any(each.carried_from == epoch for each in AdjustmentFile(adjustments_path(config)).all())


def align_stream(config: Config, *, trading_day: int) -> None:
    """Let the gateway publish what the venue told after the last execution of the day that is journaled: what died in
    a ring with everything around it, before it was written down, comes again. Raises AdjustmentError where it cannot
    be known that both speak of one session."""
    session, last = _last_told(config, trading_day=trading_day)
    path = intents_path(config)
    with open_intents(path, capacity=config.gateway.intents_max, trading_day=trading_day) as file:
        if session and session_tag(bytes(file.page()["session"])) != session:
            raise AdjustmentError(
                f"{path}: is of another venue session than the journal: nobody knows what will be told again",
                next_step="begin with engine.opening = \"flat\": the venue's own stream gives the day's positions back",
            )
        file.expect_from(sequence=last + 1)


def _last_told(config: Config, *, trading_day: int) -> tuple[int, int]:
    """Session and number of the day's last execution that is journaled; zeros where there is none."""
    for folder in reversed(runs_of(config)):
        journal = Journal(folder)
        if int(journal.run.trading_day) != trading_day:
            break
        events = journal.events("exec")
        numbered = events[events["session_sequence"] != 0]
        if len(numbered):
            session = int(numbered["session"][-1])
            return session, int(numbered["session_sequence"][numbered["session"] == session].max())
    return 0, 0


def session_named(journal: Journal) -> bytes:
    """The venue session of a run, as its last EXEC_SESSION_UP names it; empty where there is none."""
    events = journal.events("exec")
    up = events[events["header"]["type"] == lib.EXEC_SESSION_UP]
    if not len(up):
        return b""
    return np.array([up[-1]["match_id"], up[-1]["target_order_id"]], np.uint64).tobytes().rstrip(b"\0")


def needs_carrying(journal: Journal) -> bool:
    """Whether what a run held is more than the venue's whole day tells: it was told of positions, if only of those
    with which an earlier run of the day had ended."""
    return any((events["header"]["type"] == lib.EXEC_ADJUSTED).any() for events in journal.batches("exec"))


def session_tag(name: bytes) -> int:
    """The number by which executions name their session (gateway_reports.c)."""
    padded = name.ljust(SESSION_NAME_BYTES, b"\0")
    return int(lib.digest_bytes(0, padded, len(padded))) % (2**16 - 1) + 1
