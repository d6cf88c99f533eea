"""What a backtest leaves in a folder: the run itself, to compare with later, and its report as JSON and as a page."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hotpath.backtest.collect import SAVED, Run, save_run
from hotpath.backtest.compare import Comparison
from hotpath.backtest.report import BacktestReport
from hotpath.errors import HistoryError


def write_files(
    folder: Path, run: Run, report: BacktestReport, comparison: Comparison | None, *, html: bool
) -> dict[str, str]:
    """Write them; returns what is where. Without matplotlib there is no page, and a word of it."""
    try:
        save_run(run, folder)
        files = {"run": str(folder / SAVED), "figures": str(folder / "backtest.json")}
        document = {"report": report, "comparison": comparison}
        (folder / "backtest.json").write_bytes(msgspec.json.format(msgspec.json.encode(document)))
        if html:
            files["page"] = str(_write_page(folder, report, comparison))
    except OSError as error:
        raise HistoryError(
            f"{error.filename or folder}: {(error.strerror or str(error)).lower()}",
            next_step="write elsewhere: --out DIR",
        ) from None
    return files


def _write_page(folder: Path, report: BacktestReport, comparison: Comparison | None) -> Path:
    from hotpath.backtest.figures import draw
    from hotpath.backtest.page import render_page
    from hotpath.history.figures import Picture  # says what to install where matplotlib is missing

    pictures: list[Picture] = draw(report)
    path = folder / "backtest.html"
    path.write_text(render_page(report, pictures, comparison), encoding="utf-8")
    return path
