"""Which run is meant: a folder, or the newest journal that the usual places hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ffi import lib
from hotpath.errors import JournalError
from hotpath.journal import Journal

RUN_FILE = "run.json"
PLACES = ("var/*.journal/*", "out/*/recording", "out/*/*.journal/*")  # beside where the command is given


def find_journal(named: Path | None) -> Path:
    """The folder of one run: the one named, the newest below it, or the newest of the usual places."""
    if named is None:
        found = [path for place in PLACES for path in Path().glob(place) if is_journal(path)]
        if not found:
            raise JournalError(
                "no journal is named, and there is none in var/ or out/",
                next_step="name the folder of a run: --journal FOLDER; make demo leaves one in out/demo",
            )
        return newest(found)
    if is_journal(named):
        return named
    below = [path for depth in ("*", "*/*") for path in named.glob(depth) if is_journal(path)]
    if not below:
        raise JournalError(f"{named}: holds no journal", next_step="name the folder of a run, which holds run.json")
    return newest(below)


def is_journal(folder: Path) -> bool:
    """Whether a folder holds the journal of a run; what samples a run leaves has a run.json too."""
    return (folder / RUN_FILE).exists() and any(folder.glob("*.events*"))


def newest(folders: list[Path]) -> Path:
    """The one whose run began last."""
    return max(folders, key=lambda folder: (folder / RUN_FILE).stat().st_mtime_ns)


def invitation(folder: Path) -> str:
    """A line that names an order of a run worth explaining: one that was filled, else any. Empty when there is none."""
    try:
        journal = Journal(folder)
        executions, commands = journal.events("exec"), journal.events("cmd")
    except JournalError:
        return ""
    filled = executions["order_id"][executions["header"]["type"] == lib.EXEC_FILL]
    orders = filled if len(filled) else commands["order_id"]
    if not len(orders):
        return ""
    return f"\n why an order happened: hotpath explain {int(np.sort(orders)[len(orders) // 2])} --journal {folder}\n"
