"""A configuration as the text of a TOML file."""

from __future__ import annotations

import re
from typing import Any

import msgspec


def toml_text(tables: dict[str, Any]) -> str:
    """A file that loads to the same tables."""
    lines: list[str] = []
    _render_table(lines, "", tables)
    return "\n".join(lines).strip() + "\n"


def _render_table(lines: list[str], name: str, table: dict[str, Any]) -> None:
    """Scalars first, then the tables below this one, as TOML wants."""
    scalars = {key: value for key, value in table.items() if not _is_table(value) and value is not None}
    if not name:  # the file itself holds tables alone; an empty list there is a list of tables
        scalars = {}
    if name and (scalars or not table):
        lines.extend(["", f"[{name}]"])
    lines.extend(f"{key} = {_render_value(value)}" for key, value in scalars.items())
    for key, value in table.items():
        if isinstance(value, list) and _is_table(value):
            for entry in value:
                lines.extend(["", f"[[{key}]]"])
                settings = {name: setting for name, setting in entry.items() if setting is not None}
                lines.extend(f"{name} = {_render_value(setting)}" for name, setting in settings.items())
        elif isinstance(value, dict):
            bare = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _render_value(key)
            if value or key != "instruments":
                _render_table(lines, f"{name}.{bare}" if name else bare, value)


def _is_table(value: Any) -> bool:
    """A table, or a list of tables."""
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _render_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_render_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_render_value(item)}" for key, item in value.items()) + " }"
    # JSON's strings, numbers and booleans are TOML's too.
    return msgspec.json.encode(value).decode()
