"""hotpath/stat.py and hotpath/screen.py: an engine seen from outside, and what people are shown of it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from rich.console import Console

from ffi import lib
from hotpath.errors import SegmentMissingError
from hotpath.screen import History, format_elapsed, format_money, format_ns, format_rate, render, sparkline
from hotpath.stat import EngineView, find_engine, run_stat, write_hdr_log
from hotpath.topology import side_segment
from tests.fabricated_engine import FabricatedEngine

NAME = f"stat-{os.getpid()}"


@pytest.fixture
def engine() -> Iterator[FabricatedEngine]:
    with FabricatedEngine(NAME) as fabricated:
        lib.control_arm(fabricated.control, fabricated.control.kill_epoch)
        yield fabricated


def screen_of(view: EngineView, *, width: int = 80, colour: bool = False) -> str:
    history, out = History(), io.StringIO()
    history.add(view.snapshot())
    history.add(view.snapshot())
    console = Console(file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None)
    console.print(render(view.snapshot(), history))
    return out.getvalue()


def test_snapshot_names_every_counter_and_hop(engine: FabricatedEngine) -> None:
    engine.count("feed", messages=12, gaps=3)
    engine.count("risk", rejected=5, reject_collar=2, reject_throttle=3)
    engine.gauge("risk", pnl_micros=-2_500_000)
    engine.record("feed", "feed", *range(1, 101))
    engine.publish("norm", 9)
    engine.read("norm", "risk", 4)
    stat = EngineView(NAME).snapshot()
    assert (stat.state, stat.topology, stat.killed, stat.mode) == ("running", "fused", False, "normal")
    assert (stat.counter("feed", "messages"), stat.counter("feed", "gaps")) == (12, 3)
    assert list(stat.rejects.items()) == [("throttle", 3), ("collar", 2)]
    assert stat.counter("risk", "pnl_micros") == -2_500_000
    assert (stat.hops["feed"].count, stat.hops["feed"].p50_ns, stat.hops["feed"].max_ns) == (100, 50, 100)
    assert stat.hops["feed"].within_budget is None
    assert stat.rings["norm"].readers["risk"].lag == 5
    assert stat.rings["norm"].readers["signal"].lag == 9
    assert set(stat.hops) >= {"wait", "feed", "order_path", "ack"}


def test_what_tap_and_ingress_counted_is_shown(engine: FabricatedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    for name, counted in (
        ("tap", {lib.TAP_EVENTS: 41, lib.TAP_LOST: 3}),
        ("ingress", {lib.INGRESS_MESSAGES: 17, lib.INGRESS_REFUSALS + lib.INGRESS_BAD_SIZE: 2}),
    ):
        page = engine._page(side_segment(name), lib.SEGMENT_STAGE, "stage_page")
        page.state, page.pid = lib.STAGE_READY, os.getpid()
        for index, count in counted.items():
            page.counter[index] = count
    stat = EngineView(NAME).snapshot()
    assert list(stat.sides) == ["tap", "ingress"] and all(side.alive for side in stat.sides.values())
    assert (stat.sides["tap"].counters["events"], stat.sides["tap"].counters["lost"]) == (41, 3)
    assert stat.sides["ingress"].counters["refused_bad_size"] == 2
    shown = screen_of(EngineView(NAME), width=120)
    assert re.search(r" tap +running +41 events .*3 lost", shown), shown
    assert re.search(r" ingress +running +17 messages .*2 refused", shown), shown
    assert run_stat(NAME, watch=False, json=True, interval_seconds=0.1) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["sides"]["tap"]["counters"]["events"] == 41


def test_hops_are_written_as_a_log_that_another_reader_opens(engine: FabricatedEngine, tmp_path: Path) -> None:
    engine.record("gateway", "order_path", *range(1000, 2000))
    write_hdr_log(NAME, tmp_path / "hops.hlog")
    reader = HistogramLogReader(str(tmp_path / "hops.hlog"), HdrHistogram(1, lib.HISTOGRAM_VALUE_MAX, 3))
    read = reader.get_next_interval_histogram()
    assert (read.get_tag(), read.get_total_count()) == ("order_path", 1000)
    assert read.get_value_at_percentile(50.0) == EngineView(NAME).snapshot().hops["order_path"].p50_ns
    assert reader.get_next_interval_histogram() is None
    reader.input_file.close()


def test_json_form_decodes_to_the_same(engine: FabricatedEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.count("gateway", fills=7)
    assert run_stat(NAME, watch=False, json=True, interval_seconds=0.1) == 0
    read = msgspec.json.decode(capsys.readouterr().out)
    assert read["stages"]["gateway"]["counters"]["fills"] == 7
    assert read["engine"] == NAME


def test_kill_and_mode_are_shown_first(engine: FabricatedEngine) -> None:
    view = EngineView(NAME)
    assert "● trading" in screen_of(view)
    lib.control_cause(engine.control, lib.CAUSE_LEASE_FEED, lib.MODE_CANCEL_ONLY)
    assert "▲ cancel only (by lease_feed)" in screen_of(view)
    lib.control_kill(engine.control)
    assert "■ killed (epoch 1)" in screen_of(view)


def test_silent_failed_and_dead_stages_are_told_apart(engine: FabricatedEngine) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    engine.beat()
    engine.pages["signal"].heartbeat_time_ns -= 5_000_000_000
    engine.pages["risk"].state = lib.STAGE_FAILED
    engine.pages["gateway"].pid = gone.pid
    shown = screen_of(EngineView(NAME))
    rows = {words[0]: words[1] for words in (line.split() for line in shown.splitlines()[3:7])}
    assert rows == {"feed": "ready", "signal": "silent", "risk": "failed", "gateway": "dead"}
    assert "✗ risk failed" in shown


def test_screen_fits_a_small_terminal_and_is_plain_without_one(engine: FabricatedEngine) -> None:
    engine.count("feed", messages=98_765_432, book_updates=98_765_432)
    engine.count("risk", rejected=99, **{f"reject_{name}": 11 for name in ("collar", "throttle", "position", "mode")})
    for hop in ("wait", "feed", "order_feed", "order_path", "ack"):
        engine.record("gateway", hop, 850, 33_000, 68_000_000_000)
    shown = screen_of(EngineView(NAME))
    assert len(shown.splitlines()) <= 23
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "\x1b" not in shown
    assert "\x1b" in screen_of(EngineView(NAME), colour=True)


def test_hop_over_its_budget_says_by_how_much(engine: FabricatedEngine) -> None:
    engine.record("risk", "order_risk", *[300] * 100)
    engine.record("gateway", "order_path", *[900] * 100)
    lines = screen_of(EngineView(NAME)).splitlines()
    assert "150 ns ✗ 2.0x" in next(line for line in lines if "order: risk" in line)
    assert "1.50 us ✓" in next(line for line in lines if "order: T0 to T1" in line)


def test_view_outlives_the_names_of_its_segments() -> None:
    with FabricatedEngine(NAME) as fabricated:
        fabricated.count("feed", messages=3)
        view = EngineView(NAME)
        assert not view.replaced
    assert view.snapshot().counter("feed", "messages") == 3
    with FabricatedEngine(NAME):
        assert view.replaced


def test_looking_writes_nothing(engine: FabricatedEngine) -> None:
    before = {name: bytes(segment.mapping) for name, segment in engine.segments.items()}
    view = EngineView(NAME)
    view.snapshot()
    assert not view._control.writable
    assert {name: bytes(segment.mapping) for name, segment in engine.segments.items()} == before


def test_dead_run_can_still_be_read() -> None:
    code = f"""
