"""Which walls this host can put around a candidate."""

from __future__ import annotations

from ffi import lib


def missing_walls() -> list[str]:
    """Names of those that it lacks; none: admission is confined here."""
    lacking = []
    if not lib.sandbox_landlock_version():
        lacking.append("Landlock")
    if not lib.sandbox_has_seccomp():
        lacking.append("seccomp")
    return lacking
