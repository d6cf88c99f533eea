"""Instructions: what callgrind writes is read right, growth fails unless a commit accepts it, and the path is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.harness import ROOT, flow_file
from bench.latency import callgrind, counts, kernels, resources
from bench.latency.accept import accepted, read_trailers
from bench.latency.counts import Counts, judge
from bench.latency.kernels import Kernel, first, shared_library
from bench.latency.trees import NOBODY, Tree, git, resolve
from bench.latency.verdict import Verdict

HERE = Tree("here", resolve("HEAD"), ROOT)
BASE = Counts(kernels={"gate": 1000.0, "clock": 20.0, "old": 5.0}, path=5000.0, functions={"gate_check": 170.0})
KEYS = ("allocated", "mapped", "system_calls", "shared_bytes", "resident_bytes")
COUNTED: dict[str, Any] = {"events": 1, **dict.fromkeys(KEYS, 1), "calls": {}}
FILE = """\
# callgrind format
desc: Trigger: Client Request: many

positions: line
events: Ir
summary: 21

ob=(1) /tree/ffi/_native.so
fl=(1) gate.c
fn=(1) gate_check
10 3
+1 4
cob=(2) /lib/libc.so.6
cfi=(2) memset.S
cfn=(2) __memset_avx2_unaligned
calls=2 30
* 9

ob=(2)
fn=(2)
30 9

