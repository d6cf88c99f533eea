/* clock_inline.h: reading the engine clock in the hot path. See include/clock.h. */
#pragma once
#include "clock.h"
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t clock_system_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* anchor_tsc holds the MONOTONIC_RAW reading at the anchor when the source is the system. */
static inline uint64_t clock_read(const clock_page *page) {
#if defined(__x86_64__)
    if (__builtin_expect(page->source == CLOCK_TSC, 1)) {
        /* Signed: a core whose counter lies a little behind the anchor's reads a little less, not 2^64 more. */
        int64_t ticks = (int64_t)(__rdtsc() - page->anchor_tsc);
        return page->anchor_time_ns + (uint64_t)(((__int128)ticks * (__int128)page->scale) >> 32);
    }
#endif
    return page->anchor_time_ns + (clock_system_now() - page->anchor_tsc);
}
