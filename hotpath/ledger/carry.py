"""From a journal to what is held at its end, and from one run's end to the next one's opening positions."""

from __future__ import annotations

import time
from pathlib import Path

from hotpath.config import Config
from hotpath.errors import AdjustmentError
from hotpath.intents import read_intents
from hotpath.journal import Journal, journal_root
from hotpath.journal.format import RUN_FILE
from hotpath.ledger.adjustments import Adjustment, AdjustmentFile, Applied, adjustments_path, new_adjustment
from hotpath.ledger.fees import FeeBook
from hotpath.ledger.fold import Ledger
from hotpath.ledger.marks import Marks
from hotpath.runs import day_number, load_instruments, trading_day
from hotpath.stages import intents_path


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


def last_run(config: Config) -> Path | None:
    """The journal of the engine's last run; None when there is none."""
    root = journal_root(config)
    folders = [path.parent for path in root.glob(f"*/{RUN_FILE}")] if root.is_dir() else []
    return max(folders, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


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
    if any(each.carried_from == epoch for each in file.all()):
        raise AdjustmentError(
            f"{chosen}: its positions were carried over before", next_step="hotpath adjust list CONFIG"
        )
    _refuse_what_is_told_again(config, journal)
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


def _day_now(config: Config) -> int:
    calendar = load_instruments(config).calendar_named(config.engine.calendar)
    return day_number(trading_day(config, calendar, time.time_ns()))


def _refuse_what_is_told_again(config: Config, journal: Journal) -> None:
    """A venue's stream that the next gateway hears from the beginning would count the day's executions twice."""
    numbers = journal.events("exec")["session_sequence"]
    last = int(numbers.max()) if len(numbers) else 0
    path = intents_path(config)
    if config.gateway.kind == "paper" or not last:
        return
    expected = last + 1
    if path.exists():
        with read_intents(path) as file:
            expected = int(file.page()["next_expected_sequence"])
            if not file.same_boot and int(file.page()["trading_day"]) == _day_now(config):
                expected = 1  # hotpath/power_loss.py: the next run asks for all of it
    if expected <= last:
        raise AdjustmentError(
            f"{journal.folder}: the venue will tell its executions again from message {expected} on (it told {last})",
            next_step="start the run without carrying: the venue's own stream gives the positions back",
        )
