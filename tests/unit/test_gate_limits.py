"""Every limit of the gate at both sides of its boundary, in every scope; what passes all the same; what is latched."""

from __future__ import annotations

import pytest

from ffi import lib
from hotpath.limits import LIMITS, Token
from tests.support.gate_scenes import BUY, EVERYONE, HOLDERS, MS, SELL, Scene, ScenedGate, scenes, usual
from tests.support.stages import ORIGIN_NS

OK = lib.REJECT_NONE
NO_REFUSAL = {"rearm_epoch", "breaker_window_ms", "window_ms", "participation_window_ms", "safe_ms"}


@pytest.mark.parametrize("scene", scenes(), ids=lambda scene: scene.name)
def test_limit_passes_at_its_boundary_and_refuses_one_step_beyond(scene: Scene) -> None:
    scene.check()


def test_every_limit_of_every_scope_has_a_scene() -> None:
    shown = {scene.limit for scene in scenes()}
    for limit in LIMITS:
        for scope in limit.scopes:
            name = {
                "venue": "venue.0",
                "account": "account.1",
                "strategy": "strategy.2",
                "instrument": "instrument.GOOG",
            }
            dotted = f"{name.get(scope, scope)}.{limit.name}"
            unasked = limit.name in NO_REFUSAL or dotted == "firm.cancels_reserved"
            assert dotted in shown or unasked, dotted


# ---- exits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [lib.SIDE_BUY, lib.SIDE_SELL])
def test_genuine_exit_passes_every_exposure_limit_at_zero(side: int) -> None:
    gate = ScenedGate({"firm.gross_value_currency_max": 10**6})
    other = lib.SIDE_SELL if side == lib.SIDE_BUY else lib.SIDE_BUY
    gate.filled(10, side=other)
    gate.limit({f"{scope}.{name}": 0 for scope in HOLDERS for name in EXPOSURE})
    gate.limit({"account.1.position_lots_max": 0, "strategy.2.position_lots_max": 0})
    gate.limit({"instrument.GOOG.position_lots_max": 0, "instrument.GOOG.envelope_lots_max": 0})
    gate.limit({"instrument.GOOG.volatility_ppm_max": 0, "instrument.GOOG.spread_ppm_max": 0})
    gate.limit({"instrument.GOOG.depth_lots_min": 10**6, "instrument.GOOG.cooldown_ms": 10**6})
    gate.limit({f"{scope}.reduce_only": True for scope in EVERYONE})
    assert gate.order(side=side, quantity_lots=11)[1] != OK
    part = gate.approved(side=side, quantity_lots=6)
    assert gate.order(side=side, quantity_lots=5)[1] != OK  # with the other one filled it would go past flat
    gate.approved(side=side, quantity_lots=4)
    gate.approved(kind=lib.SIGNAL_REPLACE, target_order_id=part, side=side, quantity_lots=6, price_ticks=9_999)


EXPOSURE = (
    "gross_value_currency_max", "net_value_currency_max", "credit_currency_max", "day_value_currency_max",
    "day_lots_max", "day_loss_currency_max", "day_drawdown_currency_max",
)  # fmt: skip


def test_reduce_only_counts_open_orders_at_their_worst() -> None:
    gate = ScenedGate({})
    gate.filled(10)
    gate.approved(**{**SELL, "quantity_lots": 4})
    gate.plan.mode = lib.MODE_REDUCE_ONLY
    assert gate.order(**{**SELL, "quantity_lots": 7})[1] == lib.REJECT_MODE
    assert gate.order(**{**SELL, "quantity_lots": 6})[1] == OK


