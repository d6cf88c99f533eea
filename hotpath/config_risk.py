"""[risk]: limits of the firm, the venue's session, accounts, strategies and instruments.

Each key bears the name of its limit (hotpath/limits/catalogue.py). A key that is left out is a limit that is off, but
for those with a default here, which are the ones that nothing trades without.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, field

from ffi import lib
from hotpath.config_types import Milliseconds, Money, Section, WholeInt

MICROS = 1_000_000
Ppm = Annotated[int, Meta(ge=0, le=1_000_000)]
Span = Annotated[int, Meta(ge=0, le=604_800_000)]  # milliseconds
Ratio = Annotated[float, Meta(ge=0, le=1e9)]


class ConductRisk(Section, frozen=True, kw_only=True):
    """Limits that every scope may have."""

    killed: bool | None = None
    paused: bool | None = None
    reduce_only: bool | None = None
    cancel_only: bool | None = None
    orders_per_second_max: WholeInt | None = None
    replaces_per_second_max: WholeInt | None = None
    cancels_per_second_max: WholeInt | None = None
    messages_per_second_max: WholeInt | None = None
    open_orders_max: WholeInt | None = None
    messages_per_fill_max: Ratio | None = None
    messages_free: WholeInt | None = None
    executions_max: WholeInt | None = None
    rearm_epoch: WholeInt | None = None
    breaker_rejects_max: WholeInt | None = None
    breaker_window_ms: Span | None = None
    breaker_cooldown_ms: Span | None = None


class VenueRisk(ConductRisk, frozen=True, kw_only=True):
    """[risk.venue]: of the session that orders go to."""

    cancels_reserved: WholeInt | None = None


class ScopeRisk(ConductRisk, frozen=True, kw_only=True):
    """Limits of whoever holds positions."""

    gross_value_currency_max: Money | None = None
    net_value_currency_max: Money | None = None
    credit_currency_max: Money | None = None
    day_value_currency_max: Money | None = None
    day_lots_max: WholeInt | None = None
    day_loss_currency_max: Money | None = None
    day_drawdown_currency_max: Money | None = None


class TraderRisk(ScopeRisk, frozen=True, kw_only=True):
    """[risk.any_account], [risk.any_strategy], [risk.accounts.N], [risk.strategies.N]."""

    position_lots_max: WholeInt | None = None  # in any one instrument
    cancels_reserved: WholeInt | None = None


class FirmRisk(ScopeRisk, frozen=True, kw_only=True):
    """[risk.firm]: what [risk] itself does not say of the firm."""

    intent_age_ms_max: Ratio | None = None
    score_max: Ratio | None = None
    score_jump_max: Ratio | None = None
    model_generation_min: WholeInt | None = None
    model_age_ms_max: Span | None = None
    envelope_order_value_currency_max: Money | None = None
    envelope_gross_value_currency_max: Money | None = None


class InstrumentRiskOverride(ScopeRisk, frozen=True, kw_only=True):
    """[risk.instruments.SYMBOL]: the limits that differ from [risk.defaults]."""

    cancels_reserved: WholeInt | None = None
    position_lots_max: WholeInt | None = None
    order_quantity_lots_max: WholeInt | None = None
    order_value_currency_max: Money | None = None
    collar_ppm_max: Ppm | None = None
    blocked: bool | None = None
    no_short: bool | None = None
    collar_ticks_max: WholeInt | None = None
    trade_collar_ppm_max: WholeInt | None = None
    through_ppm_max: WholeInt | None = None
    move_ppm_max: WholeInt | None = None
    volatility_ppm_max: WholeInt | None = None
    window_ms: Span | None = None
    spread_ppm_max: WholeInt | None = None
    depth_lots_min: WholeInt | None = None
    participation_ppm_max: WholeInt | None = None
    participation_window_ms: Span | None = None
    duplicate_window_ms: Span | None = None
    resting_ms_min: Span | None = None
    cooldown_ms: Span | None = None
    safe_ms: Span | None = None
    envelope_lots_max: WholeInt | None = None
    round_lots: bool | None = None
    no_day: bool | None = None
    no_ioc: bool | None = None
    no_self_trade: bool | None = None
    locked_allowed: bool | None = None
    outside_envelope: bool | None = None


class InstrumentRisk(InstrumentRiskOverride, frozen=True, kw_only=True):
    """[risk.defaults]: limits of an instrument. 0 forbids."""

    position_lots_max: WholeInt = 1000
    order_quantity_lots_max: WholeInt = 500
    order_value_currency_max: Money = 100_000.0
    collar_ppm_max: Ppm = 20_000
    blocked: bool = False
    no_short: bool = False

    @property
    def order_value_micros_max(self) -> int:
        """The order value limit in millionths of the currency."""
        return round(self.order_value_currency_max * MICROS)


class RiskConfig(Section, frozen=True):
    """[risk]: limits over everything, and of each scope."""

    gross_value_currency_max: Money = 1_000_000.0
    open_orders_max: WholeInt = 100
    messages_per_second_max: WholeInt = 1000
    stale_after_ms: Milliseconds = 5000
    require_trading_state: bool = True  # no order before the venue has said that the instrument trades
    trading_hours: bool = False  # no order while the calendar has the market closed
    trading_hours_ns: Annotated[list[tuple[int, int]], Meta(max_length=lib.TRADING_HOURS_MAX)] = field(
        default_factory=list
    )  # what that comes to: opening and closing instants of the days ahead; each run fills them in
    firm: FirmRisk = field(default_factory=FirmRisk)
    venue: VenueRisk | None = None
    any_account: TraderRisk = field(default_factory=TraderRisk)
    any_strategy: TraderRisk = field(default_factory=TraderRisk)
    accounts: dict[Annotated[str, Meta(pattern=r"^\d{1,5}$")], TraderRisk] = field(default_factory=dict)
    strategies: dict[Annotated[str, Meta(pattern=r"^\d{1,3}$")], TraderRisk] = field(default_factory=dict)
    defaults: InstrumentRisk = field(default_factory=InstrumentRisk)
    instruments: dict[str, InstrumentRiskOverride] = field(default_factory=dict)

    @property
    def gross_value_micros_max(self) -> int:
        """The gross value limit in millionths of the currency."""
        return round(self.gross_value_currency_max * MICROS)

    def limits_of(self, symbol: str) -> InstrumentRisk:
        """Limits of one instrument: the defaults, with what its own table says."""
        override = self.instruments.get(symbol)
        if override is None:
            return self.defaults
        changes = {key: value for key, value in msgspec.structs.asdict(override).items() if value is not None}
        return msgspec.structs.replace(self.defaults, **changes)
