"""A foreign program beside a hotpath engine: joins the best bid of one instrument and follows it.

    python -m hotpath.examples.coprocess.quoter ENGINE SEAT SYMBOL QUANTITY SECONDS

    no order --buy at the bid--> asked --accepted--> resting --the bid has moved--> replaced
       ^                                                |
       +----------------- filled, refused, canceled ----+

The same as quoter.c, call for call. Prints a line for each report, and at the end what it holds. The seat is
declared in the engine's configuration:

    [[coprocesses]]
    name = "quoter"
    account = 2
    strategy = 100
"""

from __future__ import annotations

import sys
from typing import Any

from ffi import lib
from hotpath.coprocess import Coprocess, name_of, reason_of
from hotpath.errors import HotpathError, SeatCutError, SeatFullError


class Quoter:
    """One resting buy order at the best bid."""

    def __init__(self, seat: Coprocess, symbol: str, quantity_lots: int) -> None:
        self.seat = seat
        self.instrument = seat.index_of(symbol)
        self.quantity_lots = quantity_lots
        self.order = next(iter(seat.orders), 0)  # token of the order that rests: the snapshot's, if there is one
        self.asked = 0  # token of what is under way

    def follow(self, report: Any) -> None:
        """What the engine says of our orders; the seat itself keeps `orders` and `positions`."""
        token = int(report["token"])
        print(name_of(report), "token", token, "leaves", report["leaves_lots"], reason_of(report), flush=True)
        if token == self.asked and name_of(report) != "fill":
            self.asked = 0
        if name_of(report) in ("accepted", "replaced"):
            self.order = token
        if self.order not in self.seat.orders:
            self.order = 0

    def quote(self, event: Any) -> None:
        """One market event: quote where there is no order, follow the bid where it has moved."""
        header = event["header"]
        if header["instrument"] != self.instrument or header["flags"] & lib.FLAG_STALE:
            return
        bid = int(event["bid_price_ticks"])
        if not bid or not event["ask_price_ticks"] or self.asked:
            return
        try:
            if not self.order:
                self.asked = self.seat.buy(
                    self.instrument, quantity_lots=self.quantity_lots, price_ticks=bid, cause=event
                )
            elif int(self.seat.orders[self.order]["price_ticks"]) != bid:
                self.asked = self.seat.replace(
                    self.order, quantity_lots=self.quantity_lots, price_ticks=bid, cause=event
                )
        except SeatFullError:
            return  # the next event tries again

    def run(self, end_ns: int) -> None:
        """Until that instant of the engine's clock. Raises SeatCutError when the engine cuts the seat off."""
        while self.seat.now_ns < end_ns:
            for report in self.seat.reports():  # says that we live, too
                self.follow(report)
            for event in self.seat.market.copy(64):
                self.quote(event)


def main(engine: str, name: str, symbol: str, quantity: str, seconds: str) -> int:
    """The program; its exit code."""
    try:
        with Coprocess(engine, name) as seat:
            quoter = Quoter(seat, symbol, int(quantity))
            quoter.run(seat.now_ns + round(float(seconds) * 1e9))
            print("position", seat.positions.get(quoter.instrument, 0), "lost", seat.market.lost_count)
    except SeatCutError as error:
        print(error, file=sys.stderr)
        return 75
    except HotpathError as error:
        print(error, error.next_step, sep="\n", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 6:
        print("usage: python -m hotpath.examples.coprocess.quoter ENGINE SEAT SYMBOL QUANTITY SECONDS", file=sys.stderr)
        sys.exit(64)
    sys.exit(main(*sys.argv[1:]))
