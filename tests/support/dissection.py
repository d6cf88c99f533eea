"""Wireshark's dissectors as an oracle: what tshark reads in a capture, field by field.

capture --> tshark -T pdml --> protocols of each frame --> fields with position, size and value
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

UNDERSTOOD = ("soupbintcp", "ouch", "moldudp64")
PATIENCE_SECONDS = 100


@dataclass(frozen=True)
class Seen:
    """A field as tshark saw it. The position counts from the first byte of the frame, or of what TCP put together;
    a ``leaf`` has no fields with bytes within it."""

    name: str
    position: int
    size: int
    value: str
    leaf: bool = True


@dataclass(frozen=True)
class Protocol:
    """One layer of a frame."""

    name: str
    position: int
    size: int
    fields: list[Seen]

    def rebuilt(self) -> bytes:
        """Its bytes from the values of its leaves alone, with a hole where no field says what stands there."""
        leaves = [field for field in self.fields if field.leaf and field.size and field.value]
        held = {field.position + at: byte for field in leaves for at, byte in enumerate(bytes.fromhex(field.value))}
        assert len(held) == sum(field.size for field in leaves), f"{self.name}: fields lie over each other"
        start = min(held, default=0)
        assert sorted(held) == list(range(start, start + len(held))), f"{self.name}: bytes that no field tells of"
        return bytes(held[at] for at in sorted(held))

    def values(self) -> dict[str, bytes]:
        """The values of its leaves by name."""
        return {field.name: bytes.fromhex(field.value) for field in self.fields if field.leaf and field.value}


def decode_as(*, soup: Iterable[int], mold: Iterable[int]) -> list[str]:
    """tshark's arguments that force the protocol of these ports."""
    forced = [f"tcp.port=={port},soupbintcp" for port in soup] + [f"udp.port=={port},moldudp64" for port in mold]
    return [argument for rule in forced for argument in ("-d", rule)]


def dissect(path: Path, *arguments: str) -> list[list[Protocol]]:
    """The protocols of each frame of a capture; skips the test where tshark is missing."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is missing (Debian: apt-get install tshark)")
    with tempfile.TemporaryFile() as told:  # many times the capture's size
        command = [tshark, "-n", "-r", str(path), *arguments, "-T", "pdml"]
        subprocess.run(command, stdout=told, stderr=subprocess.PIPE, check=True, timeout=PATIENCE_SECONDS)
        told.seek(0)
        return [[_protocol(proto) for proto in frame.iter("proto")] for frame in _frames(ElementTree.iterparse(told))]


def _frames(events: Iterator[tuple[str, ElementTree.Element]]) -> Iterator[ElementTree.Element]:
    """Each frame once it is whole; its memory is given back behind it."""
    for _, element in events:
        if element.tag == "packet":
            yield element
            element.clear()


def _protocol(proto: ElementTree.Element) -> Protocol:
    found = [
        Seen(
            field.get("name", ""),
            int(field.get("pos", 0)),
            int(field.get("size", 0)),
            field.get("value", ""),
            leaf=not any(int(inner.get("size", 0)) for inner in field),
        )
        for field in proto.iter("field")
    ]
    return Protocol(proto.get("name", ""), int(proto.get("pos", 0)), int(proto.get("size", 0)), found)


def assert_known(protocols: list[Protocol]) -> None:
    """Nothing is malformed, unknown, or a lump that no dissector took."""
    for protocol in protocols:
        assert protocol.name not in ("_ws.malformed", "data"), protocol
        for field in protocol.fields:
            # What waits for the rest of its packet stands outside of any protocol.
            assert protocol.name != "fake-field-wrapper" or field.name.startswith("tcp."), field
            assert "unknown" not in field.name and "invalid" not in field.name, field
            assert field.name != "soupbintcp.message", field


def assert_understood(protocols: list[Protocol], payload: bytes, *, start: int) -> None:
    """Every byte of a payload at `start` of its frame lies in a field that is not a lump of unknown data."""
    names = {protocol.name for protocol in protocols}
    assert "fake-field-wrapper" not in names, names
    assert_known(protocols)
    taken = [False] * len(payload)
    for protocol in protocols:
        if protocol.name in UNDERSTOOD:
            for field in protocol.fields:
                for at in range(field.position - start, field.position - start + field.size):
                    taken[at] = True
    assert all(taken), f"bytes not decoded: {[at for at, known in enumerate(taken) if not known]}"
