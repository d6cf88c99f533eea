"""A recorded run, run again: the same stages, turn by turn, and every order compared byte for byte.

    raw.events  -> raw ring  -> feed turns    \\
    exec.events -> exec ring -> signal, risk    > each turn as its record planned it, as soon as all that
                   norm, signal, cmd, reject   /  the plan may see has been made again
                                -> gateway turns (no venue) -> intent file  == the recorded intent file

What the world decided (packets, executions, times, kills, modes) comes from the recording; what the engine
decided is decided again. After each turn the stage's digest must equal the recorded one.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from ffi import ffi, lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath import intents
from hotpath.engine import READ_NOTHING_MORE, EngineMemory, EngineSpec, engine_memory
from hotpath.errors import CaptureError
from hotpath.journal import Journal
from hotpath.journal.format import END_FILE
from hotpath.limits import publish_copy
from hotpath.limits_log import RING as CHANGES
from hotpath.limits_log import LimitsHistory, first_limits, spans_of
from hotpath.rings import RingWriter
from hotpath.stages import ProcessStages, intents_path
from hotpath.states import kept_states, states_of
from hotpath.topology import STAGES, Place, Placement

INPUTS = {  # of each stage's plan, in order; None: not a ring
    "feed": ("raw",),
    "signal": ("norm", "exec", "reject", "intake"),
    "risk": ("norm", "exec", "signal"),
    "gateway": (None, "cmd"),  # without a venue, the paper venue's market is not needed
}
Progress = Callable[[int, int], None]  # turns done, turns in all
GIVEN = ("raw", "exec", "intake")  # rings that the recording fills; intake where seats were configured


class Mismatch(Struct):
    """Where a replayed stage first differed from its recording."""

    stage: str
    turn: int
    recorded: str
    replayed: str


class RecordingReplay(Struct):
    """How a recording compares with its replay."""

    events: dict[str, int]
    turns: dict[str, int]
    orders_recorded: int
    orders_replayed: int
    orders_equal: bool
    order_log_sha256: str = ""
    mismatches: list[Mismatch] = field(default_factory=list)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)  # of each stage at its end: recorded, replayed

    @property
    def same(self) -> bool:
        """Every digest, every order byte, and what the stages remembered at the end is as recorded."""
        return self.orders_equal and not self.mismatches and all(then == now for then, now in self.states.values())


class Recording:
    """The journal of a whole run, opened read-only. Raises CaptureError when it cannot be replayed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder)
        self.run = self.journal.run
        self.instruments = self.journal.instruments
        end = self.journal.end
        if end is None:
            raise CaptureError(
                f"{folder}: not a whole recording: {END_FILE}: no such file",
                next_step="hotpath journal verify FOLDER says what is left of a run that was cut off",
            )
        for ring, counts in end.rings.items():
            if counts.lost:
                raise CaptureError(
                    f"{folder}: {counts.lost} events of ring {ring} were overwritten before they were recorded",
                    next_step=f"record again with a larger [rings] {ring}",
                )
            if self.journal.count(ring) != counts.events:
                raise CaptureError(
                    f"{folder}: of {counts.events} events of ring {ring} {self.journal.count(ring)} are left",
                    next_step="hotpath journal verify FOLDER says where it is damaged",
                )
        if self.run.layout_hash != layout_hash():
            raise CaptureError(
                f"{folder}: recorded with layout {self.run.layout_hash:016x}, this build has {layout_hash():016x}",
                next_step="replay it with the build that recorded it",
            )

    def events(self, ring: str) -> npt.NDArray[Any]:
        """Every event of a ring, in sequence."""
        return self.journal.events(ring)

    def order_frames(self) -> list[bytes]:
        """The frames that this run sent, in order."""
        with intents.read_intents(self.folder / "intents") as file:
            records = file.records()
            frames = file.frames()
        earlier = self.run.order_id_base
        return [frame for frame, record in zip(frames, records, strict=True) if record["order_id"] > earlier]

    def order_records(self) -> npt.NDArray[Any]:
        """The intents of the same frames."""
        with intents.read_intents(self.folder / "intents") as file:
            records = file.records()
        return np.array(records[records["order_id"] > self.run.order_id_base])


