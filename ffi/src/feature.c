/* feature.c: features of one instrument, moved on event by event. See include/feature.h. */
#include "feature.h"
#include "feature_math.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define BIT(feature) ((uint32_t)1 << (feature))
/* Those that are the quote's own: unready while the book is not two-sided. */
#define QUOTE_BITS                                                                                       \
    (BIT(FEATURE_MID) | BIT(FEATURE_SPREAD) | BIT(FEATURE_MICROPRICE) | BIT(FEATURE_IMBALANCE_TOP) |     \
     BIT(FEATURE_IMBALANCE_DEPTH))
#define QUOTE_VALUES (FEATURE_IMBALANCE_DEPTH + 1)

_Static_assert(FEATURES_MAX <= 32, "a ready bit for each feature");
_Static_assert(QUOTE_BITS == BIT(QUOTE_VALUES) - 1, "the quote's features come first");
_Static_assert((FEATURE_WINDOW_MAX & (FEATURE_WINDOW_MAX - 1)) == 0, "windows are indexed by a mask");
_Static_assert((FEATURE_FLOW_MAX & (FEATURE_FLOW_MAX - 1)) == 0, "windows are indexed by a mask");
_Static_assert(offsetof(feature_state, value) == CACHE_LINE_SIZE, "the quote and the open bar fill the first line");
_Static_assert(offsetof(feature_state, bar_trade_count) <= 4 * CACHE_LINE_SIZE, "most events touch four lines");
_Static_assert(sizeof(feature_state) <= 4096, "a state fits a page");
_Static_assert(sizeof(feature_state) % CACHE_LINE_SIZE == 0, "states in an array keep their lines");
/* N * sum(mid^2) of N half-tick mids below 2^49 needs 14 + 98 bits. */
_Static_assert(FEATURE_WINDOW_MAX <= 1 << 7 && FEATURE_VALUE_MAX <= (int64_t)1 << 48, "sums fit 128 bits");

/* Bars close and trades come now and then; their code stays out of the lines that every event runs. */
#define SELDOM __attribute__((noinline))

typedef unsigned __int128 wide;

static wide wide_load(const uint64_t word[2]) { return ((wide)word[1] << 64) | word[0]; }

static void wide_store(uint64_t word[2], wide value) {
    word[0] = (uint64_t)value;
    word[1] = (uint64_t)(value >> 64);
}

/* Correctly rounded; the common small value by one instruction. */
static double wide_to_double(wide value) {
    return (value >> 63) == 0 ? (double)(int64_t)value : (double)value;
}

static void set(feature_state *state, uint32_t feature, double value) {
    state->value[feature] = value;
    state->ready |= BIT(feature);
}

static void unset(feature_state *state, uint32_t feature) {
    state->value[feature] = NAN;
    state->ready &= ~BIT(feature);
}

/* Exponential average of the `count`-th value, weight 2 / (period + 1), seeded with the first. */
static double ema(double average, double value, uint64_t count, uint32_t period) {
    return count == 1 ? value : average + (value - average) * 2 / ((double)period + 1);
}

/* Wilder's average: the plain mean of the first `period` values, then weight 1 / period. Until then
 * what it carries is their sum. */
static double wilder(double average, double value, uint64_t count, uint32_t period) {
    if (count < period) return average + value;
    if (count == period) return (average + value) / period;
    return (average * (period - 1) + value) / period;
}

/* ---- quotes and samples ----------------------------------------------------------------------- */

static bool in_range(int64_t value) { return value > 0 && value <= FEATURE_VALUE_MAX; }

static bool two_sided(const norm_event *event) {
    return in_range(event->bid_price_ticks) && in_range(event->ask_price_ticks) &&
           event->bid_price_ticks < event->ask_price_ticks && in_range(event->bid_quantity_lots) &&
           in_range(event->ask_quantity_lots);
}

/* z = (x - mean) / deviation = (N x - sum) / sqrt(N sum(x^2) - sum^2), in integers to the last step. */
static void update_zscore(feature_state *state, uint32_t window, int64_t mid) {
    uint64_t count = state->sample_count;
    int64_t oldest = count > window ? state->sample[(count - 1 - window) & (FEATURE_WINDOW_MAX - 1)] : 0;
    state->sample[(count - 1) & (FEATURE_WINDOW_MAX - 1)] = mid;
    state->sample_sum += mid - oldest;
    wide squares = wide_load(state->sample_square_sum);
    squares += (wide)(uint64_t)mid * (uint64_t)mid - (wide)(uint64_t)oldest * (uint64_t)oldest;
    wide_store(state->sample_square_sum, squares);
    if (count < window) return;
    uint64_t sum = (uint64_t)state->sample_sum;
    wide variance = squares * window - (wide)sum * sum; /* times N^2 */
    double distance = (double)((int64_t)window * mid - state->sample_sum);
    set(state, FEATURE_ZSCORE, variance == 0 ? 0.0 : distance / sqrt(wide_to_double(variance)));
}

