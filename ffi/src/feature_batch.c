#include "feature_batch.h"
#include <math.h>

static void states_clear(feature_state *states, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) feature_init(&states[i]);
}

static void values_unknown(double *value) {
    for (uint32_t i = 0; i < FEATURES_MAX; i++) value[i] = NAN;
}

void feature_batch(const feature_config *config, feature_state *states, uint32_t instrument_count,
                   const norm_event *events, uint64_t count, double *values, uint32_t *ready) {
    for (uint64_t i = 0; i < count; i++) {
        const event_header *header = &events[i].header;
        double *value = values + i * FEATURES_MAX;
        if (header->type == NORM_CLEAR) states_clear(states, instrument_count);
        if (header->instrument < instrument_count) {
            ready[i] = feature_update(config, &states[header->instrument], &events[i], value);
        } else {
            values_unknown(value);
            ready[i] = 0;
        }
    }
}
