"""hotpath/doctor: fabricated machines, one good, one bad, one that tells nothing; and the measuring itself."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ffi import ffi, lib
from hotpath import histograms
from hotpath.config import Config, EngineConfig, FeedConfig, RingsConfig
from hotpath.doctor.examine import look
from hotpath.doctor.findings import Finding
from hotpath.doctor.machine import UNLIMITED, ClockStatus, Machine
from hotpath.doctor.measure import Gaps, Measured, Pair, delay_at, measure_pair
from hotpath.doctor.measured import measured_findings
from hotpath.doctor.needs import Needs, needs_of
from hotpath.doctor.view import Command, diagnosis_view
from hotpath.engine import EngineMemory, make_spec, shared_bytes
from hotpath.refdata import Instrument, Refdata, instrument_table

CPU = "/sys/devices/system/cpu"
FLAGS = "fpu tsc constant_tsc nonstop_tsc"
INTERRUPTS = "      CPU0 CPU1 CPU2 CPU3\n"
GOOD: dict[str, str] = {
    f"{CPU}/online": "0-3\n",
    f"{CPU}/isolated": "2-3\n",
    f"{CPU}/nohz_full": "2-3\n",
    **{f"{CPU}/cpu{cpu}/topology/thread_siblings_list": f"{cpu}\n" for cpu in range(4)},
    **{f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "performance\n" for cpu in range(4)},
    **{f"{CPU}/cpu{cpu}/cpuidle/state0/latency": "1\n" for cpu in range(4)},
    **{f"{CPU}/cpu{cpu}/cpuidle/state0/name": "POLL\n" for cpu in range(4)},
    f"{CPU}/vulnerabilities/meltdown": "Not affected\n",
    f"{CPU}/vulnerabilities/spectre_v1": "Mitigation: usercopy barriers\n",
    "/sys/devices/system/node/online": "0\n",
    "/sys/devices/system/node/node0/cpulist": "0-3\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "/sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size advise [never] deny force\n",
    "/proc/cmdline": "quiet isolcpus=2-3 nohz_full=2-3\n",
    "/proc/cpuinfo": f"processor : 0\nmodel name : A processor\nflags : {FLAGS}\n",
    "/proc/interrupts": INTERRUPTS + " 24: 900 1 0 0 PCI-MSI 1-edge eth0\nLOC: 9 9 9 9 Local timer\n",
    "/proc/irq/24/effective_affinity_list": "0\n",
    "/proc/stat": "cpu 10 0 10 900 0 0 0 0 0 0\n",
    "/proc/loadavg": "0.10 0.10 0.10 1/100 999\n",
    "/proc/meminfo": "MemTotal: 32000000 kB\nMemAvailable: 30000000 kB\n",
    "/proc/swaps": "Filename Type Size Used Priority\n",
    "/proc/net/snmp": "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 5 0 0 5 0\n",
    "/proc/net/softnet_stat": "00000010 00000000 00000000\n",
    "/proc/sys/kernel/sched_rt_runtime_us": "-1\n",
    "/proc/sys/kernel/sched_rt_period_us": "1000000\n",
    "/proc/sys/kernel/nmi_watchdog": "0\n",
    "/proc/sys/kernel/numa_balancing": "0\n",
    "/proc/sys/net/core/rmem_max": f"{16 << 20}\n",
    "/proc/sys/net/core/busy_poll": "50\n",
    "/proc/sys/net/core/busy_read": "50\n",
    "/proc/7/comm": "chronyd\n",
}
BAD: dict[str, str] = {
    **GOOD,
    f"{CPU}/isolated": "\n",
    f"{CPU}/nohz_full": "(null)\n",
    **{f"{CPU}/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}\n" for cpu in range(4)},
    **{f"{CPU}/cpu{cpu}/cpufreq/scaling_governor": "powersave\n" for cpu in range(4)},
    **{f"{CPU}/cpu{cpu}/cpuidle/state3/latency": "133\n" for cpu in range(4)},
    **{f"{CPU}/cpu{cpu}/cpuidle/state3/name": "C6\n" for cpu in range(4)},
    f"{CPU}/intel_pstate/no_turbo": "0\n",
    f"{CPU}/vulnerabilities/meltdown": "Mitigation: PTI\n",
    "/sys/devices/system/node/online": "0-1\n",
    "/sys/devices/system/node/node0/cpulist": "0,2\n",
    "/sys/devices/system/node/node1/cpulist": "1,3\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n",
    "/sys/kernel/mm/ksm/run": "1\n",
    "/proc/cmdline": "quiet\n",
    "/proc/cpuinfo": "processor : 0\nmodel name : Old\nflags : fpu tsc hypervisor\n",
    "/proc/interrupts": INTERRUPTS + " 24: 0 1 77 5 PCI-MSI 1-edge eth0\n",
    "/proc/irq/24/effective_affinity_list": "2-3\n",
    "/proc/stat": "cpu 10 0 10 900 0 0 0 80 0 0\n",
    "/proc/loadavg": "9.00 9.00 9.00 9/100 999\n",
    "/proc/meminfo": "MemTotal: 100000 kB\nMemAvailable: 50000 kB\n",
    "/proc/swaps": "Filename Type Size Used Priority\n/swapfile file 999 1 -2\n",
    "/proc/net/snmp": "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 5 0 3 5 3\n",
    "/proc/sys/kernel/sched_rt_runtime_us": "950000\n",
    "/proc/sys/kernel/nmi_watchdog": "1\n",
    "/proc/sys/kernel/numa_balancing": "1\n",
    "/proc/sys/net/core/rmem_max": "212992\n",
    "/proc/sys/net/core/busy_read": "0\n",
}
NEEDS = Needs(
    configured=True,
    cpus=(2, 3),
    shm_bytes=64 << 20,
    locked_bytes=128 << 20,
    priority=50,
    wait="park",
    over_network=True,
)  # fmt: skip
RANK = {"ok": 0, "unknown": 1, "warn": 2, "bad": 3}


def fabricated(folder: Path, files: Mapping[str, str], **changes: Any) -> Machine:
    """A machine whose kernel says what `files` hold."""
    for name, text in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    good = Machine(
        root=folder,
        cpus=(0, 1, 2, 3),
        limits={"memlock": 8 << 20, "rtprio": 0, "nofile": 1024},
        capabilities=frozenset({"memlock", "rtprio"}),
        shm_bytes=(1 << 30, 1 << 30),
        clock=ClockStatus(synchronised=True, estimated_error_us=20, maximum_error_us=900, offset_ns=-1500),
    )
    return dataclasses.replace(good, **changes)


def bad_machine(folder: Path) -> Machine:
    return fabricated(
        folder,
        BAD,
        capabilities=frozenset(),
        limits={"memlock": 64 << 10, "rtprio": 0, "nofile": 64},
        shm_bytes=(64 << 20, 16 << 20),
        clock=ClockStatus(synchronised=False, estimated_error_us=16_000_000, maximum_error_us=16_000_000, offset_ns=0),
    )


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {f"{each.area}: {each.name}": each for each in findings}


def test_good_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    findings = look(fabricated(tmp_path, GOOD), NEEDS)
    assert [each for each in findings if each.level != "ok"] == []
    assert len(findings) > 20


def test_bad_machine_is_told_everything_with_what_mends_it(tmp_path: Path) -> None:
    found = by_name(look(bad_machine(tmp_path), NEEDS))
    fine = {name for name, finding in found.items() if finding.level == "ok"}
    # the model sandbox is asked of the kernel that runs, not of the machine that is described
    assert fine - {"kernel: model sandbox"} == {"processors: count", "memory: huge pages, shared"}
    assert {name for name, finding in found.items() if finding.level == "bad"} == {
        "memory: shared memory",
        "memory: available",
        "kernel: real-time throttling",
        "kernel: open files",
        "clocks: counter",
        "clocks: kernel's source",
    }
    for name, finding in found.items():
        if name not in fine:
            assert finding.fix or finding.advice, f"{name}: says nothing of how to mend it"
            assert finding.effect, f"{name}: says nothing of its effect"
    assert found["memory: shared memory"].fix == ("mount -o remount,size=177M /dev/shm",)
    assert found["network: receive buffer"].fix == ("sysctl -w net.core.rmem_max=16777216",)
    assert found["processors: interrupts"].fix[0] == "for i in 24; do echo 0 > /proc/irq/$i/smp_affinity_list; done"
    assert "82 times" in found["processors: interrupts"].found
    assert "isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3" in found["processors: isolation"].fix[0]
    assert found["processors: frequency"].fix == ("cpupower -c 2-3 frequency-set -g performance",)
    assert found["processors: siblings"].fix == (f"echo 0 > {CPU}/cpu0/online", f"echo 0 > {CPU}/cpu1/online")
    assert found["processors: idle states"].effect_ns == 133_000
    assert found["kernel: real-time throttling"].effect_ns == 50_000_000
    assert "8.00 %" in found["processors: hypervisor"].found


def test_machine_that_tells_nothing_is_unknown_with_the_reason(tmp_path: Path) -> None:
    empty = fabricated(
        tmp_path,
        {},
        capabilities=frozenset(),
        limits={},
        shm_bytes=None,
        clock=None,
        refusals={"shm": "permission denied", "adjtimex": "operation not permitted"},
    )
    found = by_name(look(empty, NEEDS))
    assert {finding.level for finding in found.values()} <= {"unknown", "ok"}
    assert found["memory: shared memory"].found == "statvfs /dev/shm: permission denied"
    assert found["clocks: synchronisation"].found == "adjtimex: operation not permitted"
    assert found["processors: count"].found == f"{CPU}/online: no such file or directory"
    assert sum(finding.level == "unknown" for finding in found.values()) > 20


@pytest.mark.parametrize("text", ["", "\0", "x" * 5000, "9" * 400, "cpu\n", "a b c\nd e f\n", "-1", "1-"])
def test_nonsense_of_the_kernel_is_no_crash(text: str, tmp_path: Path) -> None:
    for finding in look(fabricated(tmp_path, dict.fromkeys(GOOD, text)), NEEDS):
        assert finding.level in RANK


def test_each_of_the_bad_files_alone_makes_a_finding_worse(tmp_path: Path) -> None:
    """No file is read in vain. Those left out tell something only together with another."""
    together = ("/proc/cmdline", "/proc/stat", "/sys/devices/system/node", f"{CPU}/isolated", f"{CPU}/intel_pstate")
    limited: dict[str, Any] = {"capabilities": frozenset({"rtprio"}), "limits": {"memlock": 1 << 40, "nofile": 4096}}
    good = look(fabricated(tmp_path / "good", GOOD, **limited), NEEDS)
    groups: dict[str, dict[str, str]] = {}
    for name, text in BAD.items():
        if GOOD.get(name) != text and not name.startswith(together) and not name.endswith("/name"):
            groups.setdefault(
                "/proc/irq" if name.startswith(("/proc/irq", "/proc/interr")) else re.sub(r"\d+", "#", name), {}
            )[name] = text
    assert len(groups) > 15
    for number, (group, files) in enumerate(groups.items()):
        changed = look(fabricated(tmp_path / str(number), {**GOOD, **files}, **limited), NEEDS)
        worse = [now for now, before in zip(changed, good, strict=True) if RANK[now.level] > RANK[before.level]]
        assert worse, f"{group}: nobody reads it"


def test_needs_of_a_configuration() -> None:
    config = Config(
        engine=EngineConfig(topology="split", scheduler="fifo", priority=70, lock_memory=False, wait="park"),
        feed=FeedConfig(kind="mold", address="239.1.1.1"),
    )
    needs = needs_of(config, cpus=range(8))
    assert (needs.processes, needs.priority, needs.locked_bytes, needs.wait) == (4, 70, 0, "park")
    assert needs.over_network and needs.receive_buffer_bytes == 16 << 20
    assert len(needs.cpus) == 4
    paper = needs_of(Config(), cpus=range(2))
    assert paper.receive_buffer_bytes == 0 and paper.notes


def test_shared_memory_is_foreseen(engine: str) -> None:
    config = Config(
        engine=EngineConfig(name=engine, topology="split"), rings=RingsConfig(raw=1024, norm=1024, exec=256)
    )
    table = instrument_table(Refdata(calendars={}, instruments=[Instrument(symbol="AAPL"), Instrument(symbol="MSFT")]))
    memory = EngineMemory(make_spec(config, table, midnight_ns=0, journal=True))
    try:
        taken = sum(-(-segment.size // 4096) * 4096 for segment in memory.segments.values())
    finally:
        memory.unlink()
    foreseen = shared_bytes(config, instruments=len(table))
    assert taken <= foreseen <= taken * 1.2


# ---- measuring ---------------------------------------------------------------------------------------


def clock_page() -> Any:
    clock = ffi.new("clock_page *")
    lib.clock_calibrate(clock, 5_000_000, 0)
    return clock


def test_gaps_are_counted_and_bounded() -> None:
    gaps, report = histograms.new("gaps"), ffi.new("spin_report *")
    lib.spin_gaps(clock_page(), 20_000_000, histograms.pointer(gaps), report)
    assert report.elapsed_ns >= 20_000_000
    assert report.gap_count == gaps["total_count"][0] and report.readings > 1000
    assert report.gap_ns_sum <= report.elapsed_ns and report.gap_ns_max <= report.elapsed_ns


def test_delay_of_evenly_spread_arrivals_by_hand() -> None:
    """One gap of 10 us in a millisecond: 1 % of arrivals meet it, and half of those wait longer than 5 us."""
    gaps = histograms.new("gaps")
    lib.histogram_record(histograms.pointer(gaps), 10_000)
    assert delay_at(gaps, 1_000_000, share=0.005) == pytest.approx(5_000, rel=0.01)
    assert delay_at(gaps, 1_000_000, share=0.02) <= 1
    assert delay_at(histograms.new("none"), 1_000_000, share=0.01) == 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_pair_makes_round_trips_and_gives_affinity_back() -> None:
    before = os.sched_getaffinity(0)
    first, second = sorted(before)[:2]
    for _ in range(50):  # on a busy machine the two may not run at once for a while
        pair = measure_pair(clock_page(), first, second, seconds=0.02)
        if pair.trips > 100:
            break
    assert pair.trips > 100 and 0 < pair.p50_ns <= pair.p99_ns
    assert os.sched_getaffinity(0) == before


def test_floor_without_a_partner_ends_by_itself() -> None:
    memory = np.zeros(256, np.uint8)
    line = ffi.cast("floor_line *", ((memory.ctypes.data + 63) // 64) * 64)
    trips = histograms.new()
    started = time.monotonic()
    assert lib.floor_call(line, clock_page(), 10_000_000, histograms.pointer(trips)) == 0
    assert line.word == 2**64 - 1, "and its partner, should it come late, is told"
    assert lib.floor_answer(line, clock_page(), 10_000_000) == 0
    assert time.monotonic() - started < 30


def measurement(**changes: Any) -> Measured:
    quiet = Gaps(cpu=2, seconds=1.0, over={"1us": 3, "10us": 0}, max_ns=4000, taken_ppm=9.0, delay_p99_ns=0)
    measured = Measured(
        tsc=True,
        frequency_hz=3_000_000_000,
        calibration_error_ppb=-40,
        gaps=[quiet],
        pairs=[Pair(2, 3, 1000, 80, 95)],
        pairs_left_out=0,
        wake_p50_ns=4000,
        wake_p99_ns=9000,
        system_call_ns=120.0,
    )
    return msgspec.structs.replace(measured, **changes)


def test_quiet_measurements_are_fine() -> None:
    assert {finding.level for finding in measured_findings(measurement(), NEEDS)} == {"ok"}


def test_noisy_measurements_name_who_did_it_and_what_it_costs() -> None:
    noisy = Gaps(
        cpu=2,
        seconds=2.0,
        over={"1us": 900, "10us": 500, "1ms": 2},
        max_ns=3_000_000,
        taken_ppm=30_000.0,
        delay_p99_ns=800_000,
        timer_interrupts=500,
        device_interrupts={"eth0": 40},
        preemptions=3,
        stolen_ms=6.0,
    )
    pairs = [Pair(0, 1, 9, 80, 90), Pair(2, 3, 9, 400, 500)]
    findings = by_name(
        measured_findings(
            measurement(
                gaps=[noisy], pairs=pairs, wake_p50_ns=60_000, system_call_ns=900.0, calibration_error_ppb=9000
            ),
            NEEDS,
        )
    )
    assert {finding.level for finding in findings.values()} == {"warn"}
    gap = findings["measured: processor 2"]
    assert gap.effect_ns == 800_000 and "host insufficient" in gap.effect
    for told in ("250 timer interrupts a second", "3 times another thread", "6 ms stolen", "40 of eth0"):
        assert told in gap.cause
    assert findings["measured: pairs"].effect_ns == 160, "half of a round trip's difference"
    assert findings["measured: pairs"].advice.startswith("engine.cpus = [0, 1]")


# ---- the verb ------------------------------------------------------------------------------------------


def doctor(*arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "hotpath", "doctor", "--seconds", "0.02", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_doctor_of_this_machine_tells_people_and_machines() -> None:
    done = doctor("--json")
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["healthy"] else 1), done.stderr
    assert told["levels"]["bad"] == sum(each["level"] == "bad" for each in told["findings"])
    assert len(told["measured"]["gaps"]) == len(os.sched_getaffinity(0))
    assert not [each for each in told["findings"] if each["level"] == "unknown" and each["area"] == "processors"]


def test_bad_finding_sets_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "engine.toml").write_text('[engine]\nname = "small"\n')
    done = doctor(tmp_path / "engine.toml", prefix=("bash", "-c", 'ulimit -n 200 && exec "$@"', "bash"))
    assert done.returncode == 1, done.stdout
    assert "engine small" in done.stdout and "BAD open files" in done.stdout
    assert any(line.strip() == "$ ulimit -n 4096" for line in done.stdout.splitlines())


def test_view_shows_commands_as_they_are_typed(tmp_path: Path) -> None:
    from hotpath.doctor.examine import Diagnosis

    findings = look(bad_machine(tmp_path), NEEDS)
    shown = diagnosis_view(Diagnosis("t", findings, None, (), dict.fromkeys(RANK, 1)))
    commands = [part.plain.strip() for part in shown if isinstance(part, Command)]
    assert commands == [f"$ {command}" for finding in findings if finding.level != "ok" for command in finding.fix]


def test_limit_lifted_by_a_capability_is_unlimited(tmp_path: Path) -> None:
    assert fabricated(tmp_path, {}).limit("memlock") == UNLIMITED
