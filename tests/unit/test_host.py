"""hotpath/host.py: privileges that are there are used, those that are not are named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ffi import ffi, lib
from hotpath.host import Denial, has_capability, on_tmpfs, spin_control
from hotpath.topology import cpu_ranges


def in_child(code: str) -> Any:
    """Run code in a process of its own (these calls change the process for good); its last print as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", "import json, os, resource\nfrom hotpath import host\n" + code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_pin_keeps_the_process_on_its_processor() -> None:
    cpu = max(os.sched_getaffinity(0))
    assert in_child(f"print(json.dumps([host.pin({cpu}) is None, sorted(os.sched_getaffinity(0))]))") == [True, [cpu]]


def test_pin_to_an_absent_processor_says_which_there_are() -> None:
    said = str(in_child("print(json.dumps(str(host.pin(1000))))"))
    assert said.startswith("not pinned to processor 1000: ")
    assert f"it may use {cpu_ranges(sorted(os.sched_getaffinity(0)))}" in said
    assert "engine.cpus" in said


def test_denied_memory_lock_names_limit_and_grant() -> None:
    said = str(
        in_child(
            "resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))\n"
            "host.has_capability = lambda number: False\n"
            "os.geteuid() or (os.setgid(65534), os.setuid(65534))\n"
            "print(json.dumps(str(host.lock_memory())))"
        )
    )
    assert "the limit is 4 KiB" in said
    assert "LimitMEMLOCK=infinity" in said


def test_denied_fifo_names_limit_and_grant() -> None:
    said = str(
        in_child(
            "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
            "os.geteuid() or (os.setgid(65534), os.setuid(65534))\n"
            "print(json.dumps(str(host.schedule_fifo(42))))"
        )
    )
    assert said.startswith("not scheduled as SCHED_FIFO 42: Operation not permitted (RLIMIT_RTPRIO is 0)")
    assert "LimitRTPRIO=42" in said


@pytest.mark.skipif(not has_capability(23), reason="needs CAP_SYS_NICE to be granted SCHED_FIFO")
def test_granted_fifo_takes_effect() -> None:
    assert in_child("print(json.dumps([host.schedule_fifo(7) is None, os.sched_getscheduler(0)]))") == [
        True,
        os.SCHED_FIFO,
    ]


def test_prepare_names_the_thread_and_logs_what_was_denied() -> None:
    code = """
import gc, io
from hotpath.config import EngineConfig
from hotpath.topology import Place
log = io.StringIO()
place = Place("feed-signal-and-more", ("feed",), 1000, "spin")
denials = host.prepare(place, EngineConfig(lock_memory=False), log=log)
host.freeze_garbage()
name = open("/proc/self/comm").read().strip()
print(json.dumps([len(denials), log.getvalue(), name, gc.isenabled(), gc.get_freeze_count() > 0]))
"""
    count, log, name, collects, frozen = in_child(code)
    assert (count, name, collects, frozen) == (1, "feed-signal-and", False, True)
    assert log.startswith("feed-signal-and-more: not pinned to processor 1000")


def test_orphan_gets_the_signal_it_asked_for() -> None:
    code = """
import os, signal, sys, time
read, write = os.pipe()
parent = os.fork()
if parent == 0:
    if os.fork() == 0:
        host.die_with_parent(signal.SIGKILL)
        os.write(write, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(read, 1)
    os._exit(0)
os.waitpid(parent, 0)
os.close(write)
print(json.dumps(len(os.read(read, 1))))  # 0 once the orphan, the last writer, is dead
"""
    assert in_child(code) == 0


def test_throttled_real_time_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hotpath import host

    (tmp_path / "runtime").write_text("950000\n")
    (tmp_path / "period").write_text("1000000\n")
    monkeypatch.setattr(host, "RT_RUNTIME", tmp_path / "runtime")
    monkeypatch.setattr(host, "RT_PERIOD", tmp_path / "period")
    denial = host.real_time_throttling()
    assert denial is not None
    assert "takes 50 ms from it every 1 s" in denial.why
    (tmp_path / "runtime").write_text("-1\n")
    assert host.real_time_throttling() is None


def test_denial_reads_as_a_sentence() -> None:
    assert str(Denial("not pinned", "no such processor", "ask")) == "not pinned: no such processor. To allow it: ask"


def test_spin_control_counts_every_arrival_once() -> None:
    delays = ffi.new("histogram *")
    before = os.sched_getaffinity(0)
    control = spin_control(duration_ns=10_000_000, interval_ns=1000, cpu=max(before), delays=delays)
    assert os.sched_getaffinity(0) == before
    assert control.arrivals == delays.total_count == 10_000
    assert sum(delays.count) == 10_000
    assert control.p50_ns <= control.p99_ns <= control.p999_ns <= control.max_ns
    assert control.elapsed_ns >= 10_000_000
    assert 0 <= control.taken_ppm <= 1e6
    assert control.sufficient == (control.p99_ns <= lib.SPIN_DELAY_NS_MAX)
    assert ("insufficient" in control.verdict) != control.sufficient


def test_spin_control_charges_a_stop_to_every_arrival_in_it() -> None:
    """A stopped loop is late for all that came due meanwhile: delays are from intended time."""
    code = """
import threading, time, signal
stopped = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGSTOP))
stopped.start()
control = host.spin_control(duration_ns=300_000_000, interval_ns=100_000)
print(json.dumps([control.arrivals, control.max_ns, control.p99_ns, control.gaps_per_second > 0]))
"""
    child = subprocess.Popen(
        [sys.executable, "-c", "import json, os\nfrom hotpath import host\n" + code], stdout=subprocess.PIPE, text=True
    )
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    time.sleep(0.1)
    child.send_signal(signal.SIGCONT)
    arrivals, max_ns, p99_ns, gaps = json.loads(child.communicate(timeout=60)[0])
    assert arrivals == 3000
    assert max_ns >= 99_000_000
    assert p99_ns > max_ns / 2, "more than 1 % of arrivals fell into the stop's first half"
    assert gaps


def test_tmpfs_is_told_from_a_disk() -> None:
    assert on_tmpfs(Path("/dev/shm"))
    assert not on_tmpfs(Path("/proc"))
