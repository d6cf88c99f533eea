"""Reading a tap: events, what was lost of them, and where a new run begins.

with TapReader(find_endpoint("demo", "tap"), rings=("exec",), symbols=("GOOG",)) as reader:
    for item in reader.read(timeout_ms=200): ...      Seen, Loss or NewRun
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np
import zmq

from ffi.dtypes import dtype_of, layout_hash
from hotpath.errors import ConfigError, SegmentMismatchError, StageError
from hotpath.event_view import Seen, slots_of
from hotpath.tap import MAGIC, NO_SYMBOL, STATUS_TOPIC, topic_of
from hotpath.topology import ring_table

TAPPED = tuple(ring.name for ring in ring_table(paper=True, tap=True, seats=["seat"]) if "tap" in ring.observers)
QUEUE_FRAMES_MAX = 10_000


@dataclass(frozen=True)
class Loss:
    """Events that this reader will never see."""

    ring: str
    count: int
    where: str  # "tap": it was lapped; "way": frames were dropped because this reader was slow


@dataclass(frozen=True)
class NewRun:
    """The engine began anew, or is met for the first time."""

    engine: str
    run_epoch: int


class _RingStatus(msgspec.Struct):
    """How far the tap has read a ring."""

    lost: int


class _Status(msgspec.Struct):
    """What a tap says of itself once a second."""

    engine: str
    run_epoch: int
    layout_hash: str
    rings: dict[str, _RingStatus]


@dataclass
class _Progress:
    """Where a topic, and the losses of a ring, stood."""

    run_epoch: int = 0
    tap_epoch: int = 0
    positions: dict[bytes, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


class TapReader:
    """A subscriber of one engine's tap: ``for item in reader.read(timeout_ms=...)``. Reconnects by itself."""

    def __init__(
        self,
        endpoint: str,
        *,
        rings: tuple[str, ...] = TAPPED,
        symbols: tuple[str, ...] = (),
        queue_frames_max: int = QUEUE_FRAMES_MAX,
    ) -> None:
        """Only events of `rings` and `symbols` are sent here; those that concern no instrument always are.

        Raises ConfigError for what is no endpoint.
        """
        self.endpoint = endpoint
        self._context = zmq.Context(io_threads=1)
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, queue_frames_max)
        self._socket.set(zmq.LINGER, 0)
        for ring in rings:
            chosen = [topic_of(ring, symbol) for symbol in (*symbols, NO_SYMBOL)] if symbols else [f"{ring}/".encode()]
            for topic in chosen:
                self._socket.subscribe(topic)
        self._socket.subscribe(STATUS_TOPIC)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(
                f"{endpoint}: no tap can be read there: {(error.strerror or str(error)).lower()}",
                next_step="name the tap's socket: ipc://PATH",
            ) from None
        self._rings = rings
        self._known = _Progress()

    def read(self, *, timeout_ms: int) -> list[Seen | Loss | NewRun]:
        """What the next frame brought; empty when none came in time.

        Raises SegmentMismatchError for another layout, StageError for what no tap would send.
        """
        if not self._socket.poll(timeout_ms):
            return []
        parts = self._socket.recv_multipart()
        try:
            if parts[0] == STATUS_TOPIC:
                _, text = parts
                return list(self._status(msgspec.json.decode(text, type=_Status)))
            topic, head, data = parts
            return list(self._frame(topic, head, data))
        except (ValueError, msgspec.MsgspecError):  # too many parts or too few, or of another size
            raise StageError(f"{self.endpoint}: speaks something else than the tap does") from None

    def close(self) -> None:
        """Leave the tap."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> TapReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _status(self, status: _Status) -> Iterator[Loss | NewRun]:
        _check_layout(self.endpoint, int(status.layout_hash, 16))
        yield from self._of_run(status.engine, status.run_epoch)
        for ring, state in status.rings.items():
            if ring in self._rings:
                yield from self._lost_at_tap(ring, state.lost)

    def _frame(self, topic: bytes, head: bytes, data: bytes) -> Iterator[Seen | Loss | NewRun]:
        (frame,) = np.frombuffer(head, dtype_of("tap_frame"))
        if int(frame["magic"]) != MAGIC:
            raise ValueError(f"magic {int(frame['magic']):x}")
        _check_layout(self.endpoint, int(frame["layout_hash"]))
        ring, symbol = topic.decode().rstrip("/").split("/", 1)
        yield from self._of_run(frame["engine"].decode(), int(frame["run_epoch"]))
        if int(frame["tap_epoch"]) != self._known.tap_epoch:  # another tap counts its topics from 0
            self._known.tap_epoch = int(frame["tap_epoch"])
            self._known.positions.clear()
        yield from self._lost_at_tap(ring, int(frame["lost_count"]))
        position, count = int(frame["topic_position"]), int(frame["count"])
        missing = position - self._known.positions.get(topic, position)
        if missing > 0:
            yield Loss(ring, missing, "way")
        self._known.positions[topic] = position + count
        tick_value_micros = int(frame["tick_value_micros"])
        for slot in slots_of(ring, data):
            yield Seen(ring, "" if symbol == NO_SYMBOL else symbol, tick_value_micros, slot)

    def _of_run(self, engine: str, run_epoch: int) -> Iterator[NewRun]:
        if run_epoch != self._known.run_epoch:
            self._known = _Progress(run_epoch)
            yield NewRun(engine, run_epoch)

    def _lost_at_tap(self, ring: str, lost: int) -> Iterator[Loss]:
        known = self._known.lost.setdefault(ring, lost)  # what was lost before we came is no loss of ours
        if lost > known:
            self._known.lost[ring] = lost
            yield Loss(ring, lost - known, "tap")


def _check_layout(endpoint: str, found: int) -> None:
    if found != layout_hash():
        raise SegmentMismatchError(
            endpoint,
            f"layout hash is {found:016x}, wanted {layout_hash():016x}",
            next_step="run one build of hotpath on both sides",
        )
