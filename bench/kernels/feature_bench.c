/* feature_bench.c: what does one market event cost in features, and one set of features in a score?
 *
 *   seeded walk of norm events in memory --> feature_update --> strategy_score     one core, no ring
 *
 * The mix is that of a liquid stock: a third of the events moves the top, one in twelve is a trade, a
 * bar closes every few hundred events, one in a hundred finds no two-sided book. With --instruments N
 * the events go round N instruments, whose states then compete for the cache. The best of the rounds is
 * reported; the checksum covers every bit of every value, score and component of one pass over fresh
 * states, and is the same on every machine.
 *
 *   usage: feature_bench [--instruments N] [--rounds N] [--bar-ns N]      --bar-ns 1: each event closes a bar
 *   build: gcc -std=gnu11 -O3 -ffp-contract=off -fno-math-errno -Iffi/include -Iffi/src
 *              bench/kernels/feature_bench.c ffi/src/{feature,feature_math,strategy,digest}.c
 *   instructions: valgrind --tool=callgrind --toggle-collect=feature_update ./feature_bench --rounds 1
 *                 (or strategy_score), over the calls that it prints
 */
#include "digest.h"
#include "feature.h"
#include "strategy.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EVENTS 16384u
#define INSTRUMENTS_LIMIT 8192u
#define ROUNDS_DEFAULT 50

static norm_event event[EVENTS];
static double value[EVENTS][FEATURES_MAX];
static uint32_t ready[EVENTS];
static feature_state *state;
static uint32_t instruments = 1;

static feature_config features = {
    .bar_ns = 10000000, .sample_every = 1, .ema_fast = 16, .ema_slow = 64, .zscore_window = 64, .flow_window = 32,
    .sma_fast = 10, .sma_slow = 30, .rsi_period = 14, .macd_fast = 12, .macd_slow = 26, .macd_signal = 9,
    .atr_period = 14, .volatility_bars = 30};
static const strategy_config strategy = {.weight = {0.5, 0.25, 0.25, 0}, .threshold = 0.5, .imbalance_scale = 0.5,
                                         .momentum_scale = 0.0005, .zscore_scale = 2, .rsi_scale = 25};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* xorshift64*: the walk's only source of chance. */
static uint64_t draw(uint64_t below) {
    static uint64_t word = 20200130;
    word ^= word >> 12;
    word ^= word << 25;
    word ^= word >> 27;
    return (word * 0x2545f4914f6cdd1du >> 33) % below;
}

static void make_event(norm_event *made, const norm_event *before) {
    *made = *before;
    made->header.origin_time_ns += draw(100000);
    made->header.type = NORM_ADD;
    made->header.flags = FLAG_PRINTABLE | (draw(2) ? FLAG_SELL : 0);
    made->quantity_lots = 1 + (int64_t)draw(300);
    made->bid_depth_lots = 1000 + (int64_t)draw(2000);
    made->ask_depth_lots = 1000 + (int64_t)draw(2000);
    if (draw(3) == 0) {
        int64_t step = 100 * ((int64_t)draw(3) - 1);
        made->bid_price_ticks += step;
        made->ask_price_ticks = made->bid_price_ticks + 100 * (1 + (int64_t)draw(3));
        made->bid_quantity_lots = 1 + (int64_t)draw(900);
        made->ask_quantity_lots = 1 + (int64_t)draw(900);
    }
    if (draw(12) == 0) {
        made->header.type = NORM_EXECUTE;
        made->price_ticks = made->header.flags & FLAG_SELL ? made->ask_price_ticks : made->bid_price_ticks;
    }
}

static void make_walk(void) {
    norm_event before = {.header.origin_time_ns = 1580391000000000000u, .bid_price_ticks = 3240000,
                         .ask_price_ticks = 3240100, .bid_quantity_lots = 100, .ask_quantity_lots = 100};
    for (uint32_t i = 0; i < EVENTS; i++) {
        make_event(&event[i], &before);
        before = event[i];
        if (draw(100) == 0) event[i].bid_price_ticks = event[i].bid_quantity_lots = 0;
    }
}

static void forget(void) {
    for (uint32_t i = 0; i < instruments; i++) feature_init(&state[i]);
}

static uint64_t pass_features(void) {
    uint64_t sum = 0;
    for (uint32_t i = 0, instrument = 0; i < EVENTS; i++) {
        ready[i] = feature_update(&features, &state[instrument], &event[i], value[i]);
        sum += ready[i];
        if (++instrument == instruments) instrument = 0;
    }
    return sum;
}

static uint64_t pass_scores(void) {
    uint64_t sum = 0;
    int16_t component[COMPONENTS_MAX];
    const double given[GIVEN_MAX] = {0};
    for (uint32_t i = 0; i < EVENTS; i++) {
        double score = strategy_score(&strategy, value[i], ready[i], given, component);
        uint64_t bits;
        memcpy(&bits, &score, sizeof bits);
        sum = digest_bytes(sum ^ bits, component, sizeof component);
    }
    return sum;
}

/* Every output of one pass over fresh states. */
static uint64_t checksum(void) {
    forget();
    pass_features();
    uint64_t sum = digest_bytes(0, value, sizeof value);
    sum = digest_bytes(sum, ready, sizeof ready);
    return digest_bytes(sum, &(uint64_t){pass_scores()}, sizeof(uint64_t));
}

/* The rounds keep their states, so each round is a later day. */
static void move_on(void) {
    uint64_t span = event[EVENTS - 1].header.origin_time_ns - event[0].header.origin_time_ns;
    for (uint32_t i = 0; i < EVENTS; i++) event[i].header.origin_time_ns += span;
}

static void measure(const char *name, uint64_t (*pass)(void), uint32_t rounds, uint64_t sum) {
    static volatile uint64_t outcome; /* so that no pass is for nothing */
    uint64_t best_ns = UINT64_MAX;
    for (uint32_t round = 0; round < rounds; round++) {
        move_on();
        uint64_t start = now_ns();
        outcome = pass();
        uint64_t elapsed = now_ns() - start;
        if (elapsed < best_ns) best_ns = elapsed;
    }
    (void)outcome;
    printf("{\"bench\": \"%s\", \"instruments\": %u, \"calls\": %llu, \"ns_per_call\": %.2f, "
           "\"checksum\": \"%016llx\"}\n",
           name, instruments, (unsigned long long)rounds * EVENTS, (double)best_ns / EVENTS, (unsigned long long)sum);
}

static int usage(const char *program) {
    fprintf(stderr, "usage: %s [--instruments N] [--rounds N] [--bar-ns N]\n", program);
    return 2;
}

int main(int argc, char **argv) {
    uint32_t rounds = ROUNDS_DEFAULT;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t number = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--instruments") == 0) instruments = (uint32_t)number;
        else if (strcmp(argv[i], "--rounds") == 0) rounds = (uint32_t)number;
        else if (strcmp(argv[i], "--bar-ns") == 0) features.bar_ns = number;
        else return usage(argv[0]);
    }
    if (argc % 2 == 0 || instruments == 0 || instruments > INSTRUMENTS_LIMIT || rounds == 0 || features.bar_ns == 0)
        return usage(argv[0]);
    state = aligned_alloc(CACHE_LINE_SIZE, sizeof(feature_state) * instruments);
    if (!state) return 1;
    make_walk();
    uint64_t sum = checksum();
    measure("feature_update", pass_features, rounds, sum);
    measure("strategy_score", pass_scores, rounds, sum);
    free(state);
    return 0;
}
