"""The matrix: every case run and judged, the planted failures caught, one table."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from ffi import lib
from hotpath.segments import SHM_FOLDER
from hotpath.venues.tap import IN, RECORD
from tests.faults.cases import CASES
from tests.faults.endings import end_of_session
from tests.faults.oracle import judge
from tests.faults.session import Case, CaseFailedError, Evidence, run_case


class Row(msgspec.Struct):
    """One line of the matrix."""

    fault: str
    seed: int
    injected: int
    expected: str
    observed: str
    wrong: list[str]

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.wrong


END_OF_SESSION = "end_of_session"
NAMES = (*(case.name for case in CASES), END_OF_SESSION)
CANARY_CASE = "broken_trade"  # its runs have fills, orders and a whole book
QUICK = ("silence", "cut_out_42", CANARY_CASE, "repeated_fill", "storm_50", "storm_42", END_OF_SESSION)
QUICK_INJECTIONS = 8


def observed(evidence: Evidence) -> str:
    """The counters that the case shows, and the orders behind them."""
    shown = [f"{path.partition('.')[2]} {evidence.count(path)}" for path in evidence.case.observed]
    return ", ".join([*shown, f"orders {len(evidence.told.orders)}"])


def run_row(case: Case, *, seed: int, wanted: int, folder: Path, replay: bool) -> tuple[Row, Evidence | None]:
    """One case, run and judged."""
    row = Row(case.name, seed, 0, case.expected, "", [])
    try:
        evidence = run_case(case, seed=seed, wanted=wanted * case.weight, folder=folder)
        row.injected, row.observed = evidence.injections, observed(evidence)
        row.wrong = judge(evidence, replay=replay)
        return row, evidence
    except (CaseFailedError, OSError, AssertionError, RuntimeError, ValueError) as error:
        row.wrong = [f"{type(error).__name__}: {error}"]
        return row, None


# ---- planted failures: an oracle that never fails proves nothing ---------------------------------------------


def resent(evidence: Evidence) -> None:
    """An engine that sends an order again on another connection."""
    order = next(order for order in evidence.told.orders if order.kind == "O")
    with (evidence.folder / "tap").open("ab") as tap:
        tap.write(RECORD.pack(0, IN, 9999, len(order.frame)) + order.frame)


def unstored(evidence: Evidence) -> None:
    """An order on the wire that no intent tells of."""
    order = next(order for order in evidence.told.orders if order.kind == "O")
    size = 4 if evidence.ouch50 else 14
    frame = order.frame[:4] + (b"\xff" * size) + order.frame[4 + size :]
    with (evidence.folder / "tap").open("ab") as tap:
        tap.write(RECORD.pack(0, IN, 9999, len(frame)) + frame)


def _edit(evidence: Evidence, ring: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    evidence.doctored[ring] = change(np.array(evidence.events(ring)))


def lost_fill(evidence: Evidence) -> None:
    """A fill that the gateway did not publish."""
    _edit(evidence, "exec", lambda e: np.delete(e, np.flatnonzero(e["header"]["type"] == lib.EXEC_FILL)[0]))


def doubled_fill(evidence: Evidence) -> None:
    """A fill that it published twice."""

    def change(events: np.ndarray) -> np.ndarray:
        at = np.flatnonzero(events["header"]["type"] == lib.EXEC_FILL)[0]
        return np.insert(events, at, events[at])

    _edit(evidence, "exec", change)


def lost_message(evidence: Evidence) -> None:
    """A message of the feed that never reached the books."""
    _edit(evidence, "raw", lambda e: np.delete(e, np.flatnonzero(e["header"]["type"] == lib.RAW_MESSAGE)[-2]))


def wrong_book(evidence: Evidence) -> None:
    """A book with a lot too many."""

    def change(events: np.ndarray) -> np.ndarray:
        instruments = events["header"]["instrument"]
        events["bid_quantity_lots"][np.flatnonzero(instruments == 0)[-1]] += 1
        return events

    _edit(evidence, "norm", change)


def stale_order(evidence: Evidence) -> None:
    """An order on books that were known to be stale."""
    header = evidence.events("signal")["header"]
    placing = (header["type"] == lib.SIGNAL_NEW) & (header["cause_input"] == lib.INPUT_NORM)
    cause = int(header["cause_sequence"][placing][0])

    def change(events: np.ndarray) -> np.ndarray:
        events["header"]["flags"][cause] |= lib.FLAG_STALE
        return events

    _edit(evidence, "norm", change)


def wrong_cash(evidence: Evidence) -> None:
    """A gate that lost a millionth."""
    evidence.report["stat"]["stages"]["risk"]["counters"]["cash_micros"] += 1


def died(evidence: Evidence) -> None:
    """An engine that did not end in order."""
    evidence.exit_code = 1


PLANTS: dict[str, Callable[[Evidence], None]] = {
    plant.__name__: plant
    for plant in (
        resent,
        unstored,
        lost_fill,
        doubled_fill,
        lost_message,
        wrong_book,
        stale_order,
        wrong_cash,
        died,
    )
}


def planted(evidence: Evidence, name: str) -> list[str]:
    """What the oracle says of a run into which a failure was planted, and without it: nothing else may differ."""
    folder = evidence.folder.with_name(f"{evidence.folder.name}-{name}")
    shutil.copytree(evidence.folder, folder)
    doctored = replace(
        evidence, folder=folder, report=msgspec.json.decode(msgspec.json.encode(evidence.report)), doctored={}
    )
    PLANTS[name](doctored)
    fresh = replace(doctored)  # nothing that was read before the change
    try:
        return judge(fresh)
    finally:
        shutil.rmtree(folder)


# ---- all of it ------------------------------------------------------------------------------------------------


def run_matrix(
    names: Iterable[str], *, seed: int, wanted: int, jobs: int, replay: bool, plant: str = ""
) -> Iterator[Row]:
    """Rows as they are done. With a plant, the first case's run is doctored and its row must fail."""
    chosen = [case for case in CASES if case.name in set(names)]
    with tempfile.TemporaryDirectory(prefix="hotpath-faults-", dir=SHM_FOLDER) as scratch:

        def one(case: Case) -> Row:
            folder = Path(scratch) / case.name
            row, evidence = run_row(case, seed=seed, wanted=wanted, folder=folder, replay=replay)
            if plant and evidence is not None and case is chosen[0]:
                row.fault, row.wrong = f"{case.name} with {plant} planted", row.wrong + planted(evidence, plant)
            elif not plant and evidence is not None and row.passed and case.name == CANARY_CASE:
                canaries.extend(canary_rows(evidence))
            shutil.rmtree(folder, ignore_errors=True)
            return row

        canaries: list[Row] = []
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            yield from pool.map(one, chosen)
        yield from canaries
        if END_OF_SESSION in set(names):
            yield end_of_session_row(seed=seed, wanted=wanted, folder=Path(scratch) / END_OF_SESSION)


