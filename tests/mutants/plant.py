"""Where bugs can be planted in the gate's text.

A check is one JUDGE(...) whose last argument says when it refuses: one mutant never does, another is off by one.
What the checks rest on (sums, windows, buckets, scopes) has mutants written by hand: one piece of text for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "ffi" / "src"
CHECKS = (
    "gate_state_inline.h",
    "gate_order_inline.h",
    "gate_exposure_inline.h",
    "gate_rate_inline.h",
    "gate_judge_inline.h",
)
BEYOND = ((" > ", " >= "), (" < ", " <= "), (" >= ", " > "), (" <= ", " < "))


@dataclass(frozen=True)
class Mutant:
    """One bug: `before` at `start` of a file becomes `after`. `reason`: of the check, where it is one."""

    file: str
    start: int
    before: str
    after: str
    reason: str
    what: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.file.removesuffix('_inline.h').removesuffix('.c')}: {self.what}"

    def apply(self, text: str) -> str:
        """The file's text with the bug in it."""
        assert text[self.start : self.start + len(self.before)] == self.before
        return text[: self.start] + self.after + text[self.start + len(self.before) :]


def mutants() -> list[Mutant]:
    """Every one, checks first."""
    return [*_of_checks(), *_by_hand()]


def _arguments(text: str, begin: int) -> list[tuple[int, int]]:
    """Begin and end of each argument of the call whose bracket opens at `begin`."""
    found, depth, start = [], 0, begin + 1
    for index in range(begin, len(text)):
        character = text[index]
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        if (character == "," and depth == 1) or depth == 0:
            found.append((start, index))
            start = index + 1
        if depth == 0:
            return found
    raise ValueError("a bracket that does not close")


def _of_checks() -> Iterator[Mutant]:
    for file in CHECKS:
        text = (SOURCE / file).read_text()
        for match in re.finditer(r"\bJUDGE\(", text):
            places = _arguments(text, match.end() - 1)
            reason = text[slice(*places[2])].strip().removeprefix("REJECT_").lower()
            start, end = places[-1]
            refuses = text[start:end]
            if refuses.strip() in ("0", "1"):
                continue
            line = text.count("\n", 0, match.start()) + 1
            yield Mutant(file, start, refuses, " 0", reason, f"{line} {reason} never refuses")
            for sign, other in BEYOND:
                if sign in refuses:
                    place = start + refuses.rindex(sign)
                    yield Mutant(file, place, sign, other, reason, f"{line} {reason} {sign.strip()} is {other.strip()}")
                    break


