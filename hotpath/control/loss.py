"""The loss latch: a file that keeps an engine reducing over restarts, until people have looked at what it lost.

    <state_dir>/<engine>.loss     since when, why, and the firm.rearm_epoch under which it was lost

The gate finds the loss and refuses by it (day_loss_currency_max and day_drawdown_currency_max of the firm); the
supervisor writes it here. It is put aside once firm.rearm_epoch has been moved on (hotctl limits set, which a second
person approves), or by `hotpath run CONFIG --arm --clear-loss "reason"`. Losses of one account, strategy or
instrument hold back that one alone, and are the gate's own.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hotpath.config import Config
from hotpath.errors import StageError
from hotpath.latch import put_aside, read_latch, write_whole

UNKNOWN_EPOCH = -1  # of a file that cannot be read: no re-arming answers it, people must


def loss_path(config: Config) -> Path:
    """The engine's loss latch."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.loss"


def read_loss(path: Path) -> dict[str, Any] | None:
    """What it says, at least "at", "reason" and "rearm_epoch"; None when there is none."""
    found = read_latch(path)
    if found is None:
        return None
    epoch = found.get("rearm_epoch")
    return {**found, "rearm_epoch": epoch if isinstance(epoch, int) else UNKNOWN_EPOCH}


def set_loss(path: Path, *, reason: str, rearm_epoch: int) -> None:
    """On disk before anyone is told of it. Raises OSError."""
    write_whole(path, {"at": time.strftime("%Y-%m-%d %H:%M:%S"), "reason": reason, "rearm_epoch": rearm_epoch})


def clear_loss(config: Config, *, reason: str) -> None:
    """People have looked at it. Only for who has the engine's name. Raises StageError."""
    path = loss_path(config)
    standing = read_loss(path)
    if standing is None:
        return
    try:
        put_aside(path, standing, reason=reason)
    except OSError as error:
        raise StageError(f"{path}: the loss latch cannot be put aside: {error.strerror}") from None
