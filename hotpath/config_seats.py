"""What a configuration may say of seats and of strategies, beyond what a single type can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hotpath.user_code import split_reference

if TYPE_CHECKING:
    from hotpath.config import Config

SEATS_MAX = 16  # lib.SEATS_MAX: the configuration is read without the extension
# Readers and rings: no seat may bear such a name.
SEGMENT_WORDS = frozenset(
    [
        "signal",
        "risk",
        "gateway",
        "feed",
        "journal",
        "tap",
        "ingress",
        "reject",
        "reconcile",
        "adjust",
        "changes",
        "projector",
    ]
)


def check_seats(config: Config, refuse: Callable[[str, str], None]) -> None:
    """Seats are told apart by name and by strategy, everywhere and for ever."""
    names: set[str] = set()
    strategies: dict[int, str] = {}
    if len(config.seats) > SEATS_MAX:
        refuse("coprocesses", f"{len(config.seats)} seats, there may be {SEATS_MAX}")
    if config.control.seat and config.control.seat not in [each.name for each in config.coprocesses]:
        refuse("control.seat", f"there is no [[coprocesses]] of the name {config.control.seat}")
    for seat in config.seats:
        key = f"{'strategies' if seat in config.strategies else 'coprocesses'}.{seat.name}"
        if seat.name in names:
            refuse(key, "two seats have this name")
        if seat.name in SEGMENT_WORDS:
            refuse(key, "the engine uses this name itself")
        if seat.strategy in strategies:
            refuse(f"{key}.strategy", f"{seat.strategy} is {strategies[seat.strategy]}'s already")
        needed = 2 * seat.open_orders_max + 64
        if config.rings.seat_reports < needed:
            refuse("rings.seat_reports", f"{needed} at least: {seat.name} may have {seat.open_orders_max} orders open")
        names.add(seat.name)
        strategies[seat.strategy] = seat.name


def check_strategies(config: Config, refuse: Callable[[str, str], None]) -> None:
    hang_ms = config.engine.hang_ms
    for strategy in config.strategies:
        key = f"strategies.{strategy.name}"
        try:
            split_reference(strategy.code)
        except ValueError as error:
            refuse(f"{key}.class", str(error))
        if strategy.budget_ms >= strategy.heartbeat_ms:
            refuse(
                f"{key}.heartbeat_ms",
                f"must be above budget_ms ({strategy.budget_ms}): a call that is let run is silent",
            )
        bound = "budget_ms" if strategy.budget_ms else "heartbeat_ms"  # of one call
        if getattr(strategy, bound) >= hang_ms:
            refuse(f"{key}.{bound}", f"must be below engine.hang_ms ({hang_ms}): its process would be ended before")
        for name, value in strategy.params.items():
            if not name.isidentifier():
                refuse(f"{key}.params", f"{name!r} cannot be a name in Python")
            if not isinstance(value, bool | int | float | str | list):
                refuse(f"{key}.params.{name}", "a number, a text, true, false, or a list of these")
