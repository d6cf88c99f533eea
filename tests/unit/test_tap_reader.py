"""What a reader of the tap is told when the other end is no tap of hotpath's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from ffi import ffi
from ffi.dtypes import dtype_of, layout_hash
from hotpath.errors import ConfigError, StageError
from hotpath.event_view import Seen
from hotpath.tap import MAGIC, STATUS_TOPIC
from hotpath.tap_reader import NewRun, TapReader
from tests.unit.test_bad_inputs import CONFIG, hotpath, refused

STATUS = {"engine": "e", "run_epoch": 7, "layout_hash": f"{layout_hash():016x}", "rings": {"exec": {"lost": 0}}}


def head(**words: int) -> bytes:
    """A frame's head as the tap sends it."""
    frame = np.zeros(1, dtype_of("tap_frame"))
    for key, value in {"magic": MAGIC, "layout_hash": layout_hash(), "run_epoch": 7, "count": 1, **words}.items():
        frame[key] = value
    return frame.tobytes()


SLOT = bytes(ffi.sizeof("exec_event"))
STRANGE = {
    "one part": [b"exec/A/"],
    "four parts": [b"exec/A/", head(), SLOT, b""],
    "a short head": [b"exec/A/", head()[:-1], SLOT],
    "two heads": [b"exec/A/", head() * 2, SLOT],
    "another magic": [b"exec/A/", head(magic=1), SLOT],
    "part of a slot": [b"exec/A/", head(), SLOT[:-1]],
    "a status of no text": [STATUS_TOPIC],
    "a status that is no JSON": [STATUS_TOPIC, b"{"],
    "a status without its hash": [STATUS_TOPIC, msgspec.json.encode({**STATUS, "layout_hash": 5})],
    "a hash that is no number": [STATUS_TOPIC, msgspec.json.encode({**STATUS, "layout_hash": "x"})],
}


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[tuple[zmq.Socket[bytes], TapReader]]:
    """A socket, and a reader that has subscribed to it."""
    endpoint = f"ipc://{tmp_path}/tap"
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.set(zmq.LINGER, 0)
        socket.bind(endpoint)
        with TapReader(endpoint, rings=("exec",)) as reader:
            for _ in range(2):  # the ring's topic and the status's
                assert socket.poll(10_000)
                socket.recv()
            yield socket, reader


@pytest.mark.parametrize("name", STRANGE)
def test_what_no_tap_would_send_is_refused_in_words(name: str, publisher: tuple[zmq.Socket[bytes], TapReader]) -> None:
    socket, reader = publisher
    socket.send_multipart(STRANGE[name])
    with pytest.raises(StageError, match="speaks something else than the tap does"):
        reader.read(timeout_ms=10_000)


def test_what_the_tap_sends_is_taken(publisher: tuple[zmq.Socket[bytes], TapReader]) -> None:
    socket, reader = publisher
    socket.send_multipart([STATUS_TOPIC, msgspec.json.encode({**STATUS, "later": "more"})])
    socket.send_multipart([b"exec/A/", head(), SLOT])
    assert reader.read(timeout_ms=10_000) == [NewRun("e", 7)]
    (seen,) = reader.read(timeout_ms=10_000)
    assert isinstance(seen, Seen) and (seen.ring, seen.symbol, seen.type) == ("exec", "A", 0)


def test_what_is_no_endpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^foo: no tap can be read there: invalid argument"):
        TapReader("foo")
    done = hotpath("tail", "--endpoint", "foo", "--seconds", "1", folder=tmp_path)
    refused(done, CONFIG, "foo: no tap can be read there", step="ipc://PATH")
