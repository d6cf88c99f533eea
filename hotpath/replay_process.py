"""One process of a replay in several: the stages of its place over a recording, through the rings of shared memory.

    hotpath replay RECORDING --topology split --> 4 x python -m hotpath.replay_process --> what each came to, as JSON

The rings, cursors and stages are a live engine's; only the plans of the turns come from the record, so it does not
matter when which process runs.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec

from hotpath import host
from hotpath.engine import EngineSpec
from hotpath.errors import HotpathError, StageError
from hotpath.recordings import PartReplay, Recording, replay_part, spec_of
from hotpath.spawn import module_command, module_environment

PATIENCE_SECONDS = 30.0  # without an event from the others
LOOK_SECONDS = 0.005


def replay_parts(folder: Path, spec: EngineSpec, *, run_epoch: int) -> list[PartReplay]:
    """Every place of the spec in a process of its own; ends early at the first difference. Raises StageError."""
    engine = spec.config.engine
    common = [str(folder.resolve()), engine.state_dir, engine.name, engine.topology, str(run_epoch)]
    children = {
        place.process: subprocess.Popen(
            module_command("hotpath.replay_process", *common, place.process),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=module_environment(),
        )
        for place in spec.placement.places
    }
    parts: list[PartReplay] = []
    try:
        while children and not any(part.mismatches for part in parts):
            ended = [name for name, child in children.items() if child.poll() is not None]
            for name in ended:
                said, trouble = children.pop(name).communicate()
                try:
                    parts.append(msgspec.json.decode(said, type=PartReplay))
                except msgspec.MsgspecError:
                    raise StageError(f"process {name} of the replay failed: {trouble.decode().strip()}") from None
            if not ended:
                time.sleep(LOOK_SECONDS)
    finally:
        for child in children.values():
            child.kill()
            child.communicate()
    return parts


def main(arguments: list[str]) -> int:
    """Entry point of the process: RECORDING SCRATCH ENGINE TOPOLOGY RUN_EPOCH PROCESS."""
    folder, scratch, name, topology, run_epoch, process = arguments
    host.die_with_parent()
    host.set_thread_name(process)
    try:
        recording = Recording(Path(folder))
        spec = spec_of(recording, Path(scratch), name=name, topology=topology)
        place = spec.placement.place_of(process)
        part = replay_part(recording, spec, place, int(run_epoch), patience_seconds=PATIENCE_SECONDS)
    except HotpathError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    sys.stdout.buffer.write(msgspec.json.encode(part))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
