"""A turn cut off at each of its stores, and made again: the stages themselves, in this process.

    run for a while --> one more turn, whose record, outputs and cursors are then taken back in part --> rebuild
                                                                          == the turn as it was, once

What a killed process leaves is a prefix of what it would have stored: outputs one by one, then cursors, then the
record. Each prefix is made here from a whole turn by taking back what comes after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import ffi, lib
from hotpath.engine import EngineMemory, EngineSpec, engine_memory
from hotpath.errors import RecoveryError
from hotpath.recovery import Output, Past, StageRebuild
from hotpath.replay import ReplayOptions, replay_spec
from hotpath.stage_images import read_image, write_image
from hotpath.stages import ProcessStages
from hotpath.topology import Placement
from tests.support.busy import busy_config_file
from tests.support.synthetic import write_synthetic_day

MESSAGES = 12_000
OUTPUT = {"feed": "norm", "signal": "signal", "risk": "cmd"}


class RingsAlone(Past):
    """A past of which every event still stands in its ring."""

    def __init__(self, spec: EngineSpec, *, run_epoch: int) -> None:
        self._rings = {}
        self._spec = spec
        self._run_epoch = run_epoch

    def chunk(self, ring: str, begin: int, end: int) -> np.ndarray[Any, Any]:
        found = self.standing(ring, begin, end)
        if not len(found):
            raise RecoveryError(f"event {begin} of ring {ring} is nowhere")
        return found


@dataclass
class World:
    """An engine of one process that has run for a while, and stands between two loops."""

    memory: EngineMemory
    stages: ProcessStages
    past: RingsAlone

    def step(self, stage: str, *, record: bool = True) -> int:
        """One turn of one stage, planned into its page as the loop does. 1 when it did something."""
        owner = getattr(self.stages, stage)
        slots = owner.stage.ctl.slots
        if not record:
            owner.stage.ctl.slots = ffi.NULL
        plan = ffi.addressof(owner.stage.page, "plan")
        getattr(lib, f"{stage}_plan")(owner, plan)
        busy = int(getattr(lib, f"{stage}_turn")(owner, plan))
        owner.stage.ctl.slots = slots
        return busy

    def until_output(self, stage: str) -> tuple[int, int]:
        """Turns of all stages until the next one of `stage` has outputs; that one is left without its record.
        First output of it, and the one after its last."""
        for _ in range(MESSAGES):
            for each in ("feed", "signal", "risk", "gateway"):
                if each != stage:
                    self.step(each)
                    continue
                writer = getattr(getattr(self.stages, stage), OUTPUT[stage])
                begin, ctl = int(writer.next), int(getattr(self.stages, stage).stage.ctl.next)
                self.step(stage)
                if int(writer.next) > begin:
                    self.take_back(f"{stage}.ctl", ctl)
                    return begin, int(writer.next)
        raise AssertionError(f"{stage} published nothing")

    def slots(self, ring: str) -> np.ndarray[Any, Any]:
        segment = self.memory.segments[ring]
        return segment.view("u1", offset=lib.RING_SLOTS_OFFSET, count=segment.info.capacity * 128).reshape(-1, 128)

    def take_back(self, ring: str, sequence: int) -> None:
        """As if nothing from `sequence` on had been published."""
        control = self.memory.segments[ring].cast("ring_control *")
        slots = self.slots(ring)
        for each in range(sequence, int(control.position)):
            slots[each % len(slots), :8] = 0
        control.position = sequence

    def successor(self) -> ProcessStages:
        """The stages of a process that has just started over the same memory."""
        spec = self.memory.spec
        place = dataclasses.replace(spec.placement.places[0], stages=("feed", "signal", "risk"))
        spec = dataclasses.replace(spec, placement=Placement((place,), ()))
        return ProcessStages(spec, place, run_epoch=self.memory.run_epoch)


@pytest.fixture
def world(tmp_path: Path, engine: str) -> Iterator[World]:
    day = write_synthetic_day(tmp_path / "day.itch", messages=MESSAGES)
    options = ReplayOptions(config_path=busy_config_file(tmp_path), topology="fused", engine_name=engine)
    spec = replay_spec(day, options, state_dir=tmp_path)
    small = {"orders_max": 1 << 14, "levels_max": 1 << 13}
    feed = msgspec.structs.replace(spec.config.feed, pace="rate", rate_per_second=100_000, **small)
    gateway = msgspec.structs.replace(spec.config.gateway, intents_max=4096)
    config = msgspec.structs.replace(spec.config, feed=feed, gateway=gateway)
    spec = dataclasses.replace(spec, lockstep=False, journal=True, config=config)
    with engine_memory(spec) as memory:
        stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch)
        lib.control_arm(memory.control, memory.control.kill_epoch)
        stages.run(60_000_000)
        yield World(memory, stages, RingsAlone(spec, run_epoch=memory.run_epoch))
        stages.close()


def rebuild(world: World, stages: ProcessStages, stage: str) -> StageRebuild:
    made = StageRebuild(stages, stage, world.past, lambda: None)
    made.bind()
    made.replay()
    made.finish()
    return made


def decided(rows: np.ndarray[Any, Any]) -> bytes:
    """Events without stamps and measured times."""
    kept = rows.copy()
    kept[:, :8] = kept[:, 24:40] = 0
    return kept.tobytes()


def cut_off_and_make_again(stage: str, kept: str, world: World) -> None:
    """A turn of which so many outputs stand, and no record; what must be afterwards."""
    begin, end = world.until_output(stage)
    owner = getattr(world.stages, stage)
    turn, digest = int(owner.stage.turn), int(owner.stage.digest)
    ring = OUTPUT[stage]
    slots = world.slots(ring)
    was = slots[np.arange(begin, end) % len(slots)].copy()
    world.take_back(ring, {"none": begin, "first": begin + 1, "all": end}[kept])
    owner.stage.page.turns = turn - 1 if kept != "all" else turn
    stages = world.successor()
    made = rebuild(world, stages, stage)
    again = getattr(stages, stage)
    assert made.turns == turn and int(again.stage.turn) == turn and int(again.stage.digest) == digest
    assert int(getattr(again, ring).next) == end == int(world.memory.segments[ring].cast("ring_control *").position)
    assert decided(slots[np.arange(begin, end) % len(slots)]) == decided(was)
    assert int(world.memory.segments[f"{stage}.ctl"].cast("ring_control *").position) == turn, "its record is there"
    stages.close()


@pytest.mark.parametrize("kept", ["none", "first", "all"])
@pytest.mark.parametrize("stage", ["feed", "signal", "risk"])
def test_turn_that_was_cut_off_is_made_once(stage: str, kept: str, world: World) -> None:
    cut_off_and_make_again(stage, kept, world)


def _publish_all(self: StageRebuild, output: Output, made: int) -> None:
    row = np.ascontiguousarray(output.private.bytes_of(np.array([made - 1], np.uint64)))
    lib.ring_publish(ffi.addressof(output.writer), ffi.from_buffer(row), 128)


PLANTS: dict[str, tuple[str, Any]] = {
    "what stands is published again": ("_publish_missing", _publish_all),
    "what is missing is not published": ("_publish_missing", lambda self, output, made: None),
    "the turn that was cut off is forgotten": ("_left_traces", lambda self: False),
}


@pytest.mark.parametrize("plant", sorted(PLANTS))
def test_planted_bug_is_caught(plant: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recovery that does it wrong fails the tests that are here."""
    monkeypatch.setattr(StageRebuild, *PLANTS[plant])
    with pytest.raises((AssertionError, RecoveryError)):
        cut_off_and_make_again("signal", "all" if "again" in plant else "none", world)


