"""Snapshots of stages: the state after a recorded turn, with how far each input was taken by then.

    FOLDER/snapshots/STAGE.TURN.snapshot     head (JSON, one line), then the parts one after the other, packed
                                             SHA-256 of all of it at the end

Made by the process `snapshots`, off the path, from the journal alone; read by a process that takes a dead one's place,
which then replays only what came after. A snapshot that is damaged, or of another build, is none: the one before
it serves, or the run's beginning. What points into memory is not in it.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from ffi import ffi, lib
from ffi._stamp import SOURCE_STAMP
from hotpath.errors import RecoveryError
from hotpath.front_ends import RawTrace, SeatTraces
from hotpath.stages import LOCATES, OPEN_ORDERS_MAX, ProcessStages

FOLDER = "snapshots"
KEPT = 2  # of each stage
HASH_BYTES = 32
LEVEL = 1  # of compression: most of a book's memory was never used

# What turns decide by, of each structure; the memories that they point to are parts of their own.
FIELDS = {
    "feed": ("message_time_ns", "gap_open", "gap_lost", "silent", "packet_start", "in_snapshot", "partial"),
    "signal": ("working_count", "sweep_time_ns", "roll_time_ns"),
    "risk": ("roll_time_ns",),
}
SEATS_FIELDS = (
    "leg",
    "dead",
    "wanted_count",
    "session",
    "last_session_sequence",
    "sweep_time_ns",
    "market_origin_ns",
    "market_seen_ns",
)
SEAT_PAGE_FIELDS = ("refused", "reports", "reports_lost")


class StageImage(Struct):
    """One stage after a turn."""

    stage: str
    run_epoch: int
    build: str
    turn: int
    digest: int
    readers: dict[str, int]  # taken of each input, exclusive
    writers: dict[str, int]  # published in each output
    sizes: dict[str, int] = field(default_factory=dict)  # of the parts, packed
    raw: RawTrace = field(default_factory=RawTrace)  # feed: where its front end stands
    seats: SeatTraces = field(default_factory=SeatTraces)  # signal
    models: int = 0  # signal: the generation in force, with the roles that failed
    parts: dict[str, bytes] = field(default_factory=dict)


def _field(structure: Any, name: str) -> Any:
    """The bytes of one field, writable."""
    return ffi.buffer(ffi.addressof(structure, name))


def _structures(stages: ProcessStages, stage: str, page: Any, seat_pages: list[Any]) -> dict[str, Any]:
    """Every part of a stage's state that may be copied byte for byte, by name."""
    owner = getattr(stages, stage)
    count = len(stages.spec.instruments)
    parts = {name: _field(owner, name) for name in FIELDS[stage]}
    parts["counters"] = _field(page, "counter")
    if stage == "feed":
        parts["locate"] = ffi.buffer(owner.locate, LOCATES * ffi.sizeof("uint32_t"))
    elif stage == "signal":
        parts["feature"] = ffi.buffer(owner.feature, count * ffi.sizeof("feature_state"))
        parts["order"] = ffi.buffer(owner.order, count * ffi.sizeof("working_order"))
        parts["working"] = ffi.buffer(owner.working, count * ffi.sizeof("uint32_t"))
        if owner.native.state != ffi.NULL:
            parts["native"] = ffi.buffer(owner.native.state, count * lib.NATIVE_STATE_MAX * ffi.sizeof("double"))
        if owner.scorer != ffi.NULL:
            parts |= _model_states(owner.scorer)
        if owner.seats != ffi.NULL:
            parts |= {f"seats.{name}": _field(owner.seats, name) for name in SEATS_FIELDS}
        for index, seat_page in enumerate(seat_pages):
            parts |= {f"seat.{index}.{name}": _field(seat_page, name) for name in SEAT_PAGE_FIELDS}
    else:
        size = int(lib.gate_bytes(count, OPEN_ORDERS_MAX))
        parts["gate"] = ffi.buffer(ffi.cast("uint8_t *", owner.gate.instrument), size)
        for name, kind in ffi.typeof("gate").fields:
            if kind.type.kind != "pointer":
                parts[f"gate.{name}"] = _field(owner.gate, name)
    return parts


def _model_states(scorer: Any) -> dict[str, Any]:
    """What each model in force remembers of every instrument."""
    deck = scorer.deck
    if deck == ffi.NULL:
        return {}
    found = {}
    for role in range(lib.MODEL_ROLES):
        model = deck.role[role]
        if model != ffi.NULL:
            found[f"model.{role}"] = ffi.buffer(model.state, int(model.stride) * int(scorer.instrument_count))
    return found


