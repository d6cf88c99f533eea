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
import time
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
from hotpath.config import Config
from hotpath.engine import READ_NOTHING_MORE, EngineSpec, engine_memory
from hotpath.errors import CaptureError, HotpathError
from hotpath.journal import Journal
from hotpath.journal.format import END_FILE
from hotpath.ledger.carry import last_run
from hotpath.limits import publish_copy
from hotpath.limits_log import RING as CHANGES
from hotpath.limits_log import LimitsHistory, first_limits, spans_of
from hotpath.models import loader as models
from hotpath.models.page import RING as MODELS
from hotpath.models.page import ModelsHistory
from hotpath.rings import RingWriter
from hotpath.stages import ProcessStages, intents_path
from hotpath.states import kept_states, states_of
from hotpath.topology import PROCESSES, STAGES, Place, Placement

INTENTS_FILE = "intents"
EXEC_INPUT = 1  # of the plans of signal and risk
WAIT_SECONDS = 0.0001  # between two looks at what another process of the same replay has made
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
    """The stages of one process over a recording: all four, or those of one place of a topology."""

    def __init__(self, recording: Recording, stages: ProcessStages, *, patience_seconds: float = 0.0) -> None:
        """`patience_seconds`: for what other processes of the same replay make; 0: there are none."""
        spec = stages.spec
        self.recording = recording
        self.stages = stages
        self.own = stages.place.stages
        self._patience = patience_seconds
        writer_of = {"raw": "feed", "exec": "gateway", "intake": "signal"}  # each ring is given by whoever wrote it
        rings = [ring for ring in spec.rings if ring.name in GIVEN and writer_of[ring.name] in self.own]
        self.given = {ring.name: recording.events(ring.name) for ring in rings}
        self.writers = {ring.name: RingWriter(spec.name, ring.name, gates=ring.gating) for ring in rings}
        self.published = dict.fromkeys(GIVEN, 0)
        self.turns = {stage: np.ascontiguousarray(recording.events(f"{stage}.ctl")) for stage in self.own}
        self.firsts = {stage: np.flatnonzero(turns["turn"] == 1).tolist() for stage, turns in self.turns.items()}
        norm = stages.rings["norm"]
        if "feed" in self.own and "gateway" in norm.gating:  # the paper venue's seat: its executions are given
            seat = stages.segment(norm.cursor("gateway"), lib.SEGMENT_CURSOR, writable=True)
            seat.cast("ring_cursor *").position = READ_NOTHING_MORE
        if "risk" in self.own:
            self._limits_page = stages.segment("limits", lib.SEGMENT_LIMITS, writable=True)
            self._limits = LimitsHistory(
                first_limits(recording.run.config.risk, spec.symbols),
                lambda begin, end: recording.journal.events(CHANGES, begin, end),
                lambda: recording.journal.next(CHANGES),
            )
            self._limits_version = self._limits.version
            self._limits_ends = np.array([end for _, end in spans_of(self.turns["risk"])])
        if "signal" in self.own and stages.models is not None:
            self._models = ModelsHistory(
                lambda begin, end: recording.journal.events(MODELS, begin, end), lambda: recording.journal.next(MODELS)
            )
            self._models_ends = np.array([end for _, end in models.spans_of(self.turns["signal"])])
        self._others_take = 0  # executions that stages of other processes are yet to be given
        if self._patience and "gateway" in self.own:
            last = [recording.events(f"{stage}.ctl")["input_sequence"][-1:, EXEC_INPUT] for stage in ("signal", "risk")]
            self._others_take = int(np.concatenate(last).max(initial=0))
        self.done = dict.fromkeys(STAGES, 0)
        self.mismatches: list[Mismatch] = []
        self.intents = recording.order_records()
        self._differs = ffi.new("uint32_t *")

    def run(self, progress: Progress | None = None) -> None:
        """Every recorded turn of these stages, each when all that it may see is there."""
        total = sum(map(len, self.turns.values()))
        moved = time.monotonic()
        while waiting := [stage for stage in self.own if self.done[stage] < len(self.turns[stage])]:
            given = self._give()
            advanced = [self._advance(stage) for stage in self.own]  # each of them, not only up to the first
            if self.mismatches:
                return
            if any(advanced) or given:
                moved = time.monotonic()
            elif time.monotonic() - moved >= self._patience:
                turns = ", ".join(f"{stage} at turn {self.done[stage] + 1}" for stage in waiting)
                raise CaptureError(f"{self.recording.folder}: waits for events that are not recorded: {turns}")
            else:
                time.sleep(WAIT_SECONDS)
            if progress is not None:
                progress(sum(self.done.values()), total)
        while self.published["exec"] < self._others_take:
            if not self._give():
                time.sleep(WAIT_SECONDS)
        if "gateway" in self.own:
            self._finish_cut_turn()

    def _advance(self, stage: str) -> bool:
        """Run this stage's turns as far as they go: those of one process, then of the one that took its place."""
        before = self.done[stage]
        turns, target = self.turns[stage], getattr(self.stages, stage)
        while (begin := self.done[stage]) < len(turns) and not self.mismatches:
            if int(turns["turn"][begin]) == 1:  # the first turn of a process: the gateway may have had several
                if stage == "gateway":
                    self._finish_cut_turn()
                target.stage.turn = target.stage.digest = 0
            end = next((first for first in self.firsts[stage] if first > begin), len(turns))
            if stage == "risk":
                end = min(end, self._show_limits(begin))
            if stage == "signal" and self.stages.models is not None:
                end = min(end, self._show_models(begin))
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
            publish_copy(self._limits_page, self._limits.at(version))
            self._limits_version = version
        return int(self._limits_ends[np.searchsorted(self._limits_ends, turn, side="right")])

    def _show_models(self, turn: int) -> int:
        """Hand over the models that signal had in this turn; returns up to which one. Raises JournalError."""
        assert self.stages.models is not None, "the caller looked"
        self.stages.models.show(self._models, int(self.turns["signal"]["model_generation"][turn]))
        return int(self._models_ends[np.searchsorted(self._models_ends, turn, side="right")])

    def _give(self) -> int:
        """Fill the recorded rings that these stages give, as far as they have room; returns how many events."""
        total = 0
        for ring, events in self.given.items():
            begin = self.published[ring]
            chunk = events[begin : begin + self.writers[ring].room]
            if len(chunk):
                count = self.writers[ring].publish(np.ascontiguousarray(chunk))
                self.published[ring] += count
                total += count
        return total

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


