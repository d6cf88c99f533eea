"""control/hotctl/panels.py, watch_line.py, status_view.py: what people are shown of one look."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from rich.console import Console, Group, RenderableType

from ffi import lib
from hotctl import panels
from hotctl.status_view import status_view
from hotctl.watch_line import WatchLines
from hotpath.alerts import AlertStat
from hotpath.market_stat import InstrumentStat, LimitStat
from hotpath.screen import History
from hotpath.stat import EngineStat, EngineView
from tests.fabricated_engine import FabricatedEngine

NAME = f"panels-{os.getpid()}"
WHO: dict[str, Any] = {
    "engine": NAME, "version": "1", "limits_version": 7, "single_operator": True, "approvals_waiting": 2,
    "identity": "unix:alice", "role": "operator", "key_age_s": 0, "key_left_s": 0, "envelope": "none",
}  # fmt: skip


@pytest.fixture
def stat() -> Iterator[EngineStat]:
    with FabricatedEngine(NAME, pids=(1, 1, 1, os.getpid())) as engine:
        lib.control_arm(engine.control, engine.control.kill_epoch)
        engine.record("gateway", "order_path", 800)
        found = EngineView(NAME).snapshot()
        yield msgspec.structs.replace(
            found,
            market=[InstrumentStat("AAA", 100, 10_000, 5, 10_100, 6, 80, 100, 0, -2_500_000, 1, 0, 20)],
            positions_known=True,
            limits=[LimitStat("firm.open_orders_max", 9.0, 10.0, "orders")],
            alerts=[AlertStat("warning", "norm", "risk is behind")],
        )


def shown(what: RenderableType, *, colour: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=150, force_terminal=colour, color_system="truecolor" if colour else None).print(what)
    return out.getvalue()


def test_instruments_show_book_position_share_of_limit_and_profit(stat: EngineStat) -> None:
    row = shown(panels.instruments(stat, most=5)).splitlines()[1].split()
    assert row == ["AAA", "5", "1.00", "1.01", "6", "+80", "██████··", "-2.50", "1", "20"]
    unknown = shown(panels.instruments(msgspec.structs.replace(stat, positions_known=False), most=5))
    assert "+80" not in unknown and "not known" in unknown


def test_a_bar_shows_a_trace_of_what_is_not_nothing_and_changes_colour(stat: EngineStat) -> None:
    assert panels.bar(0, 4).plain == "····" and panels.bar(0.01, 4).plain == "█···" and panels.bar(3, 4).plain == "████"
    assert [panels.bar(share, 4).spans[0].style for share in (0.5, 0.8, 1.1)] == ["green", "yellow", "bold red"]


def test_every_panel_draws_with_one_look_and_with_many(stat: EngineStat) -> None:
    history = History(samples=panels.SPARK)
    for _ in range(2):
        history.add(stat)
        drawn = Group(
            panels.headline(stat, target="here"), panels.safety(stat), panels.latency(stat, history),
            panels.stages(stat, history), panels.rings(stat), panels.flow(stat, history),
            panels.limits(stat, history), panels.alerts(stat),
        )  # fmt: skip
        text = shown(drawn)
    assert "order: T0 to T1" in text and "▲ norm risk is behind" in text and "open_orders" in text


def test_isolation_names_what_shares_a_process(stat: EngineStat) -> None:
    together = [line.partition("  (")[0] for line in panels.isolation(stat)]
    assert together == ["feed + signal + risk", "gateway"]


def test_watch_says_what_began_and_what_is_over(stat: EngineStat) -> None:
    lines = WatchLines()
    first = list(lines.of(stat))
    assert first[0].split()[:3] == ["time", "state", "messages/s"] and "warning: norm: risk is behind" in first[2]
    assert len(list(lines.of(stat))) == 1, "told once"
    after = list(lines.of(msgspec.structs.replace(stat, alerts=[])))
    assert len(after) == 2 and after[1].strip() == "over: warning of norm"
    assert len({len(line) for line in (first[0], first[1], after[0])}) == 1, "aligned"


def test_status_answers_the_operators_questions_in_plain_text_and_in_colour(stat: EngineStat) -> None:
    causes: dict[str, Any] = {"killed": False, "kill_epoch": 1, "mode": "reduce_only", "causes": [
        {"name": "operator", "mode": "reduce_only", "latched": True, "cleared_by": "an operator"}]}  # fmt: skip
    text = shown(status_view(WHO, causes, stat))
    for said in ("reduce only because of operator", "latched: an operator", "SINGLE OPERATOR", "2 wait for a second",
                 "feed + signal + risk", "unix:alice (operator)", "norm risk is behind"):  # fmt: skip
        assert said in text, said
    assert "\x1b[" not in text and "\x1b[" in shown(status_view(WHO, causes, stat), colour=True)
    assert "no run is there" in shown(status_view(WHO, None, None))
