"""``hotpath restore``: an engine that may start again from the copy of its journal, on another disk or host.

    copy --verify, close--> journal folder of the configuration
         '-- last order id, strategy epoch --> the day's note: the next run numbers above, and takes the venue's word

The copy tells what the engine knew up to its last piece; the venue's stream, replayed from its first message, tells the
rest before the engine may be armed (docs/reconciliation.md). What the copy lacks is therefore not lost to the position,
but to the record: this says from which instant on.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from ffi import lib
from hotpath.config import Config, load_config
from hotpath.errors import JournalError
from hotpath.journal.folders import journal_root
from hotpath.journal.reader import Journal
from hotpath.journal.repair import close_at_last_good
from hotpath.journal.ship import LOCK, STATUS_FILE
from hotpath.journal.verify import verify
from hotpath.latch import latch_path, set_latch
from hotpath.ledger.carry import carry, needs_carrying, session_named
from hotpath.power_loss import DayNote
from hotpath.stages import intents_path
from hotpath.supervisor import EngineName

LIVE = ("EXEC_ACCEPTED", "EXEC_REPLACED", "EXEC_FILL", "EXEC_CANCELED", "EXEC_RESTATED")
SECOND_NS = 10**9
MEND = "hotpath journal repair --cut COPY"


class Restored(Struct):
    """What the copy held, and what the next run begins with."""

    run: str
    folder: str
    ended: bool  # the run had come to its orderly end before the copy stopped
    events: dict[str, int]
    last_event_time_ns: int
    last_order_id: int
    orders_open: int  # as of the last event; the venue's word decides
    positions_lots: dict[str, int]  # by symbol, of this run's executions; adjustments are the ledger's
    cut_bytes: int
    lost_window_seconds: float | None  # from the last event copied to the last one written here; None: cannot be told
    lost_window_seconds_max: float  # up to now
    carried_lots: dict[str, int]  # positions that the next run opens with; empty: the venue's stream alone tells them
    killed: bool  # the engine stood killed when the copy ends, after it had been armed: the next one is latched
    trouble: str = ""  # what people must do before the next run is right


def restore(copy: Path, config_path: Path, *, source: Path | None = None) -> Restored:
    """Put the copy of a run where the configuration's engine keeps its journals, and note what it gave out.

    `source`: what is left of the original, to say what the copy lacks. Raises JournalError when the copy is damaged or
    another day's file is in the way, HeldError when the engine runs.
    """
    config = load_config(config_path)
    verdict = verify(copy)
    if verdict.damaged:
        worst = next(finding for finding in verdict.findings if not finding.torn)
        raise JournalError(
            f"{copy}: damaged: {worst.file}: {worst.what}", next_step="hotpath journal repair --cut COPY"
        )
    refuse_growing(copy)
    with EngineName(config):
        return _restore(copy, config, ended=verdict.ended, source=source)


def _restore(copy: Path, config: Config, *, ended: bool, source: Path | None) -> Restored:
    if intents_path(config).exists():
        raise JournalError(
            f"{intents_path(config)}: this engine has orders of its own here",
            next_step="restore where there are none, or move that file away if it is history",
        )
    target = journal_root(config) / copy.name
    if target.resolve() != copy.resolve():
        if target.exists():
            raise JournalError(f"{target}: is there already")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copytree(copy, target, ignore=shutil.ignore_patterns(LOCK, STATUS_FILE))
    cut = 0
    if not ended:
        cut = sum(ring.cut_bytes for ring in close_at_last_good(target).values())
    journal = Journal(target)
    note = _note(journal)
    path = Path(config.engine.state_dir) / f"{config.engine.name}.day"
    draft = path.with_name(f"{path.name}.draft")
    with draft.open("wb") as file:
        file.write(msgspec.json.encode(note))
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, path)
    last_ns = last_time_ns(journal)
    carried, trouble = _carry(config, journal, session=note.session)
    killed = not ended and was_killed(journal)
    if killed:
        set_latch(latch_path(config), reason=f"the copied run {copy.name} stood killed at its end", epoch=0)
    return Restored(
        run=copy.name,
        folder=str(target),
        ended=ended,
        events={ring: journal.count(ring) for ring in journal.rings},
        last_event_time_ns=last_ns,
        last_order_id=note.order_id_base,
        orders_open=_open_orders(journal),
        positions_lots=_positions(journal),
        cut_bytes=cut,
        lost_window_seconds=(last_time_ns(Journal(source)) - last_ns) / SECOND_NS if source is not None else None,
        lost_window_seconds_max=0.0 if ended else max(0, time.time_ns() - last_ns) / SECOND_NS,
        carried_lots=carried,
        killed=killed,
        trouble=trouble,
    )


def _carry(config: Config, journal: Journal, *, session: str) -> tuple[dict[str, int], str]:
    """What the copied run held, as opening positions of the next, where the venue's day does not tell all of it."""
    if not needs_carrying(journal):
        return {}, ""
    if not session and config.gateway.kind != "paper":
        return (
            {},
            "it was told of positions, and no session of the venue: state what it opened with: hotpath adjust add",
        )
    carried = carry(
        config, journal.folder, who="hotpath restore", why=f"held at the end of the copy of {journal.folder.name}"
    )
    return {each.symbol: each.quantity_lots for each in carried}, ""


