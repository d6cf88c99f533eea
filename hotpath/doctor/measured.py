"""Findings about what was measured: the clock's scale, gaps, pairs, waking, entering the kernel."""

from __future__ import annotations

from ffi import lib
from hotpath.doctor.findings import Finding
from hotpath.doctor.measure import Gaps, Measured
from hotpath.doctor.needs import Needs
from hotpath.topology import cpu_ranges

AREA = "measured"
CALIBRATION_PPB_MAX = 1000  # a microsecond a second, until the next anchor
LONG_GAP_NS = 1_000_000
FAR_PAIR = 1.5  # times the nearest
SYSTEM_CALL_NS_MAX = 500
WAKE_NS_MAX = 20_000


def measured_findings(measured: Measured, needs: Needs) -> list[Finding]:
    """What the measurements say of this machine."""
    return [
        _calibration(measured),
        *(_gaps(gaps, needs) for gaps in measured.gaps),
        *_pairs(measured, needs),
        _wake(measured, needs),
        _system_call(measured),
    ]


def _calibration(measured: Measured) -> Finding:
    error = abs(measured.calibration_error_ppb)
    if not measured.tsc:
        return Finding(AREA, "clock", "warn", "the kernel's clock is read: the counter cannot be used",
                       effect="several times the cost of each reading")  # fmt: skip
    found = (
        f"{measured.frequency_hz / 1e9:.3f} GHz, {error / 1000:.2f} ppm from the kernel's clock over a shorter window"
    )
    if error <= CALIBRATION_PPB_MAX:
        return Finding(AREA, "clock", "ok", found)
    return Finding(
        AREA,
        "clock",
        "warn",
        found,
        cause="the machine was interrupted while it calibrated, or the counter is unsteady",
        effect="spans are wrong by this part of themselves",
        effect_ns=error,
        advice="run it again on a quiet machine; the effect is what a span of one second is wrong by",
    )


def _gaps(gaps: Gaps, needs: Needs) -> Finding:
    name = f"processor {gaps.cpu}"
    rate = {label: count / gaps.seconds for label, count in gaps.over.items()}
    told = ", ".join(f"{_rate(per_second)} over {label}" for label, per_second in rate.items() if per_second)
    found = f"longest gap {format_span(gaps.max_ns)}; a second has {told or 'no gap'}"
    limit = int(lib.SPIN_DELAY_NS_MAX)
    if gaps.delay_p99_ns <= limit and gaps.max_ns < LONG_GAP_NS:
        return Finding(AREA, name, "ok", found, cause=_culprits(gaps))
    if needs.wait != "spin":
        advice = ""
    elif gaps.cpu in needs.cpus or not needs.cpus:
        advice = "isolation, interrupts and hypervisor above say what can be done"
    else:
        advice = "the engine is not placed here"
    late = gaps.delay_p99_ns > limit
    effect = f"{gaps.taken_ppm / 1e4:.2f} % of the time was taken; the longest gap is a message's worst wait"
    if late:
        effect = f"host insufficient: one message in a hundred waits {format_span(gaps.delay_p99_ns)} or more"
    return Finding(
        AREA,
        name,
        "warn",
        found,
        cause=_culprits(gaps),
        effect=effect,
        effect_ns=gaps.delay_p99_ns if late else gaps.max_ns,
        advice=advice,
    )


def _culprits(gaps: Gaps) -> str:
    """What the kernel counted on that processor in the same time."""
    told = []
    if gaps.timer_interrupts:
        told.append(f"{gaps.timer_interrupts / gaps.seconds:.0f} timer interrupts a second")
    if gaps.preemptions:
        told.append(f"{gaps.preemptions} times another thread was let in")
    if gaps.stolen_ms:
        told.append(f"{gaps.stolen_ms:g} ms stolen by the hypervisor")
    named = {**gaps.device_interrupts, **gaps.other_interrupts}
    told += [f"{count} of {name}" for name, count in sorted(named.items(), key=lambda item: -item[1])[:3]]
    return "in that time: " + ", ".join(told) if told else ""


def _pairs(measured: Measured, needs: Needs) -> list[Finding]:
    if not measured.pairs:
        return [Finding(AREA, "pairs", "unknown", "no two processors to measure between, or none answered in time")]
    nearest = min(measured.pairs, key=lambda pair: pair.p50_ns)
    farthest = max(measured.pairs, key=lambda pair: pair.p50_ns)
    found = (
        f"one cache line there and back: {nearest.p50_ns} ns ({nearest.first} and {nearest.second}) "
        f"to {farthest.p50_ns} ns ({farthest.first} and {farthest.second})"
        if len(measured.pairs) > 1
        else f"one cache line there and back: {nearest.p50_ns} ns, p99 {nearest.p99_ns} ns"
    )
    if measured.pairs_left_out:
        found += f"; {measured.pairs_left_out} pairs left out"
    used = [pair for pair in measured.pairs if {pair.first, pair.second} <= set(needs.cpus)]
    worst = max((pair.p50_ns for pair in used), default=0)
    if worst <= FAR_PAIR * nearest.p50_ns:
        return [Finding(AREA, "pairs", "ok", found, effect_ns=nearest.p50_ns)]
    best = (nearest.first, nearest.second)
    return [
        Finding(
            AREA,
            "pairs",
            "warn",
            found,
            cause=f"the engine's processors {cpu_ranges(needs.cpus)} do not lie as near as others do",
            effect="each message between its processes",
            effect_ns=(worst - nearest.p50_ns) // 2,
            advice=f"engine.cpus = {sorted(best)} where two processes are enough",
        )
    ]


def _wake(measured: Measured, needs: Needs) -> Finding:
    found = (
        f"a sleeper runs {format_span(measured.wake_p50_ns)} after it is due, p99 {format_span(measured.wake_p99_ns)}"
    )
    if measured.wake_p50_ns <= WAKE_NS_MAX or needs.wait == "spin":
        return Finding(AREA, "waking", "ok", found, effect_ns=measured.wake_p50_ns)
    return Finding(
        AREA,
        "waking",
        "warn",
        found,
        cause="the processor sleeps deeply, or the hypervisor wakes it slowly",
        effect="the first message after a pause",
        effect_ns=measured.wake_p50_ns,
        advice='engine.wait = "spin", or hold /dev/cpu_dma_latency open at 0 while the engine runs',
    )


def _system_call(measured: Measured) -> Finding:
    cost = round(measured.system_call_ns)
    level = "ok" if cost <= SYSTEM_CALL_NS_MAX else "warn"
    return Finding(
        AREA,
        "system call",
        level,  # type: ignore[arg-type]  # one of two literals
        f"{cost} ns to enter the kernel and come back",
        cause="" if level == "ok" else "mitigations, a tracer or a sandbox (seccomp, gVisor)",
        effect="" if level == "ok" else "each send and receive of the gateway and the feed",
        effect_ns=cost,
    )


def format_span(span_ns: float) -> str:
    """ "870 ns", "4.1 us", "12 ms"."""
    if span_ns < 1000:
        return f"{span_ns:.0f} ns"
    if span_ns < 1_000_000:
        return f"{span_ns / 1000:.3g} us"
    return f"{span_ns / 1_000_000:.3g} ms"


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 1 else f"{per_second:.1f}"
