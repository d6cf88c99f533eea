"""What the jobs on this machine found: one JSON line a job, and a page of trends.

out/bench/history/<host>.jsonl    the host is a hash of processor, kernel and compiler: others do not compare
out/bench/history/<host>.html     one file, plots inlined; without matplotlib, tables alone
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import msgspec

from bench.harness import OUT, fingerprint
from bench.latency.gate import Job

HISTORY = OUT / "history"
OF_HOST = ("processor", "cpus", "kernel", "compiler")
SHOWN_MAX = 200  # jobs on the page
Record = dict[str, Any]


def keep(job: Job) -> Path:
    """Add the job to this host's history; the page made anew."""
    HISTORY.mkdir(parents=True, exist_ok=True)
    lines = HISTORY / f"{host_name()}.jsonl"
    torn = lines.exists() and not lines.read_bytes().endswith(b"\n")
    with lines.open("ab") as file:
        file.write((b"\n" if torn else b"") + msgspec.json.encode(job.record()) + b"\n")
    page = lines.with_suffix(".html")
    page.write_text(render(read(lines)), encoding="utf-8")
    return page


def host_name() -> str:
    """This machine in twelve digits."""
    host = fingerprint()
    return hashlib.sha256(repr([host[name] for name in OF_HOST]).encode()).hexdigest()[:12]


def read(path: Path) -> list[Record]:
    """Every job, oldest first. A line that a crash cut short is passed over."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Record))
        except msgspec.DecodeError:
            continue
    return found


def series_of(records: list[Record]) -> dict[str, list[tuple[int, float]]]:
    """By test of the timing part: instant and ns of head, of jobs without a plant."""
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if record["plant"] or record["size"] == "smoke":
            continue
        for each in record["parts"].get("timing", {}).get("records", []):
            found.setdefault(each["test"], []).append((record["time_ns"], each["head_ns"]))
    return found


def render(records: list[Record]) -> str:
    """The page."""
    from hotpath.history.page import STYLE

    host = records[-1]["host"] if records else {}
    title = escape(f"latency gate: {host.get('processor', 'this machine')}")
    return "\n".join([
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body>",
        f"<header><h1>{title}</h1></header>",
        f"<p>{len(records):,} jobs on this host: {escape(str(host.get('compiler', '')))}, "
        f"Linux {escape(str(host.get('kernel', '')))}. Planted regressions are listed and not plotted.</p>",
        plots(series_of(records)),
        "<h2>Jobs</h2>",
        f'<div class="scroll">{jobs_table(records[-SHOWN_MAX:])}</div>',
        "</body></html>",
    ])  # fmt: skip


def jobs_table(records: list[Record]) -> str:
    """One row a job, the newest first."""
    heads = ("when (UTC)", "base", "head", "plant", "size", "verdict", "seconds", "why")
    colours = {"pass": "good", "fail": "bad", "inconclusive": "warn"}
    rows = []
    for record in reversed(records):
        when = datetime.fromtimestamp(record["time_ns"] / 1e9, UTC)
        why = "; ".join(record["caught"] or record["doubts"])
        cells = [
            f"{when:%Y-%m-%d %H:%M}", record["base"][:12], record["head"][:12], record["plant"] or "", record["size"],
        ]  # fmt: skip
        body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        verdict = f'<td class="{colours[record["verdict"]]}">{record["verdict"]}</td><td>{record["seconds"]:.0f}</td>'
        rows.append(f"<tr>{body}{verdict}<td>{escape(why)}</td></tr>")
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def plots(series: dict[str, list[tuple[int, float]]]) -> str:
    """A plot for each test, in the order of jobs."""
    from hotpath.errors import HistoryError

    try:
        from bench.latency.figures import trend
    except HistoryError as error:
        return f'<div class="notice">{escape(str(error))}</div>'
    figures = "".join(
        f"<figure><h2>{escape(name)}</h2>{trend(name, [ns for _, ns in points])}</figure>"
        for name, points in series.items()
    )
    return f'<div class="pair">{figures}</div>'
