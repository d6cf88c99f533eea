"""Clocks: whether time is cheap to read, and whether it is right."""

from __future__ import annotations

from hotpath.doctor.findings import Check, Verdict
from hotpath.doctor.machine import Machine, UnreadableError
from hotpath.doctor.needs import Needs

SOURCE = "/sys/devices/system/clocksource/clocksource0"
ESTIMATED_ERROR_US_MAX = 1000
DAEMONS = {
    "chronyd": "chrony", "ntpd": "ntpd", "systemd-timesyn": "systemd-timesyncd", "ptp4l": "ptp4l", "phc2sys": "phc2sys",
}  # fmt: skip


def counter(machine: Machine, needs: Needs) -> Verdict:
    """Whether the time-stamp counter runs at one rate in every state of the processor."""
    text = machine.read("/proc/cpuinfo")
    if "CPU implementer" in text:
        return Verdict("warn", "this is no x86 processor", effect="each reading of the clock is one of the kernel's")
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), [])
    missing = [flag for flag in ("constant_tsc", "nonstop_tsc") if flag not in flags]
    if not missing:
        return Verdict("ok", "invariant: constant_tsc and nonstop_tsc")
    return Verdict(
        "bad",
        f"not invariant: no {', no '.join(missing)}",
        "its rate changes with the processor's frequency or stops in sleep",
        "the engine reads the kernel's clock instead, at several times the cost",
        advice="another machine; or a hypervisor that passes invtsc through (-cpu host,+invtsc)",
    )


def source(machine: Machine, needs: Needs) -> Verdict:
    """Whether the kernel trusts the counter too."""
    current = machine.read(f"{SOURCE}/current_clocksource")
    offered = machine.find(f"{SOURCE}/available_clocksource").split()
    if current in ("tsc", "arch_sys_counter"):
        return Verdict("ok", current)
    return Verdict(
        "bad" if current in ("hpet", "acpi_pm", "jiffies") else "warn",
        f"{current} (offered: {', '.join(offered) or 'unknown'})",
        "the kernel found the time-stamp counter unsteady, or was told not to use it",
        "clock_gettime of every process becomes a system call, or a read from a slow device",
        fix=(f"echo tsc > {SOURCE}/current_clocksource",) if "tsc" in offered else (),
        advice="" if "tsc" in offered else "dmesg | grep -i tsc says why the kernel rejected it",
    )


def synchronisation(machine: Machine, needs: Needs) -> Verdict:
    """Whether something keeps the machine's time near the world's."""
    daemons = _daemons(machine)
    by = f" by {', '.join(daemons)}" if daemons else ""
    if machine.clock is None:
        raise UnreadableError(f"adjtimex: {machine.refusals.get('adjtimex', 'no answer')}")
    status = machine.clock
    if status.synchronised:
        found = (
            f"synchronised{by}; estimated error {status.estimated_error_us:,} us, at most "
            f"{status.maximum_error_us:,} us, offset {status.offset_ns:,} ns"
        )
        if status.estimated_error_us <= ESTIMATED_ERROR_US_MAX:
            return Verdict("ok", found)
        return Verdict("warn", found, effect="times of events differ from the venue's by as much", advice=_ADVICE)
    cause = (
        f"{', '.join(daemons)} runs, and has not told the kernel that the time is right"
        if daemons
        else ("nothing that keeps time was found running")
    )
    return Verdict(
        "warn",
        "the kernel holds its clock to be unsynchronised",
        cause,
        "origin times of the venue and times of this machine cannot be compared; spans are not touched",
        fix=() if daemons else ("apt-get install chrony",),
        advice="chrony: wait for it, and keep 'rtcsync' in chrony.conf" if "chrony" in daemons else _ADVICE,
    )


_ADVICE = "for microseconds, PTP: ptp4l and phc2sys on a card with a hardware clock"


CHECKS: tuple[tuple[str, Check], ...] = (
    ("counter", counter),
    ("kernel's source", source),
    ("synchronisation", synchronisation),
)


def _daemons(machine: Machine) -> list[str]:
    """Programs that keep time, of those that may be seen."""
    found = set()
    try:
        pids = [name for name in machine.names("/proc") if name.isdigit()]
    except UnreadableError:
        return []
    for pid in pids:
        name = machine.find(f"/proc/{pid}/comm")
        if name in DAEMONS:
            found.add(DAEMONS[name])
    return sorted(found)
