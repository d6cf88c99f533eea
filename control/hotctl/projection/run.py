"""The projection of one run: from the journal's rings into the tables, a transaction at a time.

    offsets (compare and swap) -> marks -> executions, adjustments, orders, audit trail -> signals -> turn records
                               -> positions -> a snapshot when one is due -> commit

What is in the database is a function of the offsets that stand beside it in the same transaction. Whatever fails, the
state here is thrown away and read back from there; a second projector finds the offsets moved and does the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Connection, Table, select, update

from ffi import lib
from ffi.dtypes import dtype_of
from hotctl.errors import ProjectionError
from hotctl.projection import tables
from hotctl.projection.database import SQLITE_PARAMETERS, insert_rows, upsert_rows
from hotctl.projection.orders import OrderFold
from hotctl.projection.rows import (
    Events,
    Names,
    Row,
    clean_text,
    cmd_trail,
    enum_word,
    event_name,
    exec_trail,
    execution_row,
    signal_rows,
    valued_columns,
)
from hotpath.config import Config, ProjectionConfig
from hotpath.errors import JournalError
from hotpath.journal import Journal
from hotpath.journal.format import event_type
from hotpath.ledger import Execution, FeeBook, Ledger, Marks, Position
from hotpath.limits.versions import FIRST, LimitVersions

RINGS = ("adjust", "exec", "cmd", "reject", "signal", "risk.ctl", "signal.ctl", "norm")
TIMED = ("exec", "norm")  # what a snapshot is made of
NORM_BATCHES = 25  # market events are many and cheap: they leave prices alone
NORM_SECONDS = 1.0  # between two looks at prices
MINUTE_NS = 60 * 10**9
LATE_NS = 5 * 10**9  # after which a ring that is silent has nothing more from before a snapshot


class OffsetsMovedError(Exception):
    """Another projector was here, or a commit came through that was thought lost."""


@dataclass
class Plan:
    """What one transaction takes: sequences from and up to, exclusive, of each ring."""

    begin: dict[str, int] = field(default_factory=dict)
    end: dict[str, int] = field(default_factory=dict)
    events: dict[str, Events] = field(default_factory=dict)
    sequences: dict[str, list[int]] = field(default_factory=dict)
    snapshot: bool = False
    complete: bool = False

    @property
    def count(self) -> int:
        """Events in it, the lost ones not counted."""
        return sum(len(events) for events in self.events.values())


class RunProjection:
    """One run's journal and what the database holds of it."""

    def __init__(self, journal: Journal, config: ProjectionConfig, *, final: bool = False) -> None:
        """`final`: nothing more will come, though the journal did not end in order."""
        self.journal = journal
        self.run_epoch = int(journal.run.run_epoch)
        self.final = final
        self._config = config
        self._period_ns = config.snapshot_minutes * MINUTE_NS
        self._names = Names(self.run_epoch, journal.instruments)
        self._looked_at_prices = 0.0
        self.complete = False
        self.offsets: dict[str, int] = {}
        self._reset()

    def _reset(self) -> None:
        self._ledger = Ledger(self._names.tick_values, FeeBook(self.journal.run.config.fees))
        self._marks = Marks(len(self._names.tick_values))
        self._orders = OrderFold(self._names)
        self._times: dict[int, tuple[int, int, int]] = {}  # of executions: time, origin, price as it was told
        self._due_ns = 0
        self._risk: tuple[Any, ...] | None = None
        self._model: tuple[Any, ...] | None = None
        self._limits = LimitVersions(self.journal)

    # ---- what the database has -----------------------------------------------------------------------

    def load(self, connection: Connection) -> None:
        """Begin the run there, or take up what is there."""
        self._reset()
        known = (
            connection.execute(select(tables.runs).where(tables.runs.c.run_epoch == self.run_epoch)).mappings().first()
        )
        if known is None:
            self._begin(connection)
            return
        self.complete = bool(known["complete"])
        self._due_ns = int(known["snapshot_due_ns"])
        offsets = tables.projection_offsets
        found = connection.execute(
            select(offsets.c.ring, offsets.c.next_sequence).where(offsets.c.run_epoch == self.run_epoch)
        )
        self.offsets = {ring: int(sequence) for ring, sequence in found}
        self._load_ledger(connection, session=int(known["session"]), number=int(known["session_sequence"]))
        mark_rows = self._of_run(connection, tables.marks, "instrument")
        for _, instrument, bid, ask, trade in mark_rows:
            self._marks.set(instrument, bid_ticks=bid, ask_ticks=ask, trade_ticks=trade)
        risk = self._of_run(connection, tables.risk_state, "turn")
        self._risk = tuple(risk[-1][3:]) if risk else None
        models = self._of_run(connection, tables.model_versions, "turn")
        self._model = tuple(models[-1][3:5]) if models else None

    def _of_run(self, connection: Connection, table: Table, order: str) -> list[Any]:
        return list(
            connection.execute(select(table).where(table.c.run_epoch == self.run_epoch).order_by(table.c[order]))
        )

    def _begin(self, connection: Connection) -> None:
        run = self.journal.run
        config = run.config
        self._due_ns = (self.run_epoch // self._period_ns + 1) * self._period_ns
        engine = config.engine
        row = (
            self.run_epoch, engine.name, run.trading_day, str(self.journal.folder), engine.topology,
            config.gateway.kind, run.order_id_base, 0, 0, self._due_ns, False,
        )  # fmt: skip
        insert_rows(connection, tables.runs, [row])
        self.offsets = dict.fromkeys(RINGS, 0)
        insert_rows(connection, tables.projection_offsets, [(self.run_epoch, ring, 0, 0) for ring in RINGS])
        instruments = self.journal.instruments
        insert_rows(
            connection,
            tables.instruments,
            [
                (self.run_epoch, index, self._names.symbol(index), clean_text(currency), value)
                for index, (currency, value) in enumerate(
                    zip(instruments["currency"].tolist(), self._names.tick_values, strict=True)
                )
            ],
        )

    def _load_ledger(self, connection: Connection, *, session: int, number: int) -> None:
        """The ledger is the fold of what the tables say was executed and adjusted."""
        entries: list[Execution] = []
        venues = {enum_word("venue_kind", "VENUE_", kind): kind for kind in range(8)}
        for row in self._of_run(connection, tables.executions, "exec_sequence"):
            lots = -row.quantity_lots if row.side == "sell" else row.quantity_lots
            entry = Execution(
                row.exec_sequence, row.instrument, lots, row.price_ticks, row.order_id, int(row.match_id),
                venues.get(row.venue, 0), ord(row.liquidity or "\0"), broken=row.state == "broken",
            )  # fmt: skip
            self._times[entry.sequence] = (row.time_ns, row.origin_ns, row.price_ticks_told)
            entries.append(entry)
        for row in self._of_run(connection, tables.adjustments, "exec_sequence"):
            entries.append(
                Execution(
                    row.exec_sequence,
                    row.instrument,
                    row.quantity_lots,
                    0,
                    match_id=row.id,
                    adjusted=True,
                    cost_micros=row.cost_micros,
                    cash_micros=row.cash_micros,
                )
            )
        entries.sort(key=lambda entry: entry.sequence)
        self._ledger.restore(entries, session=session, session_sequence=number)

    # ---- what a transaction takes ----------------------------------------------------------------------

    def plan(self) -> Plan:
        """Look at the journal. Raises ProjectionError when the database is ahead of it."""
        self.journal.refresh()
        over = self.journal.ended or self.final
        plan = Plan()
        whole = True
        for ring in RINGS:
            begin, after = self.offsets[ring], self.journal.next(ring)
            if after < begin:
                raise ProjectionError(
                    f"run {self.run_epoch}: the journal has {after} events of ring {ring}, the database {begin}: "
                    "a loss of power took the journal's last ones",
                    next_step="make the tables anew from what is left: hotctl projection rebuild CONFIG",
                )
            batch = self._config.batch_events * (NORM_BATCHES if ring == "norm" else 1)
            end = min(after, begin + batch)
            whole &= end == after
            plan.begin[ring], plan.end[ring] = begin, end
        self._hold_prices(plan, over=over and whole)
        self._await_adjustments(plan, over=over)
        self._await_limits(plan, over=over)
        self._stop_at_snapshot(plan, over=over)
        for ring in RINGS:
            self._read(plan, ring)
        reached = all(plan.end[ring] == self.journal.next(ring) for ring in RINGS)
        plan.complete = over and reached and not plan.snapshot
        return plan

    def _read(self, plan: Plan, ring: str) -> None:
        begin, end = plan.begin[ring], plan.end[ring]
        plan.events[ring] = (
            self.journal.events(ring, begin, end) if end > begin else np.empty(0, dtype_of(event_type(ring)))
        )
        plan.sequences[ring] = self.journal.sequences(ring, begin, end).tolist() if end > begin else []

    def _hold_prices(self, plan: Plan, *, over: bool) -> None:
        """Prices are looked at once a second while there is less than a batch of them."""
        waiting = plan.end["norm"] - plan.begin["norm"]
        now = time.monotonic()
        enough = waiting >= self._config.batch_events * NORM_BATCHES
        if over or enough or now - self._looked_at_prices >= NORM_SECONDS:
            self._looked_at_prices = now
        elif self._time_at("norm", plan.end["norm"] - 1) < self._due_ns:
            plan.end["norm"] = plan.begin["norm"]

    def _await_adjustments(self, plan: Plan, *, over: bool) -> None:
        """An adjustment is told in exec, and its cost in its own ring, which may be written a moment later."""
        begin, end = plan.begin["exec"], plan.end["exec"]
        if over or end == begin:
            return
        head = self.journal.events("exec", begin, end)["header"]
        early = (head["type"] == lib.EXEC_ADJUSTED) & (head["cause_sequence"] >= self.journal.next("adjust"))
        found = np.flatnonzero(early)
        if len(found):
            plan.end["exec"] = int(self.journal.sequences("exec", begin, end)[found[0]])

    def _await_limits(self, plan: Plan, *, over: bool) -> None:
        """A turn names the version that it decided by, whose lines may be written a moment later."""
        ring = "risk.ctl"
        begin, end = plan.begin[ring], plan.end[ring]
        if over or end == begin:
            return
        turns = self.journal.events(ring, begin, end)
        standing = self._risk[3] if self._risk is not None else 0
        for index in _changes(turns, "limits_version"):
            before, standing = standing, int(turns["limits_version"][index])
            if before != standing and before and self._limits_text(before, standing) is None:
                plan.end[ring] = int(self.journal.sequences(ring, begin, end)[index])
                return

    def _stop_at_snapshot(self, plan: Plan, *, over: bool) -> None:
        """Executions and prices from after a full hour wait until all from before it is folded."""
        reached = []
        for ring in TIMED:
            begin, end = plan.begin[ring], plan.end[ring]
            cut = self._first_from(ring, begin, end)
            plan.end[ring] = cut
            passed = cut < end
            silent = end == self.journal.next(ring) and (over or time.time_ns() > self._due_ns + LATE_NS)
            reached.append(passed or silent)
        last = max(self._time_at(ring, self.journal.next(ring) - 1) for ring in RINGS)
        plan.snapshot = all(reached) and last >= self._due_ns

    def _first_from(self, ring: str, begin: int, end: int) -> int:
        """Sequence of the first event in there that came when the snapshot is due, or later."""
        if end == begin or self._time_at(ring, end - 1) < self._due_ns:
            return end
        times = self.journal.events(ring, begin, end)["header"]["publish_time_ns"]
        found = np.flatnonzero(times >= self._due_ns)
        return int(self.journal.sequences(ring, begin, end)[found[0]]) if len(found) else end

    def waiting_seconds(self) -> float:
        """How long the oldest event waits that is in the journal and not in the database."""
        waiting = [
            found
            for ring in RINGS
            if self.offsets.get(ring, 0) < self.journal.next(ring)
            and (found := self._time_at(ring, self.offsets.get(ring, 0)))
        ]
        return max(0.0, (time.time_ns() - min(waiting)) / 1e9) if waiting else 0.0

    def _time_at(self, ring: str, sequence: int) -> int:
        """When an event was published; 0 for one that is not there."""
        if sequence < 0:
            return 0
        found = self.journal.events(ring, sequence, sequence + 1)
        return int(found["header"]["publish_time_ns"][0]) if len(found) else 0

    # ---- one transaction -----------------------------------------------------------------------------

    def write(self, connection: Connection, plan: Plan) -> None:
        """Everything of the plan, and the offsets after it. Raises OffsetsMovedError."""
        self._move_offsets(connection, plan)
        changed = self._write_prices(connection, plan)
        changed |= self._write_executions(connection, plan)
        self._write_orders(connection, plan)
        self._write_signals(connection, plan)
        self._write_turns(connection, plan)
        self._write_positions(connection, changed)
        if plan.snapshot:
            self._write_snapshot(connection, plan, taken_ns=self._due_ns, kind="hourly")
            self._due_ns += self._period_ns
        if plan.complete:
            last = max((self._time_at(ring, self.journal.next(ring) - 1) for ring in RINGS), default=0)
            self._write_snapshot(connection, plan, taken_ns=last or self.run_epoch, kind="end")
        if plan.count or plan.snapshot or plan.complete:
            values = {
                "session": self._ledger.session,
                "session_sequence": self._ledger.session_sequence,
                "snapshot_due_ns": self._due_ns,
                "complete": plan.complete,
            }
            connection.execute(update(tables.runs).where(tables.runs.c.run_epoch == self.run_epoch).values(**values))

    def committed(self, plan: Plan) -> None:
        """The transaction came through: go on from there."""
        self.offsets = dict(plan.end)
        self.complete = plan.complete

    def _move_offsets(self, connection: Connection, plan: Plan) -> None:
        offsets = tables.projection_offsets
        for ring in RINGS:
            begin, end = plan.begin[ring], plan.end[ring]
            if end == begin:
                continue
            lost = end - begin - len(plan.events[ring])
            moved = connection.execute(
                update(offsets)
                .where(offsets.c.run_epoch == self.run_epoch, offsets.c.ring == ring, offsets.c.next_sequence == begin)
                .values(next_sequence=end, lost=offsets.c.lost + lost)
            )
            if moved.rowcount != 1:
                raise OffsetsMovedError

    def _write_prices(self, connection: Connection, plan: Plan) -> set[int]:
        """Instruments whose reference price is another one now."""
        if not len(plan.events["norm"]):
            return set()
        before = self._marks.all_ticks()
        rows = self._marks.apply(plan.events["norm"])
        after = self._marks.all_ticks()
        upsert_rows(
            connection,
            tables.marks,
            [(self.run_epoch, instrument, *self._marks.sides(instrument)) for instrument in rows.tolist()],
        )
        return set(np.flatnonzero(before != after).tolist()) & self._ledger.positions.keys()

    def _write_executions(self, connection: Connection, plan: Plan) -> set[int]:
        """Fills, adjustments, and the trail of what the gateway told. Returns the instruments that moved."""
        events, sequences = plan.events["exec"], plan.sequences["exec"]
        insert_rows(connection, tables.order_audit_trail, exec_trail(self._names, "exec", events, sequences))
        refused = exec_trail(self._names, "reject", plan.events["reject"], plan.sequences["reject"])
        insert_rows(connection, tables.order_audit_trail, refused)
        if not len(events):
            return set()
        adjustments = self.journal.events("adjust")
        entries: list[Execution] = []
        self._repeated: set[int] = set()
        for part, first in _runs_of(events, sequences):
            entries += self._ledger.apply(part, adjustments, first_sequence=first)
            self._repeated |= self._ledger.repeated_sequences
        head = events["header"]
        times, origins = head["publish_time_ns"].tolist(), head["origin_time_ns"].tolist()
        prices = events["price_ticks"].tolist()
        place = {sequence: index for index, sequence in enumerate(sequences)}
        fills: dict[int, Row] = {}
        adjusted: list[Row] = []
        for entry in entries:
            index = place.get(entry.sequence)
            if entry.adjusted:
                assert index is not None, "an adjustment is told once"
                adjusted.append(self._adjustment_row(entry, events[index], adjustments))
                continue
            if index is not None:
                self._times[entry.sequence] = (times[index], origins[index], prices[index])
            time_ns, origin_ns, told = self._times[entry.sequence]
            row = execution_row(self._names, entry, time_ns=time_ns, origin_ns=origin_ns, told_ticks=told)
            fills[entry.sequence] = row
        upsert_rows(connection, tables.executions, list(fills.values()))
        insert_rows(connection, tables.adjustments, adjusted)
        return {entry.instrument for entry in entries}

    def _adjustment_row(self, entry: Execution, event: Any, ring: Events) -> Row:
        cause = int(event["header"]["cause_sequence"])
        kind, who, why = "unknown", "", ""
        if cause < len(ring):
            parts = ring[cause : cause + max(1, int(ring[cause]["parts"]))]
            text = clean_text(b"".join(bytes(part["text"])[: int(part["length"])] for part in parts))
            who, _, why = text.partition("\n")
            kind = event_name(int(ring[cause]["header"]["type"])).removeprefix("adjust_")
        return (
            self.run_epoch, entry.sequence, entry.match_id, kind, int(event["header"]["publish_time_ns"]),
            entry.instrument, self._names.symbol(entry.instrument), entry.lots, entry.cost_micros, entry.cash_micros,
            who, why,
        )  # fmt: skip

    def _write_orders(self, connection: Connection, plan: Plan) -> None:
        commands, executions = plan.events["cmd"], plan.events["exec"]
        if not len(commands) and not len(executions):
            return
        insert_rows(connection, tables.order_audit_trail, cmd_trail(self._names, commands, plan.sequences["cmd"]))

        def load(order_ids: Sequence[int]) -> Iterable[Sequence[Any]]:
            table = tables.orders
            for begin in range(0, len(order_ids), SQLITE_PARAMETERS):
                chosen = order_ids[begin : begin + SQLITE_PARAMETERS]
                wanted = select(table).where(table.c.run_epoch == self.run_epoch, table.c.order_id.in_(chosen))
                yield from connection.execute(wanted)

        self._orders.prepare(commands, executions, load)
        self._orders.commands(commands)
        if len(executions):
            self._orders.executions(executions, plan.sequences["exec"], self._repeated)
        upsert_rows(connection, tables.orders, self._orders.take_touched())

    def _write_signals(self, connection: Connection, plan: Plan) -> None:
        base = self.journal.run.order_id_base
        rows = signal_rows(self._names, plan.events["signal"], plan.sequences["signal"], order_id_base=base)
        insert_rows(connection, tables.signals, rows)

    def _write_turns(self, connection: Connection, plan: Plan) -> None:
        """Turn records where what they decided by is not what it was in the record before."""
        states: list[Row] = []
        limits: list[Row] = []
        turns = plan.events["risk.ctl"]
        for index in _changes(turns, "mode", "killed", "kill_epoch", "limits_version"):
            turn = turns[index]
            state = (
                enum_word("trading_mode", "MODE_", int(turn["mode"])), bool(turn["killed"]), int(turn["kill_epoch"]),
                int(turn["limits_version"]),
            )  # fmt: skip
            if state == self._risk:
                continue
            at = (self.run_epoch, int(turn["turn"]), int(turn["header"]["origin_time_ns"]))
            states.append((*at, *state))
            if self._risk is None or self._risk[3] != state[3]:
                before = 0 if self._risk is None else self._risk[3]
                limits.append((self.run_epoch, state[3], *at[1:], self._limits_text(before, state[3])))
            self._risk = state
        upsert_rows(connection, tables.risk_state, states)
        upsert_rows(connection, tables.limit_changes, limits)
        models: list[Row] = []
        turns = plan.events["signal.ctl"]
        for index in _changes(turns, "model_generation", "weights_version"):
            turn = turns[index]
            model = (int(turn["model_generation"]), int(turn["weights_version"]))
            if model == self._model:
                continue
            at = (self.run_epoch, int(turn["turn"]), int(turn["header"]["origin_time_ns"]))
            models.append((*at, *model, self._model_text() if self._model is None else None))
            self._model = model
        upsert_rows(connection, tables.model_versions, models)

    def _limits_text(self, before: int, version: int) -> str | None:
        """The run's configuration where it is the first version; of a later one what it changed.

        None where the journal does not have it: never, unless it is an earlier release's, or it is not written yet.
        """
        if version == FIRST:
            return msgspec.json.encode(self.journal.run.config.risk).decode()
        try:
            changes = self._limits.changes(before or FIRST, version)
        except JournalError:
            return None
        told = {name: {"before": old, "after": new} for name, (old, new) in changes.items()}
        return msgspec.json.encode({"since_version": before or FIRST, "changes": told}).decode()

    def _model_text(self) -> str:
        config: Config = self.journal.run.config
        signal = config.signal
        named = {
            "native": signal.native,
            "weights": signal.weights,
            "scales": signal.scales,
            "threshold": signal.threshold,
        }
        return msgspec.json.encode(named).decode()

    def _write_positions(self, connection: Connection, changed: set[int]) -> None:
        rows = []
        for instrument in sorted(changed):
            position = self._ledger.positions.get(instrument) or Position()
            value = self._ledger.valuation(instrument, self._marks)
            rows.append(
                (
                    self.run_epoch,
                    instrument,
                    self._names.symbol(instrument),
                    *valued_columns(value, cash_micros=position.cash_micros),
                    position.bought_lots,
                    position.sold_lots,
                    value.mark_ticks,
                )
            )
        upsert_rows(connection, tables.positions, rows)

    def _write_snapshot(self, connection: Connection, plan: Plan, *, taken_ns: int, kind: str) -> None:
        rows = []
        for instrument in sorted(self._ledger.positions):
            value = self._ledger.valuation(instrument, self._marks)
            cash = self._ledger.positions[instrument].cash_micros
            rows.append(
                (
                    self.run_epoch,
                    taken_ns,
                    instrument,
                    kind,
                    None,
                    self._names.symbol(instrument),
                    *valued_columns(value, cash_micros=cash),
                    value.mark_ticks,
                    plan.end["exec"],
                    plan.end["norm"],
                )
            )
        upsert_rows(connection, tables.position_snapshots, rows)


def _changes(turns: Events, *names: str) -> list[int]:
    """The first record, and each that differs from the one before it in one of these."""
    if not len(turns):
        return []
    differs = np.zeros(len(turns), bool)
    differs[0] = True
    for name in names:
        differs[1:] |= turns[name][1:] != turns[name][:-1]
    return [int(index) for index in np.flatnonzero(differs)]


def _runs_of(events: Events, sequences: list[int]) -> Iterable[tuple[Events, int]]:
    """Parts without a hole, each with its first sequence."""
    numbers = np.asarray(sequences, np.int64)
    starts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()]
    for start, stop in zip(starts, [*starts[1:], len(events)], strict=True):
        yield events[start:stop], int(numbers[start])
