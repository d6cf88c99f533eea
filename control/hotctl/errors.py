"""Every error that hotctl raises on purpose; its root is hotpath's, so that one command line reports both.

HotpathError
└── HotctlError          1
    └── ProjectionError     65   the projection contradicts its journal, or cannot be what was asked for
        ├── DatabaseDownError   69   the database does not answer, or refuses: try again
        └── DriverMissingError  69   a package for this database is not installed
"""

from __future__ import annotations

from hotpath.errors import HotpathError


class HotctlError(HotpathError):
    """The root; nothing raises it itself."""


class ProjectionError(HotctlError):
    """The projection contradicts its journal, or cannot be what was asked for."""

    exit_code = 65


class DatabaseDownError(ProjectionError):
    """The database does not answer, refuses, or took too long. Nothing is lost: the journal has it all."""

    exit_code = 69


class DriverMissingError(ProjectionError):
    """A package for this database is not installed."""

    exit_code = 69
