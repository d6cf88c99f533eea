"""Where journals lie: one folder a run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hotpath.config import Config
from hotpath.errors import JournalError
from hotpath.journal.format import RUN_FILE

SECOND_NS = 10**9


def journal_root(config: Config) -> Path:
    """The folder that holds one for each run of an engine."""
    return Path(config.journal.folder or Path(config.engine.state_dir) / f"{config.engine.name}.journal")


def run_folder(config: Config, *, trading_day: int, run_epoch: int) -> Path:
    """Where the journal of a run lies: `trading_day` is yyyymmdd, 0 where there is none."""
    day = trading_day or int(datetime.fromtimestamp(run_epoch / SECOND_NS, UTC).strftime("%Y%m%d"))
    return journal_root(config) / f"{day}-{run_epoch}"


def refuse_earlier_recording(folder: Path) -> None:
    """Raise JournalError when the folder holds a journal already: a second one would destroy it."""
    if (folder / RUN_FILE).exists() or any(folder.glob("*.events*")):
        raise JournalError(
            f"{folder}: holds a recording already",
            next_step="record into a new folder, or move that one away",
        )
