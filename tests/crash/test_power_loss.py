"""The machine goes down: the intent file is rebuilt from every prefix, and from sampled subsets, of the writes of its
pages since they were last synced, and a gateway of the next boot takes it up against the same venue.

    gateway --stores--> pages of the file --each version kept--> images of what a disk may hold --> next boot
       '--tcp--> venue, copied at the moment of the loss, with and without what was still on the line

Whatever was lost: no order leaves twice, no fill is lost, and the next order's number is one that the venue takes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.intents import read_intents
from hotpath.power_loss import Aftermath, take_up, whole_records
from tests.gateway_driver import Gateway, Risk, World, make_config, run_until
from tests.scripted_venue import ScriptedVenue

PAGE = 4096
CAPACITY = 64
SEED = 20261121
IDS_FAR_ABOVE = 1_000_000
OTHER_BOOT = bytes(range(16))
BOOT_ID_OFFSET: int = ffi.offsetof("segment_header", "boot_id")


@dataclass
class Loss:
    """A moment at which the power may fail: what each page may hold on disk, and the venue then."""

    versions: dict[int, list[bytes]]  # by page: what was synced first, then each later state
    order: list[tuple[int, int]]  # (page, version) as they were written
    venue: ScriptedVenue
    commands: int


@dataclass
class PageLog:
    """Every state of every page of the file since it was last on disk."""

    path: Path
    synced: dict[int, bytes] = field(default_factory=dict)
    versions: dict[int, list[bytes]] = field(default_factory=dict)
    order: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        content = self.path.read_bytes()
        self.versions = {at: [content[at : at + PAGE]] for at in range(0, len(content), PAGE)}

    def observe(self) -> None:
        """Note the pages that have changed."""
        content = self.path.read_bytes()
        for at, known in self.versions.items():
            if content[at : at + PAGE] != known[-1]:
                known.append(content[at : at + PAGE])
                self.order.append((at, len(known) - 1))

    def records_are_on_disk(self) -> None:
        """A sync of the records: their pages can no longer be older than now. The first page was not synced."""
        for at, known in self.versions.items():
            if at >= lib.INTENT_RECORDS_OFFSET:
                self.versions[at] = known[-1:]
        self.order = [(at, version) for at, version in self.order if at < lib.INTENT_RECORDS_OFFSET]


def copy_of(venue: ScriptedVenue) -> ScriptedVenue:
    """The same venue for another run of events: a listener of its own, no connection."""
    twin = ScriptedVenue()
    for name in ("session", "next_ref", "next_match"):
        setattr(twin, name, getattr(venue, name))
    twin.stream, twin.wire, twin.live = list(venue.stream), list(venue.wire), deepcopy(venue.live)
    return twin


def losses(folder: Path, durability: str) -> Iterator[Loss]:
    """A day of orders, with a loss before and after each exchange with the venue."""
    chance = random.Random(SEED)
    world = World(folder, ring_capacity=64, exec_capacity=256)
    venue, risk = ScriptedVenue(), Risk(world)
    gateway = Gateway(world, make_config(session_port=venue.port), intents_max=CAPACITY, durability=durability)
    log = PageLog(folder / "intents")
    syncs = 0

    def step() -> None:
        nonlocal syncs
        gateway.turn()
        log.observe()
        if world.counter("SYNCS") != syncs:
            syncs = world.counter("SYNCS")
            log.records_are_on_disk()

    def now() -> Loss:
        versions = {at: list(known) for at, known in log.versions.items()}
        return Loss(versions, list(log.order), copy_of(venue), risk.next_order_id)

    def step_both() -> None:
        step()
        venue.pump()

    run_until(lambda: gateway.state == lib.SESSION_UP, step_both)
    open_ids: list[int] = []
    for _ in range(14):
        for _ in range(chance.choice((1, 1, 2, 5))):  # of one turn
            if open_ids and chance.random() < 0.25:
                open_ids.append(risk.replace(open_ids.pop(0), quantity=50, price=990_000))
            elif open_ids and chance.random() < 0.2:
                risk.cancel(open_ids.pop())
            else:
                open_ids.append(risk.new(quantity=chance.randint(10, 90)))
        step()
        yield now()  # what has just left may never arrive
        for _ in range(3):
            venue.pump()
        if venue.live and chance.random() < 0.6:
            ref = chance.choice(list(venue.live))
            venue.fill(ref, chance.randint(1, venue.live[ref].leaves))
        venue.pump()
        step()
        yield now()
    gateway.die()
    venue.close()


def images(loss: Loss, chance: random.Random, *, prefixes: int, subsets: int) -> Iterator[bytes]:
    """What the disk may hold: the writes up to each point in their order, and any mixture of states."""
    lengths = range(len(loss.order) + 1)
    for length in lengths if len(lengths) <= prefixes else chance.sample(lengths, prefixes):
        state = dict.fromkeys(loss.versions, 0) | dict(loss.order[:length])
        yield b"".join(loss.versions[at][state[at]] for at in sorted(state))
    for _ in range(subsets):
        yield b"".join(chance.choice(loss.versions[at]) for at in sorted(loss.versions))


class NextBoot:
    """The engine's gateway after the machine came up again, with what the disk held."""

    def __init__(self, folder: Path, image: bytes, loss: Loss, durability: str) -> None:
        self.venue = copy_of(loss.venue)
        self.world = World(folder, ring_capacity=64, exec_capacity=256)
        path = folder / "intents"
        path.write_bytes(image[:BOOT_ID_OFFSET] + OTHER_BOOT + image[BOOT_ID_OFFSET + 16 :])
        self.found: Aftermath = take_up(path, capacity=CAPACITY, trading_day=0, note=None)
        self.risk = Risk(self.world)
        self.risk.next_order_id = max(self.found.last_order_id, IDS_FAR_ABOVE) + 1
        config = make_config(session_port=self.venue.port)
        self.gateway = Gateway(self.world, config, intents_max=CAPACITY, durability=durability)
        self.sent_before = len(self.venue.wire)

    def step(self) -> None:
        self.gateway.turn(advance_ns=500_000)
        self.venue.pump()
        self.risk.read()

    def recover(self) -> None:
        run_until(lambda: self.gateway.state == lib.SESSION_UP, self.step)
        for _ in range(4):
            self.step()

    def close(self) -> None:
        self.gateway.die()
        self.venue.close()


