"""Code of the user's own, named in the configuration: "module:name", or "path.py:name".

A path is relative to the configuration file; its folder is put on the import path, as for a script, so that a
strategy may be several files. A module must be importable: installed, or on PYTHONPATH.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hotpath.errors import ConfigError


def split_reference(reference: str) -> tuple[str, str]:
    """("path.py", "name") or ("module", "name"). Raises ValueError when it is neither."""
    source, colon, name = reference.rpartition(":")
    if not colon or not source or not name.isidentifier():
        raise ValueError(f'{reference!r} is not "module:name" or "path.py:name"')
    return source, name


def absolute_reference(reference: str, folder: Path) -> str:
    """The same reference with an absolute path, where it names a file; else as it is."""
    source, colon, name = reference.rpartition(":")
    if not source.endswith(".py"):
        return reference
    return f"{(folder / Path(source).expanduser()).resolve()}{colon}{name}"


def load_object(reference: str, *, key: str) -> Any:
    """The object that a reference names. Raises ConfigError naming `key`, with what went wrong and where."""
    try:
        source, name = split_reference(reference)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    module = _load_file(Path(source), key=key) if source.endswith(".py") else _load_module(source, key=key)
    try:
        return getattr(module, name)
    except AttributeError:
        names = [each for each in vars(module) if not each.startswith("_")]
        raise ConfigError(f"{key}: {source} has no {name}", next_step=f"it has: {', '.join(names)}") from None


def _load_module(name: str, *, key: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise _broken(key, name, error) from error


def _load_file(path: Path, *, key: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{key}: {path}: there is no such file")
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None:  # a file may bear the name of a module that is in use
        name = f"hotpath_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(key, str(path), error) from error
    return module


def _broken(key: str, source: str, error: BaseException) -> ConfigError:
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = f" ({step.tb_frame.f_code.co_filename}:{step.tb_lineno})" if step is not None else ""
    return ConfigError(f"{key}: {source}: {type(error).__name__}: {error}{where}")
