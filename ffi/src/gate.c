/* gate.c: the risk gate. See include/gate.h. */
#include "gate.h"
#include "command_inline.h"
#include "digest.h"
#include "gate_inline.h"
#include "prefetch_inline.h"
#include <string.h>

/* ---- layout ----------------------------------------------------------------------------------- */

/* Twice the orders: a probe then ends soon, and always. */
static uint64_t table_size(uint32_t open_orders_max) {
    uint64_t size = 64;
    while (size < 2 * (uint64_t)open_orders_max) size *= 2;
    return size;
}

static uint64_t lines(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) / CACHE_LINE_SIZE * CACHE_LINE_SIZE; }

uint64_t gate_bytes(uint32_t instruments, uint32_t open_orders_max) {
    uint64_t size = table_size(open_orders_max);
    return lines(instruments * sizeof(gate_instrument)) + lines(size * sizeof(uint64_t)) + lines(size * sizeof(gate_order));
}

int gate_init(gate *gate, void *memory, uint64_t bytes, uint32_t instruments, uint32_t open_orders_max) {
    if (bytes < gate_bytes(instruments, open_orders_max)) return 0;
    memset(memory, 0, bytes);
    uint64_t size = table_size(open_orders_max);
    uint8_t *next = memory;
    gate->instrument = (gate_instrument *)next;
    next += lines(instruments * sizeof(gate_instrument));
    gate->order_id = (uint64_t *)next;
    next += lines(size * sizeof(uint64_t));
    gate->order = (gate_order *)next;
    gate->order_mask = size - 1;
    gate->instrument_count = instruments;
    gate->market_epoch = GATE_REFERENCE_STALE + 1;
    gate->throttle_credit = INT64_MAX; /* cut down to the bucket's depth at the first message */
    return 1;
}

/* ---- open orders ------------------------------------------------------------------------------ */

/* A free place for a new order; NOWHERE when the table is as full as it may be. */
static uint64_t order_place(const gate *gate, uint64_t order_id) {
    return 2 * (gate->open_orders + 1) > gate->order_mask + 1 ? NOWHERE : order_probe(gate, order_id);
}

/* Pull back each follower whose home does not lie between the hole and itself: no place that was once
 * used slows a later probe. Places found before are not valid after. */
