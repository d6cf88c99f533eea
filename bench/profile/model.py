"""What a count costs: a simple model, whose prices are measured on this machine and printed.

    ns = instructions / IPC * cycle                 did the processor have enough to do at once?
       + mispredicted branches * branch             it began in the wrong place
       + lines read, not in the first level * l2    instructions and data; what is beyond costs `beyond` instead
       + lines read, not in the second * beyond

Stores wait in their buffer, beside the rest: counted, not priced. Nothing overlaps in the model and much does in the
processor, so that the sum is an upper bound; what bounds a kernel is its largest term.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.harness import BenchError, compile_program, run_program
from bench.profile.reading import EVENTS, Costs

INDEX = {name: index for index, name in enumerate(EVENTS)}
IPC = 4.0  # assumed where nothing is waited for: issue of six a cycle, code with dependencies
SYSFS_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
LINE_BYTES = 64
# As first-level sizes and ways where sysfs tells nothing (some virtual machines).
USUAL = {"I1": (32768, 8), "D1": (32768, 8), "LL": (1 << 20, 8)}
KINDS = {(1, "Instruction"): "I1", (1, "Data"): "D1", (2, "Unified"): "LL"}
TERMS = {
    "instructions": "instructions",
    "branches": "branch misses",
    "code_l2": "code from L2",
    "data_l2": "data from L2",
    "beyond": "data beyond L2",
}


@dataclass(frozen=True)
class Cache:
    """One modelled cache."""

    name: str  # as callgrind's option: I1, D1, LL
    size_bytes: int
    ways: int
    line_bytes: int = LINE_BYTES
    assumed: bool = False

    @property
    def option(self) -> str:
        """For callgrind."""
        return f"--{self.name}={self.size_bytes},{self.ways},{self.line_bytes}"

    @property
    def said(self) -> str:
        """For people: LL stands for the second level here."""
        name = {"I1": "L1 code", "D1": "L1 data", "LL": "L2"}[self.name]
        return f"{name} {self.size_bytes >> 10} KiB, {self.ways} ways{' (assumed)' if self.assumed else ''}"


def processor_caches(folder: Path = SYSFS_CACHES) -> list[Cache]:
    """First level and second, as sysfs has them; the usual ones, marked, where it has none that callgrind can model."""
    found = {name: Cache(name, size, ways, assumed=True) for name, (size, ways) in USUAL.items()}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size, ways, line = (
                (index / name).read_text().strip()
                for name in ("level", "type", "size", "ways_of_associativity", "coherency_line_size")
            )
        except OSError:
            continue
        name = KINDS.get((int(level), kind), "")
        cache = Cache(name, size_bytes(size), int(ways), int(line))
        sets = cache.size_bytes // max(1, cache.ways * cache.line_bytes)
        if name and sets and sets & (sets - 1) == 0:
            found[name] = cache
    return list(found.values())


def size_bytes(text: str) -> int:
    """ "32K" as 32768."""
    units = {"K": 10, "M": 20, "G": 30}
    return int(text[:-1]) << units[text[-1]] if text[-1:] in units else int(text)


class Prices(msgspec.Struct, frozen=True):
    """What this processor charges, ns each."""

    cycle_ns: float
    l2_ns: float
    beyond_ns: float
    branch_ns: float
    ipc: float = IPC

    @property
    def instruction_ns(self) -> float:
        """At the assumed instructions a cycle."""
        return self.cycle_ns / self.ipc

    @property
    def said(self) -> str:
        """For the foot of a table."""
        return (
            f"an instruction {self.instruction_ns:.3f} ns ({self.ipc:g} a cycle, assumed, of {self.cycle_ns:.3f} ns, "
            f"measured); measured: a mispredicted branch {self.branch_ns:.1f} ns, a line from L2 {self.l2_ns:.1f} ns, "
            f"from beyond it {self.beyond_ns:.1f} ns"
        )


def measured_prices(caches: list[Cache], *, cpu: int | None = None, ipc: float = IPC) -> Prices:
    """Measure, for half a second. Raises BenchError."""
    l2 = next(cache for cache in caches if cache.name == "LL").size_bytes
    program = compile_program("programs/machine_costs.c")
    found = msgspec.json.decode(run_program(program, l2 // 4, l2 * 8, cpu=cpu))
    if not all(value > 0 for value in found.values()):
        raise BenchError(f"this machine's costs cannot be measured: {found}")
    return msgspec.convert({**found, "ipc": ipc}, Prices)


def terms_ns(costs: Costs, prices: Prices) -> dict[str, float]:
    """The model's terms, ns."""
    of: dict[str, Any] = {name: float(costs[index]) for name, index in INDEX.items()}
    far = of["ILmr"] + of["DLmr"]
    return {
        "instructions": of["Ir"] * prices.instruction_ns,
        "branches": (of["Bcm"] + of["Bim"]) * prices.branch_ns,
        "code_l2": (of["I1mr"] - of["ILmr"]) * prices.l2_ns,
        "data_l2": (of["D1mr"] - of["DLmr"]) * prices.l2_ns,
        "beyond": far * prices.beyond_ns,
    }


def bound_by(costs: Costs, prices: Prices) -> str:
    """The largest term, in words."""
    terms = terms_ns(costs, prices)
    return TERMS[max(terms, key=lambda name: terms[name])]


def bound_text(costs: Costs, prices: Prices) -> str:
    """The largest term and how much of the whole it is: at 40% no one thing bounds it."""
    largest = max(terms_ns(costs, prices).values())
    return f"{bound_by(costs, prices)} {largest / max(total_ns(costs, prices), 1e-12):.0%}"


def total_ns(costs: Costs, prices: Prices) -> float:
    """All terms, one after the other."""
    return float(np.sum(list(terms_ns(costs, prices).values())))
