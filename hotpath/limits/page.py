"""The limits segment: two checksummed copies and a generation.

A new version is written whole into the copy that is not in force, sealed, and only then named by the generation; a
writer killed half-way leaves the old version standing.

The first version of a run is the configuration's; what people changed in runs before (kept.py) comes with the second.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ffi import ffi, lib
from hotpath.config_risk import RiskConfig
from hotpath.errors import ConfigError
from hotpath.limits.copy import LimitsCopy
from hotpath.segments import HEADER_SIZE, Segment


def copy_bytes(instruments: int) -> int:
    """Room for one copy: its header, an entry for each instrument, and for as many scopes as there may be."""
    return int(lib.limits_bytes(instruments, lib.SCOPES_MAX))


def segment_bytes(instruments: int) -> int:
    """Bytes of the whole limits segment."""
    return int(HEADER_SIZE + ffi.sizeof("limits_page") + 2 * copy_bytes(instruments))


# ---- from the configuration ----------------------------------------------------------------------------


def configured(risk: RiskConfig, symbols: list[str]) -> LimitsCopy:
    """What the configuration says, not yet sealed."""
    copy = LimitsCopy(symbols)
    _set_all(copy, "firm", risk.firm)
    for name in ("gross_value_currency_max", "open_orders_max", "messages_per_second_max", "stale_after_ms"):
        if getattr(risk.firm, name, None) is not None:
            raise ConfigError(f"risk.firm.{name}: the firm's is risk.{name}", next_step="move it up into [risk]")
        copy.set(f"firm.{name}", getattr(risk, name))
    _set_all(copy, "any_account", risk.any_account)
    _set_all(copy, "any_strategy", risk.any_strategy)
    if risk.venue is not None:
        _set_all(copy, "venue.0", risk.venue)
    for kind, tables in (("account", risk.accounts), ("strategy", risk.strategies)):
        for number, table in tables.items():
            _set_all(copy, f"{kind}.{number}", table)
    _set_instruments(copy, risk, symbols)
    copy.set_hours(risk.trading_hours_ns)
    return copy


def _set_all(copy: LimitsCopy, scope: str, table: msgspec.Struct) -> None:
    for name, value in msgspec.structs.asdict(table).items():
        if value is not None:
            copy.set(f"{scope}.{name}", value, envelope=True)


def _set_instruments(copy: LimitsCopy, risk: RiskConfig, symbols: list[str]) -> None:
    """The defaults once, as bytes for every instrument; then what differs by name."""
    if not symbols:
        return
    _set_all(copy, f"instrument.{symbols[0]}", risk.defaults)
    size, first = ffi.sizeof("instrument_limits"), ffi.sizeof("limits_header")
    copy.memory[first : first + len(symbols) * size] = bytes(copy.memory[first : first + size]) * len(symbols)
    for symbol, table in risk.instruments.items():
        if symbol in copy:
            _set_all(copy, f"instrument.{symbol}", table)


def limits_copy(risk: RiskConfig, symbols: list[str], *, version: int) -> bytearray:
    """One copy of the configuration's limits as a gate reads it, in memory of the caller's."""
    copy = configured(risk, symbols)
    copy.header.version = version
    copy.seal()
    return copy.memory


# ---- in shared memory ------------------------------------------------------------------------------------


def page_of(segment: Segment) -> Any:
    """``limits_page *``."""
    return segment.cast("limits_page *")


def publish_copy(segment: Segment, copy: bytes | bytearray) -> None:
    """Write a sealed copy into the place that is not in force, and name it. One writer at a time: who has the lock."""
    page = page_of(segment)
    generation = int(page.generation) + 1
    target = segment.cast("uint8_t *", HEADER_SIZE + int(page.copy_offset[generation & 1]))
    ffi.memmove(target, copy, len(copy))
    lib.limits_publish(page, generation)


def current_copy(segment: Segment, size: int) -> bytes:
    """The bytes that the generation names. Without the lock they may be half overwritten: see copy_in_force."""
    page = page_of(segment)
    source = segment.cast("uint8_t *", HEADER_SIZE + int(page.copy_offset[int(page.generation) & 1]))
    return bytes(ffi.buffer(source, size))


def copy_in_force(segment: Segment, symbols: list[str]) -> LimitsCopy:
    """What the generation names, in memory of its own; looked at again where writers were faster twice."""
    page = page_of(segment)
    while True:
        generation = int(page.generation)
        copy = LimitsCopy(symbols, current_copy(segment, copy_bytes(len(symbols))))
        if copy.is_whole or int(page.generation) == generation:
            return copy


def publish_limits(segment: Segment, risk: RiskConfig, symbols: list[str]) -> int:
    """Put the configuration's limits in force in a new segment. Returns their version: 1."""
    page = page_of(segment)
    page.copy_bytes = copy_bytes(len(symbols))
    for index in range(2):
        page.copy_offset[index] = ffi.sizeof("limits_page") + index * int(page.copy_bytes)
    publish_copy(segment, limits_copy(risk, symbols, version=1))
    return 1
