"""The sockets that a stage is given: lines of the feed to listen on, retransmission servers to ask.

What the kernel does not allow is said on standard error, with what grants it; the feed runs without it.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

from hotpath.config import FeedConfig
from hotpath.errors import HeldError, HotpathError, StageError
from hotpath.holders import port_holder
from hotpath.host import Denial

RECEIVE_BUFFER_BYTES = 16 << 20  # a burst waits here while the feed is busy or stopped
SO_RCVBUFFORCE = 33  # Linux's numbers, which Python does not name
SO_TIMESTAMPNS = 35
SO_BUSY_POLL = 46
SO_PREFER_BUSY_POLL = 69


def resolve(host: str, *, key: str) -> str:
    """The IPv4 address of a host. Raises StageError naming the key of the configuration that names it."""
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise StageError(
            f"{key}: {host}: {error.strerror}", next_step=f"name an address, or a host that this machine knows: {key}"
        ) from None


def open_lines(config: FeedConfig) -> list[socket.socket]:
    """A bound, non-blocking socket for each line of the feed, A first. Raises HotpathError naming the address."""
    lines = [open_line(config, prefix="")]
    if config.b_address:
        lines.append(open_line(config, prefix="b_"))
    return lines


def open_servers(config: FeedConfig) -> list[socket.socket]:
    """A non-blocking socket connected to each retransmission server, in the order in which they are asked."""
    names = [name for name in ("rerequest", "rerequest2") if getattr(config, f"{name}_host")]
    return [open_server(config, name=name) for name in names]


def open_line(config: FeedConfig, *, prefix: str) -> socket.socket:
    """One line, of the keys that begin with `prefix`; joined to the group when the address is multicast.

    Several sockets may hear one group. A datagram to one host goes to one of the sockets that share its port,
    so that nobody may share it there.
    """
    address, interface = getattr(config, f"{prefix}address"), getattr(config, f"{prefix}interface")
    port = getattr(config, f"{prefix}port")
    resolved = resolve(address, key=f"feed.{prefix}address")
    multicast = ipaddress.ip_address(resolved).is_multicast
    group = socket.inet_aton(resolved) + socket.inet_aton(resolve(interface, key=f"feed.{prefix}interface"))
    feed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    feed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, multicast)
    if config.kernel_stamps:
        feed.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        feed.bind((resolved, port))
        if multicast:
            feed.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    except OSError as error:
        feed.close()
        raise _not_listening(error, address, port) from None
    feed.setblocking(False)
    denials = [enlarge_buffer(feed)]
    if config.busy_poll_us:
        denials.append(busy_poll(feed, config.busy_poll_us))
    for denial in denials:
        if denial:
            print(f"feed: {denial}", file=sys.stderr, flush=True)
    return feed


def _not_listening(error: OSError, address: str, port: int) -> HotpathError:
    """Why the feed cannot listen, and what to do: who has the port, or which addresses there are."""
    where = f"feed: cannot listen on {address}:{port}: {error.strerror}"
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(port)
        return HeldError(
            f"{where}{f', by {holder}' if holder else ''}",
            next_step="stop that process, or name another port: feed.port, feed.b_port",
        )
    return StageError(where, next_step="ip address shows the addresses and interfaces of this machine")


def open_server(config: FeedConfig, *, name: str) -> socket.socket:
    """One retransmission server, of the keys `name`_host and `name`_port."""
    host, port = getattr(config, f"{name}_host"), getattr(config, f"{name}_port")
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.connect((resolve(host, key=f"feed.{name}_host"), port))
    except OSError as error:
        server.close()
        raise StageError(
            f"feed: no way to the retransmission server {host}:{port}: {error.strerror}",
            next_step="ip route get shows how this machine would reach it",
        ) from None
    server.setblocking(False)
    enlarge_buffer(server)
    return server


def enlarge_buffer(receiver: socket.socket) -> Denial | None:
    """Give a socket a receive buffer of RECEIVE_BUFFER_BYTES, beyond the system's bound where that is allowed."""
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except OSError as error:
        size = receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel tells twice what it was asked
        if size >= RECEIVE_BUFFER_BYTES:
            return None
        return Denial(
            f"a feed socket's buffer has {size >> 10} KiB, not {RECEIVE_BUFFER_BYTES >> 10}: a burst may overflow it",
            f"SO_RCVBUFFORCE: {error.strerror}",
            f"sysctl -w net.core.rmem_max={RECEIVE_BUFFER_BYTES}, or the capability CAP_NET_ADMIN",
        )
    return None


def busy_poll(receiver: socket.socket, busy_poll_us: int) -> Denial | None:
    """Let a receive look into the network card's queue itself, instead of waiting for its interrupt."""
    try:
        receiver.setsockopt(socket.SOL_SOCKET, SO_BUSY_POLL, busy_poll_us)
        receiver.setsockopt(socket.SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)
    except OSError as error:
        return Denial(
            f"a feed socket does not busy-poll for {busy_poll_us} us",
            f"SO_BUSY_POLL: {error.strerror}",
            "the capability CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN in the unit)",
        )
    return None
