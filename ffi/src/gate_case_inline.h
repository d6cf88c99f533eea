/* gate_case_inline.h: one intent before the gate, and how a check is written.
 *
 *   JUDGE(case, scope, reason, unit, relation, value, threshold, refuses)
 *
 * Whoever includes this has said what that does. gate.c: where it refuses, return the reason, unless an override
 * forgives it; the figures are then not even worked out. gate_measure.c: a row with them, and on to the next check.
 * So the gate and what explains it are the same text, and cannot differ. PASS_OVER: a check that is not made of this
 * intent; a row that says so, or nothing.
 */
#pragma once
#include "gate_inline.h"
#include "gate_measure.h"
#include <stddef.h>

/* One scope of the intent: its limits, what was counted, and what it has in this instrument. */
typedef struct {
    const scope_limits *limits;
    const gate_scope *state;
    int64_t position_lots;
    int64_t open_lots[2]; /* by side */
    int64_t gross_value_micros;
    uint32_t is_exit;     /* never past flat, with every other open order of its side filled */
    uint32_t raises;      /* the worst case of the position grows */
    int64_t worst_lots;   /* with the order added */
    int64_t credit;       /* of the bucket of its kind, and of all messages, as judged: what is left when it is charged */
    int64_t messages_credit;
} case_scope;

typedef struct {
    const gate *gate;
    const turn_plan *plan;
    const signal_event *intent;
    const limits_header *header;
    const instrument_limits *limits;
    const instrument_entry *entry;
    const gate_instrument *state;
    const gate_order *target;   /* of a replacement; NULL where there is none */
    const gate_cell *strategy;  /* NULL: it had nothing in this instrument yet */
    const gate_cell *account;
    int64_t reference_ticks;
    int64_t lots;               /* to be reserved */
    int64_t added_lots;         /* beyond what the target reserves: never less than 0 */
    int64_t value_micros;       /* of the whole order at its own price */
    int64_t added_micros;
    uint64_t order_id;
    uint64_t place;
    uint32_t strategy_place;    /* in gate.scope */
    uint32_t account_place;
    uint32_t strategy_index;    /* in gate.cell */
    uint32_t account_index;
    int64_t throttle_credit;    /* of the firm's bucket of messages, as judged */
    uint32_t trial;             /* 1: a breaker that tripped is tried by this order */
    uint64_t forgiven;          /* overrides that are used up if it passes, by place */
    gate_measured *rows;        /* gate_measure.c */
    uint32_t count;
    case_scope scope[SCOPE_KINDS];
} gate_case;

/* ---- what the checks ask --------------------------------------------------------------------------- */

static inline int is_new(const gate_case *c) { return c->intent->header.type == SIGNAL_NEW; }
static inline uint64_t span_since(uint64_t now_ns, uint64_t then_ns) { return now_ns > then_ns ? now_ns - then_ns : 0; }

/* Parts per million, rounded up: a breach by less than one of them shows as the next one. */
static inline int64_t parts_of(int64_t distance, int64_t whole) {
    if (whole <= 0) return distance ? INT64_MAX : 0;
    return saturate(((__int128)distance * 1000000 + whole - 1) / whole);
}

static inline int exceeds_parts(int64_t distance, int64_t ppm, int64_t whole) {
    return (__int128)distance * 1000000 > (__int128)ppm * whole;
}

static inline int64_t target_leaves(const gate_case *c) { return c->target ? c->target->leaves_lots : 0; }

/* What may be sent on this side without going past flat, the target of a replacement left out. */
static inline int64_t reducible(const gate_case *c, int64_t position_lots, const int64_t *open_lots) {
    int64_t toward = c->intent->side == SIDE_BUY ? -position_lots : position_lots;
    return add(add(toward, -open_lots[c->intent->side]), target_leaves(c));
}

