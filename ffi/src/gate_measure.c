/* gate_measure.c: see include/gate_measure.h. The order of the rows, and what refuses, is that of gate_check. */
#include "gate_measure.h"
#include "gate_inline.h"
#include <string.h>

/* The rows so far, and what they are made of. */
typedef struct {
    const gate *gate;
    const turn_plan *plan;
    const signal_event *intent;
    const instrument_entry *entry;
    const gate_instrument *state;
    const instrument_limits *limits;
    gate_measured *rows;
    uint32_t count;
} measuring;

static void row(measuring *m, int reason, int unit, int relation, int64_t value, int64_t threshold, int refuses) {
    m->rows[m->count++] = (gate_measured){.value = value,
                                          .threshold = threshold,
                                          .reason = (uint16_t)reason,
                                          .unit = (uint8_t)unit,
                                          .relation = (uint8_t)relation,
                                          .outcome = refuses ? OUTCOME_REFUSES : OUTCOME_PASSES};
}

static void row_not_asked(measuring *m, int reason, int unit, int relation, int64_t value, int64_t threshold) {
    row(m, reason, unit, relation, value, threshold, 0);
    m->rows[m->count - 1].outcome = OUTCOME_NOT_ASKED;
}

static int64_t narrow(uint64_t value) { return value > INT64_MAX ? INT64_MAX : (int64_t)value; }

/* ---- the engine ----------------------------------------------------------------------------------- */

static void mode_rows(measuring *m) {
    const turn_plan *plan = m->plan;
    row(m, REJECT_KILLED, UNIT_YES_NO, RELATION_EQUAL, plan->killed, 0, plan->killed);
    uint8_t mode = plan->mode == MODE_NORMAL && m->state->held ? MODE_REDUCE_ONLY : plan->mode;
    if (mode != MODE_REDUCE_ONLY || m->intent->header.type != SIGNAL_NEW) {
        row(m, REJECT_MODE, UNIT_CODE, RELATION_EQUAL, mode, MODE_NORMAL, mode != MODE_NORMAL);
        return;
    }
    int64_t reducible = m->intent->side == SIDE_BUY ? -m->state->position_lots - m->state->open_buy_lots
                                                    : m->state->position_lots - m->state->open_sell_lots;
    int64_t wanted = m->intent->quantity_lots;
    row(m, REJECT_MODE, UNIT_LOTS, RELATION_AT_MOST, wanted, reducible, wanted > reducible);
}

static void instrument_rows(measuring *m) {
    const instrument_entry *entry = m->entry;
    int traded = (entry->flags & INSTRUMENT_TRADED) && entry->tick_value_micros > 0 && entry->price_increment_ticks > 0;
    row(m, REJECT_INSTRUMENT, UNIT_YES_NO, RELATION_EQUAL, traded, 1, !traded);
    int blocked = (entry->flags & INSTRUMENT_RESTRICTED) || (m->limits->flags & LIMIT_BLOCKED);
    row(m, REJECT_BLOCKED, UNIT_YES_NO, RELATION_EQUAL, blocked, 0, blocked);
    uint32_t halted = m->state->operational_state;
    if (halted > STATE_TRADING) {
        row(m, REJECT_NOT_TRADING, UNIT_CODE, RELATION_EQUAL, halted, STATE_TRADING, 1);
        return;
    }
    uint32_t state = m->state->trading_state;
    if (state == STATE_UNKNOWN && !m->gate->require_trading_state)
        row_not_asked(m, REJECT_NOT_TRADING, UNIT_CODE, RELATION_EQUAL, state, STATE_TRADING);
    else row(m, REJECT_NOT_TRADING, UNIT_CODE, RELATION_EQUAL, state, STATE_TRADING, state != STATE_TRADING);
}

/* ---- the price it is held against ------------------------------------------------------------------ */

static void reference_rows(measuring *m) {
    const gate_instrument *state = m->state;
    int heard = state->reference_epoch != 0;
    int current = state->reference_epoch == m->gate->market_epoch;
    row(m, REJECT_NO_REFERENCE, UNIT_YES_NO, RELATION_EQUAL, heard, 1, !heard);
    if (heard) row(m, REJECT_STALE_DATA, UNIT_YES_NO, RELATION_EQUAL, !current, 0, !current);
    else row_not_asked(m, REJECT_STALE_DATA, UNIT_YES_NO, RELATION_EQUAL, 1, 0);
    uint64_t age_ns = m->plan->now_ns > state->reference_time_ns ? m->plan->now_ns - state->reference_time_ns : 0;
    uint64_t age_ns_max = (uint64_t)m->gate->limits->stale_after_ns;
    row(m, REJECT_STALE_DATA, UNIT_NS, RELATION_AT_MOST, narrow(age_ns), narrow(age_ns_max), age_ns > age_ns_max);
    int64_t bid = state->bid_price_ticks, ask = state->ask_price_ticks;
    if (bid && ask) row(m, REJECT_CROSSED, UNIT_TICKS, RELATION_BELOW, bid, ask, bid >= ask);
    else row_not_asked(m, REJECT_CROSSED, UNIT_TICKS, RELATION_BELOW, bid, ask);
    int64_t reference = reference_price(state);
    row(m, REJECT_NO_REFERENCE, UNIT_TICKS, RELATION_ABOVE, reference, 0, !reference);
}

