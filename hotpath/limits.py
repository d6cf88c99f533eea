"""Risk limits in shared memory: two checksummed copies and a generation.

A new version is written whole into the copy that is not in force, checksummed, and only then named by the
generation; a writer killed half-way leaves the old version standing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.config import RiskConfig
from hotpath.segments import HEADER_SIZE, Segment

LINE = lib.CACHE_LINE_SIZE


def copy_bytes(instruments: int) -> int:
    """Bytes of one copy: its header and one entry an instrument."""
    return int(ffi.sizeof("limits_header") + instruments * ffi.sizeof("instrument_limits"))


def segment_bytes(instruments: int) -> int:
    """Bytes of the whole limits segment."""
    return int(HEADER_SIZE + ffi.sizeof("limits_page") + 2 * copy_bytes(instruments))


def limits_entries(risk: RiskConfig, symbols: list[str]) -> npt.NDArray[Any]:
    """One ``instrument_limits`` for each symbol, in reference-data order."""
    entries = np.zeros(len(symbols), dtype_of("instrument_limits"))
    for entry, symbol in zip(entries, symbols, strict=True):
        limits = risk.limits_of(symbol)
        entry["position_lots_max"] = limits.position_lots_max
        entry["order_quantity_lots_max"] = limits.order_quantity_lots_max
        entry["order_value_micros_max"] = limits.order_value_micros_max
        entry["collar_ppm_max"] = limits.collar_ppm_max
        entry["flags"] = limits.blocked * lib.LIMIT_BLOCKED | limits.no_short * lib.LIMIT_NO_SHORT
    return entries


def publish_limits(segment: Segment, risk: RiskConfig, symbols: list[str]) -> int:
    """Write the next version of the limits and put it in force. Returns its version, from 1.

    One writer at a time: the supervisor.
    """
    page = segment.cast("limits_page *")
    base = ffi.sizeof("limits_page")
    for index in range(2):
        page.copy_offset[index] = base + index * copy_bytes(len(symbols))
    version = int(page.generation) + 1
    publish_copy(segment, limits_copy(risk, symbols, version=version))
    return version


def publish_copy(segment: Segment, copy: bytes | bytearray) -> None:
    """Put a whole copy, checksummed, in force. Its version need not be the page's generation."""
    page = segment.cast("limits_page *")
    generation = page.generation + 1
    target = segment.cast("uint8_t *", HEADER_SIZE + page.copy_offset[generation & 1])
    ffi.memmove(target, copy, len(copy))
    lib.limits_publish(page, generation)


def current_copy(segment: Segment, size: int) -> bytes:
    """The bytes of the copy in force, as its one writer sees them."""
    page = segment.cast("limits_page *")
    source = segment.cast("uint8_t *", HEADER_SIZE + page.copy_offset[page.generation & 1])
    return bytes(ffi.buffer(source, size))


def limits_copy(risk: RiskConfig, symbols: list[str], *, version: int) -> bytearray:
    """One copy of the limits as a gate reads it, in memory of the caller's."""
    memory = bytearray(copy_bytes(len(symbols)))
    _fill_copy(ffi.cast("limits_header *", ffi.from_buffer(memory)), risk, symbols, version=version)
    return memory


def _fill_copy(copy: Any, risk: RiskConfig, symbols: list[str], *, version: int) -> None:
    """A ``limits_header`` with its entries behind it, and the checksum over both."""
    copy.version = version
    copy.gross_value_micros_max = risk.gross_value_micros_max
    copy.open_orders_max = risk.open_orders_max
    copy.messages_per_second_max = risk.messages_per_second_max
    copy.stale_after_ns = risk.stale_after_ms * 1_000_000
    copy.count = len(symbols)
    entries = limits_entries(risk, symbols)
    ffi.memmove(copy + 1, ffi.from_buffer(entries), entries.nbytes)
    copy.checksum = lib.gate_limits_checksum(copy)