ob=(1)
fn=(1)
-5 5
totals: 21
"""


# ---- reading -------------------------------------------------------------------------------------------


def test_profile_counts_each_instruction_once_by_function() -> None:
    profile = callgrind.read_profile(FILE)
    assert profile.total == 21, "what a call cost is the callee's own"
    assert profile.functions == {"gate_check": 12, "__memset_avx2_unaligned": 9}
    assert profile.variants(own="ffi/_native") == ([], ["__memset_avx2_unaligned"])


def test_parts_are_named_by_their_marks(tmp_path: Path) -> None:
    (tmp_path / "out.1").write_text(FILE)
    (tmp_path / "out.2").write_text(FILE.replace("Client Request: many", "Program termination"))
    output, parts = callgrind.run_marked(HERE.python(["-c", "print(7)"]), tmp_path / "out")
    assert output.strip() == "7" and list(parts) == ["many"]


# ---- judging -------------------------------------------------------------------------------------------


def test_same_counts_pass() -> None:
    part = judge(BASE, BASE, {}, spread=0.0)
    assert part.verdict is Verdict.PASS and not part.caught
    assert {record["test"] for record in part.records} == {"gate", "clock", "old", "path_event"}


@pytest.mark.parametrize(("after", "verdict"), [(1009.0, Verdict.PASS), (1011.0, Verdict.FAIL), (500.0, Verdict.PASS)])
def test_growth_over_one_percent_fails(after: float, verdict: Verdict) -> None:
    head = Counts(kernels=BASE.kernels | {"gate": after}, path=BASE.path, functions=BASE.functions)
    assert judge(BASE, head, {}, spread=0.0).verdict is verdict


def test_growth_of_the_path_names_the_function() -> None:
    part = judge(BASE, Counts(kernels=BASE.kernels, path=5250.0, functions={"gate_check": 420.0}), {}, spread=0.0)
    assert part.verdict is Verdict.FAIL and part.caught[0].startswith("path_event: ")
    assert any("gate_check +250.0" in note for note in part.tables[0].notes)


def test_accepted_growth_passes_with_its_reason_and_only_that() -> None:
    head = Counts(kernels=BASE.kernels | {"gate": 1200.0, "clock": 30.0}, path=BASE.path)
    part = judge(BASE, head, {"gate": "a new limit"}, spread=0.0)
    assert [sentence.split(":")[0] for sentence in part.caught] == ["clock"]
    assert ["gate", "1,000.0", "1,200.0", "1.2000", "accepted: a new limit"] in part.tables[0].rows


def test_kernel_on_one_side_is_told() -> None:
    head = Counts(kernels={"gate": 1000.0, "clock": 20.0, "young": 7.0}, path=BASE.path)
    part = judge(BASE, head, {}, spread=0.0)
    said = {row[0]: row[-1] for row in part.tables[0].rows}
    assert part.verdict is Verdict.PASS and said["old"] == "gone" and said["young"] == "new"


def test_counts_that_do_not_repeat_prove_nothing() -> None:
    part = judge(BASE, BASE, {}, spread=0.002)
    assert part.verdict is Verdict.INCONCLUSIVE and part.doubts


# ---- accepting -----------------------------------------------------------------------------------------


def test_trailer_needs_a_name_and_a_reason() -> None:
    assert read_trailers("gate: a new limit\n\nclock:\n: why\nfeed: x: y\n") == {"gate": "a new limit", "feed": "x: y"}


def test_trailers_of_every_commit_in_between_are_read() -> None:
    tree = git("rev-parse", "HEAD^{tree}")
    head = resolve("HEAD")
    for message in (
        "Check a limit more\n\nLatency-Accept: gate: not here\n\nBecause.\n",
        "Check it\n\nBecause.\n\nLatency-Accept: gate: a new limit\n",
        "Say it better\n\nLatency-Accept: gate: a new limit,\n  checked last\nLatency-Accept: clock: steadier\n",
    ):
        head = git("commit-tree", "-p", head, "-m", message, tree, env=NOBODY)
    assert accepted(resolve("HEAD"), head) == {"gate": "a new limit, checked last", "clock": "steadier"}
    assert accepted(head, head) == {}


# ---- counting ------------------------------------------------------------------------------------------

needs_valgrind = pytest.mark.skipif(not callgrind.valgrind_version(), reason="valgrind")


@needs_valgrind
def test_count_of_a_call_is_exact(tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        "static volatile long sum;\n"
        "int main(int n, char **w) { (void)n; long calls = atol(w[1]); for (long i = 0; i < calls; i++) sum += i;\n"
        ' printf("{\\"calls\\": %ld}\\n", calls); }\n'
    )
    kernels.compile_with(["-O1", "-o", str(tmp_path / "one"), str(tmp_path / "one.c")], tmp_path)
    each = Kernel("one", "one", ("1000",), ("3000",), first("calls")).count(tmp_path)
    assert 2 <= each < 10 and each == Kernel("one", "one", ("1000",), ("3000",), first("calls")).count(tmp_path)


@needs_valgrind
def test_path_is_counted_within_the_loop_alone() -> None:
    feed = flow_file(messages=20_000, instruments=8, live_orders=1000)
    found = counts.count_path(HERE, feed, 1000, shared_library("callgrind_marks"), "test")
    functions = found["functions"]
    assert found["path"] == pytest.approx(sum(functions.values()))
    assert {"book_apply", "gate_check", "feature_update"} <= set(functions)
    assert "_PyEval_EvalFrameDefault" not in functions
    assert not list(kernels.BUILT.glob("path-test-*")), "what callgrind wrote is removed"


# ---- resources -----------------------------------------------------------------------------------------


def test_engine_takes_nothing_while_it_runs() -> None:
    found = resources.count(HERE, 5000)
    assert found["events"] >= 5000 and found["events_traced"] >= 5000
    assert [found[key] for key in ("allocated", "freed", "mapped", "system_calls")] == [0, 0, 0, 0]
    assert found["resident_bytes"] > found["shared_bytes"] > 1 << 20


@pytest.mark.parametrize(
    ("key", "more", "caught"),
    [
        ("allocated", 1, "allocations"),
        ("mapped", 1, "mappings"),
        ("system_calls", 1, "system_calls"),
        ("shared_bytes", 20, "shared_memory"),
        ("resident_bytes", 5, ""),
    ],
)
def test_one_call_more_or_one_percent_of_memory_fails(key: str, more: int, caught: str) -> None:
    before: dict[str, Any] = {"events": 100_000, "allocated": 0, "mapped": 0, "system_calls": 3, "calls": {"1": 3}}
    before |= {"shared_bytes": 1000, "resident_bytes": 1000}
    part = resources.judge_counts(before, before | {key: before[key] + more}, {})
    assert [sentence.split(":")[0] for sentence in part.caught] == ([caught] if caught else [])
    assert resources.judge_counts(before, before | {key: before[key] + more}, {caught: "meant"}).verdict is Verdict.PASS


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, Verdict.PASS), (1.08, Verdict.PASS), (1.5, Verdict.FAIL)])
def test_time_fails_only_where_its_interval_lies_beyond_the_margin(factor: float, verdict: Verdict) -> None:
    before = [{"memory": 0.5, "ready": 0.9, "armed": 1.0 + 0.01 * index} for index in range(6)]
    after = [{phase: seconds * factor for phase, seconds in each.items()} for each in before]
    part = resources.judge_counts(COUNTED, COUNTED, {})
    resources.judge_times(part, "start", resources.Times(before), resources.Times(after), {})
    assert part.verdict is verdict
    few = resources.judge_counts(COUNTED, COUNTED, {})
    resources.judge_times(few, "start", resources.Times(before[:2]), resources.Times(after[:2]), {})
    assert few.verdict is Verdict.PASS, "two pairs are told and judge nothing"


def test_start_and_restart_are_measured() -> None:
    """Real processes: an engine that starts, and one whose gateway is killed."""
    for what, phases in resources.PHASES.items():
        command = HERE.python(["-m", "bench.latency.inside_run", what, *resources.words_of(what)])
        found = json.loads(command.run(timeout=90))
        assert tuple(found) == phases and list(found.values()) == sorted(found.values())