/* ---- the order by itself ---------------------------------------------------------------------------- */

/* Parts per million, rounded up: a breach by less than one of them shows as the next one. */
static int64_t parts_away(__int128 distance, int64_t reference) {
    if (reference <= 0) return distance ? INT64_MAX : 0;
    return saturate((distance + reference - 1) / reference);
}

static void order_rows(measuring *m) {
    const signal_event *intent = m->intent;
    const instrument_limits *limits = m->limits;
    int64_t lots = intent->quantity_lots, price = intent->price_ticks, step = m->entry->price_increment_ticks;
    row(m, REJECT_QUANTITY, UNIT_LOTS, RELATION_ABOVE, lots, 0, lots <= 0);
    row(m, REJECT_QUANTITY, UNIT_LOTS, RELATION_AT_MOST, lots, limits->order_quantity_lots_max, lots > limits->order_quantity_lots_max);
    row(m, REJECT_PRICE, UNIT_TICKS, RELATION_MULTIPLE, price, step, price <= 0 || step <= 0 || price % step);
    int64_t value = value_of(m->entry, price, lots);
    row(m, REJECT_ORDER_VALUE, UNIT_MICROS, RELATION_AT_MOST, value, limits->order_value_micros_max,
        value > limits->order_value_micros_max || value == INT64_MAX);
    int64_t reference = reference_price(m->state);
    __int128 distance = (__int128)magnitude(saturate((__int128)price - reference)) * 1000000;
    row(m, REJECT_COLLAR, UNIT_PPM, RELATION_AT_MOST, parts_away(distance, reference), limits->collar_ppm_max,
        distance > (__int128)limits->collar_ppm_max * reference);
}

/* What the order must reserve; 0 with a row that refuses when its target does not stand. */
static int64_t reserve_rows(measuring *m) {
    const signal_event *intent = m->intent;
    if (intent->header.type == SIGNAL_NEW) return intent->quantity_lots;
    uint64_t place = order_find(m->gate, intent->target_order_id);
    const gate_order *target = place == NOWHERE ? NULL : &m->gate->order[place];
    int known = target && target->instrument == intent->header.instrument && target->side == intent->side;
    row(m, REJECT_UNKNOWN_ORDER, UNIT_YES_NO, RELATION_EQUAL, known, 1, !known);
    if (!known) return 0;
    int64_t lots = intent->quantity_lots - target->filled_lots;
    row(m, REJECT_QUANTITY, UNIT_LOTS, RELATION_ABOVE, lots, 0, lots <= 0);
    return lots;
}

/* ---- all orders together ----------------------------------------------------------------------------- */

static void gross_row(measuring *m, int64_t worst_now, int64_t worst) {
    int64_t most = m->gate->limits->firm.gross_value_micros_max;
    int64_t gross = value_of(m->entry, reference_price(m->state), worst);
    __int128 sum = sum_of(m->gate->gross_sum) - m->state->gross_value_micros + gross;
    if (worst <= worst_now) { /* it does not raise the worst case: the way back stays open */
        row_not_asked(m, REJECT_GROSS_VALUE, UNIT_MICROS, RELATION_AT_MOST, saturate(sum), most);
        return;
    }
    row(m, REJECT_GROSS_VALUE, UNIT_MICROS, RELATION_AT_MOST, saturate(sum), most, sum > most || gross == INT64_MAX);
}

static void exposure_rows(measuring *m, int64_t reserve_lots) {
    const gate_instrument *state = m->state;
    int is_buy = m->intent->side == SIDE_BUY;
    int64_t position = state->position_lots, buy = state->open_buy_lots, sell = state->open_sell_lots;
    int64_t worst_now = worst_lots(position, buy, sell), most = m->limits->position_lots_max;
    if (__builtin_add_overflow(is_buy ? buy : sell, reserve_lots, is_buy ? &buy : &sell)) {
        row(m, REJECT_POSITION, UNIT_LOTS, RELATION_AT_MOST, INT64_MAX, most, 1);
        return;
    }
    __int128 reach = is_buy ? (__int128)position + buy : (__int128)sell - position;
    row(m, REJECT_POSITION, UNIT_LOTS, RELATION_AT_MOST, saturate(reach), most, reach > most);
    if ((m->limits->flags & LIMIT_NO_SHORT) && !is_buy)
        row(m, REJECT_NO_SHORT, UNIT_LOTS, RELATION_AT_MOST, saturate(reach), 0, reach > 0);
    gross_row(m, worst_now, worst_lots(position, buy, sell));
}

