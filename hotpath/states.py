"""What a run's stages remembered when it ended, as one word each: a replay must end with the same (I8).

stage process, at its end --> stage_page.state_digest --> supervisor --> <journal>/states.json --> hotpath replay
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ffi import ffi, lib
from hotpath.engine import EngineMemory
from hotpath.stages import ProcessStages

STATES_FILE = "states.json"
COMPARED = ("feed", "signal", "risk")  # the gateway's depends on the venue's answers, which a replay is given


def stage_state(stages: ProcessStages, stage: str) -> int:
    """The digest of a stage of this process, as ffi/include/state.h defines it."""
    return int(getattr(lib, f"state_{stage}")(getattr(stages, stage)))


def states_of(stages: ProcessStages) -> dict[str, str]:
    """Of each stage of this process that a replay can be held to."""
    return {stage: f"{stage_state(stages, stage):016x}" for stage in COMPARED if stage in stages.place.stages}


def note_states(stages: ProcessStages) -> None:
    """Say in the stages' pages what they remember: they make no further turn."""
    for stage in stages.place.stages:
        page = ffi.cast("stage_page *", getattr(stages, stage).stage.page)
        page.state_digest = stage_state(stages, stage)


def noted_states(memory: EngineMemory) -> dict[str, str]:
    """What the stages of a run said at their end; those that did not come to it are left out."""
    words = {stage: int(memory.stage_page(stage).state_digest) for stage in COMPARED}
    return {stage: f"{word:016x}" for stage, word in words.items() if word}


def keep_states(states: dict[str, str], folder: Path) -> None:
    """Put them beside the run's journal."""
    (folder / STATES_FILE).write_bytes(msgspec.json.encode(states))


def kept_states(folder: Path) -> dict[str, str]:
    """Of a recorded run; empty where it left none."""
    try:
        return msgspec.json.decode((folder / STATES_FILE).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}
