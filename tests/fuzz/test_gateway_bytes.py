"""Bytes from the venue that are wrong in any way: the gateway neither crashes nor counts a
message twice.

A stream that was right is cut, repeated, flipped and filled with noise. HOTPATH_SANITIZE builds run the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffi import lib
from tests.gateway_driver import SECOND, Gateway, Risk, World, make_config, run_until
from tests.scripted_venue import ScriptedVenue, canceled, executed, packet, query_answer, rejected, system_event

MESSAGES = [
    packet("S", executed(1, 10, 1_000_000, 1)),
    packet("S", canceled(1, 10)),
    packet("S", canceled(2, 4_000_000_000)),
    packet("S", rejected(1, 5)),
    packet("S", query_answer(4_294_967_295)),
    packet("S", system_event("S")),
    packet("U", executed(1, 10, 1_000_000, 2)),
    packet("H"),
    packet("+", b"debug"),
    packet("S", b""),
    packet("A", b"       DAY" + b"1".rjust(20)),
    packet("J", b"A"),
    packet("Z"),
    b"\xff\xff" + bytes(70_000),
]

mutations = st.lists(
    st.one_of(
        st.sampled_from(MESSAGES),
        st.binary(max_size=60),
        st.tuples(st.sampled_from(MESSAGES), st.integers(0, 60), st.integers(0, 255)).map(
            lambda chosen: (
                chosen[0][: chosen[1] % len(chosen[0])]
                + bytes([chosen[2]])
                + chosen[0][chosen[1] % len(chosen[0]) + 1 :]
            )
        ),
        st.tuples(st.sampled_from(MESSAGES), st.integers(0, 60)).map(lambda chosen: chosen[0][: chosen[1]]),
    ),
    max_size=12,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations, st.booleans())
def test_any_bytes_after_login(pieces: list[bytes], before_login: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), exec_capacity=64)
        venue, risk = ScriptedVenue(), Risk(world)
        gateway = Gateway(world, make_config(session_port=venue.port))

        def step() -> None:
            gateway.turn()
            venue.pump()

        if before_login:
            venue.login_answer = lambda _: b"".join(pieces)
            run_until(lambda: len(venue.logins) == 1, step)
        else:
            run_until(lambda: gateway.state == lib.SESSION_UP, step)
            risk.new(quantity=10)
            for _ in range(4):
                step()
            venue.say(b"".join(pieces))
        for _ in range(30):
            step()
            risk.read()
        gateway.turn(advance_ns=2 * SECOND)
        risk.read()
        sequences = [int(event["session_sequence"]) for event in risk.seen if event["session_sequence"]]
        assert sequences == sorted(set(sequences))
        assert all(int(order["leaves_lots"]) >= 0 for order in risk.seen)
        assert gateway.state in range(lib.SESSION_DISCONNECTED, lib.SESSION_CLOSED + 1)
        assert int(gateway.c.open_count) <= 1
        gateway.die()
        venue.close()
