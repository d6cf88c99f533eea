"""The table of rings in ffi's README is the one by which the engine makes them."""

from __future__ import annotations

import re
from pathlib import Path

from hotpath.topology import STAGES, ring_table

README = Path(__file__).resolve().parents[2] / "ffi" / "README.md"
Row = tuple[set[str], set[str], str]


def words(cell: str) -> set[str]:
    """Names in a cell, without what stands in brackets."""
    return set(re.findall(r"[A-Za-z]+", re.sub(r"\(.*?\)", "", cell)))


def documented() -> dict[str, tuple[str, Row]]:
    """(writer, (gating, observers, when full)) by ring."""
    table = README.read_text().split("## Rings")[1].split("\n## ")[0]
    rows = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`([A-Za-z.]+)`", cells[0]) if line.startswith("| `") else []:
            rows[name] = (cells[1], (words(cells[2]), words(cells[3]), cells[4]))
    return rows


def test_every_ring_of_the_engine_is_documented_as_it_is() -> None:
    rows = documented()
    for ring in ring_table(paper=True, journal=True, tap=True, ingress=True, models=True, seats=["NAME"]):
        writer, (gating, observers, when_full) = rows[ring.name]
        assert ring.writer in writer or (writer == "that stage" and ring.name == f"{ring.writer}.ctl")
        assert (gating, observers) == (set(ring.gating), set(ring.observers)), ring.name
        assert when_full, f"{ring.name}: what happens when it is full?"


def test_no_ring_is_documented_that_does_not_exist() -> None:
    assert set(documented()) == {
        ring.name for ring in ring_table(paper=True, journal=True, tap=True, ingress=True, models=True, seats=["NAME"])
    }


def test_each_ring_has_one_writer_and_each_stage_its_record() -> None:
    rings = ring_table(paper=True, journal=True, tap=True, ingress=True, models=True, seats=["NAME"])
    assert len({ring.name for ring in rings}) == len(rings)
    assert {f"{stage}.ctl" for stage in STAGES} <= {ring.name for ring in rings}
    assert all(
        ring.writer in (*STAGES, "NAME", "ingress", "supervisor") and ring.writer not in ring.observers
        for ring in rings
    )