class Replayer:
    """The four stages over a recording, in this process."""

    def __init__(self, recording: Recording, memory: EngineMemory, stages: ProcessStages) -> None:
        self.recording = recording
        self.stages = stages
        gates = {ring.name: ring.gating for ring in memory.spec.rings}
        self.given = {ring: recording.events(ring) for ring in GIVEN if ring in gates}
        self.writers = {ring: RingWriter(memory.spec.name, ring, gates=gates[ring]) for ring in self.given}
        self.published = dict.fromkeys(GIVEN, 0)
        self.turns = {stage: np.ascontiguousarray(recording.events(f"{stage}.ctl")) for stage in STAGES}
        self.firsts = {stage: np.flatnonzero(turns["turn"] == 1).tolist() for stage, turns in self.turns.items()}
        self.limits = LimitsHistory(
            first_limits(recording.run.config.risk, memory.spec.symbols),
            lambda begin, end: recording.journal.events(CHANGES, begin, end),
            lambda: recording.journal.next(CHANGES),
        )
        self._limits_page = memory.segments["limits"]
        self._limits_version = self.limits.version
        self._limits_ends = np.array([end for _, end in spans_of(self.turns["risk"])])
        self.done = dict.fromkeys(STAGES, 0)
        self.mismatches: list[Mismatch] = []
        self.intents = recording.order_records()
        self._differs = ffi.new("uint32_t *")

    def run(self, progress: Progress | None = None) -> None:
        """Every recorded turn, each when all that it may see is there."""
        total = sum(map(len, self.turns.values()))
        while waiting := [stage for stage in STAGES if self.done[stage] < len(self.turns[stage])]:
            advanced = [self._advance(stage) for stage in STAGES]  # each of them, not only up to the first
            if self.mismatches:
                return
            if not any(advanced):
                turns = ", ".join(f"{stage} at turn {self.done[stage] + 1}" for stage in waiting)
                raise CaptureError(f"{self.recording.folder}: waits for events that are not recorded: {turns}")
            if progress is not None:
                progress(sum(self.done.values()), total)
        self._finish_cut_turn()

    def _advance(self, stage: str) -> bool:
        """Run this stage's turns as far as they go: those of one process, then of the one that took its place."""
        before = self.done[stage]
        turns, target = self.turns[stage], getattr(self.stages, stage)
        self._give(stage)
        while (begin := self.done[stage]) < len(turns) and not self.mismatches:
            if int(turns["turn"][begin]) == 1:  # the first turn of a process: the gateway may have had several
                if stage == "gateway":
                    self._finish_cut_turn()
                target.stage.turn = target.stage.digest = 0
            end = next((first for first in self.firsts[stage] if first > begin), len(turns))
            if stage == "risk":
                end = min(end, self._show_limits(begin))
            chosen = turns[begin:end]
            count = int(
                lib.retell_turns(
                    target, STAGES.index(stage), ffi.from_buffer("turn_event *", chosen), len(chosen), self._differs
                )
            )
            self.done[stage] += count
            if self._differs[0]:
                turn = turns[begin + count]
                replayed = f"{int(target.stage.digest):016x}"
                self.mismatches.append(Mismatch(stage, int(turn["turn"]), f"{int(turn['digest']):016x}", replayed))
            if begin + count < end:
                break
        return self.done[stage] > before

    def _show_limits(self, turn: int) -> int:
        """Put in force what risk decided by in this turn; returns up to which one that holds. Raises JournalError."""
        version = int(self.turns["risk"]["limits_version"][turn])
        if version != self._limits_version:
            publish_copy(self._limits_page, self.limits.at(version))
            self._limits_version = version
        return int(self._limits_ends[np.searchsorted(self._limits_ends, turn, side="right")])

    def _give(self, stage: str) -> None:
        """Fill the recorded rings that this stage reads, as far as they have room."""
        for ring in INPUTS[stage]:
            if ring not in self.given:
                continue
            begin, room = self.published[ring], self.writers[ring].room
            chunk = self.given[ring][begin : begin + room]
            if len(chunk):
                self.published[ring] += self.writers[ring].publish(np.ascontiguousarray(chunk))

    def _finish_cut_turn(self) -> None:
        """A gateway that died in the middle of a turn had stored its orders, and no turn record tells of them.
        They are on the wire, and the next process passes over them: they are stored here too."""
        gateway = self.stages.gateway
        times = set(self.turns["gateway"]["header"]["origin_time_ns"].tolist())
        waiting = self.intents[int(gateway.intents.next) :]
        lost = list(itertools.takewhile(lambda record: int(record["time_ns"]) not in times, waiting))
        if not lost or self.mismatches:
            return
        commands = self.recording.events("cmd")
        last = int(np.flatnonzero(commands["order_id"] == lost[-1]["order_id"])[0])
        plan = ffi.new(
            "turn_plan *", {"now_ns": int(lost[0]["time_ns"]), "kill_epoch": int(commands[last]["kill_epoch"])}
        )
        plan.input_sequence[lib.GATEWAY_INPUT_CMD] = last + 1
        plan.input_sequence[lib.GATEWAY_INPUT_SESSION] = 1
        plan.input_sequence[lib.GATEWAY_INPUT_USER_REF] = int(lost[0]["user_ref"])
        lib.gateway_turn(gateway, plan)