static inline void case_scope_fill(gate_case *c, uint32_t kind, const scope_limits *limits, const gate_scope *state) {
    c->scope[kind].limits = limits;
    c->scope[kind].state = state;
}

static inline void case_holding(gate_case *c, uint32_t kind, int64_t position_lots, int64_t buy_lots, int64_t sell_lots, int64_t gross) {
    case_scope *scope = &c->scope[kind];
    scope->position_lots = position_lots;
    scope->open_lots[SIDE_BUY] = buy_lots;
    scope->open_lots[SIDE_SELL] = sell_lots;
    scope->gross_value_micros = gross;
}

/* Who sends what where: found once. 0 when there is no place to keep count of it. */
static inline int case_open(gate_case *c) {
    const gate *gate = c->gate;
    const signal_event *intent = c->intent;
    const limits_header *header = gate->limits;
    uint32_t instrument = intent->header.instrument;
    c->header = header;
    c->limits = limits_at(header, instrument);
    c->entry = &gate->entry[instrument];
    c->state = &gate->instrument[instrument];
    c->strategy_place = intent->strategy;
    c->account_place = account_probe(gate, intent->account);
    if (c->account_place == NO_PLACE) return 0;
    c->strategy_index = cell_probe(gate, cell_key(c->strategy_place, instrument));
    c->account_index = cell_probe(gate, cell_key(c->account_place, instrument));
    if (!gate->cell[c->strategy_index].key || !gate->cell[c->account_index].key)
        if (2 * (gate->cells + 2) > gate->cell_mask + 1) return 0;
    case_scope_fill(c, SCOPE_FIRM, &header->firm, &gate->firm);
    case_scope_fill(c, SCOPE_VENUE, header->venue_place ? scope_entry(header, header->venue_place) : NULL, &gate->venue);
    case_scope_fill(c, SCOPE_ACCOUNT, account_limits(header, intent->account), &gate->scope[c->account_place]);
    case_scope_fill(c, SCOPE_STRATEGY, strategy_limits(header, intent->strategy), &gate->scope[c->strategy_place]);
    case_scope_fill(c, SCOPE_INSTRUMENT, &c->limits->scope, &c->state->scope);
    return 1;
}

static inline void case_weigh_scope(gate_case *c, case_scope *scope) {
    scope->is_exit = c->lots > 0 && c->lots <= reducible(c, scope->position_lots, scope->open_lots);
    int64_t buy = scope->open_lots[SIDE_BUY], sell = scope->open_lots[SIDE_SELL];
    int64_t before = worst_lots(scope->position_lots, buy, sell);
    if (c->intent->side == SIDE_BUY) buy = add(buy, c->added_lots);
    else sell = add(sell, c->added_lots);
    scope->worst_lots = worst_lots(scope->position_lots, buy, sell);
    scope->raises = scope->worst_lots > before;
}

#define GROUPS_WEIGHED (GROUP_SWITCHES | GROUP_EXPOSURE | GROUP_DAY | GROUP_LOSS)

/* How an order stands to what each scope holds; `target` and `lots` are known by now. The firm holds in an instrument
 * what the instrument tells; who has no limits that ask is not weighed. */
