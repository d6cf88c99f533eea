"""One instrument's generated day in the forms that other engines take, from the same ITCH bytes.

    ITCH file --a plain Python book--> every level that changed     (L2, for hftbacktest)
                                  '--> every top that changed       (quotes, for NautilusTrader)
                                  '--> the orders of the rule       (what every engine must send)

This book shares nothing with hotpath's: it is the referee. Making these is not timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.harness import Options, flow_file
from hotpath.captures import itch_messages

THRESHOLD, QUIET_NS = 0.9, 200_000  # of bench/peers/lean.py
RULE = f"lean-{THRESHOLD}-{QUIET_NS}"
LIVE_ORDERS = 120  # so few that the top leans one way and the other
BUY, SELL = 1, -1

LEVEL = np.dtype([(name, "i8") for name in ("number", "time_ns", "side", "price", "quantity")])
QUOTE = np.dtype([("time_ns", "i8"), *((name, "i8") for name in ("bid", "ask", "bid_quantity", "ask_quantity"))])
ORDER = np.dtype([("time_ns", "i8"), ("side", "i8"), ("price", "i8")])


@dataclass(frozen=True)
class Day:
    """Files of one day, `messages` of them; the `number` of a level is that of the message that changed it."""

    itch: Path
    levels: Path
    quotes: Path
    orders: Path
    messages: int


def day(options: Options, *, messages: int) -> Day:
    """The day and its other forms, made once."""
    itch = flow_file(messages=messages, instruments=1, live_orders=min(LIVE_ORDERS, messages // 10))
    levels, quotes, orders = (itch.with_suffix(f".{RULE}.{name}.npy") for name in ("levels", "quotes", "orders"))
    made = Day(itch, levels, quotes, orders, messages)
    if not made.orders.exists():
        referee = Referee()
        for message in itch_messages(itch):
            referee.see(message)
        np.save(made.levels, np.array(referee.levels, LEVEL))
        np.save(made.quotes, np.array(referee.quotes, QUOTE))
        np.save(made.orders, np.array(referee.orders, ORDER))
    return made


class Referee:
    """A book of dictionaries, and the rule."""

    def __init__(self) -> None:
        self.levels: list[tuple[int, int, int, int, int]] = []
        self.quotes: list[tuple[int, int, int, int, int]] = []
        self.orders: list[tuple[int, int, int]] = []
        self.live: dict[int, tuple[int, int, int]] = {}
        self.at: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
        self.heaps: dict[int, list[int]] = {BUY: [], SELL: []}
        self.top = (0, 0, 0, 0)
        self.leaned = self.ordered_ns = 0
        self.number = 0

    def see(self, wire: bytes) -> None:
        """One message: what it changes, then what the rule says."""
        self.number += 1
        kind, number, before = wire[:1], int.from_bytes(wire[11:19], "big"), len(self.levels)
        time_ns = int.from_bytes(wire[5:11], "big")
        if kind in b"AF":
            side = BUY if wire[19:20] == b"B" else SELL
            self.add(time_ns, number, side, int.from_bytes(wire[32:36], "big"), int.from_bytes(wire[20:24], "big"))
        elif kind in b"ECX":
            self.reduce(time_ns, number, int.from_bytes(wire[19:23], "big"))
        elif kind == b"D":
            self.reduce(time_ns, number, self.live[number][2])
        elif kind == b"U":
            side = self.live[number][0]
            self.reduce(time_ns, number, self.live[number][2])
            new, shares = int.from_bytes(wire[19:27], "big"), int.from_bytes(wire[27:31], "big")
            self.add(time_ns, new, side, int.from_bytes(wire[31:35], "big"), shares)
        if len(self.levels) > before:
            self.quote(time_ns)

    def add(self, time_ns: int, number: int, side: int, price: int, quantity: int) -> None:
        """An order comes to rest."""
        self.live[number] = side, price, quantity
        if price not in self.at[side]:
            heappush(self.heaps[side], -side * price)
        self.change(time_ns, side, price, quantity)

    def reduce(self, time_ns: int, number: int, quantity: int) -> None:
        """Some or all of an order goes."""
        side, price, resting = self.live.pop(number)
        if resting > quantity:
            self.live[number] = side, price, resting - quantity
        self.change(time_ns, side, price, -quantity)

    def change(self, time_ns: int, side: int, price: int, by: int) -> None:
        """A level's new quantity."""
        quantity = self.at[side].get(price, 0) + by
        if quantity:
            self.at[side][price] = quantity
        else:
            del self.at[side][price]
        self.levels.append((self.number, time_ns, side, price, quantity))

    def best(self, side: int) -> tuple[int, int]:
        """Price and quantity; 0 where there is none."""
        heap, at = self.heaps[side], self.at[side]
        while heap and -side * heap[0] not in at:
            heappop(heap)
        price = -side * heap[0] if heap else 0
        return price, at.get(price, 0)

    def quote(self, time_ns: int) -> None:
        """A quote where a two-sided top changed; an order where it leans anew."""
        (bid, bid_quantity), (ask, ask_quantity) = self.best(BUY), self.best(SELL)
        if (bid, ask, bid_quantity, ask_quantity) == self.top:
            return
        self.top = bid, ask, bid_quantity, ask_quantity
        if not bid_quantity or not ask_quantity:
            return
        self.quotes.append((time_ns, *self.top))
        lean = (bid_quantity - ask_quantity) / (bid_quantity + ask_quantity)
        side = BUY if lean > THRESHOLD else SELL if lean < -THRESHOLD else 0
        if side and side != self.leaned and time_ns - self.ordered_ns >= QUIET_NS:
            self.ordered_ns = time_ns
            self.orders.append((time_ns, side, ask if side == BUY else bid))
        self.leaned = side


def same_orders(day_of: Day, sent: list[Any], who: str) -> str:
    """That an engine sent what the rule says. Raises ValueError; says how many there were."""
    wanted: npt.NDArray[Any] = np.load(day_of.orders)
    found = np.array([tuple(each) for each in sent], ORDER)
    if not np.array_equal(wanted, found):
        common = min(len(wanted), len(found))
        differ = np.flatnonzero(wanted[:common] != found[:common])
        where = int(differ[0]) if len(differ) else common
        raise ValueError(
            f"{who} sent {len(found)} orders, the rule {len(wanted)}; the first that differs is number {where}: "
            f"{found[where : where + 2]} in place of {wanted[where : where + 2]}"
        )
    return f"{len(found):,} orders equal"
