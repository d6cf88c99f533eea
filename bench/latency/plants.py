"""Regressions planted on purpose: a gate that misses one of them is not to be believed.

    python -m bench.latency --plant NAME     head, and head with the plant: must end in exit code 1

A plant is edits of sources, each of a text that must stand there exactly once: where it does not, the source
has moved on and the plant must follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.harness import BenchError
from bench.latency.trees import text_of, with_files

FEED = "ffi/src/feed.c"
EVENT = "static void raw_take(feed_stage *feed, const raw_event *raw) {\n"  # once for each message
HEADERS = "#include <string.h>\n"


@dataclass(frozen=True)
class Edit:
    """Put `after` in place of `before` in a file."""

    file: str
    before: str
    after: str


@dataclass(frozen=True)
class Plant:
    """One regression: what it does, and what should catch it."""

    says: str
    caught_by: str
    edits: tuple[Edit, ...]


def each_event(code: str, *, headers: str = "", before: str = "") -> tuple[Edit, ...]:
    """Edits that run this code once for each message that the feed decodes."""
    return (
        Edit(FEED, HEADERS, HEADERS + headers),
        Edit(FEED, EVENT, f"{before}{EVENT}    {code}\n"),
    )


PLANTS = {
    "ns50": Plant(
        "50 ns more for each event, by the clock",
        "timing (and counts: waiting takes instructions)",
        each_event(
            "for (uint64_t until = clock_read(feed->stage.clock) + 50; clock_read(feed->stage.clock) < until;);"
        ),
    ),
    "instructions5": Plant(
        "about 5% more instructions for each event, of the cheapest kind",
        "counts",
        each_event('__asm__ volatile(".rept 230\\n\\tnop\\n\\t.endr");'),
    ),
    "allocation": Plant(
        "one allocation for each event, given back at once",
        "resources",
        each_event(
            "planted = malloc(64);\n    free((void *)planted);",
            headers="#include <stdlib.h>\n",
            before="static void *volatile planted;\n\n",
        ),
    ),
    "syscall": Plant(
        "one system call in 1,000 events",
        "resources",
        each_event(
            "if (feed->raw_in.next % 1000 == 0) syscall(SYS_getppid);",
            headers="#include <sys/syscall.h>\n#include <unistd.h>\n",
        ),
    ),
    "false_sharing": Plant(
        "each slot of a ring shares a cache line with its neighbour; not one instruction more",
        "timing (ring)",
        (Edit("ffi/include/layout.h", "#define RING_SLOTS_OFFSET 4096", "#define RING_SLOTS_OFFSET 4128"),),
    ),
}


def apply(name: str, text_of_file: Callable[[str], str]) -> dict[str, str]:
    """The plant's files, edited. Raises BenchError when the sources have moved away from under it."""
    files: dict[str, str] = {}
    for edit in PLANTS[name].edits:
        text = files.get(edit.file) or text_of_file(edit.file)
        if text.count(edit.before) != 1:
            raise BenchError(
                f"plant {name}: {edit.file} has {edit.before.strip()!r} {text.count(edit.before)} times, not once: "
                "the plant must follow the source (bench/latency/plants.py)"
            )
        files[edit.file] = text.replace(edit.before, edit.after)
    return files


def planted(commit: str, name: str) -> str:
    """The commit with the plant on top."""
    files = apply(name, lambda path: text_of(commit, path))
    return with_files(commit, files, f"plant {name}: {PLANTS[name].says}")
