/* gate_follow.c: what executions, the market and the day make of what the gate keeps. See include/gate.h. */
#include "gate.h"
#include "gate_keep_inline.h"
#include "prefetch_inline.h"
#include <string.h>

/* ---- scopes of an order ------------------------------------------------------------------------- */

typedef struct {
    gate_scope *scope;
    const scope_limits *limits;
} scope_pair;

static const scope_limits *cell_limits(const gate *gate, const gate_cell *cell) {
    if (cell->scope < ACCOUNT_FIRST) return strategy_limits(gate->limits, cell->scope);
    return account_limits(gate->limits, gate->account_id[cell->scope - ACCOUNT_FIRST] - 1);
}

/* Everything that an order counts in; an order that nobody of this run sent, only in what is over everybody. */
static uint32_t scopes_of(gate *gate, const gate_order *order, scope_pair *found) {
    const limits_header *limits = gate->limits;
    uint32_t count = 0;
    found[count++] = (scope_pair){&gate->firm, &limits->firm};
    found[count++] = (scope_pair){&gate->venue, limits->venue_place ? scope_entry(limits, limits->venue_place) : &limits->firm};
    found[count++] = (scope_pair){&gate->instrument[order->instrument].scope, &limits_at(limits, order->instrument)->scope};
    const uint32_t index[2] = {order->account_cell, order->strategy_cell};
    for (uint32_t i = 0; i < 2; i++) {
        const gate_cell *cell = cell_at(gate, index[i]);
        if (cell) found[count++] = (scope_pair){&gate->scope[cell->scope], cell_limits(gate, cell)};
    }
    return count;
}

/* ---- the breaker ----------------------------------------------------------------------------------- */

/* The venue refused an order: a trial that failed, or one refusal too many. */
static void breaker_reject(gate *gate, const gate_order *order, uint64_t order_id) {
    scope_pair pair[SCOPE_KINDS];
    uint32_t count = scopes_of(gate, order, pair);
    for (uint32_t i = 0; i < count; i++) {
        gate_scope *scope = pair[i].scope;
        const scope_limits *limits = pair[i].limits;
        scope_rearm(scope, limits->rearm_epoch);
        if (limits->breaker_rejects_max == LIMIT_OFF) continue;
        uint64_t length = (uint64_t)limits->breaker_window_ns;
        window_add(&scope->rejects, length, gate->now_ns, 1);
        int failed = scope->trial_order_id == order_id;
        if (!failed && (scope->tripped_time_ns || window_sum(&scope->rejects, length, gate->now_ns) <= limits->breaker_rejects_max)) continue;
        scope->tripped_time_ns = gate->now_ns ? gate->now_ns : 1;
        scope->trial_order_id = 0;
    }
}

/* The venue took an order: if it was the trial, the breaker closes. */
static void breaker_accept(gate *gate, const gate_order *order, uint64_t order_id) {
    if (!order->trial) return;
    scope_pair pair[SCOPE_KINDS];
    uint32_t count = scopes_of(gate, order, pair);
    for (uint32_t i = 0; i < count; i++) {
        if (pair[i].scope->trial_order_id != order_id) continue;
        pair[i].scope->tripped_time_ns = pair[i].scope->trial_order_id = 0;
        pair[i].scope->rejects = (gate_window){0};
    }
}

/* An order ended before the venue said yes or no to it: another one may be the trial. */
static void trial_forget(gate *gate, const gate_order *order, uint64_t order_id) {
    if (__builtin_expect(!order->trial, 1)) return;
    scope_pair pair[SCOPE_KINDS];
    uint32_t count = scopes_of(gate, order, pair);
    for (uint32_t i = 0; i < count; i++)
        if (pair[i].scope->trial_order_id == order_id) pair[i].scope->trial_order_id = 0;
}

/* ---- fills --------------------------------------------------------------------------------------------- */

