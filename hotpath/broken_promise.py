"""A sync of the intents that failed: the engine stays without new orders, over restarts, until a person has seen to it.

    INTENT_PROMISE_BROKEN --(hotpath run --arm)--> refused, naming the verb below
            |
            '--> hotpath intents clear CONFIG --reason "..." --> the file written anew and synced; the reason beside it

The system forgets what it could not write, and calls it written: to sync the same file once more would prove nothing.
So every byte goes into a new file, which takes its place once the disk has it. What the failed sync was to write never
left for the venue; if its record is there all the same, the next session settles it with the venue.
"""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.config import Config
from hotpath.errors import IntentsError, StageError
from hotpath.intents import locked_intents, read_intents
from hotpath.power_loss import sync_folder, write_durably
from hotpath.segments import HEADER_SIZE
from hotpath.stages import intents_path


def is_broken(path: Path) -> bool:
    """Whether a sync of this intent file failed, and nobody has accepted it yet."""
    if not path.exists():
        return False
    with read_intents(path) as file:
        return int(file.page()["promise"]) == int(lib.INTENT_PROMISE_BROKEN)


def refuse_broken(config: Config) -> None:
    """Raises StageError when a sync of this engine's intents failed."""
    path = intents_path(config)
    if is_broken(path):
        raise StageError(
            f"{path}: a sync of the intents failed: no new orders until a person has seen to the disk",
            next_step='then accept it: hotpath intents clear CONFIG --reason "what was done about the disk"',
        )


def clear_broken(config: Config, *, reason: str) -> Path:
    """Write the intents anew, sync them, and keep the reason beside them; returns where it is kept.

    Only for who has the engine's name. Raises IntentsError when nothing is broken, when a gateway has the file, or
    when the disk refuses again: nothing is changed then.
    """
    path = intents_path(config)
    if not reason.strip():
        raise IntentsError(path, "is not cleared without a reason", next_step='--reason "what was done about the disk"')
    if not is_broken(path):
        raise IntentsError(path, "keeps its promise: there is nothing to clear")
    with locked_intents(path):
        image = bytearray(path.read_bytes())
        page = np.frombuffer(image, dtype_of("intent_page"), 1, HEADER_SIZE)
        said: dict[str, Any] = {
            "cleared_at": time.strftime("%Y-%m-%d %H:%M:%S"),
            "cleared": reason,
            "who": getpass.getuser(),
            "records_synced": int(page["count"][0]),
            "trading_day": int(page["trading_day"][0]),
        }
        page["promise"] = lib.INTENT_PROMISE_PROCESS  # what more is wanted, the next gateway promises
        kept = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.cleared")
        draft = path.with_name(f"{path.name}.draft")
        try:
            write_durably(kept, json.dumps(said).encode())  # first: a promise is not mended without its reason
            write_durably(draft, bytes(image))
            draft.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise IntentsError(path, f"cannot be written anew: {error.strerror}", next_step="see to the disk") from None
    return kept
