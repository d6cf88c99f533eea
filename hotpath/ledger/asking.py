"""`hotpath adjust`: from what people type to an entry of the file, and back."""

from __future__ import annotations

import getpass
import os
import time
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from hotpath.config import Config
from hotpath.errors import AdjustmentError
from hotpath.ledger.adjustments import (
    MICROS,
    Adjustment,
    AdjustmentFile,
    adjustments_path,
    money_micros,
    new_adjustment,
)
from hotpath.runs import load_instruments


def user_name() -> str:
    """Who runs this, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def ask(
    config: Config, *, kind: str, symbol: str, lots: int, price: str, cost: str, cash: str, who: str, why: str
) -> Adjustment:
    """Check it against the reference data and keep it. Raises AdjustmentError, RefdataError."""
    instruments = load_instruments(config)
    instrument = instruments.instruments[instruments.index_of(symbol)]
    if price and cost:
        raise AdjustmentError("--price and --cost say the same: one of them")
    cost_micros = money_micros(cost, key="--cost") if cost else 0
    if price:
        unit = _exact(price) / _exact(instrument.tick_size) * instrument.tick_value_micros
        if unit.denominator != 1:
            raise AdjustmentError(f"--price: {price} is no whole number of micros a lot", next_step="say --cost")
        cost_micros = lots * unit.numerator
    entry = new_adjustment(
        kind=kind,
        symbol=symbol,
        lots=lots,
        cost_micros=cost_micros,
        cash_micros=money_micros(cash, key="--cash"),
        who=who or user_name(),
        why=why,
    )
    return AdjustmentFile(adjustments_path(config)).ask([entry])[0]


def _exact(price: str) -> Fraction:
    try:
        return Fraction(Decimal(price))
    except (InvalidOperation, ValueError, OverflowError):
        raise AdjustmentError(f"--price: {price!r} is no price") from None


def told(config: Config) -> list[dict[str, Any]]:
    """Every entry with its fate."""
    file = AdjustmentFile(adjustments_path(config))
    fates = file.fates()
    rows = []
    for each in file.all():
        fate = fates.get(each.id)
        state = "pending" if fate is None else "refused" if not fate.run_epoch else "applied"
        rows.append(
            {
                "id": each.id,
                "asked_ns": each.asked_ns,
                "kind": each.kind,
                "symbol": each.symbol,
                "quantity_lots": each.quantity_lots,
                "cost_micros": each.cost_micros,
                "cash_micros": each.cash_micros,
                "who": each.who,
                "why": each.why,
                "state": state,
                "run_epoch": fate.run_epoch if fate else 0,
                "reason": fate.reason if fate else "",
            }
        )
    return rows


def describe(rows: list[dict[str, Any]]) -> str:
    """One line each."""
    lines = []
    for row in rows:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["asked_ns"] / 1e9))
        fate = f"applied to run {row['run_epoch']}" if row["state"] == "applied" else f"{row['state']} {row['reason']}"
        money = f"cost {_money(row['cost_micros'])}  cash {_money(row['cash_micros'])}"
        lines.append(
            f"{row['id']:>4}  {at}  {row['kind']:<10} {row['symbol']:<8} {row['quantity_lots']:>+10,} lots  {money}  "
            f"{row['who']}: {row['why']}  [{fate.strip()}]"
        )
    return "\n".join(lines) or "nobody asked for one"


def _money(micros: int) -> str:
    sign, whole = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}{whole // MICROS:,}.{whole % MICROS:06d}"