static void take_sample(const feature_config *config, feature_state *state, int64_t mid) {
    double mid_ticks = (double)mid * 0.5;
    uint64_t count = ++state->sample_count;
    state->sample_due = config->sample_every;
    state->ema_fast = ema(state->ema_fast, mid_ticks, count, config->ema_fast);
    state->ema_slow = ema(state->ema_slow, mid_ticks, count, config->ema_slow);
    if (count >= config->ema_fast) set(state, FEATURE_EMA_FAST, state->ema_fast);
    if (count >= config->ema_slow) set(state, FEATURE_EMA_SLOW, state->ema_slow);
    update_zscore(state, config->zscore_window, mid);
}

static bool is_quote(const feature_state *state, const norm_event *event) {
    return state->bid_price_ticks != event->bid_price_ticks || state->ask_price_ticks != event->ask_price_ticks ||
           state->bid_quantity_lots != event->bid_quantity_lots ||
           state->ask_quantity_lots != event->ask_quantity_lots;
}

/* With i the imbalance, bid * ask_quantity + ask * bid_quantity over both quantities is
 * mid + i * spread / 2: one division serves both features. */
static void take_quote(const feature_config *config, feature_state *state, const norm_event *event) {
    int64_t mid = event->bid_price_ticks + event->ask_price_ticks;
    int64_t spread = event->ask_price_ticks - event->bid_price_ticks;
    double imbalance = (double)(event->bid_quantity_lots - event->ask_quantity_lots) /
                       (double)(event->bid_quantity_lots + event->ask_quantity_lots);
    double *value = state->value;
    value[FEATURE_MID] = (double)mid * 0.5;
    value[FEATURE_SPREAD] = (double)spread;
    value[FEATURE_IMBALANCE_TOP] = imbalance;
    value[FEATURE_MICROPRICE] = (double)mid * 0.5 + imbalance * ((double)spread * 0.5);
    state->ready |= QUOTE_BITS & ~BIT(FEATURE_IMBALANCE_DEPTH);
    state->bid_price_ticks = event->bid_price_ticks;
    state->ask_price_ticks = event->ask_price_ticks;
    state->bid_quantity_lots = event->bid_quantity_lots;
    state->ask_quantity_lots = event->ask_quantity_lots;
    if (--state->sample_due == 0) take_sample(config, state, mid);
}

/* What every event on a two-sided book moves: the depth and the open bar. */
static void take_book(const feature_config *config, feature_state *state, const norm_event *event) {
    if (is_quote(state, event)) take_quote(config, state, event);
    double bid = (double)event->bid_depth_lots, ask = (double)event->ask_depth_lots;
    if (event->bid_depth_lots > 0 && event->ask_depth_lots > 0)
        set(state, FEATURE_IMBALANCE_DEPTH, (bid - ask) / (bid + ask));
    else
        unset(state, FEATURE_IMBALANCE_DEPTH);
    int64_t mid = event->bid_price_ticks + event->ask_price_ticks;
    if (mid > state->bar_high) state->bar_high = mid;
    if (mid < state->bar_low) state->bar_low = mid;
}

/* ---- bars ------------------------------------------------------------------------------------- */

static void update_averages(const feature_config *config, feature_state *state, int64_t close) {
    uint64_t count = state->bar_count;
    uint64_t fast = config->sma_fast, slow = config->sma_slow;
    const int64_t *closes = state->close;
    state->sma_fast_sum += close - (count > fast ? closes[(count - 1 - fast) & (FEATURE_WINDOW_MAX - 1)] : 0);
    state->sma_slow_sum += close - (count > slow ? closes[(count - 1 - slow) & (FEATURE_WINDOW_MAX - 1)] : 0);
    state->close[(count - 1) & (FEATURE_WINDOW_MAX - 1)] = close;
    if (count >= fast) set(state, FEATURE_SMA_FAST, (double)state->sma_fast_sum * 0.5 / (double)fast);
    if (count >= slow) set(state, FEATURE_SMA_SLOW, (double)state->sma_slow_sum * 0.5 / (double)slow);
}