# ---- cancels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["flag", "killed", "mode", "held"])
def test_protective_cancel_passes_throttles_and_resting_time(how: str) -> None:
    gate = ScenedGate({f"{scope}.cancels_per_second_max": 0 for scope in EVERYONE})
    gate.limit({"instrument.GOOG.resting_ms_min": 10**6})
    target = gate.approved(**BUY)
    cancel = {"kind": lib.SIGNAL_CANCEL, "target_order_id": target}
    assert gate.order(**cancel)[1] == lib.REJECT_RESTING
    gate.plan.killed, gate.plan.mode = how == "killed", lib.MODE_CANCEL_ONLY if how == "mode" else lib.MODE_NORMAL
    gate.gate.instrument[0].held = how == "held"
    assert gate.order(**cancel, flags=lib.FLAG_PROTECTIVE if how == "flag" else 0)[1] == OK


def test_cancel_passes_where_every_switch_is_off() -> None:
    gate = ScenedGate({})
    target = gate.approved(**BUY)
    gate.limit({f"{scope}.killed": True for scope in EVERYONE})
    assert gate.order(kind=lib.SIGNAL_CANCEL, target_order_id=target)[1] == OK


# ---- latches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", HOLDERS)
def test_loss_stays_latched_until_people_rearm(scope: str) -> None:
    gate = ScenedGate({f"{scope}.day_loss_currency_max": 0.01})
    gate.filled(5)
    gate.quote(9_900)
    gate.quote(10_000)
    assert gate.order(**BUY)[1] == lib.REJECT_DAY_LOSS
    gate.limit({f"{scope}.rearm_epoch": 1})
    assert gate.order(**BUY)[1] == OK
    gate.quote(9_990)
    assert gate.order(**BUY)[1] == OK  # 0.005 and no more, since
    gate.quote(9_960)
    gate.quote(10_000)
    assert gate.order(**BUY)[1] == lib.REJECT_DAY_LOSS


@pytest.mark.parametrize("scope", EVERYONE)
def test_repeated_executions_stop_a_scope_until_people_rearm(scope: str) -> None:
    gate = ScenedGate({f"{scope}.executions_max": 2})
    gate.filled(1)
    gate.filled(1)
    gate.turn(10_000_000)
    gate.quote(10_000)
    assert gate.order(**BUY)[1] == lib.REJECT_EXECUTIONS
    gate.limit({f"{scope}.rearm_epoch": 1})
    gate.filled(1)
    gate.filled(1)
    assert gate.order(**BUY)[1] == lib.REJECT_EXECUTIONS


@pytest.mark.parametrize("scope", EVERYONE)
def test_breaker_tries_one_order_when_it_has_cooled_down(scope: str) -> None:
    limits = {"breaker_rejects_max": 0, "breaker_window_ms": 50, "breaker_cooldown_ms": 100}
    gate = ScenedGate({f"{scope}.{name}": value for name, value in limits.items()})
    gate.report(lib.EXEC_REJECTED, gate.approved(**BUY))
    assert gate.order(**BUY)[1] == lib.REJECT_BREAKER
    gate.turn(100)
    trial = gate.approved(**BUY)
    assert gate.order(**BUY)[1] == lib.REJECT_BREAKER  # half open: one at a time
    gate.report(lib.EXEC_REJECTED, trial)
    gate.turn(99)
    assert gate.order(**BUY)[1] == lib.REJECT_BREAKER
    gate.turn(1)
    trial = gate.approved(**BUY)
    gate.report(lib.EXEC_CANCELED, trial, leaves_lots=0)  # neither taken nor refused: another one
    trial = gate.approved(**BUY)
    gate.report(lib.EXEC_ACCEPTED, trial, leaves_lots=10)
    assert [gate.order(**BUY)[1] for _ in range(3)] == [OK] * 3


def test_new_day_begins_losses_and_totals_anew() -> None:
    gate = ScenedGate({f"{scope}.day_loss_currency_max": 0.01 for scope in HOLDERS})
    gate.limit({f"{scope}.day_lots_max": 20 for scope in HOLDERS})
    gate.filled(5)
    gate.quote(9_900)
    assert gate.order(**BUY)[1] == lib.REJECT_DAY_LOSS
    gate.kernel.gate_roll(gate.gate)
    gate.approved(**{**BUY, "quantity_lots": 20})
    assert gate.order(**BUY)[1] == lib.REJECT_DAY_QUANTITY


