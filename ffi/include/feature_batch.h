/* feature_batch.h: the feature kernel over a recorded day of many instruments, as the signal stage runs it.
 *
 *   events[i] --instrument--> states[...] --feature_update--> values[i], ready[i]
 *
 * The loop of signal_stage.c without what it decides: NORM_CLEAR empties every state, an event of no known
 * instrument yields NaN and no ready bit. So research sees the very bits that the path saw.
 */
#pragma once
#include "layout.h"
#include "feature.h"

/* Take in `count` events in order. `states` are the caller's, one an instrument, and go on where they were; `values`
 * has count * FEATURES_MAX places, `ready` count. */
void feature_batch(const feature_config *config, feature_state *states, uint32_t instrument_count,
                   const norm_event *events, uint64_t count, double *values, uint32_t *ready);
