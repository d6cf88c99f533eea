"""The peers' table: rows that are fixed, losses that stand first, packages that are missing by name."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.harness import ROOT, BenchError, Options, default_options
from bench.peers import __main__ as peers
from bench.peers import alone, books, indicators, market, report, rows
from bench.peers.catalogue import ROWS, SECTIONS
from bench.peers.channels import CHANNELS
from bench.peers.packages import PACKAGES, Package

SMOKE = default_options("smoke")


def row(what: str, unit: rows.Unit = "ns", figures: rows.Figures | None = None) -> rows.Row:
    def measure(_: Options) -> rows.Figures:
        if figures is None:
            raise BenchError("the two are not equal")
        return figures

    return rows.Row("books", what, ("Python",), unit, "one process", f"{what} is why", measure)


def made_of(*figures: tuple[str, rows.Unit, float, float]) -> report.Report:
    words = ("processor", "cpus", "kernel", "compiler", "python", "ffi_sha256")
    part = report.Part("books", "2026-01-01 00:00 UTC")
    for what, _, ours, theirs in figures:
        part.figures[what] = rows.Figures(ours, theirs, "all equal")
        part.versions[what] = "Python 3"
    table = [row(what, unit) for what, unit, _, _ in figures]
    return report.Report(dict.fromkeys(words, "x"), "smoke", table, [part])


def test_losses_stand_first_and_say_why() -> None:
    made = made_of(("won", "ns", 10, 20), ("lost", "ns", 20, 10), ("lost worse", "per second", 1e6, 4e6))
    assert [each.row.what for each in made.ordered] == ["lost worse", "lost", "won"]
    assert made.losses == [("lost worse is why", ["lost worse"]), ("lost is why", ["lost"])]
    text = report.as_markdown(made)
    assert text.index("| lost worse |") < text.index("| lost |") < text.index("| won |")
    assert "lost is why" in text and "won is why" not in text


def test_a_section_takes_the_place_of_the_last_one() -> None:
    section = report.as_markdown(made_of(("won", "ns", 10, 20)))
    assert "one process" in section and PACKAGES["Python"].page in section
    once = report.put_into("# Figures\n\nothers\n", section)
    assert once == f"# Figures\n\nothers\n\n{section}"
    between = f"{once}\n## After\n\nmore\n"
    newer = report.as_markdown(made_of(("won anew", "ns", 10, 30)))
    assert report.put_into(once, newer) == f"# Figures\n\nothers\n\n{newer}"
    assert report.put_into(between, newer) == f"# Figures\n\nothers\n\n{newer}\n## After\n\nmore\n"


def test_a_worse_tail_is_a_loss() -> None:
    figures = rows.Figures(ours=10, theirs=20, verified="", ours_p99=90, theirs_p99=30)
    result = rows.Result(row("tail"), figures, "")
    assert result.lost and result.ratio == 2 and result.ratio_cell == "2.0x, p99 0.33x"


def test_every_form_tells_the_same() -> None:
    made = made_of(("a <b>", "ns", 10, 20), ("c", "per second", 3e6, 4e6))
    records = [msgspec.json.decode(line) for line in report.as_json(made)]
    assert [(each["what"], each["ratio"]) for each in records] == [("c", 0.75), ("a <b>", 2.0)]
    assert [each["what"] for each in csv.DictReader(io.StringIO(report.as_csv(made)))] == ["c", "a <b>"]
    page = report.as_html(made)
    assert "a &lt;b&gt;" in page and "0.75x" in page and "http" not in page


def test_what_others_took_of_the_processors_is_said() -> None:
    assert "took 25% of" in peers.others_note((0, 0, 0), (100, 60, 35))
    assert "took 0% of" in peers.others_note((0, 0, 0), (100, 30, 30.1))
    total, busy, ours = peers.cpu_seconds()
    assert total >= busy >= ours > 0


def test_unequal_results_fail_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "ROWS", (row("unequal"),))
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    assert peers.main(["--smoke", "--json", "--only", "books"]) == 1


def test_a_section_measured_before_stays_in_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    won = row("won", figures=rows.Figures(10, 20, "all equal"))
    monkeypatch.setattr(peers, "ROWS", (won, replace(won, section="engines", what="won too")))
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    assert peers.main(["--smoke", "--json", "--only", "engines"]) == 0
    figures = tmp_path / "figures.md"
    figures.write_text("# Figures\n")
    assert peers.main(["--smoke", "--json", "--only", "books", "--into", str(figures)]) == 0
    assert figures.read_text() == f"# Figures\n\n{(tmp_path / 'peers.md').read_text()}"
    text = (tmp_path / "peers.md").read_text()
    assert "| won |" in text and "| won too |" in text
    assert peers.main(["--quick", "--json", "--only", "books"]) == 0  # another size: another table
    assert "| won too |" not in (tmp_path / "peers.md").read_text()


def test_a_missing_package_is_skipped_by_name_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "Python", Package("no-such-package-of-ours", "nowhere"))
    assert peers.missing(row("any"), SMOKE) == (
        "no-such-package-of-ours is not installed (pip install 'no-such-package-of-ours')"
    )


def test_rows_are_fixed_and_each_says_how_and_why() -> None:
    assert len({each.what for each in ROWS}) == len(ROWS)
    for each in ROWS:
        assert each.layout and each.if_lost and set(each.packages) <= set(PACKAGES)
    assert {each.section for each in ROWS} == set(SECTIONS)
    assert {name for each in ROWS for name in each.packages} == set(PACKAGES)


def test_values_that_differ_are_refused(tmp_path: Path) -> None:
    mine = np.zeros((indicators.WARM + 10, len(indicators.NAMES)))
    other = mine.copy()
    other[-1, 2] = 1e-3
    np.save(tmp_path / "mine.npy", mine)
    np.save(tmp_path / "other.npy", other)
    with pytest.raises(BenchError, match="values differ"):
        indicators.held(str(tmp_path / "mine.npy"), str(tmp_path / "other.npy"), "a peer")


def test_a_row_where_only_the_count_of_orders_changed_is_none() -> None:
    table = np.zeros(3, books.ROW)
    table["seq"], table["bid_px"] = (1, 2, 3), (100, 100, 101)
    assert books.changes(table)[:, 1].tolist() == [1, 3]


def test_a_failing_job_says_its_last_words() -> None:
    with pytest.raises(BenchError, match="no_such_job"):
        alone.alone("bench.peers.books:no_such_job", cpu=SMOKE.engine_cpu)


@pytest.mark.parametrize("channel", CHANNELS)
def test_channel_carries_every_message(channel: str) -> None:
    package = CHANNELS[channel].package
    if package != "hotpath" and PACKAGES[package].missing:
        pytest.skip(PACKAGES[package].missing)
    if not SMOKE.two_cores:
        pytest.skip("a second processor")
    command = [sys.executable, "-m", "bench.peers.exchange", channel, "--trips", "30", "--messages", "1280"]
    figures = alone.answer_of([*command, "--cpus", f"{SMOKE.engine_cpu},{SMOKE.driver_cpu}"], channel)
    assert figures["p99_ns"] >= figures["p50_ns"] > 0 and figures["messages_per_second"] > 0
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(f"hotpath.peers-{os.getpid()}")]


@pytest.mark.parametrize("number", [index for index, each in enumerate(ROWS) if each.section != "messages"])
def test_row_runs_and_its_results_are_equal(number: int) -> None:
    each = ROWS[number]
    if why := peers.missing(each, SMOKE):
        pytest.skip(why)
    figures = each.measure(SMOKE)
    assert figures.ours > 0 and figures.theirs > 0 and figures.verified


def test_the_product_imports_no_peer() -> None:
    shared = ("iceoryx2", "kickmsg", "cloudtoid_interprocess", "slick_queue_py", "subetha")
    modules = (*shared, "talib", "talipp", "hftbacktest", "itch_book", "itch", "itchcpp")
    for folder in ("ffi", "hotpath", "research"):
        for path in (ROOT / folder).rglob("*.py"):
            for line in path.read_text().splitlines():
                words = line.split()
                assert not (words[:1] in (["import"], ["from"]) and words[1].split(".")[0] in modules), (
                    f"{path}: {line}"
                )


def test_every_form_of_the_rule_has_the_same_numbers() -> None:
    pytest.importorskip("numba", reason="numba is not installed (pip install numba)")
    from bench.peers import lean

    assert (lean.THRESHOLD, lean.QUIET_NS) == (market.THRESHOLD, market.QUIET_NS)


def test_an_order_that_the_rule_did_not_give_is_found() -> None:
    day = market.day(SMOKE, messages=5_000)
    orders = np.load(day.orders).tolist()
    assert market.same_orders(day, orders, "it") == f"{len(orders):,} orders equal"
    with pytest.raises(ValueError, match=f"it sent {len(orders) - 1} orders.*differs is number 1"):
        market.same_orders(day, orders[:1] + orders[2:], "it")


def test_hotpath_sends_the_orders_of_the_rule() -> None:
    pytest.importorskip("numba", reason="numba is not installed (pip install numba)")
    day = market.day(SMOKE, messages=20_000)
    found = alone.alone("bench.peers.engine_hotpath:replay", cpu=SMOKE.engine_cpu, itch=str(day.itch), rounds=1)
    assert market.same_orders(day, found["orders"], "hotpath") and 0 < found["fills"] <= len(found["orders"])


def test_list_names_rows_and_pages() -> None:
    command = [sys.executable, "-m", "bench.peers", "--list"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "multiprocessing.Pipe" in said and "pip" not in said
