/* floor.h: the floor under every ring: one cache line that goes to another processor and comes back.
 *
 *   A  line = 1 ----> B  sees 1, line = 2 ----> A  sees 2: one round trip, line = 3 ----> ...
 *
 * No message between these two processors can be quicker. Both sides spin, each pinned by its caller, and
 * both are bounded in time: a partner that never comes, or is taken off its processor, costs a result and
 * not a hang. Method: bench/programs/ring_bench.c.
 */
#pragma once
#include "layout.h"

/* A line of its own, at an address that CACHE_LINE_SIZE divides; zero before the two sides start. */
typedef struct {
    uint64_t word; /* odd: A's turn is over, even: B's; UINT64_MAX: A has ended */
    uint64_t reserved[7];
} floor_line;

/* A's side: make round trips for `duration_ns` after the first answer, or until none came for so long.
 * Records each into `trips`, which the caller has reset; returns how many there were. */
uint64_t floor_call(floor_line *line, const clock_page *clock, uint64_t duration_ns, histogram *trips);
/* B's side: answer until A has ended, or `duration_ns` has passed. Returns how many were answered. */
uint64_t floor_answer(floor_line *line, const clock_page *clock, uint64_t duration_ns);
