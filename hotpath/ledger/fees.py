"""What a venue asks for an execution: per lot and per value, for those who make and those who take, and on sales.

fee = lots x micros_per_lot + value x ppb / 1,000,000,000      to the nearest micro, half to even; below 0: a rebate
"""

from __future__ import annotations

from collections.abc import Mapping

from ffi import lib
from ffi.dtypes import enum_names
from hotpath.config import FeeConfig
from hotpath.config_types import FeeVenue
from hotpath.ledger.position import round_half_even

BILLION = 1_000_000_000


def venue_name(kind: int) -> str:
    """Of ``enum venue_kind``, as the configuration names it: "paper", "ouch50", "ouch42"."""
    return enum_names("venue_kind").get(kind, str(kind)).removeprefix("VENUE_").lower()


class FeeBook:
    """The schedules of every venue; a venue without one has that named "default", or none."""

    def __init__(self, schedules: Mapping[FeeVenue, FeeConfig] | None = None) -> None:
        self._schedules: dict[str, FeeConfig] = {str(name): each for name, each in (schedules or {}).items()}
        self._by_kind: dict[int, FeeConfig | None] = {}

    def schedule(self, venue: int) -> FeeConfig | None:
        """By ``enum venue_kind``; None where nothing is asked."""
        if venue not in self._by_kind:
            self._by_kind[venue] = self._schedules.get(venue_name(venue)) or self._schedules.get("default")
        return self._by_kind[venue]

    def fee_micros(self, *, venue: int, side: int, lots: int, value_micros: int, liquidity: int) -> int:
        """Of one execution. `lots` and `value_micros` are above 0 on both sides; `liquidity`: the venue's flag."""
        schedule = self.schedule(venue)
        if schedule is None:
            return 0
        maker = chr(liquidity) in schedule.maker_flags if liquidity else False
        per_lot = schedule.maker_micros_per_lot if maker else schedule.taker_micros_per_lot
        ppb = schedule.maker_ppb if maker else schedule.taker_ppb
        if side == lib.SIDE_SELL:
            per_lot += schedule.sell_micros_per_lot
            ppb += schedule.sell_ppb
        return lots * per_lot + (round_half_even(value_micros * ppb, BILLION) if ppb else 0)
