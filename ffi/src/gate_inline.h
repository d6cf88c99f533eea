/* gate_inline.h: how the gate counts: open orders by id, money, buckets, windows, the worst of a position.
 *
 * Shared by gate.c, which decides, gate_follow.c, which follows what happens, and gate_measure.c, which says what each
 * check had before it: they must not count differently. Everything is saturated.
 */
#pragma once
#include "gate.h"

#define NANOS 1000000000
#define NOWHERE UINT64_MAX

/* ---- open orders ------------------------------------------------------------------------------ */

/* The upper half of the product spreads ids that rise by one about as evenly as can be. */
static inline uint64_t home(const gate *gate, uint64_t order_id) { return (order_id * 0x9e3779b97f4a7c15u >> 32) & gate->order_mask; }

/* The place that holds the order, or the free one where it would stand. */
static inline uint64_t order_probe(const gate *gate, uint64_t order_id) {
    uint64_t place = home(gate, order_id);
    while (gate->order_id[place] && gate->order_id[place] != order_id) place = (place + 1) & gate->order_mask;
    return place;
}

static inline uint64_t order_find(const gate *gate, uint64_t order_id) {
    if (!order_id) return NOWHERE;
    uint64_t place = order_probe(gate, order_id);
    return gate->order_id[place] ? place : NOWHERE;
}

/* ---- values ----------------------------------------------------------------------------------- */

static inline int64_t saturate(__int128 value) {
    if (__builtin_expect(value == (int64_t)value && value != INT64_MIN, 1)) return (int64_t)value;
    return value < 0 ? -INT64_MAX : INT64_MAX;
}

/* Out of the way: else both ways of every sum are worked out. */
static __attribute__((noinline, cold)) int64_t add_wide(int64_t a, int64_t b) { return saturate((__int128)a + b); }
static __attribute__((noinline, cold)) int64_t times_wide(int64_t a, int64_t b) { return saturate((__int128)a * b); }

/* The processor's own overflow flag tells nearly every sum and product that needs no 128 bits. */
static inline int64_t add(int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return add_wide(a, b);
    return sum < -INT64_MAX ? -INT64_MAX : sum;
}

static inline int64_t times(int64_t a, int64_t b) {
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product)) return times_wide(a, b);
    return product < -INT64_MAX ? -INT64_MAX : product;
}

/* Money of `lots` at `price`. Saturated half-way too: no more than 64 by 64 bits is ever multiplied. */
static inline int64_t value_of(const instrument_entry *entry, int64_t price_ticks, int64_t lots) {
    return times(times(price_ticks, lots), entry->tick_value_micros);
}

/* The price against which an instrument's orders and positions are held; 0 = there is none. */
static inline int64_t reference_price(const gate_instrument *state) {
    if (state->bid_price_ticks && state->ask_price_ticks)
        return (int64_t)(((uint64_t)state->bid_price_ticks + (uint64_t)state->ask_price_ticks) / 2);
    if (state->bid_price_ticks) return state->bid_price_ticks;
    if (state->ask_price_ticks) return state->ask_price_ticks;
    return state->trade_price_ticks;
}

static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t magnitude(int64_t value) { return value < 0 ? -saturate(value) : value; }

/* The largest |position| that the open orders could lead to. */
static inline int64_t worst_lots(int64_t position_lots, int64_t open_buy_lots, int64_t open_sell_lots) {
    return larger(magnitude(add(position_lots, open_buy_lots)), magnitude(add(position_lots, -open_sell_lots)));
}

static inline __int128 sum_of(const uint64_t *sum) { return (__int128)((unsigned __int128)sum[1] << 64 | sum[0]); }

static inline void sum_store(uint64_t *sum, __int128 value) {
    sum[0] = (uint64_t)value;
    sum[1] = (uint64_t)(value >> 64);
}

static inline int64_t sum_add(uint64_t *sum, int64_t from, int64_t to) {
    int64_t more;
    if (__builtin_sub_overflow(to, from, &more)) {
        sum_store(sum, sum_of(sum) + to - from);
    } else {
        sum_store(sum, sum_of(sum) + more);
    }
    return saturate(sum_of(sum));
}

/* ---- rates and windows --------------------------------------------------------------------------- */

