"""Events of every ring, for people and for machines: names instead of numbers, prices instead of ticks.

a slot + its ring, symbol and tick value  -->  one aligned line, or one dictionary
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import lib
from ffi.dtypes import dtype_of, enum_names, flag_names
from hotpath.journal import event_type

RESET, BOLD, DIM = "\x1b[0m", "\x1b[1m", "\x1b[2m"
RED, GREEN, YELLOW, CYAN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"
RING_COLOUR = {"norm": DIM, "intake": CYAN, "signal": CYAN, "cmd": YELLOW, "exec": BOLD, "reject": RED}
LOUD = {
    "gap": RED,
    "silent": RED,
    "whole": GREEN,
    "fill": GREEN,
    "rejected": RED,
    "refused": RED,
    "unknown": RED,
    "cut": RED,
}
NO_PRICE = "-"
SIDED = range(lib.NORM_ADD, lib.NORM_REPLACE + 1)  # events of an order, whose side is known
MICROS = 1_000_000

Paint = Callable[[str, str], str]  # text, colour -> text


@cache
def type_words() -> dict[int, str]:
    """What an event is called on screen, by its type: 16 is "add"."""
    names = enum_names("event_type")
    return {value: name.partition("_")[2].lower() for value, name in names.items() if value}


@cache
def type_names() -> dict[int, str]:
    """The whole name in lower case: 16 is "norm_add"."""
    return {value: name.lower() for value, name in enum_names("event_type").items() if value}


def types_named(words: Iterable[str]) -> set[int]:
    """Types by short or whole name, as "fill" or "exec_fill". Raises KeyError with the word that names none."""
    found: set[int] = set()
    for word in words:
        wanted = word.strip().lower().replace("-", "_")
        matches = {value for value, name in type_words().items() if name == wanted}
        matches |= {value for value, name in type_names().items() if name == wanted}
        if not matches:
            raise KeyError(word)
        found |= matches
    return found


@dataclass(frozen=True)
class Seen:
    """One event as an onlooker has it."""

    ring: str
    symbol: str
    tick_value_micros: int
    slot: npt.NDArray[Any]  # one element, of the ring's own struct

    @property
    def sequence(self) -> int:
        """In its ring."""
        return int(self.slot["header"]["stamp"]) - 1

    @property
    def type(self) -> int:
        """``enum event_type``."""
        return int(self.slot["header"]["type"])

    @property
    def time_ns(self) -> int:
        """When it was published; engine clock."""
        return int(self.slot["header"]["publish_time_ns"])


def slots_of(ring: str, data: bytes) -> npt.NDArray[Any]:
    """Slots as they lie in a ring, as an array of the ring's struct."""
    return np.frombuffer(data, dtype_of(event_type(ring)))


def price_text(ticks: int, tick_value_micros: int) -> str:
    """Money of one lot, with as many decimals as a tick needs; in ticks where their value is not known."""
    if tick_value_micros <= 0:
        return f"{ticks}t"
    decimals = 6
    while decimals > 2 and tick_value_micros % 10 ** (7 - decimals) == 0:
        decimals -= 1
    micros = ticks * tick_value_micros
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    whole, part = divmod(micros, MICROS)
    return f"{sign}{whole}.{part:06d}"[: len(sign) + len(str(whole)) + 1 + decimals]


