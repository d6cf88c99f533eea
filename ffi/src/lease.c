/* lease.c: who is not heard any more. See include/lease.h. */
#include "lease.h"
#include "control.h"

_Static_assert(CAUSE_LEASE_FEED + STAGE_SIGNAL == CAUSE_LEASE_SIGNAL && CAUSE_LEASE_FEED + STAGE_RISK == CAUSE_LEASE_RISK &&
                   CAUSE_LEASE_FEED + STAGE_GATEWAY == CAUSE_LEASE_GATEWAY && STAGE_FEED == 0,
               "each stage has the lease of its own name");
_Static_assert(CAUSE_LEASE_SUPERVISOR + BEAT_CONTROL == CAUSE_LEASE_CONTROL && BEAT_SUPERVISOR == 0, "and each that beats");

static void condition(leases *self, uint32_t cause, uint32_t mode, uint64_t now_ns) {
    control_condition(self->control, cause, mode, now_ns, self->hold_ns, &self->lax_since_ns[cause]);
}

/* Without market or signal nothing new is worth ordering; without risk or gateway nothing new may leave. */
static uint32_t stage_demand(uint32_t stage) { return stage == STAGE_RISK || stage == STAGE_GATEWAY ? MODE_CANCEL_ONLY : MODE_REDUCE_ONLY; }

/* One that has not begun, or left in order, has no lease. */
static int is_over(uint64_t heard_ns, uint64_t lease_ns, uint64_t now_ns) {
    return heard_ns && lease_ns && now_ns > heard_ns && now_ns - heard_ns > lease_ns;
}

void leases_keep(leases *self, uint64_t now_ns) {
    for (uint32_t stage = 0; stage < STAGES_MAX; stage++) {
        const stage_page *page = self->stage[stage];
        if (!page) continue;
        uint64_t heard_ns = __atomic_load_n(&page->heartbeat_time_ns, __ATOMIC_RELAXED);
        condition(self, CAUSE_LEASE_FEED + stage, is_over(heard_ns, self->stage_ns, now_ns) ? stage_demand(stage) : MODE_NORMAL, now_ns);
    }
    for (uint32_t beat = 0; beat < BEATS; beat++) {
        if (!self->beat_ns[beat]) continue;
        uint64_t heard_ns = __atomic_load_n(&self->control->beat_time_ns[beat], __ATOMIC_RELAXED);
        uint32_t mode = is_over(heard_ns, self->beat_ns[beat], now_ns) ? MODE_REDUCE_ONLY : MODE_NORMAL;
        condition(self, CAUSE_LEASE_SUPERVISOR + beat, mode, now_ns);
    }
    if (self->feed) {
        uint64_t stale = __atomic_load_n(&self->feed->counter[FEED_STALE], __ATOMIC_RELAXED);
        control_condition(self->control, CAUSE_FEED_STALE, stale ? MODE_REDUCE_ONLY : MODE_NORMAL, now_ns, self->stale_hold_ns,
                          &self->lax_since_ns[CAUSE_FEED_STALE]);
    }
    if (self->slept_ns) condition(self, CAUSE_SLEPT, MODE_NORMAL, now_ns);
}

void leases_slept(leases *self, uint64_t now_ns) { condition(self, CAUSE_SLEPT, MODE_CANCEL_ONLY, now_ns); }
