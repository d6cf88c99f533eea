"""C programs of this harness compiled against the floor of a tree, kept beside the tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench import ring
from bench.harness import COMPILER, INCLUDES, ROOT, BenchError
from bench.latency.trees import Tree


def ring_program(tree: Tree) -> Path:
    """ring_bench of this harness with the tree's ring. Raises BenchError when they do not fit together."""
    return program_of(tree, "programs/ring_bench.c", ring.KERNELS)


def program_of(tree: Tree, source: str, kernels: tuple[str, ...]) -> Path:
    """A bench program of this harness, with the tree's kernels and headers, compiled as the tree compiles."""
    text = ROOT / "bench" / source
    target = tree.path / "out" / "latency" / text.stem
    if target.exists() and target.stat().st_mtime > text.stat().st_mtime:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = tree.python(["-c", "from ffi.build import code_generation; print(*code_generation())"]).run().split()
    sources = [f"ffi/src/{name}.c" for name in kernels]
    command = [COMPILER, *flags, *INCLUDES, "-o", str(target), str(text), *sources]
    result = subprocess.run(command, cwd=tree.path, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{source} does not compile against {tree.label} ({tree.commit[:12]}):\n{result.stderr}")
    return target
