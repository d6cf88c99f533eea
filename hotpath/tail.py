"""``hotpath tail``: what an engine does, event by event, as it happens.

    [what the rings still hold, with --since]  -->  the tap's frames, until Ctrl-C or --count

It reads the tap, never the path. Where events were lost, because the tap was lapped or this reader was slow,
it says how many. When the engine ends it waits, and goes on with the next run.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TextIO

import msgspec

from ffi import lib
from hotpath import segments
from hotpath.endpoints import find_endpoint
from hotpath.errors import ConfigError, SegmentMissingError
from hotpath.event_view import RESET, YELLOW, Seen, as_dictionary, as_line, type_words, types_named
from hotpath.journal import event_type
from hotpath.rings import RingHistory
from hotpath.tap_reader import TAPPED, Loss, NewRun, TapReader
from hotpath.topology import INSTRUMENTS_SEGMENT

WAIT_MS = 200
QUIET_MS = 2
GATHER_SECONDS = 0.05
QUIET_SECONDS = 3.0  # the tap speaks every second, so by then it is not there
SPANS = {"s": "seconds", "m": "minutes", "h": "hours"}


@dataclass(frozen=True)
class TailOptions:
    """What `hotpath tail` can be told."""

    rings: tuple[str, ...] = TAPPED
    symbols: tuple[str, ...] = ()  # empty: every one
    types: frozenset[int] = frozenset()  # empty: every one
    since_ns: int | None = None  # also what the rings still hold from then on
    json: bool = False
    count: int | None = None  # stop after so many events
    colour: bool = False


def history(engine: str, options: TailOptions) -> list[Seen]:
    """What the rings still hold since `options.since_ns`, in order of time."""
    table = segments.attach(engine, INSTRUMENTS_SEGMENT, lib.SEGMENT_INSTRUMENTS, allow_dead=True)
    entries = table.view("instrument_entry", count=table.info.capacity)
    found: list[Seen] = []
    for ring in options.rings:
        try:
            events = RingHistory(engine, ring, dtype=event_type(ring)).read()
        except SegmentMissingError:  # intake, where no seat is configured
            continue
        for slot in events[events["header"]["publish_time_ns"] >= (options.since_ns or 0)]:
            instrument = int(slot["header"]["instrument"])
            known = instrument < len(entries)
            entry = entries[instrument] if known else None
            symbol = entry["symbol"].decode() if entry is not None else ""
            found.append(Seen(ring, symbol, int(entry["tick_value_micros"]) if entry is not None else 0, slot))
    return sorted(found, key=lambda seen: seen.time_ns)


class Printer:
    """Writes what is chosen; counts it."""

    def __init__(self, options: TailOptions, *, out: TextIO, notes: TextIO) -> None:
        self._options = options
        self._out = out
        self._notes = notes
        self._next: dict[str, int] = {}  # sequence after the last one of the history, by ring
        self.printed = 0

    @property
    def done(self) -> bool:
        """Whether as many as were asked for have been printed."""
        return self._options.count is not None and self.printed >= self._options.count

    def show_history(self, events: list[Seen]) -> None:
        """What happened before; the tap's frames go on after it without repeating."""
        for seen in events:
            self._next[seen.ring] = max(self._next.get(seen.ring, 0), seen.sequence + 1)
            self.show(seen)

    def show_live(self, item: Seen | Loss | NewRun) -> None:
        """One item of the tap."""
        if isinstance(item, Seen):
            if item.sequence >= self._next.get(item.ring, 0):
                self.show(item)
        elif isinstance(item, Loss):
            self.lost(item)
        else:
            if self._known_run and item.run_epoch != self._known_run:
                self._next.clear()
                self.note(f"{item.engine} began a new run")
            self._known_run = item.run_epoch

    _known_run = 0

    def show(self, seen: Seen) -> None:
        """One event, if it is chosen and still wanted."""
        options = self._options
        if self.done or (options.types and seen.type not in options.types):
            return
        if options.symbols and seen.symbol and seen.symbol not in options.symbols:
            return
        self.printed += 1
        if options.json:
            print(msgspec.json.encode(as_dictionary(seen)).decode(), file=self._out)
        else:
            print(as_line(seen, self._paint), file=self._out)

    def lost(self, loss: Loss) -> None:
        """A loss, before the events that came with it."""
        if self._options.json:
            told = {"lost": loss.count, "ring": loss.ring, "where": loss.where}
            print(msgspec.json.encode(told).decode(), file=self._out)
            return
        why = "the tap could not keep up" if loss.where == "tap" else "this reader was too slow"
        print(self._paint(f"-- {loss.count:,} {loss.ring} events lost: {why}", YELLOW), file=self._out)

    def note(self, text: str) -> None:
        """For people, beside the events."""
        print(self._paint(f"-- {text}", YELLOW), file=self._notes, flush=True)

    def flush(self) -> None:
        """Let what was written be seen."""
        self._out.flush()

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{RESET}" if self._options.colour and colour else text