# ---- overrides and temporary limits ------------------------------------------------------------------------------


def token(**fields: object) -> Token:
    return Token(
        **({"reasons": ("position",), "who": "ann", "expires_time_ns": ORIGIN_NS + 100 * MS, "quantity_lots_max": 10,
            "order_value_micros_max": 10**9} | fields)  # type: ignore[arg-type]
    )  # fmt: skip


def overridden(**fields: object) -> ScenedGate:
    gate = ScenedGate({"instrument.GOOG.position_lots_max": 5})
    gate.copy.grant(token(**fields))
    gate.set_limits()
    return gate


def test_override_lets_one_order_through_once() -> None:
    gate = overridden(instrument="GOOG", account=1, strategy=2, side=lib.SIDE_BUY)
    assert [gate.order(**BUY)[1] for _ in range(2)] == [OK, lib.REJECT_POSITION]


@pytest.mark.parametrize(
    "fields",
    [
        {"instrument": "AAPL"}, {"account": 3}, {"strategy": 3}, {"side": lib.SIDE_SELL}, {"quantity_lots_max": 9},
        {"order_value_micros_max": 10**7 - 1}, {"expires_time_ns": ORIGIN_NS}, {"reasons": ("collar",)},
    ],
    ids=str,
)  # fmt: skip
def test_override_of_something_else_lets_nothing_through(fields: dict[str, object]) -> None:
    assert overridden(**fields).order(**BUY)[1] == lib.REJECT_POSITION


def test_override_that_did_not_help_is_not_used_up() -> None:
    gate = overridden()
    gate.limit({"firm.paused": True})
    assert gate.order(**BUY)[1] == lib.REJECT_SCOPE_PAUSED
    gate.limit({"firm.paused": False})
    assert gate.order(**BUY)[1] == OK


@pytest.mark.parametrize("reason", ["killed", "mode", "blocked", "no_short", "envelope", "scope_killed", "model"])
def test_some_reasons_are_never_forgiven(reason: str) -> None:
    gate = ScenedGate({"instrument.GOOG.blocked": True, "instrument.GOOG.no_short": True, "firm.killed": True})
    gate.copy.grant(token(reasons=("killed", "mode", "blocked", "no_short", "envelope", "scope_killed", "model")))
    gate.set_limits()
    gate.limit({"instrument.GOOG.blocked": reason == "blocked", "firm.killed": reason == "scope_killed"})
    gate.limit({"instrument.GOOG.outside_envelope": reason == "envelope"})
    gate.plan.killed, gate.plan.mode = reason == "killed", lib.MODE_CANCEL_ONLY if reason == "mode" else 0
    order = SELL if reason == "no_short" else BUY
    score = float("nan") if reason == "model" else 0.0
    assert gate.order(**order, score=score)[1] == getattr(lib, f"REJECT_{reason.upper()}")


# ---- the rest ------------------------------------------------------------------------------------------------------


def test_safe_mode_lets_only_exits_pass_for_its_time() -> None:
    gate = ScenedGate({"instrument.GOOG.safe_ms": 100, "instrument.GOOG.spread_ppm_max": 2_000})
    gate.filled(5)
    gate.quote(10_000, half=11)
    assert gate.order(**BUY)[1] == lib.REJECT_SPREAD
    gate.quote(10_000)
    gate.turn(99)
    assert gate.order(**BUY)[1] == lib.REJECT_SAFE_MODE
    assert gate.order(**{**SELL, "quantity_lots": 5})[1] == OK
    gate.turn(1)
    assert gate.order(**BUY)[1] == OK


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_score_that_is_no_number_is_refused(score: float) -> None:
    gate = ScenedGate({} if score != score else {"firm.score_max": 10**6})
    assert gate.order(**BUY, score=score)[1] == lib.REJECT_MODEL


