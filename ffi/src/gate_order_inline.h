/* gate_order_inline.h: checks of the order by itself: its form, its prices, its like before it, its target. */
#pragma once
#include "gate_case_inline.h"
#include "gate_state_inline.h"

static inline int judge_form(gate_case *c) {
    const signal_event *intent = c->intent;
    const instrument_limits *limits = c->limits;
    int64_t lots = intent->quantity_lots, price = intent->price_ticks, step = c->entry->price_increment_ticks;
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_QUANTITY, UNIT_LOTS, RELATION_ABOVE, lots, 0, lots <= 0);
    if (__builtin_expect(lots > limits->order_quantity_lots_max, 0))
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_QUANTITY, UNIT_LOTS, RELATION_AT_MOST, lots, limits->order_quantity_lots_max, 1);
    else
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_QUANTITY, UNIT_LOTS, RELATION_AT_MOST, lots, limits->order_quantity_lots_max, 0);
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_PRICE, UNIT_TICKS, RELATION_MULTIPLE, price, step, price < 1 || step < 1 || price % step);
    uint64_t flags = limits->flags;
    if (flags & LIMIT_ROUND_LOTS) {
        int64_t round = c->entry->round_lot_lots;
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_ROUND_LOT, UNIT_LOTS, RELATION_MULTIPLE, lots, round, round < 1 || lots % round);
    }
    if (flags & (LIMIT_NO_DAY | LIMIT_NO_IOC)) {
        int refused = (intent->time_in_force == TIF_DAY && flags & LIMIT_NO_DAY) || (intent->time_in_force == TIF_IOC && flags & LIMIT_NO_IOC);
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_TIME_IN_FORCE, UNIT_YES_NO, RELATION_EQUAL, refused, 0, refused);
    }
    int64_t value = value_of(c->entry, price, lots), most = limits->order_value_micros_max;
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_ORDER_VALUE, UNIT_MICROS, RELATION_AT_MOST, value, most, value > most || value == INT64_MAX);
    most = c->header->envelope_order_value_micros_max;
    if (most != LIMIT_OFF) JUDGE(c, SCOPE_FIRM, REJECT_ENVELOPE, UNIT_MICROS, RELATION_AT_MOST, value, most, value > most);
    int64_t reference = c->reference_ticks, away = magnitude(saturate((__int128)price - reference));
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_COLLAR, UNIT_PPM, RELATION_AT_MOST, parts_of(away, reference), limits->collar_ppm_max,
          exceeds_parts(away, limits->collar_ppm_max, reference));
    return REJECT_NONE;
}

/* What the order must reserve: all of it, or for a replacement what the first has not filled. */
static inline int judge_target(gate_case *c) {
    const signal_event *intent = c->intent;
    c->target = NULL;
    c->lots = intent->quantity_lots;
    if (is_new(c)) return REJECT_NONE;
    uint64_t place = order_find(c->gate, intent->target_order_id);
    const gate_order *target = place == NOWHERE ? NULL : &c->gate->order[place];
    int known = target && target->instrument == intent->header.instrument && target->side == intent->side;
    if (!known) c->lots = 0;
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_UNKNOWN_ORDER, UNIT_YES_NO, RELATION_EQUAL, known, 1, !known);
    if (!known) return REJECT_NONE;
    c->target = target;
    c->lots = add(intent->quantity_lots, -target->filled_lots);
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_QUANTITY, UNIT_LOTS, RELATION_ABOVE, c->lots, 0, c->lots <= 0);
    return REJECT_NONE;
}

/* Could it meet an order of ours? Our best on the other side is known at any time. */
static inline int meets_own(const gate_case *c) {
    uint32_t other = c->intent->side == SIDE_BUY ? SIDE_SELL : SIDE_BUY, top = c->state->top[other];
    if (!top) return 0;
    int64_t price = c->intent->price_ticks, own = magnitude(c->gate->node[top].key);
    return c->intent->side == SIDE_BUY ? price >= own : price <= own;
}

