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
from hotpath.control.paths import drop_path
from hotpath.control.paths import latch_path as latch_path
from hotpath.errors import StageError

DROP_BYTES_MAX = 200  # of a dropped file: its text is the reason


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


def read_drop(path: Path) -> dict[str, Any] | None:
    """What a dropped kill file says, as a latch would; None when there is none. Its text is the reason."""
    try:
        text = path.read_bytes()[:DROP_BYTES_MAX].decode(errors="replace").strip()
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
    except FileNotFoundError:
        return None
    except OSError as error:
        return {"at": "an unknown time", "reason": f"the file {path} lies there ({error.strerror})"}
    return {"at": at, "reason": f"the file {path} was dropped" + (f": {text}" if text else "")}


def standing_latch(config: Config) -> dict[str, Any] | None:
    """Why no run of this engine may be armed: its latch, or a kill file that lies there; None when nothing is why."""
    return read_latch(latch_path(config)) or read_drop(drop_path(config))


def refuse_latched(config: Config) -> None:
    """Raises StageError when this engine is latched."""
    latch = standing_latch(config)
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
    path, dropped = latch_path(config), drop_path(config)
    latch = standing_latch(config)
    if latch is None:
        return
    try:
        put_aside(path, latch, dropped, reason=reason)
    except OSError as error:
        raise StageError(f"{path}: the latch cannot be put aside: {error.strerror}") from None


def put_aside(path: Path, latch: dict[str, Any], *others: Path, reason: str) -> None:
    """Keep it beside its place with the reason, for people to read, and remove it and `others`. Raises OSError."""
    cleared = {**latch, "cleared_at": time.strftime("%Y-%m-%d %H:%M:%S"), "cleared": reason}
    write_whole(path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.cleared"), cleared)
    for each in (path, *others):
        each.unlink(missing_ok=True)
    _sync_folder(path.parent)


def set_latch(path: Path, *, reason: str, epoch: int, who: str = "") -> None:
    """Write the latch and have it on disk before anyone is told of it. Raises OSError."""
    said = {"at": time.strftime("%Y-%m-%d %H:%M:%S"), "reason": reason, "epoch": epoch}
    write_whole(path, {**said, "who": who} if who else said)


def write_whole(path: Path, content: dict[str, Any]) -> None:
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
