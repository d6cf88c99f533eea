/* gate_state_inline.h: checks of state: kill and mode, switches, what the venue and the market are like, the model. */
#pragma once
#include "gate_case_inline.h"
#include <math.h>

static inline int judge_mode(gate_case *c) {
    const turn_plan *plan = c->plan;
    JUDGE(c, SCOPE_FIRM, REJECT_KILLED, UNIT_YES_NO, RELATION_EQUAL, plan->killed, 0, plan->killed);
    uint8_t mode = plan->mode == MODE_NORMAL && c->state->held ? MODE_REDUCE_ONLY : plan->mode;
    if (mode != MODE_REDUCE_ONLY || !is_new(c)) {
        JUDGE(c, SCOPE_FIRM, REJECT_MODE, UNIT_CODE, RELATION_EQUAL, mode, MODE_NORMAL, mode != MODE_NORMAL);
        return REJECT_NONE;
    }
    /* Reduce only: never past flat, with every open order on that side filled. */
    int64_t open_lots[2] = {c->state->open_buy_lots, c->state->open_sell_lots};
    int64_t most = reducible(c, c->state->position_lots, open_lots), wanted = c->intent->quantity_lots;
    JUDGE(c, SCOPE_FIRM, REJECT_MODE, UNIT_LOTS, RELATION_AT_MOST, wanted, most, wanted > most);
    return REJECT_NONE;
}

static inline int judge_switch(gate_case *c, uint32_t kind) {
    uint64_t switches = c->scope[kind].limits->switches;
    JUDGE(c, kind, REJECT_SCOPE_KILLED, UNIT_YES_NO, RELATION_EQUAL, 1, 0, switches & SWITCH_KILLED);
    JUDGE(c, kind, REJECT_SCOPE_PAUSED, UNIT_YES_NO, RELATION_EQUAL, 1, 0, switches & SWITCH_PAUSED);
    JUDGE(c, kind, REJECT_SCOPE_CANCEL_ONLY, UNIT_YES_NO, RELATION_EQUAL, 1, 0, switches & SWITCH_CANCEL_ONLY);
    if (switches & SWITCH_REDUCE_ONLY) {
        const case_scope *scope = &c->scope[kind];
        const case_scope *held = kind == SCOPE_VENUE ? &c->scope[SCOPE_FIRM] : scope;
        int64_t most = reducible(c, held->position_lots, held->open_lots);
        JUDGE(c, kind, REJECT_SCOPE_REDUCE_ONLY, UNIT_LOTS, RELATION_AT_MOST, c->lots, most, !held->is_exit);
    }
    return REJECT_NONE;
}

static inline int judge_instrument(gate_case *c) {
    const instrument_entry *entry = c->entry;
    /* Without the two figures no limit in money and no price step means anything. */
    int traded = (entry->flags & INSTRUMENT_TRADED) && entry->tick_value_micros > 0 && entry->price_increment_ticks > 0;
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_INSTRUMENT, UNIT_YES_NO, RELATION_EQUAL, traded, 1, !traded);
    int blocked = (entry->flags & INSTRUMENT_RESTRICTED) || (c->limits->flags & LIMIT_BLOCKED);
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_BLOCKED, UNIT_YES_NO, RELATION_EQUAL, blocked, 0, blocked);
    int outside = (c->limits->flags & LIMIT_OUTSIDE_ENVELOPE) != 0;
    if (outside) JUDGE(c, SCOPE_INSTRUMENT, REJECT_ENVELOPE, UNIT_YES_NO, RELATION_EQUAL, outside, 0, outside);
    uint32_t halted = c->state->operational_state; /* two halts, each lifted by its own kind alone */
    if (halted > STATE_TRADING) {
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_NOT_TRADING, UNIT_CODE, RELATION_EQUAL, halted, STATE_TRADING, 1);
        return REJECT_NONE;
    }
    uint32_t state = c->state->trading_state;
    if (state == STATE_UNKNOWN && !c->gate->require_trading_state) {
        PASS_OVER(c, SCOPE_INSTRUMENT, REJECT_NOT_TRADING, UNIT_CODE, RELATION_EQUAL, state, STATE_TRADING);
        return REJECT_NONE;
    }
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_NOT_TRADING, UNIT_CODE, RELATION_EQUAL, state, STATE_TRADING, state != STATE_TRADING);
    return REJECT_NONE;
}

