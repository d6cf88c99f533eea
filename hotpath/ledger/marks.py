"""Reference prices out of market events: what the risk gate holds positions against (gate.c, reference_price)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import lib

PRINTS = (lib.NORM_EXECUTE, lib.NORM_EXECUTE_PRICE, lib.NORM_TRADE, lib.NORM_CROSS)


class Marks:
    """Last fresh best bid, best offer and trade of each instrument. Ticks; 0: there is none."""

    def __init__(self, instruments: int) -> None:
        self._bid = np.zeros(instruments, np.int64)
        self._ask = np.zeros(instruments, np.int64)
        self._trade = np.zeros(instruments, np.int64)

    def apply(self, events: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Take over ``norm_event`` rows, in the order of their ring. Returns the instruments that they told of."""
        header = events["header"]
        chosen = (header["instrument"] < len(self._bid)) & (header["flags"] & lib.FLAG_STALE == 0)
        fresh = events[chosen]
        instrument = fresh["header"]["instrument"]
        self._bid[instrument] = fresh["bid_price_ticks"]  # of an index that comes twice, the last value stays
        self._ask[instrument] = fresh["ask_price_ticks"]
        printed = np.isin(fresh["header"]["type"], PRINTS) & (fresh["price_ticks"] > 0)
        self._trade[instrument[printed]] = fresh["price_ticks"][printed]
        told = np.zeros(len(self._bid), bool)
        told[instrument] = True
        return np.flatnonzero(told)

    def set(self, instrument: int, *, bid_ticks: int, ask_ticks: int, trade_ticks: int) -> None:
        """Take up where other marks stood."""
        self._bid[instrument], self._ask[instrument], self._trade[instrument] = bid_ticks, ask_ticks, trade_ticks

    def sides(self, instrument: int) -> tuple[int, int, int]:
        """Bid, offer and trade as they stand."""
        return int(self._bid[instrument]), int(self._ask[instrument]), int(self._trade[instrument])

    def price_ticks(self, instrument: int) -> int:
        """Middle of the best prices, else the one there is, else the last trade; 0: there is none."""
        bid, ask = int(self._bid[instrument]), int(self._ask[instrument])
        if bid and ask:
            return (bid + ask) // 2
        return bid or ask or int(self._trade[instrument])

    def all_ticks(self) -> npt.NDArray[np.int64]:
        """The same for every instrument."""
        both = (self._bid != 0) & (self._ask != 0)
        one = np.where(self._bid != 0, self._bid, np.where(self._ask != 0, self._ask, self._trade))
        return np.where(both, (self._bid + self._ask) // 2, one)
