"""Which stages share a process, which ring joins which stages, and where each process runs.

    raw -> feed -> norm -> signal -> signal -> risk -> cmd -> gateway -> exec -> signal, risk

The table of rings and the table of topologies are written here and nowhere else. `place` fits the
configured topology to the processors of this machine and says in words whatever it had to change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hotpath.config import Config, EngineConfig, RingsConfig
from hotpath.errors import ConfigError

STAGES = ("feed", "signal", "risk", "gateway")
Wait = Literal["spin", "yield", "park"]

# Segments beside the rings, one of each for an engine; a stage has its page and its histograms.
CLOCK_SEGMENT = "clock"
CONTROL_SEGMENT = "control"
LIMITS_SEGMENT = "limits"
INSTRUMENTS_SEGMENT = "instruments"
LOCKSTEP_SEGMENT = "lockstep"
ENDPOINTS_SEGMENT = "endpoints"
MODELS_SEGMENT = "models.page"
MODELS_WATCH_SEGMENT = "models.watch"


def page_segment(stage: str) -> str:
    """Segment of a stage_page."""
    return f"stage.{stage}"


def hops_segment(stage: str) -> str:
    """Segment of the HOPS_MAX histograms that a stage writes."""
    return f"hops.{stage}"


def side_segment(name: str) -> str:
    """Segment of the stage_page of a process beside the path."""
    return f"side.{name}"


def answer_segment(strategy: str) -> str:
    """Segment of a Python strategy's histogram: from market event to request."""
    return f"{side_segment(strategy)}.answer"


def bell_segment(process: str) -> str:
    """Segment of the doorbell that a parking process sleeps behind."""
    return f"bell.{process}"


def seat_segment(seat: str) -> str:
    """Segment of a seat_page: the engine's word on a seat."""
    return f"seat.{seat}"


def seat_client_segment(seat: str) -> str:
    """Segment of a seat_client_page: the co-process's own word; whoever holds its lock has the seat."""
    return f"seat.{seat}.client"


def orders_ring(seat: str) -> str:
    """Ring of a seat's requests."""
    return f"seat.{seat}.orders"


def reports_ring(seat: str) -> str:
    """Ring of what became of them."""
    return f"seat.{seat}.reports"


UNREAD_CAPACITY = 64

# A process is named by its stages, in path order.
PROCESSES: dict[str, dict[str, tuple[str, ...]]] = {
    "split": {stage: (stage,) for stage in STAGES},
    "paired": {"feed-signal": ("feed", "signal"), "risk-gateway": ("risk", "gateway")},
    "fused": {"engine": STAGES},
}


@dataclass(frozen=True)
class Ring:
    """One ring: who writes it, whom the writer waits for, who only watches, what happens when it is full."""

    name: str
    writer: str
    gating: tuple[str, ...]
    observers: tuple[str, ...]
    when_full: str

    @property
    def capacity_key(self) -> str:
        """Key in [rings] of the configuration."""
        if self.name.startswith("seat."):
            return "seat_" + self.name.rpartition(".")[2]
        return "ctl" if self.name.endswith(".ctl") else self.name

    def capacity(self, rings: RingsConfig) -> int:
        """Slots. A ring that nobody reads keeps only what people may want to look at: a large one would go
        through the cache again and again, and push out what the path needs."""
        if not self.gating and not self.observers:
            return UNREAD_CAPACITY
        return int(getattr(rings, self.capacity_key))

    def cursor(self, reader: str) -> str:
        """Segment name of a reader's cursor."""
        return f"{self.name}.{reader}"


def ring_table(
    *,
    paper: bool,
    journal: bool = False,
    tap: bool = False,
    ingress: bool = False,
    models: bool = False,
    seats: Sequence[str] = (),
) -> tuple[Ring, ...]:
    """Every ring of an engine.

    `paper`: the gateway reads the market too; `journal`, `tap`, `ingress`: these run; `models`: some may be loaded;
    `seats`: names of the co-processes' places.
    """
    beside = ("journal",) if journal else ()
    look = ("tap",) if tap else ()
    market = ("signal", "risk", "gateway") if paper else ("signal", "risk")
    stops = "halt: what follows could not be replayed"
    return (
        Ring("raw", "feed", ("feed",), beside, "stop reading the socket; what the kernel then drops is a gap"),
        Ring("norm", "feed", market, (*beside, *look, *seats), "leave messages in raw until there is room"),
        Ring("signal", "signal", ("risk",), (*beside, *look), "drop the signal and count it"),
        Ring("cmd", "risk", ("gateway", *beside), look, "reject the order: ring_full"),
        Ring(
            "exec", "gateway", ("signal", "risk", *beside), look, "stop reading the venue's stream until there is room"
        ),
        Ring(
            "reject", "risk", ("signal", *beside), look, "count it; the strategy gives the order up by its time limit"
        ),
        Ring("adjust", "supervisor", ("gateway", *beside), (), "the rest waits in its file"),
        Ring("changes", "supervisor", beside, (), "the limits stay as they are until the journal has caught up"),
        *(Ring(f"{stage}.ctl", stage, beside, (), stops) for stage in STAGES),
        *(_ingress_ring() if ingress else ()),
        *(_model_rings(beside) if models else ()),
        *(_seat_rings(seats, beside, look) if seats else ()),
    )


def _model_rings(beside: tuple[str, ...]) -> Iterator[Ring]:
    """Every generation of the models before it comes into force, and what each model said."""
    yield Ring("models", "supervisor", beside, (), "the models stay as they are until the journal has caught up")
    yield Ring("decision", "signal", (), beside, "nobody holds it back; what the journal missed it tells")


