"""Mutated messages through every decoder, under sanitizers; and proof that the harness would catch a bad one."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import packets, wire_tables

REPOSITORY = Path(__file__).resolve().parents[2]
HARNESS = REPOSITORY / "tests" / "fuzz" / "codec_fuzz.c"
SOURCES = ["itch", "itch_file", "moldudp", "ouch", "ouch42", "ouch50", "pcap", "soup"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
FLAGS = ["-std=gnu11", "-O1", "-g", *SANITIZERS]
MESSAGES = int(os.environ.get("HOTPATH_FUZZ_MESSAGES", "1000000"))
CANARY_MESSAGES = 20_000


def valid_messages() -> list[bytes]:
    """One of each type of each protocol, with appendages, and packets and captures around them."""
    found = []
    for table in (wire_tables.ITCH, wire_tables.OUCH42_ORDERS, wire_tables.OUCH42_REPORTS):
        found += [wire_tables.compose(message, wire_tables.plain_values(message)) for message in table.values()]
    found.append(b"G" + b"17".rjust(20))
    for table, appended in (
        (wire_tables.OUCH50_ORDERS, wire_tables.OUCH50_ORDERS_APPENDED + wire_tables.OUCH50_ORDERS_MAY_APPEND),
        (wire_tables.OUCH50_REPORTS, wire_tables.OUCH50_REPORTS_APPENDED),
    ):
        for message in table.values():
            values = wire_tables.plain_values(message)
            if message.type in appended:
                fixed = wire_tables.compose(message, values, appended=message.type not in "XQ")
                found += [fixed + b"\0\0", fixed + bytes.fromhex("0009 05 02 4d4c524f 02 12 30")]
            else:
                found.append(wire_tables.compose(message, values))
    soup = [packets.soup_packet(bytes([letter]), found[letter % len(found)]) for letter in b"+AJSHZLURO"]
    soup.append(packets.soup_packet(b"L", b"USER  PASSWORD  " + b" " * 10 + b"1".rjust(20)))
    soup.append(packets.soup_packet(b"A", b"SESSION001" + b"1".rjust(20)))
    mold = [packets.mold_packet(found[:3]), packets.mold_packet([]), packets.mold_packet([b"", found[0]])]
    frames = [packets.udp_frame(mold[0], tags=[0x88A8, 0x8100])]
    frames.append(packets.tcp_frame(soup[0], sequence=1, source_port=1, target_port=2))
    frames.append(packets.ethernet(packets.ipv6(packets.UDP, packets.udp(mold[1])), ether_type=0x86DD))
    files = [packets.pcap(frames), packets.pcap(frames, order=">", nanosecond=False)]
    files.append(b"".join(len(message).to_bytes(2, "big") + message for message in found[:8]) + b"\0\0")
    return found + soup + mold + files


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The compiled harness and the corpus it starts from."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing (Debian: apt-get install gcc)")
    folder = tmp_path_factory.mktemp("fuzz")
    corpus = folder / "corpus.bin"
    corpus.write_bytes(b"".join(len(message).to_bytes(2, "big") + message for message in valid_messages()))
    program = folder / "codec_fuzz"
    room = REPOSITORY / "ffi"
    sources = [str(HARNESS), *(str(room / "src" / f"{name}.c") for name in SOURCES)]
    command = [compiler, *FLAGS, f"-I{room / 'include'}", f"-I{room / 'src'}", *sources, "-o", str(program)]
    subprocess.run(command, check=True, timeout=100)
    return program, corpus


def run(harness: tuple[Path, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    program, corpus = harness
    command = [str(program), str(corpus), *arguments]
    print("ran:", " ".join(command))
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_no_mutated_message_is_misread(harness: tuple[Path, Path]) -> None:
    """HOTPATH_FUZZ_SEED replays a run, HOTPATH_FUZZ_MESSAGES lengthens it."""
    seed = os.environ.get("HOTPATH_FUZZ_SEED", str(random.SystemRandom().randrange(2**63)))
    print(f"replay: HOTPATH_FUZZ_SEED={seed} HOTPATH_FUZZ_MESSAGES={MESSAGES} pytest {Path(__file__)}")
    done = run(harness, seed, str(MESSAGES))
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert counted["messages"] == MESSAGES
    assert counted["understood"] > MESSAGES // 10  # mutants that nothing understands would test nothing


@pytest.mark.parametrize(
    ("canary", "caught_by"), [("overread", "heap-buffer-overflow"), ("offset", "ITCH round trip, at message")]
)
def test_the_harness_catches_a_wrong_decoder(harness: tuple[Path, Path], canary: str, caught_by: str) -> None:
    done = run(harness, "1", str(CANARY_MESSAGES), canary)
    assert done.returncode != 0
    assert caught_by in done.stderr
