/* histogram.c: HdrHistogram arithmetic. See include/histogram.h. */
#include "histogram.h"
#include "histogram_inline.h"
#include <float.h>
#include <string.h>

void histogram_reset(histogram *target) {
    memset(target->count, 0, sizeof target->count);
    target->total_count = 0;
    target->value_min = UINT64_MAX;
    target->value_max = 0;
    target->clamped_count = 0;
}

void histogram_record(histogram *target, uint64_t value) { histogram_record_inline(target, value); }
uint32_t histogram_index(uint64_t value) { return histogram_index_inline(value); }

uint64_t histogram_highest_equivalent(uint32_t index) {
    if (index < HISTOGRAM_SUB_BUCKETS) return index;
    uint32_t bucket = (index >> 10) - 1;
    uint64_t sub_bucket = index - (bucket << 10);
    return ((sub_bucket + 1) << bucket) - 1;
}

void histogram_merge(histogram *target, const histogram *source) {
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) target->count[i] += source->count[i];
    target->total_count += source->total_count;
    target->clamped_count += source->clamped_count;
    if (source->value_min < target->value_min) target->value_min = source->value_min;
    if (source->value_max > target->value_max) target->value_max = source->value_max;
}

/* How many values lie at or below the percentile: at least one, rounded up. The percentile is first
 * lowered by a rounding error's worth, so that 99.9 % of 1,000 are 999 and not 1,000. */
static uint64_t rank(double percentile, uint64_t total) {
    double exact = percentile * (1.0 - 2.0 * DBL_EPSILON) / 100.0 * (double)total;
    if (!(exact > 0)) return 1;
    if (exact >= (double)total) return total;
    uint64_t wanted = (uint64_t)exact;
    return (double)wanted < exact ? wanted + 1 : wanted;
}

uint64_t histogram_value_at(const histogram *source, double percentile) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) total += source->count[i];
    if (!total) return 0;
    uint64_t wanted = rank(percentile, total);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
        seen += source->count[i];
        if (seen >= wanted) return histogram_highest_equivalent(i);
    }
    return source->value_max;
}
