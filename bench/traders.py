"""Strategies that the bench runs: one rule three ways, and one that does what it can to be in the way.

The rule: at a change of the best prices or quantities, take the far touch where the top leans past `threshold`.
"""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hotpath.strategy import TOP, Strategy

PATH = Path(__file__)
NEVER = 2.0  # a threshold that no lean passes


class ByEvent(Strategy):
    """The rule, an event at a time."""

    wants = TOP
    defaults: ClassVar[dict[str, Any]] = {"threshold": 0.5}

    def on_start(self) -> None:
        """The threshold as a plain attribute: it is read at every event."""
        self.threshold = self.params.threshold

    def on_event(self, event: Any) -> None:
        """Look, and ask."""
        bid, ask = event.bid_quantity_lots, event.ask_quantity_lots
        if not bid or not ask:
            return
        lean = (bid - ask) / (bid + ask)
        if lean > self.threshold:
            self.buy(event.instrument, quantity_lots=1, price_ticks=event.ask_price_ticks, time_in_force="ioc")
        elif lean < -self.threshold:
            self.sell(event.instrument, quantity_lots=1, price_ticks=event.bid_price_ticks, time_in_force="ioc")


class ByBatch(ByEvent):
    """The rule over columns."""

    on_event = Strategy.on_event

    def on_batch(self, events: npt.NDArray[Any]) -> None:
        """One look at all of them; then one request for each that passed."""
        bid, ask = events["bid_quantity_lots"], events["ask_quantity_lots"]
        lean = (bid - ask) / np.maximum(bid + ask, 1)
        passed = np.abs(lean) > self.threshold
        passed &= (bid > 0) & (ask > 0)
        if not passed.any():
            return
        for event, buying in zip(events[passed].tolist(), (lean[passed] > 0).tolist(), strict=True):
            fields = dict(zip(events.dtype.names or (), event, strict=True))
            price = fields["ask_price_ticks" if buying else "bid_price_ticks"]
            send = self.buy if buying else self.sell
            send(fields["instrument"], quantity_lots=1, price_ticks=price, time_in_force="ioc")


class OnlyTold(Strategy):
    """Is told of each event and does nothing: what the call itself costs."""

    wants = TOP

    def on_event(self, event: Any) -> None:
        """Nothing."""


class OnlyToldBatch(Strategy):
    """The same, a batch at a time."""

    wants = TOP

    def on_batch(self, events: npt.NDArray[Any]) -> None:
        """Nothing."""


class NotTold(Strategy):
    """Wants no event: what keeping its tables costs."""

    wants = 0


class Hog(Strategy):
    """Holds the interpreter in a second thread and collects garbage in the first."""

    wants = TOP

    def on_start(self) -> None:
        """Begin."""
        self.cycles: list[Any] = []
        self.set_timer("garbage", 1_000_000)
        threading.Thread(target=self.spin, daemon=True).start()

    def spin(self) -> None:
        """Never let go of the GIL but when the interpreter takes it."""
        number = 0
        while True:
            number += 1

    def on_event(self, event: Any) -> None:
        """Garbage for the collector: cycles."""
        cycle: list[Any] = [event.sequence]
        cycle.append(cycle)

    def on_timer(self, name: str, now_ns: int) -> None:
        """Collect it."""
        gc.collect()