BY_HAND = (
    ("gate_inline.h", "add(window->now, window->before)", "window->now", "the window before is forgotten"),
    (
        "gate_inline.h",
        "window->before = next ? window->now : 0;",
        "window->before = window->now;",
        "an old window counts",
    ),
    ("gate_inline.h", "return credit < full ? credit : full;", "return credit;", "a bucket is deeper than a second"),
    (
        "gate_inline.h",
        "window->start_ns + length_ns : now_ns;",
        "now_ns : now_ns;",
        "windows begin when they are looked at",
    ),
    ("gate_inline.h", "== account + 1) return", "== 1) return", "accounts share a place"),
    (
        "gate_inline.h",
        "return place ? scope_entry(limits, place) : &limits->any_strategy;",
        "(void)place; return &limits->any_strategy;",
        "a strategy's own limits are not found",
    ),
    ("gate_inline.h", "if (entry->id == account) return entry;", "", "an account's own limits are not found"),
    ("gate_case_inline.h", "-open_lots[c->intent->side]", "0", "an exit forgets open orders"),
    (
        "gate_case_inline.h",
        "toward, -open_lots[c->intent->side]), target_leaves(c));",
        "toward, -open_lots[c->intent->side]), 0);",
        "an exit's replacement counts twice",
    ),
    ("gate_case_inline.h", "scope->is_exit = c->lots > 0 &&", "scope->is_exit = 0 &&", "there are no exits"),
    (
        "gate_case_inline.h",
        "c->added_lots = larger(0, add(c->lots, -target_leaves(c)));",
        "c->added_lots = c->lots;",
        "a replacement counts in full (lots)",
    ),
    (
        "gate_case_inline.h",
        "add(c->value_micros, c->target ? -c->target->value_micros : 0)",
        "c->value_micros",
        "a replacement counts in full (value)",
    ),
    ("gate_case_inline.h", "|| override_is_used(c->gate, leave->id)", "", "an override is used twice"),
    ("gate_case_inline.h", "(int64_t)c->plan->now_ns >= leave->expires_time_ns", "0", "an override never expires"),
    (
        "gate_case_inline.h",
        "intent->quantity_lots <= leave->quantity_lots_max &&",
        "",
        "an override has no bound in lots",
    ),
    (
        "gate_case_inline.h",
        "leave->instrument != NO_INSTRUMENT && leave->instrument != intent->header.instrument",
        "0",
        "an override is for every instrument",
    ),
    ("gate_case_inline.h", "default: return 0;\n    }", "default: return 1;\n    }", "anything is forgiven"),
    (
        "gate_order_inline.h",
        "price >= own : price <= own",
        "price > own : price < own",
        "an order at our own price is let through",
    ),
    ("gate_order_inline.h", "i < GATE_RECENT; i++", "i < 1; i++", "only one order is remembered"),
    ("gate_judge_inline.h", "int protective =", "int protective = 0 &&", "protective cancels are throttled"),
    (
        "gate_judge_inline.h",
        "if (active & GROUP_LOSS && kind",
        "if (active & GROUP_DAY && kind",
        "the loss is judged with the totals",
    ),
    (
        "gate_keep_inline.h",
        "if (pnl < scope->pnl_low_micros) scope->pnl_low_micros = pnl;",
        "scope->pnl_low_micros = pnl;",
        "a loss is not latched",
    ),
    ("gate_keep_inline.h", "if (fall > scope->drawdown_micros)", "", "a drawdown is not latched"),
    ("gate_keep_inline.h", "scope->executions = 0;", "", "re-arming leaves the executions"),
    (
        "gate_keep_inline.h",
        "scope->pnl_peak_micros = scope->pnl_low_micros = scope->pnl_micros;",
        "",
        "re-arming leaves the loss",
    ),
    ("gate_keep_inline.h", "if (!lots) scope->open_orders--;", "", "open orders never end"),
    (
        "gate_keep_inline.h",
        "heap_remove(gate, &state->top[order->side], order->node);",
        "",
        "our best price outlives its order",
    ),
    (
        "gate_heap_inline.h",
        "if (pool[b].key > pool[a].key)",
        "if (pool[b].key < pool[a].key)",
        "the worst price is on top",
    ),
    (
        "gate_heap_inline.h",
        "side == SIDE_BUY ? price_ticks : -price_ticks",
        "price_ticks",
        "offers are ordered as bids",
    ),
    ("gate_follow.c", "state->exit_time_ns = gate->now_ns ? gate->now_ns : 1;", ";", "exits are not noted"),
    ("gate_follow.c", "scope->day_lots = add(scope->day_lots, lots);", "", "traded lots are not counted"),
    ("gate_follow.c", "sum_add(scope->day_sum, 0, traded_micros);", "", "traded value is not counted"),
    ("gate_follow.c", "pair[i].scope->executions++;", "", "executions are not counted"),
    ("gate_follow.c", "pair[i].scope->fills++;", "", "fills are not counted"),
    ("gate_follow.c", "scope->trial_order_id == order_id;", "0;", "a trial that failed closes nothing"),
    (
        "gate_follow.c",
        "pair[i].scope->tripped_time_ns = pair[i].scope->trial_order_id = 0;",
        "",
        "the breaker never closes",
    ),
    ("gate_follow.c", "if (price > state->move_high_ticks)", "", "the highest price is the last one"),
    ("gate_follow.c", "scope->day_lots = 0;", "", "the day's lots outlive the day"),
    (
        "gate_follow.c",
        "order->node = heap_add(gate, top, heap_key(order->side, order->price_ticks));",
        "order->node = 0;",
        "a restated order is no longer ours",
    ),
    (
        "gate.c",
        "gate->override_used[gate->override_next++ % OVERRIDES_MAX] =",
        "(void)",
        "an override is never used up",
    ),
    ("gate.c", "scope->messages_count++;", "", "messages are not counted"),
    ("gate.c", "if (filtered && c->limits->safe_ns)", "if (0)", "safe mode is never entered"),
)


def _by_hand() -> Iterator[Mutant]:
    for file, before, after, what in BY_HAND:
        text = (SOURCE / file).read_text()
        if text.count(before) != 1:
            raise ValueError(f"{file}: {before!r} stands there {text.count(before)} times")
        yield Mutant(file, text.index(before), before, after, "", what)