static inline int judge_hours(gate_case *c) {
    if (!c->header->hours_count) return REJECT_NONE;
    int64_t now_ns = (int64_t)c->plan->now_ns;
    int open = 0;
    for (uint32_t i = 0; i < c->header->hours_count; i++)
        open |= now_ns >= c->header->hours[i].open_time_ns && now_ns < c->header->hours[i].close_time_ns;
    JUDGE(c, SCOPE_FIRM, REJECT_TRADING_HOURS, UNIT_YES_NO, RELATION_EQUAL, open, 1, !open);
    return REJECT_NONE;
}

static inline int judge_reference(gate_case *c) {
    const gate_instrument *state = c->state;
    int heard = state->reference_epoch != 0, current = state->reference_epoch == c->gate->market_epoch;
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_NO_REFERENCE, UNIT_YES_NO, RELATION_EQUAL, heard, 1, !heard);
    if (heard) JUDGE(c, SCOPE_INSTRUMENT, REJECT_STALE_DATA, UNIT_YES_NO, RELATION_EQUAL, !current, 0, !current);
    else PASS_OVER(c, SCOPE_INSTRUMENT, REJECT_STALE_DATA, UNIT_YES_NO, RELATION_EQUAL, 1, 0);
    uint64_t age_ns = span_since(c->plan->now_ns, state->reference_time_ns), most = (uint64_t)c->header->stale_after_ns;
    JUDGE(c, SCOPE_FIRM, REJECT_STALE_DATA, UNIT_NS, RELATION_AT_MOST, saturate(age_ns), saturate(most), age_ns > most);
    int64_t bid = state->bid_price_ticks, ask = state->ask_price_ticks;
    if (bid && ask) {
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_CROSSED, UNIT_TICKS, RELATION_AT_MOST, bid, ask, bid > ask);
        int locked = bid == ask && !(c->limits->flags & LIMIT_LOCKED_ALLOWED);
        if (bid <= ask) JUDGE(c, SCOPE_INSTRUMENT, REJECT_LOCKED, UNIT_TICKS, RELATION_BELOW, bid, ask, locked);
    } else {
        PASS_OVER(c, SCOPE_INSTRUMENT, REJECT_CROSSED, UNIT_TICKS, RELATION_AT_MOST, bid, ask);
    }
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_NO_REFERENCE, UNIT_TICKS, RELATION_ABOVE, c->reference_ticks, 0, !c->reference_ticks);
    return REJECT_NONE;
}

/* ---- the model -------------------------------------------------------------------------------------- */

static inline int64_t score_milli(double score) {
    return score > 9e15 ? INT64_MAX : score < -9e15 ? -INT64_MAX : score == score ? (int64_t)(score * 1000.0) : INT64_MAX;
}

/* A score that is no number fails every comparison, and so the first one here, whatever the limit. */
static inline int judge_model(gate_case *c) {
    const limits_header *header = c->header;
    double score = c->intent->score;
    int wild = !(fabs(score) * 1000.0 <= (double)header->score_milli_max);
    JUDGE(c, SCOPE_FIRM, REJECT_MODEL, UNIT_MILLI, RELATION_AT_MOST, score_milli(fabs(score)), header->score_milli_max, wild);
    uint64_t generation = c->plan->model_generation;
    JUDGE(c, SCOPE_FIRM, REJECT_MODEL, UNIT_SEQUENCE, RELATION_AT_LEAST, saturate(generation), saturate(header->model_generation_min),
          generation < header->model_generation_min);
    if (header->model_age_ns_max != LIMIT_OFF) {
        int64_t age_ns = saturate(span_since(c->plan->now_ns, c->gate->model_time_ns));
        JUDGE(c, SCOPE_FIRM, REJECT_MODEL, UNIT_NS, RELATION_AT_MOST, age_ns, header->model_age_ns_max, age_ns > header->model_age_ns_max);
    }
    if (header->intent_age_ns_max != LIMIT_OFF) {
        int64_t age_ns = saturate(span_since(c->plan->now_ns, c->intent->header.ingress_time_ns));
        JUDGE(c, SCOPE_FIRM, REJECT_INTENT_AGE, UNIT_NS, RELATION_AT_MOST, age_ns, header->intent_age_ns_max, age_ns > header->intent_age_ns_max);
    }
    const gate_cell *cell = &c->gate->cell[c->strategy_index];
    if (header->score_jump_milli_max != LIMIT_OFF && cell->scored) {
        double jump = fabs(score - cell->score);
        JUDGE(c, SCOPE_FIRM, REJECT_SCORE_JUMP, UNIT_MILLI, RELATION_AT_MOST, score_milli(jump), header->score_jump_milli_max,
              !(jump * 1000.0 <= (double)header->score_jump_milli_max));
    }
    return REJECT_NONE;
}

