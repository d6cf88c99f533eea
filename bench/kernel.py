"""What does one call of each kernel cost, in ns and in instructions?

    prepared input in memory --> one kernel, over and over --> checksum        one core; kernels/*.c

Nanoseconds are of the best round, pinned. Instructions are callgrind's: two runs of different length, the
difference of their counts over that of their calls, so that start and input cancel. They repeat to a
fraction of a percent where a nanosecond does not.
"""

from __future__ import annotations

from pathlib import Path

from bench.harness import (
    GOOG_DAY,
    Finding,
    Options,
    Table,
    compile_program,
    flow_file,
    has_valgrind,
    instructions,
    json_lines,
    run_program,
)

SMALL = (
    "clock",
    "digest",
    "gate",
    "gate_follow",
    "histogram",
    "limit_copy",
    "moldudp",
    "ouch",
    "ouch42",
    "ouch50",
    "ring",
    "segment",
    "soup",
    "venue",
    "wait",
)
FEATURE = ("feature", "feature_math", "strategy", "digest")
EVENTS = 16384  # of feature_bench's pass


def run(options: Options) -> Finding:
    """Every kernel."""
    finding = Finding("kernel")
    table = Table("Kernels, one call, one core", ["kernel", "ns", "instructions", "checksum"])
    counted = has_valgrind() and options.size != "smoke"
    small_kernels(finding, options, counted)
    feature_kernels(finding, options, counted)
    itch_kernel(finding, options, counted)
    for record in finding.records:
        count = record.get("instructions_per_call")
        shown = f"{count:.0f}" if count is not None else "-"
        table.rows.append([record["kernel"], f"{record['ns_per_call']:.1f}", shown, record["checksum"]])
    if not has_valgrind():
        table.notes.append("skipped: valgrind, which counts the instructions, is not installed")
    finding.tables.append(table)
    return finding


def small_kernels(finding: Finding, options: Options, counted: bool) -> None:
    """clock, histogram, ring, digest, MoldUDP64, OUCH, gate."""
    program = compile_program("kernels/call_bench.c", *SMALL)
    calls = options.pick(smoke=1000, quick=1_000_000, full=5_000_000)
    for name in run_program(program, "list").split():
        (record,) = json_lines(run_program(program, name, calls, cpu=options.engine_cpu))
        each = between(program, (name, 2000), (name, 12000), calls=5 * 10000) if counted else None
        add(finding, name, record["ns_per_call"], each, record["checksum"])


def feature_kernels(finding: Finding, options: Options, counted: bool) -> None:
    """The features of one event, and the score of one set of features."""
    program = compile_program("kernels/feature_bench.c", *FEATURE)
    rounds = options.pick(smoke=1, quick=20, full=50)
    for record in json_lines(run_program(program, "--rounds", rounds, cpu=options.engine_cpu)):
        name = record["bench"]
        each = None
        if counted:
            few, many = (instructions(program, "--rounds", count, only=name) for count in (1, 3))
            each = (many - few) / (2 * EVENTS)
        add(finding, name, record["ns_per_call"], each, record["checksum"])


def itch_kernel(finding: Finding, options: Options, counted: bool) -> None:
    """The decoder, over a real mix of types."""
    program = compile_program("kernels/itch_bench.c", "itch")
    path = flow_file(messages=50_000, instruments=64, live_orders=5000)
    rounds = options.pick(smoke=1, quick=20, full=50)
    (record,) = json_lines(run_program(program, path, rounds, cpu=options.engine_cpu))
    each = between(program, (path, 1), (path, 3), calls=2 * record["messages"]) if counted else None
    add(finding, "itch_normalise", record["ns_per_message"], each, record["checksum"])
    program = compile_program("kernels/book_bench.c", "book", "book_batch", "flow", "itch")
    source = GOOG_DAY if GOOG_DAY.exists() else path
    (record,) = json_lines(run_program(program, "itch", source, "--repeat", rounds, "--core", options.engine_cpu))
    each = None
    if counted:
        one, two = (("itch", source, "--repeat", count) for count in (1, 2))
        each = between(program, one, two, calls=record["messages"] // rounds)
    add(finding, "itch_normalise + book_apply_batch", record["best_ns_per_message"], each, record["checksum"])


def between(program: Path, few: tuple[object, ...], many: tuple[object, ...], *, calls: int) -> float:
    """Instructions a call: the difference of two runs."""
    return (instructions(program, *many) - instructions(program, *few)) / calls


def add(finding: Finding, kernel: str, ns: float, each: float | None, checksum: str) -> None:
    """One kernel's record."""
    record = {"kernel": kernel, "ns_per_call": ns, "checksum": checksum}
    finding.records.append(record if each is None else {**record, "instructions_per_call": each})