@pytest.mark.parametrize("stage", ["feed", "signal", "risk"])
def test_turn_that_left_no_trace_is_planned_anew(stage: str, world: World) -> None:
    """Torn as its plan may be: nobody looks at it."""
    turn = int(getattr(world.stages, stage).stage.turn)
    getattr(world.stages, stage).stage.page.plan.input_sequence = [2**63] * lib.INPUTS_MAX
    stages = world.successor()
    assert rebuild(world, stages, stage).turns == turn
    stages.close()


@pytest.mark.parametrize("stage", ["feed", "signal", "risk"])
def test_every_difference_is_refused(stage: str, world: World) -> None:
    """Planted: a digest of another turn, an output that nobody made, an output with another price."""
    page, ring = getattr(world.stages, stage).stage.page, OUTPUT[stage]
    records = world.slots(f"{stage}.ctl")
    offset = ffi.offsetof("turn_event", "digest")
    records[10, offset] ^= 1
    stages = world.successor()
    with pytest.raises(RecoveryError, match="turn 11 is not what it was: digest"):
        rebuild(world, stages, stage)
    records[10, offset] ^= 1
    slots = world.slots(ring)
    last = int(world.memory.segments[ring].cast("ring_control *").position) - 1
    price = ffi.offsetof({"feed": "norm_event", "signal": "signal_event", "risk": "cmd_event"}[stage], "price_ticks")
    slots[last % len(slots), price] ^= 1
    with pytest.raises(RecoveryError, match=f"event {last} of ring {ring} is not what it was: price_ticks"):
        rebuild(world, world.successor(), stage)
    slots[last % len(slots), price] ^= 1
    page.turns += 1
    with pytest.raises(RecoveryError, match="left traces, and its plan makes none"):
        rebuild(world, world.successor(), stage)


@pytest.mark.parametrize("stage", ["feed", "signal", "risk"])
def test_state_from_a_snapshot_goes_on_as_the_state_it_was_taken_of(stage: str, world: World, tmp_path: Path) -> None:
    """The image of a state restored is the same image, and the turns that follow have the recorded digests."""
    first = world.successor()
    made = StageRebuild(first, stage, world.past, lambda: None)
    made.bind()
    head = world.past.head
    world.past.head = lambda ring: head(ring) // 2 if ring == f"{stage}.ctl" else head(ring)  # type: ignore[method-assign]
    made.replay()
    image = made.image()
    world.past.head = head  # type: ignore[method-assign]
    read = read_image(write_image(tmp_path, image))
    assert read is not None and read.turn == image.turn > 10 and read.parts == image.parts
    second = world.successor()
    again = StageRebuild(second, stage, world.past, lambda: None)
    again.bind()
    again.take_image(read)
    pointers = {"book", "seats"}  # hold addresses
    same = again.image().parts
    assert {k: v for k, v in same.items() if k not in pointers} == {
        k: v for k, v in read.parts.items() if k not in pointers
    }
    again.replay()
    again.finish()
    assert int(getattr(second, stage).stage.digest) == int(getattr(world.stages, stage).stage.digest)
