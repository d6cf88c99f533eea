/* native.h: a score of the user's own, compiled ahead of the run and called on the path: [signal] native.
 *
 *   norm_event -> feature_update -> native_score -> strategy_score (component `custom`) -> ensemble
 *                                      |
 *                                      '-> function(features, ready, market, state)
 *
 * The function is trusted: it runs inside the signal stage, can overwrite whatever that process maps, and a
 * crash of it is a crash of the stage. It must decide from its arguments alone, or a replay will differ.
 * What it returns is clamped to [-1, 1]; a result that is not finite counts as 0, "no opinion".
 * hotpath/native.py loads it, calls it once before the run, and gives the signature its name for numba.
 */
#pragma once
#include "feature.h"
#include "layout.h"

#define NATIVE_STATE_MAX 16 /* doubles of the function's own, of each instrument; 0 at start and at a roll */

/* Places in `market`. A name here, lower case and without NATIVE_, is its name elsewhere. */
enum native_market {
    NATIVE_TYPE,        /* enum event_type */
    NATIVE_FLAGS,       /* enum event_flag */
    NATIVE_INSTRUMENT,
    NATIVE_ORIGIN_TIME_NS,
    NATIVE_PRICE_TICKS, /* of the event */
    NATIVE_QUANTITY_LOTS,
    NATIVE_BID_PRICE_TICKS,
    NATIVE_ASK_PRICE_TICKS,
    NATIVE_BID_QUANTITY_LOTS,
    NATIVE_ASK_QUANTITY_LOTS,
    NATIVE_BID_DEPTH_LOTS,
    NATIVE_ASK_DEPTH_LOTS,
    NATIVE_POSITION_LOTS, /* of the built-in strategy in this instrument */
    NATIVE_MARKET_MAX
};

/* features: FEATURES_MAX values, NaN where the bit in `ready` is clear; market: NATIVE_MARKET_MAX words;
 * state: NATIVE_STATE_MAX doubles, the function's to write. Returns a score, positive for buying. */
typedef double (*native_function)(const double *features, uint32_t ready, const int64_t *market, double *state);

typedef struct {
    native_function function; /* NULL: there is none */
    double *state;            /* NATIVE_STATE_MAX for each instrument */
} native_strategy;

/* Forget all that the function remembered. */
void native_init(native_strategy *native, uint32_t instrument_count);
/* What the function says to this event, as it said it: the caller looks whether it is finite. */
double native_score(const native_strategy *native, const norm_event *event, int64_t position_lots, const double *value,
                    uint32_t ready);
