"""Files by which the keeper and the units of one engine agree on who runs what. All lie in the room, below /run.

ROOM/PROCESS.ticket   the keeper: start, with this command
ROOM/PROCESS.taken    the unit: process so and so has it
ROOM/PROCESS.ended    the unit's ExecStopPost: "exited 70" or "killed KILL"
ROOM/keeper.pid       the keeper: whom to tell that the engine shall stop
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
from msgspec import Struct

from hotpath.errors import StageError

PACKAGES = ("hotpath.", "hotctl.")  # whose modules a ticket may name
TEXT_BYTES_MAX = 64


class Ticket(Struct, frozen=True, forbid_unknown_fields=True):
    """One start of one process."""

    number: int  # of this process, from 1
    command: tuple[str, ...]  # of ``python -m``
    without: tuple[str, ...] = ()  # variables of the environment that are none of its business
    announces: bool = True  # it says itself when it is ready


class Taken(Struct, frozen=True, forbid_unknown_fields=True):
    """Who has a ticket."""

    number: int
    pid: int


def give(room: Path, process: str, ticket: Ticket) -> None:
    """Have a process started. What its predecessor left is removed. Raises OSError."""
    for left in ("ticket", "taken", "ended"):
        (room / f"{process}.{left}").unlink(missing_ok=True)
    _write(room / f"{process}.ticket", msgspec.json.encode(ticket))


def withdraw(room: Path, process: str) -> bool:
    """Take a ticket back; False when somebody has it already, or there is none."""
    try:
        (room / f"{process}.ticket").unlink()
    except FileNotFoundError:
        return False
    return True


def take(room: Path, process: str) -> Ticket | None:
    """Take the ticket that waits for this process, if there is one. Raises StageError when it is no such thing."""
    mine = room / f"{process}.claimed"
    try:
        os.rename(room / f"{process}.ticket", mine)
    except FileNotFoundError:
        return None
    try:
        ticket = msgspec.json.decode(mine.read_bytes(), type=Ticket)
    except msgspec.MsgspecError as error:
        raise StageError(f"{mine}: no ticket can be read from it: {error}") from None
    if not ticket.command or not ticket.command[0].startswith(PACKAGES):
        raise StageError(f"{mine}: names a module of neither {' nor '.join(PACKAGES)}")
    _write(room / f"{process}.taken", msgspec.json.encode(Taken(ticket.number, os.getpid())))
    return ticket


def taker(room: Path, process: str, number: int) -> int | None:
    """Process id of who has ticket `number`; None while nobody has."""
    try:
        taken = msgspec.json.decode((room / f"{process}.taken").read_bytes(), type=Taken)
    except (OSError, msgspec.MsgspecError):
        return None
    return taken.pid if taken.number == number else None


def ended(room: Path, process: str) -> int | None:
    """How a process ended, as subprocess tells it (below 0: the signal); None while the unit has not said."""
    try:
        with (room / f"{process}.ended").open("rb") as file:
            text = file.read(TEXT_BYTES_MAX).decode(errors="replace")
    except OSError:
        return None
    code, _, status = text.strip().partition(" ")
    if not text.endswith("\n"):
        return None
    if code == "exited" and status.isdigit():
        return int(status)
    try:
        return -int(signal.Signals[f"SIG{status}"])
    except KeyError:
        return -int(signal.SIGKILL)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(content)
    os.rename(draft, path)
