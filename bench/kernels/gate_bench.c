/* gate_bench.c: what does one order cost at the gate, with so many orders open and so many limits on?
 *
 *   OPEN orders resting --> gate_check (approved), gate_release --> the next one        one core, warm
 *
 *   gate_bench OPEN LIMITS CALLS     LIMITS: none (those that cannot be off), all, or the number of one group
 *
 * Prints ns of gate_check alone, each call measured by itself (the clock's own cost taken off): median, p99; and ns of
 * check and release together over a whole round, the best of five. Instructions: callgrind, two lengths, the difference.
 */
#include "gate.h"
#include "limit_copy.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#define INSTRUMENTS 64u
#define ROUNDS 5
#define CAPACITY 65536u

static gate risk_gate;
static instrument_entry entry[INSTRUMENTS];
static uint64_t counter[COUNTERS_MAX];
static uint64_t order_id;
static signal_event intent = {.header = {.type = SIGNAL_NEW, .cause_input = INPUT_NORM}, .quantity_lots = 1, .strategy = 1,
                              .account = 1, .strategy_epoch = 1, .score = 0.5};
static cmd_event command;
static turn_plan plan = {.now_ns = 10000000000};

static void die(const char *what) {
    fprintf(stderr, "gate_bench: %s\n", what);
    exit(1);
}

static void *zeroed(uint64_t bytes) {
    bytes = (bytes + (2u << 20) - 1) / (2u << 20) * (2u << 20);
    void *memory = aligned_alloc(2u << 20, bytes);
    if (!memory) die("no memory");
    return memset(memory, 0, bytes);
}

/* Every limit of a scope, far away from what is sent. */
static void scope_open(scope_limits *scope) {
    int64_t far = INT64_MAX / 4;
    scope->orders_per_second_max = scope->replaces_per_second_max = scope->cancels_per_second_max = 1000000000;
    scope->messages_per_second_max = 1000000000;
    scope->cancels_reserved = 16;
    scope->open_orders_max = CAPACITY;
    scope->position_lots_max = scope->gross_value_micros_max = scope->net_value_micros_max = scope->credit_micros_max = far;
    scope->day_value_micros_max = scope->day_lots_max = scope->day_loss_micros_max = scope->day_drawdown_micros_max = far;
    scope->messages_per_fill_milli_max = scope->executions_max = scope->breaker_rejects_max = far;
    scope->breaker_window_ns = 1000000000;
}

static void instrument_open(instrument_limits *limits) {
    limits->collar_ticks_max = limits->trade_collar_ppm_max = limits->through_ppm_max = limits->move_ppm_max = 1000000000;
    limits->volatility_ppm_max = limits->spread_ppm_max = limits->participation_ppm_max = 1000000000;
    limits->window_ns = limits->participation_window_ns = 1000000000;
    limits->depth_lots_min = limits->duplicate_window_ns = limits->resting_ns_min = limits->cooldown_ns = limits->safe_ns = 1;
    limits->envelope_lots_max = INT64_MAX / 4;
    limits->flags = LIMIT_NO_SHORT | LIMIT_NO_SELF_TRADE;
    scope_open(&limits->scope);
}

/* Leave one group on, of those that are. */
static void groups_keep(limits_header *copy, uint64_t groups) {
    copy->firm.active &= groups;
    instrument_limits *limits = (instrument_limits *)(copy + 1);
    for (uint32_t i = 0; i < INSTRUMENTS; i++) limits[i].scope.active &= groups;
    for (uint32_t i = 0; i < 3; i++) limits_scopes(copy)[i].active &= groups;
}

static void limits_make(int all, uint64_t groups) {
    limits_header *copy = zeroed(limits_bytes(INSTRUMENTS, 3));
    limits_clear(copy, INSTRUMENTS, 3);
    copy->version = 1;
    copy->stale_after_ns = INT64_MAX;
    copy->firm.gross_value_micros_max = copy->firm.open_orders_max = INT64_MAX / 4;
    copy->firm.messages_per_second_max = 1000000000;
    instrument_limits *limits = (instrument_limits *)(copy + 1);
    for (uint32_t i = 0; i < INSTRUMENTS; i++) {
        limits[i].position_lots_max = limits[i].order_quantity_lots_max = limits[i].order_value_micros_max = INT64_MAX / 4;
        limits[i].collar_ppm_max = 100000;
        if (all) instrument_open(&limits[i]);
    }
    if (all) {
        scope_open(&copy->firm);
        for (uint32_t i = 0; i < 3; i++) scope_open(&limits_scopes(copy)[i]);
        limits_scopes(copy)[0].id = limits_scopes(copy)[1].id = 1;
        copy->venue_place = 3;
        copy->strategy_place[1] = 1;
        copy->account_place[1] = 2;
        copy->intent_age_ns_max = copy->score_milli_max = copy->score_jump_milli_max = copy->model_age_ns_max = INT64_MAX / 4;
        copy->envelope_order_value_micros_max = copy->envelope_gross_value_micros_max = INT64_MAX / 4;
        copy->hours_count = 1;
        copy->hours[0] = (trading_hours){0, INT64_MAX};
    }
    limits_seal(copy);
    groups_keep(copy, groups);
    risk_gate.limits = copy;
}

