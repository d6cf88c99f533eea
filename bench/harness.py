"""What every bench shares: compiled programs, inputs made once, the machine's fingerprint, results as JSON lines.

out/bench/bin/      C programs, compiled when a source is newer
out/bench/inputs/   generated feeds, named by their parameters
out/bench/*.jsonl   one line per result, with the host it was measured on
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from ffi import lib
from ffi.build import code_generation
from hotpath.host import SpinControl

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out" / "bench"
SHARED = Path(os.environ.get("HOTPATH_SHARED", ROOT.parent / "shared"))
GOOG_DAY = SHARED / "data" / "itch_goog_20120621_derived" / "GOOG_20120621_L10.itch50"
COMPILER = os.environ.get("CC", "gcc")
INCLUDES = ["-Iffi/include", "-Iffi/src"]

Size = Literal["smoke", "quick", "full"]


class BenchError(Exception):
    """A bench could not be run, or its result is wrong."""


@dataclass(frozen=True)
class Options:
    """How much to measure, and where: `engine_cpu` runs what is measured, `driver_cpu` whatever drives it."""

    size: Size = "full"
    engine_cpu: int = 0
    driver_cpu: int = 0

    def pick(self, *, smoke: int, quick: int, full: int) -> int:
        """The amount that belongs to the chosen size."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.size]

    @property
    def two_cores(self) -> bool:
        """Whether something may be measured between two processors."""
        return self.engine_cpu != self.driver_cpu


def default_options(size: Size = "full") -> Options:
    """The last processor measures and the first drives: interrupts tend to go to the first."""
    cpus = sorted(os.sched_getaffinity(0))
    return Options(size=size, engine_cpu=cpus[-1], driver_cpu=cpus[0])


@dataclass
class Table:
    """One designed table. A row's cells are printed as they are; `notes` stand below."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Finding:
    """What one bench found: records for machines, tables for people, and why it was skipped if it was."""

    bench: str
    records: list[dict[str, Any]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    skipped: str = ""


# ---- programs ------------------------------------------------------------------------------------


def compile_program(source: str, *kernels: str, libraries: Sequence[str] = ()) -> Path:
    """A C bench with the kernels it measures, compiled when any source of the floor is newer."""
    path = ROOT / "bench" / source
    target = OUT / "bin" / path.stem
    sources = [path, *(ROOT / "ffi" / "src" / f"{name}.c" for name in kernels)]
    watched = [path, *(ROOT / "ffi").glob("*/*.[ch]")]
    if target.exists() and target.stat().st_mtime > max(each.stat().st_mtime for each in watched):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    links = [f"-l{name}" for name in libraries]
    command = [COMPILER, *code_generation(), *INCLUDES, "-o", str(target), *map(str, sources), *links]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{source} does not compile:\n{result.stderr}")
    return target


def run_program(program: Path, *arguments: object, cpu: int | None = None) -> str:
    """Standard output of a program, pinned to `cpu`. Raises BenchError when it fails."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
    command = [*pin, str(program), *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def json_lines(text: str) -> list[dict[str, Any]]:
    """What a program printed, one JSON object a line."""
    return [msgspec.json.decode(line) for line in text.splitlines() if line.startswith("{")]


def instructions(program: Path, *arguments: object, only: str = "") -> int:
    """Instructions that a run executes, by callgrind; those within function `only` when it is named."""
    log = OUT / "callgrind.out"
    toggle = [f"--toggle-collect={only}"] if only else []
    command = [
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={log}",
        *toggle,
        str(program),
        *map(str, arguments),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()[-400:]}")
    collected = [line for line in result.stderr.splitlines() if "Collected :" in line]
    return int(collected[-1].rsplit(":", 1)[1])


@cache
def has_valgrind() -> bool:
    """Whether instructions can be counted here."""
    from shutil import which

    return which("valgrind") is not None


# ---- inputs --------------------------------------------------------------------------------------


def flow_file(*, messages: int, instruments: int, live_orders: int, seed: int = 1) -> Path:
    """A seeded ITCH file of flow.h, made once."""
    target = OUT / "inputs" / f"flow-{messages}-{instruments}-{live_orders}-{seed}.itch50"
    if not target.exists():
        program = compile_program("programs/flow_file.c", "flow", "book", "book_batch", "itch")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        run_program(program, partial, messages, instruments, live_orders, seed)
        partial.rename(target)
    return target


# ---- the machine ---------------------------------------------------------------------------------


@cache
def fingerprint() -> dict[str, Any]:
    """What a figure depends on besides the code: processor, kernel, compiler, and which code it was."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    compiler = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=False).stdout
    sources = hashlib.sha256()
    for path in sorted((ROOT / "ffi").glob("*/*.[ch]")):
        sources.update(path.read_bytes())
    return {
        "processor": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "compiler": compiler.splitlines()[0] if compiler else COMPILER,
        "python": platform.python_version(),
        "ffi_sha256": sources.hexdigest()[:16],
    }


def write_records(finding: Finding, options: Options) -> None:
    """Append a bench's records to its file, each with host, size and instant."""
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / f"{finding.bench}.jsonl").open("ab") as file:
        for record in finding.records:
            line = {"bench": finding.bench, "time_ns": time.time_ns(), "size": options.size, **record}
            file.write(msgspec.json.encode({**line, "host": fingerprint()}) + b"\n")


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """This process on one processor for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# ---- words ---------------------------------------------------------------------------------------


def ns_text(ns: float) -> str:
    """A span as people read it: 85 ns, 1.24 us, 3.1 ms."""
    if ns < 1000:
        return f"{ns:.0f} ns" if ns >= 100 or ns == int(ns) else f"{ns:.1f} ns"
    if ns < 1_000_000:
        return f"{ns / 1000:.3g} us"
    return f"{ns / 1_000_000:.3g} ms"


def met(value: float, aim: float, *, below: bool) -> str:
    """ "met", or by what factor the aim was missed."""
    if (value <= aim) if below else (value >= aim):
        return "met"
    return f"missed ({value / aim:.2f}x)" if below else f"missed ({value / aim:.0%})"


def spin_note(control: SpinControl) -> str:
    """The machine's own part, in the window of the figures above."""
    spans = [ns_text(each) for each in (control.p50_ns, control.p99_ns, control.p999_ns, control.max_ns)]
    return (
        f"spin control, cpu {control.cpu}, one arrival every {ns_text(control.interval_ns)}: p50 {spans[0]}, "
        f"p99 {spans[1]}, p99.9 {spans[2]}, max {spans[3]}; the machine took {control.taken_ppm / 10_000:.1f}% of the "
        f"time, in {control.gaps_per_second:.0f} gaps a second: {control.verdict}"
    )


def spin_limit_ns() -> int:
    """Over this p99 of the spin control the host is insufficient."""
    return int(lib.SPIN_DELAY_NS_MAX)
