"""Counting instructions with callgrind, and reading what it wrote.

program --few calls--> total          instructions a call = the difference of totals over that of calls:
        --many calls-> total          start, input and end are in both and cancel

inside.py path --marks--> FILE.1, FILE.2      only what ran between the marks, within duty_run; by function
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

from bench.harness import BenchError
from bench.latency.trees import Command

TOTAL = re.compile(r"Collected : (\d+)")
NAMED = re.compile(r"(?:\((\d+)\))?(?: ?(.+))?")
VARIANT = re.compile(r"_(?:avx|sse|evex|neon|sve)\w*$")  # of a function that has one for each kind of processor


@dataclass
class Profile:
    """One part of a callgrind file: its instructions, by function of the program and of the libraries."""

    total: int = 0
    functions: Counter[str] = field(default_factory=Counter)
    objects: dict[str, str] = field(default_factory=dict)  # where each function lives

    def variants(self, *, own: str) -> tuple[list[str], list[str]]:
        """Functions of object `own` and of others that are one processor's variant of several."""
        found = sorted(name for name, count in self.functions.items() if count and VARIANT.search(name))
        ours = [name for name in found if own in self.objects.get(name, "")]
        return ours, [name for name in found if name not in ours]


def valgrind_version() -> str:
    """As it names itself; empty when it is not installed."""
    if which("valgrind") is None:
        return ""
    return subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=False).stdout.strip()


def total_of(argv: list[str], *, cwd: Path, only: str = "") -> tuple[int, str]:
    """Instructions of a run, those within function `only` when it is named; and the run's standard output."""
    with tempfile.TemporaryDirectory(prefix="callgrind-") as folder:
        toggle = [f"--toggle-collect={only}"] if only else []
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", *toggle, *argv]
        result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()[-400:]}")
    found = TOTAL.findall(result.stderr)
    if not found:
        raise BenchError(f"callgrind told no total: {result.stderr.strip()[-400:]}")
    return int(found[-1]), result.stdout


def wrap(file: Path) -> list[str]:
    """What stands before a program that marks its parts, so that only those within the engine's loop count."""
    return [
        "valgrind", "--tool=callgrind", "--instr-atstart=no", "--toggle-collect=duty_run",
        f"--callgrind-out-file={file}",
    ]  # fmt: skip


def run_marked(command: Command, file: Path) -> tuple[str, dict[str, Profile]]:
    """Standard output of a command made with `wrap(file)`, and the profile of each part by its mark's name."""
    output = command.run()
    parts = {}
    for path in sorted(file.parent.glob(f"{file.name}.*")):
        text = path.read_text(errors="replace")
        mark = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        if mark:
            parts[mark[1].strip()] = read_profile(text)
    return output, parts


def read_profile(text: str) -> Profile:
    """A callgrind file of one part. Names are given once and numbered; costs of calls are the callee's own lines."""
    profile = Profile()
    names: dict[tuple[str, str], str] = {}
    place = {"ob": "", "fn": ""}
    called = False
    for line in text.splitlines():
        kind, equals, rest = line.partition("=")
        if equals and kind in ("ob", "fn", "cob", "cfn"):
            name = full_name(names, kind.removeprefix("c"), rest)
            if kind in place:
                place[kind] = name
            if kind == "fn":
                profile.objects[name] = place["ob"]
        elif kind == "calls":
            called = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not called and " " in line:
                cost = int(line.split()[1])
                profile.functions[place["fn"]] += cost
                profile.total += cost
            called = False
    return profile


def full_name(names: dict[tuple[str, str], str], kind: str, text: str) -> str:
    """ "(7) gate_check" names number 7; "(7)" is it again."""
    match = NAMED.fullmatch(text)
    if match is None or match[1] is None:
        return text
    if match[2]:
        names[kind, match[1]] = match[2]
    return names.get((kind, match[1]), text)
