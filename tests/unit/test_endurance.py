"""The endurance watch: growth is seen, a spike is not taken for it, a short-lived process does not decide."""

from __future__ import annotations

import subprocess
import sys

from psutil import Process

from bench.endurance import Watched, finding_of, name_of
from tests.support.engines import until


def watched(name: str, resident: list[int], descriptors: list[int] | None = None) -> Watched:
    return Watched(name, resident, descriptors or [7] * len(resident), [2] * len(resident))


def test_flat_process_with_a_spike_is_flat() -> None:
    assert watched("feed", [1000] * 50 + [5000] + [1000] * 50).flat


def test_two_per_cent_of_growth_is_seen() -> None:
    grown = watched("feed", [1000] * 50 + [1020] * 50)
    assert not grown.flat and abs(grown.growth - 0.02) < 1e-9


def test_one_descriptor_more_is_seen() -> None:
    assert not watched("feed", [1000] * 100, [7] * 50 + [8] * 50).flat


def test_process_that_lived_briefly_is_told_apart() -> None:
    seen = {1: watched("engine", [1000] * 100), 2: watched("child", [1000] * 3)}
    finding = finding_of(seen, {"venue": {"messages_out": 5, "orders_in": 1}, "outcome": "stopped"})
    assert [record["process"] for record in finding.records] == ["engine"]
    assert any("child" in note for note in finding.tables[0].notes)


def test_a_process_is_named_by_what_it_runs() -> None:
    command = [sys.executable, "-m", "timeit", "-n", "1", "-s", "import time", "time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: name_of(Process(process.pid)) == "timeit", "its name")
        finally:
            process.kill()
