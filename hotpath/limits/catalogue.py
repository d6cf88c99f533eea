"""Every limit by its name, once: what reads or writes limits by name, describes or documents them, reads this table.

A dotted name is scope and limit: ``firm.gross_value_currency_max``, ``instrument.GOOG.position_lots_max``,
``strategy.2.orders_per_second_max``, ``account.1.day_loss_currency_max``, ``venue.0.messages_per_second_max``;
``any_account`` and ``any_strategy`` are those without entries of their own. A value is a number, True or False,
or None where a limit is off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from ffi import ffi, lib

OFF: int = lib.LIMIT_OFF
MICROS = 1_000_000
MILLI = 1000
SCOPES = ("firm", "venue", "account", "strategy", "instrument")
Value = int | float | bool | None


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. `field` is the C field of `struct`; with `bit` a flag in it. `scale`: C's units in one of `unit`."""

    name: str
    unit: str
    scopes: tuple[str, ...]
    meaning: str
    reason: str = ""  # enum reject_reason without REJECT_, lower case; empty: it refuses nothing by itself
    struct: str = "scope_limits"
    field: str = ""
    bit: int = 0
    scale: int = 1
    can_be_off: bool = True
    protected: bool = False  # of the signed deployment envelope: no change at the desk
    default: Value = None  # of the configuration

    @property
    def offset(self) -> int:
        """Of the field in its struct."""
        return int(ffi.offsetof(self.struct, self.field))

    def to_raw(self, value: Value) -> int:
        """As C has it. Raises ValueError."""
        if self.bit:
            if not isinstance(value, bool):
                raise ValueError(f"{self.name} is true or false")
            return self.bit if value else 0
        if value is None:
            if not self.can_be_off:
                raise ValueError(f"{self.name} cannot be off")
            return OFF
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{self.name} is a number of {self.unit}" + (", or off" if self.can_be_off else ""))
        raw = round(value * self.scale)
        if not 0 <= raw < OFF:
            raise ValueError(f"{self.name}: {value} is out of range")
        return raw

    def to_value(self, raw: int) -> Value:
        """As people have it."""
        if self.bit:
            return bool(raw & self.bit)
        if raw == OFF and self.can_be_off:
            return None
        return raw if self.scale == 1 else (raw // self.scale if raw % self.scale == 0 else raw / self.scale)

    @property
    def is_switch(self) -> bool:
        """What people switched off stays so over restarts, whatever the configuration says."""
        return self.field == "switches"

    @property
    def is_least(self) -> bool:
        """A larger value is the stricter one."""
        return self.name.endswith("_min") or self.name in LARGER_IS_STRICTER


LARGER_IS_STRICTER = frozenset({"cancels_reserved", "cooldown_ms", "duplicate_window_ms", "safe_ms"})
EVERY = SCOPES
TRADERS = ("firm", "venue", "account", "strategy", "instrument")
HOLDERS = ("firm", "account", "strategy", "instrument")  # an engine has one venue: what it owes there is the firm's
SENDERS = ("venue", "account", "strategy", "instrument")
HELD = ("account", "strategy")  # positions in any one instrument; the instrument's own limit is over all of them


def _scope(name: str, unit: str, meaning: str, reason: str, **rest: Any) -> Limit:
    scopes = rest.pop("scopes", TRADERS)
    field = name.replace("_currency_max", "_micros_max")
    if field.endswith("_ms"):
        field, rest = field.removesuffix("_ms") + "_ns", {"scale": MICROS, **rest}
    if field.endswith("_micros_max"):
        rest = {"scale": MICROS, **rest}
    return Limit(name, unit, scopes, meaning, reason, **{"field": field, **rest})


def _switch(name: str, meaning: str) -> Limit:
    bit = int(getattr(lib, f"SWITCH_{name.upper()}"))
    reason = f"scope_{name}"
    return Limit(name, "yes/no", EVERY, meaning, reason, field="switches", bit=bit, can_be_off=False, default=False)


def _flag(name: str, meaning: str, reason: str, *, protected: bool = False) -> Limit:
    return Limit(
        name, "yes/no", ("instrument",), meaning, reason, "instrument_limits", "flags",
        bit=int(getattr(lib, f"LIMIT_{name.upper()}")), can_be_off=False, protected=protected, default=False,
    )  # fmt: skip


def _instrument(name: str, unit: str, meaning: str, reason: str, **rest: Any) -> Limit:
    limit = _scope(name, unit, meaning, reason, scopes=("instrument",), struct="instrument_limits", **rest)
    return limit


def _firm(name: str, unit: str, meaning: str, reason: str, **rest: Any) -> Limit:
    return _scope(name, unit, meaning, reason, scopes=("firm",), struct="limits_header", **rest)


LIMITS: tuple[Limit, ...] = (
    # ---- what people switch off ----
    _switch("killed", "nothing new is sent, and what is open is cancelled"),
    _switch("paused", "nothing new is sent; what is open stays"),
    _switch("reduce_only", "only orders that reduce the position"),
    _switch("cancel_only", "only cancels"),
    # ---- rate ----
    _scope("orders_per_second_max", "orders/s", "new orders: a token bucket of one second", "order_rate"),
    _scope("replaces_per_second_max", "replaces/s", "replacements: the same", "replace_rate"),
    _scope(
        "cancels_per_second_max", "cancels/s", "a strategy's own cancels: the same; protective ones pass", "cancel_rate"
    ),
    _scope("messages_per_second_max", "messages/s", "orders, replaces and cancels together", "message_rate"),
    _scope(
        "cancels_reserved",
        "messages",
        "of that bucket, for cancels alone",
        "",
        can_be_off=False,
        default=0,
        scopes=SENDERS,
    ),
    _scope("open_orders_max", "orders", "orders open at one time", "open_orders"),
    # ---- exposure ----
    _scope(
        "position_lots_max",
        "lots",
        "|position| in any one instrument with every open order filled",
        "scope_position",
        scopes=HELD,
    ),
    _scope(
        "gross_value_currency_max",
        "currency",
        "sum of |worst-case positions| at reference prices",
        "gross_value",
        scopes=HOLDERS,
    ),
    _scope(
        "net_value_currency_max",
        "currency",
        "|sum of positions| at reference, one side's open orders filled",
        "net_value",
        scopes=HOLDERS,
    ),
    _scope(
        "credit_currency_max", "currency", "paid over received, with every open buy filled", "credit", scopes=HOLDERS
    ),
    _scope("day_value_currency_max", "currency", "traded today, and open", "day_value", scopes=HOLDERS),
    _scope("day_lots_max", "lots", "traded today, and open", "day_quantity", scopes=HOLDERS),
    _scope("day_loss_currency_max", "currency", "marked to market; latched until re-armed", "day_loss", scopes=HOLDERS),
    _scope(
        "day_drawdown_currency_max",
        "currency",
        "from the day's best; latched until re-armed",
        "drawdown",
        scopes=HOLDERS,
    ),
    # ---- conduct ----
    _scope(
        "messages_per_fill_max",
        "messages",
        "order-to-trade ratio",
        "order_to_trade",
        field="messages_per_fill_milli_max",
        scale=MILLI,
    ),
    _scope("messages_free", "messages", "before that ratio is judged", "", can_be_off=False, default=0),
    _scope("executions_max", "executions", "repeated automated executions until a person re-arms", "executions"),
    _scope("rearm_epoch", "times", "moved on by people: what is latched begins anew", "", can_be_off=False, default=0),
    _scope("breaker_rejects_max", "refusals", "of the venue in the window; one more trips the breaker", "breaker"),
    _scope("breaker_window_ms", "ms", "of those refusals", "", can_be_off=False, default=0),
    _scope("breaker_cooldown_ms", "ms", "then one order is tried", "", can_be_off=False, default=0),
    # ---- an instrument's own ----
    _instrument(
        "position_lots_max",
        "lots",
        "|position| with every open order filled",
        "position",
        can_be_off=False,
        default=1000,
    ),
    _instrument("order_quantity_lots_max", "lots", "of one order", "quantity", can_be_off=False, default=500),
    _instrument(
        "order_value_currency_max", "currency", "of one order", "order_value", can_be_off=False, default=100_000
    ),
    _instrument(
        "collar_ppm_max", "ppm", "distance from the reference price", "collar", can_be_off=False, default=20_000
    ),
    _instrument("collar_ticks_max", "ticks", "the same in ticks", "collar_ticks"),
    _instrument("trade_collar_ppm_max", "ppm", "distance from the last trade", "trade_collar"),
    _instrument("through_ppm_max", "ppm", "through the opposite side's best price", "through"),
    _instrument("move_ppm_max", "ppm", "a buy over the window's lowest reference, a sell under its highest", "move"),
    _instrument("volatility_ppm_max", "ppm", "the window's highest reference over its lowest", "volatility"),
    _instrument("window_ms", "ms", "of both: at least so long, at most twice", "", can_be_off=False, default=0),
    _instrument("spread_ppm_max", "ppm", "between bid and offer", "spread"),
    _instrument(
        "depth_lots_min",
        "lots",
        "in the book on the side that the order would take",
        "depth",
        can_be_off=False,
        default=0,
    ),
    _instrument(
        "participation_ppm_max", "ppm", "our lots, open ones included, of the market's in the window", "participation"
    ),
    _instrument(
        "participation_window_ms", "ms", "of it: at least so long, at most twice", "", can_be_off=False, default=0
    ),
    _instrument(
        "duplicate_window_ms",
        "ms",
        "in which a strategy's last four orders of a side may not be repeated",
        "repeated_order",
        can_be_off=False,
        default=0,
    ),
    _instrument(
        "resting_ms_min",
        "ms",
        "that an order stands before its strategy may move or cancel it",
        "resting",
        field="resting_ns_min",
        scale=MICROS,
        can_be_off=False,
        default=0,
    ),
    _instrument(
        "cooldown_ms", "ms", "after an exit, before risk is taken again", "cooldown", can_be_off=False, default=0
    ),
    _instrument(
        "safe_ms",
        "ms",
        "reduce only for so long once the pre-action filter tripped",
        "safe_mode",
        can_be_off=False,
        default=0,
    ),
    _instrument(
        "envelope_lots_max", "lots", "|position| that this deployment may ever reach", "envelope", protected=True
    ),
    _flag("blocked", "on the list of the restricted", "blocked"),
    _flag("no_short", "on the list of those not to be sold short", "no_short"),
    _flag("round_lots", "whole round lots alone", "round_lot"),
    _flag("no_day", "no order that rests", "time_in_force"),
    _flag("no_ioc", "no immediate-or-cancel order", "time_in_force"),
    _flag("no_self_trade", "no order that could meet one of ours", "self_trade"),
    _flag("locked_allowed", "also while bid = offer", "locked"),
    _flag("outside_envelope", "this deployment may never touch it", "envelope", protected=True),
    # ---- the firm's own ----
    _firm("stale_after_ms", "ms", "age of a reference price", "stale_data", can_be_off=False, default=5000),
    _firm(
        "intent_age_ms_max",
        "ms",
        "from the market event to the gate: the path's own latency",
        "intent_age",
        field="intent_age_ns_max",
        scale=MICROS,
    ),
    _firm("score_max", "1", "|score| of a model", "model", field="score_milli_max", scale=MILLI),
    _firm(
        "score_jump_max",
        "1",
        "of a strategy's score in an instrument, from one intent to the next",
        "score_jump",
        field="score_jump_milli_max",
        scale=MILLI,
    ),
    _firm("model_generation_min", "generation", "older models are refused", "model", can_be_off=False, default=0),
    _firm("model_age_ms_max", "ms", "since the model's last swap", "model", field="model_age_ns_max", scale=MICROS),
    _firm(
        "envelope_order_value_currency_max",
        "currency",
        "of one order, that this deployment may ever send",
        "envelope",
        protected=True,
    ),
    _firm(
        "envelope_gross_value_currency_max",
        "currency",
        "that this deployment may ever reach",
        "envelope",
        protected=True,
    ),
)


@cache
def limits_of(scope: str) -> dict[str, Limit]:
    """The limits of one kind of scope, by name. ``position_lots_max`` of an instrument is the instrument's own."""
    return {limit.name: limit for limit in LIMITS if scope in limit.scopes}


def describe() -> list[Limit]:
    """Every limit there is."""
    return list(LIMITS)