def test_own_best_prices_are_exact_whatever_is_taken_away() -> None:
    gate = ScenedGate({"instrument.GOOG.no_self_trade": True})
    offers = {price: gate.approved(side=lib.SIDE_SELL, price_ticks=price) for price in (10_050, 10_030, 10_040, 10_030)}
    assert gate.order(**{**BUY, "price_ticks": 10_030})[1] == lib.REJECT_SELF_TRADE
    assert gate.order(**{**BUY, "price_ticks": 10_029})[1] == OK
    gate.report(lib.EXEC_CANCELED, offers[10_030], leaves_lots=0)
    assert gate.order(**{**BUY, "price_ticks": 10_030})[1] == lib.REJECT_SELF_TRADE  # the other one of that price
    gate.report(lib.EXEC_RESTATED, offers[10_040], leaves_lots=10, price_ticks=10_020, side=lib.SIDE_SELL)
    assert gate.order(**{**BUY, "price_ticks": 10_020})[1] == lib.REJECT_SELF_TRADE


def test_fifth_order_back_is_no_repetition() -> None:
    gate = ScenedGate({"instrument.GOOG.duplicate_window_ms": 1000})
    gate.approved(**BUY)
    for price in range(9_000, 9_004):
        gate.approved(price_ticks=price)
    assert gate.order(**BUY)[1] == OK


def test_one_strategy_is_no_other_and_one_account_no_other() -> None:
    gate = ScenedGate({"strategy.2.day_lots_max": 5, "account.1.day_lots_max": 12})
    gate.approved(**{**BUY, "quantity_lots": 5})
    assert gate.order(**{**BUY, "quantity_lots": 1})[1] == lib.REJECT_DAY_QUANTITY
    assert gate.order(strategy=3, quantity_lots=7)[1] == OK
    assert gate.order(strategy=3, quantity_lots=1)[1] == lib.REJECT_DAY_QUANTITY
    assert gate.order(strategy=3, account=65, quantity_lots=1)[1] == OK  # of the same home as account 1


def test_trading_hours() -> None:
    gate = ScenedGate({})
    gate.copy.header.hours_count = 1
    gate.copy.header.hours[0].open_time_ns, gate.copy.header.hours[0].close_time_ns = ORIGIN_NS + 10, ORIGIN_NS + 20
    gate.set_limits()
    found = []
    for now_ns in (9, 10, 19, 20):
        gate.plan.now_ns = ORIGIN_NS + now_ns
        found.append(gate.order(**BUY)[1])
    assert found == [lib.REJECT_TRADING_HOURS, OK, OK, lib.REJECT_TRADING_HOURS]


def test_limits_that_are_off_let_the_usual_order_pass() -> None:
    gate = ScenedGate({})
    assert gate.order(**usual(gate))[1] == OK


# ---- what every order must pass, whatever the limits ---------------------------------------------------------------


def refusal(reason: str) -> tuple[ScenedGate, dict[str, object]]:
    """A gate that has something against the order, and the order."""
    gate = ScenedGate({})
    state, entry, order = gate.gate.instrument[0], gate.entries[0], dict(BUY)
    match reason:
        case "killed":
            gate.plan.killed = 1
        case "mode":
            gate.plan.mode = lib.MODE_CANCEL_ONLY
        case "instrument":
            entry.flags = 0
        case "blocked":
            entry.flags |= lib.INSTRUMENT_RESTRICTED
        case "not_trading":
            gate.market(lib.NORM_STATUS, order_ref=lib.STATE_HALTED)
        case "no_reference":
            order["instrument"] = 1
        case "stale_data":
            gate.market(lib.NORM_GAP, instrument=lib.NO_INSTRUMENT)
        case "crossed":
            state.bid_price_ticks = 10_011
        case "quantity":
            order["quantity_lots"] = 0
        case "price":
            entry.price_increment_ticks, order["price_ticks"] = 3, 10_000
        case "order_value":
            order |= {"price_ticks": 10_010, "quantity_lots": 10**6}
            entry.tick_value_micros = 2**53
            gate.limit({"instrument.GOOG.order_value_currency_max": 9_007_199_254})
        case "unknown_order":
            order |= {"kind": lib.SIGNAL_REPLACE, "target_order_id": 77}
        case "duplicate":
            gate.approved(cause_sequence=50)
            order["cause_sequence"] = 50
        case "throttle":
            gate.limit({"firm.messages_per_second_max": 0})
        case "open_orders":
            gate.limit({"firm.open_orders_max": 0})
    return gate, order


