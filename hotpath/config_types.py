"""What the tables of the configuration are made of: their base, and numbers within their bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,23}$")]
SenderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")]
Host = Annotated[str, Meta(min_length=1, max_length=255)]
Port = Annotated[int, Meta(ge=1, le=65535)]
PositiveInt = Annotated[int, Meta(ge=1, le=2**53)]
WholeInt = Annotated[int, Meta(ge=0, le=2**53)]
Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Money = Annotated[float, Meta(ge=0, le=1e12)]
Weight = Annotated[float, Meta(ge=-1000, le=1000)]
Scale = Annotated[float, Meta(gt=0, le=1e9)]
FeeRate = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
FeeVenue = Literal["default", "paper", "ouch50", "ouch42"]
Capacity = Annotated[int, Meta(ge=64, le=2**24)]


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file."""
