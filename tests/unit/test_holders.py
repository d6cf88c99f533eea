"""hotpath/holders.py: one holder at a time, told by name, and gone with its process."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from hotpath.errors import HeldError
from hotpath.holders import UNSIGNED_SECONDS, describe_holder, hold, port_holder, reap_locks, session_lock
from hotpath.side_runtime import bound

HOLDER = """
import sys, time
from pathlib import Path
from hotpath.holders import hold
held = hold(Path(sys.argv[1]), "a thing", note="of a test")
print("held", flush=True)
sys.stdin.read()
held.release()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def test_second_holder_is_told_who_has_it_and_since_when(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process, pytest.raises(HeldError) as refused:
        hold(path, "a thing", next_step="stop it")
    assert str(refused.value).startswith(f"a thing is held already, by process {process.pid} since 20")
    assert str(refused.value).endswith("(of a test)")
    assert refused.value.next_step == "stop it" and refused.value.exit_code == 75


def test_death_gives_a_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        assert path.exists(), "nobody cleaned up"
        hold(path, "a thing").release()


def test_orderly_end_leaves_no_file_and_a_second_release_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = hold(path, "a thing")
    held.release()
    assert not path.exists()
    other = hold(path, "a thing")
    held.release()
    assert path.exists(), "it was another's by then"
    other.release()


def test_many_who_try_at_once_hold_it_one_after_the_other(tmp_path: Path) -> None:
    """Files that are removed and made again let no two in: each holder finds the mark of nobody else."""
    code = """
import sys
from pathlib import Path
from hotpath.errors import HeldError
from hotpath.holders import hold
path, mark = Path(sys.argv[1]), Path(sys.argv[2])
held = 0
for _ in range(100000):
    try:
        mine = hold(path, "a thing")
    except HeldError:
        continue
    mark.touch(exist_ok=False)
    mark.unlink()
    mine.release()
    held += 1
    if held == 150:
        break
print(held)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "lock"), str(tmp_path / "mark")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(int(text) for text in told) > 150


def test_only_lock_files_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    held, dead, signing, torn = (tmp_path / f".hotpath.{name}.lock" for name in ("held", "dead", "signing", "torn"))
    with holder(dead) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    signing.touch()
    torn.write_bytes(b"{")
    old = torn.stat().st_mtime - 2 * UNSIGNED_SECONDS
    os.utime(torn, (old, old))
    (tmp_path / "other.lock").touch()
    (tmp_path / ".hotpath.link.lock").symlink_to(dead)
    with holder(held):
        assert reap_locks(tmp_path) == [dead.name, torn.name]
        assert held.exists() and signing.exists()
        with pytest.raises(HeldError):
            hold(held, "a thing")


def test_lock_of_a_holder_that_seems_dead_from_here_stays(tmp_path: Path) -> None:
    path = tmp_path / ".hotpath.elsewhere.lock"
    held = hold(path, "a thing")
    path.write_text('{"pid": 1, "start_time": -1, "since": "2026-11-20 09:30:00"}')
    assert reap_locks(tmp_path) == []
    with pytest.raises(HeldError):
        hold(path, "a thing")
    held.release()


def test_who_wants_a_lock_is_not_refused_for_its_being_reaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who removes a dead holder's file has its lock for a moment: that is not to be in somebody's way."""
    monkeypatch.setattr("hotpath.holders.REAPED_TRIES", 10_000)
    path = tmp_path / "lock"
    path.write_text('{"pid": 1, "start_time": -1, "since": "2026-11-20 09:30:00"}')
    reaper = path.open("rb")
    fcntl.flock(reaper, fcntl.LOCK_EX)
    with pytest.MonkeyPatch.context() as impatient, pytest.raises(HeldError):
        impatient.setattr("hotpath.holders.REAPED_TRIES", 1)
        hold(path, "a thing")

    def reap() -> None:
        path.unlink()
        reaper.close()

    later = threading.Timer(0.05, reap)
    later.start()
    held = hold(path, "a thing")
    later.join()
    assert path.exists(), "a file of its own, which nobody removed"
    held.release()


def test_lock_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(HeldError, match="cannot be locked: No such file or directory"):
        hold(tmp_path / "absent" / "lock", "a thing")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HeldError, match="cannot be locked: Too many levels of symbolic links"):
        hold(tmp_path / "link", "a thing")


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"[]", b'{"pid": "x"}', b'{"pid": 1}', b"\xff" * 50])
def test_what_a_holder_wrote_is_not_trusted(text: bytes) -> None:
    assert describe_holder(text) == "a process that has not said who it is"


def test_name_of_a_user_stays_one_part_of_a_path() -> None:
    path = session_lock(address="10.0.0.1", port=1, username="../a ")
    assert path.parent == Path("/dev/shm") and path.name == ".hotpath.session.10.0.0.1.1...%2FA.lock"


def test_second_listener_at_an_endpoint_is_refused_and_takes_nothing_over(tmp_path: Path) -> None:
    context = zmq.Context()
    address = f"ipc://{tmp_path}/tap"
    with bound(context.socket(zmq.PUB), address):
        with (
            pytest.raises(HeldError, match=f"the endpoint {address} is held already, by process {os.getpid()} since"),
            bound(context.socket(zmq.PUB), address),
        ):
            pass
        assert (tmp_path / "tap").exists(), "the first one still listens"
    assert list(tmp_path.iterdir()) == []
    with bound(context.socket(zmq.PUB), address):
        pass
    context.term()


def test_holder_of_a_port_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert port_holder(port).startswith(f"process {os.getpid()} (")
    assert port_holder(port) == ""
