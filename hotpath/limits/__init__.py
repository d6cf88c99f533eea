"""Risk limits: what there is, one copy of them, and the desk at which people change them.

catalogue.py  every limit by name: unit, scopes, default, meaning, the reason that it gives
copy.py       one copy of all limits in memory, read and written by dotted names
page.py       the limits segment: two copies and a generation; its first copy is the configuration's
kept.py       what people changed, in a file that outlives the run
desk.py       a change by whoever may make one: lock, compare, file, journal, shared memory
"""

from hotpath.limits.catalogue import LIMITS, Limit, describe
from hotpath.limits.copy import LimitsCopy, Temporary, Token
from hotpath.limits.page import copy_bytes, current_copy, limits_copy, publish_copy, publish_limits, segment_bytes

__all__ = [
    "LIMITS",
    "Limit",
    "LimitsCopy",
    "Temporary",
    "Token",
    "copy_bytes",
    "describe",
    "limits_copy",
    "publish_limits",
    "segment_bytes",
    "current_copy",
    "publish_copy",
]
