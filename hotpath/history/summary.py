"""The figures of a run: the same for the page, the table and the JSON."""

from __future__ import annotations

import time

import numpy as np
from msgspec import Struct

from hotpath import histograms
from hotpath.history.reader import Numbers, RunHistory
from hotpath.report import MICROS, SpinReport
from hotpath.stat import HOP_BUDGET_NS, PATH_BUDGET_NS, hop_names

PROCESSES = {"fused": 1, "paired": 2, "split": 4}


class HopSummary(Struct, frozen=True):
    """One hop over the whole run; spans in ns, each the highest of its bucket, within 0.1 %."""

    count: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    p9999_ns: int
    max_ns: int
    budget_ns: int | None = None  # of the p99

    @property
    def within_budget(self) -> bool | None:
        """None where there is no budget."""
        return None if self.budget_ns is None else self.p99_ns <= self.budget_ns


class Rate(Struct, frozen=True):
    """How often a second: over the run, and in its busiest interval."""

    mean: float
    peak: float


class Money(Struct, frozen=True):
    """Profit and loss in the account's currency, at the last reference prices of each sample."""

    last: float
    best: float
    worst: float
    drawdown_max: float  # from a high to a later low
    gross_value: float
    position_lots: int


class Queue(Struct, frozen=True):
    """How far one reader of a ring was behind at the worst of the samples."""

    lag_max: int
    capacity: int
    lost: int


class RunSummary(Struct, frozen=True):
    """One run in figures."""

    engine: str
    topology: str
    started: str  # UTC
    seconds: float
    samples: int
    outcome: str  # empty: it has left no report
    hops: dict[str, HopSummary]
    spin: SpinReport | None
    rates: dict[str, Rate]
    totals: dict[str, int]
    rejects: dict[str, int]
    money: Money
    queues: dict[str, Queue]  # by "ring: reader", those ever behind
    host: dict[str, str]
    notices: list[str]
    remarks: list[str]


RATES = {
    "messages": "feed.messages",
    "signals": "signal.signals",
    "orders": "gateway.new_orders",
    "replaces": "gateway.replaces",
    "cancels": "gateway.cancels",
    "fills": "gateway.fills",
    "rejected": "risk.rejected",
}
TOTALS = {
    **RATES,
    "evaluations": "signal.evaluations",
    "approved": "risk.approved",
    "accepted": "gateway.accepted",
    "refused by the venue": "gateway.rejected",
    "filled lots": "gateway.filled_lots",
    "gaps": "feed.gaps",
    "gaps lost": "feed.gaps_lost",
}


def summarise(history: RunHistory) -> RunSummary:
    """The figures of one run."""
    report = history.report
    seconds = float(history.seconds[-1]) if len(history.seconds) else 0.0
    return RunSummary(
        engine=history.head.engine,
        topology=history.head.topology,
        started=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(history.head.run_epoch / 1e9)),
        seconds=seconds,
        samples=len(history.seconds),
        outcome=report.outcome if report else "",
        hops=_hops(history),
        spin=report.spin if report else None,
        rates={name: _rate(history, series, seconds) for name, series in RATES.items()},
        totals={name: int(history.last(series)) for name, series in TOTALS.items()},
        rejects=_rejects(history),
        money=_money(history),
        queues=_queues(history),
        host=history.head.host,
        notices=report.notices if report else [],
        remarks=history.remarks,
    )


def _hops(history: RunHistory) -> dict[str, HopSummary]:
    found = {}
    path_budget = PATH_BUDGET_NS.get(PROCESSES.get(history.head.topology, 0))
    for name in hop_names().values():
        histogram = history.histograms.get(name)
        if histogram is None or not histogram["total_count"][0]:
            continue
        p50, p90, p99, p999, p9999 = (histograms.value_at(histogram, at) for at in (50.0, 90.0, 99.0, 99.9, 99.99))
        found[name] = HopSummary(
            count=int(histogram["total_count"][0]),
            p50_ns=p50,
            p90_ns=p90,
            p99_ns=p99,
            p999_ns=p999,
            p9999_ns=p9999,
            max_ns=int(histogram["value_max"][0]),
            budget_ns=path_budget if name == "order_path" else HOP_BUDGET_NS.get(name),
        )
    return found


def _rate(history: RunHistory, series: str, seconds: float) -> Rate:
    rates = history.rate(series)
    return Rate(mean=history.last(series) / seconds if seconds else 0.0, peak=float(rates.max()) if len(rates) else 0.0)


def _rejects(history: RunHistory) -> dict[str, int]:
    """By reason, most frequent first."""
    counts = {name: int(values[-1]) for name, values in history.named("risk.reject_").items() if len(values)}
    return dict(sorted(((name, count) for name, count in counts.items() if count), key=lambda item: -item[1]))


def _money(history: RunHistory) -> Money:
    pnl = history.values("risk.pnl_micros") / MICROS
    return Money(
        last=float(pnl[-1]) if len(pnl) else 0.0,
        best=float(pnl.max(initial=0.0)),
        worst=float(pnl.min(initial=0.0)),
        drawdown_max=drawdown(pnl),
        gross_value=history.last("risk.gross_value_micros") / MICROS,
        position_lots=int(history.last("risk.position_lots")),
    )


def drawdown(values: Numbers) -> float:
    """The largest fall from a high, 0 at the start included, to a later low."""
    if not len(values):
        return 0.0
    return float((np.maximum.accumulate(np.maximum(values, 0.0)) - values).max(initial=0.0))


def _queues(history: RunHistory) -> dict[str, Queue]:
    found = {}
    for name, values in history.named("ring.").items():
        ring, kind, reader = [*name.rsplit(".", 2), "", ""][:3]
        if kind != "lag" or not values.max(initial=0.0):
            continue
        lost = int(history.last(f"ring.{ring}.lost.{reader}"))
        found[f"{ring}: {reader}"] = Queue(int(values.max()), history.head.rings.get(ring, 0), lost)
    return dict(sorted(found.items(), key=lambda item: -item[1].lag_max / max(item[1].capacity, 1)))
