"""One order stream, however often and in however many processes: ``hotpath replay --topology all --times 10``.

a recorded run   turn by turn, and every digest, order byte and state at the end as recorded
a feed's file    in virtual time: the same order log each time
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hotpath.recordings import replay_recording
from hotpath.replay import ReplayOptions, replay_file
from hotpath.topology import PROCESSES


class Repetition(Struct):
    """One replay of several."""

    topology: str
    orders: int
    order_log_sha256: str
    same: bool  # as the recorded run or, of a feed, as the first replay
    seconds: float
    difference: str = ""  # the first one, in words


class Repeated(Struct):
    """All of them."""

    source: str
    repetitions: list[Repetition]

    @property
    def same(self) -> bool:
        """Whether every one made the same order stream."""
        logs = {each.order_log_sha256 for each in self.repetitions}
        return len(logs) == 1 and all(each.same for each in self.repetitions)


def replay_repeatedly(
    path: Path,
    options: ReplayOptions,
    *,
    topology: str,
    times: int,
    each: Callable[[Repetition], None] = lambda _: None,
) -> Repeated:
    """Replay so many times in each topology (`all`: every one there is), and compare."""
    topologies = list(PROCESSES) if topology == "all" else [topology]
    found: list[Repetition] = []
    for repetition in _repetitions(path, options, topologies * times):
        if not path.is_dir() and found:
            repetition.same = repetition.order_log_sha256 == found[0].order_log_sha256
            repetition.difference = "" if repetition.same else f"the first in {found[0].topology} made other orders"
        found.append(repetition)
        each(repetition)
    return Repeated(str(path), found)


def _repetitions(path: Path, options: ReplayOptions, topologies: list[str]) -> Iterator[Repetition]:
    for topology in topologies:
        began = time.perf_counter()
        if path.is_dir():
            again = replay_recording(path, trust_code=options.trust_code, topology=topology)
            orders, log, same = again.orders_replayed, again.order_log_sha256, again.same
            difference = "" if same else "the orders, or what a stage remembers at its end"
            if again.mismatches:
                first = again.mismatches[0]
                difference = f"{first.stage}, turn {first.turn:,}: {first.recorded} recorded, {first.replayed} replayed"
        else:
            report = replay_file(path, dataclasses.replace(options, topology=topology))
            orders, log, same, difference = (
                report.stat.counter("gateway", "new_orders"),
                report.order_log_sha256,
                True,
                "",
            )
        yield Repetition(topology, orders, log, same, time.perf_counter() - began, difference)


def print_repeated(repeated: Repeated, *, json: bool) -> None:
    """To standard output."""
    if json:
        print(msgspec.json.encode({**msgspec.to_builtins(repeated), "same": repeated.same}).decode())
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    for name in dict.fromkeys(each.topology for each in repeated.repetitions):
        chosen = [each for each in repeated.repetitions if each.topology == name]
        equal = sum(each.same for each in chosen)
        seconds = sum(each.seconds for each in chosen) / len(chosen)
        verdict = Text(f"{equal} of {len(chosen)} the same", style="green" if equal == len(chosen) else "bold red")
        table.add_row(f" {name}", verdict, f"{chosen[0].orders:,} orders", f"{seconds:.1f} s each")
    console = Console()
    console.print(table)
    for each in repeated.repetitions:
        if each.difference:
            console.print(f" {each.topology}: {each.difference}", style="red")
    logs = sorted({each.order_log_sha256 for each in repeated.repetitions})
    console.print(Text(f" order log {', '.join(logs)}", style="dim"))
