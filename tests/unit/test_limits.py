"""Limits by name: one copy, its page, the desk and the file that outlives a run."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath import segments
from hotpath.calendar import us_equities
from hotpath.config import Config, EngineConfig
from hotpath.config_risk import RiskConfig
from hotpath.engine import EngineMemory, make_spec
from hotpath.errors import LimitsError, StaleVersionError
from hotpath.limits import Limit, LimitsCopy, Token, describe
from hotpath.limits.catalogue import LIMITS, OFF
from hotpath.limits.desk import LimitsDesk
from hotpath.limits.kept import read_kept
from hotpath.limits.page import configured
from hotpath.runs import with_hours

SYMBOLS = ["GOOG", "AAPL"]


def fresh() -> LimitsCopy:
    """The configuration's own defaults."""
    copy = configured(RiskConfig(), SYMBOLS)
    copy.seal()
    return copy


# ---- one copy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.scopes[0]}.{limit.name}")
def test_limit_is_read_back_as_it_was_set(limit: Limit) -> None:
    copy = fresh()
    for scope in limit.scopes:
        name = {"instrument": "instrument.AAPL", "firm": "firm"}.get(scope, f"{scope}.0") + f".{limit.name}"
        value = True if limit.bit else 7
        before = copy.clone()
        copy.set(name, value, envelope=True)
        assert copy.get(name) == value
        assert set(before.differences(copy)) == {name}
    copy.seal()
    assert copy.is_whole


def test_every_limit_names_a_field_and_a_reason_that_exist() -> None:
    for limit in describe():
        assert limit.offset % 8 == 0 and limit.meaning and limit.unit
        assert not limit.reason or hasattr(lib, f"REJECT_{limit.reason.upper()}"), limit.name


def test_a_scope_of_its_own_begins_as_the_others_of_its_kind() -> None:
    copy = fresh()
    copy.set("any_strategy.orders_per_second_max", 50)
    copy.set("strategy.2.open_orders_max", 3)
    assert copy.get("strategy.2.orders_per_second_max") == 50
    assert copy.get("strategy.3.orders_per_second_max") == 50 and copy.get("strategy.3.open_orders_max") is None


def test_unknown_name_says_what_was_meant() -> None:
    with pytest.raises(LimitsError, match=r"did you mean instrument.GOOG.position_lots_max"):
        fresh().get("instrument.GOOG.position_lot_max")
    with pytest.raises(LimitsError, match="no instrument MSFT"):
        fresh().set("instrument.MSFT.position_lots_max", 1)
    with pytest.raises(LimitsError, match="out of range"):
        fresh().set("firm.open_orders_max", -1)
    with pytest.raises(LimitsError, match="signed"):
        fresh().set("instrument.GOOG.envelope_lots_max", 5)


def test_damaged_copy_is_not_whole() -> None:
    copy = fresh()
    assert copy.is_whole
    copy.memory[900] ^= 1
    assert not copy.is_whole


def test_temporary_limit_goes_back_when_its_time_is_over() -> None:
    copy = fresh()
    name = "instrument.GOOG.position_lots_max"
    copy.set_for_a_time(name, 5000, expires_time_ns=1000, who="ann")
    copy.set_for_a_time(name, 6000, expires_time_ns=2000, who="ben")
    copy.seal()
    assert copy.is_whole and copy.get(name) == 6000 and copy.header.next_expiry_time_ns == 2000
    assert [each.before for each in copy.temporaries()] == [1000]
    lib.limits_expire(copy.header, 1999)
    assert copy.get(name) == 6000
    lib.limits_expire(copy.header, 2000)
    assert copy.get(name) == 1000 and copy.temporaries() == []


def test_groups_are_on_when_one_of_their_limits_is() -> None:
    copy = fresh()
    assert copy.header.any_strategy.active == 0
    copy.set("strategy.1.day_loss_currency_max", 10)
    copy.seal()
    assert lib.limits_scopes(copy.header)[0].active == lib.GROUP_LOSS
    assert ffi.cast("int64_t", lib.limits_scopes(copy.header)[0].day_lots_max) == OFF


# ---- the desk --------------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Config]:
    """An engine's shared memory, without its processes."""
    config = Config(engine=EngineConfig(name=f"limits{os.getpid()}", state_dir=str(tmp_path)))
    start(config)
    yield config
    segments.unlink_all(segments.list_segments(config.engine.name))


def start(config: Config) -> EngineMemory:
    """As the supervisor begins a run."""
    segments.unlink_all(segments.list_segments(config.engine.name))
    table = np.zeros(len(SYMBOLS), dtype_of("instrument_entry"))
    table["symbol"] = [symbol.encode() for symbol in SYMBOLS]
    return EngineMemory(make_spec(config, table, midnight_ns=0, roll_times_ns=(), journal=False))


def desk_of(config: Config) -> LimitsDesk:
    return LimitsDesk(config.engine.name, state_dir=config.engine.state_dir)


