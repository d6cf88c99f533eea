"""What a capture holds: ``hotpath inspect FILE``.

    ITCH file:  |length|message| ...                      counted in C, in place
    pcap file:  Ethernet > IP > UDP > MoldUDP64 > ITCH    counted in C
                               TCP > SoupBinTCP > OUCH 5.0, OUCH 4.2 or ITCH, whichever understands most

Every byte of the file is accounted for under one name: the values of ``Inspection.accounts`` add up to the
size of the file, and ``undecoded_bytes`` are those under the names of ``UNDECODED``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.table import Table

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.captures import (
    FRAME_HEADER_SIZE,
    CaptureFormat,
    MappedFile,
    TcpStream,
    detect_format,
    index_packets,
    reassemble,
)

LOCATES = 65536
INSTRUMENTS_SHOWN = 20
UNDERSTOOD, NOT_UNDERSTOOD = 0, 65  # exit codes: 65 is EX_DATAERR of sysexits.h

ITCH_NAMES = {
    "S": "system event", "R": "stock directory", "H": "trading action", "Y": "Reg SHO restriction",
    "L": "market participant position", "V": "MWCB decline level", "W": "MWCB status", "K": "IPO quoting period",
    "J": "LULD auction collar", "h": "operational halt", "A": "add order", "F": "add order with MPID",
    "E": "order executed", "C": "order executed with price", "X": "order cancel", "D": "order delete",
    "U": "order replace", "P": "trade", "Q": "cross trade", "B": "broken trade", "I": "net order imbalance",
    "N": "retail interest", "O": "direct listing with capital raise", "G": "end of snapshot",
}  # fmt: skip
OUCH_ORDER_NAMES = {
    "O": "enter order", "U": "replace order", "X": "cancel order", "M": "modify order", "Q": "account query",
}  # fmt: skip
OUCH_REPORT_NAMES = {
    "S": "system event", "A": "accepted", "U": "replaced", "C": "canceled", "D": "self-match canceled",
    "E": "executed", "G": "executed with reference price", "F": "trade correction", "B": "broken trade",
    "J": "rejected", "P": "cancel pending", "I": "cancel rejected", "T": "priority update", "M": "modified",
    "R": "restated", "Q": "account query response",
}  # fmt: skip
SOUP_NAMES = {
    "+": "debug", "A": "login accepted", "J": "login rejected", "H": "server heartbeat", "Z": "end of session",
    "L": "login request", "R": "client heartbeat", "O": "logout request",
}  # fmt: skip
PACKET_NAMES = {
    lib.PACKET_UDP: "UDP", lib.PACKET_TCP: "TCP", lib.PACKET_OTHER: "other protocol",
    lib.PACKET_FRAGMENT: "IP fragment", lib.PACKET_CUT: "cut by the capture", lib.PACKET_MALFORMED: "malformed",
}  # fmt: skip

# Names under which no byte was understood.
UNDECODED = frozenset(
    {"messages not understood", "UDP not understood", "TCP not understood", "frames not understood", "tail"}
)


class MessageCount(msgspec.Struct, frozen=True):
    """How many messages of one type of one protocol were understood."""

    protocol: str
    type: str
    name: str
    count: int


class InstrumentCount(msgspec.Struct, frozen=True):
    """One instrument of the day. ``symbol`` is empty where no message named it."""

    symbol: str
    locate: int
    messages: int
    adds: int


class SequenceGap(msgspec.Struct, frozen=True):
    """Messages that a MoldUDP64 session numbered and the capture does not hold."""

    session: str
    first: int
    count: int


class Inspection(msgspec.Struct, frozen=True):
    """What a capture holds. Message times are ns since midnight at the venue, capture times ns since the epoch;
    both are None where nothing bears one. ``malformed`` counts messages and packets that were not understood."""

    path: str
    format: str
    bytes: int
    messages: int
    counts: list[MessageCount]
    instruments: list[InstrumentCount]
    first_time_ns: int | None
    last_time_ns: int | None
    time_reversals: int
    first_capture_time_ns: int | None
    last_capture_time_ns: int | None
    packets: dict[str, int]
    sequence_gaps: list[SequenceGap]
    duplicate_messages: int
    tcp_missing_bytes: int
    malformed: int
    undecoded_bytes: int
    accounts: dict[str, int]
    remarks: list[str]


class _Tally:
    """What has been counted so far."""

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        self.scan: Any = ffi.new("itch_scan *")
        self.traffic: NDArray[np.void] = np.zeros(LOCATES, dtype=dtype_of("itch_traffic"))
        self.traffic_pointer: Any = ffi.cast("itch_traffic *", self.traffic.ctypes.data)
        self.accounts: Counter[str] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.packets: Counter[str] = Counter()
        self.gaps: list[SequenceGap] = []
        self.duplicates = self.tcp_missing_bytes = self.malformed = 0
        self.capture_times: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self.remarks: list[str] = []

    def finish(self, found: CaptureFormat) -> Inspection:
        """The result, once every byte is accounted for."""
        scan = self.scan
        self.accounts["ITCH messages"] = scan.understood_bytes
        self.accounts["messages not understood"] += scan.undecoded_bytes
        for letter in range(256):
            if scan.count[letter]:
                self.counts["ITCH", chr(letter)] += scan.count[letter]
        accounts = {name: size for name, size in sorted(self.accounts.items()) if size}
        accounted = sum(accounts.values())
        if accounted != self.file.size:
            raise self.file.error(accounted, f"{accounted} bytes accounted for: a fault of hotpath, not of the file")
        return Inspection(
            path=str(self.file.path),
            format=str(found),
            bytes=self.file.size,
            messages=sum(self.counts.values()),
            counts=[_message_count(protocol, letter, count) for (protocol, letter), count in self.counts.most_common()],
            instruments=_instruments(self.traffic),
            first_time_ns=scan.time_first_ns if scan.timed else None,
            last_time_ns=scan.time_last_ns if scan.timed else None,
            time_reversals=scan.time_reversals,
            first_capture_time_ns=int(self.capture_times.min()) if len(self.capture_times) else None,
            last_capture_time_ns=int(self.capture_times.max()) if len(self.capture_times) else None,
            packets=dict(self.packets),
            sequence_gaps=self.gaps,
            duplicate_messages=self.duplicates,
            tcp_missing_bytes=self.tcp_missing_bytes,
            malformed=self.malformed + scan.unknown_types + scan.bad_lengths + scan.bad_fields,
            undecoded_bytes=sum(size for name, size in accounts.items() if name in UNDECODED),
            accounts=accounts,
            remarks=self.remarks,
        )


def _message_count(protocol: str, letter: str, count: int) -> MessageCount:
    names = {
        "ITCH": ITCH_NAMES,
        "SoupBinTCP": SOUP_NAMES,
        "OUCH 5.0 order": OUCH_ORDER_NAMES,
        "OUCH 4.2 order": OUCH_ORDER_NAMES,
        "OUCH 5.0 report": OUCH_REPORT_NAMES,
        "OUCH 4.2 report": OUCH_REPORT_NAMES,
    }[protocol]
    return MessageCount(protocol=protocol, type=letter, name=names.get(letter, ""), count=count)


def _instruments(traffic: NDArray[np.void]) -> list[InstrumentCount]:
    """Busiest first. Locate 0 is the market's own and no instrument, unless a message named one."""
    seen = np.flatnonzero((traffic["messages"] > 0) & ((traffic["stock"] != b"") | (np.arange(LOCATES) != 0)))
    busiest = seen[np.argsort(-traffic["messages"][seen].astype(np.int64), kind="stable")]
    return [
        InstrumentCount(
            symbol=traffic["stock"][locate].decode("ascii", "replace").rstrip(),
            locate=int(locate),
            messages=int(traffic["messages"][locate]),
            adds=int(traffic["adds"][locate]),
        )
        for locate in busiest
    ]


