"""Seats seen from outside: who has which, what it did, why it was cut; and what C programs are compiled with."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

import ffi as floor
from ffi import lib
from ffi.dtypes import enum_names
from hotpath import segments


class SeatStat(Struct, frozen=True):
    """One seat."""

    name: str
    state: str  # "empty", "taken" or "cut_off"
    reason: str  # of the last cut; "none" when there was none
    pid: int  # of the last co-process that took it; 0 when nobody has
    account: int
    strategy: int
    open_orders: int
    requests: int
    refused: int
    reports: int
    reports_lost: int
    attachments: int
    cuts: int


def look_at_seats(engine: str) -> list[SeatStat]:
    """Every seat of an engine, running or dead, in the order of their indices."""
    found = []
    for info in segments.list_segments(engine):
        if info.kind != lib.SEGMENT_SEAT:
            continue
        page = segments.attach(engine, info.segment, lib.SEGMENT_SEAT, allow_dead=True).view("seat_page")[0]
        client = segments.attach(engine, f"{info.segment}.client", lib.SEGMENT_SEAT_CLIENT, allow_dead=True)
        counts = {name: int(page[name]) for name in SeatStat.__struct_fields__ if name in page.dtype.names}
        counts.pop("state"), counts.pop("reason")
        stat = SeatStat(
            name=info.segment.removeprefix("seat."),
            state=_short("seat_state", int(page["state"]), "SEAT_"),
            reason=_short("seat_cut", int(page["reason"]), "SEAT_CUT_"),
            pid=int(client.view("seat_client_page")[0]["pid"]),
            **counts,
        )
        found.append((int(page["index"]), stat))
    return [stat for _, stat in sorted(found, key=lambda pair: pair[0])]


def _short(enum: str, value: int, prefix: str) -> str:
    return enum_names(enum).get(value, str(value)).removeprefix(prefix).lower()


def describe_seats(engine: str, seats: list[SeatStat]) -> str:
    """The same for people."""
    if not seats:
        return f"engine {engine} has no seats; declare them in its configuration: [[coprocesses]] or [[strategies]]"
    lines = [
        f"{'seat':<16}{'state':<10}{'cut for':<14}{'pid':>8}{'open':>6}{'requests':>10}{'refused':>9}{'reports':>9}"
    ]
    for seat in seats:
        why = seat.reason if seat.reason != "none" else ""
        lines.append(
            f"{seat.name:<16}{seat.state:<10}{why:<14}{seat.pid:>8}{seat.open_orders:>6}{seat.requests:>10}"
            f"{seat.refused:>9}{seat.reports:>9}"
        )
    return "\n".join(lines)


def compiler_flags() -> list[str]:
    """For a C or C++ program that includes hotpath_client.h: where it, the layout and its hash lie."""
    room = Path(floor.__file__).parent
    folders = [room / "client", room / "include"]
    return ["-D_GNU_SOURCE", *(f"-I{folder}" for folder in folders if folder.is_dir())]
