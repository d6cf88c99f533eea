"""Clean trees of commits, built once each and kept by commit, so that two can be measured side by side.

    out/bench/trees/<12 hex>/        what `git archive` gives of a commit, with its extension built in place
    out/bench/trees/<12 hex>.built   written last: the git tree of ffi/ that the extension was built from
    out/bench/harness/bench          a link to this harness, which drives every tree

A working tree with changes is taken as a commit made beside the user's index, which is not touched; so is a
tree with a planted regression. Such commits bear no clock, so that the same content is the same commit and is
built once. Paths are equally long whatever the tree: where stack and heap begin depends on them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.harness import OUT, ROOT, BenchError

KEPT_MAX = 6
MEASURED = ("ffi", "hotpath")  # rooms that run when a tree is measured
TREES = OUT / "trees"
HARNESS = OUT / "harness"
# Commits that this makes: nobody's, at no time.
NOBODY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "latency gate"), ("EMAIL", "gate@localhost"), ("DATE", "@0 +0000"))
}
# A tree's own settings would make a difference that no commit made.
UNSET = ("PYTHONPATH", "PYTHONHOME", "HOTPATH_SANITIZE", "CFLAGS", "LDFLAGS")


@dataclass(frozen=True)
class Command:
    """What to run in a tree, ready for ``subprocess.Popen(argv, cwd=cwd, env=env)``."""

    argv: list[str]
    cwd: Path
    env: dict[str, str]

    def run(self, *, timeout: float | None = None) -> str:
        """Its standard output. Raises BenchError when it fails."""
        result = subprocess.run(
            self.argv, cwd=self.cwd, env=self.env, capture_output=True, text=True, check=False, timeout=timeout
        )
        if result.returncode:
            raise BenchError(f"{' '.join(self.argv)} ended with {result.returncode}: {result.stderr.strip()[-800:]}")
        return result.stdout


@dataclass(frozen=True)
class Tree:
    """One commit, built."""

    label: str  # "base", "head", "control"
    commit: str  # 40 hex digits
    path: Path

    def python(
        self, args: Sequence[object], *, wrap: Sequence[object] = (), env: dict[str, str] | None = None
    ) -> Command:
        """This interpreter on the tree's own ``ffi`` and ``hotpath``, driven by this harness's ``bench``.

        `wrap` stands before the interpreter: taskset, valgrind, strace. `env` is added to the environment.
        """
        argv = [*map(str, wrap), sys.executable, *map(str, args)]
        settings = {name: value for name, value in os.environ.items() if name not in UNSET}
        # PYTHONSAFEPATH: else `-m` finds the tree's own bench in the working directory first.
        settings |= {"PYTHONPATH": f"{harness_path()}:{self.path}", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
        return Command(argv, self.path, settings | (env or {}))

    def relabelled(self, label: str) -> Tree:
        """The same tree in another role."""
        return Tree(label, self.commit, self.path)


def harness_path() -> Path:
    """A folder in which there is this harness's ``bench`` and nothing else."""
    link = HARNESS / "bench"
    if not link.is_symlink() or link.resolve() != ROOT / "bench":
        HARNESS.mkdir(parents=True, exist_ok=True)
        fresh = HARNESS / f"bench.{os.getpid()}"
        fresh.symlink_to(ROOT / "bench")
        fresh.rename(link)
    return HARNESS


# ---- commits -------------------------------------------------------------------------------------


def git(*arguments: str, env: dict[str, str] | None = None, stdin: bytes | None = None) -> str:
    """What git prints. Raises BenchError with what it complained of."""
    result = subprocess.run(
        ["git", *arguments], cwd=ROOT, input=stdin, capture_output=True, check=False, env={**os.environ, **(env or {})}
    )
    if result.returncode:
        raise BenchError(f"git {' '.join(arguments)}: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout.decode(errors="replace").strip()


def resolve(ref: str) -> str:
    """The commit that a name stands for. Raises BenchError when there is none."""
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except BenchError:
        raise BenchError(f"there is no commit {ref!r} here (a shallow clone has only the newest: fetch more)") from None


def is_clean() -> bool:
    """Whether the working tree is what HEAD is, untracked files included."""
    return not git("status", "--porcelain")


def default_base() -> str:
    """Where this branch left main; the commit before HEAD when that is HEAD itself and nothing has changed since."""
    head = resolve("HEAD")
    for main in ("origin/main", "main"):
        try:
            base = git("merge-base", "HEAD", main)
        except BenchError:
            continue
        return base if base != head or not is_clean() else resolve("HEAD^")
    raise BenchError("no origin/main and no main to compare with: name the base, --base REF")


def same_code(base: str, head: str) -> bool:
    """Whether two commits differ in nothing that is measured: one harness drives both."""
    return all(git("rev-parse", f"{base}:{room}") == git("rev-parse", f"{head}:{room}") for room in MEASURED)


def snapshot() -> str:
    """The working tree as a commit: HEAD itself when nothing has changed."""
    if is_clean():
        return resolve("HEAD")
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        index = Path(folder) / "index"
        own = Path(git("rev-parse", "--path-format=absolute", "--git-path", "index"))
        if own.exists():
            shutil.copyfile(own, index)
        env = {"GIT_INDEX_FILE": str(index), **NOBODY}
        git("add", "--all", env=env)
        return git("commit-tree", "-p", "HEAD", "-m", "working tree", git("write-tree", env=env), env=env)


def with_files(commit: str, files: dict[str, str], message: str) -> str:
    """A commit on top of another in which these files have these contents."""
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        env = {"GIT_INDEX_FILE": str(Path(folder) / "index"), **NOBODY}
        git("read-tree", commit, env=env)
        for path, text in files.items():
            blob = git("hash-object", "-w", "--stdin", stdin=text.encode())
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=env)
        return git("commit-tree", "-p", commit, "-m", message, git("write-tree", env=env), env=env)


