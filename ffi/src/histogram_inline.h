/* histogram_inline.h: recording in the hot path. See include/histogram.h. */
#pragma once
#include "histogram.h"

/* Sub-bucket 0 holds 0..2047 exactly; bucket b above it holds 1024 steps of 2^b. */
static inline uint32_t histogram_index_inline(uint64_t value) {
    uint32_t bucket = 63u - 10u - (uint32_t)__builtin_clzll(value | (HISTOGRAM_SUB_BUCKETS - 1));
    return (bucket << 10) + (uint32_t)(value >> bucket);
}

static inline void histogram_record_inline(histogram *target, uint64_t value) {
    if (__builtin_expect(value > HISTOGRAM_VALUE_MAX, 0)) {
        value = HISTOGRAM_VALUE_MAX;
        target->clamped_count++;
    }
    target->count[histogram_index_inline(value)]++;
    target->total_count++;
    if (value < target->value_min) target->value_min = value;
    if (value > target->value_max) target->value_max = value;
}
