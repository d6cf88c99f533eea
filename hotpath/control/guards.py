"""What the supervisor measures of the engine itself, and the causes that it moves by it.

    clock      engine clock against the system's, and what the kernel has yet to correct      leases.clock_skew_ns_max
    latency    p99 of the path's own histogram over the last window                           leases.path_p99_ns_max
    loss       the gate says that the firm's day is lost; a file keeps it over restarts       loss.py
    model      the champion failed, and no fallback stands in its place                       docs/models.md

The first two clear themselves after leases.guard_hold_ms; a window of few orders tells nothing, so a path that orders
no more is tried again after its hold. In virtual time nothing is measured, and nothing here may be decided by.
"""

from __future__ import annotations

import time
from typing import Any

from ffi import ffi, lib
from hotpath import histograms
from hotpath.control.loss import UNKNOWN_EPOCH, loss_path, read_loss, set_loss
from hotpath.doctor.machine import clock_status
from hotpath.engine import EngineMemory
from hotpath.histograms import Histogram
from hotpath.latch import put_aside
from hotpath.limits.page import copy_in_force
from hotpath.models.page import read_generation
from hotpath.topology import MODELS_SEGMENT, MODELS_WATCH_SEGMENT, hops_segment

MILLISECOND_NS = 1_000_000
CLOCK_LOOK_NS = 200 * MILLISECOND_NS
CLOCK_READINGS = 8  # of which the tightest counts: whoever is put to sleep between two clocks measures the sleep


def clock_skew_ns(clock: Any) -> int:
    """The system's clock less the engine's. `clock`: ``clock_page *``."""
    best, skew = 1 << 62, 0
    for _ in range(CLOCK_READINGS):
        before = int(lib.clock_now(clock))
        system = time.time_ns()
        after = int(lib.clock_now(clock))
        if after - before < best:
            best, skew = after - before, system - (before + after) // 2
    return skew


class Condition:
    """A cause that clears itself once it was not true for its hold."""

    def __init__(self, control: Any, cause: int, mode: int, *, hold_ns: int) -> None:
        self._control, self._cause, self._mode, self._hold_ns = control, cause, mode, hold_ns
        self._lax_since_ns = ffi.new("uint64_t *")

    @property
    def stands(self) -> bool:
        """Whether it tightens the engine."""
        return bool(self._control.cause[self._cause])

    def demand(self, true: bool, *, now_ns: int) -> int:
        """Look again. Returns 1 when it tightened by this, -1 when it cleared, else 0. `now_ns`: monotonic."""
        before = self.stands
        mode = self._mode if true else lib.MODE_NORMAL
        lib.control_condition(self._control, self._cause, mode, now_ns, self._hold_ns, self._lax_since_ns)
        return int(self.stands) - int(before)


