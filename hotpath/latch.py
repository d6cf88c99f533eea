"""The latch: a file that keeps an engine killed over restarts, until somebody accepts the reason.

It is written beside its place and renamed into it, so that it is there whole or not at all; one that cannot be
read all the same still latches, for a reason unknown.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from hotpath.config import Config
from hotpath.errors import StageError


def latch_path(config: Config) -> Path:
    """The engine's latch; while the file lies there, no run of this engine is armed."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.killed"


def read_latch(path: Path) -> dict[str, Any] | None:
    """What the latch says, at least "at" and "reason"; None when there is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return {"at": "an unknown time", "reason": f"unknown, {path} cannot be read ({error})"}
    if not isinstance(found, dict):
        return {"at": "an unknown time", "reason": f"unknown, {path} holds something else"}
    return {"at": "an unknown time", "reason": "unknown", **found}


def refuse_latched(config: Config) -> None:
    """Raises StageError when this engine is latched."""
    latch = read_latch(latch_path(config))
    if latch is None:
        return
    raise StageError(
        f"engine {config.engine.name} is latched in killed state since {latch['at']}: {latch['reason']}",
        next_step='find out why, then accept it: hotpath run CONFIG --arm --clear-kill "reason"',
    )


def clear_latch(config: Config, *, reason: str) -> None:
    """Accept a kill that outlived its run: put the latch aside, with the reason, for people to read.

    Only for who has the engine's name: the latch of a running engine is its own. Raises StageError when it cannot
    be put aside.
    """
    path = latch_path(config)
    latch = read_latch(path)
    if latch is None:
        return
    cleared = {**latch, "cleared_at": time.strftime("%Y-%m-%d %H:%M:%S"), "cleared": reason}
    try:
        _write_whole(path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.cleared"), cleared)
        path.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise StageError(f"{path}: the latch cannot be put aside: {error.strerror}") from None


def set_latch(path: Path, *, reason: str, epoch: int) -> None:
    """Write the latch and have it on disk before anyone is told of it. Raises OSError."""
    _write_whole(path, {"at": time.strftime("%Y-%m-%d %H:%M:%S"), "reason": reason, "epoch": epoch})


def _write_whole(path: Path, content: dict[str, Any]) -> None:
    """On disk, whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """A name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