BASE = (
    "killed", "mode", "instrument", "blocked", "not_trading", "no_reference", "stale_data", "crossed", "quantity",
    "price", "order_value", "unknown_order", "duplicate", "throttle", "open_orders",
)  # fmt: skip


@pytest.mark.parametrize("reason", BASE)
def test_order_that_cannot_be_is_refused(reason: str) -> None:
    gate, order = refusal(reason)
    assert gate.order(**order)[1] == getattr(lib, f"REJECT_{reason.upper()}")


def test_instrument_that_was_heard_of_and_has_no_price_is_refused() -> None:
    gate = ScenedGate({})
    gate.market(instrument=1, bid_price_ticks=0, ask_price_ticks=0)
    assert gate.order(**BUY, instrument=1)[1] == lib.REJECT_NO_REFERENCE


def test_odd_lots_and_steps() -> None:
    gate = ScenedGate({"instrument.GOOG.round_lots": True})
    gate.entries[0].round_lot_lots = 1
    assert gate.order(**BUY)[1] == OK
    gate.entries[0].round_lot_lots = 0
    assert gate.order(**BUY)[1] == lib.REJECT_ROUND_LOT
    assert gate.order(**{**BUY, "price_ticks": 0})[1] == lib.REJECT_PRICE


def test_halts_of_both_kinds_and_unknown_states() -> None:
    gate = ScenedGate({})
    gate.market(lib.NORM_OPERATIONAL, order_ref=lib.STATE_HALTED)
    assert gate.order(**BUY)[1] == lib.REJECT_NOT_TRADING
    gate.market(lib.NORM_OPERATIONAL, order_ref=lib.STATE_TRADING)
    gate.gate.require_trading_state = 1
    assert gate.order(**BUY)[1] == lib.REJECT_NOT_TRADING
    gate.market(lib.NORM_STATUS, order_ref=lib.STATE_TRADING)
    assert gate.order(**BUY)[1] == OK


def test_replacement_by_less_than_was_filled_and_of_another_instrument() -> None:
    gate = ScenedGate({})
    gate.market(instrument=1)
    target = gate.approved(**BUY)
    gate.report(lib.EXEC_FILL, target, quantity_lots=4, price_ticks=10_000)
    replace = {**BUY, "kind": lib.SIGNAL_REPLACE, "target_order_id": target}
    assert gate.order(**{**replace, "quantity_lots": 4})[1] == lib.REJECT_QUANTITY
    assert gate.order(**{**replace, "instrument": 1})[1] == lib.REJECT_UNKNOWN_ORDER
    assert gate.order(**{**replace, "side": lib.SIDE_SELL})[1] == lib.REJECT_UNKNOWN_ORDER
    assert gate.order(kind=lib.SIGNAL_CANCEL, target_order_id=target, instrument=1)[1] == lib.REJECT_UNKNOWN_ORDER
    assert gate.order(**{**replace, "quantity_lots": 5})[1] == OK


def test_modes_and_repetitions_at_their_edges() -> None:
    gate = ScenedGate({})
    gate.approved(cause_sequence=50, leg=1)
    assert gate.order(cause_sequence=50, leg=1)[1] == gate.order(cause_sequence=49)[1] == lib.REJECT_DUPLICATE
    assert gate.order(cause_sequence=50, leg=2)[1] == OK
    gate.order_id -= 1  # a number that an open order bears
    assert gate.order(cause_sequence=51)[1] == lib.REJECT_DUPLICATE
    cancel = {"kind": lib.SIGNAL_CANCEL, "target_order_id": gate.approved(cause_sequence=60)}
    assert gate.order(**cancel, cause_sequence=60)[1] == lib.REJECT_DUPLICATE
    gate.gate.instrument[0].held = 1
    assert gate.order(**BUY, cause_sequence=70)[1] == lib.REJECT_MODE