static inline int judge_collars(gate_case *c) {
    const instrument_limits *limits = c->limits;
    const gate_instrument *state = c->state;
    int64_t price = c->intent->price_ticks;
    int is_buy = c->intent->side == SIDE_BUY;
    int64_t ticks = magnitude(saturate((__int128)price - c->reference_ticks));
    if (limits->collar_ticks_max != LIMIT_OFF)
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_COLLAR_TICKS, UNIT_TICKS, RELATION_AT_MOST, ticks, limits->collar_ticks_max, ticks > limits->collar_ticks_max);
    if (limits->trade_collar_ppm_max != LIMIT_OFF) { /* with no trade yet there is nothing to hold it against */
        int64_t trade = state->trade_price_ticks, away = magnitude(saturate((__int128)price - trade));
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_TRADE_COLLAR, UNIT_PPM, RELATION_AT_MOST, parts_of(away, trade), limits->trade_collar_ppm_max,
              exceeds_parts(away, limits->trade_collar_ppm_max, trade));
    }
    int64_t best = is_buy ? state->ask_price_ticks : state->bid_price_ticks;
    if (limits->through_ppm_max != LIMIT_OFF && best) {
        int64_t through = larger(0, saturate(is_buy ? (__int128)price - best : (__int128)best - price));
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_THROUGH, UNIT_PPM, RELATION_AT_MOST, parts_of(through, best), limits->through_ppm_max,
              exceeds_parts(through, limits->through_ppm_max, best));
    }
    if (limits->move_ppm_max != LIMIT_OFF) {
        int64_t low, high;
        move_range(state, (uint64_t)limits->window_ns, c->plan->now_ns, &low, &high);
        int64_t from = is_buy ? low : high;
        int64_t moved = larger(0, saturate(is_buy ? (__int128)price - low : (__int128)high - price));
        if (from)
            JUDGE(c, SCOPE_INSTRUMENT, REJECT_MOVE, UNIT_PPM, RELATION_AT_MOST, parts_of(moved, from), limits->move_ppm_max,
                  exceeds_parts(moved, limits->move_ppm_max, from));
    }
    if (limits->flags & LIMIT_NO_SELF_TRADE) {
        int meets = meets_own(c);
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_SELF_TRADE, UNIT_YES_NO, RELATION_EQUAL, meets, 0, meets);
    }
    return REJECT_NONE;
}

/* When the last of the side's orders that was the same was approved; 0 = none was. */
static inline uint64_t same_before(const gate_case *c) {
    const signal_event *intent = c->intent;
    const gate_recent *recent = c->state->recent[intent->side];
    uint64_t last_ns = 0;
    for (uint32_t i = 0; i < GATE_RECENT; i++) {
        int same = recent[i].strategy == (uint64_t)intent->strategy + 1 && recent[i].price_ticks == intent->price_ticks &&
                   recent[i].quantity_lots == intent->quantity_lots;
        if (same && recent[i].time_ns > last_ns) last_ns = recent[i].time_ns;
    }
    return last_ns;
}

static inline int judge_rested(gate_case *c, const gate_order *target) {
    uint64_t least = (uint64_t)c->limits->resting_ns_min, rested = span_since(c->plan->now_ns, target->time_ns);
    if (least)
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_RESTING, UNIT_NS, RELATION_AT_LEAST, saturate(rested), saturate(least), rested < least);
    return REJECT_NONE;
}

static inline int judge_timing(gate_case *c) {
    const instrument_limits *limits = c->limits;
    uint64_t now_ns = c->plan->now_ns;
    if (limits->duplicate_window_ns && is_new(c)) {
        uint64_t last_ns = same_before(c), age_ns = last_ns ? span_since(now_ns, last_ns) : INT64_MAX;
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_REPEATED_ORDER, UNIT_NS, RELATION_AT_LEAST, saturate(age_ns), limits->duplicate_window_ns,
              age_ns < (uint64_t)limits->duplicate_window_ns);
    }
    if (limits->cooldown_ns && !c->scope[SCOPE_INSTRUMENT].is_exit && c->state->exit_time_ns) {
        uint64_t age_ns = span_since(now_ns, c->state->exit_time_ns);
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_COOLDOWN, UNIT_NS, RELATION_AT_LEAST, saturate(age_ns), limits->cooldown_ns,
              age_ns < (uint64_t)limits->cooldown_ns);
    }
    return c->target ? judge_rested(c, c->target) : REJECT_NONE;
}
