"""The table in every form: on screen, as JSON lines, CSV, Markdown and one HTML file. What was lost stands first."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.harness import OUT
from bench.peers.packages import PACKAGES
from bench.peers.rows import Figures, Result, Row

FOLDER = OUT / "peers"
COLUMNS = ("what", "hotpath", "theirs", "ratio", "verified", "versions")
HEADING = "## Beside other packages"
HOW = "`make peers` (`PEERS_ARGS='--into docs/PERFORMANCE.md'` writes this section); `python -m bench.peers --help`"
RATIO = "ratio: how many times better hotpath is; below 1 it lost"


class Part(msgspec.Struct):
    """One section, when it was run last; `figures` by what its rows compare."""

    section: str
    date: str
    figures: dict[str, Figures] = msgspec.field(default_factory=dict)
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    skipped: list[str] = msgspec.field(default_factory=list)
    failed: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


class Kept(msgspec.Struct):
    """What a run leaves for the next one, which may measure other sections."""

    host: dict[str, Any]
    size: str
    parts: list[Part]


def now_text() -> str:
    """This minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def kept_parts(host: dict[str, Any], size: str, *, without: Sequence[str], folder: Path | None = None) -> list[Part]:
    """Sections measured before on the same machine, with the same code and size; a table may be made in pieces."""
    path = (folder or FOLDER) / "kept.json"
    if not path.exists():
        return []
    kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    if (kept.host, kept.size) != (host, size):
        return []
    return [part for part in kept.parts if part.section not in without]


@dataclass
class Report:
    """The table: of each section its last run."""

    host: dict[str, Any]
    size: str
    rows: Sequence[Row]
    parts: list[Part] = field(default_factory=list)

    @property
    def results(self) -> list[Result]:
        """In the order in which rows were fixed."""
        figures = {what: (each, part.versions[what]) for part in self.parts for what, each in part.figures.items()}
        return [Result(row, *figures[row.what]) for row in self.rows if row.what in figures]

    @property
    def failed(self) -> list[str]:
        """Rows that could not be run, or whose results were not equal."""
        return [each for part in self.parts for each in part.failed]

    @property
    def date(self) -> str:
        """The latest."""
        return max((part.date for part in self.parts), default=now_text())

    @property
    def ordered(self) -> list[Result]:
        """Losses first, the worst at the top; then the rest as they were fixed."""
        lost = sorted((each for each in self.results if each.lost), key=lambda each: each.ratio)
        return [*lost, *(each for each in self.results if not each.lost)]

    @property
    def losses(self) -> list[tuple[str, list[str]]]:
        """Why rows were lost: each reason with the rows that it explains."""
        reasons: dict[str, list[str]] = {}
        for each in self.ordered:
            if each.lost:
                reasons.setdefault(each.row.if_lost, []).append(each.row.what)
        return list(reasons.items())

    @property
    def machine(self) -> str:
        """The host in one line."""
        host = self.host
        return (
            f"{host['processor']}, {host['cpus']} processors, Linux {host['kernel']}, {host['compiler']}, "
            f"Python {host['python']}, ffi {host['ffi_sha256']}"
        )

    def cells(self) -> list[tuple[str, ...]]:
        """The table's rows."""
        return [
            (
                each.row.what, each.cell(ours=True), each.cell(ours=False), each.ratio_cell, each.figures.verified,
                each.versions,
            )
            for each in self.ordered
        ]  # fmt: skip

    def layouts(self) -> list[str]:
        """How rows are run, those alike together; and after which page each package is configured."""
        alike: dict[tuple[str, str], list[str]] = {}
        for each in self.results:
            alike.setdefault((each.row.section, each.row.layout), []).append(each.row.what)
        said = [
            f"{rows[0] if len(rows) == 1 else f'{len(rows)} rows of {section}'}: {layout}."
            for (section, layout), rows in alike.items()
        ]
        used = dict.fromkeys(name for each in self.results for name in each.row.packages)
        pages = "; ".join(f"{name}: {PACKAGES[name].page}" for name in used)
        return [*said, f"Each package as its own documentation has it. {pages}."]

    def remarks(self) -> list[str]:
        """What stands below the table."""
        notes = [f"{part.section}, {part.date}: {note}" for part in self.parts for note in part.notes]
        skipped = [f"skipped: {each}" for part in self.parts for each in part.skipped]
        return [*notes, *skipped, *(f"failed: {each}" for each in self.failed)]


