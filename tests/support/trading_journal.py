"""A journal of a run that never was: seeded orders, fills, breaks, refusals, adjustments, prices; it can grow."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from ffi import lib
from ffi.dtypes import dtype_of, layout_hash
from hotpath.config import Config, FeeConfig
from hotpath.journal import journal_root
from hotpath.journal.format import END_FILE, INSTRUMENTS_FILE, RUN_FILE, End, RingEnd, event_type
from hotpath.journal.writer import RingWriter
from hotpath.limits import LimitsCopy
from hotpath.limits_log import digest_of, first_limits, lines_of
from hotpath.run_file import RunFile
from hotpath.topology import place

EPOCH = 1_700_000_000_000_000_000  # 13 minutes and 20 seconds after a full hour
SECOND_NS = 10**9
INSTRUMENTS = 5
TICK_VALUES = [100, 100, 100, 1, 2_500_000]
RINGS = ("norm", "signal", "cmd", "exec", "reject", "adjust", "risk.ctl", "signal.ctl", "changes")
FEES = FeeConfig(maker_micros_per_lot=-2000, taker_micros_per_lot=3000, sell_ppb=27_800, sell_micros_per_lot=166)


def projected_config(folder: Path, **projection: Any) -> Config:
    """An engine's configuration whose journals and projection lie in `folder`."""
    replace = msgspec.structs.replace
    config = Config(fees={"default": FEES})
    return replace(
        config,
        engine=replace(config.engine, name="generated", state_dir=str(folder)),
        projection=replace(config.projection, **projection),
    )


