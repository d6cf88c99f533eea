"""What the supervisor knows of Python strategies: whose seat was cut, how its process is ended, what people are told.

A strategy that raised ends by itself. One that hangs in a method is told to say where (SIGABRT: its log then has the
line), and ended.
"""

from __future__ import annotations

import re
import signal

from ffi import lib
from ffi.dtypes import enum_names
from hotpath.children import Child, describe_exit
from hotpath.engine import EngineMemory
from hotpath.topology import seat_client_segment, seat_segment

GRACE_SECONDS = 0.3  # for one that was cut off to write down why, and leave
OWN_CODE = "/hotpath/strategy"  # part of the path of the files that call a strategy's methods


def cut_reason(memory: EngineMemory, child: Child) -> str:
    """Why the engine has cut the seat of this very process; empty when it has not."""
    assert child.side is not None and child.side.seat, "the caller looked"
    page = memory.segments[seat_segment(child.side.seat)].cast("seat_page *")
    client = memory.segments[seat_client_segment(child.side.seat)].cast("seat_client_page *")
    mine = client.pid == child.process.pid and page.attach_epoch == client.attach_epoch
    if not mine or page.state != lib.SEAT_CUT_OFF:
        return ""
    return enum_names("seat_cut").get(int(page.reason), "?").removeprefix("SEAT_CUT_").lower()


def end_cut_off(child: Child) -> None:
    """End a strategy that was cut off; one that does not go by itself says first where it is."""
    if not child.wait(GRACE_SECONDS):
        child.tell(signal.SIGABRT)
        child.end(seconds=GRACE_SECONDS)


def what_happened(child: Child, reason: str) -> str:
    """ "was cut off: raised: ZeroDivisionError: division by zero (maker.py:42 in on_event)"."""
    lines = child.lines()
    said = [line for line in lines if line.startswith(f"{child.name}: ")]
    last = said[-1].removeprefix(f"{child.name}: ").removeprefix("cut off: ") if said else ""
    if reason and reason != "dead":  # of a dead one its end says more
        detail = last if reason == "raised" else where_it_was(lines)
        return f"was cut off: {reason}{f': {detail}' if detail else ''}"
    ended = describe_exit(child.process.returncode)
    return f"{ended}{f' ({last})' if last else ''}"


def notice_of(child: Child) -> str:
    """What a strategy that took its turns to the end said of being cut off; empty when it was not."""
    if child.side is None or not child.side.seat:
        return ""
    said = [line for line in child.lines() if line.startswith(f"{child.name}: cut off")]
    return f"strategy {child.name} was {said[0].removeprefix(f'{child.name}: ')}" if said else ""


def where_it_was(lines: list[str]) -> str:
    """The innermost line of the user's own code in the last traceback that SIGABRT wrote, newest call first."""
    starts = [number for number, line in enumerate(lines) if "(most recent call first)" in line]
    if not starts:
        return ""
    for line in lines[starts[-1] + 1 :]:
        found = re.match(r'File "(.*)", line (\d+) in (\w+)', line)
        if found and OWN_CODE not in found.group(1):
            return f"in {found.group(3)}, {found.group(1)}:{found.group(2)}"
    return ""