def run_tail(engine: str | None, options: TailOptions, *, endpoint: str = "", seconds: float | None = None) -> int:
    """The verb `hotpath tail`. Returns its exit code. `seconds` bounds it, for those who look on in scripts."""
    from hotpath.stat import find_engine

    printer = Printer(options, out=sys.stdout, notes=sys.stderr)
    name = "" if endpoint and options.since_ns is None else find_engine(engine)
    where = endpoint or find_endpoint(name, "tap")
    if where is None and options.since_ns is None:
        raise ConfigError(
            f"engine {name} runs without a tap",
            next_step="set [tap] enabled = true and restart it; or see what its rings hold: hotpath tail --since 1m",
        )
    reader = TapReader(where, rings=options.rings, symbols=options.symbols) if where else None
    try:
        if options.since_ns is not None:
            printer.show_history(history(name, options))
            printer.flush()
        if reader is not None:
            follow(reader, printer, seconds=seconds)
        else:
            printer.note(f"engine {name} runs without a tap: this is what its rings held")
    except KeyboardInterrupt:
        pass
    finally:
        printer.flush()
        if reader is not None:
            reader.close()
    return 0


def follow(reader: TapReader, printer: Printer, *, seconds: float | None = None) -> None:
    """Print the tap's frames until enough are printed or the time is up."""
    begun = heard = time.monotonic()
    quiet = False
    while not printer.done and (seconds is None or time.monotonic() - begun < seconds):
        items = gather(reader)
        if items:
            heard, quiet = time.monotonic(), False
            for item in items:
                printer.show_live(item)
            printer.flush()
            continue
        if not quiet and time.monotonic() - heard > QUIET_SECONDS:
            quiet = True
            printer.note(f"nothing heard from {reader.endpoint}; waiting for the engine")


def gather(reader: TapReader) -> list[Seen | Loss | NewRun]:
    """What comes at once, events in order of time: a frame is of one instrument, and one instant has several."""
    items = reader.read(timeout_ms=WAIT_MS)
    end = time.monotonic() + GATHER_SECONDS
    while items and time.monotonic() < end and (more := reader.read(timeout_ms=QUIET_MS)):
        items += more
    events = sorted((item for item in items if isinstance(item, Seen)), key=lambda seen: seen.time_ns)
    return [*(item for item in items if not isinstance(item, Seen)), *events]


def parse_since(text: str, *, now: datetime | None = None) -> int:
    """ "30s", "5m", "1h" before now, or a time of day here, or an ISO date and time: ns since the epoch.

    Raises ConfigError.
    """
    now = now or datetime.now()
    span = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if span:
        moment = now - timedelta(**{SPANS[span[2]]: float(span[1])})
    else:
        try:
            moment = datetime.fromisoformat(text if len(text) > 8 else f"{now:%Y-%m-%d}T{text}")
        except ValueError:
            raise ConfigError(f"--since {text}: say 30s, 5m, 1h, 14:30, 14:30:05 or 2026-11-21T14:30") from None
    return int(moment.timestamp() * 1e9)


def parse_options(
    *,
    rings: str,
    symbols: str,
    types: str,
    since: str,
    json: bool,
    count: int | None,
) -> TailOptions:
    """The command line's words, checked. Raises ConfigError naming the word that means nothing."""
    chosen = tuple(filter(None, rings.split(","))) or TAPPED
    for ring in chosen:
        if ring not in TAPPED:
            raise ConfigError(f"--ring {ring}: there is no such ring (one of: {', '.join(TAPPED)})")
    try:
        wanted = frozenset(types_named(filter(None, types.split(","))))
    except KeyError as error:
        known = ", ".join(sorted(set(type_words().values())))
        raise ConfigError(f"--type {error.args[0]}: there is no such event (one of: {known})") from None
    return TailOptions(
        rings=chosen,
        symbols=tuple(filter(None, symbols.split(","))),
        types=wanted,
        since_ns=parse_since(since) if since else None,
        json=json,
        count=count,
        colour=not json and sys.stdout.isatty() and "NO_COLOR" not in os.environ,
    )