from tests.fabricated_engine import FabricatedEngine
import os
engine = FabricatedEngine("{NAME}").__enter__()
engine.count("risk", approved=5)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    try:
        stat = EngineView(find_engine(NAME)).snapshot()
        assert stat.state == "dead"
        assert stat.counter("risk", "approved") == 5
        assert "✗ dead" in screen_of(EngineView(NAME))
    finally:
        from hotpath import segments

        assert segments.reap(NAME)


def test_unknown_engine_is_refused_with_a_next_step() -> None:
    with pytest.raises(SegmentMissingError) as caught:
        find_engine("no-such-engine")
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("span_ns", "shown"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1.00 us"),
        (34_567, "34.6 us"),
        (999_499, "999 us"),
        (999_500, "1.00 ms"),
        (2_500_000_000, "2.50 s "),
        (68_000_000_000, "68.0 s "),
    ],
)
def test_spans_have_three_digits_and_a_unit(span_ns: int, shown: str) -> None:
    assert format_ns(span_ns) == shown


def test_other_formats() -> None:
    assert [format_rate(rate) for rate in (0, 999, 1234, 34_000, 5_100_000)] == ["0", "999", "1.2 k", "34 k", "5.1 M"]
    assert format_money(-1_234_500_000, signed=True) == "-1,234.50"
    assert format_money(1_000_000, signed=True) == "+1.00"
    assert [format_elapsed(seconds * 10**9) for seconds in (12, 725, 11045)] == ["0:12", "12:05", "3:04:05"]
    assert sparkline([0, 1, 2]).endswith(" ▄█")
    assert sparkline([]) == sparkline([0, 0]) == ""
