/* clock.c: calibration of the engine clock. See include/clock.h. */
#include "clock.h"
#include "clock_inline.h"
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

int clock_tsc_invariant(void) {
#if defined(__x86_64__)
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx)) return (edx >> 8) & 1; /* APM: invariant TSC */
#endif
    return 0;
}

#if defined(__x86_64__)
/* The tightest of a few readings of counter and system clock together: an interrupt between the two
 * would otherwise become an error of the scale. */
static void read_pair(uint64_t *tsc, uint64_t *time_ns) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 64; i++) {
        uint64_t before = __rdtsc();
        uint64_t now = clock_system_now();
        uint64_t after = __rdtsc();
        if (after - before < best) {
            best = after - before;
            *tsc = before + (after - before) / 2;
            *time_ns = now;
        }
    }
}
#endif

/* The tightest of a few, for the same reason. */
static uint64_t realtime_minus_raw(void) {
    uint64_t best = UINT64_MAX, offset = 0;
    for (int i = 0; i < 64; i++) {
        struct timespec now;
        uint64_t before = clock_system_now();
        clock_gettime(CLOCK_REALTIME, &now);
        uint64_t after = clock_system_now();
        if (after - before >= best) continue;
        best = after - before;
        offset = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - (before + best / 2);
    }
    return offset;
}

void clock_calibrate(clock_page *page, uint64_t window_ns, int force_system) {
    memset(page, 0, sizeof *page);
    uint64_t offset = realtime_minus_raw();
#if defined(__x86_64__)
    if (!force_system && clock_tsc_invariant()) {
        uint64_t tsc0 = 0, time0 = 0, tsc1 = 0, time1 = 0, tsc2 = 0, time2 = 0;
        read_pair(&tsc0, &time0);
        do read_pair(&tsc1, &time1);
        while (time1 - time0 < window_ns);
        page->scale = (uint64_t)(((unsigned __int128)(time1 - time0) << 32) / (tsc1 - tsc0));
        page->frequency_hz = (uint64_t)((unsigned __int128)(tsc1 - tsc0) * 1000000000u / (time1 - time0));
        page->anchor_tsc = tsc1;
        page->anchor_time_ns = time1 + offset;
        page->source = CLOCK_TSC;
        /* A second, shorter window tells how far the scale can be trusted. */
        do read_pair(&tsc2, &time2);
        while (time2 - time1 < window_ns / 4);
        int64_t predicted = (int64_t)(((unsigned __int128)(tsc2 - tsc1) * page->scale) >> 32);
        page->error_ppb = (predicted - (int64_t)(time2 - time1)) * 1000000000 / (int64_t)(time2 - time1);
        return;
    }
#else
    (void)force_system;
#endif
    (void)window_ns;
    page->anchor_tsc = clock_system_now();
    page->anchor_time_ns = page->anchor_tsc + offset;
    page->scale = (uint64_t)1 << 32;
    page->frequency_hz = 1000000000;
    page->source = CLOCK_SYSTEM;
}

uint64_t clock_now(const clock_page *page) { return clock_read(page); }
