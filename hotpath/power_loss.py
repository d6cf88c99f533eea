"""What a power loss leaves of an engine's day, and what is made of it before the next run.

    intent file       of this boot         as it is: stores survive processes
                      of another boot,     durability = "power": the records up to the first that is not whole;
                                           every order that left is among them
                                           else set aside: pages may be missing anywhere. The venue's stream,
                                           replayed from its first message into a new file, is the truth
                      not there            the same, where the day's note says that there was one

Beside the intent file lies the day's note, on disk before the run's first order: trading day, and the strategy
epoch and order ids that the run began with. With it a run that finds nothing else gives out neither again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ffi import ffi, lib
from ffi.dtypes import dtype_of
from hotpath.intents import RECORDS_OFFSET, IntentFile, open_intents, read_intents
from hotpath.segments import HEADER_SIZE, boot_id

ORDER_IDS_PER_MS = (
    10_000  # more signals than any run makes: ids from the time of day are above every id given out before
)
NS_PER_MS = 1_000_000


class DayNote(Struct, frozen=True):
    """What a run began with. On disk before its first order."""

    trading_day: int
    strategy_epoch: int
    order_id_base: int
    session: str = ""  # of the venue, where no intent file names it (hotpath restore); empty: nobody knows


@dataclass(frozen=True)
class Aftermath:
    """What was found of earlier runs of the day, and what was done about it."""

    found: Literal["nothing", "whole", "kept", "set aside", "lost"]
    reason: str = ""  # why the venue must be asked before the engine may be armed; empty: it need not
    records: int = 0  # kept
    torn: int = 0  # not whole: they never left, or it cannot be told
    last_order_id: int = 0  # seen anywhere
    last_user_ref: int = 0
    strategy_epoch: int = -1  # seen anywhere; -1: none
    session: bytes = b""  # that the gateway was in; empty where it cannot be told

    @property
    def doubtful(self) -> bool:
        """Orders may have left of which nothing here tells, or the fate of some is not known."""
        return self.found in ("kept", "set aside", "lost")


def look_back(path: Path, *, trading_day: int, note: DayNote | None) -> Aftermath:
    """Examine the intent file of the day, and make it one that a gateway can open, or set it aside.

    Raises IntentsError when it cannot be read: its head was on disk before its first use, so that is no power loss.
    """
    if not path.exists():
        if note is None or note.trading_day != trading_day:
            return Aftermath("nothing")
        reason = "the day's intent file is gone, and an engine of this name traded today"
        return Aftermath(
            "lost",
            reason,
            strategy_epoch=note.strategy_epoch,
            last_order_id=note.order_id_base,
            session=note.session.encode(),
        )
    with read_intents(path) as file:
        same_boot, page, every = file.same_boot, file.page(), all_records(file)
        if int(page["trading_day"]) != trading_day or same_boot:
            return _whole(every)
    if int(page["promise"]) == lib.INTENT_PROMISE_POWER:
        return _keep(path, every)
    reason = "the machine went down: pages of the intent file may be missing"
    return _set_aside(path, _seen(every, "set aside", reason), note, session=bytes(page["session"]))


def take_up(path: Path, *, capacity: int, trading_day: int, note: DayNote | None) -> Aftermath:
    """Look back, and where nothing can be kept begin a file into which the venue's orders are entered."""
    found = look_back(path, trading_day=trading_day, note=note)
    if found.found in ("set aside", "lost"):
        with open_intents(path, capacity=capacity, trading_day=trading_day) as file:
            file.number_from(user_ref=found.last_user_ref + 1, session=found.session)
            file.sync()
    return found


def order_ids_above(*, now_ns: int, midnight_ns: int) -> int:
    """An order id above every one that a run of this trading day can have given out until now."""
    return max(0, now_ns - midnight_ns) // NS_PER_MS * ORDER_IDS_PER_MS


def all_records(file: IntentFile) -> npt.NDArray[Any]:
    """A copy of every place of the file, stored or not."""
    return np.frombuffer(file.mapping, dtype_of("intent_record"), file.capacity, RECORDS_OFFSET).copy()


