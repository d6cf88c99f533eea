"""out/bench/scale/: one page of all curves, and each curve as a PNG. Without matplotlib, tables alone."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path

from bench.harness import OUT, Table, fingerprint, ns_text
from bench.scale.curve import Curve, bend_text, count_text
from hotpath.errors import HistoryError

FOLDER = OUT / "scale"


def table_of(curve: Curve) -> Table:
    """Points by rows, lines by columns; bends, reason and limits below."""
    table = Table(f"{curve.title}: {curve.y_label}", [curve.x_label, *(line.name for line in curve.lines)])
    for x in sorted({point.x for line in curve.lines for point in line.points}):
        cells = []
        for line in curve.lines:
            point = next((each for each in line.points if each.x == x), None)
            cells.append(
                "" if point is None else value_text(curve, point.value) + (" modelled" if point.modelled else "")
            )
        table.rows.append([f"{x:,.0f}", *cells])
    table.notes += [*bend_notes(curve), curve.why, *curve.limits, curve.control]
    return table


def bend_notes(curve: Curve) -> list[str]:
    """Where each line bends."""
    return [
        f"{line.name}: {bend_text(line, bend, scale=curve.scale, unit=curve.unit, of=curve.x_label)}"
        for line, bend in zip(curve.lines, curve.bends().values(), strict=True)
    ]


def value_text(curve: Curve, value: float) -> str:
    """As its unit is read."""
    return ns_text(round(value, 1)) if curve.unit == "ns" else f"{count_text(value)} /s"


def write(curves: list[Curve], *, size: str) -> list[Path]:
    """The page and its pictures; which files were written."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    written, sections, notice = [], [], ""
    for curve in curves:
        svg = ""
        try:
            from bench.scale.figures import draw
        except HistoryError as error:
            notice = str(error)
        else:
            picture = draw(curve)
            png = FOLDER / f"{curve.name}.png"
            png.write_bytes(picture.png)
            written.append(png)
            svg = picture.svg
        sections.append(section(curve, svg))
    page = FOLDER / "index.html"
    page.write_text(render(sections, size=size, notice=notice), encoding="utf-8")
    return [page, *written]


def section(curve: Curve, svg: str) -> str:
    """One curve."""
    table = table_of(curve)
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    words = [*(f"<p><b>{escape(note)}</b></p>" for note in bend_notes(curve)), f"<p>{escape(curve.why)}</p>"]
    words += [f"<p>{escape(note)}</p>" for note in (*curve.limits, curve.control)]
    return (
        f'<h2>{escape(curve.title)}</h2><p>{escape(curve.topology)}</p><div class="pair"><figure>{svg}</figure>'
        f"<div>{''.join(words)}</div></div><details><summary>figures</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def render(sections: list[str], *, size: str, notice: str) -> str:
    """The page."""
    from hotpath.history.page import STYLE

    host = fingerprint()
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    rough = "" if size == "full" else f'<div class="notice">A {escape(size)} run: rougher than a full one.</div>'
    missing = f'<div class="notice">{escape(notice)}</div>' if notice else ""
    return "\n".join([
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>hotpath: how cost grows</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body>",
        f'<header><h1>How cost grows</h1><span class="muted">{when}</span></header>',
        f"<p>{escape(host['processor'])}, {host['cpus']} processors, Linux {escape(host['kernel'])}, "
        f"{escape(host['compiler'])}, ffi {host['ffi_sha256']}. Medians; the thick strokes are quartiles of repeats "
        "made in rounds. Again: <code>make scale</code></p>",
        rough,
        missing,
        *sections,
        "</body></html>",
    ]) + "\n"  # fmt: skip