/* What a bucket of this rate holds by now: no deeper than one second of it. A clock that goes back adds nothing. */
static inline int64_t bucket_credit(const gate_bucket *bucket, int64_t rate, uint64_t now_ns) {
    int64_t credit = bucket->credit, full = times(rate, NANOS), gained;
    if (now_ns > bucket->time_ns) {
        uint64_t span_ns = now_ns - bucket->time_ns;
        int overflow = span_ns > INT64_MAX || __builtin_mul_overflow((int64_t)span_ns, rate, &gained);
        credit = overflow ? full : add(credit, gained);
    }
    return credit < full ? credit : full;
}

/* One message is paid for out of what the bucket holds by now. */
static inline void bucket_pay(gate_bucket *bucket, int64_t credit, uint64_t now_ns) {
    bucket->credit = credit - NANOS;
    if (now_ns > bucket->time_ns) bucket->time_ns = now_ns;
}

/* At least the last `length_ns`, at most twice as much. */
static inline int64_t window_sum(const gate_window *window, uint64_t length_ns, uint64_t now_ns) {
    uint64_t age_ns = now_ns > window->start_ns ? now_ns - window->start_ns : 0;
    if (age_ns < length_ns) return add(window->now, window->before);
    return age_ns - length_ns < length_ns ? window->now : 0;
}

static inline void window_add(gate_window *window, uint64_t length_ns, uint64_t now_ns, int64_t amount) {
    uint64_t age_ns = now_ns > window->start_ns ? now_ns - window->start_ns : 0;
    if (age_ns >= length_ns) {
        int next = age_ns - length_ns < length_ns;
        window->before = next ? window->now : 0;
        window->now = 0;
        window->start_ns = next ? window->start_ns + length_ns : now_ns;
    }
    window->now = add(window->now, amount);
}

/* ---- scopes ---------------------------------------------------------------------------------------- */

#define ACCOUNT_FIRST GATE_STRATEGIES_MAX /* place of the first account in gate.scope */
#define NO_PLACE UINT32_MAX

/* An account's place among the scopes, or the free one that would be its own; NO_PLACE when all are others'. */
static inline uint32_t account_probe(const gate *gate, uint32_t account) {
    for (uint32_t step = 0; step < GATE_ACCOUNTS_MAX; step++) {
        uint32_t place = (account + step) % GATE_ACCOUNTS_MAX;
        if (!gate->account_id[place] || gate->account_id[place] == account + 1) return ACCOUNT_FIRST + place;
    }
    return NO_PLACE;
}

static inline uint64_t cell_key(uint32_t scope, uint32_t instrument) { return ((uint64_t)scope + 1) << 32 | instrument; }

/* The cell, or the free place where it would stand; an end there is, since half of the places are free. */
static inline uint32_t cell_probe(const gate *gate, uint64_t key) {
    uint64_t place = (key * 0x9e3779b97f4a7c15u >> 32) & gate->cell_mask;
    while (gate->cell[place].key && gate->cell[place].key != key) place = (place + 1) & gate->cell_mask;
    return (uint32_t)place;
}

/* ---- limits ------------------------------------------------------------------------------------------ */

static inline const instrument_limits *limits_at(const limits_header *limits, uint32_t instrument) {
    return (const instrument_limits *)(const void *)(limits + 1) + instrument;
}

static inline const scope_limits *scope_entry(const limits_header *limits, uint32_t place) {
    return (const scope_limits *)(const void *)(limits_at(limits, (uint32_t)limits->count)) + place - 1;
}

static inline const scope_limits *strategy_limits(const limits_header *limits, uint32_t strategy) {
    uint32_t place = limits->strategy_place[strategy % STRATEGY_PLACES];
    return place ? scope_entry(limits, place) : &limits->any_strategy;
}

static inline const scope_limits *account_limits(const limits_header *limits, uint32_t account) {
    for (uint32_t step = 0; step < ACCOUNT_PLACES; step++) {
        uint32_t place = limits->account_place[(account + step) % ACCOUNT_PLACES];
        if (!place) break;
        const scope_limits *entry = scope_entry(limits, place);
        if (entry->id == account) return entry;
    }
    return &limits->any_account;
}
