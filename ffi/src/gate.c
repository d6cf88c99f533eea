/* gate.c: the risk gate: memory, decision, and what an approval books. See include/gate.h.
 *
 *   gate_heap_inline.h      our own best prices, by instrument and side
 *   gate_keep_inline.h      reservations and sums, kept in step
 *   gate_case_inline.h      one intent before the gate, and how a check is written
 *   gate_state_inline.h     checks of state: kill, mode, switches, data, market, model
 *   gate_order_inline.h     checks of the order by itself
 *   gate_exposure_inline.h  checks of what may be owed
 *   gate_rate_inline.h      checks of how often
 *   gate_judge_inline.h     all of them in their order
 *   gate_follow.c           what executions and the market make of it
 *   gate_measure.c          the same checks, for people to read
 */
#include "gate.h"
#include "command_inline.h"
#include "digest.h"
#include "gate_keep_inline.h"
#include "prefetch_inline.h"
#include <string.h>

/* Where it refuses, the reason; what people would like to see of it is not even worked out. */
#define JUDGE(c, kind_, reason_, unit_, relation_, value_, threshold_, refuses_)                  \
    do {                                                                                          \
        (void)(kind_), (void)sizeof((int64_t)(value_) + (int64_t)(threshold_));                   \
        if (__builtin_expect(!!(refuses_), 0) && !is_forgiven(c, reason_)) return reason_;        \
    } while (0)
#define PASS_OVER(c, kind_, reason_, unit_, relation_, value_, threshold_) \
    (void)(kind_), (void)sizeof((int64_t)(value_) + (int64_t)(threshold_))

#include "gate_judge_inline.h"

/* ---- layout ----------------------------------------------------------------------------------- */

/* Twice the orders: a probe then ends soon, and always. */
static uint64_t table_size(uint32_t open_orders_max) {
    uint64_t size = 64;
    while (size < 2 * (uint64_t)open_orders_max) size *= 2;
    return size;
}

/* Room for two who have something in each instrument, among few instruments for many more. */
static uint64_t cells_size(uint32_t instruments) {
    uint64_t size = 1024;
    while (size < 4 * (uint64_t)instruments) size *= 2;
    return size;
}

static uint64_t lines(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) / CACHE_LINE_SIZE * CACHE_LINE_SIZE; }

#define GATE_SCOPES (GATE_STRATEGIES_MAX + GATE_ACCOUNTS_MAX)

uint64_t gate_bytes(uint32_t instruments, uint32_t open_orders_max) {
    uint64_t size = table_size(open_orders_max);
    return lines(instruments * sizeof(gate_instrument)) + lines(size * sizeof(uint64_t)) + lines(size * sizeof(gate_order)) +
           lines(GATE_SCOPES * sizeof(gate_scope)) + lines(cells_size(instruments) * sizeof(gate_cell)) +
           lines((size / 2 + 1) * sizeof(gate_node));
}

static void *take(uint8_t **next, uint64_t bytes) {
    void *taken = *next;
    *next += lines(bytes);
    return taken;
}

/* A bucket starts full: it is cut down to its depth when it is first looked at. */
static void scope_fill(gate_scope *scope) {
    scope->orders.credit = scope->replaces.credit = scope->cancels.credit = scope->messages.credit = INT64_MAX;
}

int gate_init(gate *gate, void *memory, uint64_t bytes, uint32_t instruments, uint32_t open_orders_max) {
    if (bytes < gate_bytes(instruments, open_orders_max)) return 0;
    memset(memory, 0, bytes);
    uint64_t size = table_size(open_orders_max);
    uint8_t *next = memory;
    gate->instrument = take(&next, instruments * sizeof(gate_instrument)); /* first: snapshots begin there */
    gate->order_id = take(&next, size * sizeof(uint64_t));
    gate->order = take(&next, size * sizeof(gate_order));
    gate->scope = take(&next, GATE_SCOPES * sizeof(gate_scope));
    gate->cell = take(&next, cells_size(instruments) * sizeof(gate_cell));
    gate->node = take(&next, (size / 2 + 1) * sizeof(gate_node));
    gate->order_mask = size - 1;
    gate->cell_mask = cells_size(instruments) - 1;
    for (uint32_t i = 1; i < size / 2; i++) gate->node[i].left = i + 1;
    gate->node_free = 1;
    gate->instrument_count = instruments;
    gate->market_epoch = GATE_REFERENCE_STALE + 1;
    gate->throttle_credit = INT64_MAX;
    scope_fill(&gate->firm);
    scope_fill(&gate->venue);
    for (uint32_t i = 0; i < GATE_SCOPES; i++) scope_fill(&gate->scope[i]);
    for (uint32_t i = 0; i < instruments; i++) scope_fill(&gate->instrument[i].scope);
    return 1;
}

/* ---- ahead of time ------------------------------------------------------------------------------ */

