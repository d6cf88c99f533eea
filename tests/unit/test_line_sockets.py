"""Receiving over real sockets: in batches, with kernel stamps and drops; and how the sockets are made."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest

from ffi import ffi, lib
from hotpath import sockets
from hotpath.config import FeedConfig
from hotpath.errors import StageError
from tests.support.feed_driver import DrivenFeed
from tests.support.line_driver import SESSION, DrivenLine, packet

A = b"A" * 20


class Wire:
    """Lines that listen as the engine's do, and somebody who sends."""

    def __init__(self, **settings: object) -> None:
        self.config = msgspec.structs.replace(FeedConfig(port=free_port()), **settings)
        lines = sockets.open_lines(self.config)
        self.line = DrivenLine(sides=len(lines), capacity=16384)
        for index, opened in enumerate(lines):
            self.line.line.side[index].socket = opened.fileno()
        self.line.line.batch_max = self.config.receive_batch
        self.hops = ffi.new("histogram[]", lib.HOPS_MAX)
        for hop in range(lib.HOPS_MAX):
            lib.histogram_reset(ffi.addressof(self.hops, hop))
        self.line.line.hops = self.hops
        self.lines = lines
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.line.sockets += [*lines, self.sender]

    def send(self, data: bytes, *, source: int = 0) -> None:
        """One packet on one line."""
        self.sender.sendto(data, self.lines[source].getsockname())

    def poll(self) -> int:
        """One look, now."""
        self.line.now_ns = int(lib.clock_now(self.line.clock))
        return self.line.poll(packets_max=lib.LINE_BATCH_MAX)

    def calls(self) -> int:
        """System calls so far."""
        return self.line.counter(lib.FEED_SYSTEM_CALLS)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire(b_address="127.0.0.1", b_port=free_port(), kernel_stamps=True)
    yield made
    made.line.check_fates()
    made.line.close()


def test_a_burst_takes_one_system_call_for_many_packets() -> None:
    wire = Wire(receive_batch=16)
    wire.poll()
    before = wire.calls()
    for number in range(1, 50):
        wire.send(packet(number, [A]))
    assert [wire.poll() for _ in range(7)] == [1, 1, 1, 16, 16, 14, 0]  # alone first: most looks find one or none
    assert wire.calls() - before == 7
    for number in range(50, 53):
        wire.send(packet(number, [A]))
    assert [wire.poll() for _ in range(3)] == [1, 1, 1]
    wire.line.close()


def test_packets_of_one_call_were_in_memory_at_one_instant() -> None:
    wire = Wire()
    for number in range(1, 11):
        wire.send(packet(number, [A]))
    for _ in range(4):
        wire.poll()
    times = wire.line.raw.events()["header"]["ingress_time_ns"][1:].tolist()
    assert len(times) == 10 and len(set(times[3:])) == 1 and times[:4] == sorted(set(times[:4]))
    wire.line.close()


def test_each_line_is_looked_at(wire: Wire) -> None:
    wire.send(packet(1, [A]), source=1)
    wire.send(packet(2, [A]), source=0)
    wire.send(packet(2, [A]), source=1)
    for _ in range(3):
        wire.poll()
    assert wire.line.messages() == [(1, A), (2, A)]
    assert wire.line.side(lib.LINE_A)[0] == 1 and wire.line.side(lib.LINE_B)[0] == 2


def test_kernel_stamps_are_a_hop_of_their_own(wire: Wire) -> None:
    for number in range(1, 41):
        wire.send(packet(number, [A]), source=number % 2)
        wire.poll()
        wire.poll()
    hop = wire.hops[lib.HOP_KERNEL]
    assert hop.total_count + wire.line.counter(lib.FEED_NEGATIVE_HOPS) == 40 and hop.total_count > 30


def test_a_stamp_from_the_future_is_counted_and_not_wrapped(wire: Wire) -> None:
    wire.poll()
    wire.line.line.realtime_ns += 10**12  # as if the system's clock had been set back since the last comparison
    wire.send(packet(1, [A]))
    wire.poll()
    assert wire.hops[lib.HOP_KERNEL].total_count == 0 and wire.line.counter(lib.FEED_NEGATIVE_HOPS) == 1
    wire.line.line.kernel_time_ns = 0  # the next comparison finds it
    wire.send(packet(2, [A]))
    wire.poll()
    assert wire.hops[lib.HOP_KERNEL].total_count == 1


def test_what_the_kernel_dropped_is_counted_per_socket() -> None:
    wire = Wire()
    (receiver,) = wire.lines
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for number in range(1, 101):
        wire.send(packet(number, [A]))
    while wire.poll():
        pass
    received = wire.line.counter(lib.FEED_PACKETS)
    assert 0 < received < 100
    wire.line.line.kernel_time_ns = 0  # some time later, without another packet
    wire.poll()
    assert wire.line.counter(lib.FEED_KERNEL_DROPS) == 100 - received
    wire.line.close()


def test_multicast_group_is_joined_on_both_lines() -> None:
    wire = Wire(address="239.255.77.11", b_address="239.255.77.12", b_port=free_port())
    wire.sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    for source in (0, 1):
        wire.send(packet(1, [A]), source=source)
    for _ in range(2):
        wire.poll()
    assert wire.line.events() == [(lib.RAW_SESSION, 1, SESSION), (1, A)]
    assert wire.line.side(lib.LINE_A)[0] == wire.line.side(lib.LINE_B)[0] == 1
    wire.line.close()


def test_address_that_is_not_here_is_named() -> None:
    with pytest.raises(StageError, match=r"cannot listen on 192\.0\.2\.1:26400"):
        sockets.open_lines(FeedConfig(address="192.0.2.1"))


def test_denied_busy_poll_says_what_grants_it() -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.close()
    denial = sockets.busy_poll(closed, 50)
    assert denial is not None and "CAP_NET_ADMIN" in str(denial)


def test_servers_are_in_the_order_in_which_they_are_asked() -> None:
    config = FeedConfig(rerequest_host="127.0.0.1", rerequest_port=9001, rerequest2_host="127.0.0.1")
    servers = sockets.open_servers(config)
    assert [server.getpeername()[1] for server in servers] == [9001, config.rerequest2_port]
    for server in servers:
        server.close()


def test_feed_looks_at_its_sockets_once_in_many_messages_while_they_wait() -> None:
    """Turns of one message, as where signal shares the process: a look costs more than the message."""
    wire = Wire()
    feed = DrivenFeed(batch_max=1)
    feed.feed.line = wire.line.line
    feed.turn()
    before = wire.calls()
    wire.send(packet(1, [A] * 40))
    turns = 0
    while feed.counter(lib.FEED_MESSAGES) < 40:
        feed.turn()
        turns += 1
    assert turns <= 45 and wire.calls() - before <= 6
    feed.turn()
    assert feed.feed.raw_in.next == feed.raw.published
    before = wire.calls()
    for _ in range(5):
        feed.turn()  # idle: every time
    assert wire.calls() == before + 5
    wire.line.close()
