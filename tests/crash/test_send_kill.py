"""A process that dies inside the send: what it was about to say stands in its records already.

risk --cmd--> gateway, one loop in a child process --send: killed by the kernel--x venue
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from tests.gateway_scene import Scene
from tests.support.risk_driver import DrivenRisk

SENDTO = {"x86_64": 44, "aarch64": 206}
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
SLICE_NS = 1_000_000_000


def die_at_send() -> None:
    """From here on the kernel kills this process when it sends."""
    number = SENDTO[platform.machine()]
    code = [(LOAD_WORD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, KILL_PROCESS), (RETURN, 0, 0, ALLOW)]
    steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(steps)))
    libc = ctypes.CDLL(None)
    assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert libc.prctl(SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) == 0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.gateway.die()
    made.venue.close()


@pytest.mark.skipif(platform.machine() not in SENDTO, reason="the number of sendto is not known here")
def test_an_order_of_a_process_killed_in_its_send_has_risks_turn_record(scene: Scene) -> None:
    world, gateway = scene.world, scene.gateway
    scene.up()
    risk = DrivenRisk()
    stage = risk.risk.stage
    stage.lockstep, stage.control, stage.clock = ffi.NULL, world.control, world.clock
    records = world._map("risk.ctl", lib.ring_bytes(64, 128), kind=lib.SEGMENT_RING, capacity=64, slot_size=128)
    assert lib.ring_writer_attach(ffi.addressof(stage, "ctl"), records) == lib.RING_OK
    assert lib.ring_writer_attach(ffi.addressof(risk.risk, "cmd"), world.cmd) == lib.RING_OK
    assert lib.ring_writer_gate(ffi.addressof(risk.risk, "cmd"), world.cmd_cursor) == lib.RING_OK
    duty = ffi.new("duty *", {"control": world.control, "clock": world.clock, "wait": lib.WAIT_YIELD})
    duty.risk, duty.gateway = risk.risk, gateway.c
    risk.quote(type=lib.NORM_STATUS, order_ref=lib.STATE_TRADING)
    risk.intent()

    child = os.fork()
    if child == 0:
        die_at_send()
        lib.duty_run(duty, SLICE_NS)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS, "it came to the send"

    (stored,) = world.intents()
    assert stored["order_id"] == 1
    scene.venue.pump()
    assert scene.venue.new_orders() == [], "no byte left"
    record = np.frombuffer(ffi.buffer(records, lib.ring_bytes(64, 128)), dtype_of("turn_event"), 1, 4096)[0]
    assert record["header"]["stamp"] == 1 and record["header"]["type"] == lib.CTL_TURN
    assert (int(record["turn"]), int(record["output_sequence"])) == (1, 1)