def inspect_capture(path: Path) -> Inspection:
    """Look through a whole capture. Raises CaptureError when it is no capture; damage inside one is counted."""
    with MappedFile(path) as file:
        found = detect_format(file)
        tally = _Tally(file)
        if found is CaptureFormat.ITCH:
            _inspect_itch(file, tally)
        else:
            _inspect_pcap(file, tally)
        return tally.finish(found)


def _inspect_itch(file: MappedFile, tally: _Tally) -> None:
    scan = tally.scan
    consumed = lib.itch_file_scan(file.pointer, file.size, scan, tally.traffic_pointer)
    frames = scan.messages + scan.unknown_types + scan.bad_lengths + scan.bad_fields
    tally.accounts["lengths"] = FRAME_HEADER_SIZE * (frames + scan.ended)
    tally.accounts["tail"] = file.size - consumed
    if consumed < file.size:
        what = "behind the end mark" if scan.ended else "of a message cut short"
        tally.remarks.append(f"{file.size - consumed} bytes {what} at byte {consumed}")


# ---- pcap ------------------------------------------------------------------------------------------------------------


def _inspect_pcap(file: MappedFile, tally: _Tally) -> None:
    index = index_packets(file, partial=True)
    packets = index.packets
    if index.tail:
        tally.remarks.append(f"at byte {index.consumed}: {index.tail}")
    tally.accounts["tail"] = file.size - index.consumed
    tally.accounts["capture headers"] = lib.PCAP_FILE_HEADER_SIZE + lib.PCAP_RECORD_HEADER_SIZE * len(packets)
    tally.capture_times = packets["time_ns"]
    for kind, name in PACKET_NAMES.items():
        count = int(np.count_nonzero(packets["kind"] == kind))
        if count:
            tally.packets[name] = count
    carrying = np.isin(packets["kind"], (lib.PACKET_UDP, lib.PACKET_TCP))
    heads = int((packets["payload_offset"] - packets["frame_offset"])[carrying].sum())
    payloads = int(packets["payload_length"][carrying].sum())
    tally.accounts["frame headers"] = heads
    tally.accounts["frame padding"] = int(packets["captured"][carrying].sum()) - heads - payloads
    tally.accounts["frames not understood"] = int(packets["captured"][~carrying].sum())
    tally.malformed += int(np.count_nonzero(packets["kind"] == lib.PACKET_MALFORMED))
    _inspect_udp(file, packets, tally)
    for stream in reassemble(file, packets):
        _inspect_stream(stream, tally)