/* Ids are dense: ask now for the lines of the next order, which nothing has touched for long. */
PREFETCHING void order_expect(const gate *gate, uint64_t order_id) {
    uint64_t place = home(gate, order_id);
    __builtin_prefetch(&gate->order_id[place], 1);
    __builtin_prefetch(&gate->order[place], 1);
}

void gate_expect(const gate *gate, uint64_t order_id, uint32_t instrument) {
    order_expect(gate, order_id);
    if (instrument < gate->instrument_count) {
        prefetch_lines(limits_at(gate->limits, instrument), sizeof(instrument_limits));
        prefetch_lines(&gate->instrument[instrument], sizeof(gate_instrument));
        __builtin_prefetch(&gate->entry[instrument], 0);
    }
    prefetch_lines(gate->limits, 7 * CACHE_LINE_SIZE);
    prefetch_lines(&gate->firm, sizeof gate->firm);
    __builtin_prefetch(&gate->intent[1][INPUT_NORM], 1);
    prefetch_lines(gate->counter, 2 * CACHE_LINE_SIZE);
}

void gate_begin(gate *gate, const turn_plan *plan) {
    gate->now_ns = plan->now_ns;
    if (plan->model_generation == gate->model_generation && gate->model_time_ns) return;
    gate->model_generation = plan->model_generation;
    gate->model_time_ns = plan->now_ns;
}

const instrument_limits *gate_limits(const gate *gate, uint32_t instrument) {
    if (!gate->limits || instrument >= gate->limits->count) return NULL;
    return limits_at(gate->limits, instrument);
}

/* ---- an approval ------------------------------------------------------------------------------------ */

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

static void intent_remember(gate *gate, const signal_event *intent) {
    gate_intent *last = &gate->intent[intent->strategy][intent->header.cause_input];
    *last = (gate_intent){.cause_sequence = intent->header.cause_sequence, .leg = intent->leg, .epoch = intent->strategy_epoch, .seen = 1};
}

/* The cell of an account or strategy in an instrument, made where there was none. Returns its number + 1. */
static uint32_t cell_enter(gate *gate, uint32_t index, uint32_t scope, uint32_t instrument) {
    gate_cell *cell = &gate->cell[index];
    if (__builtin_expect(cell->key != 0, 1)) return index + 1;
    cell->key = cell_key(scope, instrument);
    cell->scope = (uint16_t)scope;
    cell->next = gate->instrument[instrument].first_cell;
    gate->instrument[instrument].first_cell = index + 1;
    gate->cells++;
    return index + 1;
}

static inline void bucket_charge(gate_bucket *bucket, int64_t rate, int64_t credit, uint64_t now_ns) {
    if (rate != LIMIT_OFF) bucket_pay(bucket, credit, now_ns);
}

/* A cancel may pass unjudged, and pays all the same: into debt, if need be. */
static void cancel_charge(gate *gate, gate_scope *scope, const scope_limits *limits, uint32_t kind) {
    int64_t rate = limits->cancels_per_second_max, messages = limits->messages_per_second_max;
    uint64_t now_ns = gate->now_ns;
    bucket_charge(&scope->cancels, rate, rate == LIMIT_OFF ? 0 : bucket_credit(&scope->cancels, rate, now_ns), now_ns);
    if (kind == SCOPE_FIRM) return;
    bucket_charge(&scope->messages, messages, messages == LIMIT_OFF ? 0 : bucket_credit(&scope->messages, messages, now_ns), now_ns);
}

/* What one message costs a scope. */
static inline void scope_charge(gate *gate, gate_case *c, uint32_t kind) {
    gate_scope *scope = (gate_scope *)(uintptr_t)c->scope[kind].state;
    const scope_limits *limits = c->scope[kind].limits;
    scope->messages_count++;
    if (!limits) return;
    scope_rearm(scope, limits->rearm_epoch);
    if (scope->tripped_time_ns && c->intent->header.type != SIGNAL_CANCEL) {
        scope->trial_order_id = c->order_id;
        c->trial = 1;
    }
    if (!(limits->active & GROUP_RATES)) return;
    switch (c->intent->header.type) {
    case SIGNAL_NEW: bucket_charge(&scope->orders, limits->orders_per_second_max, c->scope[kind].credit, gate->now_ns); break;
    case SIGNAL_REPLACE: bucket_charge(&scope->replaces, limits->replaces_per_second_max, c->scope[kind].credit, gate->now_ns); break;
    default: cancel_charge(gate, scope, limits, kind); return;
    }
    if (kind != SCOPE_FIRM) bucket_charge(&scope->messages, limits->messages_per_second_max, c->scope[kind].messages_credit, gate->now_ns);
}

static void overrides_use(gate *gate, const gate_case *c) {
    for (uint32_t i = 0; i < OVERRIDES_MAX; i++)
        if (c->forgiven >> i & 1) gate->override_used[gate->override_next++ % OVERRIDES_MAX] = c->header->override[i].id;
}

