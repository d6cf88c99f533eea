"""hotpath/children.py: what a started process may see, and what goes with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hotpath.children import LOG_BYTES_MAX, LOG_TAIL_BYTES, Child
from tests.support.engines import alive, until

PARENT = """
import subprocess, sys, time
print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
if sys.argv[1] == "stay":
    time.sleep(60)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that children import from."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def child(folder: Path, *command: str) -> Child:
    return Child("child", list(command), folder / "child.log")


def test_restarts_long_ago_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A death a day never adds up to too many; over the whole run (0) it does."""
    now = [1000.0]
    monkeypatch.setattr("hotpath.children.time.monotonic", lambda: now[0])
    often = child(tmp_path)
    for _ in range(4):
        often.restart_later()
        now[0] += 100.0
    assert [often.recent_restarts(window) for window in (0, 99, 150, 250, 10_000)] == [4, 0, 1, 2, 4]
    assert often.restarts == 4


def test_code_of_the_current_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "typer.py").write_text("raise SystemExit('code of the current folder')")
    monkeypatch.chdir(tmp_path)
    started = child(tmp_path, "hotpath", "--help")
    started.start()
    assert started.wait(30.0) and started.exit_code() == 0, started.said()


@pytest.mark.parametrize("how", ["stay", "leave"])
def test_what_a_child_started_ends_with_it(how: str, code: Path, tmp_path: Path) -> None:
    (code / "starts_another.py").write_text(PARENT)
    started = child(tmp_path, "starts_another", how)
    started.start()
    until(started.lines, "the grandchild's number")
    (grandchild,) = map(int, started.lines())
    if how == "stay":
        assert alive(grandchild)
        started.kill()
        assert started.exit_code() == -signal.SIGKILL
    else:
        assert started.wait(30.0) and started.exit_code() == 0
    until(lambda: not alive(grandchild), "the grandchild's end")


def test_child_sees_no_variable_that_is_none_of_its_business(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code / "tells.py").write_text("import os\nprint('SECRET' in os.environ, 'OTHER' in os.environ)")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("OTHER", "y")
    started = child(tmp_path, "tells")
    started.without = ("SECRET",)
    started.start()
    assert started.wait(30.0)
    assert started.lines() == ["False True"]


def test_long_log_is_read_from_its_end_and_bounded(tmp_path: Path) -> None:
    silent = child(tmp_path, "unused")
    silent.log_path.write_bytes(b"first\n" + b"x" * LOG_TAIL_BYTES + b"\nlast\n")
    assert silent.lines()[-1] == "last" and "first" not in silent.lines()
    assert not silent.bound_log()
    os.truncate(silent.log_path, LOG_BYTES_MAX + 1)
    assert silent.bound_log() and silent.lines() == []
