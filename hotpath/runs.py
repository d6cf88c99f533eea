"""From a configuration to a run: reference data, trading day, and what earlier runs of the day used up."""

from __future__ import annotations

import dataclasses
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ffi import lib
from hotpath import captures, flows, intents, refdata
from hotpath.calendar import Calendar
from hotpath.config import Config, unisolated
from hotpath.engine import EngineSpec, make_spec
from hotpath.errors import ConfigError
from hotpath.power_loss import DayNote, order_ids_above, read_note, take_up, write_note
from hotpath.stages import intents_path

ROLLS = 8


def live_spec(config: Config, *, journal: bool = False) -> EngineSpec:
    """The spec of a run that starts now. Raises ConfigError or RefdataError."""
    reason = unisolated(config)  # again: the command line may have changed the topology
    if reason:
        raise ConfigError(f"signal.native: {reason}")
    data = load_instruments(config)
    calendar = data.calendar_named(config.engine.calendar)
    now_ns = time.time_ns()
    day = trading_day(config, calendar, now_ns)
    config = with_hours(config, calendar, day)
    spec = make_spec(
        config,
        traded_table(config, data),
        midnight_ns=calendar.midnight_ns(day),
        roll_times_ns=next_rolls(calendar, now_ns),
        journal=journal,
    )
    return after_earlier_runs(spec, day, now_ns=now_ns)


def load_instruments(config: Config) -> refdata.Refdata:
    """Reference data as configured, or else the instruments that a recorded feed itself names."""
    if config.refdata.path:
        return refdata.load_refdata(config.refdata.path)
    if config.feed.kind == "pcap":
        with captures.MappedFile(Path(config.feed.path)) as file:
            chosen = flows.feed_packets(file, config.feed.pcap_ports)
            messages = flows.flow_messages(file, chosen.packets)
            return _instruments_named(config, refdata.instruments_of_itch(messages))
    if config.feed.kind != "file":
        raise ConfigError(
            "refdata.path: a live engine needs reference data",
            next_step="make some with: hotpath refdata import CAPTURE refdata.json",
        )
    return _instruments_named(config, refdata.instruments_of_itch(captures.itch_messages(Path(config.feed.path))))


def _instruments_named(config: Config, found: list[refdata.Instrument]) -> refdata.Refdata:
    """Reference data of what a recorded feed names."""
    if not found:
        raise ConfigError(
            f"{config.feed.path}: names no instrument",
            next_step="give reference data: [refdata] path in the configuration",
        )
    return refdata.merge_instruments(None, found)


def traded_table(config: Config, data: refdata.Refdata) -> npt.NDArray[Any]:
    """The instruments, dtype ``instrument_entry``; only those in [signal] instruments are traded, if it names any.

    Those that [feed] symbols leaves out are marked: the feed passes nothing of them on.

    Raises ConfigError when the configuration names a symbol that the reference data does not have.
    """
    known = set(data.symbols())
    named = {
        "signal.instruments": config.signal.instruments,
        "risk.instruments": list(config.risk.instruments),
        "feed.symbols": config.feed.symbols,
    }
    for key, symbols in named.items():
        unknown = [symbol for symbol in symbols if symbol not in known]
        if unknown:
            raise ConfigError(f"{key}: {', '.join(unknown)}: not in the reference data")
    table = refdata.instrument_table(data)
    if config.signal.instruments:
        wanted = np.isin(table["symbol"], [symbol.encode() for symbol in config.signal.instruments])
        table["flags"][~wanted] &= ~np.uint32(lib.INSTRUMENT_TRADED)
    if config.feed.symbols:
        kept = np.isin(table["symbol"], [symbol.encode() for symbol in config.feed.symbols])
        table["flags"][~kept] &= ~np.uint32(lib.INSTRUMENT_TRADED)
        table["flags"][~kept] |= np.uint32(lib.INSTRUMENT_FILTERED)
    return table


def trading_day(config: Config, calendar: Calendar, now_ns: int) -> date:
    """The configured trading date, or the one that an instant belongs to."""
    if config.engine.trading_date != "auto":
        return date.fromisoformat(config.engine.trading_date)
    return calendar.trading_date(now_ns)


