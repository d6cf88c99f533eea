"""The profile: what callgrind wrote is read by stage and function, priced, and drawn; nothing is lost on the way."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.harness import ROOT, BenchError
from bench.profile.__main__ import main
from bench.profile.flame import depth, flame_page, frames_of
from bench.profile.model import Prices, bound_by, bound_text, processor_caches, terms_ns, total_ns
from bench.profile.reading import EVENTS, LOOP, Place, read_samples, stack_of
from bench.profile.record import SOURCES
from bench.profile.source import Sources, function_spans
from bench.profile.table import function_table, kernel_rows, source_rows, stage_rows, stage_table

PRICES = Prices(cycle_ns=0.25, l2_ns=4.0, beyond_ns=20.0, branch_ns=6.0, ipc=4.0)
INLINE = "static inline int ring_has(const ring *r) {\n    return 1;\n}\n"
FEED = """\
#define LIMIT 3
static int helper(int a) { return a; }
static const int table[] = {1, 2};

/* a comment */
int feed_turn(feed_stage *feed,
              const turn_plan *plan) {
    if (plan) {
        return 1;
    }
}
"""
FILE = f"""\
# callgrind format
desc: Trigger: Client Request: many
positions: line
events: {" ".join(EVENTS)}

fl=/tree/ffi/src/duty.c
fn=duty_run'_cffi_d_duty_run'ffi_call
10 8
cfi=/tree/ffi/src/feed.c
cfn=feed_turn'duty_run'_cffi_d_duty_run'ffi_call
calls=2 6
11 999

fl=/tree/ffi/src/feed.c
fn=feed_turn.part.0'duty_run'_cffi_d_duty_run'ffi_call
8 40 10 2 0 1 0 0 1 0 5 2
fi=/tree/ffi/src/ring_inline.h
2 20 5 0 3
fe=/tree/ffi/src/feed.c
9 4

