/* clock.h: the engine clock. One calibration a run, in a shared page; every process reads the same
 * time from the time-stamp counter, or from the system where the counter is not invariant. */
#pragma once
#include "layout.h"

/* Measure the counter against CLOCK_MONOTONIC_RAW over `window_ns` and anchor it to CLOCK_REALTIME.
 * Falls back to CLOCK_SYSTEM when the counter is absent or not invariant, or `force_system` is set. */
void clock_calibrate(clock_page *page, uint64_t window_ns, int force_system);
/* Now, as ns since the Unix epoch. */
uint64_t clock_now(const clock_page *page);
/* 1 when this processor's counter is invariant. */
int clock_tsc_invariant(void);