def test_saturated_sums_refuse() -> None:
    gate = ScenedGate(
        {"instrument.GOOG.position_lots_max": 2**53 - 1, "instrument.GOOG.order_quantity_lots_max": 2**53}
    )
    gate.entries[0].tick_value_micros = 2**20
    gate.limit({"firm.gross_value_currency_max": 9_007_199_254, "instrument.GOOG.order_value_currency_max": 9 * 10**12})
    assert gate.order(**{**BUY, "quantity_lots": 2**52})[1] == lib.REJECT_ORDER_VALUE
    gate.gate.instrument[0].open_buy_lots = 2**62
    gate.limit({"instrument.GOOG.position_lots_max": 2**62})
    assert gate.order(**BUY)[1] == lib.REJECT_POSITION


# ---- what only a longer story shows --------------------------------------------------------------------------------


def test_each_of_the_last_four_orders_may_not_be_repeated() -> None:
    gate = ScenedGate({"instrument.GOOG.duplicate_window_ms": 1000})
    prices = (10_000, 9_900, 9_800, 9_700)
    for price in prices:
        gate.approved(quantity_lots=3, price_ticks=price)
    for price in prices:
        assert gate.order(quantity_lots=3, price_ticks=price)[1] == lib.REJECT_REPEATED_ORDER
    gate.approved(quantity_lots=3, price_ticks=9_600)  # takes the place of the first
    assert gate.order(quantity_lots=3, price_ticks=10_000)[1] == OK


@pytest.mark.parametrize("end", [lib.EXEC_CANCELED, lib.EXEC_REJECTED, lib.EXEC_FILL])
def test_our_best_price_ends_with_its_order(end: int) -> None:
    gate = ScenedGate({"instrument.GOOG.no_self_trade": True})
    nearer, further = (
        gate.approved(quantity_lots=4, price_ticks=price, side=lib.SIDE_SELL) for price in (10_020, 10_040)
    )
    assert gate.order(quantity_lots=1, price_ticks=10_020)[1] == lib.REJECT_SELF_TRADE
    gate.report(end, nearer, quantity_lots=4, price_ticks=10_020, side=lib.SIDE_SELL)
    assert gate.order(quantity_lots=1, price_ticks=10_020)[1] == OK
    assert gate.order(quantity_lots=1, price_ticks=10_040)[1] == lib.REJECT_SELF_TRADE
    gate.report(end, further, quantity_lots=4, price_ticks=10_040, side=lib.SIDE_SELL)
    assert gate.order(quantity_lots=1, price_ticks=10_040)[1] == OK


def test_every_fill_pays_for_messages() -> None:
    gate = ScenedGate({"strategy.2.messages_per_fill_max": 2})
    gate.filled(1)
    gate.filled(1, price=9_990)
    gate.approved(quantity_lots=1, price_ticks=9_980)
    gate.approved(quantity_lots=1, price_ticks=9_970)
    assert gate.order(quantity_lots=1, price_ticks=9_960)[1] == lib.REJECT_ORDER_TO_TRADE


@pytest.mark.parametrize("way", [1, -1])
def test_the_windows_extremes_outlive_the_prices_after_them(way: int) -> None:
    gate = ScenedGate({"instrument.GOOG.volatility_ppm_max": 15_000, "instrument.GOOG.window_ms": 1000})
    for middle in (10_000, 10_000 + way * 200, 10_000 + way * 100):
        gate.quote(middle)
    assert gate.order(quantity_lots=1, price_ticks=10_000)[1] == lib.REJECT_VOLATILITY
