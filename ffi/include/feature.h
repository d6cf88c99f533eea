/* feature.h: what the market looks like, as numbers: one state per instrument, one call per event.
 *
 *   norm_event --> quote   a fresh two-sided book whose top moved   --> mid ... imbalance
 *              |     '--> sample   every `sample_every`-th quote    --> EMA, z-score
 *              '-> trade   an execution                             --> flow, VWAP
 *   clock ------> bar     of `bar_ns` of venue time or `bar_trades` --> SMA, RSI, MACD, ATR, volatility
 *
 * Rules
 *   fresh      the event does not bear FLAG_STALE. A stale event changes no state, and its values are
 *              all NaN with no ready bit.
 *   two-sided  0 < bid < ask <= FEATURE_VALUE_MAX and both quantities in 1..FEATURE_VALUE_MAX. While
 *              the book is not, the quote's own features are unready; the others hold their values.
 *   quote      a fresh event on a two-sided book whose best prices or quantities differ from those of
 *              the last such event. The first is a sample, then every `sample_every`-th.
 *   trade      a fresh NORM_EXECUTE, NORM_EXECUTE_PRICE, NORM_TRADE or NORM_CROSS with FLAG_PRINTABLE
 *              and price and quantity in 1..FEATURE_VALUE_MAX. Only the first two, of an order that is
 *              not FLAG_UNKNOWN_ORDER, tell who was aggressive: an executed sell was bought.
 *   bar        the mids of fresh events on two-sided books. A time bar covers [k, k + 1) * bar_ns of
 *              origin time and closes at the instrument's first fresh event past its end, before that
 *              event is looked at; an event of an earlier time counts as of the bar that is open. A
 *              trade bar closes after the `bar_trades`-th trade, whose own mid is its last. A bar
 *              that saw no mid is no bar: gaps make neither bars nor zero returns.
 *
 * A value is NaN exactly while its ready bit is clear. Sums of prices and of quantities are integers,
 * so windows neither drift nor cancel: they equal the definition at every event, for ever. The same
 * events give the same bits on every machine. Formulas, warm-up and the NumPy references:
 * research/README.md and research/hotlab/features.py.
 */
#pragma once
#include "layout.h"

#define FEATURE_WINDOW_MAX 128         /* samples or bars of a rolling window; a power of two */
#define FEATURE_HOT_LINES 4            /* of a state: all that most events touch */
#define FEATURE_FLOW_MAX 64            /* trades of the flow's window; a power of two */
#define FEATURE_PERIOD_MAX 100000      /* of an exponential average */
#define FEATURE_VALUE_MAX 281474976710656 /* 2^48: ticks or lots beyond it are not a market */

/* Prices are in ticks; a name here, lower case and without FEATURE_, is the feature's name elsewhere. */
enum feature_id {
    FEATURE_MID,
    FEATURE_SPREAD,
    FEATURE_MICROPRICE,      /* mid weighted by the opposite side's quantity */
    FEATURE_IMBALANCE_TOP,   /* (bid - ask) / (bid + ask) of quantities at the best, in (-1, 1) */
    FEATURE_IMBALANCE_DEPTH, /* the same of DEPTH_LEVELS levels */
    FEATURE_TRADE_FLOW,      /* lots bought less lots sold by aggressors, last flow_window trades */
    FEATURE_TRADE_IMBALANCE, /* the same over all their lots, in [-1, 1] */
    FEATURE_VWAP,            /* of all trades since feature_init */
    FEATURE_EMA_FAST,        /* of sampled mids */
    FEATURE_EMA_SLOW,
    FEATURE_ZSCORE,          /* of the last sampled mid in its window; population deviation */
    FEATURE_SMA_FAST,        /* of bar closes */
    FEATURE_SMA_SLOW,
    FEATURE_RSI,             /* Wilder's, in [0, 100]; 50 where nothing moved */
    FEATURE_MACD,
    FEATURE_MACD_SIGNAL,
    FEATURE_ATR,             /* Wilder's */
    FEATURE_VOLATILITY,      /* sqrt of the sum of squared log returns of volatility_bars bars */
    FEATURES_MAX
};

