"""By batch: follow those who trade aggressively, in every instrument at once, with NumPy columns.

    [[strategies]]
    name = "flow"
    account = 2
    strategy = 101
    class = "hotpath.examples.strategies.flow_momentum:FlowMomentum"
    params = { quantity = 100, threshold = 0.6 }

Each instrument has two sums over its trades, both fading by half in `half_life_ns` of market time: lots bought less
lots sold by aggressors, and lots in all. Their ratio in [-1, 1] is the pressure. Past `threshold` it takes the far
touch with an immediate-or-cancel order, until it holds `position_max`; it leaves when the pressure has turned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hotpath.strategy import TRADES, Strategy


class FlowMomentum(Strategy):
    """Take the side of the aggressors."""

    wants = TRADES
    defaults = {
        "quantity": 100,
        "threshold": 0.6,
        "position_max": 300,
        "lots_min": 500,  # of faded volume: less is no pressure
        "half_life_ns": 2_000_000_000,
    }

    def on_start(self) -> None:
        """No trade has been seen."""
        count = len(self.instruments)
        self.signed = np.zeros(count)
        self.volume = np.zeros(count)
        self.faded_ns = 0
        self.batches = 0

    def on_batch(self, events: npt.NDArray[Any]) -> None:
        """Take in the trades, then look at every instrument that had one."""
        self.batches += 1
        self.fade(int(events["origin_time_ns"][-1]))
        lots = events["quantity_lots"]
        np.add.at(self.signed, events["instrument"], lots * events["aggressor"])
        np.add.at(self.volume, events["instrument"], lots * np.abs(events["aggressor"]))
        pressure = np.divide(self.signed, self.volume, out=np.zeros_like(self.signed), where=self.volume > 0)
        pressure[self.volume < self.params.lots_min] = 0
        traded = np.unique(events["instrument"])
        held = self.positions["position_lots"][traded]
        want = np.where(np.abs(pressure[traded]) >= self.params.threshold, np.sign(pressure[traded]), 0)
        for index, direction, position in zip(traded.tolist(), want.tolist(), held.tolist(), strict=True):
            self.trade(index, int(direction), position)

    def fade(self, now_ns: int) -> None:
        """Both sums lose half in each half life."""
        kept = 0.5 ** (max(0, now_ns - self.faded_ns) / self.params.half_life_ns)
        self.signed *= kept
        self.volume *= kept
        self.faded_ns = now_ns

    def trade(self, index: int, direction: int, position: int) -> None:
        """Buy or sell at the far touch; at most one order of an instrument is under way."""
        instrument = self.instrument(index)
        turned = position and direction == -np.sign(position)
        if not direction or (not turned and abs(position) >= self.params.position_max) or not instrument.two_sided:
            return
        if np.any(self.open_orders["instrument"] == index):
            return
        if direction > 0:
            price = instrument.ask_price_ticks
            self.buy(instrument, quantity_lots=self.params.quantity, price_ticks=price, time_in_force="ioc")
        else:
            price = instrument.bid_price_ticks
            self.sell(instrument, quantity_lots=self.params.quantity, price_ticks=price, time_in_force="ioc")
