"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("HOTPATH_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data; absent on a user's machine, always there in CI."""
    folder = SHARED / "data"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"real market data is missing in CI: {folder}")
        pytest.skip(f"real market data is missing: {folder} (set HOTPATH_SHARED)")
    return folder


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """An engine name of the test's own; whatever segments lie under it afterwards are removed."""
    from hotpath import segments

    name = f"t{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}"
    yield name
    segments.unlink_all(segments.list_segments(name))
