"""One job of the latency gate: two trees, what they execute, what they ask for, how long they take, a verdict.

trees --> counts      instructions, by kernel and by path event: exact, blind to waiting
      --> resources   allocations, system calls, memory, start and restart
      --> timing      paired and interleaved, with base against itself as the control
      --> verdict     the worst of the three, and the history of this host
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.harness import ROOT, BenchError, Options, fingerprint
from bench.latency import counts, resources, timing
from bench.latency.plants import PLANTS, planted
from bench.latency.trees import MEASURED, Tree, default_base, resolve, same_code, snapshot, trees_of
from bench.latency.verdict import Part, Verdict, worst

Say = Callable[[str], None]
Measure = Callable[[Tree, Tree, Options, Say], Part]


@dataclass(frozen=True)
class Request:
    """What to compare, and how."""

    base: str | None = None  # None: where this branch left main
    head: str | None = None  # None: the working tree
    plant: str | None = None  # head against head with this in it
    only: tuple[str, ...] = ()  # parts; none: all


@dataclass
class Job:
    """What came of a request."""

    base: Tree
    head: Tree
    parts: list[Part] = field(default_factory=list)
    plant: str | None = None
    size: str = "full"
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The worst of the parts'."""
        return worst(part.verdict for part in self.parts)

    @property
    def caught(self) -> list[str]:
        """Every test that failed, by part."""
        return [f"{part.name}: {sentence}" for part in self.parts for sentence in part.caught]

    @property
    def doubts(self) -> list[str]:
        """Every test that could not be decided, by part."""
        return [f"{part.name}: {sentence}" for part in self.parts for sentence in part.doubts]

    def record(self) -> dict[str, Any]:
        """One line of the history."""
        return {
            "time_ns": time.time_ns(), "size": self.size, "base": self.base.commit, "head": self.head.commit,
            "plant": self.plant, "verdict": self.verdict.word, "seconds": round(self.seconds, 1), "host": fingerprint(),
            "caught": self.caught, "doubts": self.doubts,
            "parts": {
                part.name: {"verdict": part.verdict.word, "seconds": round(part.seconds, 1), "records": part.records}
                for part in self.parts
            },
        }  # fmt: skip


PARTS: dict[str, Measure] = {
    "counts": lambda base, head, options, _: counts.compare(base, head, options),
    "resources": lambda base, head, options, _: resources.compare(base, head, options),
    "timing": timing.compare,
}


def commits(request: Request) -> tuple[str, str]:
    """The two that a request names: base and head."""
    head = resolve(request.head) if request.head else snapshot()
    if request.plant:
        if request.plant not in PLANTS:
            raise BenchError(f"there is no plant {request.plant!r}: one of {', '.join(PLANTS)}")
        return head, planted(head, request.plant)
    return (resolve(request.base) if request.base else default_base()), head


def run_job(request: Request, options: Options, say: Say = lambda _: None) -> Job:
    """Compare what is asked for. Raises BenchError when something could not be built or run.

    Two commits of the same code pass without a measurement; one commit against itself is measured: it asks
    after the machine.
    """
    base, head = commits(request)
    if base != head and same_code(base, head):
        say(f"{base[:12]} and {head[:12]} differ in no file of {' or '.join(MEASURED)}: nothing to measure")
        trees = Tree("base", base, ROOT), Tree("head", head, ROOT)
        return Job(*trees, parts=[Part("code, the same in both,", Verdict.PASS)], size=options.size)
    return compare(base, head, options, say, only=request.only, plant=request.plant)


def self_check(
    request: Request,
    options: Options,
    jobs: int,
    say: Say = lambda _: None,
    done: Callable[[Job], None] = lambda _: None,
) -> list[Job]:
    """So many jobs of head against itself: none may fail, and at most a fifth be inconclusive."""
    head = resolve(request.head) if request.head else snapshot()
    found = []
    for number in range(1, jobs + 1):
        say(f"A/A job {number} of {jobs}")
        found.append(compare(head, head, options, say, only=request.only))
        done(found[-1])
    return found


def self_check_verdict(jobs: Iterable[Job]) -> Verdict:
    """Of a gate that was given nothing to find."""
    verdicts = [job.verdict for job in jobs]
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.PASS if verdicts.count(Verdict.INCONCLUSIVE) * 5 <= len(verdicts) else Verdict.INCONCLUSIVE


def compare(
    base: str, head: str, options: Options, say: Say, *, only: tuple[str, ...] = (), plant: str | None = None
) -> Job:
    """Two commits, part by part."""
    began = time.monotonic()
    say(f"building {base[:12]} and {head[:12]}" if base != head else f"building {base[:12]}")
    before, after = trees_of([(base, "base"), (head, "head")])
    job = Job(before, after, plant=plant, size=options.size)
    for name, measure in PARTS.items():
        if only and name not in only:
            continue
        say(name)
        start = time.monotonic()
        part = measure(job.base, job.head, options, say)
        part.seconds = time.monotonic() - start
        job.parts.append(part)
    job.seconds = time.monotonic() - began
    return job