def whole_records(every: npt.NDArray[Any]) -> int:
    """How many records from the first on are stamped in order and equal their checksums."""
    memory = np.ascontiguousarray(every)
    record = ffi.cast("intent_record *", ffi.from_buffer(memory))
    for index in range(len(memory)):
        each = record[index]
        if each.stamp != index + 1 or each.checksum != lib.intent_checksum(ffi.addressof(each)):
            return index
    return len(memory)


def _whole(every: npt.NDArray[Any]) -> Aftermath:
    stored = every[: int(np.count_nonzero(every["stamp"]))]
    return _seen(stored, "whole", "")


def _seen(every: npt.NDArray[Any], found: Literal["whole", "set aside"], reason: str) -> Aftermath:
    """The highest of each number. A page that was lost holds zeros or an earlier state, never noise."""
    stamped = int(np.count_nonzero(every["stamp"]))
    if not stamped:
        return Aftermath(found, reason)
    return Aftermath(
        found,
        reason,
        records=stamped if found == "whole" else 0,
        torn=0 if found == "whole" else stamped,
        last_order_id=int(every["order_id"].max()),
        last_user_ref=int(every["user_ref"].max()),
        strategy_epoch=int(every["id"]["strategy_epoch"].max()),
    )


def _keep(path: Path, every: npt.NDArray[Any]) -> Aftermath:
    """A file for this boot with the records that are whole. The rest never left: it was not on disk when it might."""
    count = whole_records(every)
    stamped = int(np.count_nonzero(every["stamp"]))
    draft = path.with_name(f"{path.name}.draft")
    image = bytearray(path.read_bytes())
    header = np.frombuffer(image, dtype_of("segment_header"), 1)
    header["boot_id"] = np.frombuffer(boot_id(), np.uint8)
    records = np.frombuffer(image, dtype_of("intent_record"), len(every), RECORDS_OFFSET)
    records[count:] = np.zeros(1, records.dtype)
    page = np.frombuffer(image, dtype_of("intent_page"), 1, HEADER_SIZE)
    page["count"] = count
    page["next_user_ref"] = int(records["user_ref"][:count].max(initial=0)) + 1
    page["adopts"] = 0  # nothing left that is not here: an order that the venue tells of all the same is not believed
    page["next_expected_sequence"] = 1  # what was published went down with the machine
    write_durably(draft, bytes(image))
    draft.rename(path)
    sync_folder(path.parent)
    kept = _seen(records[:count], "whole", "")
    reason = f"the machine went down: the fate of what {count} intents sent is the venue's to tell"
    return Aftermath(
        "kept",
        reason,
        records=count,
        torn=stamped - count,
        last_order_id=kept.last_order_id,
        last_user_ref=kept.last_user_ref,
        strategy_epoch=kept.strategy_epoch,
    )


def _set_aside(path: Path, seen: Aftermath, note: DayNote | None, *, session: bytes) -> Aftermath:
    number = 1
    while (aside := path.with_name(f"{path.name}.lost-{number}")).exists():
        number += 1
    path.rename(aside)
    sync_folder(path.parent)
    epoch = max(seen.strategy_epoch, note.strategy_epoch if note else -1)
    last_order_id = max(seen.last_order_id, note.order_id_base if note else 0)
    return Aftermath(
        "set aside",
        f"{seen.reason} (kept as {aside.name})",
        torn=seen.torn,
        last_order_id=last_order_id,
        last_user_ref=seen.last_user_ref,
        strategy_epoch=epoch,
        session=session,
    )


# ---- the day's note --------------------------------------------------------------------------------


def read_note(path: Path) -> DayNote | None:
    """What the last run began with; None when there is no note that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=DayNote)
    except (OSError, msgspec.MsgspecError):
        return None


def write_note(path: Path, note: DayNote) -> None:
    """On disk when this returns. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    write_durably(draft, msgspec.json.encode(note))
    draft.rename(path)
    sync_folder(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """The bytes on disk, for this user alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """A name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