/* The signal line is an average of those values of the line that were ready. */
static void update_macd(const feature_config *config, feature_state *state, double close) {
    uint64_t count = state->bar_count;
    state->macd_fast = ema(state->macd_fast, close, count, config->macd_fast);
    state->macd_slow = ema(state->macd_slow, close, count, config->macd_slow);
    if (count < config->macd_slow) return;
    double macd = state->macd_fast - state->macd_slow;
    uint64_t signal_count = count - config->macd_slow + 1;
    set(state, FEATURE_MACD, macd);
    state->macd_signal = ema(state->macd_signal, macd, signal_count, config->macd_signal);
    if (signal_count >= config->macd_signal) set(state, FEATURE_MACD_SIGNAL, state->macd_signal);
}

/* 100 - 100 / (1 + gain / loss), written so that no loss is no special case. */
static void update_rsi(const feature_config *config, feature_state *state, double change, uint64_t count) {
    state->gain_average = wilder(state->gain_average, change > 0 ? change : 0, count, config->rsi_period);
    state->loss_average = wilder(state->loss_average, change < 0 ? -change : 0, count, config->rsi_period);
    if (count < config->rsi_period) return;
    double movement = state->gain_average + state->loss_average;
    set(state, FEATURE_RSI, movement > 0 ? 100 * state->gain_average / movement : 50);
}

/* True range: the bar's own, widened to the close before it. */
static void update_atr(const feature_config *config, feature_state *state, uint64_t count) {
    int64_t high = state->bar_high > state->bar_close ? state->bar_high : state->bar_close;
    int64_t low = state->bar_low < state->bar_close ? state->bar_low : state->bar_close;
    state->range_average = wilder(state->range_average, (double)(high - low) * 0.5, count, config->atr_period);
    if (count >= config->atr_period) set(state, FEATURE_ATR, state->range_average);
}

/* The window is summed afresh, oldest first: bars close rarely, and a running sum would drift. */
static void update_volatility(const feature_config *config, feature_state *state, int64_t close, uint64_t count) {
    double log_return = feature_math_log((double)close / (double)state->bar_close);
    state->square[(count - 1) & (FEATURE_WINDOW_MAX - 1)] = log_return * log_return;
    if (count < config->volatility_bars) return;
    double sum = 0;
    for (uint64_t i = count - config->volatility_bars; i < count; i++)
        sum += state->square[i & (FEATURE_WINDOW_MAX - 1)];
    set(state, FEATURE_VOLATILITY, sqrt(sum));
}

static SELDOM void close_bar(const feature_config *config, feature_state *state) {
    state->bar_trade_count = 0;
    if (state->bar_high < state->bar_low) return; /* no mid: no bar */
    int64_t close = state->bid_price_ticks + state->ask_price_ticks; /* a bar's last mid is the last quote's */
    uint64_t change_count = state->bar_count++;                     /* the first bar has no bar before it */
    update_averages(config, state, close);
    update_macd(config, state, (double)close * 0.5);
    if (change_count) {
        update_rsi(config, state, (double)(close - state->bar_close) * 0.5, change_count);
        update_atr(config, state, change_count);
        update_volatility(config, state, close, change_count);
    }
    state->bar_close = close;
    state->bar_high = INT64_MIN;
    state->bar_low = INT64_MAX;
}

static SELDOM void pass_bar_end(const feature_config *config, feature_state *state, uint64_t time_ns) {
    close_bar(config, state); /* before the first event there is no mid, so no bar */
    state->bar_end_ns = (time_ns / config->bar_ns + 1) * config->bar_ns;
}

/* ---- trades ----------------------------------------------------------------------------------- */

static bool is_trade(const norm_event *event) {
    switch (event->header.type) {
    case NORM_EXECUTE:
    case NORM_EXECUTE_PRICE:
    case NORM_TRADE:
    case NORM_CROSS:
        return (event->header.flags & FLAG_PRINTABLE) && in_range(event->price_ticks) && in_range(event->quantity_lots);
    default: return false;
    }
}

static bool aggressor_is_known(const norm_event *event) {
    return (event->header.type == NORM_EXECUTE || event->header.type == NORM_EXECUTE_PRICE) &&
           !(event->header.flags & FLAG_UNKNOWN_ORDER);
}

static void update_flow(const feature_config *config, feature_state *state, const norm_event *event) {
    uint64_t count = ++state->flow_count, window = config->flow_window;
    int64_t lots = event->header.flags & FLAG_SELL ? event->quantity_lots : -event->quantity_lots;
    int64_t oldest = count > window ? state->flow[(count - 1 - window) & (FEATURE_FLOW_MAX - 1)] : 0;
    state->flow[(count - 1) & (FEATURE_FLOW_MAX - 1)] = lots;
    state->flow_lots += lots - oldest;
    state->flow_volume_lots += (lots < 0 ? -lots : lots) - (oldest < 0 ? -oldest : oldest);
    if (count < window) return;
    set(state, FEATURE_TRADE_FLOW, (double)state->flow_lots);
    set(state, FEATURE_TRADE_IMBALANCE, (double)state->flow_lots / (double)state->flow_volume_lots);
}

