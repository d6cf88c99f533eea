/* duty.c: the duty cycle of one process. See include/duty.h. */
#include "duty.h"
#include "clock_inline.h"
#include "ring_inline.h"
#include "wait.h"

#define HEARTBEAT_INTERVAL_NS 1000000
#define LOOPS_BETWEEN_CLOCKS 64 /* idle loops between two looks at the clock */
#define REHEARSAL_INTERVAL_NS 5000
#define REHEARSAL_FIRST 4       /* idle loops before one */
#define BATON_SPINS 200         /* a spinning process's, before it lets others run after all */

/* ---- one stage, one turn ------------------------------------------------------------------------ */

static int feed_step(feed_stage *feed) {
    turn_plan *plan = &feed->stage.page->plan;
    feed_plan(feed, plan);
    return feed_turn(feed, plan);
}

static int signal_step(signal_stage *signal) {
    turn_plan *plan = &signal->stage.page->plan;
    signal_plan(signal, plan);
    return signal_turn(signal, plan);
}

static int risk_step(risk_stage *risk) {
    turn_plan *plan = &risk->stage.page->plan;
    risk_plan(risk, plan);
    return risk_turn(risk, plan);
}

static int gateway_step(gateway *gateway) {
    turn_plan *plan = &gateway->stage.page->plan;
    gateway_plan(gateway, plan);
    return gateway_turn(gateway, plan);
}

static stage_context *context(const duty *duty, int stage) {
    switch (stage) {
    case STAGE_FEED: return duty->feed ? &duty->feed->stage : NULL;
    case STAGE_SIGNAL: return duty->signal ? &duty->signal->stage : NULL;
    case STAGE_RISK: return duty->risk ? &duty->risk->stage : NULL;
    case STAGE_GATEWAY: return duty->gateway ? &duty->gateway->stage : NULL;
    default: return NULL;
    }
}

static int step(duty *duty, int stage) {
    switch (stage) {
    case STAGE_FEED: return feed_step(duty->feed);
    case STAGE_SIGNAL: return signal_step(duty->signal);
    case STAGE_RISK: return risk_step(duty->risk);
    default: return gateway_step(duty->gateway);
    }
}

static void heartbeat(duty *duty, uint64_t now_ns) {
    if (now_ns < duty->heartbeat_time_ns + HEARTBEAT_INTERVAL_NS) return;
    duty->heartbeat_time_ns = now_ns;
    if (duty->leases && !duty->lockstep) leases_keep(duty->leases, now_ns);
    for (int stage = 0; stage < STAGES_MAX; stage++) {
        stage_context *own = context(duty, stage);
        if (!own) continue;
        own->page->idle_turns = duty->loops > own->turn ? duty->loops - own->turn : 0;
        __atomic_store_n(&own->page->heartbeat_time_ns, now_ns, __ATOMIC_RELAXED);
    }
}

static int failed(const duty *duty) {
    for (int stage = 0; stage < STAGES_MAX; stage++) {
        const stage_context *own = context(duty, stage);
        if (own && own->page->error != STAGE_ERROR_NONE) return 1;
    }
    return 0;
}

/* ---- free running ------------------------------------------------------------------------------- */

/* One look at the world serves every stage of the loop: four would cost more than four idle turns. The
 * gateway looks at the kill word itself again before each order. Turn records are held until the loop's
 * orders are stored and framed: the gateway publishes them before its socket sends, and a loop without orders
 * at its end. Its own comes last, and at once. */
static void loop_share(duty *duty, const turn_plan *seen) {
    for (int stage = 0; stage < STAGES_MAX; stage++) {
        stage_context *own = context(duty, stage);
        if (!own) continue;
        own->loop = seen;
        own->holds = seen && stage != STAGE_GATEWAY;
        if (duty->gateway) duty->gateway->before[stage] = own->holds ? own : NULL;
    }
}

/* A message is an event in a moment: what its instrument's state lies in comes while the book looks for its order. */
static int feed_step_ahead(duty *duty) {
    feed_stage *feed = duty->feed;
    turn_plan *plan = &feed->stage.page->plan;
    feed_plan(feed, plan);
    if (feed->raw_in.next < plan->input_sequence[0]) {
        uint32_t instrument = feed_expect(feed);
        if (duty->signal) signal_expect(duty->signal, instrument);
        if (duty->risk) risk_expect_instrument(duty->risk, instrument);
    }
    return feed_turn(feed, plan);
}

