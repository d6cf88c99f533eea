"""``hotpath journal cat``: what happened, ring by ring in sequence, or all rings in order of time."""

from __future__ import annotations

import heapq
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ffi import lib
from hotpath.errors import JournalError
from hotpath.event_view import DIM, RESET, Seen, as_dictionary, as_line, time_text, types_named
from hotpath.journal.reader import Journal

SECOND_NS = 10**9
PIECE = 4096  # events that are taken from a file at once


@dataclass(frozen=True)
class Choice:
    """Which events are shown."""

    rings: tuple[str, ...] = ()  # empty: every one but raw and turn records
    symbols: tuple[str, ...] = ()  # empty: every one
    types: frozenset[int] = frozenset()  # empty: every one
    begin: int = 0  # sequence
    end: int | None = None  # sequence, exclusive
    since_ns: int = 0
    until_ns: int | None = None


def parse_choice(
    journal: Journal,
    *,
    rings: str,
    symbols: str,
    types: str,
    begin: int = 0,
    end: int | None = None,
    since: str = "",
    until: str = "",
) -> Choice:
    """The words of the command line. Raises JournalError for one that names nothing."""
    wanted = tuple(filter(None, (ring.strip() for ring in rings.split(","))))
    for ring in wanted:
        if ring not in journal.rings:
            raise JournalError(f"no ring {ring} was recorded", next_step=f"there are {', '.join(journal.rings)}")
    try:
        kinds = frozenset(types_named(filter(None, types.split(","))))
    except KeyError as error:
        raise JournalError(f"--type: no event is called {error.args[0]}", next_step="as fill or exec_fill") from None
    return Choice(
        rings=wanted,
        symbols=tuple(filter(None, (symbol.strip() for symbol in symbols.split(",")))),
        types=kinds,
        begin=begin,
        end=end,
        since_ns=_instant(since, journal) if since else 0,
        until_ns=_instant(until, journal) if until else None,
    )


def _instant(text: str, journal: Journal) -> int:
    """ "14:30", "14:30:05" on the day on which the run began, or ns since the epoch."""
    if text.isdigit() and len(text) > 9:
        return int(text)
    match = re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?", text)
    if match is None:
        raise JournalError(f"{text!r} is no time", next_step="as 14:30, 14:30:05.25, or ns since the epoch")
    began = datetime.fromtimestamp(journal.run.run_epoch / SECOND_NS).astimezone()
    moment = began.replace(hour=int(match[1]), minute=int(match[2]), second=int(match[3] or 0), microsecond=0)
    return int(moment.timestamp()) * SECOND_NS + int((match[4] or "").ljust(9, "0"))


def chosen(journal: Journal, choice: Choice) -> Iterator[Seen]:
    """The chosen events, in order of the time at which they were published."""
    rings = choice.rings or tuple(ring for ring in journal.rings if ring != "raw" and not ring.endswith(".ctl"))
    names = [entry["symbol"].decode() for entry in journal.instruments]
    values = [int(entry["tick_value_micros"]) for entry in journal.instruments]
    streams = [_of_ring(journal, ring, choice, names, values) for ring in rings]
    return heapq.merge(*streams, key=lambda seen: seen.time_ns)


def _of_ring(journal: Journal, ring: str, choice: Choice, names: list[str], values: list[int]) -> Iterator[Seen]:
    begin = max(choice.begin, journal.sequence_at(ring, choice.since_ns) if choice.since_ns else 0)
    wanted = {names.index(symbol) for symbol in choice.symbols if symbol in names}
    for segment in journal.segments(ring):
        low = max(0, begin - segment.first)
        high = segment.count if choice.end is None else min(segment.count, choice.end - segment.first)
        for at in range(low, high, PIECE):
            events = np.array(segment.records()[at : min(at + PIECE, high)])
            events["header"]["stamp"] = np.arange(len(events), dtype=np.uint64) + (segment.first + at + 1)
            yield from _seen(ring, events[_mask(events, choice, wanted)], names, values)


def _mask(events: npt.NDArray[Any], choice: Choice, wanted: set[int]) -> npt.NDArray[np.bool_]:
    header = events["header"]
    mask = np.ones(len(events), bool)
    if choice.types:
        mask &= np.isin(header["type"], list(choice.types))
    if choice.symbols:
        mask &= np.isin(header["instrument"], list(wanted))
    if choice.since_ns:
        mask &= header["publish_time_ns"] >= choice.since_ns
    if choice.until_ns is not None:
        mask &= header["publish_time_ns"] < choice.until_ns
    return mask


def _seen(ring: str, events: npt.NDArray[Any], names: list[str], values: list[int]) -> Iterator[Seen]:
    for slot in events:
        instrument = int(slot["header"]["instrument"])
        known = instrument < len(names)
        yield Seen(ring, names[instrument] if known else "", values[instrument] if known else 0, slot)


def line_of(seen: Seen, paint: Callable[[str, str], str]) -> str:
    """One event for people."""
    slot = seen.slot
    start = f"{paint(time_text(seen.time_ns), DIM)} {seen.ring:<6} {seen.sequence:>9} "
    if seen.ring == "raw":
        data = slot["bytes"].tobytes()[: int(slot["length"])]
        return f"{start}message {int(slot['session_sequence'])} {data.hex()}"
    if seen.type == lib.CTL_TURN:
        inputs = " ".join(str(int(each)) for each in slot["input_sequence"])
        return f"{start}turn {int(slot['turn'])} inputs {inputs} output {int(slot['output_sequence'])}"
    return as_line(seen, paint)


def run_cat(folder: Path, choice: Choice, *, json: bool, count: int | None) -> int:
    """Print the chosen events; returns how many."""
    colour = sys.stdout.isatty()
    printed = 0
    for seen in chosen(Journal(folder), choice):
        if printed == count:
            break
        printed += 1
        if json:
            print(msgspec.json.encode(as_dictionary(seen), enc_hook=_plain).decode())
        else:
            print(line_of(seen, lambda text, code: f"{code}{text}{RESET}" if colour and code else text))
    return printed


def _plain(value: object) -> object:
    """Bytes and numbers of NumPy's own."""
    return value.hex() if isinstance(value, bytes) else value.item() if isinstance(value, np.generic) else str(value)
