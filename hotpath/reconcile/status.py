"""What reconciliation found, where it outlives processes, and what people ask of it.

<state>/<engine>.reconcile.json        the status: on disk before a change of the breaks is told to anyone
<state>/<engine>.reconcile-*.clear     a person settles a break: taken by the process, or by the next one
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
from msgspec import Struct, field

from hotpath.config import Config
from hotpath.power_loss import sync_folder, write_durably

CLEARED_KEPT = 100


class BreakRecord(Struct):
    """A break as it is kept: both sides' lots, and what was found."""

    symbol: str
    here_lots: int
    there_lots: int
    findings: list[str]
    since: str
    cleared_by: str = ""
    cleared_reason: str = ""
    cleared_at: str = ""


class ReconcileStatus(Struct):
    """One engine's reconciliation. Lots by symbol; times are local."""

    engine: str
    trading_day: int = 0
    state: str = "starting"  # "starting", "reconciling", "blind", "ended"
    trouble: str = ""  # why it cannot reconcile
    confirmed: bool = False  # positions were compared in this run
    compared_at: str = ""
    comparisons: int = 0
    matched: int = 0
    waiting: int = 0
    breaks: list[BreakRecord] = field(default_factory=list)
    cleared: list[BreakRecord] = field(default_factory=list)  # the last ones
    here: dict[str, int] = field(default_factory=dict)  # at the last comparison, those that are not flat
    there: dict[str, int] = field(default_factory=dict)


class ClearRequest(Struct, frozen=True):
    """A person settles a break."""

    symbol: str
    reason: str
    by: str


def status_path(config: Config) -> Path:
    """Of the engine's status."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.reconcile.json"


def read_status(path: Path, engine: str) -> ReconcileStatus:
    """What was last found; an empty one where there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReconcileStatus)
    except FileNotFoundError:
        return ReconcileStatus(engine)


def write_status(path: Path, status: ReconcileStatus, *, durable: bool) -> None:
    """Whole or not at all; with `durable` on disk when this returns. Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    content = msgspec.json.format(msgspec.json.encode(status), indent=1)
    if durable:
        write_durably(beside, content)
    else:
        beside.write_bytes(content)
    beside.rename(path)
    if durable:
        sync_folder(path.parent)


def ask_to_clear(path: Path, request: ClearRequest) -> None:
    """Leave a request for the process that reconciles. Raises OSError."""
    target = path.with_name(f"{path.name.removesuffix('.json')}-{os.getpid()}-{time.time_ns()}.clear")
    beside = target.with_suffix(".new")
    write_durably(beside, msgspec.json.encode(request))
    beside.rename(target)


def take_requests(path: Path) -> list[ClearRequest]:
    """What people asked since the last time; one that cannot be read is put aside."""
    found = []
    for each in sorted(path.parent.glob(f"{path.name.removesuffix('.json')}-*.clear")):
        try:
            found.append(msgspec.json.decode(each.read_bytes(), type=ClearRequest))
            each.unlink()
        except msgspec.MsgspecError:
            each.rename(each.with_suffix(".unreadable"))
    return found


def local_time() -> str:
    """Now, as it is kept."""
    return time.strftime("%Y-%m-%d %H:%M:%S")
