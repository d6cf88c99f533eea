"""Limits over gRPC: compared and set, all or none, with a second person for what loosens; put back; tried on a day."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hotctl.client import Client, mutation
from hotctl.errors import CallError, UsageError
from hotctl.server.limits import json_of, loosens, setting_of, value_of
from hotctl.v1 import limits_pb2, mutation_pb2, trading_pb2
from hotpath.backtest.settings import with_settings
from hotpath.config import Config
from hotpath.limits.catalogue import LIMITS
from hotpath.limits.copy import Token
from hotpath.limits.desk import LimitsDesk
from tests.support.engines import EngineProcess, until
from tests.support.held import held_config, held_engine, host_client

OPEN = "firm.open_orders_max"
APPLIED, PENDING = mutation_pb2.OUTCOME_APPLIED, mutation_pb2.OUTCOME_PENDING


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("held")
    config = held_config(f"t{os.getpid()}-limits", folder)
    with held_engine(config, folder) as running:
        until(lambda: running.count("feed", "messages") > 0, "the market")
        yield running


@pytest.fixture
def call(engine: EngineProcess) -> Iterator[Client]:
    with host_client(engine) as client:
        yield client


def value(call: Client, name: str) -> str:
    found = call.call("LimitsService/ListLimits", limits_pb2.ListLimitsRequest(prefix=name))
    return str(next(each.value for each in found.limits if each.name == name))


def version(call: Client) -> int:
    return int(call.call("LimitsService/ListLimits").version)


def request(call: Client, *settings: tuple[str, str], dry_run: bool = False, **options: Any) -> Any:
    return limits_pb2.SetLimitsRequest(
        mutation=mutation(reason="test", dry_run=dry_run),
        based_on_version=options.pop("based_on", None) or version(call),
        settings=[limits_pb2.LimitSetting(name=name, value=text) for name, text in settings],
        **options,
    )


def put(call: Client, *settings: tuple[str, str], **options: Any) -> Any:
    return call.call("LimitsService/SetLimits", request(call, *settings, **options))


def test_lowering_needs_one_person_and_is_one_version(call: Client, engine: EngineProcess) -> None:
    before = version(call)
    response = put(call, (OPEN, "77"), ("instrument.ZAAAB.position_lots_max", "5"))
    assert response.receipt.outcome == APPLIED and response.version == before + 1 == version(call)
    assert {each.name: (each.after, each.raises) for each in response.receipt.changes} == {
        OPEN: ("77", False),
        "instrument.ZAAAB.position_lots_max": ("5", False),
    }
    assert value(call, OPEN) == "77"
    with engine_desk(engine) as desk:
        assert desk.read().get(OPEN) == 77


def engine_desk(engine: EngineProcess) -> Any:
    from contextlib import nullcontext

    return nullcontext(LimitsDesk(engine.name, state_dir=engine.folder))


def test_raising_waits_for_a_second_person(call: Client) -> None:
    standing = value(call, OPEN)
    response = put(call, (OPEN, "100000"))
    assert response.receipt.outcome == PENDING and response.receipt.expires_time_ns > 0
    assert value(call, OPEN) == standing


def test_a_change_based_on_another_version_is_refused_whole(call: Client) -> None:
    standing = value(call, OPEN)
    with pytest.raises(CallError, match="was based on"):
        put(call, (OPEN, "3"), based_on=version(call) - 1 or 99)
    assert value(call, OPEN) == standing


@pytest.mark.parametrize("settings", [(("firm.nonsense", "1"),), ((OPEN, "7"), ("instrument.NOPE.blocked", "yes"))])
def test_one_wrong_name_and_nothing_is_changed(call: Client, settings: Any) -> None:
    before = version(call)
    with pytest.raises(UsageError):
        put(call, *settings)
    assert version(call) == before


def test_a_dry_run_tells_the_difference_and_makes_none(call: Client) -> None:
    before = version(call)
    response = put(call, (OPEN, "1"), dry_run=True)
    assert response.receipt.outcome == mutation_pb2.OUTCOME_DRY_RUN
    assert [(each.name, each.after) for each in response.receipt.changes] == [(OPEN, "1")]
    assert version(call) == before


def test_history_tells_who_and_why_and_revert_goes_back(call: Client, engine: EngineProcess) -> None:
    start, first = version(call), value(call, "firm.messages_per_second_max")
    put(call, ("firm.messages_per_second_max", "500"))
    with engine_desk(engine) as desk:  # past the control process
        desk.change(desk.version, lambda copy: copy.set(OPEN, 12), who="somebody at the host", why="test")
    until(lambda: call.call("LimitsService/ListLimitVersions").versions[0].version == start + 2, "it is seen")
    put(call, ("firm.messages_per_second_max", "400"))
    versions = call.call("LimitsService/ListLimitVersions").versions
    assert [each.version for each in versions[:3]] == [start + 3, start + 2, start + 1]
    assert versions[0].who.startswith("unix:") and versions[0].why == "test"
    assert [(c.name, c.after) for c in versions[1].changes] == [(OPEN, "12")]
    back = limits_pb2.RevertLimitsRequest(
        mutation=mutation(reason="test"), based_on_version=version(call), to_version=start
    )
    response = call.call("LimitsService/RevertLimits", back)
    assert response.receipt.outcome == PENDING, "it raises"
    changes = {each.name: (each.before, each.after) for each in response.receipt.changes}
    assert changes["firm.messages_per_second_max"] == ("400", first)
    assert OPEN in changes


def test_a_scope_is_killed_by_one_person_and_comes_back_with_two(call: Client) -> None:
    def kill() -> Any:
        return trading_pb2.KillRequest(mutation=mutation(reason="test"), scope="SCOPE_INSTRUMENT", scope_name="ZAAAB")

    first = kill()
    response = call.call("TradingService/Kill", first)
    assert response.receipt.outcome == APPLIED and value(call, "instrument.ZAAAB.killed") == "yes"
    assert call.call("TradingService/Kill", first).receipt.replayed
    with pytest.raises(UsageError, match="NOPE"):
        nobody = trading_pb2.KillRequest(mutation=mutation(reason="t"), scope="SCOPE_INSTRUMENT", scope_name="NOPE")
        call.call("TradingService/Kill", nobody)
    back = trading_pb2.ArmRequest(mutation=mutation(reason="t"), scope="SCOPE_INSTRUMENT", scope_name="ZAAAB")
    assert call.call("TradingService/Arm", back).receipt.outcome == PENDING


def test_a_change_for_a_time_reverts_by_itself(call: Client, engine: EngineProcess) -> None:
    name = "instrument.ZAAAC.position_lots_max"
    before = value(call, name)
    response = put(call, (name, "9"), revert_after_s=1)
    assert response.receipt.outcome == APPLIED
    assert value(call, name) == "9"
    with engine_desk(engine) as desk:
        (held,) = [each for each in desk.read().temporaries() if each.name == name]
        assert held.before == int(before)

        def stands() -> object:
            copy = desk.read()
            copy.expire(time.time_ns())  # as the gate does by itself, at every order
            return copy.get(name)

        until(lambda: stands() == int(before), "it reverts")
    put(call, ("firm.orders_per_second_max", "1000"))  # the next version has it no more
    assert value(call, name) == before


def test_an_override_needs_two_people_and_is_taken_back_by_one(call: Client, engine: EngineProcess) -> None:
    def grant(*reasons: str, **fields: Any) -> Any:
        what: Any = {"quantity_lots_max": 500, "order_value_micros_max": 10**9, "symbol": "ZAAAB", **fields}
        request = limits_pb2.GrantOverrideRequest(
            mutation=mutation(reason="t"), override=limits_pb2.Override(reasons=reasons, **what), expires_after_s=60
        )
        return call.call("LimitsService/GrantOverride", request)

    assert grant("quantity").receipt.outcome == PENDING
    assert not call.call("LimitsService/ListOverrides").overrides
    for reasons, fields in (
        ((), {}),
        (("nonsense",), {}),
        (("quantity",), {"symbol": "NOPE"}),
        (("quantity",), {"side": "x"}),
    ):
        with pytest.raises(UsageError):
            grant(*reasons, **fields)
    with engine_desk(engine) as desk:
        token = Token(("quantity",), "alice", time.time_ns() + 60 * 10**9, 500, 10**9, instrument="ZAAAB")
        desk.change(desk.version, lambda copy: copy.grant(token), who="alice", why="test")
    (found,) = call.call("LimitsService/ListOverrides").overrides
    assert (found.symbol, list(found.reasons), found.who) == ("ZAAAB", ["quantity"], "alice")
    back = limits_pb2.WithdrawOverrideRequest(mutation=mutation(reason="t"), id=found.id)
    assert call.call("LimitsService/WithdrawOverride", back).receipt.outcome == APPLIED
    assert not call.call("LimitsService/ListOverrides").overrides
    with pytest.raises(UsageError, match="there is no override"):
        call.call(
            "LimitsService/WithdrawOverride", limits_pb2.WithdrawOverrideRequest(mutation=mutation(reason="t"), id=7)
        )


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.scopes[0]}.{limit.name}")
def test_loosening_is_told_from_tightening(limit: Any) -> None:
    name = f"{'any_account' if limit.scopes[0] == 'account' else limit.scopes[0]}.{limit.name}"
    if limit.scopes[0] in ("venue", "instrument"):
        name = f"{limit.scopes[0]}.0.{limit.name}"
    if limit.bit:
        assert loosens(name, True, False) and not loosens(name, False, True)
        return
    assert not loosens(name, 5, 5)
    up, down = loosens(name, 5, 6), loosens(name, 5, 4)
    assert up or down, "a change of a limit is never both ways tightening"
    if limit.can_be_off:
        assert (loosens(name, 5, None) and not loosens(name, None, 5)) or (up and down)


def test_a_limit_has_a_key_of_the_configuration() -> None:
    settings = [
        f"{setting_of(name)}={json_of(name, text)}"
        for name, text in (
            (OPEN, "7"),
            ("firm.day_lots_max", "1_000"),
            ("instrument.GOOG.position_lots_max", "5"),
            ("any_strategy.orders_per_second_max", "3"),
            ("strategy.2.paused", "yes"),
            ("account.1.day_lots_max", "9"),
            ("venue.0.messages_per_second_max", "50"),
        )
    ]
    risk = with_settings(Config(), settings).risk
    assert (risk.open_orders_max, risk.firm.day_lots_max, risk.instruments["GOOG"].position_lots_max) == (7, 1000, 5)
    assert (risk.any_strategy.orders_per_second_max, risk.strategies["2"].paused) == (3, True)
    assert risk.accounts["1"].day_lots_max == 9 and risk.venue is not None and risk.venue.messages_per_second_max == 50


def test_values_are_read_as_people_write_them() -> None:
    assert value_of(OPEN, "1_000") == 1000 and value_of(OPEN, "off") is None
    assert value_of("firm.killed", "yes") is True and value_of("firm.gross_value_currency_max", "1.5") == 1.5
