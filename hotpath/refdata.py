"""Reference data: instruments, calendars and lists in one versioned, hashed JSON file.

    {"format": 1, "version": 3, "sha256": "...",      <- of everything else, in canonical form
     "calendars": {"us-equities": {...}},
     "lists": {"restricted": ["XYZ"]},
     "instruments": [ one line each, in index order ]}

An instrument's index is its place in the file; events carry the index. The hash makes an edit by hand
visible: `hotpath refdata seal FILE` accepts it as the next version. Prices on the path are in ticks of
`tick_size` and quantities in lots of `lot_size`; both are decimal text, so nothing is rounded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct, field

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.calendar import Calendar, us_equities
from hotpath.errors import RefdataError

MAKE_ONE = "make one from a capture with: hotpath refdata import CAPTURE FILE"
FORMAT = 1
MICROS = 1_000_000
INT64_MAX = 2**63 - 1
LIST_RESTRICTED = "restricted"  # orders in these are refused
LIST_TRADED = "traded"  # when there is one, only these are traded; else every instrument is
US_EQUITIES = "us-equities"

Symbol = Annotated[str, Meta(pattern=r"^[!-~]{1,15}$")]
DecimalText = Annotated[str, Meta(pattern=r"^\d{1,12}(\.\d{1,12})?$")]


class Instrument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that trades."""

    symbol: Symbol
    tick_size: DecimalText = "0.0001"  # money of one price tick, for one unit
    lot_size: DecimalText = "1"  # units of one lot
    price_increment: DecimalText = "0.01"  # an order's price is a multiple of it
    round_lot: Annotated[int, Meta(ge=1, le=2**31)] = 100  # lots
    currency: Annotated[str, Meta(pattern=r"^[A-Z0-9]{3,7}$")] = "USD"
    calendar: str = US_EQUITIES
    venue_ids: dict[str, int] = field(default_factory=dict)  # "itch": the day's stock locate

    @property
    def tick_value_micros(self) -> int:
        """Money of one tick of one lot, in millionths of the currency."""
        return _whole(self, "tick_size x lot_size", Decimal(self.tick_size) * Decimal(self.lot_size) * MICROS)

    @property
    def price_increment_ticks(self) -> int:
        """The least step of an order's price."""
        return _whole(self, "price_increment / tick_size", Decimal(self.price_increment) / Decimal(self.tick_size))


