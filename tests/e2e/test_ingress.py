"""Markets that are pushed: real senders in Python and in C, a real ingress, and the engine that a file gives."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from ffi import ffi, lib
from hotpath.config import Config, IngressConfig
from hotpath.engine import EngineSpec, engine_memory
from hotpath.examples.ingress.push_itch import HEARTBEAT_SECONDS, NORM, Sender, SessionWantedError, itch_messages, push
from hotpath.intents import read_intents
from hotpath.replay import ReplayOptions, replay_spec
from hotpath.rings import RingHistory
from hotpath.run_file import write_run_file
from hotpath.segments import attach
from hotpath.stages import ProcessStages, intents_path
from hotpath.topology import side_segment
from tests.support.busy import busy_config, busy_config_file
from tests.support.engines import REPOSITORY, EngineProcess, until
from tests.support.synthetic import write_synthetic_day

EXAMPLES = REPOSITORY / "hotpath" / "examples" / "ingress"
PER_FRAME = 100


# ---- one market, three ways: from a file, as venue bytes, as canonical events ---------------------------


def pushed_spec(spec: EngineSpec, endpoint: str) -> EngineSpec:
    """The same engine, to which the market is pushed."""
    feed = msgspec.structs.replace(spec.config.feed, kind="zmq", path="")
    ingress = IngressConfig(senders=["raw", "norm"], endpoint=endpoint)
    return dataclasses.replace(spec, config=msgspec.structs.replace(spec.config, feed=feed, ingress=ingress))


@dataclasses.dataclass
class Decided:
    """What a run made of its market."""

    norm: npt.NDArray[Any]
    frames: list[bytes]
    counters: dict[str, int]


def run_in_lockstep(spec: EngineSpec, sender: Any = None) -> Decided:
    """All stages in this process and in virtual time; `sender()` pushes from a thread of its own."""
    shutil.rmtree(spec.config.engine.state_dir, ignore_errors=True)
    Path(spec.config.engine.state_dir).mkdir(parents=True)
    with engine_memory(spec) as memory:
        listener = start_ingress(spec, memory) if sender else None
        stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch)
        lib.control_arm(memory.control, memory.control.kill_epoch)
        pusher = threading.Thread(target=sender) if sender else None
        if pusher:
            pusher.start()
        try:
            end = time.monotonic() + 30
            while stages.run(50_000_000) == lib.DUTY_SLICE_OVER:
                assert time.monotonic() < end, "the market did not end"
        finally:
            if pusher and listener:
                pusher.join(timeout=20)
                listener.terminate()
                assert listener.wait(timeout=10) == 0
        norm = RingHistory(spec.name, "norm", dtype="norm_event").read()
        counter = memory.stage_page("feed").counter
        counters = {"used": int(counter[lib.FEED_USED]), "messages": int(counter[lib.FEED_MESSAGES])}
        stages.close()
    with read_intents(intents_path(spec.config)) as file:
        return Decided(norm, file.frames(), counters)


def start_ingress(spec: EngineSpec, memory: Any) -> subprocess.Popen[bytes]:
    run_path = Path(spec.config.engine.state_dir) / "run.json"
    write_run_file(run_path, spec, run_epoch=memory.run_epoch)
    process = subprocess.Popen([sys.executable, "-m", "hotpath.ingress", str(run_path)], cwd=REPOSITORY)
    page = memory.segments[side_segment("ingress")].cast("stage_page *")
    until(lambda: page.state == lib.STAGE_READY, "the ingress to be ready")
    return process


def canonical(messages: list[bytes], spec: EngineSpec) -> list[bytes]:
    """Each message as itch_normalise says it, packed as the example packs it."""
    locate = ffi.new("uint32_t[]", [lib.NO_INSTRUMENT] * 65536)
    for index, entry in enumerate(spec.instruments):
        locate[int(entry["venue_locate"])] = index
    context = ffi.new("itch_context *", {"instrument": locate, "midnight_ns": spec.midnight_ns})
    event = ffi.new("norm_event *")
    symbols = spec.instruments["symbol"].tolist()
    found = []
    for message in messages:
        assert lib.itch_normalise(context, message, len(message), event) == lib.ITCH_OK
        index = event.header.instrument
        symbol = symbols[index] if index != lib.NO_INSTRUMENT else b""
        numbers = (event.order_ref, event.price_ticks, event.quantity_lots, event.reference)
        found.append(
            NORM.pack(event.header.origin_time_ns, *numbers, symbol, event.header.type, 0, event.header.flags, 0)
        )
    return found


def what_was_decided(norm: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Norm events without what measures or numbers them; a session's clearing of empty books is nothing."""
    kept = norm[norm["header"]["type"] != lib.NORM_CLEAR]
    for name in ("stamp", "cause_sequence", "ingress_time_ns", "publish_time_ns"):
        kept["header"][name] = 0
    kept["header"]["flags"] &= ~np.uint16(lib.FLAG_PACKET_END)
    return np.asarray(kept)