/* What was traded, in one scope. */
static void scope_trade(gate_scope *scope, int64_t cash_micros, int64_t traded_micros, int64_t lots) {
    scope->cash_micros = add(scope->cash_micros, cash_micros);
    sum_add(scope->day_sum, 0, traded_micros);
    scope->day_lots = add(scope->day_lots, lots);
}

static void cell_trade(gate *gate, uint32_t index, const exec_event *execution, int64_t bought, int64_t cash, int64_t traded, int64_t lots) {
    gate_cell *cell = cell_at(gate, index);
    if (!cell) return;
    cell->position_lots = add(cell->position_lots, bought);
    scope_trade(&gate->scope[cell->scope], cash, traded, lots);
    uint32_t instrument = execution->header.instrument;
    cell_revalue(gate, cell, &gate->entry[instrument], reference_price(&gate->instrument[instrument]));
}

static void position_move(gate *gate, uint32_t instrument, int64_t bought) {
    gate_instrument *state = &gate->instrument[instrument];
    gate->counter[RISK_POSITION_LOTS] -= (uint64_t)magnitude(state->position_lots);
    state->position_lots = add(state->position_lots, bought);
    gate->counter[RISK_POSITION_LOTS] += (uint64_t)magnitude(state->position_lots);
}

/* A fill moves the position whether or not its order is known: it happened. */
static void fill_apply(gate *gate, const exec_event *execution, int sign, const gate_order *order) {
    uint32_t instrument = execution->header.instrument;
    gate_instrument *state = &gate->instrument[instrument];
    int64_t lots = saturate(execution->quantity_lots), before = magnitude(state->position_lots);
    int64_t bought = (execution->side == SIDE_BUY ? 1 : -1) * sign * lots;
    int64_t cash = -value_of(&gate->entry[instrument], execution->price_ticks, bought);
    int64_t traded = sign * value_of(&gate->entry[instrument], execution->price_ticks, lots);
    position_move(gate, instrument, bought);
    gate->cash_micros = add(gate->cash_micros, cash);
    gate->counter[execution->side == SIDE_BUY ? RISK_BOUGHT_LOTS : RISK_SOLD_LOTS] += (uint64_t)(sign * lots);
    if (magnitude(state->position_lots) < before) state->exit_time_ns = gate->now_ns ? gate->now_ns : 1;
    scope_trade(&gate->firm, cash, traded, sign * lots);
    scope_trade(&state->scope, cash, traded, sign * lots);
    if (order) {
        cell_trade(gate, order->account_cell, execution, bought, cash, traded, sign * lots);
        cell_trade(gate, order->strategy_cell, execution, bought, cash, traded, sign * lots);
    }
    revalue(gate, instrument);
}

/* An order that is known and was filled: how often that was, and how much of the market it was. */
static void fill_count(gate *gate, const gate_order *order, int64_t lots) {
    scope_pair pair[SCOPE_KINDS];
    uint32_t count = scopes_of(gate, order, pair);
    for (uint32_t i = 0; i < count; i++) {
        scope_rearm(pair[i].scope, pair[i].limits->rearm_epoch);
        pair[i].scope->fills++;
        pair[i].scope->executions++;
    }
    uint64_t length = (uint64_t)limits_at(gate->limits, order->instrument)->participation_window_ns;
    if (length) window_add(&gate->instrument[order->instrument].own, length, gate->now_ns, lots);
}

static void fill(gate *gate, const exec_event *execution) {
    uint64_t place = order_find(gate, execution->order_id);
    gate_order *order = place == NOWHERE ? NULL : &gate->order[place];
    fill_apply(gate, execution, 1, order);
    if (!order) {
        gate->counter[RISK_UNKNOWN_EXECUTIONS]++;
        return;
    }
    fill_count(gate, order, saturate(execution->quantity_lots));
    order->filled_lots = add(order->filled_lots, execution->quantity_lots);
    int64_t leaves = add(order->leaves_lots, -saturate(execution->quantity_lots));
    if (leaves < 0) gate->counter[RISK_OVERFILLS]++;
    reserve(gate, place, leaves);
}

