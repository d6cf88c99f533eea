"""A foreign program for tests: rests orders below the market from a seat, and prints what it was told.

    python -m tests.support.trader ENGINE SEAT ORDERS [hold]

One line of JSON when it has attached, one when its orders were answered. `hold`: then it stays, alive.
"""

from __future__ import annotations

import json
import sys
import time

from hotpath.coprocess import Coprocess, name_of

TICKS_BELOW = 500
STEP_TICKS = 100
PATIENCE_SECONDS = 10.0


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def trade(seat: Coprocess, orders: int) -> list[str]:
    """Send so many orders, each for an event of the market; what was told of them."""
    told: list[str] = []
    sent = 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while told.count("accepted") + told.count("refused") < orders and time.monotonic() < deadline:
        for event in seat.market.copy(64):
            instrument, bid = int(event["header"]["instrument"]), int(event["bid_price_ticks"])
            if sent < orders and instrument < len(seat.symbols) and bid and event["ask_price_ticks"]:
                price = bid - TICKS_BELOW
                seat.buy(instrument, quantity_lots=10, price_ticks=price - price % STEP_TICKS, cause=event)
                sent += 1
        told += [name_of(report) for report in seat.reports()]
        time.sleep(0.0005)
    return told


def main(engine: str, name: str, orders: int, hold: bool) -> int:
    with Coprocess(engine, name) as seat:
        say(
            orders=sorted(seat.orders), positions={str(i): lots for i, lots in seat.positions.items()}, token=seat.token
        )
        told = trade(seat, orders)
        say(told={kind: told.count(kind) for kind in sorted(set(told))}, orders=sorted(seat.orders))
        while hold:
            seat.reports()
            time.sleep(0.002)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "hold" in sys.argv))
