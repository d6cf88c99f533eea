"""C programs of this harness compiled against the floor of a tree, kept beside the tree."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.harness import COMPILER, INCLUDES, ROOT, BenchError, compile_program
from bench.latency.trees import Tree

RING_KERNELS = ("ring", "segment", "wait")


def ring_driver() -> Path:
    """ring_turns, which knows of no tree."""
    return compile_program("programs/ring_turns.c", libraries=("dl",))


def ring_side(tree: Tree) -> Path:
    """ring_side.c of this harness as a shared object with the tree's ring. Each role has a file of its own."""
    built = side_of(tree)
    own = built.with_name(f"{built.stem}.{tree.label}.so")
    shutil.copyfile(built, own)
    return own


def side_of(tree: Tree) -> Path:
    """Compiled as the tree compiles. Raises BenchError when this harness and the tree's ring do not fit together."""
    text = ROOT / "bench" / "programs" / "ring_side.c"
    target = tree.path / "out" / "latency" / "ring_side.so"
    sources = [tree.path / "ffi" / "src" / f"{name}.c" for name in RING_KERNELS]
    watched = [text, *(tree.path / "ffi").glob("*/*.[ch]")]
    if target.exists() and target.stat().st_mtime > max(each.stat().st_mtime for each in watched):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    compile_in(tree, ["-shared", "-fPIC", "-o", str(target), str(text), *map(str, sources)])
    return target


def compile_in(tree: Tree, arguments: Sequence[str]) -> None:
    """Run the compiler with the tree's own flags and headers."""
    flags = tree.python(["-c", "from ffi.build import code_generation; print(*code_generation())"]).run().split()
    command = [COMPILER, *flags, *INCLUDES, *arguments]
    result = subprocess.run(command, cwd=tree.path, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"ring_side.c does not compile against {tree.label} ({tree.commit[:12]}):\n{result.stderr}")
