"""What is fuzzed: the program, the kernels under it, the bytes it begins from, and the canaries it must catch.

ROWS is the one list; ``make fuzz`` runs it at full length, ``test_targets.py`` a little of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ffi import lib
from hotpath.examples.ingress.push_itch import FRAME
from tests import packets, wire_tables
from tests.support import model_blobs
from tests.support.ingress_driver import norm_bytes, raw_payload

ASAN = "heap-buffer-overflow"
UBSAN = "signed integer overflow"


@dataclass(frozen=True)
class Target:
    """One row. ``canaries``: each by name, and the words that tell that it was caught for the right reason."""

    name: str
    what: str
    program: str
    sources: tuple[str, ...]
    own_canaries: dict[str, str]
    understood_min: float
    """Share of packets that must go further than being refused: mutants that nothing understands test nothing."""
    corpus: Callable[[], list[bytes]] | None = None
    decoder: str = ""
    canaries: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "canaries", {"overread": ASAN, "overflow": UBSAN, **self.own_canaries})


# ---- what is valid ------------------------------------------------------------------------------------------


def _plain(*tables: dict[str, wire_tables.Message]) -> list[bytes]:
    """One of each type."""
    return [wire_tables.compose(one, wire_tables.plain_values(one)) for table in tables for one in table.values()]


def itch_messages() -> list[bytes]:
    return [*_plain(wire_tables.ITCH), b"G" + b"17".rjust(20)]


def ouch42_messages() -> list[bytes]:
    return _plain(wire_tables.OUCH42_ORDERS, wire_tables.OUCH42_REPORTS)


def ouch50_messages() -> list[bytes]:
    """One of each type; where there may be an appendage, with an empty one, a whole one and one cut in an element."""
    found = []
    for table, appended in (
        (wire_tables.OUCH50_ORDERS, wire_tables.OUCH50_ORDERS_APPENDED + wire_tables.OUCH50_ORDERS_MAY_APPEND),
        (wire_tables.OUCH50_REPORTS, wire_tables.OUCH50_REPORTS_APPENDED),
    ):
        for message in table.values():
            values = wire_tables.plain_values(message)
            if message.type in appended:
                fixed = wire_tables.compose(message, values, appended=message.type not in "XQ")
                found += [fixed + b"\0\0", fixed + bytes.fromhex("0009 05 02 4d4c524f 02 12 30")]
                found.append(fixed + bytes.fromhex("0008 05 02 4d4c524f 02 12"))
            else:
                found.append(wire_tables.compose(message, values))
    return found


def soup_packets() -> list[bytes]:
    inside = itch_messages() + ouch42_messages() + ouch50_messages()
    found = [packets.soup_packet(bytes([letter]), inside[letter % len(inside)]) for letter in b"+AJSHZLURO"]
    found.append(packets.soup_packet(b"L", b"USER  PASSWORD  " + b" " * 10 + b"1".rjust(20)))
    found.append(packets.soup_packet(b"A", b"SESSION001" + b"1".rjust(20)))
    return found


def mold_packets() -> list[bytes]:
    inside = itch_messages()
    whole = [packets.mold_packet(inside[:count]) for count in (0, 1, 2, 3, len(inside))]
    return [*whole, packets.mold_packet([b"", inside[0]]), packets.mold_packet([b""] * 40)]


def files() -> list[bytes]:
    """Captures of packets, and a file of messages."""
    mold, soup = mold_packets()[:3], soup_packets()
    frames = [packets.udp_frame(mold[1], tags=[0x88A8, 0x8100])]
    frames.append(packets.tcp_frame(soup[0], sequence=1, source_port=1, target_port=2))
    frames.append(packets.ethernet(packets.ipv6(packets.UDP, packets.udp(mold[0])), ether_type=0x86DD))
    messages = b"".join(len(message).to_bytes(2, "big") + message for message in itch_messages()[:8])
    return [packets.pcap(frames), packets.pcap(frames, order=">", nanosecond=False), messages + b"\0\0"]


def ingress_frames() -> list[bytes]:
    """One of each kind, and raw and canonical ones of one message and of many."""
    raw = [raw_payload(b"A" * 36), raw_payload(*(bytes([65 + index]) * (index + 1) for index in range(40)))]
    norms = [norm_bytes(kind, symbol=b"GOOG", order_ref=kind, price_ticks=1, quantity_lots=1) for kind in range(16, 43)]
    bodies = [(lib.INGRESS_SESSION, b"", 0), (lib.INGRESS_SESSION, b"", 3), (lib.INGRESS_HEARTBEAT, b"", 0)]
    bodies += [(lib.INGRESS_END, b"", 0), (lib.INGRESS_RAW, raw[0], 1), (lib.INGRESS_RAW, raw[1], 40)]
    bodies += [(lib.INGRESS_NORM, norms[0], 1), (lib.INGRESS_NORM, b"".join(norms), len(norms))]
    return [
        FRAME.pack(b"HPIN", 1, kind, 0, b"a", 1, 1, count, len(payload)) + payload for kind, payload, count in bodies
    ]


def _mostly(own: Callable[[], list[bytes]]) -> Callable[[], list[bytes]]:
    """Three of a decoder's own messages for one of each other's: what is not meant for it reaches it too."""

    def corpus() -> list[bytes]:
        mine = own()
        strange = [one for other in CODECS.values() if other is not own for one in other()]
        return mine * (3 * len(strange) // len(mine) + 1) + strange

    return corpus


CODECS = {
    "itch": itch_messages,
    "mold": mold_packets,
    "soup": soup_packets,
    "ouch42": ouch42_messages,
    "ouch50": ouch50_messages,
    "file": files,
}

# ---- the rows ------------------------------------------------------------------------------------------------

RING = ("ring", "segment", "wait")


def _codec(name: str, what: str, own_canaries: dict[str, str], *, understood_min: float = 0.1) -> Target:
    return Target(
        name=name,
        what=what,
        program="codec_fuzz",
        sources=("itch", "itch_file", "moldudp", "ouch", "ouch42", "ouch50", "pcap", "soup"),
        own_canaries=own_canaries,
        understood_min=understood_min,
        corpus=_mostly(CODECS[name]),
        decoder=name,
    )


ROWS = {
    target.name: target
    for target in (
        _codec("itch", "ITCH 5.0 decoder", {"offset": "ITCH round trip, at packet"}),
        _codec("mold", "MoldUDP64 walker", {"skip": "mold_check and mold_next disagree"}),
        _codec("soup", "SoupBinTCP packets", {"offset": "SoupBinTCP round trip, at packet"}),
        _codec("ouch42", "OUCH 4.2 decoders", {"offset": "OUCH 4.2 order round trip, at packet"}),
        _codec("ouch50", "OUCH 5.0 decoders", {"offset": "OUCH 5.0 order round trip, at packet"}),
        _codec("file", "captures and files", {"beyond": "a payload beyond its file"}),
        Target(
            name="ingress",
            what="ingress frames",
            program="ingress_fuzz",
            sources=("ingress", "ingress_feed", *RING),
            own_canaries={"gap": "messages lost or doubled"},
            understood_min=0.1,
            corpus=ingress_frames,
        ),
        Target(
            name="line",
            what="A/B line with gaps",
            program="line_fuzz",
            sources=("line", "line_gap", "line_socket", "moldudp", "clock", "histogram", *RING),
            own_canaries={"twice": "a message out of sequence", "stale": "a message of what was never received"},
            understood_min=0.1,
        ),
        Target(
            name="model",
            what="model blobs",
            program="model_fuzz",
            sources=(
                "model",
                "model_check",
                "model_trees",
                "model_portable",
                "model_avx2",
                "model_avx512",
                "model_ort",
                "digest",
                *RING,
            ),
            own_canaries={"short": ASAN, "paths": "the paths differ"},
            understood_min=0.1,
            corpus=model_blobs.corpus,
        ),
        Target(
            name="seat",
            what="co-process seats",
            program="seat_fuzz",
            sources=(
                *("seat", "seat_front", "seat_client", "stage", "control", "clock", "digest", "histogram"),
                *RING,
            ),
            own_canaries={
                "trust": "an intent for an instrument that does not exist",
                "cut": "the honest seat was cut",
            },
            understood_min=0.1,
        ),
    )
}
