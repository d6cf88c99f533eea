"""What the kernel grants a process of the path, and what it does on its own."""

from __future__ import annotations

from hotpath.doctor.findings import Check, Verdict
from hotpath.doctor.machine import UNLIMITED, Machine
from hotpath.doctor.needs import Needs
from hotpath.registry.walls import missing_walls

WAITING_PERCENT_MAX = 5.0  # of a minute in which some process waited for a processor


def priority(machine: Machine, needs: Needs) -> Verdict:
    """Whether the scheduler may put the engine first."""
    if not needs.priority:
        return Verdict("ok", 'engine.scheduler = "other": none is asked for')
    limit = machine.limit("rtprio")
    if limit == UNLIMITED or limit >= needs.priority:
        return Verdict("ok", f"SCHED_FIFO {needs.priority} may be had")
    return Verdict(
        "warn",
        f"SCHED_FIFO {needs.priority} is asked for, {limit or 'none'} is allowed",
        "the limit RLIMIT_RTPRIO, and no capability CAP_SYS_NICE",
        "other processes of the same processor take turns with the engine",
        fix=(f"ulimit -r {needs.priority}",),
        advice=f"as a service: LimitRTPRIO={needs.priority}",
    )


def throttling(machine: Machine, needs: Needs) -> Verdict:
    """Whether the kernel stops a real-time process for a part of each period."""
    runtime = machine.number("/proc/sys/kernel/sched_rt_runtime_us")
    period = machine.number("/proc/sys/kernel/sched_rt_period_us")
    if runtime < 0 or runtime >= period:
        return Verdict("ok", "off")
    found = f"{(period - runtime) / 1000:g} ms of every {period / 1e6:g} s are kept from real-time processes"
    if not needs.priority:
        return Verdict("ok", f"{found}; the engine is none")
    return Verdict(
        "bad",
        found,
        "kernel.sched_rt_runtime_us is below its period",
        "a spinning SCHED_FIFO loop stands still so long, once a period",
        effect_ns=(period - runtime) * 1000,
        fix=("sysctl -w kernel.sched_rt_runtime_us=-1",),
    )


def descriptors(machine: Machine, needs: Needs) -> Verdict:
    """Whether a process may open what it needs."""
    limit = machine.limit("nofile")
    allowed = "unlimited" if limit == UNLIMITED else f"{limit:,}"
    found = f"{allowed}; a process of the engine opens up to {needs.descriptors}"
    if limit == UNLIMITED or limit >= needs.descriptors:
        return Verdict("ok", found)
    return Verdict("bad", found, "", "the engine does not start", fix=("ulimit -n 4096",), advice="LimitNOFILE=4096")


def watchdog(machine: Machine, needs: Needs) -> Verdict:
    """Whether the kernel interrupts each processor to see that it lives."""
    if machine.number("/proc/sys/kernel/nmi_watchdog") == 0:
        return Verdict("ok", "kernel.nmi_watchdog 0")
    return Verdict(
        "warn",
        "kernel.nmi_watchdog 1",
        "a hardware counter interrupts each processor every few seconds",
        "a gap that cannot be masked, and a counter less for measuring",
        fix=("sysctl -w kernel.nmi_watchdog=0",),
    )


def pressure(machine: Machine, needs: Needs) -> Verdict:
    """Whether processes wait for a processor now."""
    load = float(machine.read("/proc/loadavg").split()[0])
    share = next(
        (
            float(word.removeprefix("avg60="))
            for line in machine.find("/proc/pressure/cpu").splitlines()[:1]
            for word in line.split()
            if word.startswith("avg60=")
        ),
        None,
    )
    found = f"load {load:g} on {len(machine.cpus)} processors"
    if share is not None:
        found += f"; in {share:g} % of the last minute some process waited for one"
    if share < WAITING_PERCENT_MAX if share is not None else load <= len(machine.cpus) - needs.processes:
        return Verdict("ok", found)
    return Verdict(
        "warn",
        found,
        "other processes run here now",
        "figures taken now say more of them than of the engine",
        fix=("ps -eo pid,psr,pcpu,comm --sort=-pcpu | head",),
    )


def walls(_machine: Machine, _needs: Needs) -> Verdict:
    """Whether a model from outside can be tried where it does no harm."""
    lacking = missing_walls()
    if not lacking:
        return Verdict("ok", "Landlock and seccomp: candidates of the registry are confined")
    return Verdict(
        "warn",
        f"no {' and no '.join(lacking)}",
        "this kernel was built or started without them, or a container filters them",
        "the registrar refuses every model",
        advice="[registry] require_sandbox = false goes without; do so only for models of your own",
    )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("model sandbox", walls),
    ("real-time priority", priority),
    ("real-time throttling", throttling),
    ("open files", descriptors),
    ("watchdog", watchdog),
    ("load", pressure),
)