class Refdata(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    format: int = FORMAT
    version: Annotated[int, Meta(ge=1)] = 1
    sha256: str = ""
    calendars: dict[str, Calendar]
    lists: dict[str, list[Symbol]] = field(default_factory=dict)
    instruments: list[Instrument]

    def index_of(self, symbol: str) -> int:
        """Index of an instrument. Raises RefdataError."""
        for index, instrument in enumerate(self.instruments):
            if instrument.symbol == symbol:
                return index
        raise RefdataError(f"instrument {symbol} is not in the reference data (version {self.version})")

    def symbols(self) -> list[str]:
        """Every symbol, in index order."""
        return [instrument.symbol for instrument in self.instruments]

    def calendar_named(self, name: str = "") -> Calendar:
        """A calendar; with no name, the only one. Raises RefdataError."""
        if not name and len(self.calendars) == 1:
            return next(iter(self.calendars.values()))
        if name not in self.calendars:
            known = ", ".join(sorted(self.calendars))
            raise RefdataError(f"calendar {name!r} is not in the reference data (it has: {known})")
        return self.calendars[name]


def load_refdata(path: str | Path) -> Refdata:
    """Read one file; refuse it when it is malformed, contradicts itself or does not match its hash."""
    refdata = read_refdata(path)
    expected = refdata_hash(refdata)
    if refdata.sha256 != expected:
        raise RefdataError(
            f"{path}: changed since it was sealed: sha256 is {expected[:12]}..., the file says "
            f"{refdata.sha256[:12] or '(nothing)'}...",
            next_step=f"if the change is meant, accept it as the next version with: hotpath refdata seal {path}",
        )
    return refdata


def read_refdata(path: str | Path) -> Refdata:
    """Read and check one file, its hash excepted."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RefdataError(f"{path}: {error.strerror}", next_step=MAKE_ONE) from None
    try:
        refdata = msgspec.json.decode(content, type=Refdata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefdataError(f"{path}: {error}", next_step=MAKE_ONE) from None
    if refdata.format != FORMAT:
        raise RefdataError(f"{path}: format {refdata.format}; this engine reads format {FORMAT}")
    problems = refdata_problems(refdata)
    if problems:
        more = f" (and {len(problems) - 1} more; hotpath refdata check lists them)" if len(problems) > 1 else ""
        raise RefdataError(f"{path}: {problems[0]}{more}")
    return refdata


def save_refdata(refdata: Refdata, path: str | Path) -> Refdata:
    """Seal and write one file, whole or not at all. Returns what was written."""
    sealed = seal(refdata)
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(refdata_text(sealed).encode())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RefdataError(f"{path}: cannot be written: {error.strerror}") from None
    return sealed


def seal(refdata: Refdata) -> Refdata:
    """The same data with its hash."""
    return msgspec.structs.replace(refdata, sha256=refdata_hash(refdata))


def refdata_hash(refdata: Refdata) -> str:
    """SHA-256 over the canonical form: compact JSON, keys sorted, without the hash itself."""
    content: dict[str, Any] = msgspec.to_builtins(refdata)
    del content["sha256"]
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def refdata_text(refdata: Refdata) -> str:
    """The file: one line an instrument, so that versions can be compared line by line."""
    content: dict[str, Any] = msgspec.to_builtins(refdata)
    instruments = content.pop("instruments")
    head = msgspec.json.format(msgspec.json.encode(content), indent=2).decode().removesuffix("\n}")
    lines = ",\n".join(f"    {msgspec.json.encode(each).decode()}" for each in instruments)
    return f'{head},\n  "instruments": [\n{lines}\n  ]\n}}\n'


def refdata_problems(refdata: Refdata) -> list[str]:
    """Everything in which the data contradicts itself, in words."""
    problems: list[str] = []
    if len(refdata.instruments) > lib.INSTRUMENTS_MAX:
        problems.append(f"{len(refdata.instruments)} instruments; the engine holds {lib.INSTRUMENTS_MAX}")
    symbols: set[str] = set()
    owners: dict[tuple[str, int], str] = {}
    for instrument in refdata.instruments:
        if instrument.symbol in symbols:
            problems.append(f"instrument {instrument.symbol}: listed twice")
        symbols.add(instrument.symbol)
        if instrument.calendar not in refdata.calendars:
            problems.append(f"instrument {instrument.symbol}: calendar {instrument.calendar!r} is not in the file")
        for venue, number in instrument.venue_ids.items():
            owner = owners.setdefault((venue, number), instrument.symbol)
            if owner != instrument.symbol:
                problems.append(f"instrument {instrument.symbol}: {venue} id {number} belongs to {owner} as well")
            if venue == "itch" and not 0 < number < 65536:
                problems.append(f"instrument {instrument.symbol}: itch locate {number} is not in 1..65535")
        try:
            if instrument.tick_value_micros < 1 or instrument.price_increment_ticks < 1:
                problems.append(
                    f"instrument {instrument.symbol}: tick_size, lot_size and price_increment must exceed 0"
                )
        except RefdataError as error:
            problems.append(str(error))
    for name, members in refdata.lists.items():
        problems += [f"list {name}: {symbol} is no instrument" for symbol in members if symbol not in symbols]
    for name, calendar in refdata.calendars.items():
        try:
            calendar.trading_date(0)
        except RefdataError as error:
            problems.append(f"calendar {name}: {error}")
    return problems


def refdata_differences(before: Refdata, after: Refdata) -> list[str]:
    """What a change of files changes, one line each: `+`, `-` or `~`, the place, the values."""
    old: dict[str, Any] = msgspec.to_builtins(before)
    new: dict[str, Any] = msgspec.to_builtins(after)
    lines: list[str] = []
    for kind, key in (("calendar", "calendars"), ("list", "lists")):
        lines += _map_differences(kind, old[key], new[key])
    lines += _map_differences(
        "instrument",
        {each.symbol: _full(each) for each in before.instruments},
        {each.symbol: _full(each) for each in after.instruments},
    )
    kept = {each.symbol for each in before.instruments} & {each.symbol for each in after.instruments}
    if [s for s in before.symbols() if s in kept] != [s for s in after.symbols() if s in kept]:
        lines.append("~ instruments: their order, and so their indices")
    return lines


def instrument_table(refdata: Refdata) -> np.ndarray:
    """The instruments as the path sees them: one `instrument_entry` each, in index order."""
    table = np.zeros(len(refdata.instruments), dtype=dtype_of("instrument_entry"))
    restricted = set(refdata.lists.get(LIST_RESTRICTED, []))
    traded = set(refdata.lists.get(LIST_TRADED, refdata.symbols()))
    for row, instrument in zip(table, refdata.instruments, strict=True):
        row["symbol"] = instrument.symbol.encode()
        row["venue_locate"] = instrument.venue_ids.get("itch", 0)
        row["flags"] = (lib.INSTRUMENT_TRADED if instrument.symbol in traded else 0) | (
            lib.INSTRUMENT_RESTRICTED if instrument.symbol in restricted else 0
        )
        row["tick_value_micros"] = instrument.tick_value_micros
        row["price_increment_ticks"] = instrument.price_increment_ticks
        row["round_lot_lots"] = instrument.round_lot
        row["currency"] = instrument.currency.encode()
    return table


def instruments_of_itch(messages: Iterable[bytes]) -> list[Instrument]:
    """Instruments that ITCH messages announce (R), or, where a symbol has no R, those they name.

    In order of first appearance. A message that does not decode is passed over; `hotpath inspect`
    counts those.
    """
    found: dict[str, Instrument] = {}
    announced: set[str] = set()
    message = ffi.new("itch_message *")
    for content in messages:
        if lib.itch_decode(content, len(content), message) != lib.ITCH_OK or not message.locate:
            continue
        symbol = ffi.buffer(message.stock)[:].rstrip(b" \0").decode("ascii", "replace")
        directory = message.type == ord("R")
        if not symbol or symbol in announced or (symbol in found and not directory):
            continue
        round_lot = max(1, int(message.number[0])) if directory else 100
        found[symbol] = Instrument(symbol=symbol, round_lot=round_lot, venue_ids={"itch": int(message.locate)})
        if directory:
            announced.add(symbol)
    return list(found.values())


def merge_instruments(refdata: Refdata | None, instruments: Iterable[Instrument]) -> Refdata:
    """The next version: known instruments get the day's venue ids and round lot, unknown ones are added.

    What people wrote (ticks, calendar, lists) stays. A venue id that moved to another instrument leaves
    its former owner.
    """
    if refdata is None:
        fresh = list(instruments)
        return Refdata(calendars={US_EQUITIES: us_equities()}, instruments=fresh)
    merged = {each.symbol: each for each in refdata.instruments}
    taken: dict[tuple[str, int], str] = {}
    for each in instruments:
        known = merged.get(each.symbol)
        if known is not None:
            each = msgspec.structs.replace(
                known, venue_ids={**known.venue_ids, **each.venue_ids}, round_lot=each.round_lot
            )
        merged[each.symbol] = each
        taken |= dict.fromkeys(each.venue_ids.items(), each.symbol)
    for symbol, each in merged.items():
        kept = {
            venue: number for venue, number in each.venue_ids.items() if taken.get((venue, number), symbol) == symbol
        }
        merged[symbol] = msgspec.structs.replace(each, venue_ids=kept)
    result = msgspec.structs.replace(refdata, instruments=list(merged.values()))
    if refdata_hash(result) == refdata_hash(refdata):
        return refdata
    return msgspec.structs.replace(result, version=refdata.version + 1)


def _whole(instrument: Instrument, what: str, value: Decimal) -> int:
    if value != value.to_integral_value():
        raise RefdataError(f"instrument {instrument.symbol}: {what} is {value.normalize():f}, not a whole number")
    if value > INT64_MAX:
        raise RefdataError(f"instrument {instrument.symbol}: {what} is {value.normalize():f}, beyond 64 bits")
    return int(value)


def _full(instrument: Instrument) -> dict[str, Any]:
    """Every field, defaults included."""
    return msgspec.structs.asdict(instrument)


def _map_differences(kind: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    lines = [f"- {kind} {name}" for name in old if name not in new]
    lines += [f"+ {kind} {name}" for name in new if name not in old]
    for name in (name for name in new if name in old and old[name] != new[name]):
        before, after = old[name], new[name]
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted({*before, *after}):
                if before.get(key) != after.get(key):
                    lines.append(f"~ {kind} {name}: {key} {before.get(key)} -> {after.get(key)}")
        else:
            gone = [each for each in before if each not in after]
            come = [each for each in after if each not in before]
            lines.append(f"~ {kind} {name}:" + "".join([f" -{each}" for each in gone] + [f" +{each}" for each in come]))
    return lines
