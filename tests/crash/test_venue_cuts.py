"""The connection to the venue cut after every seventh byte, and with HOTPATH_SOAK=1 after each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.venue_cuts import cut_at_bytes
from tests.support.cut_proxy import IN, OUT

STRIDE = 1 if os.environ.get("HOTPATH_SOAK") else 7


@pytest.mark.parametrize("direction", [OUT, IN])
def test_cut_at_every_byte_doubles_no_order_and_loses_no_fill(tmp_path: Path, direction: str) -> None:
    cut_at_bytes(tmp_path, direction, stride=STRIDE)
