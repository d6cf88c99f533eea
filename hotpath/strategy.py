"""The class that a Python strategy derives from: what it is told, what it sees, what it can ask for.

    from hotpath.strategy import TOP, TRADES, Strategy

    class Follow(Strategy):
        wants = TOP | TRADES                      # which events; default: all of them
        defaults = {"quantity": 100}              # of [[strategies]] params

        def on_event(self, event):
            instrument = self.instrument(event.instrument)
            if event.trade and event.aggressor > 0 and not instrument.position_lots:
                self.buy(instrument, quantity_lots=self.params.quantity, price_ticks=instrument.ask_price_ticks)

It runs in a process of its own, or in a replay in virtual time: the class is the same. Prices are whole ticks,
quantities whole lots. A method that raises, takes longer than ``budget_ms``, or asks for nonsense (a price that is
no whole number, an unknown instrument) cuts the strategy off: its open orders are cancelled, the engine trades on.
docs/strategies.md tells the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import index as whole
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from ffi import lib
from ffi.dtypes import enum_names, enum_values
from hotpath.errors import NonsenseError, StrategyError

if TYPE_CHECKING:
    from hotpath.strategy_host import StrategyHost

TOP: int = lib.WANT_TOP  # the best bid or offer changed
TRADES: int = lib.WANT_TRADES
ORDERS: int = lib.WANT_ORDERS  # other changes of the book
STATES: int = lib.WANT_STATES  # trading states, gaps, auctions
ALL: int = lib.WANT_ALL

BUY: int = lib.SIDE_BUY
SELL: int = lib.SIDE_SELL
TIME_IN_FORCE = {"day": lib.TIF_DAY, "ioc": lib.TIF_IOC}
FEATURES: dict[str, int] = {
    name.removeprefix("FEATURE_").lower(): value
    for name, value in enum_values("feature_id").items()
    if name != "FEATURES_MAX"
}
_KINDS = {
    value: name.removeprefix("EXEC_").removeprefix("REPORT_").lower()
    for value, name in enum_names("event_type").items()
    if name.startswith(("EXEC_", "REPORT_"))
}


class Event(Protocol):
    """One market event: what `on_event` is given. One object, filled in anew for each: copy what is to be kept.

    `on_batch` is given the same fields as columns of a structured array.
    """

    sequence: int  # in the ring norm
    origin_time_ns: int  # venue clock
    publish_time_ns: int  # engine clock
    order_ref: int  # the venue's number of the order
    reference: int  # by type: new order number, match number, reason
    price_ticks: int
    quantity_lots: int
    bid_price_ticks: int  # the top after the event; 0 where that side is empty
    ask_price_ticks: int
    bid_quantity_lots: int
    ask_quantity_lots: int
    bid_depth_lots: int  # of the best five levels
    ask_depth_lots: int
    instrument: int  # index, for self.instrument()
    flags: int
    type: int  # NORM_ADD ..., as ffi.lib names them
    trade: int  # 1: it counts as volume
    aggressor: int  # of a trade: 1 bought, -1 sold, 0 unknown
    top: int  # 1: the best bid or offer changed
    stale: int  # 1: the book may be wrong


class Order(Protocol):
    """One open order, as `order` gives it and `open_orders` holds it."""

    token: int
    order_id: int  # the engine's; 0 before it is known
    replace_token: int  # of the replacement under way; 0: none
    price_ticks: int
    quantity_lots: int  # wanted in all
    leaves_lots: int
    filled_lots: int
    request_time_ns: int
    instrument: int
    side: int
    state: int  # 1: not yet answered, 2: at the venue
    canceling: int  # 1: a cancel is under way


class Report:
    """What became of a request: an object of its own, to be kept at will.

    `kind` is "accepted", "replaced", "fill", "canceled", "rejected" (by the venue), "refused" (by this engine),
    "cancel_rejected", "replace_rejected", "broken", "restated", "session_up", "session_down" ...
    """

    __slots__ = (
        "cumulative_lots",
        "instrument",
        "kind",
        "leaves_lots",
        "order_id",
        "position_lots",
        "price_ticks",
        "quantity_lots",
        "reason",
        "side",
        "target_token",
        "token",
    )

    def __init__(self, report: Any) -> None:
        """From a ``report_event *``."""
        header = report.header
        self.kind: str = _KINDS.get(header.type, str(header.type))
        self.instrument: int = header.instrument
        self.token: int = report.token  # the order's, as buy() and sell() gave it
        self.target_token: int = report.target_token  # of the order that this one replaces
        self.order_id: int = report.order_id
        self.price_ticks: int = report.price_ticks
        self.quantity_lots: int = report.quantity_lots  # of a fill: filled by it
        self.leaves_lots: int = report.leaves_lots
        self.cumulative_lots: int = report.cumulative_lots
        self.position_lots: int = report.position_lots  # of this strategy, after it
        self.side: int = report.side  # BUY or SELL
        self.reason: str = _reason(report)  # why not; empty where it went well

    def __repr__(self) -> str:
        return (
            f"Report({self.kind} token={self.token} {'sell' if self.side else 'buy'} {self.quantity_lots}"
            f"@{self.price_ticks} leaves={self.leaves_lots} position={self.position_lots} {self.reason})"
        )


def _reason(report: Any) -> str:
    if not report.reason:
        return ""
    if report.header.flags & lib.FLAG_REFUSED:
        return enum_names("reject_reason").get(report.reason, str(report.reason)).removeprefix("REJECT_").lower()
    return f"venue code {report.reason}"


class Instrument:
    """One instrument: what it is, its market as of the last event, and what the strategy holds of it."""

    __slots__ = (
        "_market",
        "_position",
        "_ready",
        "_values",
        "index",
        "price_increment_ticks",
        "round_lot_lots",
        "symbol",
        "tick_value_micros",
    )

    def __init__(self, index: int, entry: Any, tables: Any) -> None:
        """`entry` is its ``instrument_entry``, `tables` the ``strategy_host *``."""
        self.index = index
        self.symbol: str = bytes(entry["symbol"]).decode()
        self.price_increment_ticks = int(entry["price_increment_ticks"])  # an order's price is a multiple of it
        self.round_lot_lots = int(entry["round_lot_lots"])
        self.tick_value_micros = int(entry["tick_value_micros"])  # money of one tick of one lot
        self._market = tables.market + index
        self._position = tables.position + index
        self._values = tables.value + index * lib.FEATURES_MAX
        self._ready = tables.ready + index

    def __repr__(self) -> str:
        return f"Instrument({self.symbol}, index {self.index})"

    @property
    def bid_price_ticks(self) -> int:
        """Best bid; 0 when there is none."""
        return self._market.bid_price_ticks  # type: ignore[no-any-return]

    @property
    def ask_price_ticks(self) -> int:
        """Best offer; 0 when there is none."""
        return self._market.ask_price_ticks  # type: ignore[no-any-return]

    @property
    def bid_quantity_lots(self) -> int:
        """Quantity at the best bid."""
        return self._market.bid_quantity_lots  # type: ignore[no-any-return]

    @property
    def ask_quantity_lots(self) -> int:
        """Quantity at the best offer."""
        return self._market.ask_quantity_lots  # type: ignore[no-any-return]

    @property
    def last_price_ticks(self) -> int:
        """Of the last trade; 0 before there was one."""
        return self._market.last_price_ticks  # type: ignore[no-any-return]

    @property
    def two_sided(self) -> bool:
        """Whether there are a bid and an offer, the bid below."""
        market = self._market
        return 0 < market.bid_price_ticks < market.ask_price_ticks  # type: ignore[no-any-return]

    @property
    def mid_ticks(self) -> float:
        """Between the best bid and the best offer; NaN where one of them is missing."""
        market = self._market
        bid, ask = market.bid_price_ticks, market.ask_price_ticks
        return (bid + ask) / 2 if bid and ask else float("nan")

    @property
    def stale(self) -> bool:
        """Whether the book may be wrong: a gap, silence."""
        return bool(self._market.stale)

    @property
    def trading(self) -> bool:
        """Whether the venue has said that it trades."""
        return self._market.state == lib.STATE_TRADING  # type: ignore[no-any-return]

    @property
    def position_lots(self) -> int:
        """What this strategy holds; negative: short."""
        return self._position.position_lots  # type: ignore[no-any-return]

    @property
    def pnl_micros(self) -> float:
        """Money of this run's trades with the position at the mid; NaN without one."""
        position = self._position
        lots = position.bought_lots - position.sold_lots
        return float(position.cash_micros + (lots * self.mid_ticks * self.tick_value_micros if lots else 0))

    def feature(self, name: str) -> float:
        """A feature of ffi/include/feature.h by its name, as "imbalance_top"; NaN until it is ready."""
        return self._values[FEATURES[name]]  # type: ignore[no-any-return]


