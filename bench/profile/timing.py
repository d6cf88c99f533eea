"""What the clock says beside the counts: an event flat out, and the hops of the path at a rate."""

from __future__ import annotations

from bench.engine import scratch
from bench.harness import BenchError, Options, flow_file, pinned, spin_limit_ns
from bench.latency.runner import PathSubject
from bench.path import INSTRUMENTS, fused_spec, live_orders, measure_and_check, warm_messages
from bench.profile.reading import STAGES
from hotpath.host import spin_control

RATE = 400_000  # messages a second of the hops
LOOK_NS = 300_000_000
BATCH = 1000


def is_quiet(options: Options) -> str:
    """Why the machine is too busy for the clock; empty when it is not."""
    control = spin_control(duration_ns=LOOK_NS, interval_ns=10**9 // RATE, cpu=options.engine_cpu)
    if control.p99_ns <= spin_limit_ns():
        return ""
    return f"an empty loop is {control.p99_ns:,} ns late at p99 (--timing insists)"


def timed(options: Options) -> dict[str, float]:
    """ns: "event" flat out, and each stage's hop at RATE, all p50. Raises BenchError."""
    messages = options.pick(smoke=100_000, quick=800_000, full=800_000)
    feed = flow_file(messages=messages, instruments=INSTRUMENTS, live_orders=live_orders(messages))
    with pinned(options.engine_cpu):
        subject = PathSubject(feed, cpu=options.engine_cpu)
        try:
            subject.advance(warm_messages(messages))
            found = {"event": float(subject.slice(options.pick(smoke=5, quick=100, full=300), BATCH)["p50_ns"])}
        except RuntimeError as error:
            raise BenchError(str(error)) from error
        finally:
            subject.close()
        with scratch() as folder:
            spec = fused_spec(
                folder_name=str(folder), name="bench-profile", options=options, messages=messages, rate=RATE
            )
            hops = measure_and_check(spec, options).report.stat.hops
    return found | {stage: float(hops[f"order_{stage}"].p50_ns) for stage in STAGES}
