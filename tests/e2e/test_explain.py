"""The story of an order: whole for whatever happened to it, and never told against what the journal says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ffi import lib
from hotpath.errors import JournalError
from hotpath.explain.story import Story
from hotpath.explain.tell import explain_order
from hotpath.journal import Journal
from tests.e2e.conftest import OPEN_ORDERS_MAX
from tests.support.engines import REPOSITORY
from tests.support.journals import rewrite_ring


def orders_by_fate(folder: Path) -> dict[str, int]:
    """One order id of each kind, and of each fate."""
    journal = Journal(folder)
    commands, executions = journal.events("cmd"), journal.events("exec")
    types = commands["header"]["type"]
    found = {
        name: int(commands["order_id"][types == kind][-1])
        for name, kind in (("new", lib.CMD_NEW), ("replace", lib.CMD_REPLACE), ("cancel", lib.CMD_CANCEL))
        if (types == kind).any()
    }
    fills = executions["order_id"][executions["header"]["type"] == lib.EXEC_FILL]
    found["filled"] = int(fills[-1])
    found["refused"] = int(journal.events("reject")["order_id"][-1])
    return found


def test_every_order_of_the_run_can_be_explained(traded: Path) -> None:
    for fate, order in orders_by_fate(traded).items():
        story = explain_order(traded, order)
        assert story.sound, (fate, [check for check in story.checks if not check.holds])
        assert story.signal is not None and story.risk is not None and story.risk.limits, fate
        assert (story.wire is None) == (fate == "refused"), fate


def test_story_of_a_fill_goes_from_bytes_to_fill(traded: Path) -> None:
    story = explain_order(traded, orders_by_fate(traded)["filled"])
    assert story.market is not None and story.market.message is not None
    assert story.market.message.fields["time"] and story.market.before != story.market.after
    assert {each.name for each in story.features} >= {"mid", "imbalance_top", "volatility"}
    assert story.components and story.wire is not None and story.wire.sent
    assert story.wire.frame.says.startswith("OUCH 5.0") and "fill" in [report.type for report in story.reports]
    hops = {hop.name: hop.ns for hop in story.hops}
    parts = hops["feed"] + hops["signal"] + hops["risk"] + hops["gateway"]
    assert parts == hops["T0 to T1"], "the hops are the whole path"
    assert story.outcome.startswith("filled")


def test_refused_order_names_its_limit_value_and_threshold(traded: Path) -> None:
    story = explain_order(traded, orders_by_fate(traded)["refused"])
    assert story.risk is not None and story.outcome == f"refused by risk: {story.risk.decision.replace('_', ' ')}"
    first = next(row for row in story.risk.limits if row.outcome == "refuses")
    assert first.name == story.risk.decision
    if first.name == "open_orders":
        assert (first.value, first.threshold) == (OPEN_ORDERS_MAX, OPEN_ORDERS_MAX)


def test_unknown_order_is_told_which_there_are(traded: Path) -> None:
    with pytest.raises(JournalError, match=r"no order 999,999: this run has orders 1 to \d+"):
        explain_order(traded, 999_999)


def test_changed_bytes_are_not_explained_away(traded: Path, tmp_path: Path) -> None:
    """A price on the wire changed afterwards, checksums and all: the book makes another event than the path saw."""
    copy = tmp_path / "copy"
    shutil.copytree(traded, copy)
    journal = Journal(copy)
    order = orders_by_fate(copy)["new"]
    intent = journal.events("signal")[order - 1]
    norm = journal.events("norm")[int(intent["header"]["cause_sequence"])]
    raw_sequence = int(norm["header"]["cause_sequence"])

    events = np.array(journal.events("raw"))
    events["bytes"][raw_sequence, 18] ^= 1  # of the order number
    rewrite_ring(copy, "raw", events)
    story = explain_order(copy, order)
    assert not story.sound
    assert next(check.what for check in story.checks if not check.holds).startswith("the book, rebuilt")


def test_changed_executions_are_found_by_the_digest_of_risk(traded: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(traded, copy)
    events = np.array(Journal(copy).events("exec"))
    events["quantity_lots"][events["header"]["type"] == lib.EXEC_FILL] *= 100_000
    rewrite_ring(copy, "exec", events)
    with pytest.raises(JournalError, match="risk decided otherwise than its record says, in turn"):
        explain_order(copy, int(Journal(copy).events("cmd")["order_id"][-1]))


def test_command_line_prints_a_plain_page_and_json(traded: Path) -> None:
    order = orders_by_fate(traded)["filled"]
    command = [sys.executable, "-m", "hotpath", "explain", str(order), "--journal", str(traded)]
    page = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert page.returncode == 0, page.stderr
    assert "\x1b" not in page.stdout and max(map(len, page.stdout.splitlines())) <= 100
    for part in ("The market spoke", "The gate", "On the wire", "What the venue said", "T0 to T1"):
        assert part in page.stdout
    told = subprocess.run([*command, "--json"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    document = json.loads(told.stdout)
    assert document["sound"] and msgspec.convert(document, Story).order_id == order
    refused = subprocess.run(
        [*command[:4], "777777", "--journal", str(traded)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 65 and "there is no order 777,777" in refused.stderr
