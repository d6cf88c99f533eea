"""What people say of positions: kept in a file before anything is done about it, with who and why.

    STATE_DIR/ENGINE.adjustments      a line each: JSON, a space, SHA-256 over the hash of the line before and the JSON

An entry is asked for, and later applied to a run or refused; both are lines, and no line is ever changed. The running
engine applies a new entry at once (desk.py); else the next run does, before it is armed. The ring `adjust` and the
journal have it from then on, and the gateway gives it its place among the executions.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from ffi import lib
from ffi.dtypes import dtype_of
from hotpath.config import Config
from hotpath.errors import AdjustmentError

KINDS = {"opening": lib.ADJUST_OPENING, "corporate": lib.ADJUST_CORPORATE, "correction": lib.ADJUST_CORRECTION}
MICROS = 1_000_000
LOTS_MAX = lib.REQUEST_VALUE_MAX
MONEY_MAX = 2**62
TEXT_MAX = 1000  # bytes of who and why
GENESIS = b"0" * 64

Lots = Annotated[int, Meta(ge=-LOTS_MAX, le=LOTS_MAX)]
Money = Annotated[int, Meta(ge=-MONEY_MAX, le=MONEY_MAX)]


class Adjustment(Struct, frozen=True, kw_only=True):
    """One of them. `cost_micros`: what the lots cost, below 0 for a short position; `cash_micros`: money besides."""

    id: int
    kind: str
    symbol: str
    quantity_lots: Lots
    cost_micros: Money
    cash_micros: Money
    who: str
    why: str
    asked_ns: int
    carried_from: int = 0  # the run whose last position this is; 0: of no run


class Applied(Struct, frozen=True, kw_only=True):
    """What became of some of them: a run has them, or none will."""

    ids: tuple[int, ...]
    run_epoch: int  # 0: refused
    reason: str = ""


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of the file."""

    asked: Adjustment | None = None
    applied: Applied | None = None


