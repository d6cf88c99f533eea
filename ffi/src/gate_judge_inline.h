/* gate_judge_inline.h: every check, in the order in which they are made. Includes the families; JUDGE and PASS_OVER
 * are its includer's (gate_case_inline.h). */
#pragma once

#define REQUIRE(check)                              \
    do {                                            \
        int reason_ = (check);                      \
        if (reason_ != REJECT_NONE) return reason_; \
    } while (0)

#include "gate_exposure_inline.h"
#include "gate_order_inline.h"
#include "gate_rate_inline.h"
#include "gate_state_inline.h"

/* A cancel reduces risk: a known order is all that a protective one needs. Throttles and resting times hold a
 * strategy's own, and hold none once the engine is killed or may do less than all. */
static inline int judge_cancel(gate_case *c) {
    uint64_t place = order_find(c->gate, c->intent->target_order_id);
    int known = place != NOWHERE && c->gate->order[place].instrument == c->intent->header.instrument;
    JUDGE(c, SCOPE_FIRM, REJECT_UNKNOWN_ORDER, UNIT_YES_NO, RELATION_EQUAL, known, 1, !known);
    int protective = c->intent->header.flags & FLAG_PROTECTIVE || c->plan->killed || c->plan->mode != MODE_NORMAL || c->state->held;
    if (!protective && known) {
        REQUIRE(judge_rested(c, &c->gate->order[place]));
        for (uint32_t kind = SCOPE_FIRM; kind < SCOPE_KINDS; kind++) REQUIRE(judge_cancel_rate(c, kind));
    }
    return judge_repetition(c);
}

/* One scope's limits: groups that are off are passed over together. */
static inline int judge_scope(gate_case *c, uint32_t kind) {
    const scope_limits *limits = c->scope[kind].limits;
    if (!limits) return REJECT_NONE;
    uint64_t active = limits->active;
    if (active & GROUP_EXPOSURE && kind != SCOPE_VENUE) REQUIRE(judge_scope_exposure(c, kind));
    if (active & GROUP_DAY && kind != SCOPE_VENUE) REQUIRE(judge_scope_day(c, kind));
    if (active & GROUP_LOSS && kind != SCOPE_VENUE) REQUIRE(judge_scope_loss(c, kind));
    if (active & GROUP_CONDUCT) REQUIRE(judge_scope_conduct(c, kind));
    if (active & GROUP_RATES) REQUIRE(judge_scope_rates(c, kind));
    return REJECT_NONE;
}

static inline int judge_order(gate_case *c) {
    c->reference_ticks = reference_price(c->state);
    REQUIRE(judge_mode(c));
    REQUIRE(judge_instrument(c));
    REQUIRE(judge_hours(c));
    REQUIRE(judge_model(c));
    REQUIRE(judge_reference(c));
    REQUIRE(judge_form(c));
    REQUIRE(judge_target(c));
    case_weigh(c);
    for (uint32_t kind = SCOPE_FIRM; kind < SCOPE_KINDS; kind++)
        if (c->scope[kind].limits && c->scope[kind].limits->active & GROUP_SWITCHES) REQUIRE(judge_switch(c, kind));
    uint64_t active = c->limits->scope.active;
    if (active & GROUP_COLLARS) REQUIRE(judge_collars(c));
    if (active & GROUP_TIMING) REQUIRE(judge_timing(c));
    if (active & GROUP_MARKET) REQUIRE(judge_market(c));
    REQUIRE(judge_exposure(c));
    for (uint32_t kind = SCOPE_FIRM; kind < SCOPE_KINDS; kind++) REQUIRE(judge_scope(c, kind));
    REQUIRE(judge_place(c));
    REQUIRE(judge_throttle(c));
    return judge_repetition(c); /* last: what it remembers was approved */
}