def text_of(commit: str, path: str) -> str:
    """A file as a commit has it."""
    return git("show", f"{commit}:{path}") + "\n"


# ---- trees on disk -------------------------------------------------------------------------------


def tree_of(commit: str, label: str) -> Tree:
    """The commit checked out and built, from what is kept where it can be."""
    return trees_of([(commit, label)])[0]


def trees_of(wanted: Iterable[tuple[str, str]]) -> list[Tree]:
    """Several, those that are not there yet built side by side."""
    trees = [Tree(label, commit, TREES / commit[:12]) for commit, label in wanted]
    with locked(TREES / "lock"):
        make_missing(trees)
    return trees


def make_missing(trees: list[Tree]) -> None:
    """Check out and build those that are not there, and let go of the oldest others."""
    missing = {tree.commit: tree for tree in trees if not built_mark(tree.path).exists()}
    by_sources: dict[str, list[Tree]] = {}
    for tree in missing.values():
        check_out(tree)
        by_sources.setdefault(sources_of(tree.commit), []).append(tree)
    with ThreadPoolExecutor(max_workers=max(1, len(os.sched_getaffinity(0)))) as workers:
        list(workers.map(make_extensions, by_sources, by_sources.values()))
    for tree in trees:
        built_mark(tree.path).touch()  # used now: the youngest are kept
    drop_old({tree.path for tree in trees})


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another job may want the same trees at the same time: it waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sources_of(commit: str) -> str:
    """What the extension depends on, as one hash: git's of ffi/."""
    return git("rev-parse", f"{commit}:ffi")


def built_mark(path: Path) -> Path:
    """The file that says that the tree beside it is whole."""
    return path.with_name(path.name + ".built")


def check_out(tree: Tree) -> None:
    """The files of a commit, and nothing else."""
    shutil.rmtree(tree.path, ignore_errors=True)
    tree.path.mkdir(parents=True)
    archive = subprocess.Popen(["git", "archive", tree.commit], cwd=ROOT, stdout=subprocess.PIPE)
    unpacked = subprocess.run(["tar", "-x", "-C", str(tree.path)], stdin=archive.stdout, check=False)
    if archive.wait() or unpacked.returncode:
        raise BenchError(f"cannot check out {tree.commit[:12]} to {tree.path}")


def make_extensions(sources: str, trees: Iterable[Tree]) -> None:
    """The same extension for several trees: built for the first, copied for the rest."""
    for tree in trees:
        make_extension(tree, sources)


def make_extension(tree: Tree, sources: str) -> None:
    """Build the tree's extension, or copy it from a tree whose ffi/ is the same to the byte."""
    twin = next((mark for mark in TREES.glob("*.built") if mark.read_text().strip() == sources), None)
    if twin is not None and twin.with_suffix("").is_dir():
        copy_extension(twin.with_suffix(""), tree.path)
    else:
        settings = {name: value for name, value in os.environ.items() if name not in UNSET}
        Command([sys.executable, "ffi/build.py"], tree.path, settings).run()
        shutil.rmtree(tree.path / "build", ignore_errors=True)
    partial = built_mark(tree.path).with_suffix(".partial")
    partial.write_text(sources + "\n")
    partial.rename(built_mark(tree.path))


def copy_extension(source: Path, target: Path) -> None:
    """What ffi/build.py writes, from one tree into another."""
    made = [*source.glob("ffi/_native*.so"), *source.glob("ffi/_stamp.py"), *source.glob("ffi/client/layout_hash.h")]
    for path in made:
        shutil.copyfile(path, target / path.relative_to(source))


def drop_old(used: set[Path]) -> None:
    """Keep the trees in use and the most lately used others, KEPT_MAX in all."""
    marks = sorted(TREES.glob("*.built"), key=lambda mark: mark.stat().st_mtime, reverse=True)
    for mark in marks[KEPT_MAX:]:
        path = mark.with_suffix("")
        if path not in used:
            mark.unlink()
            shutil.rmtree(path, ignore_errors=True)
