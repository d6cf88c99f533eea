"""The network: room for a burst of datagrams, and signs that some were dropped."""

from __future__ import annotations

from hotpath.doctor.findings import Check, Verdict
from hotpath.doctor.machine import Machine
from hotpath.doctor.needs import Needs

CORE = "/proc/sys/net/core"
KILOBYTE = 1024


def receive_buffer(machine: Machine, needs: Needs) -> Verdict:
    """Whether a socket gets the buffer that the feed asks for."""
    if not needs.receive_buffer_bytes:
        return Verdict("ok", "the feed receives no datagrams")
    limit = machine.number(f"{CORE}/rmem_max")
    wanted = needs.receive_buffer_bytes
    found = f"net.core.rmem_max {limit // KILOBYTE:,} KB; the feed asks for {wanted // KILOBYTE:,} KB"
    if limit >= wanted:
        return Verdict("ok", found)
    return Verdict(
        "warn",
        found,
        "the kernel silently gives no more than this",
        f"a burst of more than {limit // KILOBYTE:,} KB while the feed is held up is a gap",
        fix=(f"sysctl -w net.core.rmem_max={wanted}",),
    )


def dropped(machine: Machine, needs: Needs) -> Verdict:
    """Whether datagrams were dropped since the machine started."""
    lines = [line.split() for line in machine.read("/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    udp = dict(zip(lines[0][1:], map(int, lines[1][1:]), strict=False)) if len(lines) == 2 else {}
    full = udp.get("RcvbufErrors", 0)
    backlog = 0
    for line in machine.find("/proc/net/softnet_stat").splitlines():
        words = line.split()
        backlog += int(words[1], 16) if len(words) > 1 else 0
    received = udp.get("InDatagrams", 0)
    found = f"{received:,} received since the start; {full:,} dropped by full sockets, {backlog:,} by full backlogs"
    if not full and not backlog:
        return Verdict("ok", found)
    fix = []
    if full:
        fix.append(f"sysctl -w net.core.rmem_max={needs.receive_buffer_bytes or 16 << 20}")
    if backlog:
        now = machine.find(f"{CORE}/netdev_max_backlog", default="1000")
        fix.append(f"sysctl -w net.core.netdev_max_backlog={max(10_000, 4 * int(now) if now.isdigit() else 0)}")
    return Verdict(
        "warn",
        found,
        "some reader was too slow, or its buffer too small; not necessarily this engine",
        "each is a gap that has to be requested again",
        fix=tuple(fix),
    )


def busy_polling(machine: Machine, needs: Needs) -> Verdict:
    """Whether a socket's reader fetches packets from the card itself."""
    poll, read = machine.number(f"{CORE}/busy_poll"), machine.number(f"{CORE}/busy_read")
    found = f"net.core.busy_poll {poll} us, busy_read {read} us"
    if not needs.over_network or read:
        return Verdict("ok", found)
    return Verdict(
        "warn",
        found,
        "a packet waits for the card's interrupt and the kernel's network thread",
        "on every message from the wire; how much depends on the card",
        fix=("sysctl -w net.core.busy_read=50 net.core.busy_poll=50",),
    )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("receive buffer", receive_buffer),
    ("datagrams", dropped),
    ("busy polling", busy_polling),
)
