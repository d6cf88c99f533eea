/* lease.h: who is not heard any more tightens the engine, without anybody's help.
 *
 *   process of the gateway   watches feed, signal, risk, supervisor, control: nothing leaves but through it
 *   process of risk          watches the gateway: what is approved while that stands still would leave late
 *   the gateway's own loop   finds out that it stood still, before its next order: what waits for it is old
 *
 * A lease that is over tightens at once and is taken back when its holder has been heard for `hold_ns` on end
 * (control_condition). The looks are a loop's housekeeping, a millisecond apart; the turns see the mode alone.
 * In virtual time nobody keeps a lease.
 */
#pragma once
#include "layout.h"

/* Private to its process. */
typedef struct {
    control_page *control;
    const stage_page *stage[STAGES_MAX]; /* those whose heartbeat this process watches; NULL: not this one's */
    const stage_page *feed;  /* whose books may be stale; NULL: another process looks */
    uint64_t stage_ns;       /* the leases; 0: none */
    uint64_t beat_ns[BEATS_MAX]; /* by enum beat; 0: this process does not watch it */
    uint64_t hold_ns;
    uint64_t stale_hold_ns;  /* of CAUSE_FEED_STALE: a gap that is closed again is no lost process */
    uint64_t slept_ns;       /* between two loops: longer is sleep; 0: nobody looks */
    uint64_t lax_since_ns[CAUSES_MAX];
} leases;

/* Look at every lease that this process keeps. */
void leases_keep(leases *leases, uint64_t now_ns);
/* The loop stood still, as `now_ns` shows: tighten before its next turn. */
void leases_slept(leases *leases, uint64_t now_ns);
