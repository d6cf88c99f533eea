/* gate_inline.h: how the gate counts: open orders by id, money, the worst that may come of a position.
 *
 * Shared by gate.c, which decides, and gate_measure.c, which says what each check had before it: they must not
 * count differently. Everything is saturated.
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
    if (value > INT64_MAX) return INT64_MAX;
    return value < -INT64_MAX ? -INT64_MAX : (int64_t)value;
}

/* The processor's own overflow flag tells nearly every sum and product that needs no 128 bits. */
static inline int64_t add(int64_t a, int64_t b) {
    int64_t sum;
    return !__builtin_add_overflow(a, b, &sum) && sum != INT64_MIN ? sum : saturate((__int128)a + b);
}

static inline int64_t times(int64_t a, int64_t b) {
    int64_t product;
    return !__builtin_mul_overflow(a, b, &product) && product != INT64_MIN ? product : saturate((__int128)a * b);
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