static inline void case_weigh(gate_case *c) {
    const gate_instrument *state = c->state;
    const uint32_t index[2] = {c->account_index, c->strategy_index};
    c->added_lots = larger(0, add(c->lots, -target_leaves(c)));
    c->value_micros = value_of(c->entry, c->intent->price_ticks, c->lots);
    c->added_micros = larger(0, add(c->value_micros, c->target ? -c->target->value_micros : 0));
    case_holding(c, SCOPE_INSTRUMENT, state->position_lots, state->open_buy_lots, state->open_sell_lots, state->gross_value_micros);
    case_weigh_scope(c, &c->scope[SCOPE_INSTRUMENT]);
    if (c->scope[SCOPE_FIRM].limits->active & GROUPS_WEIGHED || c->scope[SCOPE_VENUE].limits) {
        case_holding(c, SCOPE_FIRM, state->position_lots, state->open_buy_lots, state->open_sell_lots, state->gross_value_micros);
        c->scope[SCOPE_FIRM].is_exit = c->scope[SCOPE_INSTRUMENT].is_exit;
        c->scope[SCOPE_FIRM].raises = c->scope[SCOPE_INSTRUMENT].raises;
        c->scope[SCOPE_FIRM].worst_lots = c->scope[SCOPE_INSTRUMENT].worst_lots;
    }
    for (uint32_t i = 0; i < 2; i++) {
        case_scope *scope = &c->scope[SCOPE_ACCOUNT + i];
        if (!(scope->limits->active & GROUPS_WEIGHED)) continue;
        const gate_cell *cell = &c->gate->cell[index[i]]; /* a free place holds nothing */
        case_holding(c, SCOPE_ACCOUNT + i, cell->position_lots, cell->open_lots[0], cell->open_lots[1], cell->gross_value_micros);
        case_weigh_scope(c, scope);
    }
}

/* ---- overrides ------------------------------------------------------------------------------------------ */

/* What nobody may forgive: that the engine is stopped, that it does not know, what the law or the envelope forbids. */
static inline int is_forgivable(int reason) {
    switch (reason) {
    case REJECT_QUANTITY: case REJECT_ORDER_VALUE: case REJECT_COLLAR: case REJECT_POSITION: case REJECT_GROSS_VALUE:
    case REJECT_ROUND_LOT: case REJECT_COLLAR_TICKS: case REJECT_TRADE_COLLAR: case REJECT_THROUGH: case REJECT_MOVE:
    case REJECT_REPEATED_ORDER: case REJECT_COOLDOWN: case REJECT_ORDER_RATE: case REJECT_REPLACE_RATE:
    case REJECT_MESSAGE_RATE: case REJECT_ORDER_TO_TRADE: case REJECT_PARTICIPATION: case REJECT_SCOPE_POSITION:
    case REJECT_NET_VALUE: case REJECT_CREDIT: case REJECT_DAY_VALUE: case REJECT_DAY_QUANTITY: case REJECT_VOLATILITY:
    case REJECT_SPREAD: case REJECT_DEPTH: case REJECT_SAFE_MODE: return 1;
    default: return 0;
    }
}

static inline int override_is_used(const gate *gate, uint64_t id) {
    for (uint32_t i = 0; i < OVERRIDES_MAX; i++)
        if (gate->override_used[i] == id) return 1;
    return 0;
}

static inline int override_fits(const gate_case *c, const limit_override *leave, int reason) {
    const signal_event *intent = c->intent;
    if (!leave->id || (int64_t)c->plan->now_ns >= leave->expires_time_ns || override_is_used(c->gate, leave->id)) return 0;
    if (!(leave->reasons[reason / 64] >> reason % 64 & 1)) return 0;
    if (leave->instrument != NO_INSTRUMENT && leave->instrument != intent->header.instrument) return 0;
    if (!leave->any_account && leave->account != intent->account) return 0;
    if (!leave->any_strategy && leave->strategy != intent->strategy) return 0;
    if (leave->side != SIDE_ANY && leave->side != intent->side) return 0;
    return intent->quantity_lots <= leave->quantity_lots_max &&
           value_of(c->entry, intent->price_ticks, intent->quantity_lots) <= leave->order_value_micros_max;
}

/* 1 when an override lets it pass, and is used up by that if the order is approved. */
static __attribute__((noinline, cold)) int is_forgiven(gate_case *c, int reason) {
    if (!is_forgivable(reason) || !c->header) return 0;
    for (uint32_t i = 0; i < OVERRIDES_MAX; i++) {
        if (!override_fits(c, &c->header->override[i], reason)) continue;
        c->forgiven |= (uint64_t)1 << i;
        return 1;
    }
    return 0;
}
