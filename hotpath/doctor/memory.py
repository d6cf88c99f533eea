"""Memory: whether the engine's segments fit, stay, and lie on pages that are cheap to reach."""

from __future__ import annotations

from hotpath.doctor.findings import Check, Verdict
from hotpath.doctor.machine import UNLIMITED, Machine, UnreadableError
from hotpath.doctor.needs import Needs

THP = "/sys/kernel/mm/transparent_hugepage"
MEGABYTE = 1 << 20


def shared_memory(machine: Machine, needs: Needs) -> Verdict:
    """Whether /dev/shm has room for the engine's segments."""
    if machine.shm_bytes is None:
        raise UnreadableError(f"statvfs /dev/shm: {machine.refusals.get('shm', 'no answer')}")
    size, free = machine.shm_bytes
    found = f"/dev/shm has {_mb(free)} free of {_mb(size)}; the engine asks for {_mb(needs.shm_bytes)}"
    if free >= needs.shm_bytes:
        return Verdict("ok", found)
    wanted = (size - free + 2 * needs.shm_bytes) // MEGABYTE + 1
    return Verdict(
        "bad",
        found,
        "segments are allocated whole at the start, so that no later store can fail",
        "the engine does not start",
        fix=(f"mount -o remount,size={wanted}M /dev/shm",),
        advice="in a container: --shm-size; or smaller [rings]",
    )


def available(machine: Machine, needs: Needs) -> Verdict:
    """Whether the machine has the memory at all."""
    meminfo = _meminfo(machine)
    free = meminfo.get("MemAvailable", 0) * 1024
    wanted = needs.locked_bytes or needs.shm_bytes
    found = f"{_mb(free)} available; a process of the path uses up to {_mb(wanted)}"
    if free >= wanted * 2:
        return Verdict("ok", found)
    return Verdict(
        "bad" if free < wanted else "warn",
        found,
        "",
        "pages are taken from others, or the kernel ends a process",
        advice="smaller [rings], feed.orders_max and gateway.intents_max, or more memory",
    )


def locks(machine: Machine, needs: Needs) -> Verdict:
    """Whether the engine may keep its memory from being swapped out."""
    limit = machine.limit("memlock")
    if not needs.locked_bytes:
        return Verdict("ok", "engine.lock_memory = false: nothing is locked")
    if limit == UNLIMITED:
        return Verdict("ok", "memory may be locked without limit")
    found = f"{_mb(limit)} may be locked; a process of the path maps up to {_mb(needs.locked_bytes)}"
    if limit >= needs.locked_bytes:
        return Verdict("ok", found)
    return Verdict(
        "warn",
        found,
        "the limit RLIMIT_MEMLOCK, and no capability CAP_IPC_LOCK",
        "a page that was swapped out costs a read from disk when it is next touched",
        fix=("ulimit -l unlimited",),
        advice="as a service: LimitMEMLOCK=infinity; for a user: 'memlock unlimited' in /etc/security/limits.d",
    )


def swap(machine: Machine, needs: Needs) -> Verdict:
    """Whether there is anywhere to swap to."""
    devices = machine.read("/proc/swaps").splitlines()[1:]
    if not devices:
        return Verdict("ok", "none")
    swappiness = machine.find("/proc/sys/vm/swappiness", default="?")
    found = f"{len(devices)} in use: {', '.join(line.split()[0] for line in devices)}; vm.swappiness {swappiness}"
    locked = (
        bool(needs.locked_bytes) and _limit_or_zero(machine) == UNLIMITED
    )  # under a limit, only what is mapped early
    return Verdict(
        "ok" if locked else "warn",
        found,
        "" if locked else "the engine's memory is not all locked",
        "pages of the path may be swapped out in a quiet hour, and come back by a read from disk",
        fix=() if locked else ("swapoff -a",),
    )


def huge_pages(machine: Machine, needs: Needs) -> Verdict:
    """Whether private memory (book, features, tables) gets the huge pages it asks for."""
    state = machine.chosen(f"{THP}/enabled")
    if state in ("always", "madvise"):
        return Verdict("ok", f"transparent huge pages: {state}")
    return Verdict(
        "warn",
        f"transparent huge pages: {state}",
        "the book and the tables ask for them with madvise",
        "a book that is larger than what small pages of the TLB reach misses it on most messages",
        fix=(f"echo madvise > {THP}/enabled",),
    )


def huge_shared_pages(machine: Machine, needs: Needs) -> Verdict:
    """What pages the rings lie on. They are walked in order, a page after the other, so small ones cost little."""
    state = machine.chosen(f"{THP}/shmem_enabled")
    mount = next((line for line in machine.find("/proc/self/mounts").splitlines() if " /dev/shm " in line), "")
    option = next((word for word in mount.split(" ")[3:4] for word in word.split(",") if word.startswith("huge=")), "")
    return Verdict(
        "ok", f"/dev/shm: {option or 'huge=never'}, kernel: {state}; rings are walked in order and ask for none"
    )


def defragmentation(machine: Machine, needs: Needs) -> Verdict:
    """Whether the kernel moves pages of a running process about."""
    balancing = machine.find("/proc/sys/kernel/numa_balancing", default="0")
    same_page = machine.find("/sys/kernel/mm/ksm/run", default="0")
    found = f"kernel.numa_balancing {balancing}, same-page merging {same_page}"
    fix = []
    if balancing != "0":
        fix.append("sysctl -w kernel.numa_balancing=0")
    if same_page == "1":
        fix.append("echo 0 > /sys/kernel/mm/ksm/run")
    if not fix:
        return Verdict("ok", found)
    return Verdict(
        "warn",
        found,
        "the kernel unmaps pages to see who uses them, or to share equal ones",
        "a page fault where there should be none",
        fix=tuple(fix),
    )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("shared memory", shared_memory),
    ("available", available),
    ("locks", locks),
    ("swap", swap),
    ("huge pages", huge_pages),
    ("huge pages, shared", huge_shared_pages),
    ("page moving", defragmentation),
)


def _meminfo(machine: Machine) -> dict[str, int]:
    """/proc/meminfo in KiB."""
    found = {}
    for line in machine.read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found


def _limit_or_zero(machine: Machine) -> int:
    try:
        return machine.limit("memlock")
    except UnreadableError:
        return 0


def _mb(size: int) -> str:
    """A size for people."""
    return f"{size / (1 << 30):,.1f} GB" if size >= 10 << 30 else f"{size / MEGABYTE:,.0f} MB"
