"""NumPy dtypes, layout hash and names, all derived from the compiled layout.

    layout.h --cffi--> ffi.typeof(...) --> dtype_of("norm_event"), layout_hash(), enum_names("event_type")

Nothing here repeats a field: a struct that changes in ``layout.h`` changes in NumPy with the next build.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ffi import ffi, lib
from ffi._stamp import LAYOUT_CONSTANTS, LAYOUT_ENUMS, LAYOUT_TYPES
from ffi.layout_text import layout_text as canonical_text
from ffi.layout_text import text_hash

# C integers by signedness and size; `char` arrays are NUL-padded text.
_FLOATS = {"double": "f8", "float": "f4"}


def _scalar_code(ctype: ffi.CType) -> str:
    """NumPy's code of a C number."""
    if ctype.cname in _FLOATS:
        return _FLOATS[ctype.cname]
    unsigned = int(ffi.cast(ctype, -1)) > 0
    return f"{'u' if unsigned else 'i'}{ffi.sizeof(ctype)}"


def _numpy_type(ctype: ffi.CType) -> np.dtype:
    """The dtype of any C type of the layout's subset: number, text, array or struct of these."""
    if ctype.kind == "struct":
        return dtype_of(ctype.cname)
    if ctype.kind == "array":
        if ctype.item.cname == "char":
            return np.dtype(f"S{ctype.length}")
        return np.dtype((_numpy_type(ctype.item), (ctype.length,)))
    if ctype.kind in ("primitive", "enum"):
        return np.dtype(_scalar_code(ctype))
    raise TypeError(f"{ctype.cname} is a {ctype.kind}, which has no place in shared memory")


@cache
def dtype_of(struct: str) -> np.dtype:
    """The dtype of a struct, with C's own offsets and size. Raises TypeError when it holds a pointer."""
    ctype = ffi.typeof(struct)
    if ctype.kind != "struct":
        raise TypeError(f"{struct} is a {ctype.kind}, not a struct")
    fields = dict(ctype.fields)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [_numpy_type(field.type) for field in fields.values()],
            "offsets": [field.offset for field in fields.values()],
            "itemsize": ffi.sizeof(ctype),
        }
    )


def shared_structs() -> tuple[str, ...]:
    """Names of the structs that ``layout.h`` declares."""
    return LAYOUT_TYPES


def layout_text() -> str:
    """What the layout hash is taken of; a difference of two such texts names what changed."""
    constants = {name: int(getattr(lib, name)) for name in LAYOUT_CONSTANTS}
    return canonical_text(ffi, structs=LAYOUT_TYPES, enums=LAYOUT_ENUMS, constants=constants)


@cache
def layout_hash() -> int:
    """64-bit hash over every shared struct's size and every field's name, type and offset.

    Enum values and constants count too: an event type that was renumbered misleads a reader as surely as
    a field that moved.
    """
    return text_hash(layout_text())


@cache
def _enum_values(enum: str) -> dict[str, int]:
    return dict(ffi.typeof(f"enum {enum}").relements)


def enum_values(enum: str) -> dict[str, int]:
    """Value by name: ``enum_values("event_type")["NORM_ADD"]``."""
    return dict(_enum_values(enum))


def enum_names(enum: str) -> dict[int, str]:
    """Name by value, in rising order of value: ``enum_names("event_type")[16]`` is ``"NORM_ADD"``."""
    return {value: name for name, value in sorted(_enum_values(enum).items(), key=lambda item: item[1])}


def flag_names(enum: str, value: int) -> list[str]:
    """Names of the bits set in `value`, as ``["FLAG_SELL", "FLAG_TOP"]``; an unknown bit is shown in hex."""
    names = []
    for bit in range(value.bit_length()):
        if value >> bit & 1:
            names.append(enum_names(enum).get(1 << bit, hex(1 << bit)))
    return names


@cache
def _counter_names(stage: str) -> dict[int, str]:
    prefix = f"{stage}_"
    names = {
        value: name.lower().removeprefix(prefix)
        for value, name in enum_names(f"{stage}_counter").items()
        if name.lower() not in (f"{prefix}counters", f"{prefix}rejects", f"{prefix}refusals")
    }
    if stage == "risk":
        for reason, name in enum_names("reject_reason").items():
            if name not in ("REJECT_NONE", "REJECT_REASONS_MAX"):
                names[lib.RISK_REJECTS + reason] = name.lower()
    if stage == "ingress":
        for status, name in enum_names("ingress_status").items():
            if lib.INGRESS_GAP < status < lib.INGRESS_STATUSES:
                names[lib.INGRESS_REFUSALS + status] = f"refused_{name.lower().removeprefix(prefix)}"
    return names


def counter_names(stage: str) -> dict[int, str]:
    """Name by index in ``stage_page.counter``: the stage's enum in lower case without its prefix.

    Risk's rejects by reason follow its own counters, as ``reject_collar``; the ingress's refusals, as
    ``refused_bad_size``.
    """
    return dict(_counter_names(stage))
