"""Histograms: read from shared memory, subtracted, merged, summarised and exported.

    stage -> histogram in its segment -> snapshot -> difference / merge -> Summary, or an HdrHistogram log

A snapshot is an array of one ``histogram`` (layout.h) that belongs to the caller. The stage goes on recording
while it is taken, so its totals are made from the counts that were copied. The log is HdrHistogram's V2 text
form (github.com/HdrHistogram, log format 1.2), which its readers in any language open.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from ffi import ffi, lib
from ffi.dtypes import dtype_of

Histogram = npt.NDArray[Any]

SIGNIFICANT_FIGURES = 3
V2_COUNTS_COOKIE = 0x1C849313  # V2 encoding, zigzag LEB128 counts
V2_COMPRESSED_COOKIE = 0x1C849314
COUNTS_HEADER = struct.Struct(">IIIIQQd")  # cookie, length, index offset, figures, lowest, highest, ratio
COMPRESSED_HEADER = struct.Struct(">II")
ENCODED_BYTES_MAX: int = COUNTS_HEADER.size + 9 * lib.HISTOGRAM_COUNTS  # no histogram of this geometry is larger


@dataclass(frozen=True)
class Summary:
    """What people read of a histogram. Values in ns, each its bucket's highest, within 0.1 %."""

    name: str
    count: int
    min_ns: int
    mean_ns: float
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


def new(name: str = "") -> Histogram:
    """An empty histogram of the caller's own."""
    made = np.zeros(1, dtype_of("histogram"))
    lib.histogram_reset(pointer(made))
    made["name"] = name.encode()
    return made


def pointer(histogram: Histogram) -> ffi.CData:
    """``histogram *`` into the array, which must outlive it."""
    return ffi.cast("histogram *", histogram.ctypes.data)


def snapshot(source: Histogram) -> Histogram:
    """A copy of one histogram that may be being written; count, minimum and maximum agree with its buckets."""
    copied = np.atleast_1d(source).copy()
    if len(copied) != 1:
        raise ValueError(f"a snapshot is of one histogram, not of {len(copied)}")
    _settle(copied)
    return copied


def difference(later: Histogram, earlier: Histogram) -> Histogram:
    """What was recorded between two snapshots of one histogram.

    The extremes are those of the buckets, since the exact ones are known only since the beginning. Raises
    ValueError when a count went down: the two are not of one histogram, or it was reset between them.
    """
    later_counts, earlier_counts = later["count"][0], earlier["count"][0]
    if (later_counts < earlier_counts).any():
        raise ValueError("the earlier snapshot holds counts that the later one lacks")
    between = new()
    between["name"] = later["name"]
    between["count"][0] = later_counts - earlier_counts
    between["clamped_count"] = later["clamped_count"] - earlier["clamped_count"]
    _extremes_of_buckets(between)
    return between


def _extremes_of_buckets(histogram: Histogram) -> None:
    recorded = np.flatnonzero(histogram["count"][0])
    if len(recorded):
        histogram["value_min"] = _lowest(int(recorded[0]))
        histogram["value_max"] = lib.histogram_highest_equivalent(int(recorded[-1]))
    _settle(histogram)


def merge(sources: Iterable[Histogram], name: str = "") -> Histogram:
    """One histogram of all that the sources recorded."""
    merged = new(name)
    for source in sources:
        lib.histogram_merge(pointer(merged), pointer(source))
    return merged


def _lowest(index: int) -> int:
    """The lowest value that falls in a bucket."""
    return int(lib.histogram_highest_equivalent(index - 1)) + 1 if index else 0


def _settle(histogram: Histogram) -> None:
    """Make total, minimum and maximum agree with the buckets, whatever moved while they were copied."""
    counts = histogram["count"][0]
    recorded = np.flatnonzero(counts)
    histogram["total_count"] = counts.sum()
    if len(recorded) == 0:
        histogram["value_min"], histogram["value_max"] = np.iinfo(np.uint64).max, 0
        return
    first, last = int(recorded[0]), int(recorded[-1])
    histogram["value_min"] = min(max(int(histogram["value_min"][0]), _lowest(first)), _highest(first))
    histogram["value_max"] = min(max(int(histogram["value_max"][0]), _lowest(last)), _highest(last))


def _highest(index: int) -> int:
    return int(lib.histogram_highest_equivalent(index))


def value_at(histogram: Histogram, percentile: float) -> int:
    """The value that `percentile` % (0 to 100) of the recorded ones do not exceed; 0 when there are none."""
    return int(lib.histogram_value_at(pointer(histogram), percentile))


def summarise(histogram: Histogram) -> Summary:
    """Count, extremes, mean and percentiles. The mean takes each value at its bucket's middle."""
    counts = histogram["count"][0]
    recorded = np.flatnonzero(counts)
    count = int(counts.sum())
    middles = np.array([(_lowest(int(index)) + _highest(int(index))) / 2 for index in recorded])
    mean = float((middles * counts[recorded]).sum() / count) if count else 0.0
    return Summary(
        name=histogram["name"][0].decode(),
        count=count,
        min_ns=int(histogram["value_min"][0]) if count else 0,
        mean_ns=mean,
        p50_ns=value_at(histogram, 50.0),
        p99_ns=value_at(histogram, 99.0),
        p999_ns=value_at(histogram, 99.9),
        max_ns=int(histogram["value_max"][0]),
    )


# ---- HdrHistogram's interchange form -------------------------------------------------------------------


