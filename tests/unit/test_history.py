"""hotpath/history: what a run leaves behind, read back, summed up and drawn; and what damaged files are told."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hdrh.log import HistogramLogReader

from ffi import lib
from hotpath import histograms
from hotpath.engine import engine_memory
from hotpath.errors import HistoryError
from hotpath.history.make import ReportOptions, find_run, write_report
from hotpath.history.page import render_page
from hotpath.history.reader import read_history
from hotpath.history.sampler import RUNS_KEPT, SAMPLES, RunSampler, forget_old_runs
from hotpath.history.summary import drawdown, summarise
from hotpath.replay import ReplayOptions, replay_file, replay_spec
from hotpath.report import RunReport
from tests.support.busy import busy_config_file
from tests.support.synthetic import write_synthetic_day


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunReport]:
    """A folder with one sampled run, and the report of the same run."""
    folder = tmp_path_factory.mktemp("history")
    day = write_synthetic_day(folder / "day.itch", messages=60_000, seed=3)
    config = busy_config_file(folder, engine={"topology": "fused"})
    report = replay_file(day, ReplayOptions(config_path=config, out=folder / "out"))
    return folder / "out", report


@pytest.fixture
def run_folder(replayed: tuple[Path, RunReport], tmp_path: Path) -> Path:
    """A copy of that run, to be damaged."""
    copy = tmp_path / "20260101-000000"
    shutil.copytree(find_run(str(replayed[0])), copy)
    return copy


def report(*arguments: str | Path, code: str = "") -> subprocess.CompletedProcess[str]:
    """The verb, after `code` in the same process."""
    program = (
        f"import sys\n{code}\nsys.argv = ['hotpath', 'report', *sys.argv[1:]]\nfrom hotpath.cli import main\nmain()"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


# ---- what is read back is what was counted -------------------------------------------------------------


def test_last_sample_and_histograms_equal_the_report(replayed: tuple[Path, RunReport]) -> None:
    out, told = replayed
    history = read_history(find_run(str(out)))
    for stage, page in told.stat.stages.items():
        for name, count in page.counters.items():
            assert history.last(f"{stage}.{name}") == count, f"{stage}.{name}"
    for name, hop in told.stat.hops.items():
        if hop.count:
            assert int(history.histograms[name]["total_count"][0]) == hop.count
            assert int(history.hops[name].count.sum()) == hop.count
            assert histograms.value_at(history.histograms[name], 99.0) == hop.p99_ns
    assert history.report is not None and history.report.order_log_sha256 == told.order_log_sha256
    assert history.remarks == []


def test_standard_reader_finds_the_same_histograms(replayed: tuple[Path, RunReport]) -> None:
    out, told = replayed
    reader = HistogramLogReader(str(find_run(str(out)) / "hops.hlog"), _reference())
    counts: dict[str, int] = {}
    while (interval := reader.get_next_interval_histogram()) is not None:
        counts[interval.get_tag()] = counts.get(interval.get_tag(), 0) + interval.get_total_count()
    reader.close()
    assert counts == {name: hop.count for name, hop in told.stat.hops.items() if hop.count}


def _reference() -> Any:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1, lib.HISTOGRAM_VALUE_MAX, 3)


def test_summary_adds_up(replayed: tuple[Path, RunReport]) -> None:
    out, told = replayed
    summary = summarise(read_history(find_run(str(out))))
    assert summary.totals["messages"] == told.count("feed", "messages") == 60_000
    assert sum(summary.rejects.values()) == summary.totals["rejected"]
    assert summary.hops["order_path"].count == told.stat.hops["order_path"].count
    assert summary.money.last == told.pnl_currency
    assert summary.rates["messages"].peak >= summary.rates["messages"].mean > 0
    assert summary.outcome == "finished"


def test_drawdown_by_hand() -> None:
    assert drawdown(np.array([1.0, 5.0, 2.0, 6.0, -1.0])) == 7.0
    assert drawdown(np.array([-2.0, -1.0])) == 2.0, "a run starts at 0"
    assert drawdown(np.array([1.0, 2.0])) == 0.0
    assert drawdown(np.zeros(0)) == 0.0


# ---- the files -----------------------------------------------------------------------------------------


def test_report_writes_page_pictures_and_histograms(replayed: tuple[Path, RunReport], tmp_path: Path) -> None:
    done = report(replayed[0], "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "order: T0 to T1" in done.stdout and str(tmp_path / "report.html") in done.stdout
    page = (tmp_path / "report.html").read_text()
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert {"percentiles.png", "latency.png", "rates.png", "orders.png", "pnl.png"} <= set(pictures)
    assert page.count("<svg") == len(pictures)
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "hops.hlog").read_text().startswith("#[Histogram log format version 1.2]")
    for attribute in ("src=", "<script", "<link", "@import", "url(http"):
        assert attribute not in page, f"the page fetches something: {attribute}"
    assert set(re.findall(r'"(https?://[^"]*)"', page)) <= {
        "http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg",
    }  # fmt: skip
    assert "#1b1f24" not in page.split("</style>")[1], "the pictures take the page's colours"


def test_json_holds_what_the_table_shows(replayed: tuple[Path, RunReport], tmp_path: Path) -> None:
    done = report(replayed[0], "--out", tmp_path, "--no-html", "--no-png", "--json")
    told = json.loads(done.stdout)
    assert told["hops"]["order_path"]["count"] == replayed[1].stat.hops["order_path"].count
    assert told["files"] == {"histograms": str(tmp_path / "hops.hlog")}
    assert list(tmp_path.iterdir()) == [tmp_path / "hops.hlog"]


def test_page_escapes_whatever_a_run_says_of_itself(run_folder: Path) -> None:
    evil = "<script>alert('x')</script>&"
    path = run_folder / "run.json"
    told = json.loads(path.read_text())
    told["notices"] = [evil]
    told["outcome"] = evil
    path.write_text(json.dumps(told))
    lines = (run_folder / SAMPLES).read_text().splitlines(keepends=True)
    head = {**json.loads(lines[0]), "engine": evil, "host": {evil: evil}}
    (run_folder / SAMPLES).write_text(json.dumps(head) + "\n" + "".join(lines[1:]))
    page = render_page(summarise(read_history(run_folder)), [])
    assert "<script" not in page and page.count("&lt;script&gt;") >= 4


def test_without_matplotlib_the_error_names_the_extra_and_the_table_is_printed(run_folder: Path) -> None:
    missing = "sys.modules['matplotlib'] = None"
    done = report(run_folder, code=missing)
    assert done.returncode == 65
    assert "pip install 'hotpath-engine[report]'" in done.stderr
    done = report(run_folder, "--no-html", "--no-png", code=missing)
    assert done.returncode == 0 and "order: T0 to T1" in done.stdout


# ---- damage --------------------------------------------------------------------------------------------


def test_killed_run_is_reported_up_to_its_torn_end(run_folder: Path) -> None:
    path = run_folder / SAMPLES
    whole = read_history(run_folder)
    path.write_bytes(path.read_bytes()[:-7])
    (run_folder / "hops.hlog").write_bytes((run_folder / "hops.hlog").read_bytes()[:-7])
    (run_folder / "run.json").unlink()
    history = read_history(run_folder)
    assert len(history.seconds) == len(whole.seconds) - 1
    assert history.report is None
    assert any("torn" in remark for remark in history.remarks)
    assert any("was killed" in remark for remark in history.remarks)
    summary, _ = write_report(run_folder, ReportOptions())
    assert summary.outcome == "" and (run_folder / "report.html").exists()


def test_any_damage_is_an_error_or_a_remark_and_never_a_crash(run_folder: Path) -> None:
    draw = random.Random(20260101)
    for name in (SAMPLES, "hops.hlog", "run.json"):
        path = run_folder / name
        whole = path.read_bytes()
        for _ in range(25):
            damaged = bytearray(whole)
            for _ in range(draw.randrange(1, 6)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            path.write_bytes(bytes(damaged[: draw.randrange(1, len(damaged) + 1)]))
            try:
                summarise(read_history(run_folder))
            except HistoryError as error:
                assert name in str(error)
        path.write_bytes(whole)
    assert read_history(run_folder).remarks == []


def test_numbers_that_no_counter_holds_are_no_samples(run_folder: Path) -> None:
    with (run_folder / SAMPLES).open("a") as file:
        for line in (
            '{"t":1,"feed.messages":1e999}',
            '{"feed.messages":1}',
            '{"t":[1,2,3,4,5]}',
            '{"t":9,"hop.x":[1]}',
        ):
            file.write(line + "\n")
    history = read_history(run_folder)
    assert len(history.remarks) == 4 and all("is no sample" in remark for remark in history.remarks)


@pytest.mark.parametrize(
    "text", ["", "{}\n", "[]\n", "\xff\n", '{"format":99,"engine":"a","topology":"","run_epoch":0,"start_time_ns":0}\n']
)
def test_file_of_another_kind_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / SAMPLES).write_text(text, encoding="latin-1")
    done = report(tmp_path)
    assert done.returncode == 65
    assert done.stderr.startswith(f"hotpath: {tmp_path / SAMPLES}: ")
    assert "Traceback" not in done.stderr


def test_folder_without_a_run_says_how_to_make_one(tmp_path: Path) -> None:
    done = report(tmp_path)
    assert done.returncode == 65
    assert f"there is no run in {tmp_path}" in done.stderr and "hotpath demo --out DIR" in done.stderr
    done = report("no-such-engine")
    assert "no-such-engine is no folder, no configuration and no engine that runs" in done.stderr


def test_histogram_survives_its_text_and_damaged_text_is_refused() -> None:
    draw = np.random.default_rng(7)
    histogram = histograms.new("x")
    histogram["count"][0][draw.integers(0, lib.HISTOGRAM_COUNTS, 500)] = draw.integers(1, 2**40, 500)
    text = histograms.encode_v2(histogram)
    assert (histograms.decode_v2(text)["count"] == histogram["count"]).all()
    for _ in range(300):
        damaged = bytearray(text.encode())
        damaged[int(draw.integers(len(damaged)))] = int(draw.integers(32, 127))
        try:
            histograms.decode_v2(damaged.decode())
        except ValueError:
            continue


# ---- bounds --------------------------------------------------------------------------------------------


def test_only_the_newest_runs_are_kept_and_nothing_else_is_removed(tmp_path: Path) -> None:
    for number in range(RUNS_KEPT + 5):
        folder = tmp_path / f"20260101-{number:06}"
        folder.mkdir()
        (folder / SAMPLES).touch()
    foreign = tmp_path / "20250101-notes"
    foreign.mkdir()
    (tmp_path / "mine").mkdir()
    forget_old_runs(tmp_path)
    kept = sorted(path.name for path in tmp_path.iterdir() if (path / SAMPLES).exists())
    assert foreign.exists() and (tmp_path / "mine").exists()
    assert len(kept) in (RUNS_KEPT, RUNS_KEPT - 1) and kept[-1] == f"20260101-{RUNS_KEPT + 4:06}"


def test_run_whose_samples_cannot_be_kept_goes_on_and_says_so(tmp_path: Path) -> None:
    day = write_synthetic_day(tmp_path / "day.itch", messages=5_000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs").write_text("a file where the folder should be")
    done = replay_file(day, ReplayOptions(out=tmp_path / "out"))
    assert done.outcome == "finished" and done.count("feed", "messages") == 5_000
    assert any("is no longer sampled" in notice for notice in done.notices)
    assert msgspec.json.encode(done)


def test_disk_that_is_full_ends_the_sampling_and_not_the_run(tmp_path: Path, engine: str) -> None:
    """What cannot be flushed fails a second time where the file is closed."""
    day = write_synthetic_day(tmp_path / "day.itch", messages=500)
    spec = replay_spec(day, ReplayOptions(engine_name=engine), state_dir=tmp_path)
    sampler = RunSampler(spec, tmp_path / "runs", interval_seconds=60.0)
    with engine_memory(spec):
        sampler.begin()
        assert sampler.trouble == ""
        sampler._files[0].close()
        with Path("/dev/full").open("w") as full:
            sampler._files[0] = full
            sampler.end()
            assert "No space left on device" in sampler.trouble and full.closed
