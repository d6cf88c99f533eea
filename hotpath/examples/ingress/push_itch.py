"""A feed handler in Python: pushes a file of length-prefixed ITCH into an engine's ingress. Needs pyzmq alone.

    python push_itch.py ipc:///path/of/ENGINE.ingress SENDER FILE [messages a frame]

It begins a session, pushes every message, keeps at most a window of unanswered messages under way, begins
again where the engine asks for a new session, and ends in order. Format: docs/ingress.md.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq

# Little-endian. Frame: magic, version, kind, 0, sender, session, sequence, count, size, 0, 0.
FRAME = struct.Struct("<4sHBB16sQQII16x")
# Answer: magic, version, status, 0, sender, session, next, credit, 0, 0.
ANSWER = struct.Struct("<4sHBB16sQQQ16x")
# Canonical event: origin time, order, price, quantity, reference, symbol, type, 0, flags, 0.
NORM = struct.Struct("<QQqqQ16sBBHI")
VERSION = 1
SESSION, RAW, NORMALISED, HEARTBEAT, END = 1, 2, 3, 4, 5
TAKEN, DUPLICATE, GAP, SESSION_WANTED = 0, 1, 2, 3
HEARTBEAT_SECONDS = 0.5  # well below the engine's [ingress] silence_ms
WINDOW = 8192  # messages under way without an answer


class SessionWantedError(Exception):
    """The engine has lost the thread, or cleared its books for another sender: begin again, snapshot first."""


class RefusedError(Exception):
    """A frame was refused for its content or its name."""


@dataclass
class Answer:
    """What the engine says of the last frames."""

    status: int
    session: int
    next: int  # every message below is taken
    credit: int  # messages that its ring has room for


class Sender:
    """One stream of one sender: ``session``, then ``raw`` or ``normalised``, ``heartbeat`` when idle, ``end``."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name = name.encode()
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 1000)
        self.socket.connect(endpoint)
        self.number = 0
        self.sequence = 1  # of the next message
        self.taken = 1  # the engine has every message below

    def session(self, *, snapshot: int = 0, first: int = 1) -> None:
        """Begin: the first `snapshot` messages that follow are the books as they stand now."""
        self.number = max(self.number + 1, time.time_ns())
        self.sequence = self.taken = first
        self._send(SESSION, b"", snapshot)

    def raw(self, messages: list[bytes]) -> None:
        """Push venue messages, exactly as the venue sent them."""
        self._send(RAW, b"".join(len(message).to_bytes(2, "big") + message for message in messages), len(messages))
        self.sequence += len(messages)
        self.heed()

    def normalised(self, events: list[bytes]) -> None:
        """Push canonical events, each packed by NORM."""
        self._send(NORMALISED, b"".join(events), len(events))
        self.sequence += len(events)
        self.heed()

    def heartbeat(self) -> None:
        """Say that there is nothing to say."""
        self._send(HEARTBEAT, b"", 0)

    def end(self) -> None:
        """End the session in order: silence from here on is no fault."""
        self._send(END, b"", 0)

    def wait(self, *, under_way: int = 0, seconds: float = 10.0) -> None:
        """Until at most so many messages are unanswered. Raises TimeoutError, SessionWantedError, RefusedError."""
        limit = time.monotonic() + seconds
        while self.sequence - self.taken > under_way:
            if self.socket.poll(100):
                self.heed()
            elif time.monotonic() > limit:
                raise TimeoutError(f"{self.sequence - self.taken} messages unanswered")
            else:
                self.heartbeat()

    def answer(self, *, wait_ms: int = 0) -> Answer | None:
        """The next answer, if one has come."""
        if not self.socket.poll(wait_ms):
            return None
        magic, version, status, _, _, session, following, credit = ANSWER.unpack(self.socket.recv())
        if magic != b"HPIA" or version != VERSION:
            raise RefusedError("this is no ingress of that version")
        if session == self.number and status <= GAP:
            self.taken = max(self.taken, following)
        return Answer(status, session, following, credit)

    def heed(self) -> None:
        """Read what answers have come. Raises SessionWantedError or RefusedError."""
        while (answer := self.answer()) is not None:
            if answer.session != self.number:
                continue  # to a frame of an earlier session
            if answer.status in (GAP, SESSION_WANTED):
                raise SessionWantedError
            if answer.status > SESSION_WANTED:
                raise RefusedError(f"refused: status {answer.status}")

    def close(self) -> None:
        """Let go of the socket; what was sent is still delivered for a second."""
        self.socket.close()

    def _send(self, kind: int, payload: bytes, count: int) -> None:
        head = FRAME.pack(b"HPIN", VERSION, kind, 0, self.name, self.number, self.sequence, count, len(payload))
        self.socket.send(head + payload)  # waits while the engine's ring and every queue on the way are full


def itch_messages(path: Path) -> Iterator[bytes]:
    """The messages of a length-prefixed file."""
    data = path.read_bytes()
    at = 0
    while at + 2 <= len(data) and (length := int.from_bytes(data[at : at + 2], "big")):
        yield data[at + 2 : at + 2 + length]
        at += 2 + length


def push(sender: Sender, messages: list[bytes], *, per_frame: int) -> None:
    """Every message, from the first again where a new session is wanted: the whole file is our snapshot."""
    while True:
        sender.session()
        try:
            for start in range(0, len(messages), per_frame):
                sender.raw(messages[start : start + per_frame])
                sender.wait(under_way=WINDOW)
            sender.wait()
            sender.end()
            return
        except SessionWantedError:
            continue


def main(arguments: list[str]) -> int:
    """ENDPOINT SENDER FILE [MESSAGES_A_FRAME]."""
    endpoint, name, path = arguments[:3]
    messages = list(itch_messages(Path(path)))
    sender = Sender(endpoint, name)
    push(sender, messages, per_frame=int(arguments[3]) if len(arguments) > 3 else 100)
    sender.close()
    print(f"{len(messages)} messages taken")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
