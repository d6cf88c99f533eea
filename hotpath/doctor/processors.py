"""Processors: how many, which share a core, who else uses them, and what they do when idle."""

from __future__ import annotations

import re

from hotpath.doctor.findings import Check, Verdict
from hotpath.doctor.machine import Machine, UnreadableError
from hotpath.doctor.needs import Needs
from hotpath.topology import cpu_ranges, parse_cpu_list

CPU = "/sys/devices/system/cpu"
EXIT_LATENCY_US_MAX = 10  # of an idle state that is no worse than a system call or two
STOLEN_PPM_MAX = 1000  # of all processor time since the machine started


def count(machine: Machine, needs: Needs) -> Verdict:
    """Whether every process of the engine may have a processor, and the rest of the machine one."""
    online = machine.cpu_list(f"{CPU}/online")
    model = _cpuinfo(machine, "model name") or _cpuinfo(machine, "CPU implementer") or "unnamed"
    found = f"{len(online)} online, {len(machine.cpus)} for this process ({cpu_ranges(machine.cpus)}), {model}"
    wanted = needs.processes + 1
    if len(machine.cpus) >= wanted:
        return Verdict("ok", found)
    cause = (
        f'topology "{needs.topology}" has {needs.processes} processes, and the rest of the machine needs a processor'
    )
    if len(machine.cpus) == 1:
        effect = "the engine gives its processor up between turns, and stands still while anything else runs"
    elif needs.processes == 1:
        effect = "the engine cannot spin undisturbed"
    else:
        effect = (
            "its processes share one processor and yield to each other; spinning against each other costs milliseconds"
        )
    fix = ("taskset -pc 0-1 $$",) if len(online) >= wanted else ()
    advice = f'a machine with {wanted} processors, or engine.topology = "fused"' if needs.processes > 1 else ""
    return Verdict("warn", found, cause, effect, fix=fix, advice=advice)


def siblings(machine: Machine, needs: Needs) -> Verdict:
    """Whether a thread of the path would share its core's units with another processor."""
    shared = {}
    for cpu in _path_cpus(machine, needs):
        same_core = machine.cpu_list(f"{CPU}/cpu{cpu}/topology/thread_siblings_list")
        if len(same_core) > 1:
            shared[cpu] = same_core
    if not shared:
        return Verdict("ok", "no processor of the path shares its core")
    pairs = ", ".join(f"{cpu} with {cpu_ranges(sorted(same - {cpu}))}" for cpu, same in shared.items())
    others = sorted(set().union(*shared.values()) - set(shared))
    return Verdict(
        "warn",
        f"processors of the path share their cores: {pairs}",
        "two threads of one core share its execution units and first-level cache",
        "whatever runs on the sibling slows the path by as much as it works",
        fix=tuple(f"echo 0 > {CPU}/cpu{cpu}/online" for cpu in others) or (f"echo off > {CPU}/smt/control",),
        advice="or engine.cpus with one processor of each core, and nothing else on their siblings",
    )


def nodes(machine: Machine, needs: Needs) -> Verdict:
    """Whether the processors of the path lie on one memory node."""
    memory_nodes = machine.cpu_list("/sys/devices/system/node/online")
    where = {node: machine.cpu_list(f"/sys/devices/system/node/node{node}/cpulist") for node in sorted(memory_nodes)}
    used = {node: sorted(cpus & set(_path_cpus(machine, needs))) for node, cpus in where.items()}
    used = {node: cpus for node, cpus in used.items() if cpus}
    found = f"{len(memory_nodes)} memory node{'s' if len(memory_nodes) > 1 else ''}"
    if len(used) <= 1:
        return Verdict("ok", found)
    told = "; ".join(f"node {node}: {cpu_ranges(cpus)}" for node, cpus in used.items())
    first = max(used, key=lambda node: len(where[node]))
    return Verdict(
        "warn",
        f"{found}, and the path may run on several: {told}",
        "a line that crosses nodes goes over the link between sockets",
        "every message between such processors pays for the way; see the table of pairs",
        fix=(f"numactl --cpunodebind={first} --membind={first} hotpath run CONFIG",),
    )


def isolation(machine: Machine, needs: Needs) -> Verdict:
    """Whether the scheduler, the timer tick and RCU leave the processors of the path alone."""
    options = machine.kernel_options
    isolated = machine.cpu_list(f"{CPU}/isolated")
    lists = {
        "isolcpus": isolated,
        "nohz_full": _list_or_empty(machine, f"{CPU}/nohz_full"),
        "rcu_nocbs": _cpus_of_option(options.get("rcu_nocbs", "")),
    }
    wanted = set(_path_cpus(machine, needs))
    if lists["nohz_full"] >= wanted:
        lists["rcu_nocbs"] = lists["rcu_nocbs"] | lists["nohz_full"]  # the kernel takes the one with the other
    missing = {name: sorted(wanted - cpus) for name, cpus in lists.items() if wanted - cpus}
    shown = ", ".join(f"{name} {cpu_ranges(sorted(cpus)) or 'none'}" for name, cpus in lists.items())
    if not missing:
        return Verdict("ok", shown)
    cpus = cpu_ranges(sorted(wanted))
    if wanted >= machine.cpu_list(f"{CPU}/online"):
        return Verdict(
            "warn",
            shown,
            "every processor is one of the path's: none can be kept free of the rest",
            "the timer tick and other processes interrupt a spinning loop; see the gaps below",
            advice="engine.cpus that leave a processor out, then isolate the others",
        )
    return Verdict(
        "warn",
        shown,
        f"{_named(wanted)} of the path not covered by " + ", ".join(missing),
        "the timer tick and other processes interrupt a spinning loop; see the gaps below",
        fix=(
            f"sed -i 's/^GRUB_CMDLINE_LINUX=\"/&isolcpus=managed_irq,domain,{cpus} nohz_full={cpus} rcu_nocbs={cpus} /'"
            " /etc/default/grub && update-grub",
        ),
        advice="then restart the machine",
    )