static void place_rows(measuring *m, uint64_t order_id) {
    const gate *gate = m->gate;
    int64_t open = (int64_t)gate->open_orders, most = gate->limits->firm.open_orders_max;
    int full = 2 * (gate->open_orders + 1) > gate->order_mask + 1;
    row(m, REJECT_OPEN_ORDERS, UNIT_ORDERS, RELATION_BELOW, open, most, open >= most || full);
    int taken = !order_id || (!full && gate->order_id[order_probe(gate, order_id)]);
    row(m, REJECT_DUPLICATE, UNIT_YES_NO, RELATION_EQUAL, taken, 0, taken);
}

/* ---- rate and repetition ------------------------------------------------------------------------------- */

/* The bucket as it would stand when the gate had looked: filled by the time since, no deeper than a second. */
static void throttle_row(measuring *m) {
    const gate *gate = m->gate;
    int64_t rate = gate->limits->firm.messages_per_second_max, credit = gate->throttle_credit;
    if (rate <= 0) {
        row(m, REJECT_THROTTLE, UNIT_MESSAGES_MILLI, RELATION_AT_LEAST, 0, 1000, 1);
        return;
    }
    uint64_t now_ns = m->plan->now_ns;
    if (now_ns > gate->throttle_time_ns) credit = saturate(credit + (__int128)(now_ns - gate->throttle_time_ns) * rate);
    int64_t full = saturate((__int128)rate * NANOS);
    if (credit > full) credit = full;
    row(m, REJECT_THROTTLE, UNIT_MESSAGES_MILLI, RELATION_AT_LEAST, credit / (NANOS / 1000), 1000, credit < NANOS);
}

static void repetition_row(measuring *m) {
    const signal_event *intent = m->intent;
    if (intent->strategy >= GATE_STRATEGIES_MAX || intent->header.cause_input >= GATE_INPUTS) {
        row(m, REJECT_DUPLICATE, UNIT_YES_NO, RELATION_EQUAL, 1, 0, 1);
        return;
    }
    const gate_intent *last = &m->gate->intent[intent->strategy][intent->header.cause_input];
    uint64_t cause = intent->header.cause_sequence;
    int later = intent->strategy_epoch != last->epoch ? intent->strategy_epoch > last->epoch
                : cause != last->cause_sequence       ? cause > last->cause_sequence
                                                      : intent->leg > last->leg;
    row(m, REJECT_DUPLICATE, UNIT_SEQUENCE, RELATION_ABOVE, narrow(cause), last->seen ? narrow(last->cause_sequence) : -1,
        last->seen && !later);
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static void cancel_rows(measuring *m) {
    uint64_t place = order_find(m->gate, m->intent->target_order_id);
    int known = place != NOWHERE && m->gate->order[place].instrument == m->intent->header.instrument;
    row(m, REJECT_UNKNOWN_ORDER, UNIT_YES_NO, RELATION_EQUAL, known, 1, !known);
    repetition_row(m);
}

uint32_t gate_measure(const gate *gate, const turn_plan *plan, const signal_event *intent, uint64_t order_id,
                      gate_measured *rows) {
    uint32_t instrument = intent->header.instrument;
    uint8_t type = intent->header.type;
    measuring m = {.gate = gate, .plan = plan, .intent = intent, .rows = rows};
    m.limits = instrument < gate->instrument_count ? gate_limits(gate, instrument) : NULL;
    int speakable = m.limits && intent->side <= SIDE_SELL && type >= SIGNAL_NEW && type <= SIGNAL_CANCEL;
    if (!speakable) {
        row(&m, REJECT_INSTRUMENT, UNIT_YES_NO, RELATION_EQUAL, 0, 1, 1);
        return m.count;
    }
    m.entry = &gate->entry[instrument];
    m.state = &gate->instrument[instrument];
    if (type == SIGNAL_CANCEL) {
        cancel_rows(&m);
        return m.count;
    }
    mode_rows(&m);
    instrument_rows(&m);
    reference_rows(&m);
    order_rows(&m);
    exposure_rows(&m, reserve_rows(&m));
    place_rows(&m, order_id);
    throttle_row(&m);
    repetition_row(&m);
    return m.count;
}
