"""A foreign program: trades on a seat until it is ended, and prints what it was told.

    python -m tests.support.trader ENGINE SEAT ORDERS [hold]

One line of JSON when it has attached, one when it has sent its orders. `hold`: then it stays, silent but alive.
"""

from __future__ import annotations

import json
import sys
import time

from ffi import lib
from hotpath.coprocess import Coprocess, name_of

REST_TICKS_BELOW = 500


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main(engine: str, name: str, orders: int, hold: bool) -> int:
    told: list[str] = []
    with Coprocess(engine, name) as seat:
        say(attached=sorted(seat.orders), positions={str(k): v for k, v in seat.positions.items()}, token=seat.token)
        sent = 0
        while sent < orders:
            for event in seat.market.copy(64):
                instrument = int(event["header"]["instrument"])
                bid = int(event["bid_price_ticks"])
                if instrument < len(seat.symbols) and bid and event["ask_price_ticks"] and sent < orders:
                    price = bid - bid % 100 - REST_TICKS_BELOW * 100 // 100
                    price -= price % 100
                    seat.buy(instrument, quantity_lots=10, price_ticks=price, cause=event)
                    sent += 1
            told += [name_of(report) for report in seat.reports()]
            time.sleep(0.0005)
        deadline = time.monotonic() + 5
        while told.count("accepted") + told.count("refused") < orders and time.monotonic() < deadline:
            told += [name_of(report) for report in seat.reports()]
            time.sleep(0.001)
        say(told={kind: told.count(kind) for kind in sorted(set(told))}, open=sorted(seat.orders))
        while hold:
            seat.reports()
            time.sleep(0.002)
    return 0


if __name__ == "__main__":
    assert lib.SEATS_MAX
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "hold" in sys.argv))