def _memories(stages: ProcessStages, stage: str) -> dict[str, Any]:
    """The memories that hold pointers into themselves: C puts them back."""
    owner = getattr(stages, stage)
    if stage == "feed":
        size = int(lib.book_bytes(stages.book_config(stages.spec.config.feed)))
        return {"book": ffi.buffer(ffi.cast("uint8_t *", owner.book), size)}
    if stage == "signal" and owner.seats != ffi.NULL:
        terms = stages.spec.config.seats
        orders = sum(seat.open_orders_max for seat in terms)
        size = int(lib.seats_bytes(len(terms), len(stages.spec.instruments), orders))
        return {"seats": ffi.buffer(ffi.cast("uint8_t *", owner.seats.seat), size)}
    return {}


def make_image(
    stages: ProcessStages,
    stage: str,
    page: Any,
    seat_pages: list[Any],
    *,
    readers: dict[str, int],
    writers: dict[str, int],
) -> StageImage:
    """The state of a stage between two turns."""
    context = getattr(stages, stage).stage
    parts = {**_structures(stages, stage, page, seat_pages), **_memories(stages, stage)}
    return StageImage(
        stage=stage,
        run_epoch=stages.journal_epoch,
        build=SOURCE_STAMP,
        turn=int(context.turn),
        digest=int(context.digest),
        readers=readers,
        writers=writers,
        models=_models_of(stages, stage),
        parts={name: bytes(part) for name, part in parts.items()},
    )


def _models_of(stages: ProcessStages, stage: str) -> int:
    owner = getattr(stages, stage)
    return int(owner.scorer.in_force) if stage == "signal" and owner.scorer != ffi.NULL else 0


def restore_image(stages: ProcessStages, stage: str, image: StageImage, page: Any, seat_pages: list[Any]) -> None:
    """Give a stage that was just built the state of an image. Raises RecoveryError when it is of another one."""
    targets, memories = _structures(stages, stage, page, seat_pages), _memories(stages, stage)
    sizes = {name: len(target) for name, target in {**targets, **memories}.items()}
    if sizes != {name: len(part) for name, part in image.parts.items()}:
        raise RecoveryError(f"{stage}: the snapshot of turn {image.turn} is of a stage with other parts")
    for name, target in targets.items():
        target[:] = image.parts[name]
    owner = getattr(stages, stage)
    restored = 1
    for name in memories:
        part = ffi.from_buffer(image.parts[name])
        if name == "book":
            restored = lib.rebuild_book(owner.book, part, len(part))
        else:
            restored = lib.rebuild_seats(owner.seats, part, len(part))
    if not restored:
        raise RecoveryError(f"{stage}: the snapshot of turn {image.turn} is of another configuration")
    owner.stage.turn, owner.stage.digest = image.turn, image.digest


# ---- files -------------------------------------------------------------------------------------------------


def write_image(journal: Path, image: StageImage) -> Path:
    """Write it, whole or not at all, and let go of older ones. Raises OSError."""
    folder = journal / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    packed = {name: zlib.compress(part, LEVEL) for name, part in image.parts.items()}
    head = msgspec.structs.replace(image, parts={}, sizes={name: len(part) for name, part in packed.items()})
    content = b"".join([msgspec.json.encode(head), b"\n", *packed.values()])
    path = folder / f"{image.stage}.{image.turn:015d}.snapshot"
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content)
        file.write(hashlib.sha256(content).digest())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    for old in sorted(folder.glob(f"{image.stage}.*.snapshot"))[:-KEPT]:
        old.unlink()
    return path


def read_image(path: Path) -> StageImage | None:
    """None when it is damaged, or was made by another build."""
    try:
        content = path.read_bytes()
        body, digest = content[:-HASH_BYTES], content[-HASH_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            return None
        head, _, rest = body.partition(b"\n")
        image = msgspec.json.decode(head, type=StageImage)
    except (OSError, msgspec.MsgspecError):
        return None
    if image.build != SOURCE_STAMP:
        return None
    begin = 0
    for name, size in image.sizes.items():
        image.parts[name] = zlib.decompress(rest[begin : begin + size])
        begin += size
    return image


def newest_image(journal: Path, stage: str, *, run_epoch: int, up_to: int) -> StageImage | None:
    """The latest good snapshot of a stage of this run that is not after turn `up_to`."""
    for path in sorted((journal / FOLDER).glob(f"{stage}.*.snapshot"), reverse=True):
        image = read_image(path)
        if image is not None and image.run_epoch == run_epoch and image.turn <= up_to:
            return image
    return None