def test_change_is_in_force_and_tells_before_and_after(engine: Config) -> None:
    desk = desk_of(engine)
    name = "instrument.GOOG.position_lots_max"
    change = desk.change(desk.version, lambda copy: copy.set(name, 7), who="ann", why="news")
    assert (change.before, change.after, change.version) == ({name: 1000}, {name: 7}, 2)
    assert desk.read().get(name) == 7 and desk.version == 2


def test_change_of_an_older_version_is_refused(engine: Config) -> None:
    desk = desk_of(engine)
    desk.change(1, lambda copy: copy.set("firm.open_orders_max", 5), who="ann", why="less")
    with pytest.raises(StaleVersionError, match="version 2 by now"):
        desk.change(1, lambda copy: copy.set("firm.open_orders_max", 9), who="ben", why="more")
    assert desk.read().get("firm.open_orders_max") == 5


def test_dry_run_changes_nothing(engine: Config) -> None:
    desk = desk_of(engine)
    change = desk.change(1, lambda copy: copy.set("firm.open_orders_max", 5), who="ann", why="?", dry_run=True)
    assert change.after == {"firm.open_orders_max": 5} and desk.version == 1


def test_killed_scope_stays_killed_over_a_restart(engine: Config) -> None:
    desk = desk_of(engine)
    desk.change(1, lambda copy: copy.set("strategy.2.killed", True), who="ann", why="mad")
    assert desk.read().header.kill_version == 2
    start(engine)
    later = desk_of(engine).read()
    assert later.get("strategy.2.killed") is True and later.version == 2 and later.header.kill_version == 2


def test_configuration_stands_where_it_was_changed_since(engine: Config) -> None:
    desk = desk_of(engine)
    desk.change(1, lambda copy: copy.set("firm.open_orders_max", 500), who="ann", why="more")
    copy = configured(RiskConfig(open_orders_max=20), SYMBOLS)
    kept = read_kept(desk.path)
    assert kept is not None and kept.lay_over(copy) == ["firm.open_orders_max"]
    assert copy.get("firm.open_orders_max") == 20


def test_change_that_died_before_shared_memory_is_finished_by_the_next(engine: Config) -> None:
    desk = desk_of(engine)
    page = segments.attach(engine.engine.name, "limits", lib.SEGMENT_LIMITS, writable=True)
    standing = bytes(page.mapping)
    token = Token(("position",), "ann", 2**62, 5, 10**12, instrument="GOOG", side=lib.SIDE_BUY)

    def edit(copy: LimitsCopy) -> None:
        copy.set("firm.paused", True)
        copy.grant(token)

    desk.change(1, edit, who="ann", why="lunch")
    wanted = desk.read()
    page.mapping[:] = standing  # as if the writer had ended before shared memory
    assert desk.version == 1
    assert desk.settle() == 3 and desk.read().differences(wanted) == {}
    assert [each.quantity_lots_max for each in desk.read().tokens()] == [5]


def _raise_many(config: Config, count: int) -> None:
    desk = desk_of(config)
    name = "firm.rearm_epoch"
    for _ in range(count):
        desk.change_latest(lambda copy: copy.set(name, int(copy.get(name) or 0) + 1), who="x", why="y")


def test_writers_of_two_processes_lose_no_change(engine: Config) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_raise_many, args=(engine, 25)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [os.EX_OK, os.EX_OK]
    desk = desk_of(engine)
    assert desk.read().get("firm.rearm_epoch") == 50 and desk.version == 51 and desk.read().is_whole


# ---- trading hours ---------------------------------------------------------------------------------------


def test_trading_hours_are_the_calendars_sessions_in_its_own_time_zone() -> None:
    """Over a holiday, an early close and the end of summer time; the copy holds instants."""
    calendar = us_equities()
    config = with_hours(Config(risk=RiskConfig(trading_hours=True)), calendar, date(2026, 11, 25))
    eastern = ZoneInfo("America/New_York")
    days = [(25, 16), (27, 13), (30, 16)]  # Thanksgiving's Thursday is closed, its Friday closes early
    expected = [
        tuple(
            int(datetime(2026, 11, day, *clock, tzinfo=eastern).timestamp()) * 10**9 for clock in ((9, 30), (close, 0))
        )
        for day, close in days
    ]
    assert configured(config.risk, SYMBOLS).hours()[:3] == expected
    summer, winter = (
        with_hours(Config(risk=RiskConfig(trading_hours=True)), calendar, day).risk.trading_hours_ns[0][0]
        for day in (date(2026, 10, 30), date(2026, 11, 2))
    )
    assert winter - summer == (3 * 24 + 1) * 3600 * 10**9


def test_trading_hours_that_nobody_asked_for_are_none() -> None:
    config = with_hours(Config(), us_equities(), date(2026, 11, 25))
    assert config == Config() and configured(config.risk, SYMBOLS).hours() == []


def test_a_copy_has_room_for_so_many_spans() -> None:
    with pytest.raises(LimitsError, match="spans"):
        LimitsCopy(SYMBOLS).set_hours([(1, 2)] * (lib.TRADING_HOURS_MAX + 1))