def time_text(time_ns: int) -> str:
    """Time of day here, to the microsecond."""
    local = time.localtime(time_ns // 1_000_000_000)
    return f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}.{time_ns // 1000 % MICROS:06d}"


# ---- for machines -----------------------------------------------------------------------------------


def as_dictionary(seen: Seen) -> dict[str, Any]:
    """Every field by its name, unit last; prices in money as well, names where numbers stand for them."""
    found: dict[str, Any] = {
        "ring": seen.ring,
        "sequence": seen.sequence,
        "type": type_names().get(seen.type, str(seen.type)),
        "symbol": seen.symbol,
    }
    for name in _fields(seen.slot.dtype, skip=("header",)):
        value = seen.slot[name]
        found[name] = (
            value.tolist() if value.dtype.names is None else dict(zip(value.dtype.names, value.tolist(), strict=True))
        )
        if name.endswith("price_ticks"):
            found[name.removesuffix("_ticks")] = price_text(int(value), seen.tick_value_micros)
    header = seen.slot["header"]
    for name in ("cause_sequence", "origin_time_ns", "ingress_time_ns", "publish_time_ns"):
        found[name] = int(header[name])
    found["flags"] = [name.removeprefix("FLAG_").lower() for name in flag_names("event_flag", int(header["flags"]))]
    if "side" in found:
        found["side"] = _side(int(found["side"]))
    elif seen.ring == "norm" and seen.type in SIDED:
        found["side"] = "sell" if header["flags"] & lib.FLAG_SELL else "buy"
    return found


def _fields(dtype: np.dtype[Any], *, skip: tuple[str, ...]) -> list[str]:
    return [name for name in dtype.names or () if name not in skip and not name.startswith("reserved")]


# ---- for people --------------------------------------------------------------------------------------


def as_line(seen: Seen, paint: Paint) -> str:
    """Time, ring, symbol, what happened; columns aligned for symbols of up to eight letters."""
    word = type_words().get(seen.type, str(seen.type))
    colour = LOUD.get(word, RING_COLOUR.get(seen.ring, ""))
    details = _DETAILS.get(seen.ring, _norm_details)(seen, paint)
    return (
        f"{paint(time_text(seen.time_ns), DIM)} {paint(f'{seen.ring:<6}', RING_COLOUR.get(seen.ring, ''))} "
        f"{seen.symbol:<8} {paint(f'{word:<14}', colour)} {details}"
    )


def _side(side: int) -> str:
    return "sell" if side == lib.SIDE_SELL else "buy"


def _painted_side(side: int, paint: Paint) -> str:
    return paint("sell", RED) if side == lib.SIDE_SELL else paint("buy ", GREEN)


def _at(seen: Seen, side: int | None, paint: Paint) -> str:
    """ "buy  100 @ 585.33"."""
    slot = seen.slot
    shown = f"{_painted_side(side, paint)} " if side is not None else ""
    return (
        f"{shown}{int(slot['quantity_lots']):>6} @ {price_text(int(slot['price_ticks']), seen.tick_value_micros):<10}"
    )


def _top(seen: Seen) -> str:
    """ "585.33 x 100 | 585.40 x 200": the best bid and offer."""

    def quote(side: str) -> str:
        quantity = int(seen.slot[f"{side}_quantity_lots"])
        price = price_text(int(seen.slot[f"{side}_price_ticks"]), seen.tick_value_micros) if quantity else NO_PRICE
        return f"{price} x {quantity}"

    return f"{quote('bid')} | {quote('ask')}"


def _norm_details(seen: Seen, paint: Paint) -> str:
    slot, kind = seen.slot, seen.type
    flags = int(slot["header"]["flags"])
    stale = f" {paint('stale', RED)}" if flags & lib.FLAG_STALE else ""
    if kind == lib.NORM_GAP:
        return f"{int(slot['quantity_lots'])} messages missing{stale}"
    if kind in (lib.NORM_STATUS, lib.NORM_OPERATIONAL):
        state = enum_names("trading_state").get(int(slot["order_ref"]), "?")
        return state.removeprefix("STATE_").lower() + stale
    if kind == lib.NORM_SYSTEM:
        return f"event {chr(int(slot['order_ref']) & 0x7F)}{stale}"
    if kind < lib.NORM_ADD or kind > lib.NORM_TRADE:
        return stale.strip()
    side = lib.SIDE_SELL if flags & lib.FLAG_SELL else lib.SIDE_BUY
    order = f"order {int(slot['order_ref'])}" if slot["order_ref"] else ""
    return f"{_at(seen, side if kind in SIDED else None, paint)} {paint(f'{order:<18}', DIM)} {_top(seen)}{stale}"


def _signal_details(seen: Seen, paint: Paint) -> str:
    slot = seen.slot
    if seen.type == lib.SIGNAL_CANCEL:
        return f"order {int(slot['target_order_id'])}"
    target = f" for order {int(slot['target_order_id'])}" if seen.type == lib.SIGNAL_REPLACE else ""
    return f"{_at(seen, int(slot['side']), paint)} score {float(slot['score']):+.3f}{target}"


def _cmd_details(seen: Seen, paint: Paint) -> str:
    slot = seen.slot
    order = f"order {int(slot['order_id'])}"
    if seen.type == lib.CMD_CANCEL:
        return f"{order} cancels {int(slot['target_order_id'])}"
    target = f" replaces {int(slot['target_order_id'])}" if seen.type == lib.CMD_REPLACE else ""
    return f"{_at(seen, int(slot['side']), paint)} {order}{target}"


def _exec_details(seen: Seen, paint: Paint) -> str:
    slot = seen.slot
    if seen.type in (lib.EXEC_SESSION_UP, lib.EXEC_SESSION_DOWN):
        return f"session {int(slot['session'])}"
    parts = [_at(seen, int(slot["side"]), paint), f"order {int(slot['order_id'])}"]
    if slot["target_order_id"]:
        parts.append(f"was {int(slot['target_order_id'])}")
    if seen.type == lib.EXEC_FILL:
        parts.append(f"leaves {int(slot['leaves_lots'])}, match {int(slot['match_id'])}")
    if slot["reason"]:
        parts.append(_reason(seen))
    return " ".join(parts)


def _reason(seen: Seen) -> str:
    """Our own reasons by name; the venue's are letters or numbers."""
    reason = int(seen.slot["reason"])
    if seen.ring == "reject" or seen.type == lib.EXEC_REFUSED:
        return enum_names("reject_reason").get(reason, str(reason)).removeprefix("REJECT_").lower()
    return f"reason {chr(reason) if 0x20 < reason < 0x7F else reason}"


def _intake_details(seen: Seen, paint: Paint) -> str:
    slot = seen.slot
    seat = f"seat {int(slot['seat'])}"
    if seen.type in (lib.REQUEST_NEW, lib.REQUEST_REPLACE):
        target = f" replaces {int(slot['target_token'])}" if seen.type == lib.REQUEST_REPLACE else ""
        return f"{_at(seen, int(slot['side']), paint)} {seat} token {int(slot['token'])}{target}"
    if seen.type == lib.REQUEST_CANCEL:
        return f"{seat} token {int(slot['target_token'])}"
    if seen.type == lib.SEAT_CUT:
        reason = enum_names("seat_cut").get(int(slot["reason"]), "?")
        return f"{seat}: {reason.removeprefix('SEAT_CUT_').lower()}"
    return f"{seat}, attachment {int(slot['attach_epoch'])}"


_DETAILS: dict[str, Callable[[Seen, Paint], str]] = {
    "norm": _norm_details,
    "signal": _signal_details,
    "cmd": _cmd_details,
    "exec": _exec_details,
    "intake": _intake_details,
    "reject": _exec_details,
}