static void market(int64_t bid, uint8_t type) {
    norm_event event = {.header = {.type = type}, .price_ticks = bid, .quantity_lots = 1000000000, .bid_price_ticks = bid,
                        .ask_price_ticks = bid + 100, .bid_depth_lots = 1000, .ask_depth_lots = 1000};
    for (uint32_t i = 0; i < INSTRUMENTS; i++) {
        event.header.instrument = i;
        gate_market(&risk_gate, &plan, &event);
    }
}

static void order_send(uint32_t instrument, int64_t price_ticks) {
    plan.now_ns += 1000;
    intent.header.instrument = instrument;
    intent.header.cause_sequence = ++order_id;
    intent.header.ingress_time_ns = plan.now_ns;
    intent.price_ticks = price_ticks;
    int reason = gate_check(&risk_gate, &plan, &intent, order_id, &command);
    if (reason == REJECT_NONE) return;
    fprintf(stderr, "gate_bench: refused for %d\n", reason);
    exit(1);
}

static int ascending(const void *a, const void *b) {
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
    return one < other ? -1 : one > other;
}

static uint64_t seconds_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int count, char **argument) {
    if (count != 4) die("gate_bench OPEN LIMITS CALLS");
    uint64_t open = strtoull(argument[1], NULL, 10), calls = strtoull(argument[3], NULL, 10), bytes = gate_bytes(INSTRUMENTS, CAPACITY);
    if (!gate_init(&risk_gate, zeroed(bytes), bytes, INSTRUMENTS, CAPACITY)) die("no gate");
    for (uint32_t i = 0; i < INSTRUMENTS; i++)
        entry[i] = (instrument_entry){.flags = INSTRUMENT_TRADED, .tick_value_micros = 100, .price_increment_ticks = 100, .round_lot_lots = 100};
    risk_gate.entry = entry;
    risk_gate.counter = counter;
    uint64_t group = strtoull(argument[2], NULL, 10); /* enum limit_group; 0 of what is no number */
    limits_make(group || !strcmp(argument[2], "all"), group ? group : UINT64_MAX);
    gate_begin(&risk_gate, &plan);
    market(1000000, NORM_TRADE);
    for (uint64_t i = 0; i < open; i++) order_send((uint32_t)(i % INSTRUMENTS), 999000 - (int64_t)(i * 7919 % 500) * 100);
    uint32_t *taken = zeroed((calls + 1) * sizeof *taken);
    uint64_t empty = UINT64_MAX, best_ns = UINT64_MAX, sum = 0, tsc = __rdtsc(), begun_ns = seconds_ns();
    unsigned aux;
    for (int i = 0; i < 1000; i++) {
        uint64_t before = __rdtscp(&aux), span = __rdtscp(&aux) - before;
        if (span < empty) empty = span;
    }
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = seconds_ns();
        for (uint64_t i = 0; i < calls; i++) {
            order_send((uint32_t)(i % INSTRUMENTS), 1000100 - (int64_t)(i % 64) * 100);
            gate_release(&risk_gate, order_id);
            sum += command.digest & 1;
        }
        uint64_t round_ns = seconds_ns() - start_ns;
        if (round_ns < best_ns) best_ns = round_ns;
    }
    for (uint64_t i = 0; i < calls; i++) {
        uint64_t before = __rdtscp(&aux);
        order_send((uint32_t)(i % INSTRUMENTS), 1000100 - (int64_t)(i % 64) * 100);
        uint64_t span = __rdtscp(&aux) - before - empty;
        taken[i] = span > UINT32_MAX ? UINT32_MAX : (uint32_t)span;
        gate_release(&risk_gate, order_id);
    }
    double scale = (double)(seconds_ns() - begun_ns) / (double)(__rdtsc() - tsc);
    qsort(taken, calls, sizeof *taken, ascending);
    printf("{\"open_orders\": %llu, \"limits\": \"%s\", \"calls\": %llu, \"ns_per_order\": %.1f, \"p50_ns\": %.0f, \"p99_ns\": %.0f, "
           "\"checksum\": \"%016llx\"}\n",
           (unsigned long long)open, argument[2], (unsigned long long)calls, (double)best_ns / (double)calls,
           taken[calls / 2] * scale, taken[calls * 99 / 100] * scale, (unsigned long long)(sum + order_id));
    return 0;
}
