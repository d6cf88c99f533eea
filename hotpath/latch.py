"""The latch: a file that keeps an engine killed over restarts, until somebody accepts the reason."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from hotpath.config import Config
from hotpath.errors import StageError


def latch_path(config: Config) -> Path:
    """The engine's latch; while the file lies there, no run of this engine is armed."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.killed"


def refuse_latched(config: Config) -> None:
    """Raises StageError when this engine is latched."""
    path = latch_path(config)
    if not path.exists():
        return
    latch = json.loads(path.read_text())
    raise StageError(
        f"engine {config.engine.name} is latched in killed state since {latch['at']}: {latch['reason']}",
        next_step='find out why, then accept it: hotpath run CONFIG --arm --clear-kill "reason"',
    )


def clear_latch(config: Config, *, reason: str) -> None:
    """Accept a kill that outlived its run: put the latch aside, with the reason, for people to read."""
    path = latch_path(config)
    if not path.exists():
        return
    latch = {**json.loads(path.read_text()), "cleared_at": time.strftime("%Y-%m-%d %H:%M:%S"), "cleared": reason}
    path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.cleared").write_text(json.dumps(latch))
    path.unlink()


def set_latch(path: Path, *, reason: str, epoch: int) -> None:
    """Write the latch and have it on disk before anyone is told of it."""
    text = json.dumps({"at": time.strftime("%Y-%m-%d %H:%M:%S"), "reason": reason, "epoch": epoch})
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
