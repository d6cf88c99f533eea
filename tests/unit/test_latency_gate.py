"""The gate's frame: verdicts join to the worst, trees are what commits say, plants still fit, history survives."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.harness import ROOT, BenchError, Options
from bench.latency import history, plants, timing, trees
from bench.latency.__main__ import parser
from bench.latency.gate import Job, self_check_verdict
from bench.latency.timing import ORDERS, ROLES, Question, Series, Unit
from bench.latency.trees import Tree
from bench.latency.verdict import Part, Verdict, unmeasured, worst


def job(*verdicts: Verdict, caught: str = "") -> Job:
    tree = Tree("base", "a" * 40, Path("/nowhere"))
    parts = [Part(f"part{index}", verdict) for index, verdict in enumerate(verdicts)]
    if caught:
        parts[0].caught.append(caught)
    return Job(tree, tree.relabelled("head"), parts)


# ---- verdicts --------------------------------------------------------------------------------------


def test_the_worst_part_decides() -> None:
    assert job(Verdict.PASS, Verdict.INCONCLUSIVE).verdict == Verdict.INCONCLUSIVE
    assert job(Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS).verdict == Verdict.FAIL
    assert [verdict.exit_code for verdict in Verdict] == [0, 3, 1]


def test_nothing_measured_is_no_pass() -> None:
    assert worst([]) == Verdict.INCONCLUSIVE
    part = unmeasured("counts", "there is no valgrind")
    assert part.verdict == Verdict.INCONCLUSIVE and "no valgrind" in part.doubts[0]


def test_self_check_bears_no_failure_and_a_fifth_of_doubt() -> None:
    assert self_check_verdict([job(Verdict.PASS)] * 8 + [job(Verdict.INCONCLUSIVE)] * 2) == Verdict.PASS
    assert self_check_verdict([job(Verdict.PASS)] * 7 + [job(Verdict.INCONCLUSIVE)] * 3) == Verdict.INCONCLUSIVE
    assert self_check_verdict([job(Verdict.PASS)] * 9 + [job(Verdict.FAIL)]) == Verdict.FAIL


# ---- timing ----------------------------------------------------------------------------------------


class Simulated:
    """A subject whose sides take what they are told, with half a percent of noise."""

    name = "path"
    tests: tuple[Question, ...] = (Question("path", "p50", "p50", timing.MARGIN_P50),)
    shown: tuple[Question, ...] = ()

    def __init__(self, *, head: float = 1.0, control: float = 1.0) -> None:
        self.factor = {"base": 1.0, "head": head, "control": control}
        self.random = np.random.default_rng(5)
        self.orders: list[tuple[str, ...]] = []

    def unit(self, order: tuple[str, ...]) -> Unit:
        self.orders.append(order)
        return {
            role: {"p50": [300 * self.factor[role] * float(self.random.normal(1, 0.005)) for _ in range(12)]}
            for role in ROLES
        }


def outcome_of(subject: Simulated) -> timing.Outcome:
    series = Series(subject)
    series.measure(24)
    return series.outcome(subject.tests[0], tests=5)


def test_equal_sides_pass_and_a_slower_head_fails() -> None:
    assert outcome_of(Simulated()).verdict == Verdict.PASS
    slower = outcome_of(Simulated(head=1.05))
    assert slower.verdict == Verdict.FAIL
    assert slower.sentence.startswith("path p50: +") and "slower by more than 2%" in slower.sentence


@pytest.mark.parametrize("head", [1.0, 1.05])
def test_where_base_differs_from_itself_nothing_is_said(head: float) -> None:
    outcome = outcome_of(Simulated(head=head, control=1.04))
    assert outcome.verdict == Verdict.INCONCLUSIVE and "base against itself" in outcome.sentence


def test_every_side_stands_everywhere_equally_often() -> None:
    subject = Simulated()
    Series(subject).measure(len(ORDERS))
    assert sorted(subject.orders) == sorted(ORDERS)
    for place in range(len(ROLES)):
        assert {order[place] for order in subject.orders} == set(ROLES)


# ---- trees and plants ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", plants.PLANTS)
def test_a_plant_fits_the_sources_and_compiles(name: str, tmp_path: Path) -> None:
    texts = {edit.file: (ROOT / edit.file).read_text() for edit in plants.PLANTS[name].edits}
    edited = plants.apply(name, lambda path: texts[path])
    assert edited.keys() == texts.keys()
    for file, text in edited.items():
        assert text != texts[file]
        if file.endswith(".c"):
            source = tmp_path / Path(file).name
            source.write_text(text)
            command = ["gcc", "-std=gnu11", "-Iffi/include", "-Iffi/src", "-Werror", "-fsyntax-only", str(source)]
            subprocess.run(command, cwd=ROOT, check=True)


def test_a_plant_that_no_longer_fits_says_so() -> None:
    with pytest.raises(BenchError, match=r"plant syscall: ffi/src/feed.c has .* 0 times"):
        plants.apply("syscall", lambda path: "")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, on main, that the trees are taken from."""
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "first", "--allow-empty"]):
        identity = ["-c", "user.name=n", "-c", "user.email=e@localhost"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(trees, "ROOT", tmp_path)
    return tmp_path


def test_a_dirty_tree_is_a_commit_and_the_index_stays(repository: Path) -> None:
    assert trees.snapshot() == trees.resolve("HEAD")
    (repository / "new.txt").write_text("new\n")
    before = trees.git("status", "--porcelain")
    commit = trees.snapshot()
    assert commit == trees.snapshot() != trees.resolve("HEAD")
    assert trees.text_of(commit, "new.txt") == "new\n"
    assert trees.git("status", "--porcelain") == before == "?? new.txt"


def test_the_base_is_where_the_branch_left_main(repository: Path) -> None:
    first = trees.resolve("HEAD")
    with pytest.raises(BenchError, match="no commit"):
        trees.default_base()  # one clean commit: there is nothing before it
    (repository / "new.txt").write_text("new\n")
    assert trees.default_base() == first
    with pytest.raises(BenchError, match="no commit 'nowhere'"):
        trees.resolve("nowhere")


@pytest.mark.usefixtures("repository")
def test_the_same_code_has_nothing_to_measure() -> None:
    text = {f"{room}/a.py": "one = 1\n" for room in trees.MEASURED}
    base = trees.with_files(trees.resolve("HEAD"), text, "rooms")
    readme = trees.with_files(base, {"README.md": "words\n"}, "words")
    kernel = trees.with_files(readme, {"ffi/a.py": "one = 2\n"}, "a kernel")
    assert trees.same_code(base, readme)
    assert not trees.same_code(readme, kernel)


def test_a_commit_with_other_files_leaves_the_rest(repository: Path) -> None:
    (repository / "kept.txt").write_text("kept\n")
    planted = trees.with_files(trees.snapshot(), {"other.txt": "other\n"}, "plant")
    assert trees.text_of(planted, "kept.txt") == "kept\n" and trees.text_of(planted, "other.txt") == "other\n"


def test_a_tree_runs_its_own_code_under_this_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "HARNESS", tmp_path / "harness")
    (tmp_path / "tree" / "hotpath").mkdir(parents=True)
    (tmp_path / "tree" / "bench").mkdir()
    for room in ("hotpath", "bench"):
        (tmp_path / "tree" / room / "__init__.py").write_text("")
    tree = Tree("base", "a" * 40, tmp_path / "tree")
    text = tree.python(["-c", "import bench, hotpath; print(bench.__file__); print(hotpath.__file__)"]).run()
    found_bench, found_hotpath = (Path(line).resolve() for line in text.splitlines())
    assert found_bench == ROOT / "bench" / "__init__.py"
    assert found_hotpath == (tmp_path / "tree" / "hotpath" / "__init__.py").resolve()


