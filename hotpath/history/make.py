"""The verb ``hotpath report``: finds a run, and makes files and a table of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hotpath.errors import HistoryError
from hotpath.history.reader import read_history
from hotpath.history.sampler import HOPS, SAMPLES
from hotpath.history.summary import RunSummary, summarise
from hotpath.history.view import print_summary
from hotpath.holders import state_dir_of

STATE_DIR = "var"  # the default engine.state_dir


@dataclass(frozen=True)
class ReportOptions:
    """What `hotpath report` can be told."""

    run: str | None = None  # a folder, a configuration or an engine's name; None: the last run that can be found
    out: Path | None = None  # None: into the run's own folder
    html: bool = True
    png: bool = True


def make_report(options: ReportOptions, *, json: bool) -> None:
    """Write what was asked for, and print the table. Raises HistoryError when there is no such run."""
    folder = find_run(options.run)
    summary, files = write_report(folder, options)
    print_summary(summary, json=json, files=files)


def write_report(folder: Path, options: ReportOptions) -> tuple[RunSummary, dict[str, str]]:
    """The figures of a run, and the files that were made, by what they are."""
    history = read_history(folder)
    summary = summarise(history)
    files: dict[str, str] = {}
    out = options.out or folder
    try:
        out.mkdir(parents=True, exist_ok=True)
        if options.html or options.png:
            from hotpath.history.figures import draw

            pictures = draw(history, summary)
        if options.html:
            from hotpath.history.page import render_page

            path = out / "report.html"
            path.write_text(render_page(summary, pictures), encoding="utf-8")
            files["page"] = str(path)
        if options.png:
            for picture in pictures:
                (out / f"{picture.name}.png").write_bytes(picture.png)
            files["pictures"] = str(out / "*.png")
        if (folder / HOPS).exists():
            if out.resolve() != folder.resolve():
                shutil.copy(folder / HOPS, out / HOPS)
            files["histograms"] = str(out / HOPS)
    except OSError as error:
        raise HistoryError(
            f"{error.filename or out}: {(error.strerror or str(error)).lower()}", next_step="write elsewhere: --out DIR"
        ) from None
    return summary, files


# ---- which run ---------------------------------------------------------------------------------------


def find_run(named: str | None) -> Path:
    """The folder of a run: the one named, or the newest below a folder, of a configuration or of an engine."""
    if named is None:
        return _newest(Path(STATE_DIR), "no run is named, and")
    path = Path(named)
    if path.is_dir():
        return _newest(path, "")
    if path.suffix == ".toml" or path.is_file():
        from hotpath.config import load_config

        engine = load_config(path).engine
        return _newest(Path(engine.state_dir) / f"{engine.name}.runs", "")
    state_dir = state_dir_of(named) or Path(STATE_DIR)
    return _newest(state_dir / f"{named}.runs", f"{named} is no folder, no configuration and no engine that runs, and")


def _newest(folder: Path, why: str) -> Path:
    found = sorted(_runs_below(folder), key=lambda run: run.name)
    if not found:
        raise HistoryError(
            f"{why} there is no run in {folder}".strip(),
            next_step="hotpath run CONFIG leaves one in STATE_DIR/ENGINE.runs, hotpath demo --out DIR in DIR",
        )
    return found[-1]


def _runs_below(folder: Path) -> Iterator[Path]:
    """The folder itself, its runs, or those of the engines whose state it holds."""
    if (folder / SAMPLES).exists():
        yield folder
        return
    for pattern in (f"*/{SAMPLES}", f"*runs/*/{SAMPLES}"):
        yield from (path.parent for path in folder.glob(pattern))