def with_hours(config: Config, calendar: Calendar, day: date) -> Config:
    """The configuration with the trading hours of `day` and the days after it, where [risk] trading_hours asks.

    Instants, from the calendar's own time zone: the journal keeps them, and a replay has the same.
    """
    if not config.risk.trading_hours:
        return config
    hours = []
    for _ in range(lib.TRADING_HOURS_MAX):
        day = calendar.business_day_from(day)
        hours.append(calendar.session_ns(day))
        day += timedelta(days=1)
    return msgspec.structs.replace(config, risk=msgspec.structs.replace(config.risk, trading_hours_ns=hours))


def next_rolls(calendar: Calendar, time_ns: int) -> tuple[int, ...]:
    """The next rolls of the trading day after an instant."""
    rolls = []
    for _ in range(ROLLS):
        time_ns = calendar.next_roll_ns(time_ns)
        rolls.append(time_ns)
    return tuple(rolls)


def after_earlier_runs(spec: EngineSpec, day: date, *, now_ns: int) -> EngineSpec:
    """The spec of a run that follows others of its day.

    The intent file remembers them: order ids go on above theirs, and since this run starts without their
    strategies' state, its strategy epoch is a new one, so that no command of it can equal one of theirs.
    A file of another day is put aside. After a power loss, see hotpath/power_loss.py.
    """
    path, number = intents_path(spec.config), day_number(day)
    _put_aside_earlier_day(path, number)
    note_path = Path(spec.config.engine.state_dir) / f"{spec.name}.day"
    at_a_venue = spec.config.gateway.kind != "paper"
    note = read_note(note_path) if at_a_venue else None
    found = take_up(path, capacity=spec.config.gateway.intents_max, trading_day=number, note=note)
    if found.found == "whole" and at_a_venue:
        _hear_what_is_not_journaled(spec.config, path, number)
    epoch, base = spec.config.signal.strategy_epoch, 0
    if found.records or found.doubtful:
        epoch, base = max(epoch, found.strategy_epoch + 1), found.last_order_id
    if found.doubtful and at_a_venue:
        base = max(base, order_ids_above(now_ns=now_ns, midnight_ns=spec.midnight_ns))
    doubt = found.reason
    if note is not None and note.trading_day == number:  # what an earlier run gave out, though no order of it is left
        epoch, base = max(epoch, note.strategy_epoch + 1), max(base, note.order_id_base)
        if not doubt and _still_adopts(path):
            doubt = "an earlier run of the day ended before the venue had told it every order"
    if at_a_venue:
        write_note(note_path, DayNote(trading_day=number, strategy_epoch=epoch, order_id_base=base))
    return dataclasses.replace(
        spec,
        order_id_base=base,
        strategy_epoch=epoch,
        trading_day=number,
        doubt=doubt if at_a_venue else "",
    )


def _still_adopts(path: Path) -> bool:
    """Whether no gateway has yet come to the end of the venue's stream with this file."""
    if not path.exists():
        return False
    with intents.read_intents(path) as file:
        return bool(file.page()["adopts"])


def _hear_what_is_not_journaled(config: Config, path: Path, day: int) -> None:
    """Ask the venue again for what runs of the day published and no journal has: an engine that was killed whole takes
    what stood in its rings with it. Without a journal of the day the rings were all there was.
    """
    from hotpath.journal import Journal, journal_root
    from hotpath.journal.format import RUN_FILE

    files = sorted(journal_root(config).glob(f"{day}-*/{RUN_FILE}"))
    if not files:
        return
    last = 0
    for file_of_run in files:
        for events in Journal(file_of_run.parent).batches("exec"):
            last = max(last, int(events["session_sequence"].max()))
    with intents.open_intents(path, capacity=config.gateway.intents_max, trading_day=day) as file:
        file.hear_from(last + 1)


def _put_aside_earlier_day(path: Path, day: int) -> None:
    """A file of another trading day than `day`, however whole, is history."""
    if not path.exists():
        return
    with intents.read_intents(path) as file:
        earlier_day = int(file.page()["trading_day"])
    if earlier_day != day:
        path.rename(path.with_name(f"{path.name}.{earlier_day}"))


def day_number(day: date) -> int:
    """yyyymmdd."""
    return day.year * 10000 + day.month * 100 + day.day


def with_engine(config: Config, **changes: object) -> Config:
    """The configuration with other [engine] values."""
    return msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, **changes))