class PartReplay(Struct):
    """What the stages of one process came to."""

    turns: dict[str, int]
    mismatches: list[Mismatch]
    states: dict[str, str]


def replay_recording(
    folder: Path, *, trust_code: bool = False, progress: Progress | None = None, topology: str = "fused"
) -> RecordingReplay:
    """Run a recording again and compare, in as many processes as `topology` has, whatever the recorded run had.

    Raises CaptureError for one that names code, unless that is trusted.
    """
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
        spec = spec_of(recording, Path(scratch), name=f"replay-{os.getpid()}", topology=topology)
        with engine_memory(spec) as memory:
            if topology == "fused":
                parts = [replay_part(recording, spec, spec.placement.places[0], memory.run_epoch, progress=progress)]
            else:
                from hotpath.replay_process import replay_parts

                parts = replay_parts(folder, spec, run_epoch=memory.run_epoch)
        with intents.read_intents(intents_path(spec.config)) as file:
            replayed = file.frames()
    recorded = recording.order_frames()
    ended = {stage: state for part in parts for stage, state in part.states.items()}
    return RecordingReplay(
        events={ring: len(recording.events(ring)) for ring in ("raw", "norm", "signal", "cmd", "exec", "reject")},
        turns={stage: turns for part in parts for stage, turns in part.turns.items()},
        orders_recorded=len(recorded),
        orders_replayed=len(replayed),
        orders_equal=recorded == replayed,
        order_log_sha256=intents.frames_digest(replayed),
        mismatches=[mismatch for part in parts for mismatch in part.mismatches],
        states={stage: (then, ended[stage]) for stage, then in kept_states(folder).items() if stage in ended},
    )


def replay_part(
    recording: Recording,
    spec: EngineSpec,
    place: Place,
    run_epoch: int,
    *,
    progress: Progress | None = None,
    patience_seconds: float = 0.0,
) -> PartReplay:
    """The stages of one place, in this process."""
    stages = ProcessStages(spec, place, run_epoch=run_epoch, replay_gateway=True)
    replayer = Replayer(recording, stages, patience_seconds=patience_seconds)
    replayer.run(progress)
    turns = {stage: int(getattr(stages, stage).stage.turn) for stage in place.stages}
    ended = states_of(stages)
    stages.close()
    return PartReplay(turns, replayer.mismatches, ended)


def spec_of(recording: Recording, scratch: Path, *, name: str, topology: str) -> EngineSpec:
    """The recorded run's spec in a topology, with neither feed nor venue."""
    run = recording.run
    replace = msgspec.structs.replace
    engine = replace(run.config.engine, name=name, state_dir=str(scratch), topology=topology)
    feed = replace(run.config.feed, kind="none")
    gateway = replace(run.config.gateway, intents_dir="")  # into `scratch`, and gone with it
    no_models = replace(run.config.models, load="")  # each generation comes from the recording
    config = replace(run.config, engine=engine, feed=feed, gateway=gateway, models=no_models)
    places = (Place(process, stages, cpu=None, wait="spin") for process, stages in PROCESSES[topology].items())
    return EngineSpec(
        config=config,
        instruments=recording.instruments,
        placement=Placement(tuple(places), ()),
        midnight_ns=run.midnight_ns,
        roll_times_ns=run.roll_times_ns,
        order_id_base=run.order_id_base,
        strategy_epoch=run.strategy_epoch,
        trading_day=run.trading_day,
    )


def keep_intents_of_cut_off(config: Config) -> None:
    """Put the intent file beside the journal of the last run where that was cut off before it could: before the file
    is rolled or set aside, so that explain and evidence can read it for ever. What cannot be read stays where it is."""
    folder, path = last_run(config), intents_path(config)
    if folder is None or (folder / INTENTS_FILE).exists() or not path.exists():
        return
    try:
        day = Journal(folder).run.trading_day
        with intents.read_intents(path) as file:
            same = int(file.page()["trading_day"]) == day
        if same:
            keep_intents(config, folder)
    except (HotpathError, OSError):  # the next run says what is wrong with either
        return


def keep_intents(config: Config, folder: Path) -> None:
    """Put a run's intent file beside its recording; of the room for later frames nothing is written."""
    with intents.read_intents(intents_path(config)) as file:
        used = intents.RECORDS_OFFSET + len(file.records()) * dtype_of("intent_record").itemsize
        with (folder / INTENTS_FILE).open("wb") as copy:
            copy.write(memoryview(file.mapping)[:used])
            copy.truncate(file.size)
