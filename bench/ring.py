"""What does a message between two processors cost, and how near is the ring to the floor?

    A --one cache line--> B --the same line--> A        the floor: C atomics
    A --ring 1--> B --ring 2--> A                       round trip, slots of 64 and of 128 bytes
    A --ring 1--> B                                     one way

Two processes, one on each processor, spinning. Floor and ring alternate within the run.
"""

from __future__ import annotations

from bench.harness import Finding, Options, Table, compile_program, json_lines, met, ns_text, run_program

FACTOR_AIM = 1.35
KERNELS = ("ring", "clock", "histogram", "segment", "wait")
LABELS = {
    "floor": "floor: one cache line, C atomics",
    "ring_64": "ring, slots of 64 bytes",
    "ring_128": "ring, slots of 128 bytes",
}


def run(options: Options) -> Finding:
    """The floor, the round trip beside it, and the throughput."""
    if not options.two_cores:
        return Finding("ring", skipped="a second processor: there is none to talk to")
    program = compile_program("programs/ring_bench.c", *KERNELS)
    rounds = options.pick(smoke=3, quick=11, full=41)
    trips = options.pick(smoke=2000, quick=50_000, full=100_000)
    messages = options.pick(smoke=20_000, quick=1_000_000, full=2_500_000)
    text = run_program(program, options.engine_cpu, options.driver_cpu, rounds, trips, messages)
    records = json_lines(text)
    table = Table("Between two processors", ["round trip", "median", "p50", "p99", "p99.9", "max", "x floor", "aim"])
    for record in records[:-1]:
        spans = [ns_text(record[key]) for key in ("ns", "p50_ns", "p99_ns", "p999_ns", "max_ns")]
        aim = f"{FACTOR_AIM}x: {met(record['factor'], FACTOR_AIM, below=True)}" if record["what"] == "ring_64" else ""
        table.rows.append([LABELS[record["what"]], *spans, f"{record['factor']:.2f}", aim])
    way = records[-1]
    table.notes.append(
        f"one way, 64 bytes: {way['ns']:.2f} ns a message, {way['messages_per_second'] / 1e6:.0f} million a second; "
        f"{way['messages']:,} messages arrived, none torn, sum verified"
    )
    table.notes.append(
        "percentiles hold two readings of the clock, about 20 ns; the median is of trips timed 500 at a time"
    )
    return Finding("ring", records, [table])
