"""A whole engine on two lines that lose packets on purpose: nothing is missing, and a replay agrees."""

from __future__ import annotations

import select
import socket
import threading
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from ffi import lib
from hotpath.recordings import Recording, replay_recording
from tests.support.busy import busy_config
from tests.support.engines import EngineProcess, engine_config, until, venue


class LossyRelay:
    """Passes datagrams on from each of its ports to a port of the engine; each line loses others of them."""

    def __init__(self, *, lost: float, both: float) -> None:
        self.lost, self.both = lost, both
        self.sockets = [self._bound() for _ in range(2)]
        self.ports = [int(each.getsockname()[1]) for each in self.sockets]
        probes = [self._bound() for _ in range(2)]
        self.targets = [probe.getsockname() for probe in probes]
        for probe in probes:
            probe.close()
        self.dropped = [0, 0]
        self.muted = [False, False]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @staticmethod
    def _bound() -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        opened.bind(("127.0.0.1", 0))
        return opened

    def _run(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select(self.sockets, [], [], 0.05)
            for each in ready:
                line = self.sockets.index(each)
                data = each.recv(2048)
                if self.muted[line] or self._loses(line, data):
                    self.dropped[line] += 1
                else:
                    each.sendto(data, self.targets[line])

    def _loses(self, line: int, data: bytes) -> bool:
        """The same for both copies of some packets, of each line alone for others; never a heartbeat."""
        if data[18:20] in (b"\0\0", b"\xff\xff"):
            return False
        sequence = data[10:18]
        return Random(sequence).random() < self.both or Random(sequence + bytes([line])).random() < self.lost

    def __enter__(self) -> LossyRelay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for each in self.sockets:
            each.close()


def test_engine_on_two_lossy_lines_misses_nothing(tmp_path: Path, engine: str) -> None:
    busy = busy_config(signal={"cooldown_ms": 20, "order_life_ms": 400, "style": "join"})
    with (
        LossyRelay(lost=0.1, both=0.02) as relay,
        venue(tmp_path, feed_port=relay.ports[0], feed_b_port=relay.ports[1]) as running,
    ):
        config = engine_config(engine, running, tmp_path, topology="fused", busy=busy)
        lines: dict[str, Any] = {"port": relay.targets[0][1], "b_address": "127.0.0.1", "b_port": relay.targets[1][1]}
        feed = msgspec.structs.replace(config.feed, **lines, kernel_stamps=True, line_silence_ms=500)
        config = msgspec.structs.replace(config, feed=feed)
        process = EngineProcess(config, tmp_path, "--arm", "--record", str(tmp_path / "recording"))
        try:
            process.wait_trading(fills=3)
            until(lambda: process.count("feed", "gaps_closed") > 5, "gaps of both lines, closed by retransmission")
            missing, *lost = (process.count("feed", name) for name in ("gap_messages", "a_lost", "b_lost"))
            # A quarter of a line's losses are the other's too; a busy machine adds some. Unfilled, all are missing.
            assert missing < min(lost) * 0.8, "a line's losses were not the other's to fill"
            relay.muted[1] = True
            until(lambda: process.count("feed", "b_silent"), "the second line's silence")
            relay.muted[1] = False
            until(lambda: not process.count("feed", "b_silent"), "the second line's return")
            process.signal()
            assert process.wait() == 0, process.errors()
        finally:
            process.close()
        stat = process.report()["stat"]
    counters = stat["stages"]["feed"]["counters"]
    assert counters["gaps_lost"] == counters["packets_malformed"] == counters["divergences"] == 0
    assert counters["unknown_order"] == counters["silences"] == 0
    assert counters["line_silences"] == 1
    assert counters["a_first"] > 0 and counters["b_first"] > 0
    assert stat["hops"]["kernel"]["count"] > 0

    raw = Recording(tmp_path / "recording").events("raw")
    messages = raw[(raw["header"]["type"] == lib.RAW_MESSAGE) & (raw["offset"] == 0)]["session_sequence"]
    assert (messages[1:] == messages[:-1] + 1).all(), "not the stream, once and in order"
    kinds = raw["header"]["type"].tolist()
    assert kinds.count(lib.RAW_LINE_SILENT) == kinds.count(lib.RAW_LINE_HEARD) == 1
    assert replay_recording(tmp_path / "recording").same