class Guards:
    """One run's. `check` returns what people should know."""

    def __init__(self, memory: EngineMemory) -> None:
        self._memory = memory
        leases = memory.spec.config.leases
        hold_ns = leases.guard_hold_ms * MILLISECOND_NS
        self._virtual = memory.spec.lockstep
        self._skew_ns_max = leases.clock_skew_ns_max
        self._clock = Condition(memory.control, lib.CAUSE_CLOCK, lib.MODE_CANCEL_ONLY, hold_ns=hold_ns)
        self._clock_at_ns = 0
        self._clock_wrong = False
        self._p99_ns_max, self._orders_min = leases.path_p99_ns_max, leases.path_orders_min
        self._window_ns = leases.path_window_ms * MILLISECOND_NS
        self._latency = Condition(memory.control, lib.CAUSE_LATENCY, lib.MODE_REDUCE_ONLY, hold_ns=hold_ns)
        self._hops = memory.segments[hops_segment("gateway")].view("histogram", count=lib.HOPS_MAX)
        self._window_at_ns = 0
        self._before: Histogram | None = None
        self._slow = False
        self._loss_path = loss_path(memory.spec.config)
        self._loss: dict[str, Any] | None = None
        self._limits_generation = -1
        self._rearm_epoch = 0
        self._models_seen = -1
        self._first: list[str] = []
        if not self._virtual:
            self._take_up_loss()

    def check(self) -> list[str]:
        """One round."""
        if self._virtual:
            return []
        told, self._first = self._first, []
        now_ns = time.monotonic_ns()
        told += self._look_at_loss()
        if self._skew_ns_max:
            told += self._look_at_clock(now_ns)
        if self._p99_ns_max:
            told += self._look_at_latency(now_ns)
        if MODELS_WATCH_SEGMENT in self._memory.segments:
            told += self._look_at_model()
        return told

    # ---- clock -------------------------------------------------------------------------------------

    def _look_at_clock(self, now_ns: int) -> list[str]:
        what = ""
        if now_ns - self._clock_at_ns >= CLOCK_LOOK_NS:
            self._clock_at_ns = now_ns
            skew_ns = clock_skew_ns(self._memory.segments["clock"].cast("clock_page *"))
            status = clock_status()
            left_ns = status.offset_ns if status is not None and status.synchronised else 0
            self._clock_wrong = abs(skew_ns) + abs(left_ns) > self._skew_ns_max
            what = f"{skew_ns:+,} ns to the system's" + (f", of which the kernel corrects {left_ns:+,}" * bool(left_ns))
        moved = self._clock.demand(self._clock_wrong, now_ns=now_ns)
        if moved > 0:
            return [f"the engine's clock is out of bound ({what}): cancels only; a new run sets it anew"]
        return ["the engine's clock is within its bound again"] if moved < 0 else []

    # ---- latency -----------------------------------------------------------------------------------

    def _look_at_latency(self, now_ns: int) -> list[str]:
        what = ""
        if now_ns - self._window_at_ns >= self._window_ns:
            self._window_at_ns = now_ns
            orders, p99_ns = self._window()
            self._slow = orders >= self._orders_min and p99_ns > self._p99_ns_max
            what = f"p99 of {orders:,} orders {p99_ns:,} ns"
        moved = self._latency.demand(self._slow, now_ns=now_ns)
        if moved > 0:
            return [f"the path is slower than leases.path_p99_ns_max ({what}): reduce only"]
        return ["the path's tail is not over its bound any more"] if moved < 0 else []

    def _window(self) -> tuple[int, int]:
        """Orders since the look before, and their p99; none where there is nothing to compare with."""
        now = histograms.snapshot(self._hops[lib.HOP_ORDER_PATH : lib.HOP_ORDER_PATH + 1])
        before, self._before = self._before, now
        if before is None:
            return 0, 0
        try:
            between = histograms.difference(now, before)
        except ValueError:  # a gateway that was started again began anew
            return 0, 0
        return int(between["total_count"][0]), histograms.value_at(between, 99.0)

    # ---- loss --------------------------------------------------------------------------------------

    def _take_up_loss(self) -> None:
        """One of a run before stands from the first instant on, before anything can be armed."""
        self._look_at_limits()
        self._loss = read_loss(self._loss_path)
        if self._loss is None:
            return
        lib.control_cause(self._memory.control, lib.CAUSE_LOSS, lib.MODE_REDUCE_ONLY)
        self._first += [f"reduce only, latched since {self._loss['at']}: {self._loss['reason']}; {self._way_out()}"]

    def _way_out(self) -> str:
        return (
            f"people clear it: hotctl limits set firm.rearm_epoch={self._rearm_epoch + 1}, "
            'or hotpath run CONFIG --arm --clear-loss "reason"'
        )

    def _look_at_limits(self) -> None:
        generation = int(self._memory.segments["limits"].cast("limits_page *").generation)
        if generation == self._limits_generation:
            return
        copy = copy_in_force(self._memory.segments["limits"], self._memory.spec.symbols)
        if copy.is_whole:
            self._limits_generation, self._rearm_epoch = generation, int(copy.get("firm.rearm_epoch") or 0)

    def _look_at_loss(self) -> list[str]:
        self._look_at_limits()
        if self._loss is not None:
            return self._look_at_rearm(self._loss)
        if int(self._memory.stage_page("risk").counter[lib.RISK_LOSS_LATCHED]) != self._rearm_epoch + 1:
            return []
        lib.control_cause(self._memory.control, lib.CAUSE_LOSS, lib.MODE_REDUCE_ONLY)
        reason = "the firm's daily loss or drawdown went over its limit"
        self._loss = {"rearm_epoch": self._rearm_epoch, "reason": reason}
        notices = [f"{reason}: reduce only, over restarts too; {self._way_out()}"]
        try:
            set_loss(self._loss_path, reason=reason, rearm_epoch=self._rearm_epoch)
        except OSError as error:
            notices.append(f"not kept over restarts, {self._loss_path} cannot be written: {error.strerror}")
        return notices

    def _look_at_rearm(self, loss: dict[str, Any]) -> list[str]:
        if loss["rearm_epoch"] in (self._rearm_epoch, UNKNOWN_EPOCH):
            return []
        try:
            put_aside(self._loss_path, loss, reason=f"firm.rearm_epoch was moved to {self._rearm_epoch}")
        except OSError as error:
            self._loss = {**loss, "rearm_epoch": self._rearm_epoch}  # told once; people move it again
            return [f"{self._loss_path}: the loss latch cannot be put aside ({error.strerror}): it stands"]
        self._loss = None
        lib.control_cause(self._memory.control, lib.CAUSE_LOSS, lib.MODE_NORMAL)
        return [f"the loss is cleared: firm.rearm_epoch was moved to {self._rearm_epoch}"]

    # ---- models ------------------------------------------------------------------------------------

    def _look_at_model(self) -> list[str]:
        """A role that failed stays so within its generation: whoever publishes the next one has looked at it."""
        seen = int(self._memory.segments[MODELS_WATCH_SEGMENT].cast("models_watch *").generation)
        if seen == self._models_seen:
            return []
        self._models_seen = seen
        failed = seen >> lib.MODEL_TRIP_SHIFT
        gone = bool(failed >> lib.MODEL_CHAMPION & 1)
        if gone and not failed >> lib.MODEL_FALLBACK & 1:
            deck = read_generation(self._memory.segments[MODELS_SEGMENT]).deck
            gone = not deck.digests[lib.MODEL_FALLBACK]
        before = bool(self._memory.control.cause[lib.CAUSE_MODEL])
        lib.control_cause(self._memory.control, lib.CAUSE_MODEL, lib.MODE_REDUCE_ONLY if gone else lib.MODE_NORMAL)
        if gone and not before:
            return ["the champion failed and no fallback stands in its place: reduce only, until people load a model"]
        return ["a new generation of models is in force: trading goes on"] if before and not gone else []
