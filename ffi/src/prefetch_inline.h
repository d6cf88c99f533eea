/* prefetch_inline.h: asking for cache lines that will be written soon.
 *
 * A function that does nothing but prefetch must be PREFETCHING: gcc counts a prefetch as no effect, finds such
 * a function pure once it stands by itself, and drops the calls of it without a word.
 */
#pragma once
#include "layout.h"

#define PREFETCHING static inline __attribute__((always_inline))

/* Every line of `size` bytes from `at` on. */
PREFETCHING void prefetch_lines(const void *at, uint64_t size) {
    for (uint64_t offset = 0; offset < size; offset += CACHE_LINE_SIZE)
        __builtin_prefetch((const uint8_t *)at + offset, 1);
}
