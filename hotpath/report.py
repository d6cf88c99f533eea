"""What a run did, as one structure: for the report at its end, for `--json`, and for tests.

The counters and percentiles are those of `hotpath stat`, read just before the engine's memory is removed.
"""

from __future__ import annotations

from msgspec import Struct, field

from hotpath import host
from hotpath.engine import EngineMemory
from hotpath.stat import EngineStat, EngineView

MICROS = 1_000_000


class SpinReport(Struct, frozen=True):
    """What an empty loop on a processor of the path saw, close to the run."""

    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    verdict: str


def measure_spin(*, cpu: int | None, seconds: float) -> SpinReport:
    """Spin on a processor of the path for a while, once the run no longer does."""
    spin = host.spin_control(duration_ns=round(seconds * 1e9), cpu=cpu)
    return SpinReport(spin.p50_ns, spin.p99_ns, spin.p999_ns, spin.max_ns, spin.verdict)


class RunReport(Struct):
    """One run."""

    stat: EngineStat
    seconds: float = 0.0
    messages_per_second: float = 0.0  # decoded, over the whole run
    order_log_sha256: str = ""  # over the frames of the intent file, in order
    outcome: str = ""
    spin: SpinReport | None = None
    notices: list[str] = field(default_factory=list)

    def count(self, stage: str, name: str) -> int:
        """A counter by its name."""
        return self.stat.counter(stage, name)

    @property
    def pnl_currency(self) -> float:
        """Cash plus positions at the last reference prices."""
        return self.count("risk", "pnl_micros") / MICROS


def collect_report(memory: EngineMemory, *, seconds: float) -> RunReport:
    """The whole run, from its memory. `seconds` is how long it took."""
    view = EngineView(memory.spec.name)
    try:
        report = RunReport(stat=view.snapshot(), seconds=seconds)
    finally:
        view.close()
    report.messages_per_second = report.count("feed", "messages") / seconds if seconds else 0.0
    return report
