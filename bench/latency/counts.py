"""How many instructions does a call of each kernel take, and an event of the whole path, before and after?

    base: kernels, path --callgrind--> instructions --.
                                                       +--> ratio > 1.01: fail, unless a commit accepts it
    head: kernels, path --callgrind--> instructions --'

Counts are exact: the path's clock is moved by hand (inside.py), so the same code gives the same count. The base's
path is counted twice, and where those two differ nothing is said. Counts are kept by what they depend on: sources,
compiler, valgrind, processor. Code for AVX-512 callgrind cannot see: that is for the timing to judge.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.harness import COMPILER, ROOT, BenchError, Options, Table, fingerprint, flow_file
from bench.latency import callgrind
from bench.latency.accept import TRAILER, accepted
from bench.latency.kernels import BUILT, content_of, kernels_of, shared_library
from bench.latency.trees import Tree
from bench.latency.verdict import Part, Verdict, unmeasured, worst

MARGIN = 1.01
SPREAD_MAX = 0.001  # between two counts of the same path
PATH = "path_event"
PATH_FEED = {"messages": 150_000, "instruments": 64, "live_orders": 5000}
FUNCTIONS_SHOWN = 5
FUNCTION_MIN = 0.5  # instructions an event: below this a change is not worth a line


class Counts(msgspec.Struct):
    """What one tree costs: instructions a call by kernel, an event of the path, and where the latter go."""

    kernels: dict[str, float]
    path: float
    functions: dict[str, float] = {}
    own_variants: list[str] = []
    library_variants: list[str] = []


@dataclass
class Row:
    """One comparison."""

    name: str
    base: float | None
    head: float | None
    accepted: str = ""

    @property
    def ratio(self) -> float | None:
        """None where there is only one side."""
        return self.head / self.base if self.base and self.head is not None else None

    @property
    def grew(self) -> bool:
        """By more than the margin."""
        return self.ratio is not None and self.ratio > MARGIN

    @property
    def verdict(self) -> Verdict:
        """What has grown fails unless it was accepted; what is on one side only is told, and passes."""
        return Verdict.FAIL if self.grew and not self.accepted else Verdict.PASS

    def said(self) -> str:
        """The last cell of its line."""
        if self.base is None:
            return "new"
        if self.head is None:
            return "gone"
        if self.grew:
            return f"accepted: {self.accepted}" if self.accepted else "fail"
        return "pass"


def compare(base: Tree, head: Tree, options: Options) -> Part:
    """Count both, compare, judge. Raises BenchError when a tree cannot be counted."""
    if not callgrind.valgrind_version():
        return unmeasured("counts", "valgrind, which counts the instructions, is not installed")
    events = options.pick(smoke=1000, quick=6000, full=30_000)  # marked, after as many unmarked
    before, after, spread = count_both(base, head, events=events)
    return judge(before, after, accepted(base.commit, head.commit), spread=spread)


# ---- judging ---------------------------------------------------------------------------------------


def judge(before: Counts, after: Counts, reasons: dict[str, str], *, spread: float) -> Part:
    """The table and the verdict of two counts; `spread` is by how much the base's path differed from itself."""
    rows = [
        Row(name, before.kernels.get(name), after.kernels.get(name), reasons.get(name, ""))
        for name in {**before.kernels, **after.kernels}
    ]
    rows.append(Row(PATH, before.path, after.path, reasons.get(PATH, "")))
    part = Part("counts", worst(row.verdict for row in rows))
    table = Table("Instructions, by callgrind", ["kernel, a call", "base", "head", "ratio", ""])
    for row in rows:
        shown = [f"{each:,.1f}" if each is not None else "-" for each in (row.base, row.head)]
        ratio = f"{row.ratio:.4f}" if row.ratio is not None else "-"
        table.rows.append([row.name, *shown, ratio, row.said()])
        part.records.append(
            {"test": row.name, "base": row.base, "head": row.head, "ratio": row.ratio, "verdict": row.said()}
        )
        if row.verdict is Verdict.FAIL:
            part.caught.append(f"{row.name}: {shown[0]} -> {shown[1]} instructions, {ratio} over {MARGIN}")
    table.notes += notes(before, after, spread)
    if any(row.verdict is Verdict.FAIL for row in rows):
        table.notes.append(f"meant to be so? Say it in the commit: {TRAILER}: NAME: reason")
    if spread > SPREAD_MAX:
        part.verdict = max(part.verdict, Verdict.INCONCLUSIVE)
        part.doubts.append(f"{PATH}: two counts of the base differ by {spread:.2%}, more than {SPREAD_MAX:.1%}")
    part.tables.append(table)
    return part


