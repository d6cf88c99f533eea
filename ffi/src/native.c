/* native.c: see include/native.h. */
#include "native.h"
#include <string.h>

void native_init(native_strategy *native, uint32_t instrument_count) {
    if (native->function) memset(native->state, 0, instrument_count * NATIVE_STATE_MAX * sizeof *native->state);
}

double native_score(const native_strategy *native, const norm_event *event, int64_t position_lots, const double *value,
                    uint32_t ready) {
    const int64_t market[NATIVE_MARKET_MAX] = {
        [NATIVE_TYPE] = event->header.type,
        [NATIVE_FLAGS] = event->header.flags,
        [NATIVE_INSTRUMENT] = event->header.instrument,
        [NATIVE_ORIGIN_TIME_NS] = (int64_t)event->header.origin_time_ns,
        [NATIVE_PRICE_TICKS] = event->price_ticks,
        [NATIVE_QUANTITY_LOTS] = event->quantity_lots,
        [NATIVE_BID_PRICE_TICKS] = event->bid_price_ticks,
        [NATIVE_ASK_PRICE_TICKS] = event->ask_price_ticks,
        [NATIVE_BID_QUANTITY_LOTS] = event->bid_quantity_lots,
        [NATIVE_ASK_QUANTITY_LOTS] = event->ask_quantity_lots,
        [NATIVE_BID_DEPTH_LOTS] = event->bid_depth_lots,
        [NATIVE_ASK_DEPTH_LOTS] = event->ask_depth_lots,
        [NATIVE_POSITION_LOTS] = position_lots,
    };
    return native->function(value, ready, market, &native->state[(uint64_t)event->header.instrument * NATIVE_STATE_MAX]);
}