/* ---- the market -------------------------------------------------------------------------------------- */

/* Highest and lowest reference of the last window or two; 0 when none was seen. */
static inline void move_range(const gate_instrument *state, uint64_t length_ns, uint64_t now_ns, int64_t *low, int64_t *high) {
    uint64_t age_ns = span_since(now_ns, state->move_start_ns);
    int fresh = age_ns < length_ns || age_ns - length_ns < length_ns;
    *low = fresh ? state->move_low_ticks : 0;
    *high = fresh ? state->move_high_ticks : 0;
    if (age_ns >= length_ns || !state->before_high_ticks) return;
    *low = *low && *low < state->before_low_ticks ? *low : state->before_low_ticks;
    *high = larger(*high, state->before_high_ticks);
}

/* Volatility, spread, depth, participation. The first three let a genuine exit pass. */
static inline int judge_market(gate_case *c) {
    const instrument_limits *limits = c->limits;
    const gate_instrument *state = c->state;
    uint64_t now_ns = c->plan->now_ns;
    if (limits->participation_ppm_max != LIMIT_OFF) {
        uint64_t length = (uint64_t)limits->participation_window_ns;
        int64_t own = add(add(window_sum(&state->own, length, now_ns), state->scope.open_lots), c->added_lots);
        int64_t market = window_sum(&state->market, length, now_ns);
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_PARTICIPATION, UNIT_PPM, RELATION_AT_MOST, parts_of(own, market), limits->participation_ppm_max,
              exceeds_parts(own, limits->participation_ppm_max, market));
    }
    if (c->scope[SCOPE_INSTRUMENT].is_exit) return REJECT_NONE;
    if (limits->volatility_ppm_max != LIMIT_OFF) {
        int64_t low, high;
        move_range(state, (uint64_t)limits->window_ns, now_ns, &low, &high);
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_VOLATILITY, UNIT_PPM, RELATION_AT_MOST, parts_of(high - low, low), limits->volatility_ppm_max,
              exceeds_parts(high - low, limits->volatility_ppm_max, low));
    }
    if (limits->spread_ppm_max != LIMIT_OFF) { /* a side that is empty is no narrow market */
        int64_t bid = state->bid_price_ticks, ask = state->ask_price_ticks, spread = bid && ask ? ask - bid : INT64_MAX;
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_SPREAD, UNIT_PPM, RELATION_AT_MOST, parts_of(spread, c->reference_ticks), limits->spread_ppm_max,
              exceeds_parts(spread, limits->spread_ppm_max, c->reference_ticks));
    }
    int64_t depth = c->intent->side == SIDE_BUY ? state->ask_depth_lots : state->bid_depth_lots;
    if (limits->depth_lots_min)
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_DEPTH, UNIT_LOTS, RELATION_AT_LEAST, depth, limits->depth_lots_min, depth < limits->depth_lots_min);
    if (limits->safe_ns)
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_SAFE_MODE, UNIT_NS, RELATION_AT_MOST, saturate(span_since(state->safe_until_ns, now_ns)), 0,
              now_ns < state->safe_until_ns);
    return REJECT_NONE;
}
