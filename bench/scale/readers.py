"""What does one more reader of a ring cost? 1 to as many as may gate its writer.

same core    writer, then each reader in turn, 64 events at a time          as in a fused engine
two cores    writer --> all readers on the other processor, in turn         the writer waits for the last of them
"""

from __future__ import annotations

from bench.harness import Options, compile_program, json_lines, run_program
from bench.scale.curve import Curve, Line, slope
from bench.scale.measure import Control, points, rounds
from ffi import lib

SAME, TWO = "writer and readers on one core", "readers on the other core"


def run(options: Options) -> Curve:
    """1 to RING_GATES_MAX readers."""
    program = compile_program("scale/programs/reader_bench.c", "ring", "clock", "segment", "wait")
    most = int(lib.RING_GATES_MAX)
    counts = (1, most) if options.size == "smoke" else tuple(range(1, most + 1))
    events = options.pick(smoke=20_000, quick=1_000_000, full=4_000_000)
    control = Control(options)

    def measure(count: float) -> dict[str, float]:
        (record,) = json_lines(run_program(program, options.engine_cpu, options.driver_cpu, int(count), events))
        found = {SAME: float(record["same_core_ns"])}
        return {**found, TWO: float(record["two_cores_ns"])} if "two_cores_ns" in record else found

    found = rounds([float(count) for count in counts], options.pick(smoke=1, quick=5, full=9), measure, control)
    lines = [line for line in (Line(name, points(found, name)) for name in (SAME, TWO)) if line.points]
    return Curve(
        name="readers",
        title="Readers of one ring",
        topology="ring of 1,024 slots of 128 bytes; each reader gates the writer and reads every event",
        x_label="gating readers",
        y_label="ns an event, writer and readers",
        unit="ns",
        lines=lines,
        scale="plain",
        why=why(lines),
        limits=[
            f"a ring has at most {most} gating readers (RING_GATES_MAX); observers, which the writer does not know of "
            "and so does not pay for, have no such limit"
        ],
        control=control.note(),
    )


def why(lines: list[Line]) -> str:
    """What each more costs."""
    text = (
        f"On one core each reader looks at every slot itself: {slope(lines[0], scale='plain'):.1f} ns, from the near "
        "cache. The writer pays hardly anything: it looks at the cursors only when it has come as far as they allowed."
    )
    if len(lines) == 1:
        return text
    one, each = lines[1].points[0].value, slope(lines[1], scale="plain")
    crossing = f" Between two cores an event's lines cross once for {one:.0f} ns, however many readers stand there"
    if each < one / 10:
        return f"{text}{crossing}: their own passes ({each:+.1f} ns each) are hidden behind the crossing."
    return f"{text}{crossing}; each more adds {each:.1f} ns of its own, since the last of them sets the pace."
