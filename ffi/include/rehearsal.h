/* rehearsal.h: an order that is never sent, so that the code of the next one is warm.
 *
 *   idle loop --> intent --> risk (gate) --> cmd --> gateway (intent record, frame) --> cancel --> forgotten
 *
 * Orders are rare beside market events: when one comes, its code has left the first-level cache, its branches
 * the predictor and its lines the near caches, which cost more than all the work. So a loop that spins with nothing
 * to do plays one through the real functions now and then, over stages, rings and an intent file of its own: no
 * word of it is in shared memory, none is recorded, nothing can leave. What the real stages would touch next is only
 * asked for.
 */
#pragma once
#include "layout.h"
#include "gateway.h"
#include "risk.h"

typedef struct rehearsal rehearsal;

/* Bytes that rehearsal_init needs, 64-byte aligned; 0 when the configuration is out of range. */
uint64_t rehearsal_bytes(const gateway_config *config);
/* Stages for one instrument whose frames are those of this gateway's venue. NULL: `memory` is too small. */
rehearsal *rehearsal_init(void *memory, uint64_t bytes, const gateway_config *config, const clock_page *clock);
/* Play one order; returns 1 when it went through, 0 when something refused it: then it warms the wrong code. The
 * real stages are looked at only; either may be NULL. */
int rehearsal_run(rehearsal *rehearsal, const risk_stage *risk, const gateway *gateway);