static void recent_enter(gate *gate, const gate_case *c) {
    gate_instrument *state = &gate->instrument[c->intent->header.instrument];
    gate_recent *recent = &state->recent[c->intent->side][state->recent_next[c->intent->side]++ % GATE_RECENT];
    recent->price_ticks = c->intent->price_ticks;
    recent->quantity_lots = c->intent->quantity_lots;
    recent->time_ns = gate->now_ns;
    recent->strategy = (uint64_t)c->intent->strategy + 1;
}

static void order_book(gate *gate, gate_case *c) {
    const signal_event *intent = c->intent;
    uint32_t instrument = intent->header.instrument;
    gate->account_id[c->account_place - ACCOUNT_FIRST] = (uint32_t)intent->account + 1;
    for (uint32_t kind = SCOPE_FIRM; kind < SCOPE_KINDS; kind++) scope_charge(gate, c, kind);
    if (c->header->firm.messages_per_second_max != LIMIT_OFF) {
        gate_bucket bucket = {gate->throttle_credit, gate->throttle_time_ns};
        bucket_pay(&bucket, c->throttle_credit, gate->now_ns);
        gate->throttle_credit = bucket.credit;
        gate->throttle_time_ns = bucket.time_ns;
    }
    if (__builtin_expect(c->forgiven != 0, 0)) overrides_use(gate, c);
    if (c->limits->duplicate_window_ns && is_new(c)) recent_enter(gate, c);
    gate_order *order = order_open(gate, c->place, c->order_id, instrument, intent->side, intent->price_ticks);
    order->filled_lots = intent->quantity_lots - c->lots;
    order->trial = c->trial;
    order->account_cell = cell_enter(gate, c->account_index, c->account_place, instrument);
    if (c->account_index == c->strategy_index) /* both were new, and of one home */
        c->strategy_index = cell_probe(gate, cell_key(c->strategy_place, instrument));
    order->strategy_cell = cell_enter(gate, c->strategy_index, c->strategy_place, instrument);
    gate->scope[c->account_place].open_orders++;
    gate->scope[c->strategy_place].open_orders++;
    gate_cell *cell = cell_at(gate, order->strategy_cell);
    cell->score = intent->score;
    cell->scored = 1;
    reserve(gate, c->place, c->lots);
    gauges(gate);
}

/* ---- the decision -------------------------------------------------------------------------------------- */

/* The pre-action filter: a market or a policy out of bounds leaves the instrument in safe mode for a while. */
static int refuse(gate *gate, const gate_case *c, int reason) {
    int filtered = reason == REJECT_VOLATILITY || reason == REJECT_SPREAD || reason == REJECT_DEPTH ||
                   reason == REJECT_INTENT_AGE || reason == REJECT_SCORE_JUMP;
    if (filtered && c->limits->safe_ns)
        gate->instrument[c->intent->header.instrument].safe_until_ns = gate->now_ns + (uint64_t)c->limits->safe_ns;
    return reason;
}

static int cancel_decide(gate *gate, gate_case *c, cmd_event *command) {
    int opened = case_open(c);
    if (!opened) memset(c->scope, 0, sizeof c->scope); /* nothing is counted of who has no place: a cancel passes */
    REQUIRE(judge_cancel(c));
    intent_remember(gate, c->intent);
    if (opened)
        for (uint32_t kind = SCOPE_FIRM; kind < SCOPE_KINDS; kind++) scope_charge(gate, c, kind);
    command_fill(gate, c->plan, c->intent, c->order_id, command);
    return REJECT_NONE;
}

/* An intent that means something at all: of a side, a type, a strategy and an instrument that there are. */
static int speakable(const gate *gate, const signal_event *intent) {
    uint32_t instrument = intent->header.instrument;
    if (instrument >= gate->instrument_count || instrument >= gate->limits->count) return REJECT_INSTRUMENT;
    if (intent->side > SIDE_SELL || intent->header.type < SIGNAL_NEW || intent->header.type > SIGNAL_CANCEL) return REJECT_INSTRUMENT;
    return intent->strategy < GATE_STRATEGIES_MAX && intent->header.cause_input < GATE_INPUTS ? REJECT_NONE : REJECT_DUPLICATE;
}

int gate_check(gate *gate, const turn_plan *plan, const signal_event *intent, uint64_t order_id, cmd_event *command) {
    REQUIRE(speakable(gate, intent));
    gate_case c;
    c.gate = gate;
    c.plan = plan;
    c.intent = intent;
    c.order_id = order_id;
    c.target = NULL;
    c.forgiven = 0;
    c.trial = 0;
    gate->now_ns = plan->now_ns;
    if (intent->header.type == SIGNAL_CANCEL) return cancel_decide(gate, &c, command);
    if (!case_open(&c)) return REJECT_CAPACITY;
    int reason = judge_order(&c);
    if (__builtin_expect(reason != REJECT_NONE, 0)) return refuse(gate, &c, reason);
    intent_remember(gate, intent);
    order_book(gate, &c);
    command_fill(gate, plan, intent, order_id, command);
    order_expect(gate, order_id + 1);
    return REJECT_NONE;
}
