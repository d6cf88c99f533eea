/* gate_keep_inline.h: what is kept in step: reservations, values by scope, profit and loss, our own best prices.
 *
 * Written by gate.c when an order is approved and by gate_follow.c when something becomes of it. Invariant: each sum of
 * a scope is that of its cells or orders, which the reference of the property test computes anew.
 */
#pragma once
#include "gate_heap_inline.h"
#include "gate_inline.h"
#include <stddef.h>

/* The signed ones are stored as they are: readers view those counters as int64. */
static inline void gauges(gate *gate) {
    gate->counter[RISK_OPEN_ORDERS] = gate->open_orders;
    gate->counter[RISK_GROSS_VALUE_MICROS] = (uint64_t)gate->gross_value_micros;
    gate->counter[RISK_CASH_MICROS] = (uint64_t)gate->cash_micros;
    gate->counter[RISK_PNL_MICROS] = (uint64_t)add(gate->cash_micros, gate->net_value_micros);
}

/* ---- profit and loss ------------------------------------------------------------------------------ */

/* The best, the lowest and the deepest fall are remembered, and let a latch be judged at any later time. */
static inline void scope_mark(gate_scope *scope) {
    int64_t pnl = add(scope->cash_micros, saturate(sum_of(scope->net_sum)));
    scope->pnl_micros = pnl;
    if (pnl > scope->pnl_peak_micros) scope->pnl_peak_micros = pnl;
    if (pnl < scope->pnl_low_micros) scope->pnl_low_micros = pnl;
    int64_t fall = add(scope->pnl_peak_micros, -pnl);
    if (fall > scope->drawdown_micros) scope->drawdown_micros = fall;
}

/* People have looked at what is latched, and let it begin anew. */
static inline void scope_rearm(gate_scope *scope, uint64_t epoch) {
    if (__builtin_expect(scope->rearm_epoch == epoch, 1)) return;
    scope->rearm_epoch = epoch;
    scope->pnl_peak_micros = scope->pnl_low_micros = scope->pnl_micros;
    scope->drawdown_micros = 0;
    scope->executions = 0;
    scope->tripped_time_ns = scope->trial_order_id = 0;
    scope->rejects = (gate_window){0};
}

/* ---- cells ------------------------------------------------------------------------------------------- */

static inline gate_cell *cell_at(const gate *gate, uint32_t index) { return index ? &gate->cell[index - 1] : NULL; }

/* Its worst case, after open orders changed: what is held, and so profit, stays as it was. */
static inline void cell_regross(gate *gate, gate_cell *cell, const instrument_entry *entry, int64_t price) {
    int64_t gross = value_of(entry, price, worst_lots(cell->position_lots, cell->open_lots[SIDE_BUY], cell->open_lots[SIDE_SELL]));
    sum_add(gate->scope[cell->scope].gross_sum, cell->gross_value_micros, gross);
    cell->gross_value_micros = gross;
}

static inline void cell_revalue(gate *gate, gate_cell *cell, const instrument_entry *entry, int64_t price) {
    gate_scope *scope = &gate->scope[cell->scope];
    int64_t net = value_of(entry, price, cell->position_lots);
    sum_add(scope->net_sum, cell->net_value_micros, net);
    cell->net_value_micros = net;
    cell_regross(gate, cell, entry, price);
    scope_mark(scope);
}

/* ---- the instrument ------------------------------------------------------------------------------------ */

/* The worst case of an instrument in the sums, after its open orders changed. */
static inline void regross(gate *gate, uint32_t instrument, int64_t price) {
    gate_instrument *state = &gate->instrument[instrument];
    int64_t gross = value_of(&gate->entry[instrument], price, worst_lots(state->position_lots, state->open_buy_lots, state->open_sell_lots));
    gate->gross_value_micros = sum_add(gate->firm.gross_sum, state->gross_value_micros, gross);
    state->gross_value_micros = gross;
    sum_store(state->scope.gross_sum, gross);
}

/* Keep the sums over instruments in step with this one, at a price that may be new. */
static inline void revalue(gate *gate, uint32_t instrument) {
    gate_instrument *state = &gate->instrument[instrument];
    int64_t price = reference_price(state);
    int64_t net = value_of(&gate->entry[instrument], price, state->position_lots);
    regross(gate, instrument, price);
    gate->net_value_micros = sum_add(gate->firm.net_sum, state->net_value_micros, net);
    state->net_value_micros = net;
    sum_store(state->scope.net_sum, net);
    gate->firm.cash_micros = gate->cash_micros;
    scope_mark(&gate->firm);
    scope_mark(&state->scope);
}

