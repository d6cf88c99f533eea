"""One channel between two processes, each on its own processor: round trips, then one way.

    python -m bench.peers.exchange CHANNEL --trips N --messages N [--size BYTES] [--cpus A,B]

    round trip   side 0: send, receive      side 1: receive, send            each timed
    one way      side 0: send ... send      side 1: receive, look at it      timed to the answer to the last
    batch        the same, 64 to a call where the channel can

Every message is looked at. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import gc
import os
import threading
import time
from typing import Any

import msgspec
import numpy as np

from bench.peers.channels import CHANNELS, WINDOW, Channel, message_of

KINDS = 1024  # different messages
BATCH = 64
DONE = 2**40


class Meeting:
    """Both sides are there: one byte each way."""

    def __init__(self) -> None:
        self.pipes = [os.pipe() for _ in (0, 1)]

    def meet(self, side: int) -> None:
        """Wait for the other."""
        os.write(self.pipes[side][1], b".")
        os.read(self.pipes[1 - side][0], 1)


def run_side(channel: Channel, side: int, meeting: Meeting, trips: int, messages: int) -> dict[str, Any]:
    """One side's part; side 0's figures."""
    channel.open_receiver(side)
    meeting.meet(side)
    channel.open_sender(side)
    meeting.meet(side)
    words = [message_of(number, channel.size) for number in range(KINDS)]
    gc.collect()
    gc.disable()
    figures: dict[str, Any] = {}
    if side:
        answer(channel, words, trips)
    else:
        kept = ask(channel, words, trips)[trips // 10 :]  # the first tenth warms up
        for name, share in (("p50_ns", 50), ("p99_ns", 99), ("p999_ns", 99.9)):
            figures[name] = float(np.percentile(kept, share))
    for name, batch in (("messages_per_second", 1), ("batched_per_second", BATCH)):
        meeting.meet(side)
        seconds = pour(channel, words, messages, batch) if side == 0 else drain(channel, words, messages, batch)
        figures[name] = messages / seconds
    meeting.meet(side)
    return figures


def ask(channel: Channel, words: list[bytes], trips: int) -> Any:
    """Time each trip, ns."""
    send, receive, now = channel.send, channel.receive, time.perf_counter_ns
    spans = np.empty(trips, np.int64)
    for number in range(trips):
        word = words[number % KINDS]
        began = now()
        send(word)
        back = receive()
        spans[number] = now() - began
        if back != word:
            raise SystemExit(f"trip {number} brought back another message")
    return spans


def answer(channel: Channel, words: list[bytes], trips: int) -> None:
    """Send back what came."""
    send, receive = channel.send, channel.receive
    for _ in range(trips):
        send(receive())


def pour(channel: Channel, words: list[bytes], messages: int, batch: int) -> float:
    """Send all; seconds until the other side says that it has them."""
    send, window = channel.send, WINDOW if channel.lossy else 0
    began = time.perf_counter()
    if batch == 1:
        for number in range(messages):
            if window and number and number % window == 0:
                channel.receive()
            send(words[number % KINDS])
    else:
        for first in range(0, messages, batch):
            if window and first and first % window == 0:
                channel.receive()
            channel.send_many(words[first % KINDS : first % KINDS + batch])
    if channel.receive() != message_of(DONE, channel.size):
        raise SystemExit("the other side did not get everything")
    return time.perf_counter() - began


def drain(channel: Channel, words: list[bytes], messages: int, batch: int) -> float:
    """Receive all, each compared with what it should be."""
    receive, window, began = channel.receive, WINDOW if channel.lossy else 0, time.perf_counter()
    number = 0
    while number < messages:
        for message in (receive(),) if batch == 1 else channel.receive_many(batch):
            if message != words[number % KINDS]:
                raise SystemExit(f"message {number} is another")
            number += 1
            if window and number % window == 0 and number < messages:
                channel.send(words[0])
    channel.send(message_of(DONE, channel.size))
    return time.perf_counter() - began


def run_forked(channel: Channel, cpus: list[int], trips: int, messages: int) -> dict[str, Any]:
    """Side 1 in a child of its own."""
    meeting = Meeting()
    child = os.fork()
    side = int(child == 0)
    os.sched_setaffinity(0, {cpus[side]})
    failed = 1
    try:
        figures = run_side(channel, side, meeting, trips, messages)
        failed = 0
        if side == 0:
            _, failed = os.waitpid(child, 0)
            child = 0
    finally:
        if side:
            channel.close(side)
            os._exit(failed)
        if child:
            os.kill(child, 9)
            os.waitpid(child, 0)
        channel.close(side)
    if failed:
        raise SystemExit("the other side failed")
    return figures


def run_threads(channel: Any, trips: int, messages: int) -> dict[str, Any]:
    """Both sides in this process, free to use both processors."""
    meeting = Meeting()
    other = threading.Thread(target=run_side, args=(channel.side(1), 1, meeting, trips, messages), daemon=True)
    other.start()
    figures = run_side(channel.side(0), 0, meeting, trips, messages)
    other.join()
    channel.close(0)
    return figures


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.exchange")
    parser.add_argument("channel", choices=CHANNELS)
    parser.add_argument("--trips", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=102_400, help="a multiple of 64")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--cpus", default="1,0")
    chosen = parser.parse_args()
    channel = CHANNELS[chosen.channel](f"peers-{os.getpid()}", chosen.size)
    cpus = [int(each) for each in chosen.cpus.split(",")]
    messages = chosen.messages - chosen.messages % BATCH
    if channel.threads:
        figures = run_threads(channel, chosen.trips, messages)
    else:
        figures = run_forked(channel, cpus, chosen.trips, messages)
    print(msgspec.json.encode({"channel": chosen.channel, "size": chosen.size, **figures}).decode())


if __name__ == "__main__":
    main()
