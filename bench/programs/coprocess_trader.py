"""The same as coprocess_trader.c, in Python: an order for every EVERYth market event, and when it was told of.

python -m bench.programs.coprocess_trader ENGINE SEAT ORDERS EVERY FILE
"""

from __future__ import annotations

import gc
import json
import sys

import numpy as np

from hotpath.coprocess import Coprocess

TRIP = np.dtype([(name, "u8") for name in ("order_id", "market_time_ns", "sent_time_ns", "told_time_ns")])


def main(engine: str, name: str, orders: int, every: int, path: str) -> int:
    """Trade; the records as the C program writes them."""
    trips = np.zeros(orders, TRIP)
    order_id, market, sent, told = (trips[field] for field in TRIP.names or ())
    answered = 0
    with Coprocess(engine, name) as seat:
        gc.collect()
        gc.disable()
        while answered < orders:
            for report in seat.reports():
                token = int(report["token"])
                if 0 < token <= orders and not told[token - 1]:
                    told[token - 1] = seat.now_ns
                    order_id[token - 1] = report["order_id"]
                    answered += 1
            events = seat.market.copy(64)
            chosen = (events["header"]["stamp"] % every == 0) & (events["header"]["instrument"] < len(seat.symbols))
            for event in events[chosen & (events["bid_price_ticks"] > 0) & (events["ask_price_ticks"] > 0)]:
                if seat.token >= orders:
                    break
                now_ns, price = seat.now_ns, int(event["bid_price_ticks"])
                token = seat.buy(
                    int(event["header"]["instrument"]), quantity_lots=1, price_ticks=price, time_in_force="ioc"
                )
                market[token - 1], sent[token - 1] = event["header"]["publish_time_ns"], now_ns
        lost = seat.market.lost_count
    trips.tofile(path)
    print(json.dumps({"answered": answered, "lost": lost, "cut": 0}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