def was_killed(journal: Journal) -> bool:
    """Whether a run that was cut off had been killed, by whomever, after it had been armed."""
    killed = journal.events("risk.ctl")["killed"]
    return bool(len(killed)) and bool(killed[-1]) and not killed.all()


def refuse_growing(copy: Path) -> None:
    """Raise JournalError while a shipper still writes this copy."""
    if not (copy / LOCK).exists():
        return
    with (copy / LOCK).open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            raise JournalError(f"{copy}: a shipper still writes it", next_step="stop the engine there first") from None


def last_time_ns(journal: Journal) -> int:
    """When the last event of any ring was published; 0 where there is none."""
    last = 0
    for ring in journal.rings:
        events = journal.events(ring, journal.next(ring) - 1)
        last = max(last, int(events["header"]["publish_time_ns"][-1]) if len(events) else 0)
    return last


def _note(journal: Journal) -> DayNote:
    """What the next run of the day must number above."""
    highest = journal.run.order_id_base
    for commands in journal.batches("cmd"):
        highest = max(highest, int(commands["order_id"].max()))
    return DayNote(
        trading_day=journal.run.trading_day,
        strategy_epoch=journal.run.strategy_epoch,
        order_id_base=highest,
        session=session_named(journal).decode(errors="replace"),
    )


def _open_orders(journal: Journal) -> int:
    """Orders whose last execution leaves something."""
    leaves: dict[int, int] = {}
    for events in journal.batches("exec"):
        alive = np.isin(events["header"]["type"], [getattr(lib, name) for name in LIVE])
        for event in events[alive]:
            leaves[int(event["order_id"])] = int(event["leaves_lots"])
            if event["header"]["type"] == lib.EXEC_REPLACED:
                leaves[int(event["target_order_id"])] = 0
    return sum(left > 0 for left in leaves.values())


def _positions(journal: Journal) -> dict[str, int]:
    """Fills less those broken."""
    lots = np.zeros(len(journal.instruments), np.int64)
    for events in journal.batches("exec"):
        for kind, sign in ((lib.EXEC_FILL, 1), (lib.EXEC_BROKEN, -1)):
            chosen = events[events["header"]["type"] == kind]
            signed = np.where(chosen["side"] == lib.SIDE_SELL, -sign, sign) * chosen["quantity_lots"]
            np.add.at(lots, chosen["header"]["instrument"], signed)
    return {journal.instruments[index]["symbol"].decode(): int(lots[index]) for index in np.flatnonzero(lots)}


def restored_text(found: Restored, config_path: Path) -> str:
    """For people, with the next step."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.last_event_time_ns // SECOND_NS))
    moment += f".{found.last_event_time_ns // 1_000_000 % 1000:03d}"
    positions = ", ".join(f"{symbol} {lots:+,}" for symbol, lots in found.positions_lots.items()) or "none"
    lines = [
        f"{found.folder}: {sum(found.events.values()):,} events, verified"
        + ("" if found.ended else ", closed at the last good record"),
        f"  last event {moment}, last order id {found.last_order_id:,}",
        f"  open then: {found.orders_open:,} orders; positions: {positions}",
    ]
    if found.carried_lots:
        carried = ", ".join(f"{symbol} {lots:+,}" for symbol, lots in found.carried_lots.items())
        lines.append(f"  the next run opens with {carried}, and hears from the venue what came after the last event")
    if found.trouble:
        lines.append(f"  NOT carried over: {found.trouble}")
    if found.ended:
        lines.append("  the run had ended in order: nothing is missing")
    elif found.lost_window_seconds is None:
        lines.append(
            "  lost to the record: what came after the last event, at most the "
            f"{found.lost_window_seconds_max:.1f} s until now; the venue tells orders and fills"
        )
    else:
        lines.append(
            f"  lost to the record: the last {found.lost_window_seconds:.3f} s; the venue tells orders and fills"
        )
    clear = ""
    if found.killed:
        lines.append("  the engine stood killed when the copy ends, and stays so until somebody accepts it")
        clear = ' --clear-kill "reason"'
    lines.append(f"next: hotpath run {config_path} --arm{clear}   (it takes the venue's word before it trades)")
    return "\n".join(lines)