class Strategy:
    """Derive from it, and override what is of interest. One of `on_event` and `on_batch` is called, by which the
    class has (or [[strategies]] mode says). It has no __init__: what is to be prepared, `on_start` prepares.
    """

    wants: ClassVar[int] = ALL  # which events: TOP | TRADES ...
    defaults: ClassVar[Mapping[str, Any]] = {}  # of the parameters it has, by name
    params: Any  # its parameters as attributes: the defaults, with [[strategies]] params over them

    # ---- what it is told ---------------------------------------------------------------------------

    def on_start(self) -> None:
        """Orders may be sent from here on. After a restart, `open_orders` and `positions` are what was left."""

    def on_event(self, event: Event) -> None:
        """One market event."""

    def on_batch(self, events: npt.NDArray[Any]) -> None:
        """All that came since the last call, oldest first: a read-only structured array, good until it returns."""

    def on_order(self, report: Report) -> None:
        """What became of a request."""

    def on_timer(self, name: str, now_ns: int) -> None:
        """A timer of `set_timer` is due."""

    def on_lost(self, count: int) -> None:
        """It was too slow: `count` market events were overwritten. Depth and features begin anew."""
        self.cancel_all()

    def on_stop(self) -> None:
        """The run ends. Open orders are cancelled after it by the engine."""

    # ---- what it sees ------------------------------------------------------------------------------

    _host: StrategyHost

    @property
    def now_ns(self) -> int:
        """Engine clock, ns since the epoch, as of this call; in a replay the recorded market's time."""
        return self._host.c.now_ns  # type: ignore[no-any-return]

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """Every instrument, in the order of the reference data."""
        return self._host.instruments

    def instrument(self, which: str | int) -> Instrument:
        """An instrument by symbol or index."""
        host = self._host
        try:
            return host.instruments[which] if type(which) is int and which >= 0 else host.by_symbol[which]  # type: ignore[index]
        except (KeyError, IndexError):
            self._nonsense(f"there is no instrument {which!r}")

    @property
    def market(self) -> npt.NDArray[Any]:
        """Top of book and last trade of every instrument: fields of ``strategy_market``, read-only, not a copy."""
        return self._host.market

    @property
    def features(self) -> npt.NDArray[np.float64]:
        """(instruments, features), NaN where unready; FEATURES gives the columns. Read-only, not a copy."""
        return self._host.features

    @property
    def positions(self) -> npt.NDArray[Any]:
        """Position and money of every instrument: fields of ``strategy_position``, read-only, not a copy."""
        return self._host.positions

    @property
    def open_orders(self) -> npt.NDArray[Any]:
        """Orders that may be open: fields of ``strategy_order``, in no order. Read-only, good until the next call."""
        return self._host.open_orders

    def order(self, token: int) -> Order | None:
        """An open order by its token, or that of a replacement under way; None when it is no more. Good until the
        next call."""
        c = self._host.c
        index = lib.host_find(c, token) if token else c.order_count
        return c.order + index if index < c.order_count else None

    def depth(self, instrument: Instrument | str | int, levels: int = 10) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """(bids, offers), best first: price_ticks, quantity_lots, orders. Read-only views, good until the next call."""
        return self._host.depth(self._index(instrument), levels)

    # ---- what it can ask for -----------------------------------------------------------------------

    def buy(
        self, instrument: Instrument | str | int, *, quantity_lots: int, price_ticks: int, time_in_force: str = "day"
    ) -> int:
        """Ask for a buy order. Its token, by which reports name it, or 0: not sent, and `unsent_reason` says why."""
        return self._order(instrument, BUY, quantity_lots, price_ticks, time_in_force)

    def sell(
        self, instrument: Instrument | str | int, *, quantity_lots: int, price_ticks: int, time_in_force: str = "day"
    ) -> int:
        """Ask for a sell order; as `buy`."""
        return self._order(instrument, SELL, quantity_lots, price_ticks, time_in_force)

    def _order(
        self,
        instrument: Instrument | str | int,
        side: int,
        quantity_lots: int,
        price_ticks: int,
        time_in_force: str,
    ) -> int:
        if type(price_ticks) is not int:
            price_ticks = self._whole("price_ticks", price_ticks)
        if type(quantity_lots) is not int:
            quantity_lots = self._whole("quantity_lots", quantity_lots)
        words = TIME_IN_FORCE.get(time_in_force)
        if words is None:
            self._nonsense(f"time_in_force is {time_in_force!r}, not one of {', '.join(TIME_IN_FORCE)}")
        index = instrument.index if type(instrument) is Instrument else self._index(instrument)
        return self._sent(
            lib.host_order(self._host.c, index, side, _bounded(price_ticks), _bounded(quantity_lots), words)
        )

    def replace(self, token: int, *, quantity_lots: int, price_ticks: int) -> int:
        """Ask for an open order at another price, for a quantity that includes what was filled: its new token, or 0."""
        price_ticks, quantity_lots = (
            self._whole("price_ticks", price_ticks),
            self._whole("quantity_lots", quantity_lots),
        )
        return self._sent(
            lib.host_replace(self._host.c, self._token(token), _bounded(price_ticks), _bounded(quantity_lots))
        )

    def cancel(self, token: int) -> bool:
        """Ask for the end of an order; whether that was sent."""
        return bool(self._sent(lib.host_cancel(self._host.c, self._token(token))))

    def cancel_all(self, instrument: Instrument | str | int | None = None) -> bool:
        """Ask for the end of every open order, or of those of one instrument; whether that was sent."""
        index = lib.NO_INSTRUMENT if instrument is None else self._index(instrument)
        return bool(self._sent(lib.host_cancel_all(self._host.c, index)))

    @property
    def unsent_reason(self) -> str:
        """Why the last request was not sent: "ring_full", "orders_max" ...; empty when it was."""
        status = self._host.c.status
        return "" if status == lib.HOST_SENT else enum_names("host_status")[status].removeprefix("HOST_").lower()

    def set_timer(self, name: str, interval_ns: int) -> None:
        """Have `on_timer` called every `interval_ns`, first after one; 0 takes the timer back."""
        interval_ns = self._whole("interval_ns", interval_ns)
        if interval_ns < 0:
            self._nonsense(f"a timer of {interval_ns} ns")
        self._host.set_timer(name, interval_ns)

    # ---- sense -------------------------------------------------------------------------------------

    def _sent(self, token: int) -> int:
        if not token and self._host.c.status >= lib.HOST_BAD_INSTRUMENT:
            self._nonsense(f"a request with a {self.unsent_reason.replace('_', ' ')}")
        return token

    def _index(self, instrument: Instrument | str | int) -> int:
        return instrument.index if type(instrument) is Instrument else self.instrument(instrument).index  # type: ignore[arg-type]

    def _token(self, token: Any) -> int:
        found = self._whole("token", token)
        return found if 0 <= found < 2**63 else 0

    def _whole(self, name: str, value: Any) -> int:
        try:
            if isinstance(value, bool | np.bool_):
                raise TypeError
            return whole(value)
        except TypeError:
            self._nonsense(f"{name} is {value!r}, not a whole number")

    def _nonsense(self, what: str) -> NoReturn:
        error = NonsenseError(what)
        self._host.cut_off(error)
        raise error


def _bounded(value: int) -> int:
    """A number that C can hold; what is too large stays too large."""
    return value if -(2**63) <= value < 2**63 else -1


def strategy_params(found: type[Strategy], given: Mapping[str, Any]) -> SimpleNamespace:
    """The class's defaults with what is configured over them. Raises StrategyError for a name that it does not have."""
    defaults = dict(found.defaults)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        known = (
            f"it has: {', '.join(defaults)}" if defaults else "it has none: name them in the class, defaults = {...}"
        )
        raise StrategyError(f"{found.__name__} has no parameter {', '.join(unknown)}", next_step=known)
    return SimpleNamespace(**{**defaults, **given})