def test_pushed_market_gives_the_books_and_orders_of_the_file(shared_data: Path, tmp_path: Path, engine: str) -> None:
    """AAPL's first 10,000 messages, from the file, as venue bytes from Python, as canonical events from Python."""
    capture = shared_data / "itch_aapl_20200130" / "locate-13-10k.bin"
    config = busy_config_file(tmp_path)
    options = ReplayOptions(config_path=config, topology="fused", engine_name=engine)
    spec = replay_spec(capture, options, state_dir=tmp_path / "state")
    endpoint = f"ipc://{tmp_path.parent}/{engine[-8:]}.in"
    messages = list(itch_messages(capture))
    events = canonical(messages, spec)

    def push_canonical() -> None:
        sender = Sender(endpoint, "norm")
        sender.session()
        for start in range(0, len(events), PER_FRAME):
            sender.normalised(events[start : start + PER_FRAME])
        sender.wait()
        sender.end()
        sender.close()

    def push_raw() -> None:
        sender = Sender(endpoint, "raw")
        push(sender, messages, per_frame=PER_FRAME)
        sender.close()

    expected = run_in_lockstep(spec)
    assert len(expected.frames) > 50 and expected.counters == {"used": 10_000, "messages": 10_000}
    pushed = pushed_spec(spec, endpoint)
    for who, sender in {"raw": push_raw, "norm": push_canonical}.items():
        found = run_in_lockstep(pushed, sender)
        assert found.counters == expected.counters, who
        assert what_was_decided(found.norm).tobytes() == what_was_decided(expected.norm).tobytes(), who
        assert found.frames == expected.frames, f"{who}: another order log"


# ---- a live engine -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_day(tmp_path_factory.mktemp("day") / "synthetic.itch", messages=8000)


