"""How long from a market data packet on the wire to the order's frame on the wire, over loopback?

    driver's processor                                 engine's processor: four stages fused, spinning
      UDP MoldUDP64, one ITCH message     ----->         feed -> signal -> risk -> gateway
      TCP SoupBinTCP, OUCH 5.0            <-----         order frame

Kernel sockets both ways. Time runs in the driver, from the instant at which the packet was due to the
return of the receive that brought the order (programs/wire_driver.c).
"""

from __future__ import annotations

import socket
import subprocess
import threading

import numpy as np

from bench.engine import bench_config, bench_spec, scratch
from bench.harness import (
    BenchError,
    Finding,
    Options,
    Table,
    compile_program,
    json_lines,
    met,
    ns_text,
    pinned,
    spin_note,
)
from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.engine import engine_memory
from hotpath.host import spin_control
from hotpath.stages import ProcessStages

P99_AIM_NS = 20_000
INTERVAL_NS = 50_000  # between two packets; every second one makes an order
KERNELS = ("clock", "histogram", "itch", "moldudp", "ouch", "ouch50", "soup")
SLICE_NS = 20_000_000


def run(options: Options) -> Finding:
    """Orders at a steady rate, each paired with its packet."""
    if not options.two_cores:
        return Finding("wire", skipped="a second processor, for the driver")
    program = compile_program("programs/wire_driver.c", *KERNELS)
    orders = options.pick(smoke=200, quick=10_000, full=100_000)
    udp_port = free_port()
    command = ["taskset", "-c", str(options.driver_cpu), str(program), str(udp_port), str(orders), str(INTERVAL_NS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        try:
            text, hops = drive(driver, udp_port, options)
        finally:
            driver.kill()
    control = spin_control(duration_ns=300_000_000, interval_ns=INTERVAL_NS, cpu=options.engine_cpu)
    (record,) = json_lines(text)
    table = Table(
        f"Wire to wire over loopback, {record['orders']:,} orders, a packet every {ns_text(INTERVAL_NS)}",
        ["hop", "p50", "p99", "p99.9", "max", "aim p99"],
    )
    spans = [ns_text(record[key]) for key in ("p50_ns", "p99_ns", "p999_ns", "max_ns")]
    aim = f"{ns_text(P99_AIM_NS)}: {met(record['p99_ns'], P99_AIM_NS, below=True)}"
    table.rows.append(["packet due to order received", *spans, aim])
    table.rows.append(["of it, in the engine: packet in memory to frame handed over", *hops, ""])
    table.notes += [
        f"{record['late']:,} orders were answered after the next packet was due",
        spin_note(control),
    ]
    return Finding("wire", [{**record, "control_p99_ns": control.p99_ns, "verdict": control.verdict}], [table])


def free_port() -> int:
    """A UDP port that nothing uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def drive(driver: subprocess.Popen[str], udp_port: int, options: Options) -> tuple[str, list[str]]:
    """Run the engine until the driver has ended: what it printed, and the engine's own percentiles."""
    assert driver.stdout is not None and driver.stdin is not None, "both were asked for"
    first = driver.stdout.readline().split()
    if len(first) != 2:
        raise BenchError("the driver did not start")
    with scratch() as folder, pinned(options.engine_cpu):
        config = bench_config(
            "bench-wire",
            folder / "none",
            engine={"state_dir": str(folder)},
            feed={"kind": "mold", "port": udp_port, "path": ""},
            signal={"threshold": 0.5, "weights": {"microprice": 1.0, "momentum": 0.0, "reversion": 0.0}},
            gateway={"kind": "ouch50", "port": int(first[1]), "username": "bench"},
        )
        instruments = np.zeros(1, dtype_of("instrument_entry"))
        instruments["symbol"] = b"TEST"
        instruments["venue_locate"] = 1
        instruments["flags"] = lib.INSTRUMENT_TRADED
        instruments["tick_value_micros"] = 100
        instruments["price_increment_ticks"] = 100
        instruments["round_lot_lots"] = 100
        spec = bench_spec(config, instruments, cpu=options.engine_cpu)
        with engine_memory(spec) as memory:
            stages = ProcessStages(spec, spec.placement.places[0], run_epoch=memory.run_epoch)
            lib.control_arm(memory.control, memory.control.kill_epoch)
            printed: list[str] = []
            reading = threading.Thread(target=lambda: printed.extend(driver.stdout or []))
            reading.start()
            told = False
            while driver.poll() is None:
                if not told and printed and stages.gateway.session.state == lib.SESSION_UP:
                    driver.stdin.write("go\n")
                    driver.stdin.flush()
                    told = True
                stages.run(SLICE_NS)
            reading.join()
            path = memory.segments["hops.gateway"].cast("histogram *")[lib.HOP_ORDER_PATH]
            hop = ffi.addressof(path)
            spans = [lib.histogram_value_at(hop, each) for each in (50.0, 99.0, 99.9)] + [path.value_max]
            stages.close()
    if driver.returncode != 0:
        raise BenchError(f"the driver ended with {driver.returncode}")
    return "".join(printed), [ns_text(int(each)) for each in spans]
