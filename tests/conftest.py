"""Fixtures that every test folder shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.databases import Cluster

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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server of the tests' own, killable; always there in CI."""
    from tests.support.databases import postgresql_cluster, postgresql_programs

    if postgresql_programs() is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is missing in CI: the package postgresql")
        pytest.skip("PostgreSQL is missing: the package postgresql")
    with postgresql_cluster() as running:
        yield running


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """An engine name of the test's own; whatever segments lie under it afterwards are removed."""
    from hotpath import segments

    name = f"t{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}"
    yield name
    segments.unlink_all(segments.list_segments(name))
