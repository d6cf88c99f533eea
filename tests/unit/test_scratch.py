"""Folders in memory go with their owner, at the latest when somebody makes the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ffi import lib
from hotpath import segments
from hotpath.scratch import reap_replays, reap_scratch, scratch_folder
from hotpath.segments import SHM_FOLDER, process_start_time

MAKE_AND_DIE = """
import os, signal
from hotpath.scratch import scratch_folder
with scratch_folder("test") as folder:
    (folder / "intents").write_bytes(bytes(4096))
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_folder_is_removed_when_its_block_is_left() -> None:
    with scratch_folder("test") as folder:
        assert folder.is_dir() and folder.parent == SHM_FOLDER
    assert not folder.exists()


def test_folder_of_a_killed_process_is_removed_by_the_next_one() -> None:
    died = subprocess.run([sys.executable, "-c", MAKE_AND_DIE], stdout=subprocess.PIPE, text=True, check=False)
    left = Path(died.stdout.strip())
    assert left.is_dir(), "a killed process cannot remove it"
    with scratch_folder("test"):
        assert not left.exists()


def test_only_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    start = process_start_time(os.getpid())
    assert start is not None
    mine, recycled = f"hotpath-demo-{os.getpid()}-{start}-a", f"hotpath-demo-{os.getpid()}-{start - 1}-a"
    others = ["hotpath-notes", "hotpath-demo-old_name", "hotpath-demo-x-y-z", "hotpath.demo.norm"]
    for name in (mine, recycled, *others):
        (tmp_path / name).mkdir()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (tmp_path / f"hotpath-demo-{os.getpid()}-{start - 2}-a").symlink_to(target)
    assert reap_scratch(tmp_path) == [recycled]
    assert target.is_dir() and all((tmp_path / name).is_dir() for name in (mine, *others))


MAKE_SEGMENT_AND_DIE = """
import os, signal
from ffi import lib
from hotpath import segments
segments.create(f"replay-{os.getpid()}", "control", lib.SEGMENT_CONTROL, 8192, run_epoch=1)
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_segments_of_a_killed_replay_are_removed_and_those_of_a_live_one_stay() -> None:
    died = subprocess.run([sys.executable, "-c", MAKE_SEGMENT_AND_DIE], stdout=subprocess.PIPE, text=True, check=False)
    dead, live = f"replay-{died.stdout.strip()}", f"replay-{os.getpid()}"
    assert segments.list_segments(dead), "a killed process cannot remove them"
    segments.create(live, "control", lib.SEGMENT_CONTROL, 8192, run_epoch=1)
    try:
        assert dead in reap_replays()
        assert segments.list_segments(dead) == [] and segments.list_segments(live)
    finally:
        segments.unlink_all(segments.list_segments(live))
