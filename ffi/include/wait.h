/* wait.h: what a process does when no stage of it had work: spin, yield its processor, or park on a
 * futex behind its doorbell. */
#pragma once
#include "layout.h"

/* Rounds of spinning before a parking process sleeps; covers the gaps inside a burst. */
#define WAIT_SPINS_BEFORE_PARK 2000

/* Mark the doorbell as asleep. The caller polls its inputs once more, then parks or disarms. */
void wait_arm(doorbell *bell);
void wait_disarm(doorbell *bell);
/* Sleep until rung or `timeout_ns` has passed. Returns 1 if rung. */
int wait_park(doorbell *bell, uint64_t timeout_ns);
/* Wake the sleeper if there is one: what ring_commit does, for news that is not in a ring. */
void wait_ring(doorbell *bell);
/* One step of spinning, one of yielding. */
void wait_spin(void);
void wait_yield(void);