def canary_rows(evidence: Evidence) -> list[Row]:
    """Every planted failure must be caught."""
    rows = []
    for name in PLANTS:
        found = planted(evidence, name)
        meant = (PLANTS[name].__doc__ or "").rstrip(".")
        missed = [] if found else ["the oracle did not notice"]
        rows.append(
            Row(
                f"canary {name}",
                evidence.seed,
                1,
                f"caught: {meant[0].lower()}{meant[1:]}",
                "; ".join(found)[:110],
                missed,
            )
        )
    return rows


def end_of_session_row(*, seed: int, wanted: int, folder: Path) -> Row:
    """Each ending closes a session for good, so each has a gateway of its own."""
    wrong, ended, shown = end_of_session(seed=seed, wanted=wanted, folder=folder)
    expected = "down for good, CANCEL_ONLY, orders refused, no new login, until people act"
    return Row(END_OF_SESSION, seed, ended, expected, shown, wrong)


def print_rows(rows: list[Row], console: Console) -> None:
    """The matrix."""
    table = Table(title="faults", title_justify="left", header_style="bold", show_lines=False)
    for name, justify in (("fault", "left"), ("seed", "right"), ("injected", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in ("expected reaction", "observed", "verdict"):
        table.add_column(name)
    for row in rows:
        verdict = "ok" if row.passed else "FAILED: " + "; ".join(row.wrong)[:600]
        table.add_row(row.fault, str(row.seed), str(row.injected), row.expected, row.observed, verdict)
    console.print(table)