/* Money that moves by itself: everybody's profit is looked at anew. */
static void cash_move(gate *gate, uint32_t instrument, int64_t cash) {
    gate->cash_micros = add(gate->cash_micros, cash);
    gate_scope *scope = &gate->instrument[instrument].scope;
    scope->cash_micros = add(scope->cash_micros, cash);
    revalue(gate, instrument);
}

/* The same lots at another price. Where the price before is not known, cash stays as it was told. */
static void correct_apply(gate *gate, const exec_event *execution) {
    if (!execution->venue_ref) return;
    uint32_t instrument = execution->header.instrument;
    int64_t lots = saturate(execution->quantity_lots);
    int64_t bought = execution->side == SIDE_BUY ? lots : -lots;
    const instrument_entry *entry = &gate->entry[instrument];
    int64_t back = value_of(entry, (int64_t)execution->venue_ref, bought), paid = value_of(entry, execution->price_ticks, bought);
    gate->cash_micros = add(gate->cash_micros, back);
    gate_scope *scope = &gate->instrument[instrument].scope;
    scope->cash_micros = add(scope->cash_micros, back);
    cash_move(gate, instrument, -paid);
}

/* Lots and money that no execution explains: what they cost is paid, what they bring is received. */
static void adjust_apply(gate *gate, const exec_event *execution) {
    int64_t lots = saturate(execution->quantity_lots);
    position_move(gate, execution->header.instrument, execution->side == SIDE_BUY ? lots : -lots);
    cash_move(gate, execution->header.instrument, saturate((int64_t)execution->venue_ref));
}

/* ---- what rests, and what ends ------------------------------------------------------------------------- */

static void cancel_apply(gate *gate, const exec_event *execution) {
    uint64_t place = order_find(gate, execution->order_id);
    if (place == NOWHERE) return;
    if (execution->leaves_lots <= 0) trial_forget(gate, &gate->order[place], execution->order_id);
    reserve(gate, place, execution->leaves_lots);
}

/* The order is no more; unknown ones are none. */
static void order_close(gate *gate, uint64_t order_id) {
    uint64_t place = order_find(gate, order_id);
    if (place == NOWHERE) return;
    trial_forget(gate, &gate->order[place], order_id);
    reserve(gate, place, 0);
}

static void reject_apply(gate *gate, const exec_event *execution) {
    uint64_t place = order_find(gate, execution->order_id);
    if (place != NOWHERE) breaker_reject(gate, &gate->order[place], execution->order_id);
    order_close(gate, execution->order_id);
}

void gate_release(gate *gate, uint64_t order_id) {
    order_close(gate, order_id);
    gauges(gate);
}

/* The venue says what is live. An order given up here that turns out to live is taken up again; with
 * no place left for it, it is counted and its fills still move the position. */
static void order_rests(gate *gate, const exec_event *execution, int64_t filled_lots) {
    uint64_t place = order_find(gate, execution->order_id);
    if (place != NOWHERE) {
        gate_order *order = &gate->order[place];
        breaker_accept(gate, order, execution->order_id);
        order->filled_lots = larger(order->filled_lots, filled_lots);
        reserve(gate, place, execution->leaves_lots);
        return;
    }
    if (execution->leaves_lots <= 0 || execution->side > SIDE_SELL || !execution->order_id) return;
    gate->counter[RISK_UNKNOWN_EXECUTIONS]++;
    place = order_place(gate, execution->order_id);
    if (place == NOWHERE) return;
    int64_t price = larger(0, execution->price_ticks);
    gate_order *order = order_open(gate, place, execution->order_id, execution->header.instrument, execution->side, price);
    order->filled_lots = filled_lots;
    reserve(gate, place, execution->leaves_lots);
}

