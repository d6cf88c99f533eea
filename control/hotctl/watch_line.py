"""One line for each look, for people: aligned, with its header again now and then; alerts as lines of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator

from hotpath.screen import History, format_money, format_ns, format_rate
from hotpath.stat import EngineStat

HEADER_EVERY = 20
COLUMNS = (
    ("time", 8), ("state", 11), ("messages/s", 10), ("orders/s", 8), ("fills/s", 7), ("open", 5),
    ("p50", 8), ("p99", 8), ("gross", 12), ("P&L", 12),
)  # fmt: skip
PATH = "order_path"


class WatchLines:
    """The lines of one watch."""

    def __init__(self) -> None:
        self._history = History(samples=2)
        self._count = 0
        self._told: set[tuple[str, str]] = set()

    def of(self, stat: EngineStat) -> Iterator[str]:
        """What to print of a look."""
        self._history.add(stat)
        if self._count % HEADER_EVERY == 0:
            yield "  ".join(
                name.ljust(width) if name in ("time", "state") else name.rjust(width) for name, width in COLUMNS
            )
        self._count += 1
        hop = stat.hops[PATH]
        cells = (
            time.strftime("%H:%M:%S", time.localtime(stat.time_ns / 1e9)),
            "killed"
            if stat.killed and stat.state == "running"
            else stat.mode
            if stat.state == "running"
            else stat.state,
            self._rate("feed", "messages"),
            self._rate("gateway", "new_orders"),
            self._rate("gateway", "fills"),
            f"{stat.counter('risk', 'open_orders'):,}",
            format_ns(hop.recent_p50_ns).strip() if hop.recent_count else "-",
            format_ns(hop.recent_p99_ns).strip() if hop.recent_count else "-",
            f"{stat.counter('risk', 'gross_value_micros') / 1e6:,.0f}",
            format_money(stat.counter("risk", "pnl_micros"), signed=True),
        )
        yield "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, (_, width)) in enumerate(zip(cells, COLUMNS, strict=True))
        )
        now = {(each.about, each.level): each.text for each in stat.alerts}
        for key, text in now.items():
            if key not in self._told:
                yield f"          {key[1]}: {key[0]}: {text}"
        for about, level in sorted(self._told - now.keys()):
            yield f"          over: {level} of {about}"
        self._told = set(now)

    def _rate(self, stage: str, counter: str) -> str:
        rates = self._history.rates(lambda each: each.counter(stage, counter))
        return format_rate(rates[-1]) if rates else "-"
