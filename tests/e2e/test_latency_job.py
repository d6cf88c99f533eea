"""The latency gate at work in smoke size: a runner in a tree, and a whole timing job of this tree against itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.harness import ROOT, BenchError, flow_file
from bench.latency import gate, history
from bench.latency.__main__ import main
from bench.latency.remote import PathRunner
from bench.latency.trees import Tree

HERE = Tree("head", "0" * 40, ROOT)


def test_a_runner_plays_the_same_events_to_the_same_orders_every_time() -> None:
    feed = flow_file(messages=30_000, instruments=64, live_orders=3000)
    answers = []
    for _ in range(2):
        with PathRunner(HERE, feed, cpu=0) as path:
            played = path.run(5000)
            timed = path.slice(batches=20)  # past the end of the file: a new engine in between
            answers.append((played, timed["orders"], timed["position"]))
        assert played["events"] >= 5000 and played["orders"] > 0
        assert 0 < timed["p50_ns"] <= timed["p99_ns"] <= timed["p999_ns"] <= timed["max_ns"]
        assert path.process.returncode == 0
    assert answers[0] == answers[1]


def test_a_runner_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"(?s)head \(000000000000\): its runner ended: .*nowhere"):
        PathRunner(HERE, tmp_path / "nowhere.itch50", cpu=0)


def test_a_job_of_one_unit_is_inconclusive_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gate, "commits", lambda request: (HERE.commit, HERE.commit))
    monkeypatch.setattr(gate, "trees_of", lambda wanted: [HERE.relabelled(label) for _, label in wanted])
    monkeypatch.setattr(history, "HISTORY", tmp_path)
    assert main(["--smoke", "--only", "timing", "--json"]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["verdict"] == "inconclusive" and record["doubts"]
    tests = {each["test"]: each for each in record["parts"]["timing"]["records"]}
    assert tests["path p50"]["base_ns"] > 0 and tests["path p50"]["units"] == 1
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".html", ".jsonl"]


def test_what_cannot_be_run_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--base", "no-such-commit", "--smoke"]) == 2
    assert "no commit 'no-such-commit'" in capsys.readouterr().out