def notes(before: Counts, after: Counts, spread: float) -> list[str]:
    """How sure the counts are, which code they saw, and where a changed path changed."""
    own = sorted({*before.own_variants, *after.own_variants})
    library = sorted({*before.library_variants, *after.library_variants})
    found = [
        f"the base's path counted twice: spread {spread:.4%}",
        f"hotpath's own code as callgrind saw it: {', '.join(own) if own else 'one portable path'}",
        f"the C library's variants on the path: {', '.join(library) if library else 'none'}",
    ]
    if has_avx512():
        found.append("this processor has AVX-512, which callgrind hides: code for it is gated by timing alone")
    moved = {
        name: after.functions.get(name, 0.0) - before.functions.get(name, 0.0)
        for name in {**before.functions, **after.functions}
    }
    largest = sorted(moved, key=lambda name: -abs(moved[name]))[:FUNCTIONS_SHOWN]
    changed = [f"{name} {moved[name]:+,.1f}" for name in largest if abs(moved[name]) >= FUNCTION_MIN]
    if changed:
        found.append(f"an event's instructions by function, head less base: {', '.join(changed)}")
    return found


def has_avx512() -> bool:
    """Whether this processor could take paths that callgrind does not show."""
    return " avx512f " in Path("/proc/cpuinfo").read_text()


# ---- counting --------------------------------------------------------------------------------------


def count_both(base: Tree, head: Tree, *, events: int) -> tuple[Counts, Counts, float]:
    """Both trees, as many runs at a time as there are processors; and the spread of the base's path."""
    marks = shared_library("callgrind_marks")
    feed = flow_file(**PATH_FEED)
    trees = {tree.commit: tree for tree in (base, head)}
    with ThreadPoolExecutor(max_workers=max(1, len(os.sched_getaffinity(0)))) as workers:
        again = workers.submit(count_path, base, feed, events, marks, "again")
        first = {
            commit: workers.submit(kept, tree, "path", events, path_of(tree, feed, events, marks))
            for commit, tree in trees.items()
        }
        programs = {commit: kernels_of(tree) for commit, tree in trees.items()}
        kernels = {
            commit: {
                kernel.name: workers.submit(kept, trees[commit], kernel.name, 0, counter(kernel.count, folder))
                for kernel in found
            }
            for commit, (folder, found) in programs.items()
        }
        counted = {}
        for commit in trees:
            each = {name: float(future.result()["each"]) for name, future in kernels[commit].items()}
            counted[commit] = Counts(kernels=each, **first[commit].result())
        spread = abs(again.result()["path"] / counted[base.commit].path - 1)
    return counted[base.commit], counted[head.commit], spread


def counter(count: Callable[[Path], float], folder: Path) -> Callable[[], dict[str, Any]]:
    """A kernel's count as what is kept."""
    return lambda: {"each": count(folder)}


def path_of(tree: Tree, feed: Path, events: int, marks: Path) -> Callable[[], dict[str, Any]]:
    """The path's count as what is kept."""
    return lambda: count_path(tree, feed, events, marks, tree.label)


def count_path(tree: Tree, feed: Path, events: int, marks: Path, label: str) -> dict[str, Any]:
    """Instructions an event, by function too, over both marked parts. Raises BenchError."""
    file = BUILT / f"path-{label}-{os.getpid()}"
    for old in BUILT.glob(f"{file.name}*"):
        old.unlink()
    command = tree.python(["-m", "bench.latency.inside", "path", feed, events, marks], wrap=callgrind.wrap(file))
    output, profiles = callgrind.run_marked(command, file)
    for made in BUILT.glob(f"{file.name}*"):
        made.unlink()
    parts = json.loads(output)["parts"]
    if not all(part["name"] in profiles and profiles[part["name"]].total for part in parts):
        raise BenchError(f"{tree.label}: callgrind saw no duty_run, or not every part of it")
    played = sum(part["events"] for part in parts)
    functions: dict[str, float] = {}
    own: set[str] = set()
    library: set[str] = set()
    for profile in profiles.values():
        for name, count in profile.functions.items():
            functions[name] = functions.get(name, 0.0) + count / played
        ours, others = profile.variants(own="ffi/_native")
        own.update(ours)
        library.update(others)
    return {
        "path": sum(profile.total for profile in profiles.values()) / played,
        "functions": {name: count for name, count in functions.items() if count},
        "own_variants": sorted(own),
        "library_variants": sorted(library),
    }


# ---- what is kept ----------------------------------------------------------------------------------


def kept(tree: Tree, what: str, size: int, count: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was counted of the same content by the same tools before, or else now."""
    path = BUILT / "kept" / f"{what}-{key_of(tree, size)}.json"
    if path.exists():
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        return found
    found = count()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.{tree.label}")
    partial.write_bytes(msgspec.json.encode(found))
    partial.rename(path)
    return found


def key_of(tree: Tree, size: int) -> str:
    """Everything that a count depends on, as one hash."""
    host = fingerprint()
    harness = [ROOT / "bench" / "engine.py", *sorted((ROOT / "bench" / "latency").glob("*.py"))]
    parts = [
        *(content_of(tree.commit, path) for path in ("ffi", "hotpath", "bench/kernels")),
        *(hashlib.sha256(path.read_bytes()).hexdigest() for path in harness),
        *(str(host[name]) for name in ("processor", "compiler", "python")),
        callgrind.valgrind_version(), COMPILER, str(size), str(PATH_FEED),
    ]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