class TradingJournal:
    """One run. `step_ns`: time from one order to the next."""

    def __init__(self, config: Config, *, seed: int = 1, run: int = 0, step_ns: int = SECOND_NS) -> None:
        self.config = config
        self.run_epoch = EPOCH + run * 86_400 * SECOND_NS
        self.folder = journal_root(config) / f"20231114-{self.run_epoch}"
        self.folder.mkdir(parents=True)
        self._random = random.Random(seed)
        self._step_ns = step_ns
        self.now_ns = self.run_epoch
        instruments = np.zeros(INSTRUMENTS, dtype_of("instrument_entry"))
        instruments["symbol"] = [f"SYM{index}".encode() for index in range(INSTRUMENTS)]
        instruments["currency"] = b"USD"
        instruments["tick_value_micros"] = TICK_VALUES
        run_file = RunFile(
            layout_hash=layout_hash(),
            run_epoch=self.run_epoch,
            config=config,
            places=place(config, cpus=[0]).places,
            midnight_ns=0,
            roll_times_ns=(),
            lockstep=False,
            journal=True,
            trading_day=20231114,
            order_id_base=1000 * run,
            strategy_epoch=1,
        )
        (self.folder / RUN_FILE).write_bytes(msgspec.json.encode(run_file))
        np.save(self.folder / INSTRUMENTS_FILE, instruments)
        self._writers = {ring: RingWriter(self.folder, ring, run_epoch=self.run_epoch) for ring in RINGS}
        self._pending: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
        self.count: dict[str, int] = dict.fromkeys(RINGS, 0)
        self._base = run_file.order_id_base
        self._number = 0
        self._match = 2**63
        self._fills: list[tuple[int, int, int, int, int, int]] = []  # order, match, instrument, side, lots, price
        self._turn = 0
        symbols = [f"SYM{index}" for index in range(INSTRUMENTS)]
        self._limits = LimitsCopy(symbols, first_limits(config.risk, symbols))
        self._price = [10_000, 50_000, 123_456, 7, 900]

    # ---- events ----------------------------------------------------------------------------------------

    def _add(self, ring: str, kind: int, instrument: int = 0, **fields: Any) -> None:
        event = np.zeros(1, dtype_of(event_type(ring)))
        head = event["header"]
        head["type"], head["instrument"] = kind, instrument
        self.now_ns += 1 + self._random.randrange(1000)
        head["publish_time_ns"] = self.now_ns
        head["origin_time_ns"] = self.now_ns - 500
        for name, value in fields.items():
            where = event
            *path, last = name.split("__")
            for part in path:
                where = where[part]
            where[last] = value
        self._pending[ring].append(event)
        self.count[ring] += 1

    def _exec(self, kind: int, order: int, instrument: int, *, number: bool = True, **fields: Any) -> None:
        self._number += number
        self._add(
            "exec", kind, instrument, order_id=order, venue=lib.VENUE_OUCH50, session=3 * number,
            session_sequence=self._number * number, **fields,
        )  # fmt: skip

    def _market(self, instrument: int) -> None:
        self._price[instrument] = max(3, self._price[instrument] + self._random.randint(-3, 3))
        price = self._price[instrument]
        stale = lib.FLAG_STALE if self._random.random() < 0.05 else 0
        self._add(
            "norm", lib.NORM_EXECUTE, instrument, header__flags=stale, price_ticks=price,
            bid_price_ticks=self._random.choice([price - 1, price - 1, 0]),
            ask_price_ticks=self._random.choice([price + 2, price + 2, 0]),
        )  # fmt: skip

    def lifecycle(self) -> None:
        """A price, an intent, and what becomes of it."""
        draw = self._random
        self.now_ns += draw.randrange(2 * self._step_ns)
        instrument = draw.randrange(INSTRUMENTS)
        self._market(instrument)
        side, lots, price = draw.randrange(2), draw.randint(1, 300), self._price[instrument]
        order = self._base + self.count["signal"] + 1
        asked: dict[str, Any] = {"side": side, "quantity_lots": lots, "price_ticks": price}
        self._add("signal", lib.SIGNAL_NEW, instrument, score=0.5, threshold=0.25, account=1, strategy=2, **asked)
        if draw.random() < 0.1:
            self._add("reject", lib.EXEC_REFUSED, instrument, order_id=order, reason=lib.REJECT_COLLAR, **asked)
            return
        self._add("cmd", lib.CMD_NEW, instrument, order_id=order, digest=draw.getrandbits(64), **asked)
        if draw.random() < 0.05:
            self._exec(lib.EXEC_REJECTED, order, instrument, side=side, reason=ord("N"))
            return
        self._exec(lib.EXEC_ACCEPTED, order, instrument, leaves_lots=lots, venue_ref=2**63 + order, **asked)
        self._fill(order, instrument, side, lots, price)
        self._turns()
        if draw.random() < 0.1:
            self._revise()
        if draw.random() < 0.05:
            self._adjust(instrument)

    def _fill(self, order: int, instrument: int, side: int, lots: int, price: int) -> None:
        draw, filled = self._random, 0
        while filled < lots and draw.random() < 0.8:
            part = draw.randint(1, lots - filled)
            filled += part
            self._match += 1
            paid = max(1, price + draw.randint(-2, 2))
            self._exec(
                lib.EXEC_FILL, order, instrument, side=side, quantity_lots=part, price_ticks=paid,
                leaves_lots=lots - filled, cumulative_lots=filled, match_id=self._match,
                liquidity=ord(draw.choice("AR")),
            )  # fmt: skip
            self._fills.append((order, self._match, instrument, side, part, paid))
            if draw.random() < 0.05:  # the venue says it again, under its old number
                self._pending["exec"].append(self._pending["exec"][-1].copy())
                self.count["exec"] += 1
        if filled < lots and draw.random() < 0.5:
            self._exec(
                lib.EXEC_CANCELED, order, instrument, side=side, quantity_lots=lots - filled, cumulative_lots=filled
            )

    def _revise(self) -> None:
        if not self._fills:
            return
        order, match, instrument, side, lots, price = self._random.choice(self._fills)
        kind = self._random.choice([lib.EXEC_BROKEN, lib.EXEC_CORRECTED])
        other = price if kind == lib.EXEC_BROKEN else max(1, price + self._random.randint(-9, 9))
        fields: dict[str, Any] = {"side": side, "quantity_lots": lots, "price_ticks": other, "match_id": match}
        self._exec(kind, order, instrument, **fields)
        if kind == lib.EXEC_BROKEN:
            self._fills = [fill for fill in self._fills if fill[1] != match]

    def _adjust(self, instrument: int) -> None:
        draw = self._random
        lots, cost, cash = draw.randint(-50, 50), draw.randint(0, 10**9), draw.randint(-(10**6), 10**6)
        text = f"desk\nadjusted {instrument} \u20ac".encode()
        self._add(
            "adjust", lib.ADJUST_CORRECTION, instrument, id=self.count["adjust"] + 1, quantity_lots=lots,
            cost_micros=cost, cash_micros=cash, parts=1, length=len(text),
            text=np.frombuffer(text.ljust(lib.ADJUSTMENT_TEXT_MAX, b"\0"), np.uint8),
        )  # fmt: skip
        self._exec(
            lib.EXEC_ADJUSTED, 0, instrument, number=False, match_id=self.count["adjust"], side=int(lots < 0),
            quantity_lots=abs(lots), venue_ref=(cash - cost) % 2**64,
            header__cause_sequence=self.count["adjust"] - 1, header__cause_input=lib.INPUT_ADJUST,
        )  # fmt: skip

    def _turns(self) -> None:
        self._turn += 1
        fields = {"turn": self._turn, "header__instrument": lib.NO_INSTRUMENT}
        mode = (self._turn // 37) % 3
        version = 1 + self._turn // 90
        if version != self._limits.version:
            self._change_limits(version)
        self._add("risk.ctl", lib.CTL_TURN, mode=mode, kill_epoch=1, limits_version=version, **fields)
        self._add("signal.ctl", lib.CTL_TURN, model_generation=self._turn // 64, weights_version=1, **fields)

    def _change_limits(self, version: int) -> None:
        """One instrument's collar, line by line as the engine tells of it."""
        before = bytes(self._limits.memory)
        self._limits.set("instrument.SYM1.collar_ppm_max", 1000 * version)
        self._limits.header.version = version
        self._limits.seal()
        after = bytes(self._limits.memory)
        lines = lines_of(after)
        for line in np.flatnonzero((lines != lines_of(before)).any(axis=1)).tolist():
            told: dict[str, Any] = {"digest": digest_of(after), "version": version, "line": line, "bytes": lines[line]}
            self._add("changes", lib.CTL_LIMITS, lib.NO_INSTRUMENT, **told)

    # ---- the files ---------------------------------------------------------------------------------------

    def grow(self, lifecycles: int, *, flush: bool = True) -> None:
        """So many orders more."""
        for _ in range(lifecycles):
            self.lifecycle()
        if flush:
            self.flush()

    def flush(self) -> None:
        """Write what was made since, ring by ring, as the journal does."""
        for ring, events in self._pending.items():
            writer = self._writers[ring]
            if events:
                writer.append(np.concatenate(events), writer.next)
        self._pending.clear()

    def end(self) -> None:
        """The orderly end."""
        self.flush()
        rings: dict[str, RingEnd] = {ring: writer.close() for ring, writer in self._writers.items()}
        (self.folder / END_FILE).write_bytes(msgspec.json.encode(End(rings=rings)))