def _inspect_udp(file: MappedFile, packets: NDArray[np.void], tally: _Tally) -> None:
    headers = np.zeros(len(packets), dtype=dtype_of("mold_header"))
    verdicts = np.zeros(len(packets), dtype=np.uint8)
    scan = tally.scan
    lib.itch_packets_scan(
        file.pointer,
        ffi.cast("pcap_packet *", packets.ctypes.data),
        len(packets),
        ffi.cast("mold_header *", headers.ctypes.data),
        ffi.cast("uint8_t *", verdicts.ctypes.data),
        scan,
        tally.traffic_pointer,
    )
    understood = verdicts == lib.MOLD_OK
    refused = ~understood & (verdicts != lib.MOLD_NOT_UDP)
    blocks = scan.messages + scan.unknown_types + scan.bad_lengths + scan.bad_fields
    tally.accounts["MoldUDP64 framing"] = lib.MOLD_HEADER_SIZE * int(understood.sum()) + FRAME_HEADER_SIZE * blocks
    tally.accounts["UDP not understood"] = int(packets["payload_length"][refused].sum())
    tally.malformed += int(refused.sum())
    for session in np.unique(headers["session"][understood]):
        _inspect_session(session, headers[understood & (headers["session"] == session)], tally)


def _inspect_session(session: bytes, headers: NDArray[np.void], tally: _Tally) -> None:
    """Gaps and duplicates of one session, whatever the order in which its packets came. A heartbeat and an end of
    session hold nothing, but say that everything before them was sent."""
    counts = np.where(headers["count"] == lib.MOLD_END_OF_SESSION, 0, headers["count"]).astype(np.int64)
    first = headers["sequence"].astype(np.int64)
    order = np.lexsort((counts, first))
    expected = int(first[order[0]])
    for start, count in zip(first[order].tolist(), counts[order].tolist(), strict=True):
        if start > expected:
            name = session.decode("ascii", "replace")
            tally.gaps.append(SequenceGap(session=name, first=expected, count=start - expected))
        tally.duplicates += max(0, min(expected, start + count) - start)
        expected = max(expected, start + count)


