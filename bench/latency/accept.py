"""What a commit says it knows: ``Latency-Accept: NAME: reason`` as a trailer accepts a count that has grown.

    Latency-Accept: gate_check_release: the new limit of orders a second costs 14 instructions

NAME is that of a row of the table. A reason is required; it is printed where the count is accepted.
"""

from __future__ import annotations

import subprocess

from bench.harness import ROOT, BenchError

TRAILER = "Latency-Accept"


def accepted(base: str, head: str) -> dict[str, str]:
    """Reasons by name, of the commits base..head; of several for one name the newest."""
    shown = f"--format=%(trailers:key={TRAILER},valueonly,unfold)"
    result = subprocess.run(
        ["git", "log", "--reverse", shown, f"{base}..{head}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise BenchError(f"git log {base[:12]}..{head[:12]}: {result.stderr.strip()}")
    return read_trailers(result.stdout)


def read_trailers(text: str) -> dict[str, str]:
    """Values of the trailer, one a line."""
    found = {}
    for line in text.splitlines():
        name, _, reason = (word.strip() for word in line.partition(":"))
        if name and reason:
            found[name] = reason
    return found