/* The replacement takes over what its order had filled, at the venue's own figure of what is left. */
static void replace_apply(gate *gate, const exec_event *execution) {
    uint64_t old = order_find(gate, execution->target_order_id);
    int64_t filled_lots = old == NOWHERE ? 0 : gate->order[old].filled_lots;
    if (old != NOWHERE && execution->target_order_id != execution->order_id) reserve(gate, old, 0);
    order_rests(gate, execution, filled_lots);
}

/* Only an order that is known can be restated; of a dead one the venue would not speak. */
static void restate_apply(gate *gate, const exec_event *execution) {
    uint64_t place = order_find(gate, execution->order_id);
    if (place == NOWHERE || execution->leaves_lots <= 0) return;
    gate_order *order = &gate->order[place];
    if (execution->price_ticks > 0 && execution->price_ticks != order->price_ticks) {
        uint32_t *top = &gate->instrument[order->instrument].top[order->side];
        heap_remove(gate, top, order->node);
        order->price_ticks = execution->price_ticks;
        order->node = heap_add(gate, top, heap_key(order->side, order->price_ticks));
    }
    reserve(gate, place, execution->leaves_lots);
}

/* 1 when the venue's number says that this was applied before. A new session counts from 1 again, so
 * the numbers are compared within the session that the execution names. */
static int repeated(gate *gate, const exec_event *execution) {
    if (!execution->session_sequence) return 0; /* made here */
    if (execution->session != gate->session) gate->last_session_sequence = 0;
    gate->session = execution->session;
    if (execution->session_sequence <= gate->last_session_sequence) return 1;
    gate->last_session_sequence = execution->session_sequence;
    return 0;
}

void gate_execution(gate *gate, const exec_event *execution) {
    gate->counter[RISK_EXECUTIONS]++;
    if (repeated(gate, execution)) {
        gate->counter[RISK_DUPLICATE_EXECUTIONS]++;
        return;
    }
    if (execution->header.instrument >= gate->instrument_count) return; /* of the session, not of an order */
    switch (execution->header.type) {
    case EXEC_ACCEPTED: order_rests(gate, execution, 0); break;
    case EXEC_FILL: fill(gate, execution); break;
    case EXEC_BROKEN: {
        uint64_t place = order_find(gate, execution->order_id);
        fill_apply(gate, execution, -1, place == NOWHERE ? NULL : &gate->order[place]);
        break;
    }
    case EXEC_CORRECTED: correct_apply(gate, execution); break;
    case EXEC_ADJUSTED: adjust_apply(gate, execution); break;
    case EXEC_HELD: gate->instrument[execution->header.instrument].held = 1; break;
    case EXEC_RELEASED: gate->instrument[execution->header.instrument].held = 0; break;
    case EXEC_CANCELED: cancel_apply(gate, execution); break;
    case EXEC_REPLACED: replace_apply(gate, execution); break;
    case EXEC_RESTATED: restate_apply(gate, execution); break;
    case EXEC_REJECTED:
    case EXEC_REPLACE_REJECTED: reject_apply(gate, execution); break;
    case EXEC_REFUSED: order_close(gate, execution->order_id); break;
    default: return;
    }
    gauges(gate);
}

/* ---- the day ----------------------------------------------------------------------------------------------- */

/* Profit, totals and counts begin anew; what people must re-arm does not. */
static void scope_roll(gate_scope *scope) {
    scope->cash_micros = -saturate(sum_of(scope->net_sum));
    scope->pnl_micros = scope->pnl_peak_micros = scope->pnl_low_micros = scope->drawdown_micros = 0;
    memset(scope->day_sum, 0, sizeof scope->day_sum);
    scope->day_lots = 0;
    scope->messages_count = scope->fills = 0;
}

void gate_roll(gate *gate) {
    gate->cash_micros = -gate->net_value_micros;
    gate->counter[RISK_BOUGHT_LOTS] = gate->counter[RISK_SOLD_LOTS] = 0;
    gate->counter[RISK_ROLLS]++;
    scope_roll(&gate->firm);
    scope_roll(&gate->venue);
    for (uint32_t i = 0; i < GATE_STRATEGIES_MAX + GATE_ACCOUNTS_MAX; i++) scope_roll(&gate->scope[i]);
    for (uint32_t i = 0; i < gate->instrument_count; i++) scope_roll(&gate->instrument[i].scope);
    gauges(gate);
}