# ---- SoupBinTCP ------------------------------------------------------------------------------------------------------

Decoder = Callable[[bytes, int, Any], int]


class _Dialect:
    """One protocol that SoupBinTCP may carry: what understands each of its two directions."""

    def __init__(self, name: str, order: Decoder | None, report: Decoder) -> None:
        self.name = name
        self.order = order
        self.report = report

    def understands(self, soup_type: int, message: bytes) -> str:
        """The protocol as counted, or nothing when the message is not understood."""
        if soup_type == lib.SOUP_SEQUENCED:
            return self._report_name() if self.report(message, len(message), self._target("report")) == 0 else ""
        if self.order is not None and self.order(message, len(message), self._target("order")) == 0:
            return f"{self.name} order"
        return ""

    def _report_name(self) -> str:
        return self.name if self.name == "ITCH" else f"{self.name} report"

    def _target(self, side: str) -> Any:
        return ffi.new("itch_message *" if self.name == "ITCH" else f"ouch_{side} *")


def _dialects() -> list[_Dialect]:
    return [
        _Dialect("OUCH 5.0", lib.ouch50_decode_order, lib.ouch50_decode_report),
        _Dialect("OUCH 4.2", lib.ouch42_decode_order, lib.ouch42_decode_report),
        _Dialect("ITCH", None, lib.itch_decode),
    ]


def _inspect_stream(stream: TcpStream, tally: _Tally) -> None:
    tally.tcp_missing_bytes += stream.missing_bytes
    tally.accounts["TCP repeated"] += stream.repeated_bytes
    carried: list[tuple[int, bytes]] = []
    for run in stream.runs:
        carried += _soup_messages(run, stream, tally)
    if not carried:
        return
    best = max(_dialects(), key=lambda dialect: sum(bool(dialect.understands(*entry)) for entry in carried))
    for soup_type, message in carried:
        _count_carried(best, soup_type, message, tally)


def _soup_messages(run: bytes, stream: TcpStream, tally: _Tally) -> list[tuple[int, bytes]]:
    """The data packets of a run of bytes; session packets are counted here. A run begins with a packet."""
    carried: list[tuple[int, bytes]] = []
    packet = ffi.new("soup_packet *")
    buffer = ffi.from_buffer("uint8_t[]", run)
    at = 0
    while at < len(run):
        status = lib.soup_parse(buffer + at, len(run) - at, packet)
        letter = chr(packet.type)
        is_data = packet.type in (lib.SOUP_SEQUENCED, lib.SOUP_UNSEQUENCED)
        if status != lib.SOUP_OK or not (is_data or letter in SOUP_NAMES):
            tally.accounts["TCP not understood"] += len(run) - at
            tally.malformed += status != lib.SOUP_NEED_MORE
            tally.remarks.append(f"{stream.source} > {stream.target}: {len(run) - at} bytes are not SoupBinTCP")
            break
        if is_data:
            tally.accounts["SoupBinTCP framing"] += lib.SOUP_HEADER_SIZE
            carried.append((packet.type, bytes(ffi.buffer(packet.payload, packet.length))))
        else:
            tally.accounts["SoupBinTCP framing"] += packet.size
            tally.counts["SoupBinTCP", letter] += 1
        at += packet.size
    return carried


def _count_carried(dialect: _Dialect, soup_type: int, message: bytes, tally: _Tally) -> None:
    protocol = dialect.understands(soup_type, message)
    if protocol == "ITCH":
        lib.itch_scan_message(tally.scan, tally.traffic_pointer, message, len(message))
    elif protocol:
        tally.accounts["OUCH messages"] += len(message)
        tally.counts[protocol, chr(message[0])] += 1
    else:
        tally.accounts["messages not understood"] += len(message)
        tally.malformed += 1


