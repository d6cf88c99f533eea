"""Mutated frames through the ingress, under sanitizers; and proof that the harness would catch a fault."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from ffi import lib
from hotpath.examples.ingress.push_itch import FRAME
from tests.support.ingress_driver import norm_bytes, raw_payload

REPOSITORY = Path(__file__).resolve().parents[2]
HARNESS = REPOSITORY / "tests" / "fuzz" / "ingress_fuzz.c"
SOURCES = ["ingress", "ingress_feed", "ring", "segment", "wait"]
FLAGS = ["-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FRAMES = int(os.environ.get("HOTPATH_FUZZ_MESSAGES", "1000000"))
CANARY_FRAMES = 20_000


def valid_frames() -> list[bytes]:
    """One of each kind, and raw and canonical ones of one message and of many."""
    raw = [raw_payload(b"A" * 36), raw_payload(*(bytes([65 + index]) * (index + 1) for index in range(40)))]
    norms = [norm_bytes(kind, symbol=b"GOOG", order_ref=kind, price_ticks=1, quantity_lots=1) for kind in range(16, 43)]
    bodies = [(lib.INGRESS_SESSION, b"", 0), (lib.INGRESS_SESSION, b"", 3), (lib.INGRESS_HEARTBEAT, b"", 0)]
    bodies += [(lib.INGRESS_END, b"", 0), (lib.INGRESS_RAW, raw[0], 1), (lib.INGRESS_RAW, raw[1], 40)]
    bodies += [(lib.INGRESS_NORM, norms[0], 1), (lib.INGRESS_NORM, b"".join(norms), len(norms))]
    return [
        FRAME.pack(b"HPIN", 1, kind, 0, b"a", 1, 1, count, len(payload)) + payload for kind, payload, count in bodies
    ]


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The compiled harness and the corpus it starts from."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is missing (Debian: apt-get install gcc)")
    folder = tmp_path_factory.mktemp("fuzz")
    corpus, program = folder / "corpus.bin", folder / "ingress_fuzz"
    corpus.write_bytes(b"".join(len(frame).to_bytes(4, "little") + frame for frame in valid_frames()))
    room = REPOSITORY / "ffi"
    sources = [str(HARNESS), *(str(room / "src" / f"{name}.c") for name in SOURCES)]
    command = [compiler, *FLAGS, f"-I{room / 'include'}", f"-I{room / 'src'}", *sources, "-o", str(program)]
    subprocess.run(command, check=True, timeout=100)
    return program, corpus


def run(harness: tuple[Path, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    program, corpus = harness
    return subprocess.run(
        [str(program), str(corpus), *arguments], capture_output=True, text=True, timeout=600, check=False
    )


def test_no_mutated_frame_is_misread(harness: tuple[Path, Path]) -> None:
    """HOTPATH_FUZZ_SEED replays a run, HOTPATH_FUZZ_MESSAGES lengthens it."""
    seed = os.environ.get("HOTPATH_FUZZ_SEED", str(random.SystemRandom().randrange(2**63)))
    print(f"replay: HOTPATH_FUZZ_SEED={seed} HOTPATH_FUZZ_MESSAGES={FRAMES} pytest {Path(__file__)}")
    done = run(harness, seed, str(FRAMES))
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert counted["frames"] == FRAMES
    assert counted["taken"] > FRAMES // 10  # mutants that are all refused would test nothing behind the door


@pytest.mark.parametrize(
    ("canary", "caught_by"), [("overread", "heap-buffer-overflow"), ("gap", "messages lost or doubled")]
)
def test_the_harness_catches_a_fault(harness: tuple[Path, Path], canary: str, caught_by: str) -> None:
    done = run(harness, "1", str(CANARY_FRAMES), canary)
    assert done.returncode != 0 and caught_by in done.stderr