/* A new intent is an order in a moment: what its last hop will touch is on its way while risk decides. */
static int signal_step_ahead(duty *duty) {
    signal_stage *signal = duty->signal;
    uint64_t before = signal->signal.next;
    int busy = signal_step(signal);
    if (signal->signal.next == before || !duty->gateway) return busy;
    const ring_writer *intents = &signal->signal;
    gateway_expect(duty->gateway, (const signal_event *)ring_slot(intents->slots, before, intents->mask, intents->slot_shift));
    return busy;
}

/* A process that was stopped, or that had no processor: what it would send now was decided by a market of before. */
static void look(duty *duty) {
    stage_look(duty->clock, duty->control, &duty->seen);
    uint64_t before_ns = duty->looked_time_ns;
    duty->looked_time_ns = duty->seen.now_ns;
    if (__builtin_expect(!duty->leases || duty->seen.now_ns - before_ns <= duty->leases->slept_ns, 1)) return;
    if (!before_ns || !duty->leases->slept_ns || duty->seen.now_ns < before_ns) return;
    leases_slept(duty->leases, duty->seen.now_ns);
    stage_look(duty->clock, duty->control, &duty->seen);
}

static int all_step(duty *duty) {
    int busy = 0;
    look(duty);
    if (duty->feed) busy |= feed_step_ahead(duty);
    if (duty->signal) busy |= signal_step_ahead(duty);
    if (duty->risk) busy |= risk_step(duty->risk);
    if (duty->gateway) busy |= gateway_step(duty->gateway);
    if (!busy) return 0;
    if (duty->feed) stage_record_held(&duty->feed->stage);
    if (duty->signal) stage_record_held(&duty->signal->stage);
    if (duty->risk) stage_record_held(&duty->risk->stage);
    return busy;
}

/* Arm, look once more, sleep: a commit after the look finds the doorbell armed and rings it. */
static void park(duty *duty) {
    wait_arm(duty->bell);
    if (all_step(duty)) {
        wait_disarm(duty->bell);
        duty->idle_turns = 0;
        return;
    }
    wait_park(duty->bell, duty->park_ns);
}

/* The next event's own intent, if it makes one: where it is written, and the cell of its name. */
static void expect_intent(const duty *duty) {
    const signal_stage *signal = duty->signal;
    const ring_writer *intents = &signal->signal;
    signal_event next;
    next.header.cause_sequence = signal->norm.next;
    next.header.cause_input = INPUT_NORM;
    next.strategy = signal->config.strategy_id;
    next.account = signal->config.account;
    next.strategy_epoch = signal->config.strategy_epoch;
    next.leg = 0;
    gateway_expect(duty->gateway, &next);
    prefetch_lines(ring_slot(intents->slots, intents->next, intents->mask, intents->slot_shift), sizeof next);
}

/* Not at once, and not often: a burst is not kept waiting, and what the feed needs stays near too. */
static void rehearse(duty *duty) {
    if (!duty->rehearsal || duty->idle_turns < REHEARSAL_FIRST || duty->seen.now_ns < duty->rehearsal_time_ns) return;
    duty->rehearsal_time_ns = duty->seen.now_ns + REHEARSAL_INTERVAL_NS;
    rehearsal_run(duty->rehearsal, duty->risk, duty->gateway);
    if (duty->signal && duty->gateway) expect_intent(duty);
}

static void idle(duty *duty) {
    duty->idle_turns++;
    switch (duty->wait) {
    case WAIT_YIELD: wait_yield(); return;
    case WAIT_PARK:
        if (duty->idle_turns > WAIT_SPINS_BEFORE_PARK) park(duty);
        else wait_spin();
        return;
    default: /* spin: a loop of four looks is pause enough, and the instruction costs a third of one */
        rehearse(duty);
    }
}

static int free_loop(duty *duty, uint64_t end_time_ns) {
    for (;;) {
        for (int i = 0; i < LOOPS_BETWEEN_CLOCKS; i++) {
            if (all_step(duty)) duty->idle_turns = 0;
            else idle(duty);
        }
        duty->loops += LOOPS_BETWEEN_CLOCKS;
        uint64_t now_ns = clock_read(duty->clock);
        heartbeat(duty, now_ns);
        if (failed(duty)) return DUTY_FAILED;
        if (__atomic_load_n(&duty->control->stop, __ATOMIC_ACQUIRE) >= 2) return DUTY_STOPPED;
        if (now_ns >= end_time_ns) return DUTY_SLICE_OVER;
    }
}