def interrupts(machine: Machine, needs: Needs) -> Verdict:
    """Whether devices interrupt the processors of the path."""
    wanted = set(_path_cpus(machine, needs))
    counts = _interrupt_counts(machine)
    steered: dict[int, int] = {}
    for name in machine.names("/proc/irq"):
        if not name.isdigit():
            continue
        for file in ("effective_affinity_list", "smp_affinity_list"):
            try:
                targets = machine.cpu_list(f"/proc/irq/{name}/{file}")
            except UnreadableError:
                continue
            if targets & wanted:
                steered[int(name)] = sum(counts.get(int(name), {}).get(cpu, 0) for cpu in wanted)
            break
    busy = {irq: count for irq, count in steered.items() if count}
    if not busy:
        quiet = f"; {len(steered)} that never came may be" if steered else ""
        return Verdict("ok", f"no device interrupts {_named(wanted)}{quiet}")
    rest = sorted(machine.cpu_list(f"{CPU}/online") - wanted)
    told = ", ".join(str(irq) for irq in sorted(busy, key=lambda irq: -busy[irq])[:8])
    fix = []
    if rest:
        numbers = " ".join(str(irq) for irq in sorted(busy))
        fix.append(f"for i in {numbers}; do echo {rest[0]} > /proc/irq/$i/smp_affinity_list; done")
        fix.append("systemctl stop irqbalance")
    return Verdict(
        "warn",
        f"{len(busy)} devices interrupt {_named(wanted)}: {sum(busy.values()):,} times since the start (irq {told})",
        "their interrupts are steered there",
        "each stops the loop for the length of its handler; see the gaps below",
        fix=tuple(fix),
        advice="" if rest else "engine.cpus that leave a processor out, and the interrupts on that one",
    )


def frequency(machine: Machine, needs: Needs) -> Verdict:
    """Whether the processors of the path hold their frequency."""
    cpus = _path_cpus(machine, needs)
    governors: dict[str, list[int]] = {}
    for cpu in cpus:
        try:
            governors.setdefault(machine.read(f"{CPU}/cpu{cpu}/cpufreq/scaling_governor"), []).append(cpu)
        except UnreadableError as error:
            if (machine.root / f"{CPU}/cpufreq".lstrip("/")).is_dir():
                return Verdict("ok", "no scaling of the frequency here: hypervisor or firmware decides", str(error))
            raise
    boost = _boost(machine)
    found = ", ".join(f"{governor} on {cpu_ranges(on)}" for governor, on in governors.items()) + boost
    if set(governors) <= {"performance"}:
        return Verdict("ok", found)
    return Verdict(
        "warn",
        found,
        "the frequency follows the load of the last milliseconds",
        "the first messages after a quiet time are worked on at a lower frequency",
        fix=(f"cpupower -c {cpu_ranges(cpus)} frequency-set -g performance",),
    )


def idle_states(machine: Machine, needs: Needs) -> Verdict:
    """How long a processor of the path takes to come back from sleep."""
    options = machine.kernel_options
    if options.get("idle") == "poll":
        return Verdict("ok", "idle=poll: a processor never sleeps")
    deepest: dict[int, tuple[int, str]] = {}
    for cpu in _path_cpus(machine, needs):
        folder = f"{CPU}/cpu{cpu}/cpuidle"
        for state in machine.names(folder):
            if machine.find(f"{folder}/{state}/disable", default="0") != "0":
                continue
            latency = machine.number(f"{folder}/{state}/latency")
            deepest[cpu] = max(deepest.get(cpu, (0, "")), (latency, machine.find(f"{folder}/{state}/name")))
    latency, name = max(deepest.values(), default=(0, "none"))
    found = f"deepest state {name}, which takes {latency} us to leave"
    if latency <= EXIT_LATENCY_US_MAX:
        return Verdict("ok", found)
    level = "warn" if needs.wait == "park" else "ok"
    spins = "" if needs.wait == "park" else "a spinning loop never idles; the kernel's own network threads do"
    return Verdict(
        level,  # type: ignore[arg-type]  # one of two literals
        found,
        spins or 'engine.wait = "park" sleeps between messages',
        "the first message after a sleep waits so long, by the processor's own word",
        effect_ns=latency * 1000,
        fix=(f"cpupower -c {cpu_ranges(_path_cpus(machine, needs))} idle-set -D {EXIT_LATENCY_US_MAX}",),
        advice="or a program that holds /dev/cpu_dma_latency open at 0",
    )


