"""The control matrix: what each check of the gate is for, where it is tested, what it costs, which rule it serves.

Made from the catalogue and from what bench/gate.py measured (docs/control-costs.json).
``python -m hotpath.limits.matrix`` prints docs/control-matrix.md; a test holds the two equal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hotpath.limits.catalogue import LIMITS, Limit, Value

COSTS = Path(__file__).resolve().parents[2] / "docs" / "control-costs.json"
SCENES = "test_gate_limits.py::test_limit_passes_at_its_boundary_and_refuses_one_step_beyond"
STORIES = "test_gate_limits.py::test_order_that_cannot_be_is_refused"


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a reason is for: how loud it is, the group that it costs with, the clauses that it serves."""

    alert: str  # info: one order; warning: somebody comes near a bound; critical: people must act
    group: str
    sec: str  # of 17 CFR 240.15c3-5
    rts6: str  # article of Commission Delegated Regulation (EU) 2017/589


ERRONEOUS, CREDIT, REGULATORY, RESTRICTED = "(c)(1)(ii)", "(c)(1)(i)", "(c)(2)(i)", "(c)(2)(ii)"
PURPOSES: dict[str, Purpose] = {
    **dict.fromkeys(("killed", "scope_killed"), Purpose("critical", "switches", REGULATORY, "12(1)")),
    **dict.fromkeys(
        ("mode", "scope_paused", "scope_cancel_only"), Purpose("warning", "switches", CREDIT, "12(3), 15(6)")
    ),
    "scope_reduce_only": Purpose("warning", "switches", CREDIT, "15(6)"),
    **dict.fromkeys(("blocked", "no_short", "instrument"), Purpose("warning", "always", RESTRICTED, "15(5)")),
    "envelope": Purpose("critical", "always", RESTRICTED, "15(5), 15(6)"),
    **dict.fromkeys(
        ("not_trading", "trading_hours", "locked", "crossed"), Purpose("info", "always", REGULATORY, "15(5)")
    ),
    **dict.fromkeys(("stale_data", "no_reference"), Purpose("warning", "always", ERRONEOUS, "15(1)(a)")),
    **dict.fromkeys(("quantity", "round_lot"), Purpose("info", "always", ERRONEOUS, "15(1)(c)")),
    **dict.fromkeys(("price", "time_in_force", "unknown_order"), Purpose("info", "always", ERRONEOUS, "15(1)")),
    "order_value": Purpose("info", "always", ERRONEOUS, "15(1)(b)"),
    "collar": Purpose("info", "always", ERRONEOUS, "15(1)(a)"),
    **dict.fromkeys(
        ("collar_ticks", "trade_collar", "through", "move"), Purpose("info", "collars", ERRONEOUS, "15(1)(a)")
    ),
    "self_trade": Purpose("warning", "collars", REGULATORY, "13"),
    **dict.fromkeys(("repeated_order", "resting", "cooldown"), Purpose("info", "timing", ERRONEOUS, "15(1)(d)")),
    "duplicate": Purpose("warning", "always", ERRONEOUS, "15(1)"),
    **dict.fromkeys(
        ("order_rate", "replace_rate", "cancel_rate", "message_rate"),
        Purpose("warning", "rates", ERRONEOUS, "15(1)(d)"),
    ),
    "throttle": Purpose("warning", "always", ERRONEOUS, "15(1)(d)"),
    "open_orders": Purpose("warning", "rates", CREDIT, "15(2)"),
    "order_to_trade": Purpose("warning", "conduct", REGULATORY, "15(1)(d)"),
    "executions": Purpose("critical", "conduct", ERRONEOUS, "15(3)"),
    "breaker": Purpose("warning", "conduct", ERRONEOUS, "15(3)"),
    "participation": Purpose("warning", "market", REGULATORY, "13"),
    **dict.fromkeys(
        ("volatility", "spread", "depth", "safe_mode"), Purpose("warning", "market", ERRONEOUS, "15(1)(a)")
    ),
    **dict.fromkeys(("position", "gross_value"), Purpose("warning", "always", CREDIT, "15(4), 15(6)")),
    **dict.fromkeys(("scope_position", "net_value", "credit"), Purpose("warning", "exposure", CREDIT, "15(4), 15(6)")),
    **dict.fromkeys(("day_value", "day_quantity"), Purpose("warning", "day", CREDIT, "15(2), 15(4)")),
    **dict.fromkeys(("day_loss", "drawdown"), Purpose("critical", "loss", CREDIT, "15(4)")),
    **dict.fromkeys(("model", "intent_age", "score_jump"), Purpose("warning", "always", ERRONEOUS, "15(3)")),
}
# Checks that no limit sets: every order must pass them.
BASE: tuple[tuple[str, str], ...] = (
    ("killed", "the engine is armed"),
    ("mode", "the mode allows it; reduce-only at true worst case"),
    ("instrument", "the instrument is traded here, and its figures make sense"),
    ("not_trading", "the venue says that it trades: neither halt stands, no auction"),
    ("no_reference", "there is a price to hold it against"),
    ("crossed", "the bid is not over the offer"),
    ("price", "a price, and a multiple of the step"),
    ("unknown_order", "what it replaces or cancels is known"),
    ("duplicate", "its identity was not approved before, over restarts too"),
)