fl=/usr/lib/libc.so
fn=memcpy'2'digest'gateway_turn'duty_run'ffi_call
0 28
"""


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    (tmp_path / "ring_inline.h").write_text(INLINE)
    (tmp_path / "feed.c").write_text(FEED)
    return Sources((tmp_path,))


# ---- reading -------------------------------------------------------------------------------------------


def test_function_of_a_line_is_found_in_the_text() -> None:
    assert function_spans(FEED) == [(2, 2, "helper"), (6, 11, "feed_turn")]


def test_functions_of_the_floor_are_found() -> None:
    sources = Sources(SOURCES)
    for file, name in (("ring_inline.h", "ring_has"), ("duty.c", "all_step"), ("book.c", "book_apply")):
        text = next(path for folder in SOURCES for path in folder.glob(file)).read_text()
        line = next(n for n, each in enumerate(text.splitlines(), 1) if re.match(rf"\w.*\b{name}\(", each))
        assert sources.function_at(file, line + 1) == name
    assert sources.function_at("stdio.h", 3) == ""


def test_stack_begins_at_the_loop_and_drops_what_the_compiler_added() -> None:
    assert stack_of("a.constprop.0'2'b.part.1'duty_run'python") == ("duty_run", "b", "a")
    assert stack_of("python'main") is None


def test_every_cost_is_counted_once_in_its_stage(sources: Sources) -> None:
    samples = read_samples(FILE, sources)
    assert sum(costs[0] for costs in samples.values()) == 8 + 40 + 20 + 4 + 28, "a call's cost is the callee's"
    assert {row.name: row.of("Ir") for row in stage_rows(samples)} == {"feed": 64, "gateway": 28, LOOP: 8}


def test_inlined_code_counts_with_its_holder_and_where_it_is_written(sources: Sources) -> None:
    samples = read_samples(FILE, sources)
    held = {row.name: row for row in kernel_rows(samples, PRICES)}
    written = {row.name: row for row in source_rows(samples, PRICES)}
    assert held["feed_turn"].of("Ir") == 64 and held["feed_turn"].inlined == {"ring_has"}
    assert written["feed_turn"].of("Ir") == 44 and written["ring_has"].held_by == {"feed_turn"}
    assert written["ring_has"].of("I1mr") == 3 and written["ring_has"].files == {"ring_inline.h"}
    assert held["memcpy"].stage == "gateway", "a library's function belongs to the stage that calls it"


def test_file_that_counts_something_else_is_refused(sources: Sources) -> None:
    with pytest.raises(BenchError, match="callgrind counted Ir"):
        read_samples("events: Ir\n", sources)
    with pytest.raises(BenchError, match="outside of duty_run"):
        read_samples(FILE.replace("fn=duty_run'", "fn=main'"), sources)


# ---- pricing -------------------------------------------------------------------------------------------


def costs_of(**counts: float) -> np.ndarray:
    return np.array([counts.get(name, 0.0) for name in EVENTS])


@pytest.mark.parametrize(
    ("counts", "bound"),
    [
        ({"Ir": 160}, "instructions"),
        ({"Ir": 16, "Bcm": 1, "Bim": 1}, "branch misses"),
        ({"Ir": 16, "I1mr": 2}, "code from L2"),
        ({"Ir": 16, "D1mr": 2, "D1mw": 50}, "data from L2"),
        ({"Ir": 16, "D1mr": 2, "DLmr": 1}, "data beyond L2"),
    ],
)
def test_largest_term_bounds(counts: dict[str, float], bound: str) -> None:
    assert bound_by(costs_of(**counts), PRICES) == bound


def test_the_bound_says_how_much_of_the_whole_it_is() -> None:
    assert bound_text(costs_of(Ir=160, Bcm=1), PRICES).endswith(f"{10 / total_ns(costs_of(Ir=160, Bcm=1), PRICES):.0%}")


def test_a_miss_is_priced_once() -> None:
    terms = terms_ns(costs_of(Ir=160, Bcm=1, I1mr=3, ILmr=1, D1mr=5, DLmr=2), PRICES)
    assert terms == {"instructions": 10.0, "branches": 6.0, "code_l2": 8.0, "data_l2": 12.0, "beyond": 60.0}


def test_caches_come_from_sysfs_and_are_marked_where_they_do_not(tmp_path: Path) -> None:
    fields = ("level", "type", "size", "ways_of_associativity", "coherency_line_size")
    kinds = [
        ("1", "Data", "48K", "12", "64"),
        ("2", "Unified", "2048K", "16", "64"),
        ("3", "Unified", "32M", "16", "64"),
    ]
    for index, values in enumerate(kinds):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, value in zip(fields, values, strict=True):
            (folder / name).write_text(value + "\n")
    caches = {cache.name: cache for cache in processor_caches(tmp_path)}
    assert caches["D1"].option == "--D1=49152,12,64" and caches["LL"].option == "--LL=2097152,16,64"
    assert caches["I1"].assumed and not caches["D1"].assumed


# ---- showing -------------------------------------------------------------------------------------------


def test_tables_add_up(sources: Sources) -> None:
    samples = read_samples(FILE, sources)
    stages = stage_table(stage_rows(samples), PRICES, {"feed": 91.0})
    assert [row[0] for row in stages.rows] == ["feed", "gateway", LOOP, "event"]
    assert stages.rows[-1][1] == "100" and stages.rows[0][-2] == "91"
    functions = function_table("functions", kernel_rows(samples, PRICES), PRICES, 1)
    assert functions.rows[0][:3] == ["feed_turn", "feed", "feed.c"] and functions.rows[1][0].startswith("2 more")
    assert all(len(row) == len(functions.columns) for row in functions.rows)


def test_flame_graph_holds_every_function_and_fetches_nothing(sources: Sources) -> None:
    samples = read_samples(FILE, sources)
    root = frames_of(samples)
    assert total_ns(root.costs, PRICES) == pytest.approx(sum(total_ns(costs, PRICES) for costs in samples.values()))
    assert depth(root) == 6, "one event, gateway, duty_run, gateway_turn, digest, memcpy"
    page = flame_page(samples, PRICES, ["a <note>"])
    assert "a &lt;note&gt;" in page and not re.search(r"https?://|<link|src=", page)
    for picture in re.findall(r"<svg .*?</svg>", page, re.DOTALL):
        svg = ElementTree.fromstring(picture)
        names = {each.get("data-name") for each in svg.iter("g")}
        assert names >= {"duty_run", "feed_turn", "ring_has", "memcpy"}
        assert all(each.find("title") is not None for each in svg.iter("g"))


def test_names_are_escaped() -> None:
    samples = {Place(("duty_run", '<b>"&'), '<b>"&', ""): costs_of(Ir=4)}
    (picture, *_) = re.findall(r"<svg .*?</svg>", flame_page(samples, PRICES, []), re.DOTALL)
    assert '<b>"&' in {each.get("data-name") for each in ElementTree.fromstring(picture).iter("g")}


def test_help_tells_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0 and "--no-timing" in capsys.readouterr().out


def test_programs_and_sources_are_where_the_profile_looks() -> None:
    assert all(folder.is_dir() for folder in SOURCES)
    assert all((ROOT / "bench" / "programs" / f"{name}.c").exists() for name in ("loop_many", "machine_costs"))
