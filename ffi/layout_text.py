"""What the layout hash is taken of: the layout as canonical text, from any cffi object that knows it.

The build takes it from the header, for C programs (client/layout_hash.h); ffi/dtypes.py from the compiled extension.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any


def layout_text(ffi: Any, *, structs: Iterable[str], enums: Iterable[str], constants: Mapping[str, int]) -> str:
    """A line for each size, field, enum value and constant."""
    lines = []
    for struct in structs:
        ctype = ffi.typeof(struct)
        lines.append(f"struct {struct} {ffi.sizeof(ctype)}")
        lines += [f"field {struct}.{name} {field.type.cname} {field.offset}" for name, field in ctype.fields]
    for enum in enums:
        values = sorted(ffi.typeof(f"enum {enum}").relements.items())
        lines += [f"enum {enum}.{name} {value}" for name, value in values]
    lines += [f"constant {name} {value}" for name, value in constants.items()]
    return "\n".join(lines)


def text_hash(text: str) -> int:
    """64 bits of it."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