# ---- history and the command line ------------------------------------------------------------------


def test_history_keeps_jobs_and_draws_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HISTORY", tmp_path)
    failed = job(Verdict.FAIL, caught="path p50: <slower>")
    failed.parts.append(Part("timing", Verdict.PASS, records=[{"test": "path p50", "head_ns": 301.0}]))
    page = history.keep(failed)
    with page.with_suffix(".jsonl").open("a") as file:
        file.write('{"cut short')
    assert history.keep(job(Verdict.PASS)) == page
    records: list[dict[str, Any]] = history.read(page.with_suffix(".jsonl"))
    assert [record["verdict"] for record in records] == ["fail", "pass"]
    text = page.read_text()
    assert "&lt;slower&gt;" in text and "<svg" in text


def test_records_are_json() -> None:
    record = outcome_of(Simulated()).record()
    assert msgspec.json.decode(msgspec.json.encode(record))["verdict"] == "pass"


def test_the_help_names_every_exit_code_and_plant() -> None:
    text = parser().format_help()
    assert all(f"exit {code}" in text for code in range(4))
    assert all(name in text for name in plants.PLANTS)


def test_one_processor_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "subjects", lambda *_: iter([Simulated()]))
    tree = Tree("base", "a" * 40, Path("/nowhere"))
    part = timing.compare(tree, tree, Options(size="quick", engine_cpu=0, driver_cpu=0))
    assert part.verdict == Verdict.INCONCLUSIVE and "second processor" in part.doubts[-1]