def as_json(report: Report) -> list[str]:
    """A line a row, the host in each."""
    common = {"bench": "peers", "date": report.date, "size": report.size}
    return [msgspec.json.encode({**common, **each.record(), "host": report.host}).decode() for each in report.ordered]


def as_csv(report: Report) -> str:
    """The records as columns."""
    text = io.StringIO()
    records = [each.record() for each in report.ordered]
    if records:
        writer = csv.DictWriter(text, records[0])
        writer.writeheader()
        writer.writerows(records)
    return text.getvalue()


def as_markdown(report: Report) -> str:
    """A section to paste."""
    lines = [
        HEADING, "",
        f"Measured {report.date}, size `{report.size}`, on {report.machine}. Again: {HOW}. {RATIO.capitalize()}.", "",
        f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in report.cells()),
    ]  # fmt: skip
    if report.losses:
        lines += ["", "**What was lost, and why**", ""]
        lines += [f"- {'; '.join(rows)}. {reason}" for reason, rows in report.losses]
    lines += ["", "**How both sides are run**", "", *(f"- {each}" for each in report.layouts())]
    if report.remarks():
        lines += ["", "**The machine meanwhile**", "", *(f"- {each}" for each in report.remarks())]
    return "\n".join(lines) + "\n"


def put_into(text: str, section: str) -> str:
    """A Markdown text with its section replaced, or with one more at its end."""
    before, found, rest = text.partition(f"{HEADING}\n")
    if not found:
        return f"{text.rstrip()}\n\n{section}"
    _, more, after = rest.partition("\n## ")
    return before + section + (f"\n## {after}" if more else "")


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;border-bottom:1px solid #dfe4ea;text-align:right;vertical-align:top}
th:first-child,td:first-child,td:nth-child(5),td:nth-child(6){text-align:left}
th{background:#f4f6f8;position:sticky;top:0}
tr.lost td{background:#fdf1ef} tr.lost td:nth-child(4){color:#b3261e;font-weight:600}
td:nth-child(n+5){color:#5a6675;font-size:.86em}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#e3e8ee}th{background:#1d232a}
th,td{border-color:#2b333c}tr.lost td{background:#2b1a19}tr.lost td:nth-child(4){color:#ff8a80}}
"""


def as_html(report: Report) -> str:
    """One file, nothing fetched."""
    e = html.escape
    body = []
    for each, row in zip(report.ordered, report.cells(), strict=True):
        cells = "".join(f"<td>{e(cell)}</td>" for cell in row)
        body.append(f'<tr{" class=lost" if each.lost else ""} title="{e(each.row.layout)}">{cells}</tr>')
    head = "".join(f"<th>{e(each)}</th>" for each in COLUMNS)
    why = "".join(f"<li><b>{e('; '.join(rows))}</b><br>{e(reason)}</li>" for reason, rows in report.losses)
    notes = "".join(f"<li>{e(each)}</li>" for each in report.remarks())
    return (
        f'<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>hotpath beside other packages</title><style>{STYLE}</style><h1>hotpath beside other packages</h1>"
        f"<p>{e(report.date)}, size {e(report.size)}. {e(report.machine)}.<br>{e(RATIO)}. Again: {e(HOW)}.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        f"{'<h2>What was lost, and why</h2><ul>' + why + '</ul>' if why else ''}<ul>{notes}</ul></html>\n"
    )


def write(report: Report, folder: Path | None = None) -> list[Path]:
    """peers.jsonl, .csv, .md and .html; and kept.json for the next run."""
    folder = folder or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "peers.jsonl": "".join(f"{line}\n" for line in as_json(report)),
        "peers.csv": as_csv(report),
        "peers.md": as_markdown(report),
        "peers.html": as_html(report),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "kept.json").write_bytes(msgspec.json.encode(Kept(report.host, report.size, report.parts)))
    return [folder / name for name in texts]