def executed_lots(stream: list[bytes]) -> int:
    return sum(int.from_bytes(message[13:17], "big") for message in stream if message[:1] == b"E")


def check(boot: NextBoot) -> None:
    """What must hold however little the disk kept."""
    sent = boot.venue.wire[boot.sent_before :]
    assert {order.type for order in sent} <= {"X", "Q"}, "recovery sends no order"
    fills = boot.risk.of_type(lib.EXEC_FILL)
    assert sum(int(fill["quantity_lots"]) for fill in fills) == executed_lots(boot.venue.stream)
    assert boot.world.counter("OPEN_ORDERS") == len(boot.venue.live), "each live order is known"
    assert boot.world.counter("UNMATCHED") == 0
    assert boot.world.gateway_mode == lib.MODE_NORMAL
    next_ref = boot.venue.next_ref
    order_id = boot.risk.new(quantity=7)
    for _ in range(6):
        boot.step()
    order = boot.venue.wire[-1]
    assert order.user_ref >= next_ref and int(order.client_order_id) == order_id
    assert order_id in {int(event["order_id"]) for event in boot.risk.of_type(lib.EXEC_ACCEPTED)}
    refs = [each.user_ref for each in boot.venue.new_orders()]
    ids = [int(each.client_order_id) for each in boot.venue.new_orders()]
    assert len(set(refs)) == len(refs) and len(set(ids)) == len(ids), "an order left twice"


@pytest.mark.parametrize("durability", ["process", "power"])
def test_every_image_of_the_file_is_recovered_from(tmp_path: Path, durability: str) -> None:
    chance = random.Random(SEED)
    cases = 0
    kinds: set[str] = set()
    for moment, loss in enumerate(losses(tmp_path / "before", durability)):
        for number, image in enumerate(images(loss, chance, prefixes=4, subsets=3)):
            boot = NextBoot(tmp_path / f"{moment}-{number}", image, loss, durability)
            try:
                boot.recover()
                check(boot)
                kinds.add(boot.found.found)
                assert boot.venue.logins[0][16:26].strip() in (b"", b"DAY"), "the session that it was in"
                if durability == "power":
                    assert boot.world.counter("ADOPTED") == 0, "an order left that was not on disk"
            finally:
                boot.close()
            cases += 1
        loss.venue.close()
    assert kinds == {"kept" if durability == "power" else "set aside"}
    assert cases > 60


