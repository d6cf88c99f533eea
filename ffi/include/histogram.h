/* histogram.h: HdrHistogram in shared memory: 3 significant digits, 1 ns to 68 s, one writer.
 * Bucket geometry is HdrHistogram's own, so that its readers open what hotpath/histograms.py exports.
 * Intervals are differences taken by the reader. */
#pragma once
#include "layout.h"

void histogram_reset(histogram *target);
/* One writer. A value over HISTOGRAM_VALUE_MAX is recorded as it and counted in clamped_count. */
void histogram_record(histogram *target, uint64_t value);
/* target += source; minimum and maximum follow. */
void histogram_merge(histogram *target, const histogram *source);
/* Lowest value v (rounded up to its bucket's highest equivalent) with at least `percentile` % of
 * values <= v; 0 when empty. `percentile` in [0, 100]. */
uint64_t histogram_value_at(const histogram *source, double percentile);
/* Index in count[] of a value; the highest value that falls in an index. */
uint32_t histogram_index(uint64_t value);
uint64_t histogram_highest_equivalent(uint32_t index);
