/* spin.h: the spin control: what the machine alone does to a message that comes at its due time.
 *
 *   arrivals   |     |     |     |     |     |     |      one every interval_ns, open loop
 *   loop       ....................         ........      reads the clock and does nothing else
 *                                  '-- gap -'             timer tick, steal, another process
 *   delay      0     0     0     0  ####  ##   0          due time to the loop's next reading
 *
 * Measured on the same core and in the same window, it is the part of a latency figure that no code on
 * that core can avoid. Where its p99 is over SPIN_DELAY_NS_MAX the host is insufficient for the claim.
 */
#pragma once
#include "layout.h"

#define SPIN_GAP_NS 1000      /* a longer gap between two readings is counted as taken by the machine */
#define SPIN_DELAY_NS_MAX 100 /* of the p99 */

typedef struct {
    uint64_t arrivals;
    uint64_t readings;   /* of the clock */
    uint64_t elapsed_ns;
    uint64_t gap_count;  /* over SPIN_GAP_NS */
    uint64_t gap_ns_sum;
    uint64_t gap_ns_max; /* of any length */
} spin_report;

/* Spin for `duration_ns` on the current core. Records each arrival's delay into `delays`, which the
 * caller has reset, and fills `report`. interval_ns 0 is taken as 1. */
void spin_control(const clock_page *clock, uint64_t interval_ns, uint64_t duration_ns, histogram *delays,
                  spin_report *report);

/* The same loop without arrivals: each gap over SPIN_GAP_NS is recorded into `gaps`, which the caller has
 * reset, so that people see how many were how long. Fills all of `report` but the arrivals. */
void spin_gaps(const clock_page *clock, uint64_t duration_ns, histogram *gaps, spin_report *report);