/* ---- the market -------------------------------------------------------------------------------------------- */

static int is_print(uint8_t type) {
    return type == NORM_EXECUTE || type == NORM_EXECUTE_PRICE || type == NORM_TRADE || type == NORM_CROSS;
}

/* Prices of before a gap, a silence or a new session say nothing of now. */
static int breaks_market(uint8_t type) {
    return type == NORM_GAP || type == NORM_SILENT || type == NORM_WHOLE || type == NORM_CLEAR;
}

/* The highest and the lowest reference of this window, and of the one before. */
static void move_track(gate_instrument *state, uint64_t length_ns, uint64_t now_ns, int64_t price) {
    uint64_t age_ns = now_ns > state->move_start_ns ? now_ns - state->move_start_ns : 0;
    if (age_ns >= length_ns) {
        int next = age_ns - length_ns < length_ns;
        state->before_high_ticks = next ? state->move_high_ticks : 0;
        state->before_low_ticks = next ? state->move_low_ticks : 0;
        state->move_high_ticks = state->move_low_ticks = 0;
        state->move_start_ns = next ? state->move_start_ns + length_ns : now_ns;
    }
    if (!state->move_low_ticks || price < state->move_low_ticks) state->move_low_ticks = price;
    if (price > state->move_high_ticks) state->move_high_ticks = price;
}

/* Prices and volumes that only some limits ask for. */
static void market_track(gate *gate, const norm_event *event, uint64_t now_ns) {
    gate_instrument *state = &gate->instrument[event->header.instrument];
    const instrument_limits *limits = limits_at(gate->limits, event->header.instrument);
    int64_t price = reference_price(state);
    if (limits->window_ns && price) move_track(state, (uint64_t)limits->window_ns, now_ns, price);
    if (limits->participation_window_ns && is_print(event->header.type) && event->quantity_lots > 0)
        window_add(&state->market, (uint64_t)limits->participation_window_ns, now_ns, event->quantity_lots);
}

void gate_market(gate *gate, const turn_plan *plan, const norm_event *event) {
    uint8_t type = event->header.type;
    if (event->header.instrument >= gate->instrument_count) {
        if (breaks_market(type)) gate->market_epoch++;
        return;
    }
    gate_instrument *state = &gate->instrument[event->header.instrument];
    if (type == NORM_STATUS) state->trading_state = (uint32_t)event->order_ref;
    if (type == NORM_OPERATIONAL && event->order_ref != STATE_UNKNOWN) state->operational_state = (uint32_t)event->order_ref;
    if (event->header.flags & FLAG_STALE) { /* what was known of it is stale too, until it is heard of afresh */
        if (state->reference_epoch) state->reference_epoch = GATE_REFERENCE_STALE;
        return;
    }
    int64_t before = reference_price(state);
    state->reference_time_ns = plan->now_ns;
    state->reference_epoch = gate->market_epoch;
    if (is_print(type) && event->price_ticks > 0) state->trade_price_ticks = event->price_ticks;
    /* Not by FLAG_TOP: the top may have moved while events were stale. */
    state->bid_price_ticks = event->bid_price_ticks;
    state->ask_price_ticks = event->ask_price_ticks;
    state->bid_depth_lots = event->bid_depth_lots;
    state->ask_depth_lots = event->ask_depth_lots;
    if (gate->limits && event->header.instrument < gate->limits->count) market_track(gate, event, plan->now_ns);
    if (reference_price(state) == before) return;
    if (state->position_lots || state->open_buy_lots || state->open_sell_lots || state->first_cell) {
        revalue_all(gate, event->header.instrument);
        gauges(gate);
    }
}
