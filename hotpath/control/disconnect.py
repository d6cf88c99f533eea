"""What becomes of open orders when their session ends: declared by gateway kind; docs/kill.md has the table.

    python -m hotpath.control.disconnect      prints the table

A run writes what holds for it into the control page (enum on_disconnect of layout.h), where status finds it.
The engine relies on it for nothing: what is open after a lost session counts at worst case until the next login
cancels it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ffi import lib
from ffi.dtypes import enum_names
from hotpath.config import GatewayConfig


@dataclass(frozen=True)
class Declaration:
    """One venue kind. `behaviour`: a name of enum on_disconnect, as ``by_account``."""

    kind: str
    behaviour: str
    told: str
    where: str


DECLARATIONS = (
    Declaration(
        "ouch50",
        "by_account",
        "by the account: `gateway.on_disconnect` says which",
        "the venue's port or account set-up; no message of OUCH asks for it or tells it",
    ),
    Declaration(
        "ouch42",
        "by_account",
        "by the account: `gateway.on_disconnect` says which",
        "the venue's port or account set-up; no message of OUCH asks for it or tells it",
    ),
    Declaration(
        "paper", "dies", "dies with the gateway's process", "the next process tells every order to be canceled"
    ),
)
SIMULATOR = Declaration(
    "the simulator",
    "by_account",
    "cancels, or leaves",
    "`accounts[].cancel_on_disconnect` of its configuration",
)


def behaviour_names() -> dict[int, str]:
    """Names by their numbers: "unknown", "by_account", "cancels", ..."""
    return {number: name.removeprefix("ON_DISCONNECT_").lower() for number, name in enum_names("on_disconnect").items()}


def on_disconnect(gateway: GatewayConfig) -> int:
    """What holds for one session, as enum on_disconnect: what its account's set-up says, else the kind's own."""
    kind = next(each for each in DECLARATIONS if each.kind == gateway.kind)
    behaviour = kind.behaviour
    if behaviour == "by_account" and gateway.on_disconnect != "by_account":
        behaviour = gateway.on_disconnect
    return int(getattr(lib, f"ON_DISCONNECT_{behaviour.upper()}"))


def disconnect_table() -> str:
    """The table of docs/kill.md."""
    rows = (f"| {each.kind} | {each.told} | {each.where} |\n" for each in (*DECLARATIONS, SIMULATOR))
    return "| venue kind | on disconnect | where that is set |\n|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    print(disconnect_table(), end="")
