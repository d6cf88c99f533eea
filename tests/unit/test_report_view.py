"""hotpath/report_view.py: a run's end as people and machines read it."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from ffi.dtypes import counter_names
from hotpath.report import RunReport, SpinReport
from hotpath.report_view import print_report, report_view
from hotpath.stat import EngineStat, HopStat, StageStat, hop_names
from hotpath.topology import STAGES


def stat(counters: dict[str, dict[str, int]]) -> EngineStat:
    hops = {name: HopStat(0, 0, 0, 0, 0, None) for name in hop_names().values()}
    hops["order_path"] = HopStat(1190, 600, 1400, 2000, 90_000, 1500)
    return EngineStat(
        engine="demo",
        state="stopped",
        topology="fused",
        run_epoch=1,
        time_ns=2,
        clock="tsc",
        clock_frequency_hz=2_600_000_000,
        killed=True,
        kill_epoch=2,
        mode="normal",
        mode_words={},
        instruments=64,
        stages={stage: StageStat("stopped", 1, 1, False, 5, 9, 9, 0, "", counters[stage]) for stage in STAGES},
        hops=hops,
        rings={},
    )


def report() -> RunReport:
    counters = {stage: dict.fromkeys(counter_names(stage).values(), 0) for stage in STAGES}
    counters["feed"] |= {"messages": 412_330, "book_updates": 398_110}
    counters["risk"] |= {"approved": 1190, "rejected": 15, "reject_throttle": 3, "reject_collar": 12}
    counters["risk"] |= {"bought_lots": 500, "sold_lots": 200, "position_lots": 300, "pnl_micros": -12_500_000}
    counters["gateway"] |= {"new_orders": 1190, "accepted": 1190, "fills": 812}
    return RunReport(
        stat=stat(counters),
        seconds=20.0,
        messages_per_second=412_330 / 20,
        order_log_sha256="ab" * 32,
        outcome="finished",
        spin=SpinReport(5, 140, 20_000, 80_000, "host insufficient: an empty loop's own p99 is 140 ns, over 100 ns"),
        notices=["2 open orders were not confirmed cancelled"],
    )


def test_report_tells_the_run_from_messages_to_profit() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(report_view(report()))
    text = out.getvalue()
    for part in (
        "demo  fused  20.0 s  finished",
        "412,330 messages, 21 k a second",
        "by risk: 12 collar, 3 throttle",
        "300 lots; bought 500, sold 200",
        "-12.50",
        "1.50 us ✓",
        "an empty loop",
        "host insufficient",
        "order log " + "ab" * 32,
        "note: 2 open orders",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_machines_get_the_report_and_what_the_venue_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(), json=True, venue={"orders": 1190})
    read = json.loads(capsys.readouterr().out)
    assert read["venue"] == {"orders": 1190}
    assert read["stat"]["stages"]["risk"]["counters"]["reject_collar"] == 12
