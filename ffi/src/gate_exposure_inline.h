/* gate_exposure_inline.h: checks of what may be owed: positions, values, credit, the day's totals, its loss.
 *
 * Each counts open orders as filled. None stops a genuine exit: an order that goes no further than flat with every
 * other open order of its side filled (case_scope.is_exit).
 */
#pragma once
#include "gate_case_inline.h"

/* Of the instrument over everybody, and of the firm: what an order without limits of its own is held to. */
static inline int judge_exposure(gate_case *c) {
    const gate_instrument *state = c->state;
    int is_buy = c->intent->side == SIDE_BUY, is_exit = (int)c->scope[SCOPE_INSTRUMENT].is_exit;
    int64_t position = state->position_lots, buy = state->open_buy_lots, sell = state->open_sell_lots;
    int64_t worst_now = worst_lots(position, buy, sell), most = c->limits->position_lots_max;
    if (__builtin_add_overflow(is_buy ? buy : sell, c->lots, is_buy ? &buy : &sell)) {
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_POSITION, UNIT_LOTS, RELATION_AT_MOST, INT64_MAX, most, 1);
        return REJECT_NONE;
    }
    __int128 reach = is_buy ? (__int128)position + buy : (__int128)sell - position;
    JUDGE(c, SCOPE_INSTRUMENT, REJECT_POSITION, UNIT_LOTS, RELATION_AT_MOST, saturate(reach), most, reach > most && !is_exit);
    if ((c->limits->flags & LIMIT_NO_SHORT) && !is_buy) /* a sale that is no exit could end short */
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_NO_SHORT, UNIT_LOTS, RELATION_AT_MOST, saturate(reach), 0, !is_exit);
    most = c->limits->envelope_lots_max;
    if (most != LIMIT_OFF && !is_exit)
        JUDGE(c, SCOPE_INSTRUMENT, REJECT_ENVELOPE, UNIT_LOTS, RELATION_AT_MOST, saturate(reach), most, reach > most);
    int64_t worst = worst_lots(position, buy, sell);
    int64_t gross = value_of(c->entry, c->reference_ticks, worst);
    __int128 sum = sum_of(c->gate->firm.gross_sum) - state->gross_value_micros + gross;
    most = c->header->firm.gross_value_micros_max;
    if (worst <= worst_now || is_exit) { /* it does not raise the worst case: the way back stays open */
        PASS_OVER(c, SCOPE_FIRM, REJECT_GROSS_VALUE, UNIT_MICROS, RELATION_AT_MOST, saturate(sum), most);
        return REJECT_NONE;
    }
    JUDGE(c, SCOPE_FIRM, REJECT_GROSS_VALUE, UNIT_MICROS, RELATION_AT_MOST, saturate(sum), most, sum > most || gross == INT64_MAX);
    most = c->header->envelope_gross_value_micros_max;
    if (most != LIMIT_OFF) JUDGE(c, SCOPE_FIRM, REJECT_ENVELOPE, UNIT_MICROS, RELATION_AT_MOST, saturate(sum), most, sum > most);
    return REJECT_NONE;
}