def test_durable_intents_name_every_order_that_left(tmp_path: Path) -> None:
    """Whatever else was lost, the records up to the last sync are whole, and all that left is among them."""
    chance = random.Random(SEED)
    for loss in losses(tmp_path / "before", "power"):
        left = {order.user_ref for order in loss.venue.new_orders()}
        for image in images(loss, chance, prefixes=50, subsets=20):
            every = np.frombuffer(image, dtype_of("intent_record"), CAPACITY, lib.INTENT_RECORDS_OFFSET)
            assert left <= set(every[: whole_records(every)]["user_ref"].tolist())
        loss.venue.close()


def test_a_disk_that_lies_about_a_sync_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: syncs that reach no disk. The venue then tells of an order that no intent does: nothing trades on."""
    monkeypatch.setattr(PageLog, "records_are_on_disk", lambda _: None)
    doubtful = 0
    for moment, loss in enumerate(losses(tmp_path / "before", "power")):
        nothing = b"".join(known[0] for _, known in sorted(loss.versions.items()))
        boot = NextBoot(tmp_path / f"{moment}", nothing, loss, "power")
        boot.recover()
        if loss.venue.new_orders():
            assert boot.world.counter("UNMATCHED") and boot.world.gateway_mode == lib.MODE_CANCEL_ONLY
            doubtful += 1
        boot.close()
        loss.venue.close()
    assert doubtful


def test_a_failed_sync_sends_nothing_and_halts_over_restarts(tmp_path: Path) -> None:
    world = World(tmp_path)
    venue, risk = ScriptedVenue(), Risk(world)
    gateway = Gateway(world, make_config(session_port=venue.port), durability="power")

    def step() -> None:
        gateway.turn()
        venue.pump()

    run_until(lambda: gateway.state == lib.SESSION_UP, step)
    resting = risk.new()
    run_until(lambda: len(risk.of_type(lib.EXEC_ACCEPTED)) == 1, step)
    takes_no_write = (tmp_path / "intents").open("rb")
    gateway.c.intents.sync_fd = takes_no_write.fileno()
    lost = risk.new()
    run_until(lambda: len(risk.of_type(lib.EXEC_SESSION_UP)) == 2, step)
    assert [int(order.client_order_id) for order in venue.new_orders()] == [resting], "it was never sent"
    assert lost in {int(event["order_id"]) for event in risk.of_type(lib.EXEC_CANCELED)}, "and is told dead"
    assert world.gateway_mode == lib.MODE_HALTED
    assert world.counter("SYNC_FAILURES") == 1
    refused = risk.new()
    risk.cancel(resting)
    run_until(lambda: venue.live == {}, step)
    assert refused in {int(event["order_id"]) for event in risk.of_type(lib.EXEC_REFUSED)}
    gateway.die()
    gateway = Gateway(world, make_config(session_port=venue.port), durability="power")
    run_until(lambda: gateway.state == lib.SESSION_UP, step)
    assert world.gateway_mode == lib.MODE_HALTED, "only people end it"
    gateway.die()
    takes_no_write.close()
    venue.close()


def test_the_same_boot_needs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    Gateway(world, make_config()).die()
    found = take_up(tmp_path / "intents", capacity=CAPACITY, trading_day=0, note=None)
    assert found.found == "whole" and not found.doubtful
    with read_intents(tmp_path / "intents") as file:
        assert int(file.page()["promise"]) == lib.INTENT_PROMISE_PROCESS


def test_moments_differ(tmp_path: Path) -> None:
    """The scenario itself: orders cross pages, several go in one turn, and what is lost differs."""
    seen: list[Any] = list(losses(tmp_path, "process"))
    assert len(seen) == 28 and len({len(loss.order) for loss in seen}) > 10
    assert any(len(loss.versions[lib.INTENT_RECORDS_OFFSET + PAGE]) > 1 for loss in seen)
    for loss in seen:
        loss.venue.close()