def _ingress_ring() -> Iterator[Ring]:
    """What senders pushed, on its way to raw."""
    yield Ring("ingress", "ingress", ("feed",), (), "stop reading the senders' socket; their queues fill")


def _seat_rings(seats: Sequence[str], beside: tuple[str, ...], look: tuple[str, ...]) -> Iterator[Ring]:
    """What co-processes ask for, checked, in one ring; what they write, and what they are told, in one each."""
    yield Ring(
        "intake", "signal", ("signal", *beside), look, "leave requests in the seats' own rings until there is room"
    )
    for seat in seats:
        yield Ring(orders_ring(seat), seat, ("signal",), (), "the co-process is told that it must wait")
        yield Ring(reports_ring(seat), "signal", (seat,), (), "cut the seat: it does not read its reports")


@dataclass(frozen=True)
class Place:
    """One process: the stages it runs, in turn order, where, and how it waits. `cpu` None: anywhere."""

    process: str
    stages: tuple[str, ...]
    cpu: int | None
    wait: Wait


@dataclass(frozen=True)
class Placement:
    """All processes, and what the operator should know about how they were placed."""

    places: tuple[Place, ...]
    notes: tuple[str, ...]

    def place_of(self, process: str) -> Place:
        """The place of one process. Raises KeyError."""
        return next(place for place in self.places if place.process == process)


def place(config: Config, *, cpus: Sequence[int] | None = None) -> Placement:
    """Fit the processes to `cpus`, by default those that this process may use.

    Never more spinners than processors less one: with fewer, all processes share the last processor and
    yield it to each other, which costs microseconds where spinning against each other costs milliseconds.
    """
    engine = config.engine
    allowed = sorted(os.sched_getaffinity(0)) if cpus is None else sorted(cpus)
    processes = PROCESSES[engine.topology]
    if isinstance(engine.cpus, list):
        return _place_as_told(engine, processes, allowed)
    count, offered = len(processes), len(allowed)
    best = preferred_cpus(allowed)
    if count < offered:
        chosen = sorted(best[:count])
        places = [Place(*process, cpu, engine.wait) for process, cpu in zip(processes.items(), chosen, strict=True)]
        return Placement(tuple(places), ())
    wait: Wait = "yield" if engine.wait == "spin" else engine.wait
    places = [Place(*process, best[0], wait) for process in processes.items()]
    if count == 1:
        note = (
            f"this machine offers one processor: the engine gives it up between turns instead of spinning on {best[0]}"
        )
    else:
        note = (
            f'topology "{engine.topology}" has {count} processes and this machine offers {offered} '
            f"processor{'s' if offered > 1 else ''}: all share processor {best[0]}"
        )
        if engine.wait == "spin":
            note += " and yield to each other; spinning would need one processor more than there are processes"
    return Placement(tuple(places), (note,))


def _place_as_told(engine: EngineConfig, processes: dict[str, tuple[str, ...]], allowed: list[int]) -> Placement:
    """engine.cpus names the processors: one for each process in path order, or one for all."""
    assert isinstance(engine.cpus, list), "the caller looked"
    told = list(engine.cpus)
    for cpu in told:
        if cpu not in allowed:
            raise ConfigError(
                f"engine.cpus: processor {cpu} is not one this process may use ({cpu_ranges(allowed)})",
                next_step="name others, or widen the affinity (taskset, AllowedCPUs=, the container's cpuset)",
            )
    if len(told) == 1:
        told *= len(processes)
    if len(told) != len(processes):
        raise ConfigError(
            f'engine.cpus: {len(told)} processors for the {len(processes)} processes of topology "{engine.topology}": '
            f"name one for all, or one each for {', '.join(processes)}"
        )
    places, notes = [], []
    for (name, stages), cpu in zip(processes.items(), told, strict=True):
        wait = engine.wait
        if wait == "spin" and told.count(cpu) > 1:
            wait = "yield"
        places.append(Place(name, stages, cpu, wait))
    if any(each.wait != engine.wait for each in places):
        notes.append("processes that share a processor yield to each other instead of spinning")
    if engine.wait == "spin" and len(set(told)) >= len(allowed) > 1:
        notes.append(
            f"every processor this engine may use ({cpu_ranges(allowed)}) has a spinning process: the rest of the "
            "machine will stall it for milliseconds at a time; leave one free"
        )
    return Placement(tuple(places), tuple(notes))


def preferred_cpus(allowed: Sequence[int]) -> list[int]:
    """Processors best first: isolated ones, then one of each core, the first processor of all last.

    Interrupts and housekeeping gather on the lowest processor; the sibling of a spinning thread halves it.
    """
    isolated = parse_cpu_list(_read("/sys/devices/system/cpu/isolated"))
    seen_cores: set[str] = set()
    second_threads = set()
    for cpu in sorted(allowed, reverse=True):
        core = _read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        if core in seen_cores:
            second_threads.add(cpu)
        seen_cores.add(core)
    first = min(allowed)
    return sorted(allowed, key=lambda cpu: (cpu not in isolated, cpu == first, cpu in second_threads, -cpu))


def parse_cpu_list(text: str) -> set[int]:
    """The kernel's list format: "0-3,8" is 0 1 2 3 8."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def cpu_ranges(cpus: Sequence[int]) -> str:
    """0 1 2 3 8 is "0-3,8"."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _read(path: str) -> str:
    """A small file of the kernel's; empty where this kernel has none."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