static void order_remove(gate *gate, uint64_t hole) {
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

/* Ids are dense: ask now for the lines of the next order, which nothing has touched for long. */
PREFETCHING void order_expect(const gate *gate, uint64_t order_id) {
    uint64_t place = home(gate, order_id);
    __builtin_prefetch(&gate->order_id[place], 1);
    __builtin_prefetch(&gate->order[place], 1);
}

void gate_expect(const gate *gate, uint64_t order_id, uint32_t instrument) {
    order_expect(gate, order_id);
    if (instrument < gate->instrument_count) {
        __builtin_prefetch((const instrument_limits *)(gate->limits + 1) + instrument, 0);
        prefetch_lines(&gate->instrument[instrument], sizeof(gate_instrument));
        __builtin_prefetch(&gate->entry[instrument], 0);
    }
    __builtin_prefetch(gate->limits, 0);
    __builtin_prefetch(&gate->intent[1][INPUT_NORM], 1);
    prefetch_lines(gate->counter, 2 * CACHE_LINE_SIZE);
}

/* ---- sums ------------------------------------------------------------------------------------- */

static int64_t sum_add(uint64_t *sum, int64_t from, int64_t to) {
    __int128 value = sum_of(sum) + to - from;
    sum[0] = (uint64_t)value;
    sum[1] = (uint64_t)(value >> 64);
    return saturate(value);
}

/* Keep the sums over instruments in step with this one. */
static void revalue(gate *gate, uint32_t instrument) {
    gate_instrument *state = &gate->instrument[instrument];
    int64_t price = reference_price(state);
    int64_t gross = value_of(&gate->entry[instrument], price,
                             worst_lots(state->position_lots, state->open_buy_lots, state->open_sell_lots));
    int64_t net = value_of(&gate->entry[instrument], price, state->position_lots);
    gate->gross_value_micros = sum_add(gate->gross_sum, state->gross_value_micros, gross);
    gate->net_value_micros = sum_add(gate->net_sum, state->net_value_micros, net);
    state->gross_value_micros = gross;
    state->net_value_micros = net;
}

/* The signed ones are stored as they are: readers view those counters as int64. */
static void gauges(gate *gate) {
    gate->counter[RISK_OPEN_ORDERS] = gate->open_orders;
    gate->counter[RISK_GROSS_VALUE_MICROS] = (uint64_t)gate->gross_value_micros;
    gate->counter[RISK_CASH_MICROS] = (uint64_t)gate->cash_micros;
    gate->counter[RISK_PNL_MICROS] = (uint64_t)add(gate->cash_micros, gate->net_value_micros);
}

/* ---- reservations ----------------------------------------------------------------------------- */

/* Set what an order reserves; at 0 or less it is closed, and its place is another's. */
static void reserve(gate *gate, uint64_t place, int64_t leaves_lots) {
    gate_order *order = &gate->order[place];
    uint32_t instrument = order->instrument;
    gate_instrument *state = &gate->instrument[instrument];
    int64_t *open_lots = order->side == SIDE_BUY ? &state->open_buy_lots : &state->open_sell_lots;
    if (leaves_lots < 0) leaves_lots = 0;
    *open_lots += leaves_lots - order->leaves_lots;
    order->leaves_lots = leaves_lots;
    if (!leaves_lots) order_remove(gate, place);
    revalue(gate, instrument);
}

/* Field by field: the compiler would build a whole structure aside and copy it with a slow string instruction. */
static void order_open(gate *gate, uint64_t place, uint64_t order_id, uint32_t instrument, uint32_t side, int64_t filled_lots) {
    gate_order *order = &gate->order[place];
    gate->order_id[place] = order_id;
    order->leaves_lots = 0;
    order->filled_lots = filled_lots;
    order->instrument = instrument;
    order->side = side;
    gate->open_orders++;
}

/* The order is no more; unknown ones are none. */
static void order_close(gate *gate, uint64_t order_id) {
    uint64_t place = order_find(gate, order_id);
    if (place != NOWHERE) reserve(gate, place, 0);
}

void gate_release(gate *gate, uint64_t order_id) {
    order_close(gate, order_id);
    gauges(gate);
}

/* ---- limits ----------------------------------------------------------------------------------- */

const instrument_limits *gate_limits(const gate *gate, uint32_t instrument) {
    if (!gate->limits || instrument >= gate->limits->count) return NULL;
    return (const instrument_limits *)(gate->limits + 1) + instrument;
}

/* ---- checks, in the order in which they are made ------------------------------------------------ */

static int check_mode(const gate *gate, const turn_plan *plan, const signal_event *intent) {
    if (plan->killed) return REJECT_KILLED;
    const gate_instrument *state = &gate->instrument[intent->header.instrument];
    uint8_t mode = plan->mode == MODE_NORMAL && state->held ? MODE_REDUCE_ONLY : plan->mode;
    if (mode == MODE_NORMAL) return REJECT_NONE;
    if (mode != MODE_REDUCE_ONLY || intent->header.type != SIGNAL_NEW) return REJECT_MODE;
    /* Reduce only: never past flat, with every open order on that side filled. */
    int64_t reducible = intent->side == SIDE_BUY ? -state->position_lots - state->open_buy_lots
                                                 : state->position_lots - state->open_sell_lots;
    return intent->quantity_lots <= reducible ? REJECT_NONE : REJECT_MODE;
}

static int check_instrument(const gate *gate, const signal_event *intent, const instrument_limits *limits) {
    const instrument_entry *entry = &gate->entry[intent->header.instrument];
    if (!(entry->flags & INSTRUMENT_TRADED)) return REJECT_INSTRUMENT;
    /* Without these no limit in money and no price step means anything. */
    if (entry->tick_value_micros <= 0 || entry->price_increment_ticks <= 0) return REJECT_INSTRUMENT;
    if ((entry->flags & INSTRUMENT_RESTRICTED) || (limits->flags & LIMIT_BLOCKED)) return REJECT_BLOCKED;
    /* Two halts, each lifted by its own kind alone. */
    if (gate->instrument[intent->header.instrument].operational_state > STATE_TRADING) return REJECT_NOT_TRADING;
    uint32_t state = gate->instrument[intent->header.instrument].trading_state;
    if (state == STATE_TRADING || (state == STATE_UNKNOWN && !gate->require_trading_state)) return REJECT_NONE;
    return REJECT_NOT_TRADING;
}

static int check_reference(const gate *gate, const turn_plan *plan, const signal_event *intent) {
    const gate_instrument *state = &gate->instrument[intent->header.instrument];
    if (!state->reference_epoch) return REJECT_NO_REFERENCE;
    if (state->reference_epoch != gate->market_epoch) return REJECT_STALE_DATA;
    uint64_t age_ns = plan->now_ns > state->reference_time_ns ? plan->now_ns - state->reference_time_ns : 0;
    if (age_ns > (uint64_t)gate->limits->stale_after_ns) return REJECT_STALE_DATA;
    if (state->bid_price_ticks && state->ask_price_ticks && state->bid_price_ticks >= state->ask_price_ticks) return REJECT_CROSSED;
    return reference_price(state) ? REJECT_NONE : REJECT_NO_REFERENCE;
}

static int check_order(const gate *gate, const signal_event *intent, const instrument_limits *limits) {
    const instrument_entry *entry = &gate->entry[intent->header.instrument];
    if (intent->quantity_lots <= 0 || intent->quantity_lots > limits->order_quantity_lots_max) return REJECT_QUANTITY;
    if (intent->price_ticks <= 0 || intent->price_ticks % entry->price_increment_ticks) return REJECT_PRICE;
    int64_t value = value_of(entry, intent->price_ticks, intent->quantity_lots);
    if (value > limits->order_value_micros_max || value == INT64_MAX) return REJECT_ORDER_VALUE;
    int64_t reference = reference_price(&gate->instrument[intent->header.instrument]);
    __int128 distance = (__int128)magnitude(intent->price_ticks - reference) * 1000000;
    return distance > (__int128)limits->collar_ppm_max * reference ? REJECT_COLLAR : REJECT_NONE;
}

static int check_exposure(const gate *gate, const signal_event *intent, const instrument_limits *limits, int64_t reserve_lots) {
    const gate_instrument *state = &gate->instrument[intent->header.instrument];
    int64_t position = state->position_lots, buy = state->open_buy_lots, sell = state->open_sell_lots;
    int64_t worst_now = worst_lots(position, buy, sell);
    if (__builtin_add_overflow(intent->side == SIDE_BUY ? buy : sell, reserve_lots, intent->side == SIDE_BUY ? &buy : &sell))
        return REJECT_POSITION;
    __int128 reach = intent->side == SIDE_BUY ? (__int128)position + buy : (__int128)sell - position;
    if (reach > limits->position_lots_max) return REJECT_POSITION;
    if ((limits->flags & LIMIT_NO_SHORT) && intent->side == SIDE_SELL && reach > 0) return REJECT_NO_SHORT;
    int64_t worst = worst_lots(position, buy, sell);
    if (worst <= worst_now) return REJECT_NONE;
    int64_t gross = value_of(&gate->entry[intent->header.instrument], reference_price(state), worst);
    __int128 sum = sum_of(gate->gross_sum) - state->gross_value_micros + gross;
    return sum > gate->limits->firm.gross_value_micros_max || gross == INT64_MAX ? REJECT_GROSS_VALUE : REJECT_NONE;
}

/* A token bucket as deep as one second of its rate, filled by the turn's time. */
static int check_throttle(gate *gate, uint64_t now_ns) {
    int64_t rate = gate->limits->firm.messages_per_second_max;
    if (rate <= 0) return REJECT_THROTTLE;
    int64_t full = saturate((__int128)rate * NANOS);
    if (now_ns > gate->throttle_time_ns) {
        int64_t credit = saturate(gate->throttle_credit + (__int128)(now_ns - gate->throttle_time_ns) * rate);
        gate->throttle_credit = credit;
        gate->throttle_time_ns = now_ns;
    }
    if (gate->throttle_credit > full) gate->throttle_credit = full;
    return gate->throttle_credit < NANOS ? REJECT_THROTTLE : REJECT_NONE;
}

/* Within a strategy's epoch, intents of one input rise in (cause, leg); one that does not was seen before. */
static int check_repetition(gate *gate, const signal_event *intent) {
    if (intent->strategy >= GATE_STRATEGIES_MAX || intent->header.cause_input >= GATE_INPUTS) return REJECT_DUPLICATE;
    gate_intent *last = &gate->intent[intent->strategy][intent->header.cause_input];
    uint64_t cause = intent->header.cause_sequence;
    int later = intent->strategy_epoch != last->epoch ? intent->strategy_epoch > last->epoch
                : cause != last->cause_sequence       ? cause > last->cause_sequence
                                                      : intent->leg > last->leg;
    if (last->seen && !later) return REJECT_DUPLICATE;
    *last = (gate_intent){.cause_sequence = cause, .leg = intent->leg, .epoch = intent->strategy_epoch, .seen = 1};
    return REJECT_NONE;
}

static void command_fill(const gate *gate, const turn_plan *plan, const signal_event *intent, uint64_t order_id, cmd_event *command) {
    static const uint8_t TYPE[] = {[SIGNAL_NEW - SIGNAL_NEW] = CMD_NEW,
                                   [SIGNAL_REPLACE - SIGNAL_NEW] = CMD_REPLACE,
                                   [SIGNAL_CANCEL - SIGNAL_NEW] = CMD_CANCEL};
    command->header.type = TYPE[intent->header.type - SIGNAL_NEW];
    command->header.flags = intent->side == SIDE_SELL ? FLAG_SELL : 0;
    command->header.instrument = intent->header.instrument;
    command->id = command_name(intent);
    command->order_id = order_id;
    command->target_order_id = intent->header.type == SIGNAL_NEW ? 0 : intent->target_order_id;
    command->price_ticks = intent->price_ticks;
    command->quantity_lots = intent->header.type == SIGNAL_CANCEL ? 0 : intent->quantity_lots;
    command->limits_version = (uint32_t)gate->limits->version;
    command->kill_epoch = plan->kill_epoch;
    command->side = intent->side;
    command->time_in_force = intent->time_in_force;
    command->venue = 0;
    command->reserved0 = 0;
    command->reserved1 = 0;
    command->digest = digest_command(command);
}

/* Cancels reduce risk: they need a known order and nothing else. */
static int check_cancel(gate *gate, const signal_event *intent) {
    uint64_t place = order_find(gate, intent->target_order_id);
    if (place == NOWHERE || gate->order[place].instrument != intent->header.instrument) return REJECT_UNKNOWN_ORDER;
    return check_repetition(gate, intent);
}

/* What the order must reserve: all of it, or for a replacement what the first has not filled. */
static int reserve_wanted(const gate *gate, const signal_event *intent, int64_t *lots) {
    *lots = intent->quantity_lots;
    if (intent->header.type == SIGNAL_NEW) return REJECT_NONE;
    uint64_t place = order_find(gate, intent->target_order_id);
    if (place == NOWHERE) return REJECT_UNKNOWN_ORDER;
    const gate_order *target = &gate->order[place];
    if (target->instrument != intent->header.instrument || target->side != intent->side) return REJECT_UNKNOWN_ORDER;
    *lots = intent->quantity_lots - target->filled_lots;
    return *lots > 0 ? REJECT_NONE : REJECT_QUANTITY;
}

#define REQUIRE(check)                               \
    do {                                             \
        int reason_ = (check);                       \
        if (reason_ != REJECT_NONE) return reason_;  \
    } while (0)

int gate_check(gate *gate, const turn_plan *plan, const signal_event *intent, uint64_t order_id, cmd_event *command) {
    uint32_t instrument = intent->header.instrument;
    const instrument_limits *limits = instrument < gate->instrument_count ? gate_limits(gate, instrument) : NULL;
    if (!limits) return REJECT_INSTRUMENT;
    if (intent->side > SIDE_SELL || intent->header.type < SIGNAL_NEW || intent->header.type > SIGNAL_CANCEL) return REJECT_INSTRUMENT;
    if (intent->header.type == SIGNAL_CANCEL) {
        REQUIRE(check_cancel(gate, intent));
        command_fill(gate, plan, intent, order_id, command);
        return REJECT_NONE;
    }
    int64_t lots;
    REQUIRE(check_mode(gate, plan, intent));
    REQUIRE(check_instrument(gate, intent, limits));
    REQUIRE(check_reference(gate, plan, intent));
    REQUIRE(check_order(gate, intent, limits));
    REQUIRE(reserve_wanted(gate, intent, &lots));
    REQUIRE(check_exposure(gate, intent, limits, lots));
    uint64_t place = order_place(gate, order_id);
    if (place == NOWHERE || (int64_t)gate->open_orders >= gate->limits->firm.open_orders_max) return REJECT_OPEN_ORDERS;
    if (!order_id || gate->order_id[place]) return REJECT_DUPLICATE;
    REQUIRE(check_throttle(gate, plan->now_ns));
    REQUIRE(check_repetition(gate, intent)); /* last: what it remembers was approved */
    gate->throttle_credit -= NANOS;
    order_open(gate, place, order_id, instrument, intent->side, intent->quantity_lots - lots);
    reserve(gate, place, lots);
    gauges(gate);
    command_fill(gate, plan, intent, order_id, command);
    order_expect(gate, order_id + 1);
    return REJECT_NONE;
}

/* ---- executions -------------------------------------------------------------------------------- */

/* A fill moves the position whether or not its order is known: it happened. */
static void fill_apply(gate *gate, const exec_event *execution, int sign) {
    uint32_t instrument = execution->header.instrument;
    int64_t lots = saturate(execution->quantity_lots);
    int64_t bought = (execution->side == SIDE_BUY ? 1 : -1) * sign * lots;
    gate_instrument *state = &gate->instrument[instrument];
    gate->counter[RISK_POSITION_LOTS] -= (uint64_t)magnitude(state->position_lots);
    state->position_lots = add(state->position_lots, bought);
    gate->counter[RISK_POSITION_LOTS] += (uint64_t)magnitude(state->position_lots);
    gate->cash_micros = add(gate->cash_micros, -value_of(&gate->entry[instrument], execution->price_ticks, bought));
    gate->counter[execution->side == SIDE_BUY ? RISK_BOUGHT_LOTS : RISK_SOLD_LOTS] += (uint64_t)(sign * lots);
    revalue(gate, instrument);
}

/* The same lots at another price. Where the price before is not known, cash stays as it was told. */
static void correct_apply(gate *gate, const exec_event *execution) {
    if (!execution->venue_ref) return;
    int64_t lots = saturate(execution->quantity_lots);
    int64_t bought = execution->side == SIDE_BUY ? lots : -lots;
    const instrument_entry *entry = &gate->entry[execution->header.instrument];
    gate->cash_micros = add(gate->cash_micros, value_of(entry, (int64_t)execution->venue_ref, bought));
    gate->cash_micros = add(gate->cash_micros, -value_of(entry, execution->price_ticks, bought));
}

/* Lots and money that no execution explains: what they cost is paid, what they bring is received. */
static void adjust_apply(gate *gate, const exec_event *execution) {
    int64_t lots = saturate(execution->quantity_lots);
    gate_instrument *state = &gate->instrument[execution->header.instrument];
    gate->counter[RISK_POSITION_LOTS] -= (uint64_t)magnitude(state->position_lots);
    state->position_lots = add(state->position_lots, execution->side == SIDE_BUY ? lots : -lots);
    gate->counter[RISK_POSITION_LOTS] += (uint64_t)magnitude(state->position_lots);
    gate->cash_micros = add(gate->cash_micros, saturate((int64_t)execution->venue_ref));
    revalue(gate, execution->header.instrument);
}

static void fill(gate *gate, const exec_event *execution) {
    uint64_t place = order_find(gate, execution->order_id);
    fill_apply(gate, execution, 1);
    if (place == NOWHERE) {
        gate->counter[RISK_UNKNOWN_EXECUTIONS]++;
        return;
    }
    gate_order *order = &gate->order[place];
    order->filled_lots = add(order->filled_lots, execution->quantity_lots);
    int64_t leaves = add(order->leaves_lots, -saturate(execution->quantity_lots));
    if (leaves < 0) gate->counter[RISK_OVERFILLS]++;
    reserve(gate, place, leaves);
}

static void cancel_apply(gate *gate, const exec_event *execution) {
    uint64_t place = order_find(gate, execution->order_id);
    if (place != NOWHERE) reserve(gate, place, execution->leaves_lots);
}

/* The venue says what is live. An order given up here that turns out to live is taken up again; with
 * no place left for it, it is counted and its fills still move the position. */
static void order_rests(gate *gate, const exec_event *execution, int64_t filled_lots) {
    uint64_t place = order_find(gate, execution->order_id);
    if (place != NOWHERE) {
        gate->order[place].filled_lots = larger(gate->order[place].filled_lots, filled_lots);
        reserve(gate, place, execution->leaves_lots);
        return;
    }
    if (execution->leaves_lots <= 0 || execution->side > SIDE_SELL || !execution->order_id) return;
    gate->counter[RISK_UNKNOWN_EXECUTIONS]++;
    place = order_place(gate, execution->order_id);
    if (place == NOWHERE) return;
    order_open(gate, place, execution->order_id, execution->header.instrument, execution->side, filled_lots);
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
    if (place != NOWHERE && execution->leaves_lots > 0) reserve(gate, place, execution->leaves_lots);
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
    case EXEC_BROKEN: fill_apply(gate, execution, -1); break;
    case EXEC_CORRECTED: correct_apply(gate, execution); break;
    case EXEC_ADJUSTED: adjust_apply(gate, execution); break;
    case EXEC_HELD: gate->instrument[execution->header.instrument].held = 1; break;
    case EXEC_RELEASED: gate->instrument[execution->header.instrument].held = 0; break;
    case EXEC_CANCELED: cancel_apply(gate, execution); break;
    case EXEC_REPLACED: replace_apply(gate, execution); break;
    case EXEC_RESTATED: restate_apply(gate, execution); break;
    case EXEC_REJECTED:
    case EXEC_REFUSED:
    case EXEC_REPLACE_REJECTED: order_close(gate, execution->order_id); break;
    default: return;
    }
    gauges(gate);
}

void gate_roll(gate *gate) {
    gate->cash_micros = -gate->net_value_micros;
    gate->counter[RISK_BOUGHT_LOTS] = gate->counter[RISK_SOLD_LOTS] = 0;
    gate->counter[RISK_ROLLS]++;
    gauges(gate);
}

/* ---- the market -------------------------------------------------------------------------------- */

static int is_print(uint8_t type) {
    return type == NORM_EXECUTE || type == NORM_EXECUTE_PRICE || type == NORM_TRADE || type == NORM_CROSS;
}

/* Prices of before a gap, a silence or a new session say nothing of now. */
static int breaks_market(uint8_t type) {
    return type == NORM_GAP || type == NORM_SILENT || type == NORM_WHOLE || type == NORM_CLEAR;
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
    if (reference_price(state) == before) return;
    if (state->position_lots || state->open_buy_lots || state->open_sell_lots) {
        revalue(gate, event->header.instrument);
        gauges(gate);
    }
}
