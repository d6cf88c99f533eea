/* gate_rate_inline.h: checks of how often: token buckets, open orders, order-to-trade, repeated executions, breaker. */
#pragma once
#include "gate_case_inline.h"
#include "gate_exposure_inline.h"

#define MILLI_MESSAGE (NANOS / 1000)

/* The credit judged is the one that an approval is charged to: it is worked out once. */
static inline int judge_bucket(gate_case *c, uint32_t kind, const gate_bucket *bucket, int64_t rate, int64_t kept, int reason,
                               int64_t *judged) {
    if (rate == LIMIT_OFF) return REJECT_NONE;
    int64_t credit = *judged = bucket_credit(bucket, rate, c->plan->now_ns), least = add(NANOS, times(kept, NANOS));
    JUDGE(c, kind, reason, UNIT_MESSAGES_MILLI, RELATION_AT_LEAST, credit / MILLI_MESSAGE, least / MILLI_MESSAGE, credit < least);
    return REJECT_NONE;
}

static inline int judge_scope_rates(gate_case *c, uint32_t kind) {
    case_scope *scope = &c->scope[kind];
    const scope_limits *limits = scope->limits;
    const gate_scope *state = scope->state;
    if (kind != SCOPE_FIRM && limits->open_orders_max != LIMIT_OFF) {
        int64_t open = (int64_t)state->open_orders;
        JUDGE(c, kind, REJECT_OPEN_ORDERS, UNIT_ORDERS, RELATION_BELOW, open, limits->open_orders_max, open >= limits->open_orders_max);
    }
    if (is_new(c)) {
        REQUIRE(judge_bucket(c, kind, &state->orders, limits->orders_per_second_max, 0, REJECT_ORDER_RATE, &scope->credit));
    } else {
        REQUIRE(judge_bucket(c, kind, &state->replaces, limits->replaces_per_second_max, 0, REJECT_REPLACE_RATE, &scope->credit));
    }
    if (kind == SCOPE_FIRM) return REJECT_NONE; /* its bucket of messages is judge_throttle's */
    return judge_bucket(c, kind, &state->messages, limits->messages_per_second_max, limits->cancels_reserved, REJECT_MESSAGE_RATE, &scope->messages_credit);
}

/* A strategy's own cancel: throttled, but by the cancels' own bucket alone. */
static inline int judge_cancel_rate(gate_case *c, uint32_t kind) {
    const scope_limits *limits = c->scope[kind].limits;
    if (!limits || !(limits->active & GROUP_RATES)) return REJECT_NONE;
    return judge_bucket(c, kind, &c->scope[kind].state->cancels, limits->cancels_per_second_max, 0, REJECT_CANCEL_RATE, &c->scope[kind].credit);
}

static inline int judge_scope_conduct(gate_case *c, uint32_t kind) {
    const case_scope *scope = &c->scope[kind];
    const scope_limits *limits = scope->limits;
    const gate_scope *state = scope->state;
    if (limits->messages_per_fill_milli_max != LIMIT_OFF) {
        int64_t sent = add((int64_t)state->messages_count, 1), fills = state->fills ? (int64_t)state->fills : 1;
        int64_t ratio = times(sent, 1000) / fills;
        int over = sent > limits->messages_free && times(sent, 1000) > times(limits->messages_per_fill_milli_max, fills);
        if (sent > limits->messages_free)
            JUDGE(c, kind, REJECT_ORDER_TO_TRADE, UNIT_MILLI, RELATION_AT_MOST, ratio, limits->messages_per_fill_milli_max, over);
    }
    if (limits->executions_max != LIMIT_OFF) {
        int64_t executions = is_rearmed(scope) ? 0 : (int64_t)state->executions;
        JUDGE(c, kind, REJECT_EXECUTIONS, UNIT_ORDERS, RELATION_BELOW, executions, limits->executions_max, executions >= limits->executions_max);
    }
    if (limits->breaker_rejects_max != LIMIT_OFF && state->tripped_time_ns && !is_rearmed(scope)) {
        uint64_t age_ns = span_since(c->plan->now_ns, state->tripped_time_ns);
        int cooling = age_ns < (uint64_t)limits->breaker_cooldown_ns;
        JUDGE(c, kind, REJECT_BREAKER, UNIT_NS, RELATION_AT_LEAST, saturate(age_ns), limits->breaker_cooldown_ns, cooling);
        if (!cooling) JUDGE(c, kind, REJECT_BREAKER, UNIT_YES_NO, RELATION_EQUAL, 1, 0, state->trial_order_id);
    }
    return REJECT_NONE;
}

/* ---- the firm's own, of every order ----------------------------------------------------------------- */

static inline int judge_place(gate_case *c) {
    const gate *gate = c->gate;
    int64_t open = (int64_t)gate->open_orders, most = c->header->firm.open_orders_max;
    int full = 2 * (gate->open_orders + 1) > gate->order_mask + 1;
    JUDGE(c, SCOPE_FIRM, REJECT_OPEN_ORDERS, UNIT_ORDERS, RELATION_BELOW, open, most, open >= most || full);
    c->place = full ? NOWHERE : order_probe(gate, c->order_id);
    int taken = !c->order_id || (!full && gate->order_id[c->place]);
    JUDGE(c, SCOPE_FIRM, REJECT_DUPLICATE, UNIT_YES_NO, RELATION_EQUAL, taken, 0, taken);
    return REJECT_NONE;
}

/* A token bucket as deep as one second of its rate, filled by the turn's time. */
static inline int judge_throttle(gate_case *c) {
    int64_t rate = c->header->firm.messages_per_second_max;
    if (rate == LIMIT_OFF) return REJECT_NONE;
    gate_bucket bucket = {c->gate->throttle_credit, c->gate->throttle_time_ns};
    int64_t credit = c->throttle_credit = rate <= 0 ? 0 : bucket_credit(&bucket, rate, c->plan->now_ns);
    JUDGE(c, SCOPE_FIRM, REJECT_THROTTLE, UNIT_MESSAGES_MILLI, RELATION_AT_LEAST, credit / MILLI_MESSAGE, 1000, credit < NANOS);
    return REJECT_NONE;
}

/* Within a strategy's epoch, intents of one input rise in (cause, leg); one that does not was seen before. */
static inline int judge_repetition(gate_case *c) {
    const signal_event *intent = c->intent;
    const gate_intent *last = &c->gate->intent[intent->strategy][intent->header.cause_input];
    uint64_t cause = intent->header.cause_sequence;
    int later = intent->strategy_epoch != last->epoch ? intent->strategy_epoch > last->epoch
                : cause != last->cause_sequence       ? cause > last->cause_sequence
                                                      : intent->leg > last->leg;
    JUDGE(c, SCOPE_STRATEGY, REJECT_DUPLICATE, UNIT_SEQUENCE, RELATION_ABOVE, saturate(cause),
          last->seen ? saturate(last->cause_sequence) : -1, last->seen && !later);
    return REJECT_NONE;
}
