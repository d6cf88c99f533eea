"""Seats seen from outside: who has which, what it did, why it was cut; and what C programs are compiled with."""

from __future__ import annotations

from pathlib import Path

import ffi as floor
from hotpath.seat_stat import SeatStat, SeatsView


def look_at_seats(engine: str) -> dict[str, SeatStat]:
    """Every seat of an engine, running or dead, by name, in the order of their indices."""
    view = SeatsView(engine)
    try:
        return view.snapshot()
    finally:
        view.close()


def describe_seats(engine: str, seats: dict[str, SeatStat]) -> str:
    """The same for people."""
    if not seats:
        return f"engine {engine} has no seats; declare them in its configuration: [[coprocesses]] or [[strategies]]"
    lines = [
        f"{'seat':<16}{'state':<10}{'cut for':<14}{'pid':>8}{'open':>6}{'requests':>10}{'refused':>9}{'reports':>9}"
    ]
    for name, seat in seats.items():
        lines.append(
            f"{name:<16}{seat.state:<10}{seat.reason:<14}{seat.pid:>8}{seat.open_orders:>6}{seat.requests:>10}"
            f"{seat.refused:>9}{seat.reports:>9}"
        )
    return "\n".join(lines)


def compiler_flags() -> list[str]:
    """For a C or C++ program that includes hotpath_client.h: where it, the layout and its hash lie."""
    room = Path(floor.__file__).parent
    folders = [room / "client", room / "include"]
    return ["-D_GNU_SOURCE", *(f"-I{folder}" for folder in folders if folder.is_dir())]