def alert_of(reason: str) -> str:
    """How loud a refusal for this reason is: info, warning or critical."""
    return PURPOSES[reason].alert if reason in PURPOSES else "warning"


def _value_text(value: Value) -> str:
    if value is None:
        return "off"
    return str(value).lower() if isinstance(value, bool) else f"{value:,}"


def _default(limit: Limit) -> str:
    firm = {"gross_value_currency_max": 1_000_000, "open_orders_max": 100, "messages_per_second_max": 1000}
    text = _value_text(limit.default)
    return f"{text} (firm: {firm[limit.name]:,})" if "firm" in limit.scopes and limit.name in firm else text


def _cost(group: str, costs: dict[str, dict[str, float]]) -> str:
    found = costs.get(group)
    return f"{found['instructions']:,.0f} / {found['ns']:.0f}" if found else "-"


def _row(
    name: str, checks: str, scopes: str, default: str, reason: str, test: str, costs: dict[str, dict[str, float]]
) -> str:
    purpose = PURPOSES[reason]
    cells = [
        f"`{name}`", checks, scopes, default, purpose.alert, f"`risk.reject_{reason}`", test,
        f"{purpose.group}: {_cost(purpose.group, costs)}", purpose.sec, purpose.rts6,
    ]  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def matrix() -> str:
    """The whole document."""
    costs = json.loads(COSTS.read_text())["groups"]
    lines = [HEAD.strip(), ""]
    columns = [
        "control",
        "what it checks",
        "scopes",
        "default",
        "alert",
        "counter",
        "test",
        "instructions / ns",
        "15c3-5",
        "RTS 6",
    ]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for reason, checks in BASE:
        lines.append(_row(reason, checks, "every order", "always", reason, "stories", costs))
    for limit in LIMITS:
        if not limit.reason:
            continue
        dimension = f" ({limit.unit})" if limit.unit != "yes/no" else ""
        lines.append(
            _row(
                limit.name,
                limit.meaning + dimension,
                ", ".join(limit.scopes),
                _default(limit),
                limit.reason,
                "scene",
                costs,
            )
        )
    lines += ["", TAIL.strip(), ""]
    return "\n".join(lines)


HEAD = """
# Control matrix of the risk gate

Generated: `python -m hotpath.limits.matrix > docs/control-matrix.md`. Each control refuses an order by itself, with its
own reason (`hotpath explain` shows value and threshold of every one), and counts it. 15c3-5: 17 CFR 240.15c3-5, the
market access rule. RTS 6: articles of Commission Delegated Regulation (EU) 2017/589. Which clause a control serves is
the engineers' reading, no legal advice.
"""
TAIL = f"""
- *scene*: `tests/unit/{SCENES}`,
  one for each scope, at both sides of the boundary; *stories*: `tests/unit/{STORIES}`.
  `tests/property/test_gate_scopes.py` holds all of them to a slow reference; `make mutants` plants a bug in each check.
- *instructions / ns*: of one order, for the whole group of limits in every scope, over an order with those off
  (callgrind; ns are medians of a shared machine). *always*: part of every order's cost.
  `python -m bench --only gate` measures an order with none and with all of them.
- An override token forgives one order one of the reasons that people may forgive: never switches, the envelope, lists,
  the model or missing data. A temporary limit goes back by itself, by the turn's own clock.
- Trading hours: `[risk] trading_hours = true` fills `limits_header.hours` with the sessions of the engine's calendar,
  early closes included, for the run's day and the next three business days; instants, by the calendar's time zone.
"""

if __name__ == "__main__":
    print(matrix(), end="")
