"""The job's end of a runner: a process in a tree, started, asked, and stopped.

with PathRunner(tree, feed, cpu=1) as path:
    path.slice(batches=300)["p50_ns"]      # timed
    path.run(100_000)["events"]            # untimed, for whoever counts

`wrap` and `env` are for tools around it: valgrind, strace, a preloaded counter.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from bench.harness import BenchError
from bench.latency.trees import Tree

STOP_SECONDS_MAX = 20
COMPLAINT_CHARACTERS = 800


class PathRunner:
    """``bench.latency.runner`` in a tree. Ready when the constructor returns."""

    def __init__(
        self, tree: Tree, feed: Path, *, cpu: int, wrap: Sequence[object] = (), env: dict[str, str] | None = None
    ) -> None:
        command = tree.python(["-m", "bench.latency.runner", feed, "--cpu", cpu], wrap=wrap, env=env)
        self.tree = tree
        self.process = subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env=command.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            native = Path(self._read()["native"])
            if tree.path.resolve() not in native.resolve().parents:
                raise BenchError(f"{tree.label}: would have measured {native}, which is not of {tree.path}")
        except BaseException:
            self.process.kill()
            self.close()
            raise

    def __enter__(self) -> PathRunner:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def slice(self, *, batches: int, events: int = 1000) -> dict[str, Any]:
        """Measure so many batches: p50_ns, p99_ns, p999_ns, mean_ns, max_ns an event, orders, position."""
        return self.ask({"do": "slice", "batches": batches, "events": events})

    def run(self, events: int) -> dict[str, Any]:
        """Play at least so many messages: events, orders, position."""
        return self.ask({"do": "run", "events": events})

    def renew(self) -> None:
        """A new engine, warm, at the start of the file."""
        self.ask({"do": "renew"})

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, one answer. Raises BenchError when the runner died of it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(msgspec.json.encode(request).decode() + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # _read says why
        return self._read()

    def close(self) -> None:
        """Stop it; kill it when it does not hear."""
        try:
            self.process.communicate("", timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            complaint = self.process.stderr.read().strip()[-COMPLAINT_CHARACTERS:]
            raise BenchError(f"{self.tree.label} ({self.tree.commit[:12]}): its runner ended: {complaint}")
        found: dict[str, Any] = msgspec.json.decode(line)
        return found