def mitigations(machine: Machine, needs: Needs) -> Verdict:
    """Which mitigations make entering the kernel dear."""
    folder = f"{CPU}/vulnerabilities"
    states = {name: machine.find(f"{folder}/{name}") for name in machine.names(folder)}
    active = sorted(name for name, state in states.items() if state.startswith("Mitigation"))
    option = machine.kernel_options.get("mitigations")
    found = f"{len(active)} active" + (f" ({', '.join(active)})" if active else "")
    if option:
        found += f"; mitigations={option}"
    dear = [name for name in active if "PTI" in states[name] or "IBRS" in states[name].replace("eIBRS", "")]
    if not dear:
        return Verdict("ok", found)
    return Verdict(
        "warn",
        found,
        f"{', '.join(dear)}: the kernel changes page tables or branch prediction at each entry",
        "each system call of the gateway and the feed costs more; its measured cost stands below",
        advice="mitigations=off on the kernel's command line, on a machine that runs nothing foreign",
    )


def virtual(machine: Machine, needs: Needs) -> Verdict:
    """Whether a hypervisor may take the processors away."""
    flags = _cpuinfo(machine, "flags").split()
    kind = machine.find("/sys/hypervisor/type") or machine.find("/sys/class/dmi/id/product_name")
    if "hypervisor" not in flags and not kind.lower().startswith(("xen", "kvm", "vmware", "virtual")):
        return Verdict("ok", "no hypervisor beneath")
    stolen, total = _stolen_ticks(machine)
    stolen_ppm = round(1e6 * stolen / total) if total else 0
    named = f" ({kind})" if kind else ""
    found = f"virtual machine{named}; {stolen_ppm / 1e4:.2f} % of all time since its start was stolen"
    return Verdict(
        "warn",
        found,
        "the hypervisor runs others on these processors when it sees fit",
        "gaps of milliseconds that nothing inside can prevent" if stolen_ppm > STOLEN_PPM_MAX else "see the gaps below",
        advice="bare metal; or virtual processors pinned and alone on theirs (virsh vcpupin), none overcommitted",
    )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("count", count),
    ("siblings", siblings),
    ("memory nodes", nodes),
    ("isolation", isolation),
    ("interrupts", interrupts),
    ("frequency", frequency),
    ("idle states", idle_states),
    ("mitigations", mitigations),
    ("hypervisor", virtual),
)


def _path_cpus(machine: Machine, needs: Needs) -> tuple[int, ...]:
    """The processors that the engine would use; every one that it may, where that cannot be told."""
    return needs.cpus or machine.cpus


def _named(cpus: set[int]) -> str:
    """ "processor 1" or "processors 1-3"."""
    return f"processor{'s' if len(cpus) > 1 else ''} {cpu_ranges(sorted(cpus))}"


def _cpuinfo(machine: Machine, key: str) -> str:
    """The first value of a key in /proc/cpuinfo; empty where there is none."""
    found = re.search(rf"^{re.escape(key)}\s*:\s*(.*)$", machine.read("/proc/cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else ""


def _list_or_empty(machine: Machine, path: str) -> set[int]:
    try:
        return machine.cpu_list(path)
    except UnreadableError:
        return set()  # a kernel without the feature has no file


def _cpus_of_option(value: str) -> set[int]:
    """ "2-3" of rcu_nocbs=2-3; other forms are left to the kernel."""
    return parse_cpu_list(value) if re.fullmatch(r"[\d,-]+", value) else set()


def _interrupt_counts(machine: Machine) -> dict[int, dict[int, int]]:
    """How often each numbered interrupt came to each processor."""
    header, *lines = machine.read("/proc/interrupts").splitlines()
    cpus = [int(word.removeprefix("CPU")) for word in header.split() if word.startswith("CPU")]
    counts = {}
    for line in lines:
        number, _, rest = line.partition(":")
        if number.strip().isdigit():
            words = rest.split()[: len(cpus)]
            counts[int(number)] = {cpu: int(word) for cpu, word in zip(cpus, words, strict=False) if word.isdigit()}
    return counts


def _boost(machine: Machine) -> str:
    turbo = machine.find(f"{CPU}/intel_pstate/no_turbo")
    boost = machine.find(f"{CPU}/cpufreq/boost") or {"0": "1", "1": "0"}.get(turbo, "")
    return {"1": ", boost on", "0": ", boost off"}.get(boost, "")


def _stolen_ticks(machine: Machine) -> tuple[int, int]:
    """Stolen and all ticks of all processors since the start, from the first line of /proc/stat."""
    words = machine.read("/proc/stat").split("\n", 1)[0].split()[1:9]
    ticks = [int(word) for word in words if word.isdigit()]
    return (ticks[7] if len(ticks) > 7 else 0), sum(ticks)
