"""By event: a market maker that joins the touch on both sides, and leans against what it holds.

    [[strategies]]
    name = "maker"
    account = 2
    strategy = 100
    class = "hotpath.examples.strategies.market_maker:MarketMaker"
    params = { quantity = 100, position_max = 500, skew_increments = 3 }

For each instrument it keeps one bid and one offer. A fair price stands at the mid, moved against the position by up to
`skew_increments` price increments at `position_max`; no bid is above fair, no offer below, and neither is better than
the touch. A side that would take the position past `position_max` is not quoted. A quote that is no longer where it
should be is replaced; it then waits at the back of a new queue, so it moves only when the wanted price does.
"""

from __future__ import annotations

from hotpath.strategy import BUY, SELL, TOP, Event, Instrument, Report, Strategy


class MarketMaker(Strategy):
    """One bid and one offer in each instrument, skewed by inventory."""

    wants = TOP
    defaults = {"quantity": 100, "position_max": 500, "skew_increments": 3}

    def on_start(self) -> None:
        """No quote is out; what an earlier life left open is cancelled."""
        self.quotes: dict[tuple[int, int], int] = {}  # (instrument, side): token of the order
        self.fills = 0
        if len(self.open_orders):
            self.cancel_all()

    def on_event(self, event: Event) -> None:
        """The touch moved: quotes follow it."""
        instrument = self.instrument(event.instrument)
        if event.stale or not instrument.two_sided:
            self.withdraw(instrument)
            return
        bid, offer = self.prices(instrument, event.bid_price_ticks, event.ask_price_ticks)
        position, most = instrument.position_lots, self.params.position_max
        self.quote(instrument, BUY, bid if position + self.params.quantity <= most else 0)
        self.quote(instrument, SELL, offer if position - self.params.quantity >= -most else 0)

    def prices(self, instrument: Instrument, best_bid: int, best_offer: int) -> tuple[int, int]:
        """(bid, offer) in whole increments: at the touch or behind it."""
        step = instrument.price_increment_ticks
        lean = instrument.position_lots / self.params.position_max * self.params.skew_increments * step
        fair = (best_bid + best_offer) / 2 - lean
        return min(best_bid, int(fair // step) * step), max(best_offer, int(-(-fair // step)) * step)

    def quote(self, instrument: Instrument, side: int, price_ticks: int) -> None:
        """Have one order of this side at this price; 0: none."""
        key = (instrument.index, side)
        token = self.quotes.get(key, 0)
        order = self.order(token)
        if order is None:
            if price_ticks:
                place = self.buy if side == BUY else self.sell
                self.quotes[key] = place(instrument, quantity_lots=self.params.quantity, price_ticks=price_ticks)
        elif order.replace_token or order.canceling or order.price_ticks == price_ticks:
            return  # a request is under way, or all is well
        elif price_ticks:
            self.replace(token, quantity_lots=order.filled_lots + self.params.quantity, price_ticks=price_ticks)
        else:
            self.cancel(token)

    def withdraw(self, instrument: Instrument) -> None:
        """Nothing of ours rests in a market that cannot be seen."""
        for side in (BUY, SELL):
            self.quote(instrument, side, 0)

    def on_order(self, report: Report) -> None:
        """A replaced quote goes on under its new token."""
        if report.kind == "replaced":
            self.quotes[report.instrument, report.side] = report.token
        self.fills += report.kind == "fill"