@pytest.fixture(scope="module")
def refdata(day: Path) -> Path:
    path = day.with_name("refdata.json")
    command = [sys.executable, "-m", "hotpath", "refdata", "import", str(day), str(path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return path


@contextmanager
def live(refdata: Path, folder: Path, name: str, **rings: int) -> Iterator[tuple[EngineProcess, str]]:
    """An engine on paper that waits for senders, and where it listens."""
    endpoint = f"ipc://{folder.parent}/{name[-8:]}.in"
    config: Config = busy_config(engine={"name": name, "topology": "fused", "state_dir": str(folder)}, rings=rings)
    replace = msgspec.structs.replace
    config = replace(
        config,
        feed=replace(config.feed, kind="zmq", silence_ms=500),
        refdata=replace(config.refdata, path=str(refdata)),
        ingress=IngressConfig(senders=["a", "b"], endpoint=endpoint, queue_frames_max=4),
    )
    process = EngineProcess(config, folder, "--arm")
    try:
        until(lambda: process.look() is not None and process.pid_of("feed") > 0, "the engine")
        until(lambda: page_of(name, "state") == lib.STAGE_READY, "the ingress")
        yield process, endpoint
    finally:
        process.close()


def page_of(engine: str, field: str) -> int:
    from hotpath.errors import SegmentError

    try:
        return int(attach(engine, side_segment("ingress"), lib.SEGMENT_STAGE).view("stage_page")[0][field])
    except SegmentError:
        return 0


def counter_of(engine: str, number: int) -> int:
    return int(attach(engine, side_segment("ingress"), lib.SEGMENT_STAGE).view("stage_page")[0]["counter"][number])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in C, compiled as its head says."""
    compiler = shutil.which("gcc") or "cc"
    check = [compiler, "-fsyntax-only", "-x", "c", "-"]
    found = subprocess.run(check, input=b"#include <zmq.h>\n", capture_output=True, check=False)
    if found.returncode:
        assert "CI" not in os.environ, "libzmq3-dev is missing in CI"
        pytest.skip("zmq.h is missing (Debian: apt-get install libzmq3-dev)")
    target = tmp_path_factory.mktemp("example") / "push_itch"
    flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, str(EXAMPLES / "push_itch.c"), "-lzmq", "-o", str(target)], check=True)
    return target


def test_sender_in_c_fills_a_small_ring_and_loses_nothing(
    day: Path, refdata: Path, program: Path, tmp_path: Path, engine: str
) -> None:
    with live(refdata, tmp_path, engine, ingress=64) as (process, endpoint):
        socket = Path(endpoint.removeprefix("ipc://"))
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        done = subprocess.run(
            [str(program), endpoint, "a", str(day), "500"], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (0, "8000 messages taken\n"), done.stderr
        until(lambda: process.count("feed", "messages") == 8000, "the feed to have taken all")
        assert process.count("feed", "used") == 8000 and process.count("feed", "stale") == 0
        assert counter_of(engine, lib.INGRESS_FULL_WAITS) > 0, "the ring was never full"
        assert counter_of(engine, lib.INGRESS_MESSAGES) == 8000 and counter_of(engine, lib.INGRESS_DUPLICATES) == 0
        unknown = subprocess.run(
            [str(program), endpoint, "nobody", str(day)], capture_output=True, text=True, timeout=60, check=False
        )
        assert unknown.returncode == 1 and f"refused, status {lib.INGRESS_UNKNOWN_SENDER}" in unknown.stderr
        process.signal()
        assert process.wait() == 0, process.errors()
        assert not socket.exists()


def test_loss_silence_and_death_make_books_stale_until_a_new_session(
    day: Path, refdata: Path, tmp_path: Path, engine: str
) -> None:
    messages = list(itch_messages(day))[:2000]
    with live(refdata, tmp_path, engine) as (process, endpoint):

        def stale(wanted: int) -> None:
            until(lambda: process.count("feed", "stale") == wanted, f"stale = {wanted}")

        sender = Sender(endpoint, "a")
        push_part(sender, messages)
        stale(0)
        sender.sequence += 3  # three that nobody sees
        with pytest.raises(SessionWantedError):
            sender.raw(messages[:1])
            sender.wait()
        stale(1)
        push_part(sender, messages)
        stale(0)
        until(lambda: process.count("feed", "live_orders") > 0, "orders in the book")

        pid = page_of(engine, "pid")
        os.kill(pid, signal.SIGKILL)
        stale(1)
        until(lambda: page_of(engine, "pid") not in (0, pid), "the ingress's restart")
        with pytest.raises(SessionWantedError):
            beat_until_answered(sender)
        push_part(sender, messages)
        stale(0)
        sender.end()
        sender.close()
        process.signal()
        assert process.wait() == 0, process.errors()
        notices = process.report()["notices"]
        assert len(notices) == 1 and notices[0].startswith("the ingress ended by SIGKILL; restart 1")


def push_part(sender: Sender, messages: list[bytes]) -> None:
    sender.session()
    for start in range(0, len(messages), PER_FRAME):
        sender.raw(messages[start : start + PER_FRAME])
    sender.wait()


def beat_until_answered(sender: Sender) -> None:
    """Heartbeats until an ingress has something to say to them."""
    for _ in range(int(20 / HEARTBEAT_SECONDS)):
        sender.heartbeat()
        if sender.socket.poll(int(HEARTBEAT_SECONDS * 1000)):
            sender.heed()