/* The same of everyone who has something in it. */
static inline void revalue_all(gate *gate, uint32_t instrument) {
    gate_instrument *state = &gate->instrument[instrument];
    int64_t price = reference_price(state);
    revalue(gate, instrument);
    for (uint32_t index = state->first_cell; index; index = gate->cell[index - 1].next) {
        gate_cell *cell = &gate->cell[index - 1];
        if (cell->position_lots || cell->open_lots[0] || cell->open_lots[1] || cell->gross_value_micros)
            cell_revalue(gate, cell, &gate->entry[instrument], price);
    }
}

/* ---- open orders ----------------------------------------------------------------------------------------- */

/* Pull back each follower whose home does not lie between the hole and itself: no place that was once
 * used slows a later probe. Places found before are not valid after. */
static inline void order_remove(gate *gate, uint64_t hole) {
    for (uint64_t next = (hole + 1) & gate->order_mask; gate->order_id[next]; next = (next + 1) & gate->order_mask) {
        uint64_t start = home(gate, gate->order_id[next]);
        if (((next - start) & gate->order_mask) < ((next - hole) & gate->order_mask)) continue;
        gate->order_id[hole] = gate->order_id[next];
        gate->order[hole] = gate->order[next];
        hole = next;
    }
    gate->order_id[hole] = 0;
    gate->open_orders--;
}

/* One order's part in a scope's sums goes from (lots, micros) to others. */
static inline void scope_reserve(gate_scope *scope, const gate_order *order, int64_t lots, int64_t micros) {
    sum_add(scope->open_micros[order->side], order->value_micros, micros);
    scope->open_lots = add(scope->open_lots, lots - order->leaves_lots);
    if (!lots) scope->open_orders--;
}

static inline void cell_reserve(gate *gate, uint32_t index, const gate_order *order, int64_t lots, int64_t micros, int64_t price) {
    gate_cell *cell = cell_at(gate, index);
    if (!cell) return;
    cell->open_lots[order->side] = add(cell->open_lots[order->side], lots - order->leaves_lots);
    scope_reserve(&gate->scope[cell->scope], order, lots, micros);
    cell_regross(gate, cell, &gate->entry[order->instrument], price);
}

/* Set what an order reserves; at 0 or less it is closed, and its place is another's. */
static inline void reserve(gate *gate, uint64_t place, int64_t leaves_lots) {
    gate_order *order = &gate->order[place];
    uint32_t instrument = order->instrument;
    gate_instrument *state = &gate->instrument[instrument];
    int64_t *open_lots = order->side == SIDE_BUY ? &state->open_buy_lots : &state->open_sell_lots;
    if (leaves_lots < 0) leaves_lots = 0;
    int64_t micros = value_of(&gate->entry[instrument], order->price_ticks, leaves_lots), price = reference_price(state);
    *open_lots += leaves_lots - order->leaves_lots;
    scope_reserve(&gate->firm, order, leaves_lots, micros);
    if (!leaves_lots) gate->venue.open_orders--; /* what it is worth is the firm's */
    scope_reserve(&state->scope, order, leaves_lots, micros);
    cell_reserve(gate, order->account_cell, order, leaves_lots, micros, price);
    cell_reserve(gate, order->strategy_cell, order, leaves_lots, micros, price);
    order->leaves_lots = leaves_lots;
    order->value_micros = micros;
    if (!leaves_lots) {
        heap_remove(gate, &state->top[order->side], order->node);
        order_remove(gate, place);
    }
    regross(gate, instrument, price);
}

/* Field by field: the compiler would build a whole structure aside and copy it with a slow string instruction. */
static inline gate_order *order_open(gate *gate, uint64_t place, uint64_t order_id, uint32_t instrument, uint32_t side, int64_t price) {
    gate_order *order = &gate->order[place];
    gate->order_id[place] = order_id;
    order->leaves_lots = 0;
    order->filled_lots = 0;
    order->price_ticks = price;
    order->value_micros = 0;
    order->time_ns = gate->now_ns;
    order->instrument = instrument;
    order->side = side;
    order->account_cell = order->strategy_cell = 0;
    order->trial = 0;
    order->node = heap_add(gate, &gate->instrument[instrument].top[side], heap_key(side, price));
    gate->open_orders++;
    gate->firm.open_orders++;
    gate->venue.open_orders++;
    gate->instrument[instrument].scope.open_orders++;
    return order;
}

/* A free place for a new order; NOWHERE when the table is as full as it may be. */
static inline uint64_t order_place(const gate *gate, uint64_t order_id) {
    return 2 * (gate->open_orders + 1) > gate->order_mask + 1 ? NOWHERE : order_probe(gate, order_id);
}
