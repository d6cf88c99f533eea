/* feature_bars.c: the feature kernel over a series of closes, each a trade that closes a bar of its own.
 *
 *   closes (int64, ticks, even) --> norm_event with bid = close - 1, ask = close + 1, a trade --> feature_update
 *
 *   feature_bars CLOSES ROUNDS TARGET
 *
 * So that the mid, and with it the bar's close, is the close. Every feature of the kernel is computed, not only
 * those compared. Prints the quickest round; TARGET gets FEATURES_MAX doubles a bar.
 */
#include "feature.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const feature_config CONFIG = {
    .bar_trades = 1, .sample_every = 1, .ema_fast = 12, .ema_slow = 26, .zscore_window = 64, .flow_window = 32,
    .sma_fast = 10, .sma_slow = 30, .rsi_period = 14, .macd_fast = 12, .macd_slow = 26, .macd_signal = 9,
    .atr_period = 14, .volatility_bars = 30};

static void die(const char *what) {
    fprintf(stderr, "feature_bars: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t read_closes(const char *path, int64_t **closes) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) die("cannot open the closes");
    uint64_t count = (uint64_t)ftell(file) / sizeof(int64_t);
    *closes = malloc(count * sizeof(int64_t) + 1);
    rewind(file);
    if (!*closes || fread(*closes, sizeof(int64_t), count, file) != count) die("cannot read the closes");
    fclose(file);
    return count;
}

static void make_events(const int64_t *closes, uint64_t count, norm_event *event) {
    for (uint64_t i = 0; i < count; i++)
        event[i] = (norm_event){.header = {.type = NORM_EXECUTE, .flags = FLAG_PRINTABLE, .origin_time_ns = i + 1},
                                .price_ticks = closes[i], .quantity_lots = 1,
                                .bid_price_ticks = closes[i] - 1, .ask_price_ticks = closes[i] + 1,
                                .bid_quantity_lots = 1, .ask_quantity_lots = 1,
                                .bid_depth_lots = 1, .ask_depth_lots = 1};
}

int main(int words, char **word) {
    if (words != 4) die("usage: feature_bars CLOSES ROUNDS TARGET");
    int64_t *closes;
    uint64_t count = read_closes(word[1], &closes), best_ns = UINT64_MAX;
    norm_event *event = aligned_alloc(CACHE_LINE_SIZE, count * sizeof *event);
    double *value = calloc(count * FEATURES_MAX, sizeof *value);
    feature_state *state = aligned_alloc(CACHE_LINE_SIZE, sizeof *state);
    if (!event || !value || !state) die("no memory");
    make_events(closes, count, event);
    for (int round = 0; round < atoi(word[2]); round++) {
        feature_init(state);
        uint64_t start_ns = now_ns();
        for (uint64_t i = 0; i < count; i++) feature_update(&CONFIG, state, &event[i], value + i * FEATURES_MAX);
        uint64_t took_ns = now_ns() - start_ns;
        if (took_ns < best_ns) best_ns = took_ns;
    }
    FILE *target = fopen(word[3], "wb");
    if (!target || fwrite(value, sizeof *value * FEATURES_MAX, count, target) != count || fclose(target) != 0)
        die("cannot write the values");
    printf("{\"bars\": %lu, \"ns_per_bar\": %.3f}\n", count, (double)best_ns / (double)count);
    return 0;
}