def adjustments_path(config: Config) -> Path:
    """Where an engine's adjustments are kept."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.adjustments"


class AdjustmentFile:
    """The file; several processes may use it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[Line]:
        """Every line, its hash checked; one that was cut off by a death is left out. Raises AdjustmentError."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AdjustmentError(f"{self.path}: cannot be read: {error.strerror}") from None
        return self._checked(data)

    def _checked(self, data: bytes) -> list[Line]:
        found: list[Line] = []
        before = GENESIS
        for number, text in enumerate(data.split(b"\n")[:-1], start=1):  # what stands after the last newline is cut off
            content, _, told = text.rpartition(b" ")
            before = _hash(content, before)
            if told != before:
                raise AdjustmentError(f"{self.path}:{number}: changed since it was written", next_step=_TAMPERED)
            try:
                found.append(msgspec.json.decode(content, type=Line))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise AdjustmentError(f"{self.path}:{number}: {error}", next_step="it is of another release") from None
        return found

    def all(self) -> list[Adjustment]:
        """Every one that was asked for, in order."""
        return [line.asked for line in self.lines() if line.asked is not None]

    def fates(self) -> dict[int, Applied]:
        """What became of each, by id; pending ones have no entry."""
        return {each: line.applied for line in self.lines() if line.applied is not None for each in line.applied.ids}

    def pending(self) -> list[Adjustment]:
        """Those that no run has yet."""
        fates = self.fates()
        return [each for each in self.all() if each.id not in fates]

    def ask(self, entries: list[Adjustment]) -> list[Adjustment]:
        """Keep new ones, on disk when this returns; their ids are given here. All of them or none."""
        return self._append(asked=entries, applied=None)

    def mark(self, applied: Applied) -> None:
        """Keep what became of some."""
        self._append(asked=[], applied=applied)

    def _append(self, *, asked: list[Adjustment], applied: Applied | None) -> list[Adjustment]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AdjustmentError(f"{self.path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            lines = self._checked(data)
            whole = data.rfind(b"\n") + 1
            before = data[:whole].rstrip(b"\n").rpartition(b" ")[2] or GENESIS
            next_id = 1 + max((line.asked.id for line in lines if line.asked is not None), default=0)
            named = [msgspec.structs.replace(each, id=next_id + index) for index, each in enumerate(asked)]
            text = b""
            for line in [*(Line(asked=each) for each in named), *([Line(applied=applied)] if applied else [])]:
                content = msgspec.json.encode(line)
                before = _hash(content, before)
                text += content + b" " + before + b"\n"
            os.ftruncate(descriptor, whole)
            os.pwrite(descriptor, text, whole)
            os.fsync(descriptor)
            return named
        except OSError as error:
            raise AdjustmentError(f"{self.path}: cannot be written: {error.strerror}") from None
        finally:
            os.close(descriptor)


_TAMPERED = "whoever changed it must say why; put the file aside and ask for what is still to be done again"


def _hash(content: bytes, before: bytes) -> bytes:
    return hashlib.sha256(before + content).hexdigest().encode()


def new_adjustment(
    *, kind: str, symbol: str, lots: int, cost_micros: int, cash_micros: int, who: str, why: str, carried_from: int = 0
) -> Adjustment:
    """One that is not kept yet. Raises AdjustmentError for what no position can be."""
    if kind not in KINDS:
        raise AdjustmentError(f"{kind}: no kind of adjustment", next_step=f"one of: {', '.join(KINDS)}")
    if abs(lots) > LOTS_MAX or abs(cost_micros) > MONEY_MAX or abs(cash_micros) > MONEY_MAX:
        raise AdjustmentError(f"{symbol}: more than a position can be")
    if not (lots or cost_micros or cash_micros):
        raise AdjustmentError(f"{symbol}: changes nothing", next_step="say --lots, --cost or --cash")
    who, why = (" ".join(text.split()) for text in (who, why))
    if not who or not why:
        raise AdjustmentError("an adjustment needs a name and a reason", next_step="say --why, and --who if asked")
    if len(_text(who, why)) > TEXT_MAX:
        raise AdjustmentError(f"who and why together are longer than {TEXT_MAX} bytes")
    return Adjustment(
        id=0,
        kind=kind,
        symbol=symbol,
        quantity_lots=lots,
        cost_micros=cost_micros,
        cash_micros=cash_micros,
        who=who,
        why=why,
        asked_ns=time.time_ns(),
        carried_from=carried_from,
    )


def money_micros(text: str, *, key: str) -> int:
    """Decimal money as micros, exactly. Raises AdjustmentError."""
    try:
        micros = Decimal(text) * MICROS
        whole = int(micros)
    except (InvalidOperation, ValueError, OverflowError):
        raise AdjustmentError(f"{key}: {text!r} is no amount of money") from None
    if whole != micros:
        raise AdjustmentError(f"{key}: {text}: at most six decimals")
    return whole


def _text(who: str, why: str) -> bytes:
    return f"{who}\n{why}".encode()


def adjustment_events(adjustment: Adjustment, *, instrument: int, now_ns: int) -> npt.NDArray[Any]:
    """Its slots for the ring: as many as its text takes."""
    text = _text(adjustment.who, adjustment.why)
    size = lib.ADJUSTMENT_TEXT_MAX
    parts = [text[begin : begin + size] for begin in range(0, len(text), size)]
    events = np.zeros(len(parts), dtype_of("adjustment_event"))
    head = events["header"]
    head["type"] = KINDS[adjustment.kind]
    head["instrument"] = instrument
    head["origin_time_ns"] = adjustment.asked_ns
    head["ingress_time_ns"] = head["publish_time_ns"] = now_ns
    for name in ("id", "quantity_lots", "cost_micros", "cash_micros"):
        events[name] = getattr(adjustment, name)
    events["part"] = np.arange(len(parts))
    events["parts"] = len(parts)
    events["length"] = [len(part) for part in parts]
    for event, part in zip(events, parts, strict=True):
        event["text"][: len(part)] = np.frombuffer(part, np.uint8)
    return events
