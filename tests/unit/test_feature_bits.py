"""The same events give the same bits, whatever the compiler made of the kernels.

The bench prints a checksum over every bit of every value, score and component of its seeded walk. The number
below is what every build on every machine must print.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [
    "bench/kernels/feature_bench.c",
    *(f"ffi/src/{name}.c" for name in ("feature", "feature_math", "strategy", "digest")),
]
CHECKSUM = "e67708cf1dc937cf"


def run_bench(target: Path, flags: str, *arguments: str) -> list[dict[str, object]]:
    """Build the bench in its smoke size and run it."""
    includes = ["-Iffi/include", "-Iffi/src"]
    command = ["gcc", "-std=gnu11", *shlex.split(flags), *includes, "-o", str(target), *SOURCES, "-lm"]
    subprocess.run(command, cwd=ROOT, check=True)
    done = subprocess.run([target, "--rounds", "1", *arguments], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "flags",
    [
        "-O3 -ffp-contract=off -fno-math-errno",
        "-O0 -ffp-contract=off",
        "-O3 -ffp-contract=off -march=native",
        "-O1 -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all",
    ],
    ids=["as built", "unoptimised", "every instruction of this machine", "sanitized"],
)
def test_every_build_gives_the_same_bits(tmp_path: Path, flags: str) -> None:
    lines = run_bench(tmp_path / "bench", flags)
    assert [line["bench"] for line in lines] == ["feature_update", "strategy_score"]
    assert {line["checksum"] for line in lines} == {CHECKSUM}


def test_the_checksum_sees_arithmetic_that_was_rearranged(tmp_path: Path) -> None:
    lines = run_bench(
        tmp_path / "bench", "-O3 -fassociative-math -fno-signed-zeros -fno-trapping-math -freciprocal-math"
    )
    assert {line["checksum"] for line in lines} != {CHECKSUM}