static SELDOM void take_trade(const feature_config *config, feature_state *state, const norm_event *event) {
    state->volume_lots += (uint64_t)event->quantity_lots;
    wide turnover = wide_load(state->turnover) + (wide)(uint64_t)event->price_ticks * (uint64_t)event->quantity_lots;
    wide_store(state->turnover, turnover);
    set(state, FEATURE_VWAP, wide_to_double(turnover) / (double)state->volume_lots);
    if (aggressor_is_known(event)) update_flow(config, state, event);
    if (config->bar_trades && ++state->bar_trade_count >= config->bar_trades) close_bar(config, state);
}

/* ---- the kernel ------------------------------------------------------------------------------- */

uint32_t feature_update(const feature_config *config, feature_state *state, const norm_event *event, double *value) {
    if (event->header.flags & FLAG_STALE) {
        for (int i = 0; i < FEATURES_MAX; i++) value[i] = NAN;
        return 0;
    }
    if (config->bar_ns && event->header.origin_time_ns >= state->bar_end_ns)
        pass_bar_end(config, state, event->header.origin_time_ns);
    bool book_is_two_sided = two_sided(event);
    if (book_is_two_sided) take_book(config, state, event);
    if (is_trade(event)) take_trade(config, state, event);
    memcpy(value, state->value, sizeof state->value);
    if (book_is_two_sided) return state->ready;
    for (int i = 0; i < QUOTE_VALUES; i++) value[i] = NAN;
    return state->ready & ~QUOTE_BITS;
}

void feature_init(feature_state *state) {
    memset(state, 0, sizeof *state);
    for (int i = 0; i < FEATURES_MAX; i++) state->value[i] = NAN;
    state->bar_high = INT64_MIN;
    state->bar_low = INT64_MAX;
    state->sample_due = 1;
}

/* ---- configuration ---------------------------------------------------------------------------- */

static int fail(int status, const char *name, const char **field) {
    if (field) *field = name;
    return status;
}

static int check_periods(const feature_config *config, const char **field) {
    const struct {
        uint32_t value, least, most;
        const char *name;
    } period[] = {
        {config->sample_every, 1, UINT32_MAX, "sample_every"},
        {config->ema_fast, 1, FEATURE_PERIOD_MAX, "ema_fast"},
        {config->ema_slow, 1, FEATURE_PERIOD_MAX, "ema_slow"},
        {config->zscore_window, 2, FEATURE_WINDOW_MAX, "zscore_window"},
        {config->flow_window, 1, FEATURE_FLOW_MAX, "flow_window"},
        {config->sma_fast, 1, FEATURE_WINDOW_MAX, "sma_fast"},
        {config->sma_slow, 1, FEATURE_WINDOW_MAX, "sma_slow"},
        {config->rsi_period, 1, FEATURE_PERIOD_MAX, "rsi_period"},
        {config->macd_fast, 1, FEATURE_PERIOD_MAX, "macd_fast"},
        {config->macd_slow, 1, FEATURE_PERIOD_MAX, "macd_slow"},
        {config->macd_signal, 1, FEATURE_PERIOD_MAX, "macd_signal"},
        {config->atr_period, 1, FEATURE_PERIOD_MAX, "atr_period"},
        {config->volatility_bars, 1, FEATURE_WINDOW_MAX, "volatility_bars"},
    };
    for (size_t i = 0; i < sizeof period / sizeof period[0]; i++)
        if (period[i].value < period[i].least || period[i].value > period[i].most)
            return fail(FEATURE_BAD_PERIOD, period[i].name, field);
    return FEATURE_OK;
}

int feature_config_check(const feature_config *config, const char **field) {
    if (!config->bar_ns == !config->bar_trades) return fail(FEATURE_BAD_CLOCK, "bar_ns", field);
    int status = check_periods(config, field);
    if (status != FEATURE_OK) return status;
    if (config->ema_fast >= config->ema_slow) return fail(FEATURE_BAD_ORDER, "ema_fast", field);
    if (config->sma_fast >= config->sma_slow) return fail(FEATURE_BAD_ORDER, "sma_fast", field);
    if (config->macd_fast >= config->macd_slow) return fail(FEATURE_BAD_ORDER, "macd_fast", field);
    return fail(FEATURE_OK, NULL, field);
}