def code_named(recording: Recording) -> str:
    """The user's own code that a replay of this recording loads and runs; empty when there is none.

    Python strategies are not among it: what they asked for is recorded.
    """
    return recording.run.config.signal.native


def replay_recording(folder: Path, *, trust_code: bool = False, progress: Progress | None = None) -> RecordingReplay:
    """Run a recording again and compare. Raises CaptureError for one that names code, unless that is trusted."""
    recording = Recording(folder)
    code = code_named(recording)
    if code and not trust_code:
        raise CaptureError(
            f"{folder}: names code of somebody's own, which a replay would run: signal.native = {code}",
            next_step="if you know that code and who made the recording: hotpath replay --trust-code",
        )
    if code:
        print(f"note: runs {code}, which the recording names", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="hotpath-replay-") as scratch:
        spec = _spec_of(recording, Path(scratch))
        with engine_memory(spec) as memory:
            stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch, replay_gateway=True)
            norm = next(ring for ring in spec.rings if ring.name == "norm")
            if "gateway" in norm.gating:  # the paper venue's seat: its executions are given
                memory.cursor(norm, "gateway").position = READ_NOTHING_MORE
            replayer = Replayer(recording, memory, stages)
            replayer.run(progress)
            turns = {stage: int(getattr(stages, stage).stage.turn) for stage in STAGES}
            ended = states_of(stages)
            stages.close()
        with intents.read_intents(intents_path(spec.config)) as file:
            replayed = file.frames()
    recorded = recording.order_frames()
    return RecordingReplay(
        events={ring: len(recording.events(ring)) for ring in ("raw", "norm", "signal", "cmd", "exec", "reject")},
        turns=turns,
        orders_recorded=len(recorded),
        orders_replayed=len(replayed),
        orders_equal=recorded == replayed,
        order_log_sha256=intents.frames_digest(replayed),
        mismatches=replayer.mismatches,
        states={stage: (then, ended[stage]) for stage, then in kept_states(folder).items() if stage in ended},
    )


def _spec_of(recording: Recording, scratch: Path) -> EngineSpec:
    """The recorded run's spec, its stages in one process, with neither feed nor venue."""
    run = recording.run
    replace = msgspec.structs.replace
    engine = replace(run.config.engine, name=f"replay-{os.getpid()}", state_dir=str(scratch), topology="fused")
    feed = replace(run.config.feed, kind="none")
    gateway = replace(run.config.gateway, intents_dir="")  # into `scratch`, and gone with it
    config = replace(run.config, engine=engine, feed=feed, gateway=gateway)
    place = Place(process="replay", stages=STAGES, cpu=None, wait="spin")
    return EngineSpec(
        config=config,
        instruments=recording.instruments,
        placement=Placement((place,), ()),
        midnight_ns=run.midnight_ns,
        roll_times_ns=run.roll_times_ns,
        order_id_base=run.order_id_base,
        strategy_epoch=run.strategy_epoch,
        trading_day=run.trading_day,
    )


def keep_intents(spec: EngineSpec, folder: Path) -> None:
    """Put the run's intent file beside its recording; of the room for later frames nothing is written."""
    with intents.read_intents(intents_path(spec.config)) as file:
        used = intents.RECORDS_OFFSET + len(file.records()) * dtype_of("intent_record").itemsize
        with (folder / "intents").open("wb") as copy:
            copy.write(memoryview(file.mapping)[:used])
            copy.truncate(file.size)
