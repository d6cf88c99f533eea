"""The session's send buffer, by itself: what was queued leaves whole and in order, however little a send takes."""

from __future__ import annotations

import socket
from typing import Any

from ffi import ffi, lib
from tests.gateway_driver import make_config

SEND_BYTES = 1024


def make_session(fd: int) -> tuple[Any, list[Any]]:
    """A session that is up on this descriptor, and what must stay alive with it."""
    owner = make_config(session_send_bytes=SEND_BYTES)  # a nested struct does not keep the whole alive
    config = owner.session
    buffers = ffi.new("uint8_t[]", SEND_BYTES + config.receive_bytes)
    counters = ffi.new("uint64_t[]", lib.COUNTERS_MAX)
    session = ffi.new("session *")
    lib.session_init(session, ffi.addressof(config), buffers, counters)
    session.fd, session.state = fd, lib.SESSION_UP
    return session, [owner, buffers, counters]


def test_bytes_wrap_round_a_buffer_that_was_sent_in_part() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        session, _kept = make_session(ours.fileno())
        expected, received = b"", b""
        for i in range(200):
            frame = bytes([i]) * 50
            while lib.session_queue(session, frame, len(frame)):
                expected += frame
            assert lib.session_room(session, SEND_BYTES) == 0
            # As if the kernel had taken 130 bytes only.
            received += bytes(ffi.buffer(session.send + session.send_head, 130))
            session.send_head += 130
        lib.session_flush(session, 1)
        received += theirs.recv(1 << 20)
        assert received == expected
        assert session.send_head == session.send_tail == 0


def test_queue_declines_what_does_not_fit_and_keeps_the_rest() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        session, _kept = make_session(ours.fileno())
        assert lib.session_queue(session, b"a" * 1000, 1000) == 1
        assert lib.session_queue(session, b"b" * 25, 25) == 0
        assert lib.session_queue(session, b"c" * 24, 24) == 1
        lib.session_flush(session, 1)
        assert theirs.recv(1 << 20) == b"a" * 1000 + b"c" * 24


def test_closed_peer_is_an_error_and_not_a_signal() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    session, _kept = make_session(ours.detach())
    assert lib.session_queue(session, b"x", 1) == 1
    lib.session_flush(session, 1)
    assert (session.state, session.reason, session.fd) == (lib.SESSION_DISCONNECTED, lib.SESSION_SOCKET_ERROR, -1)