# ---- showing ---------------------------------------------------------------------------------------------------------


def to_json(inspection: Inspection) -> bytes:
    """The whole inspection, for machines."""
    return msgspec.json.format(msgspec.json.encode(inspection), indent=2)


def show_time(time_ns: int) -> str:
    """A time of day, from ns since midnight."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{fraction:09}"


def render(inspection: Inspection) -> RenderableType:
    """Tables for people: summary, messages by type, the busiest instruments, gaps."""
    parts: list[RenderableType] = [_summary(inspection)]
    if inspection.counts:
        parts.append(_counts_table(inspection))
    if inspection.instruments:
        parts.append(_instruments_table(inspection))
    if inspection.sequence_gaps:
        parts.append(_gaps_table(inspection))
    return Group(*parts)


def _summary(inspection: Inspection) -> Table:
    table = Table(title=Path(inspection.path).name, show_header=False, title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_row("format", inspection.format)
    table.add_row("bytes", f"{inspection.bytes:,}")
    table.add_row("messages", f"{inspection.messages:,}")
    for name, count in inspection.packets.items():
        table.add_row(f"packets: {name}", f"{count:,}")
    if inspection.first_time_ns is not None and inspection.last_time_ns is not None:
        table.add_row("first message", show_time(inspection.first_time_ns))
        table.add_row("last message", show_time(inspection.last_time_ns))
        table.add_row("times running back", f"{inspection.time_reversals:,}")
    for name, size in inspection.accounts.items():
        table.add_row(f"bytes: {name}", f"{size:,}", style="red" if name in UNDECODED else "")
    table.add_row("gaps", f"{len(inspection.sequence_gaps):,}")
    table.add_row("malformed", f"{inspection.malformed:,}", style="red" if inspection.malformed else "")
    undecoded = inspection.undecoded_bytes
    table.add_row("bytes not understood", f"{undecoded:,}", style="red" if undecoded else "green")
    for remark in inspection.remarks:
        table.add_row("remark", remark)
    return table


def _counts_table(inspection: Inspection) -> Table:
    table = Table(title="messages by type", title_justify="left")
    for column in ("protocol", "type", "name"):
        table.add_column(column)
    table.add_column("count", justify="right")
    for entry in inspection.counts:
        table.add_row(entry.protocol, entry.type, entry.name, f"{entry.count:,}")
    return table


def _instruments_table(inspection: Inspection) -> Table:
    shown = inspection.instruments[:INSTRUMENTS_SHOWN]
    total = len(inspection.instruments)
    title = "instruments" if len(shown) == total else f"busiest {len(shown)} of {total:,} instruments"
    table = Table(title=title, title_justify="left")
    table.add_column("symbol")
    for column in ("locate", "messages", "adds"):
        table.add_column(column, justify="right")
    for entry in shown:
        table.add_row(entry.symbol, str(entry.locate), f"{entry.messages:,}", f"{entry.adds:,}")
    return table


def _gaps_table(inspection: Inspection) -> Table:
    table = Table(title="sequence gaps", title_justify="left")
    table.add_column("session")
    table.add_column("first missing", justify="right")
    table.add_column("messages", justify="right")
    for gap in inspection.sequence_gaps[:INSTRUMENTS_SHOWN]:
        table.add_row(gap.session, f"{gap.first:,}", f"{gap.count:,}")
    left = len(inspection.sequence_gaps) - INSTRUMENTS_SHOWN
    if left > 0:
        table.add_row(f"and {left:,} more", "", "")
    return table


def run_inspect(path: Path, *, json: bool) -> int:
    """Print what a capture holds; the exit code: 0, or 65 when some of its bytes were not understood."""
    inspection = inspect_capture(path)
    if json:
        print(to_json(inspection).decode())
    else:
        Console().print(render(inspection))
    return NOT_UNDERSTOOD if inspection.undecoded_bytes else UNDERSTOOD