def _append_zigzag(target: bytearray, value: int) -> None:
    """LEB128 of the zigzag of a signed 64-bit number: seven bits a byte, and eight in a ninth."""
    bits = ((value << 1) ^ (value >> 63)) & 0xFFFFFFFFFFFFFFFF
    for _ in range(8):
        if bits < 0x80:
            target.append(bits)
            return
        target.append(bits & 0x7F | 0x80)
        bits >>= 7
    target.append(bits)


def encode_v2(histogram: Histogram) -> str:
    """The compressed V2 form in base64, as a log line holds it. A run of zeros is one negative number."""
    counts = histogram["count"][0]
    payload = bytearray()
    position = 0
    for index in np.flatnonzero(counts):
        if index > position:
            _append_zigzag(payload, position - int(index))
        _append_zigzag(payload, int(counts[index]))
        position = int(index) + 1
    header = COUNTS_HEADER.pack(V2_COUNTS_COOKIE, len(payload), 0, SIGNIFICANT_FIGURES, 1, lib.HISTOGRAM_VALUE_MAX, 1.0)
    compressed = zlib.compress(header + bytes(payload))
    return base64.b64encode(COMPRESSED_HEADER.pack(V2_COMPRESSED_COOKIE, len(compressed)) + compressed).decode()


def _zigzag_numbers(payload: bytes) -> Iterator[int]:
    """The numbers of _append_zigzag. Raises ValueError when the last one is cut off."""
    bits = shift = taken = 0
    for byte in payload:
        taken += 1
        if taken == 9:  # the ninth holds eight bits
            bits |= byte << shift
        else:
            bits |= (byte & 0x7F) << shift
            shift += 7
            if byte & 0x80:
                continue
        yield (bits >> 1) ^ -(bits & 1)
        bits = shift = taken = 0
    if taken:
        raise ValueError("its last count is cut off")


def decode_v2(text: str, name: str = "") -> Histogram:
    """The histogram that `encode_v2` wrote, or another writer with the same geometry.

    Extremes are those of the buckets. Raises ValueError for anything else: the text is not trusted.
    """
    raw = base64.b64decode(text, validate=True)
    if len(raw) < COMPRESSED_HEADER.size:
        raise ValueError("no histogram: too short")
    cookie, length = COMPRESSED_HEADER.unpack_from(raw)
    if cookie != V2_COMPRESSED_COOKIE or length != len(raw) - COMPRESSED_HEADER.size:
        raise ValueError("no compressed V2 histogram")
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(raw[COMPRESSED_HEADER.size :], ENCODED_BYTES_MAX)
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from None
    if not inflater.eof or len(plain) < COUNTS_HEADER.size:
        raise ValueError("larger than a histogram of this geometry can be, or cut off")
    cookie, length, offset, figures, lowest, highest, _ratio = COUNTS_HEADER.unpack_from(plain)
    if (cookie, offset, figures, lowest, highest) != (
        V2_COUNTS_COOKIE, 0, SIGNIFICANT_FIGURES, 1, lib.HISTOGRAM_VALUE_MAX,
    ) or length != len(plain) - COUNTS_HEADER.size:  # fmt: skip
        raise ValueError("a histogram of another geometry")
    decoded = new(name)
    index = 0
    for number in _zigzag_numbers(plain[COUNTS_HEADER.size :]):
        if number < 0:
            index -= number
            continue
        if index >= lib.HISTOGRAM_COUNTS:
            raise ValueError("more counts than a histogram of this geometry has")
        decoded["count"][0][index] = number
        index += 1
    _extremes_of_buckets(decoded)
    return decoded


@dataclass(frozen=True)
class Interval:
    """A histogram and the span of engine time in which it was recorded. `tag`: no comma, no space."""

    tag: str
    start_time_ns: int
    end_time_ns: int
    histogram: Histogram


def write_log(target: TextIO, intervals: Iterable[Interval], *, start_time_ns: int) -> None:
    """Write an HdrHistogram log. Time stamps are seconds since the epoch; the maximum is in milliseconds."""
    write_log_head(target, start_time_ns=start_time_ns)
    for interval in intervals:
        write_log_interval(target, interval)


def write_log_head(target: TextIO, *, start_time_ns: int) -> None:
    """The lines before the first interval."""
    target.write("#[Histogram log format version 1.2]\n")
    target.write(f"#[StartTime: {start_time_ns / 1e9:.3f} (seconds since epoch)]\n")
    target.write('"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n')


def write_log_interval(target: TextIO, interval: Interval) -> None:
    """One line more."""
    if not interval.tag or any(character in interval.tag for character in ", \r\n"):
        raise ValueError(f"a log's tag holds no comma, space or line end: {interval.tag!r}")
    length_s = (interval.end_time_ns - interval.start_time_ns) / 1e9
    value_max_ms = int(interval.histogram["value_max"][0]) / 1e6
    target.write(
        f"Tag={interval.tag},{interval.start_time_ns / 1e9:.3f},{length_s:.3f},{value_max_ms:.3f},"
        f"{encode_v2(interval.histogram)}\n"
    )


def read_log(source: Iterable[str]) -> Iterator[Interval]:
    """The intervals of a log. Raises ValueError for a line that is none; a last line without its end is left out."""
    for line in source:
        if line.startswith(("#", '"')) or not line.endswith("\n"):
            continue
        tag, start, length, _value_max, text = line.rstrip("\n").split(",")
        name = tag.removeprefix("Tag=")
        start_ns = round(float(start) * 1e9)
        yield Interval(name, start_ns, start_ns + round(float(length) * 1e9), decode_v2(text, name[:31]))
