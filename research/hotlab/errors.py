"""Every error that hotlab raises on purpose; its root is hotpath's, so that one command line reports both.

HotpathError
└── LabError              1    the root; nothing raises it itself
    ├── SourceError         65   what was to be taken in cannot be read, or lacks something
    │   └── GapError          65   it has a gap, or cannot show that it has none
    ├── DatasetError        65   a dataset is missing, damaged or of another schema
    ├── TrainingError       65   a model cannot be trained or evaluated on this
    ├── PublishError        65   a model cannot be published
    └── ExtraMissingError   69   a package that this needs is not installed; says which extra brings it
"""

from __future__ import annotations

import importlib
from types import ModuleType

from hotpath.errors import HotpathError


class LabError(HotpathError):
    """The root; nothing raises it itself."""


class SourceError(LabError):
    """What was to be taken in cannot be read, or lacks something."""

    exit_code = 65


class GapError(SourceError):
    """A source has a gap, or cannot show that it has none."""


class DatasetError(LabError):
    """A dataset is missing, damaged or of another schema."""

    exit_code = 65


class TrainingError(LabError):
    """A model cannot be trained or evaluated on this."""

    exit_code = 65


class PublishError(LabError):
    """A model cannot be published."""

    exit_code = 65


class ExtraMissingError(LabError):
    """A package that this needs is not installed."""

    exit_code = 69


def need(module: str, *, extra: str, why: str) -> ModuleType:
    """Import a package of an extra. Raises ExtraMissingError that names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExtraMissingError(
            f"{why} needs {module.split('.')[0]}, which cannot be imported: {error}",
            next_step=f"pip install 'hotpath-engine[{extra}]'",
        ) from None
