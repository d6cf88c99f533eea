"""What a venue does with open orders when a session ends: declared by gateway kind, told, documented."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from ffi import lib
from hotpath.config import GatewayConfig
from hotpath.control.disconnect import DECLARATIONS, behaviour_names, disconnect_table, on_disconnect

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_gateway_kind_declares_what_becomes_of_its_orders() -> None:
    kinds = typing.get_args(typing.get_type_hints(GatewayConfig)["kind"])
    assert [each.kind for each in DECLARATIONS] == list(kinds)
    assert {each.behaviour for each in DECLARATIONS} <= set(behaviour_names().values()) - {"unknown"}


def test_table_of_the_docs_is_the_code_s() -> None:
    page = (REPOSITORY / "docs" / "kill.md").read_text()
    assert disconnect_table() in page, "make it again: python -m hotpath.control.disconnect"


@pytest.mark.parametrize(
    ("gateway", "number"),
    [
        (GatewayConfig(kind="paper"), lib.ON_DISCONNECT_DIES),
        (GatewayConfig(kind="paper", on_disconnect="leaves"), lib.ON_DISCONNECT_DIES),
        (GatewayConfig(kind="ouch42"), lib.ON_DISCONNECT_BY_ACCOUNT),
        (GatewayConfig(kind="ouch50", on_disconnect="cancels"), lib.ON_DISCONNECT_CANCELS),
        (GatewayConfig(kind="ouch50", on_disconnect="leaves"), lib.ON_DISCONNECT_LEAVES),
    ],
)
def test_account_s_setting_stands_where_the_kind_leaves_it_to_the_account(gateway: GatewayConfig, number: int) -> None:
    assert on_disconnect(gateway) == number
