"""Each tree's own bench/kernels, linked with the tree's own kernels, ready to be counted.

    tree/ffi/src/*.c --tree's flags--> out/bench/counts/<ffi>/libkernels.a --.
    tree/bench/kernels/X.c --------------------------------------------------+--> out/bench/counts/<ffi>-<programs>/X

Everything that the floor has is in the archive and the linker takes what a program asks for: no list of sources
has to be right for two commits at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bench.harness import COMPILER, INCLUDES, OUT, ROOT, BenchError, flow_file, json_lines
from bench.latency import callgrind
from bench.latency.trees import Tree, git

FEW_CALLS, MANY_CALLS = 2000, 12000
BUILT = OUT / "counts"
T = TypeVar("T")
FEED = {"messages": 50_000, "instruments": 64, "live_orders": 5000}


@dataclass(frozen=True)
class Kernel:
    """One row: a program, two runs of different length, and how a run says how many calls it made."""

    name: str
    program: str
    few: tuple[str, ...]
    many: tuple[str, ...]
    calls: Callable[[list[dict[str, Any]], tuple[str, ...]], int]
    only: str = ""  # count within this function alone

    def count(self, folder: Path) -> float:
        """Instructions a call. Raises BenchError."""
        totals, calls = [], []
        for arguments in (self.few, self.many):
            total, output = callgrind.total_of([str(folder / self.program), *arguments], cwd=folder, only=self.only)
            totals.append(total)
            calls.append(self.calls(json_lines(output), arguments))
        if calls[1] <= calls[0] or totals[1] <= totals[0]:
            raise BenchError(f"{self.name}: more calls, yet not more instructions: {totals} for {calls}")
        return (totals[1] - totals[0]) / (calls[1] - calls[0])


def content_of(commit: str, path: str) -> str:
    """git's name for what lies at `path` in a commit; empty when there is nothing."""
    try:
        return git("rev-parse", "--verify", "--quiet", f"{commit}:{path}")[:12]
    except BenchError:
        return ""


def kernels_of(tree: Tree) -> tuple[Path, list[Kernel]]:
    """The folder of the tree's programs, compiled, and what there is to count. Raises BenchError."""
    folder = build_programs(tree)
    feed = str(flow_file(**FEED))
    found = []
    if (folder / "call_bench").exists():
        names = subprocess.run([folder / "call_bench", "list"], capture_output=True, text=True, check=True).stdout
        found += [
            Kernel(name, "call_bench", (name, str(FEW_CALLS)), (name, str(MANY_CALLS)), first("calls"), only="call_*")
            for name in names.split()
        ]
    if (folder / "feature_bench").exists():
        found += [
            Kernel(name, "feature_bench", ("--rounds", "1"), ("--rounds", "3"), of_bench(name), only=name)
            for name in ("feature_update", "strategy_score")
        ]
    if (folder / "itch_bench").exists():
        found.append(Kernel("itch_normalise", "itch_bench", (feed, "1"), (feed, "3"), times_rounds))
    if (folder / "book_bench").exists():
        one, two = (("itch", feed, "--repeat", count) for count in ("1", "2"))
        found.append(Kernel("decode_and_book", "book_bench", one, two, first("messages")))
    return folder, found


def first(key: str) -> Callable[[list[dict[str, Any]], tuple[str, ...]], int]:
    """Calls as the only record tells them."""
    return lambda records, _: int(records[0][key])


def of_bench(name: str) -> Callable[[list[dict[str, Any]], tuple[str, ...]], int]:
    """Calls as the record of this name tells them."""
    return lambda records, _: next(int(record["calls"]) for record in records if record["bench"] == name)


def times_rounds(records: list[dict[str, Any]], arguments: tuple[str, ...]) -> int:
    """Messages of one pass, as often as there were passes."""
    return int(records[0]["messages"]) * int(arguments[-1])


# ---- building --------------------------------------------------------------------------------------


def build_programs(tree: Tree) -> Path:
    """A folder with each program of the tree's bench/kernels, built once for the same sources and compiler."""
    ffi, programs = content_of(tree.commit, "ffi"), content_of(tree.commit, "bench/kernels")
    folder = BUILT / f"{ffi}-{programs or 'none'}"
    if (folder / "built").exists():
        return folder
    flags = code_generation(tree)
    archive = build_archive(tree, BUILT / ffi, flags)
    folder.mkdir(parents=True, exist_ok=True)

    def link(source: Path) -> None:
        compile_with([*flags, *INCLUDES, "-o", str(folder / source.stem), str(source), str(archive), "-lrt"], tree.path)

    each_of(sorted((tree.path / "bench" / "kernels").glob("*.c")), link)
    (folder / "built").write_text(tree.commit + "\n")
    return folder


def build_archive(tree: Tree, folder: Path, flags: list[str]) -> Path:
    """Every C file of the tree's floor, compiled as bench/kernel.py does, in one archive."""
    target = folder / "libkernels.a"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted((tree.path / "ffi" / "src").glob("*.c"))
    objects = [folder / f"{source.stem}.o" for source in sources]

    def make(pair: tuple[Path, Path]) -> None:
        compile_with([*flags, *INCLUDES, "-c", "-o", str(pair[1]), str(pair[0])], tree.path)

    each_of(list(zip(sources, objects, strict=True)), make)
    partial = folder / "libkernels.partial"
    partial.unlink(missing_ok=True)
    result = subprocess.run(["ar", "rcs", partial, *objects], capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"ar: {result.stderr.strip()}")
    partial.rename(target)
    return target


def shared_library(name: str, folder: Path = BUILT, *options: str) -> Path:
    """bench/programs/NAME.c as a library, compiled once for each content."""
    source = ROOT / "bench" / "programs" / f"{name}.c"
    target = folder / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        compile_with(["-O1", "-shared", "-fPIC", "-w", "-o", str(partial), str(source), *options], ROOT)
        partial.rename(target)
    return target


def compile_with(arguments: list[str], cwd: Path) -> None:
    """One run of the compiler. Raises BenchError with what it complained of."""
    result = subprocess.run([COMPILER, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{cwd.name}: {COMPILER} {' '.join(arguments[-4:])}:\n{result.stderr[-800:]}")


@cache
def code_generation(tree: Tree) -> list[str]:
    """The compiler flags by which the tree builds its own extension."""
    ask = "import json; from ffi.build import code_generation; print(json.dumps(code_generation()))"
    flags: list[str] = json.loads(tree.python(["-c", ask]).run())
    return flags


def each_of(things: list[T], work: Callable[[T], object]) -> None:
    """All of them, as many at a time as there are processors."""
    with ThreadPoolExecutor(max_workers=max(1, len(os.sched_getaffinity(0)))) as workers:
        list(workers.map(work, things))