enum feature_status {
    FEATURE_OK,
    FEATURE_BAD_CLOCK,  /* exactly one of bar_ns and bar_trades must be set */
    FEATURE_BAD_PERIOD, /* 0, or over its maximum */
    FEATURE_BAD_ORDER   /* a fast period is not below its slow one */
};

/* One for all instruments of a stage. */
typedef struct {
    uint64_t bar_ns;          /* bars by origin time; 0: by trades */
    uint32_t bar_trades;      /* bars by trades; 0: by time */
    uint32_t sample_every;    /* quotes to one sample */
    uint32_t ema_fast;        /* samples; weight of the newest 2 / (period + 1) */
    uint32_t ema_slow;
    uint32_t zscore_window;   /* samples, 2..FEATURE_WINDOW_MAX */
    uint32_t flow_window;     /* trades, 1..FEATURE_FLOW_MAX */
    uint32_t sma_fast;        /* bars, 1..FEATURE_WINDOW_MAX */
    uint32_t sma_slow;
    uint32_t rsi_period;      /* bars */
    uint32_t macd_fast;
    uint32_t macd_slow;
    uint32_t macd_signal;
    uint32_t atr_period;
    uint32_t volatility_bars; /* 1..FEATURE_WINDOW_MAX */
} feature_config;

/* One per instrument, the caller's, 64-byte aligned for speed. Prices here are in half ticks (bid +
 * ask), so that a mid is an integer. The first four lines are all that most events touch. */
typedef struct {
    int64_t bid_price_ticks; /* the last quote */
    int64_t ask_price_ticks;
    int64_t bid_quantity_lots;
    int64_t ask_quantity_lots;
    uint64_t bar_end_ns;     /* time bars: the open bar's end; 0 before the first event */
    int64_t bar_high;        /* below bar_low while the bar has no mid */
    int64_t bar_low;
    uint32_t sample_due;     /* quotes until the next sample */
    uint32_t ready;          /* bit per feature_id */
    double value[FEATURES_MAX]; /* NaN where not ready */
    double ema_fast;
    double ema_slow;
    uint64_t sample_count;
    int64_t sample_sum;      /* over the z-score's window */
    uint64_t sample_square_sum[2]; /* 128 bits, low word first */
    uint64_t bar_trade_count; /* in the open bar */
    uint64_t flow_count;
    int64_t flow_lots;       /* signed, over the flow's window */
    int64_t flow_volume_lots;
    uint64_t volume_lots;    /* since feature_init */
    uint64_t turnover[2];    /* sum of price * quantity: 128 bits, low word first */
    uint64_t bar_count;      /* closed */
    int64_t bar_close;       /* of the last closed bar */
    int64_t sma_fast_sum;
    int64_t sma_slow_sum;
    double gain_average;     /* sums, until their period is full */
    double loss_average;
    double range_average;
    double macd_fast;
    double macd_slow;
    double macd_signal;
    uint64_t reserved[7];
    int64_t sample[FEATURE_WINDOW_MAX];
    int64_t flow[FEATURE_FLOW_MAX]; /* signed lots of trades */
    int64_t close[FEATURE_WINDOW_MAX];
    double square[FEATURE_WINDOW_MAX]; /* squared log returns of bars */
} feature_state;

/* FEATURE_OK, or what is wrong, with the name of the field in *field (static; may be NULL). */
int feature_config_check(const feature_config *config, const char **field);
/* Forget everything: at start and when the trading day rolls. */
void feature_init(feature_state *state);
/* Take in one event of this instrument. Writes value[FEATURES_MAX] whole and returns the ready mask. */
uint32_t feature_update(const feature_config *config, feature_state *state, const norm_event *event, double *value);