static int free_run(duty *duty, uint64_t end_time_ns) {
    loop_share(duty, &duty->seen);
    int result = free_loop(duty, end_time_ns);
    loop_share(duty, NULL);
    return result;
}

/* ---- lockstep ----------------------------------------------------------------------------------- */

/* The feed opens each round: once the source has ended, time goes on by itself for a while. Returns 1
 * when the run is over; every stage has then made its turn in every round before this one. */
static int round_open(duty *duty) {
    lockstep_page *page = duty->lockstep;
    if (!feed_finished(duty->feed)) return 0;
    page->idle_rounds++;
    __atomic_store_n(&page->now_ns, page->now_ns + LOCKSTEP_TAIL_STEP_NS, __ATOMIC_RELAXED);
    if (page->idle_rounds <= LOCKSTEP_TAIL_ROUNDS) return 0;
    __atomic_store_n(&page->finished, 1, __ATOMIC_RELEASE);
    return 1;
}

/* Whose turn it is, as a place in the round: acquire, for all that the one before wrote. Partner: duty_pass. */
static uint64_t baton_place(const lockstep_page *page) {
    return __atomic_load_n(&page->baton, __ATOMIC_ACQUIRE) % (STAGES_MAX + page->strategies);
}

/* The stage whose turn it is, when it is one of ours; STAGES_MAX for strategies that live here; else -1. */
static int baton_mine(const duty *duty) {
    uint64_t place = baton_place(duty->lockstep), strategies = duty->lockstep->strategies;
    if (place && place <= strategies) return duty->strategies_here ? STAGES_MAX : -1;
    int stage = (int)(place ? place - strategies : 0);
    return context(duty, stage) ? stage : -1;
}

void duty_pass(lockstep_page *page) { __atomic_store_n(&page->baton, page->baton + 1, __ATOMIC_RELEASE); }

int duty_await(const lockstep_page *page, const control_page *control, const clock_page *clock, uint32_t strategy,
               uint64_t slice_ns) {
    uint64_t end_time_ns = clock_read(clock) + slice_ns;
    for (;;) {
        for (int looks = 0; looks < LOOPS_BETWEEN_CLOCKS; looks++) {
            if (__atomic_load_n(&page->finished, __ATOMIC_ACQUIRE)) return DUTY_FINISHED;
            if (baton_place(page) == strategy + 1) return DUTY_STRATEGIES;
            wait_yield();
        }
        if (__atomic_load_n(&control->stop, __ATOMIC_ACQUIRE) >= 2) return DUTY_STOPPED;
        if (clock_read(clock) >= end_time_ns) return DUTY_SLICE_OVER;
    }
}

static int lockstep_run(duty *duty, uint64_t end_time_ns) {
    uint32_t spins = 0, spins_max = duty->wait == WAIT_SPIN ? BATON_SPINS : 0;
    for (uint32_t loops = 1;; loops++) {
        int stage = baton_mine(duty);
        if (stage == STAGES_MAX) return DUTY_STRATEGIES;
        if (stage >= 0) {
            if (stage == STAGE_FEED && round_open(duty)) return DUTY_FINISHED;
            step(duty, stage);
            duty_pass(duty->lockstep);
            spins = 0;
        } else if (++spins > spins_max) {
            wait_yield();
        } else {
            wait_spin();
        }
        if (__atomic_load_n(&duty->lockstep->finished, __ATOMIC_ACQUIRE)) return DUTY_FINISHED;
        if (loops % LOOPS_BETWEEN_CLOCKS) continue;
        uint64_t now_ns = clock_read(duty->clock);
        heartbeat(duty, now_ns);
        if (failed(duty)) return DUTY_FAILED;
        if (__atomic_load_n(&duty->control->stop, __ATOMIC_ACQUIRE) >= 2) return DUTY_STOPPED;
        if (now_ns >= end_time_ns) return DUTY_SLICE_OVER;
    }
}

int duty_run(duty *duty, uint64_t slice_ns) {
    uint64_t end_time_ns = clock_read(duty->clock) + slice_ns;
    return duty->lockstep ? lockstep_run(duty, end_time_ns) : free_run(duty, end_time_ns);
}
