"""``hotctl kill --local --instrument GOOG``: kill a part of what an engine does, through its limits.

A scope is killed by a switch in the limits (docs/kill.md): a new version, on the disk before it is in force. The
gateway refuses what was approved before it, throws away what has not left, and cancels what is open in the scope.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ffi import ffi, lib
from hotpath import segments
from hotpath.errors import HotpathError
from hotpath.limits.copy import LimitsCopy
from hotpath.limits.desk import LimitsDesk


def kill_scopes(engine: str, scopes: list[str], *, who: str, why: str, wait: bool, timeout: float) -> dict[str, Any]:
    """Kill scopes by name, as "instrument.GOOG" or "strategy.2"; what became of it. Raises HotpathError."""
    control = segments.attach(engine, "control", lib.SEGMENT_CONTROL)
    page = control.cast("control_page *")
    latch = Path(ffi.string(page.latch_path).decode())
    desk = LimitsDesk(engine, state_dir=latch.parent)

    def edit(copy: LimitsCopy) -> None:
        for scope in scopes:
            copy.set(f"{scope}.killed", True)

    started = time.monotonic()
    change = desk.change_latest(edit, who=who, why=why, kills=True)
    stored = time.monotonic()
    deadline = stored + (timeout if wait else max(1.0, 2 * int(page.kill_escalate_ns) / 1e9))
    while not _done(page, change.version, wait=wait) and time.monotonic() < deadline:
        time.sleep(0.0005)
    effective = page.scoped_version_sent >= change.version
    return {
        "engine": engine,
        "scopes": scopes,
        "version": change.version,
        "effective": bool(effective),
        "stored_ns": round((stored - started) * 1e9),
        "effective_ns": round((time.monotonic() - started) * 1e9) if effective and not wait else None,
        "cancels_outstanding": int(page.scoped_orders_open),
    }


def _done(page: Any, version: int, *, wait: bool) -> bool:
    return bool(page.scoped_version_sent >= version and not (wait and page.scoped_orders_open))


def main(engines: list[str], scopes: list[str], *, who: str, why: str, wait: bool, timeout: float, json: bool) -> int:
    """Kill the scopes at each engine and say what came of it; the worst exit code."""
    import json as text
    import sys

    from hotctl.kill_local import OK, PARTIAL, UNKNOWN, USAGE

    worst = OK
    for engine in engines:
        try:
            told = kill_scopes(engine, scopes, who=who, why=why, wait=wait, timeout=timeout)
        except HotpathError as error:
            print(f"hotctl: {engine}: {error}", file=sys.stderr)
            worst = max(worst, USAGE)
            continue
        code = UNKNOWN if not told["effective"] else PARTIAL if wait and told["cancels_outstanding"] else OK
        worst = max(worst, code)
        if json:
            print(text.dumps({**told, "exit_code": code}), flush=True)
            continue
        print(f"{engine}: killed {', '.join(scopes)} (limits version {told['version']}, kept over restarts)")
        print(
            "  effective: no order byte of it can leave any more"
            if told["effective"]
            else "  NOT KNOWN TO BE EFFECTIVE"
        )
        print(f"  cancels: {told['cancels_outstanding']} outstanding")
    return worst
