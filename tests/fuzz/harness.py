"""Builds the programs of ``targets.py`` under AddressSanitizer and UBSan, runs them, and judges what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.targets import ROWS, Target

HERE = Path(__file__).resolve().parent
FLOOR = HERE.parents[1] / "ffi"
WARNINGS = ["-Wall", "-Wextra", "-Wshadow=local", "-Wstrict-prototypes", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
ARITHMETIC = ["-ffp-contract=off", "-fno-math-errno"]
"""As in ffi/build.py: equal bits on every path are part of what is tried."""
FLAGS = ["-std=gnu11", "-O1", "-g", *ARITHMETIC, *WARNINGS, *SANITIZERS, f"-I{FLOOR / 'include'}", f"-I{FLOOR / 'src'}"]
CHUNK_PACKETS = 500_000
"""Mutated packets of one process: chunk k of a run has seed + k, so that a finding is repeated in a second."""
CANARY_PACKETS = 20_000
CHUNK_SECONDS_MAX = 300
SEED_END = 2**64
REPORT_LINES = 25


@dataclass(frozen=True)
class Finding:
    """A run that ended otherwise than it should."""

    target: str
    seed: int
    packets: int
    canary: str
    report: str
    """What the program said, shortened."""

    def replay(self) -> str:
        """The command that shows it again."""
        planted = f" --plant {self.canary}" if self.canary != "none" else ""
        arguments = f"--only {self.target} --seed {self.seed} --packets {self.packets}{planted}"
        return f"make fuzz FUZZ_ARGS='{arguments}'"


@dataclass
class Row:
    """What one target came to."""

    target: str
    what: str
    seed: int
    packets: int = 0
    """That were mutated."""
    packets_all: int = 0
    understood: int = 0
    seconds: float = 0.0
    caught: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.caught) and not self.missed and not self.findings


# ---- programs ------------------------------------------------------------------------------------------------


def build_programs(folder: Path, targets: Iterable[Target] = ROWS.values()) -> None:
    """Compile each program into ``folder``, several at a time, and write each target's corpus beside it.

    Raises FileNotFoundError without a compiler, and RuntimeError with what it said."""
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        raise FileNotFoundError("gcc is missing (Debian: apt-get install gcc)")
    programs = {target.program: target for target in targets}
    running = [subprocess.Popen([compiler, *arguments]) for arguments in map(_arguments(folder), programs.values())]
    failed = [program for program, compiling in zip(programs, running, strict=True) if compiling.wait() != 0]
    if failed:
        raise RuntimeError(f"does not compile: {', '.join(failed)}")
    for target in targets:
        if target.corpus is not None:
            entries = target.corpus()
            corpus = b"".join(len(entry).to_bytes(4, "little") + entry for entry in entries)
            (folder / f"{target.name}.corpus").write_bytes(corpus)


def _arguments(folder: Path) -> Callable[[Target], list[str]]:
    def arguments(target: Target) -> list[str]:
        sources = [str(FLOOR / "src" / f"{name}.c") for name in target.sources]
        return [*FLAGS, str(HERE / f"{target.program}.c"), *sources, "-o", str(folder / target.program)]

    return arguments


def run_program(
    folder: Path, target: Target, *, seed: int, packets: int, canary: str = "none"
) -> subprocess.CompletedProcess[str]:
    """One process. One that does not end comes back as return code -1."""
    command = [str(folder / target.program), str(seed % SEED_END), str(packets), canary]
    if target.corpus is not None:
        command += [str(folder / f"{target.name}.corpus"), target.decoder]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=CHUNK_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, -1, "", f"did not end within {CHUNK_SECONDS_MAX} s")


# ---- one target ------------------------------------------------------------------------------------------------


def run_target(
    folder: Path,
    target: Target,
    *,
    seed: int,
    packets: int,
    plant: str = "none",
    progress: Callable[[Row], None] = lambda row: None,
) -> Row:
    """Its canaries, then its packets in chunks up to the first finding. ``plant``: a canary among the packets."""
    row = Row(target.name, target.what, seed)
    _try_canaries(folder, target, row)
    started = time.monotonic()
    while row.packets < packets and not row.findings:
        chunk_seed, wanted = seed + row.packets // CHUNK_PACKETS, min(CHUNK_PACKETS, packets - row.packets)
        done = run_program(folder, target, seed=chunk_seed, packets=wanted, canary=plant)
        if done.returncode != 0:
            report = "\n".join(done.stderr.strip().splitlines()[:REPORT_LINES]) or f"ended with {done.returncode}"
            row.findings.append(Finding(target.name, chunk_seed, wanted, plant, report))
        else:
            counted = json.loads(done.stdout)
            row.packets += counted["mutated"]
            row.packets_all += counted["all"]
            row.understood += counted["understood"]
        row.seconds = time.monotonic() - started
        progress(row)
    if not row.findings and row.understood < target.understood_min * row.packets_all:
        report = f"blind: of {row.packets_all} packets only {row.understood} were understood"
        row.findings.append(Finding(target.name, seed, packets, plant, report))
    return row


def _try_canaries(folder: Path, target: Target, row: Row) -> None:
    for name, words in target.canaries.items():
        done = run_program(folder, target, seed=row.seed, packets=CANARY_PACKETS, canary=name)
        (row.caught if done.returncode != 0 and words in done.stderr else row.missed).append(name)


# ---- the table --------------------------------------------------------------------------------------------------


def print_rows(rows: list[Row], console: Console) -> None:
    """One line for each target."""
    table = Table(title="fuzz", title_justify="left", header_style="bold")
    table.add_column("target", no_wrap=True)
    table.add_column("what", no_wrap=True)
    for name in ("seed", "mutated packets", "understood", "seconds", "canaries caught", "findings"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        canaries = f"{len(row.caught)} of {len(row.caught) + len(row.missed)}"
        understood = f"{100 * row.understood / row.packets_all:.0f}%" if row.packets_all else ""
        figures = [f"{row.packets:,}", understood, f"{row.seconds:.1f}", canaries, str(len(row.findings))]
        table.add_row(row.target, row.what, str(row.seed), *figures)
    console.print(table)
