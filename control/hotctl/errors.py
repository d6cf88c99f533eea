"""Every error that hotctl raises on purpose; its root is hotpath's, so that one command line reports both.

    HotctlError                  1
    ├── ProjectionError         65   the projection contradicts its journal, or cannot be what was asked for
    │   ├── DatabaseDownError   69   the database does not answer, or refuses: try again
    │   └── DriverMissingError  69   a package for this database is not installed
    ├── AuditError              65   the audit log cannot be written, or is damaged
    └── CallError                4   what a control process answered, or that it did not answer
        ├── UsageError           2   what was asked for is no such thing
        ├── DeniedError          3   this identity may not
        ├── UnreachableError     5   nobody answers there; nothing was done
        ├── UnknownOutcomeError  6   it was asked and no answer came: it may have been done
        └── PartialError         7   it is done, but not all of it

The codes from 2 to 7 are those of `hotctl`'s own verbs, and docs/control.md lists them.
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


class AuditError(HotctlError):
    """The audit log cannot be written, or is damaged."""

    exit_code = 65


class CallError(HotctlError):
    """What was asked for does not hold now: a precondition, a version that moved on."""

    exit_code = 4


class UsageError(CallError):
    """What was asked for is no such thing: a name, a value, a request id used for something else."""

    exit_code = 2


class DeniedError(CallError):
    """This identity may not."""

    exit_code = 3


class UnreachableError(CallError):
    """Nobody answers there; nothing was done."""

    exit_code = 5


class UnknownOutcomeError(CallError):
    """It was asked and no answer came: it may have been done. The same request id asks again and does nothing twice."""

    exit_code = 6


class PartialError(CallError):
    """It is done, but not all of it."""

    exit_code = 7
