"""Bad bytes in everything that a co-process writes: its seat is cut or its request refused, and nothing else."""

from __future__ import annotations

import os
import random

import numpy as np

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from tests.support.seat_driver import COUNT, MILLISECOND_NS, DrivenSeats, request_slots

SLOTS = int(os.environ.get("HOTPATH_FUZZ_SLOTS", "100000"))
SEED = int(os.environ.get("HOTPATH_FUZZ_SEED", "1"))
BATCH = 32
FIELDS = dtype_of("request_event")


def wild(chance: random.Random, epoch: int, slot: np.ndarray) -> None:
    """A slot of noise, or a request that is right but for some bytes of noise."""
    raw = np.frombuffer(chance.randbytes(128), "u8").copy()
    if chance.random() < 0.3:
        slot[1:] = raw[1:]
        return
    request = np.zeros(1, FIELDS)
    request["header"]["type"] = chance.choice([lib.REQUEST_NEW, lib.REQUEST_REPLACE, lib.REQUEST_CANCEL, 147])
    request["header"]["instrument"] = chance.choice([0, 1, COUNT - 1, COUNT, lib.NO_INSTRUMENT])
    request["token"], request["target_token"] = chance.randrange(1 << 40), chance.randrange(64)
    request["price_ticks"], request["quantity_lots"] = chance.randrange(1 << 30), chance.randrange(1 << 20)
    request["attach_epoch"] = epoch
    bytes_of = request.view("u1")
    for _ in range(chance.choice([0, 0, 1, 3])):
        bytes_of[chance.randrange(128)] = chance.randrange(256)
    slot[1:] = request.view("u8")[1:]


def test_bad_requests_and_pages_hurt_nobody_else() -> None:
    print(f"HOTPATH_FUZZ_SEED={SEED} HOTPATH_FUZZ_SLOTS={SLOTS} pytest {__file__}")
    chance = random.Random(SEED)
    driven = DrivenSeats(2, open_orders_max=32, messages_per_second_max=1_000_000, intake_capacity=65536)
    honest, liar = driven.attach(0), driven.attach(1)
    slots = request_slots(liar)
    cuts: dict[str, int] = {}
    written = accepted = 0
    while written < SLOTS:
        if driven.cut_reason(1):
            cuts[driven.cut_reason(1)] = cuts.get(driven.cut_reason(1), 0) + 1
            driven.attach(1)
        position = int(driven.seats.seat[1].orders.next)
        for ahead in range(BATCH):
            slot = slots[(position + ahead) % liar.orders.capacity]
            wild(chance, liar.epoch, slot)
            slot[0] = position + ahead + 1 if chance.random() < 0.99 else chance.getrandbits(64)
        written += BATCH
        if chance.random() < 0.02:
            body = ffi.buffer(liar.client, ffi.sizeof("seat_client_page"))
            start = chance.randrange(8, len(body))  # all but its epochs
            body[start:] = chance.randbytes(len(body) - start)
        if chance.random() < 0.02:
            ffi.cast("ring_cursor *", driven.seats.seat[1].reports.gate[0]).position = chance.getrandbits(64)
        honest.new(0, lots=1)
        honest.beat()
        driven.turn(after_ns=MILLISECOND_NS)
        order_id = next(
            i
            for i in range(driven.seats.order_count)
            if driven.seats.order[i].token == honest.token and driven.seats.order[i].seat == 0
        )
        driven.fill(int(driven.seats.order[order_id].order_id), 1, leaves=0)
        accepted += 1
        liar.reports()
        fill = honest.reports()[-1]
        assert fill["token"] == honest.token and fill["position_lots"] == accepted
        assert driven.cut_reason(0) == ""
        for index in range(driven.seats.order_count):  # the liar's orders come to nothing, so that it goes on lying
            order = driven.seats.order[index]
            if order.seat == 1 and order.state != lib.SEAT_ORDER_DEAD:
                driven.execution(lib.EXEC_CANCELED, order.order_id, leaves_lots=0)
        driven.intake.release("signal")
    assert {"malformed", "sequence"} <= set(cuts), cuts
    assert int(honest.page.cuts) == 0 and accepted == SLOTS // BATCH


def test_canary_a_kernel_that_trusted_an_instrument_would_be_caught() -> None:
    """The same check, made by hand on what must never reach the turn."""
    driven = DrivenSeats()
    client = driven.attach()
    client.send(lib.REQUEST_NEW, token=1, instrument=COUNT + 1000, price_ticks=1, quantity_lots=1)
    driven.turn()
    assert all(int(event["header"]["type"]) != lib.REQUEST_NEW for event in driven.recorded())
