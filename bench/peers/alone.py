"""One measurement in an interpreter of its own, so that no package meets another: ``alone("module:function", cpu=1)``.

The function takes plain values and gives a dictionary of them; it runs pinned, and its answer is its last line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from typing import Any

import msgspec

from bench.harness import ROOT, BenchError

SECONDS_MAX = 300


def alone(job: str, /, *, cpu: int, **arguments: Any) -> dict[str, Any]:
    """What `job` answered. Raises BenchError with its last words."""
    command = [sys.executable, "-m", "bench.peers.alone", job, str(cpu), msgspec.json.encode(arguments).decode()]
    return answer_of(command, job)


def answer_of(command: list[str], what: str) -> dict[str, Any]:
    """The JSON object on the last line that a command of ours prints. Raises BenchError when it fails."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'research'}", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{what} did not end within {SECONDS_MAX} s") from None
    lines = done.stdout.splitlines()
    if done.returncode or not lines or not lines[-1].startswith("{"):
        raise BenchError(f"{what} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
    answer: dict[str, Any] = msgspec.json.decode(lines[-1])
    return answer


def main(job: str, cpu: str, arguments: str) -> None:
    """Entry point."""
    os.sched_setaffinity(0, {int(cpu)})
    module, function = job.split(":")
    answer = getattr(import_module(module), function)(**msgspec.json.decode(arguments))
    print(msgspec.json.encode(answer).decode(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
