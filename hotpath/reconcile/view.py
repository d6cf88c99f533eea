"""`hotpath reconcile`: both sides of an engine, its breaks, and a person's word that one is settled."""

from __future__ import annotations

import getpass
import time
from pathlib import Path

from hotpath.config import load_config
from hotpath.errors import ConfigError
from hotpath.holders import state_dir_of
from hotpath.reconcile.status import ClearRequest, ReconcileStatus, ask_to_clear, read_status

STATE_DIR = "var"  # the default engine.state_dir
ANSWER_SECONDS = 3.0


def find_status(name: str) -> Path:
    """The status file of an engine's name or of a configuration file. Raises ConfigError."""
    if name.endswith(".toml"):
        engine = load_config(name).engine
        path = Path(engine.state_dir) / f"{engine.name}.reconcile.json"
    else:
        path = (state_dir_of(name) or Path(STATE_DIR)) / f"{name}.reconcile.json"
    if not path.exists():
        raise ConfigError(
            f"{path}: {name} has never been reconciled",
            next_step="name a running engine or its configuration; reconciliation needs [reconcile] username",
        )
    return path


def clear_break(path: Path, *, symbol: str, reason: str) -> ReconcileStatus:
    """Settle a break, and wait for whoever reconciles to take it; one that does not run takes it when it starts."""
    engine = path.name.removesuffix(".reconcile.json")
    if not reason:
        raise ConfigError("--clear needs a reason", next_step='hotpath reconcile NAME --clear SYMBOL --reason "..."')
    if all(each.symbol != symbol for each in read_status(path, engine).breaks):
        raise ConfigError(f"{symbol} has no break that stands", next_step=f"hotpath reconcile {engine} shows them")
    ask_to_clear(path, ClearRequest(symbol=symbol, reason=reason, by=getpass.getuser()))
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        status = read_status(path, engine)
        if all(each.symbol != symbol for each in status.breaks):
            return status
        time.sleep(0.05)
    return read_status(path, engine)


def describe(status: ReconcileStatus) -> str:
    """For people."""
    told = f"{status.engine}: {status.state}" + (f" ({status.trouble})" if status.trouble else "")
    compared = (
        f"positions compared {status.comparisons} times, last {status.compared_at}"
        if status.comparisons
        else ("positions not compared yet")
    )
    lines = [told, f"  {compared}; {status.matched:,} executions on both sides, {status.waiting} on one so far"]
    symbols = sorted({*status.here, *status.there})
    if symbols:
        lines.append(f"  {'':<10}{'here':>12}{'there':>12}")
        for symbol in symbols:
            here, there = status.here.get(symbol, 0), status.there.get(symbol, 0)
            mark = "" if here == there else "  differs"
            lines.append(f"  {symbol:<10}{here:>12,}{there:>12,}{mark}")
    for each in status.breaks:
        lines.append(f"  BREAK {each.symbol} since {each.since}: here {each.here_lots:,}, there {each.there_lots:,}")
        lines += [f"        {finding}" for finding in each.findings]
    if status.breaks:
        lines.append(f'  settle one: hotpath reconcile {status.engine} --clear SYMBOL --reason "..."')
    return "\n".join(lines)
