"""What an engine asks of the machine, from its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hotpath.config import Config
from hotpath.engine import shared_bytes
from hotpath.errors import ConfigError, RefdataError
from hotpath.sockets import RECEIVE_BUFFER_BYTES
from hotpath.stages import intents_path
from hotpath.topology import PROCESSES, place

DESCRIPTORS = 256  # of one process: a few sockets, a mapping's worth of segments while they are attached
INSTRUMENTS = 10_000  # where there is no reference data to count: a whole exchange
BOOK_BYTES = 1 << 27  # of private memory, with the default number of orders and levels


@dataclass(frozen=True)
class Needs:
    """What one engine asks; without a configuration, what the default one would."""

    configured: bool = False
    processes: int = 2
    topology: str = "paired"
    wait: str = "spin"
    cpus: tuple[int, ...] = ()  # that the engine's processes would be placed on
    shm_bytes: int = 0
    locked_bytes: int = 0  # of one process; 0: memory is not locked
    priority: int = 0  # of SCHED_FIFO; 0: the ordinary scheduler
    receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES  # 0: no datagrams are received
    over_network: bool = False  # a feed that comes from another machine
    descriptors: int = DESCRIPTORS
    notes: tuple[str, ...] = field(default=())


def needs_of(config: Config | None, *, cpus: Sequence[int]) -> Needs:
    """What an engine of this configuration asks on a machine that offers it `cpus`."""
    asked = config or Config()
    notes: list[str] = []
    try:
        placement = place(asked, cpus=cpus)
        places: tuple[int, ...] = tuple(sorted({each.cpu for each in placement.places if each.cpu is not None}))
        notes += placement.notes
    except ConfigError as error:
        places = ()
        notes.append(str(error))
    instruments = INSTRUMENTS
    if asked.refdata.path:
        try:
            instruments = _instruments(asked.refdata.path)
        except RefdataError as error:
            notes.append(str(error))
    shm = shared_bytes(asked, instruments=instruments)
    if config is not None and str(intents_path(config)).startswith("/dev/shm/"):
        shm += config.gateway.intents_max * 256
    mold = config is None or asked.feed.kind == "mold"
    return Needs(
        configured=config is not None,
        processes=len(PROCESSES[asked.engine.topology]),
        topology=asked.engine.topology,
        wait=asked.engine.wait,
        cpus=places,
        shm_bytes=shm,
        locked_bytes=shm + BOOK_BYTES if asked.engine.lock_memory else 0,
        priority=asked.engine.priority if asked.engine.scheduler == "fifo" else 0,
        receive_buffer_bytes=RECEIVE_BUFFER_BYTES if mold else 0,
        over_network=asked.feed.kind == "mold" and not asked.feed.address.startswith("127."),
        notes=tuple(notes),
    )


def _instruments(path: str) -> int:
    """How many the reference data holds."""
    from hotpath.refdata import load_refdata

    return len(load_refdata(Path(path)).instruments)
