"""What the registry raises on purpose.

HotpathError
└── RegistryError      65   a registry is missing, damaged or was changed behind its log
    ├── ManifestError     65   a manifest is no such thing
    ├── RefusedError      65   a candidate did not pass a gate: `gate` is its name
    └── UnknownModelError 69   there is no model, version or alias of that name
"""

from __future__ import annotations

from hotpath.errors import HotpathError


class RegistryError(HotpathError):
    """A registry is missing, damaged, or was changed behind its log."""

    exit_code = 65


class ManifestError(RegistryError):
    """A manifest is no such thing."""


class RefusedError(RegistryError):
    """A candidate did not pass a gate."""

    def __init__(self, gate: str, found: str, *, next_step: str = "") -> None:
        super().__init__(f"refused at the gate `{gate}`: {found}", next_step=next_step)
        self.gate = gate
        self.found = found


class UnknownModelError(RegistryError):
    """There is no model, version or alias of that name."""

    exit_code = 69
