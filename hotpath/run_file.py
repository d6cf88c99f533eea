"""What a run's processes must agree on, handed from the supervisor to each of them in one file.

Each child reads the same bytes, so no two of them can differ in configuration, placement or trading day.
The file holds no secret: the configuration names where the venue's password is.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from ffi import lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath import segments
from hotpath.config import Config
from hotpath.engine import EngineSpec
from hotpath.errors import StageError
from hotpath.topology import Place, Placement


class RunFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One run, as its processes see it."""

    layout_hash: int
    run_epoch: int
    config: Config
    places: tuple[Place, ...]
    midnight_ns: int
    roll_times_ns: tuple[int, ...]
    lockstep: bool
    journal: bool
    trading_day: int
    order_id_base: int
    strategy_epoch: int
    messages_per_round: int = 0  # of a recorded feed in lockstep; 0: the default


def write_run_file(path: Path, spec: EngineSpec, *, run_epoch: int, messages_per_round: int = 0) -> None:
    """Write the run for the processes to read."""
    run = RunFile(
        layout_hash=layout_hash(),
        run_epoch=run_epoch,
        config=spec.config,
        places=spec.placement.places,
        midnight_ns=spec.midnight_ns,
        roll_times_ns=spec.roll_times_ns,
        lockstep=spec.lockstep,
        journal=spec.journal,
        trading_day=spec.trading_day,
        order_id_base=spec.order_id_base,
        strategy_epoch=spec.strategy_epoch,
        messages_per_round=messages_per_round,
    )
    path.write_bytes(msgspec.json.encode(run))


def read_run_file(path: Path) -> tuple[RunFile, EngineSpec]:
    """The run and its spec; the instruments come from the run's own segment."""
    try:
        run = msgspec.json.decode(path.read_bytes(), type=RunFile)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise StageError(f"{path}: no run can be read from it: {error}") from None
    table = segments.attach(run.config.engine.name, "instruments", lib.SEGMENT_INSTRUMENTS, run_epoch=run.run_epoch)
    instruments = table.view("instrument_entry", count=table.info.capacity).copy().astype(dtype_of("instrument_entry"))
    spec = EngineSpec(
        config=run.config,
        instruments=instruments,
        placement=Placement(run.places, ()),
        midnight_ns=run.midnight_ns,
        roll_times_ns=run.roll_times_ns,
        lockstep=run.lockstep,
        journal=run.journal,
        trading_day=run.trading_day,
        order_id_base=run.order_id_base,
        strategy_epoch=run.strategy_epoch,
    )
    return run, spec