/* One scope's positions and values, the order added. */
static inline int judge_scope_exposure(gate_case *c, uint32_t kind) {
    const case_scope *scope = &c->scope[kind];
    const scope_limits *limits = scope->limits;
    const gate_scope *state = scope->state;
    int is_buy = c->intent->side == SIDE_BUY;
    if (scope->is_exit) return REJECT_NONE;
    int64_t buy = scope->open_lots[SIDE_BUY], sell = scope->open_lots[SIDE_SELL], most = limits->position_lots_max;
    *(is_buy ? &buy : &sell) = add(is_buy ? buy : sell, c->added_lots);
    if (most != LIMIT_OFF) {
        int64_t reach = is_buy ? add(scope->position_lots, buy) : add(sell, -scope->position_lots);
        JUDGE(c, kind, REJECT_SCOPE_POSITION, UNIT_LOTS, RELATION_AT_MOST, reach, most, reach > most);
    }
    most = limits->gross_value_micros_max;
    if (most != LIMIT_OFF && scope->raises && kind != SCOPE_FIRM) {
        int64_t gross = value_of(c->entry, c->reference_ticks, scope->worst_lots);
        __int128 sum = sum_of(state->gross_sum) - scope->gross_value_micros + gross;
        JUDGE(c, kind, REJECT_GROSS_VALUE, UNIT_MICROS, RELATION_AT_MOST, saturate(sum), most, sum > most || gross == INT64_MAX);
    }
    __int128 open = sum_of(state->open_micros[c->intent->side]) + c->added_micros;
    if (limits->net_value_micros_max != LIMIT_OFF) {
        __int128 net = (is_buy ? sum_of(state->net_sum) : -sum_of(state->net_sum)) + open;
        JUDGE(c, kind, REJECT_NET_VALUE, UNIT_MICROS, RELATION_AT_MOST, saturate(net), limits->net_value_micros_max, net > limits->net_value_micros_max);
    }
    if (limits->credit_micros_max != LIMIT_OFF && is_buy) {
        __int128 credit = open - state->cash_micros;
        JUDGE(c, kind, REJECT_CREDIT, UNIT_MICROS, RELATION_AT_MOST, saturate(credit), limits->credit_micros_max, credit > limits->credit_micros_max);
    }
    return REJECT_NONE;
}

static inline int judge_scope_day(gate_case *c, uint32_t kind) {
    const case_scope *scope = &c->scope[kind];
    const scope_limits *limits = scope->limits;
    const gate_scope *state = scope->state;
    if (scope->is_exit) return REJECT_NONE;
    if (limits->day_value_micros_max != LIMIT_OFF) {
        __int128 value = sum_of(state->day_sum) + sum_of(state->open_micros[0]) + sum_of(state->open_micros[1]) + c->added_micros;
        JUDGE(c, kind, REJECT_DAY_VALUE, UNIT_MICROS, RELATION_AT_MOST, saturate(value), limits->day_value_micros_max,
              value > limits->day_value_micros_max);
    }
    if (limits->day_lots_max != LIMIT_OFF) {
        int64_t lots = add(add(state->day_lots, state->open_lots), c->added_lots);
        JUDGE(c, kind, REJECT_DAY_QUANTITY, UNIT_LOTS, RELATION_AT_MOST, lots, limits->day_lots_max, lots > limits->day_lots_max);
    }
    return REJECT_NONE;
}

/* Re-armed since: what was latched counts no more, though nothing was approved yet that would have noted it. */
static inline int is_rearmed(const case_scope *scope) { return scope->limits->rearm_epoch != scope->state->rearm_epoch; }

static inline int judge_scope_loss(gate_case *c, uint32_t kind) {
    const case_scope *scope = &c->scope[kind];
    const scope_limits *limits = scope->limits;
    if (scope->is_exit) return REJECT_NONE;
    int64_t lost = larger(0, -(is_rearmed(scope) ? scope->state->pnl_micros : scope->state->pnl_low_micros));
    int64_t fallen = is_rearmed(scope) ? 0 : scope->state->drawdown_micros;
    if (limits->day_loss_micros_max != LIMIT_OFF)
        JUDGE(c, kind, REJECT_DAY_LOSS, UNIT_MICROS, RELATION_AT_MOST, lost, limits->day_loss_micros_max, lost > limits->day_loss_micros_max);
    if (limits->day_drawdown_micros_max != LIMIT_OFF)
        JUDGE(c, kind, REJECT_DRAWDOWN, UNIT_MICROS, RELATION_AT_MOST, fallen, limits->day_drawdown_micros_max,
              fallen > limits->day_drawdown_micros_max);
    return REJECT_NONE;
}
