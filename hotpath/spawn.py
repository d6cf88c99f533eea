"""How a process of this package is started: the code it may import, and the environment it is given.

`python -m` puts the current folder first on the import path, and whatever lies there in front of the standard
library: a file named `json.py` would run inside the process that holds the venue's password. So every child is
started with -P, and is told where this package lies only when it is no installed one.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

PACKAGE_PARENT = Path(__file__).resolve().parent.parent


def module_command(module: str, *arguments: str) -> list[str]:
    """``python -m module arguments``, without the current folder on the import path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(*, without: Iterable[str] = ()) -> dict[str, str]:
    """This process's environment for a child that runs the same package; `without` are variables it must not see."""
    environment = {name: value for name, value in os.environ.items() if name not in set(without)}
    installed = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    if str(PACKAGE_PARENT) not in installed:  # a checkout
        known = environment.get("PYTHONPATH", "")
        own = [str(folder) for folder in (PACKAGE_PARENT, PACKAGE_PARENT / "control") if folder.is_dir()]
        environment["PYTHONPATH"] = os.pathsep.join([*own, *filter(None, [known])])
    return environment
