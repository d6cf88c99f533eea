/* stage.c: what the four stages have in common. See include/stage.h. */
#include "stage.h"
#include "clock_inline.h"
#include "control.h"
#include "digest.h"
#include "ring_inline.h"

_Static_assert(CAUSE_RECORD_FEED + STAGE_GATEWAY == CAUSE_RECORD_GATEWAY && CAUSE_RECORD_FEED + STAGE_RISK == CAUSE_RECORD_RISK &&
                   CAUSE_RECORD_FEED + STAGE_SIGNAL == CAUSE_RECORD_SIGNAL && STAGE_FEED == 0,
               "each stage owns the cause of its own name");

void stage_announce(stage_page *page, uint32_t state, uint32_t pid, uint32_t cpu) {
    page->pid = pid;
    page->cpu = cpu;
    __atomic_store_n(&page->state, state, __ATOMIC_RELEASE); /* partner: the supervisor, which reads the page after it */
}

void stage_beat(stage_page *page, const clock_page *clock) {
    __atomic_store_n(&page->heartbeat_time_ns, clock_read(clock), __ATOMIC_RELAXED);
}

int stage_roll(uint64_t *roll_time_ns, uint64_t now_ns) {
    if (!roll_time_ns[0] || now_ns < roll_time_ns[0]) return 0;
    for (int i = 1; i < ROLLS_AHEAD; i++) roll_time_ns[i - 1] = roll_time_ns[i];
    roll_time_ns[ROLLS_AHEAD - 1] = 0;
    return 1;
}

uint64_t stage_now(const stage_context *stage) { return stage->loop ? stage->loop->now_ns : clock_read(stage->clock); }

void stage_look(const clock_page *clock, const control_page *control, turn_plan *seen) {
    seen->now_ns = clock_read(clock);
    uint64_t kill_epoch = __atomic_load_n(&control->kill_epoch, __ATOMIC_ACQUIRE);
    seen->kill_epoch = (uint32_t)kill_epoch;
    seen->killed = kill_epoch != __atomic_load_n(&control->armed_epoch, __ATOMIC_ACQUIRE);
    seen->mode = control_mode(control);
}

void stage_plan(stage_context *stage, turn_plan *plan) {
    turn_plan look;
    const turn_plan *seen = stage->loop;
    if (!seen) {
        stage_look(stage->clock, stage->control, &look);
        seen = &look;
    }
    plan->now_ns = stage->lockstep ? __atomic_load_n(&stage->lockstep->now_ns, __ATOMIC_RELAXED) : seen->now_ns;
    plan->kill_epoch = seen->kill_epoch;
    plan->killed = seen->killed;
    plan->mode = seen->mode;
    plan->limits_version = 0;
    plan->model_generation = 0;
    plan->weights_version = 0;
}

static void record_publish(stage_context *stage, const turn_plan *plan, const ring_writer *output) {
    turn_event *event = ring_claim_inline(&stage->ctl);
    if (!event) {
        /* A hole in the record: what follows cannot be replayed, so nothing may follow. */
        control_cause(stage->control, CAUSE_RECORD_FEED + stage->id, MODE_HALTED);
        return;
    }
    event->header.cause_sequence = stage->turn;
    event->header.origin_time_ns = plan->now_ns;
    /* For people: why, as it stands now. What the turn saw of it is the mode. */
    event->header.ingress_time_ns = plan->mode == MODE_NORMAL ? 0 : control_causes(stage->control);
    event->header.type = CTL_TURN;
    event->header.cause_input = INPUT_NONE;
    event->header.flags = 0;
    event->header.instrument = NO_INSTRUMENT;
    event->turn = stage->turn;
    for (int i = 0; i < INPUTS_MAX; i++) event->input_sequence[i] = plan->input_sequence[i];
    event->output_sequence = output ? output->next : 0;
    event->digest = stage->digest;
    event->kill_epoch = plan->kill_epoch;
    event->limits_version = plan->limits_version;
    event->model_generation = plan->model_generation;
    event->weights_version = plan->weights_version;
    event->mode = plan->mode;
    event->killed = plan->killed;
    event->header.publish_time_ns = plan->now_ns; /* a measured instant would cost every turn a reading of the clock */
    ring_commit_inline(&stage->ctl);
}

void stage_record(stage_context *stage, const turn_plan *plan, const ring_writer *output) {
    stage->turn++;
    stage->page->turns = stage->turn;
    if (!stage->ctl.slots) return;
    if (!stage->holds) {
        record_publish(stage, plan, output);
        return;
    }
    stage->held_plan = plan;
    stage->held_output = output;
}

void stage_record_held(stage_context *stage) {
    if (!stage->held_plan) return;
    record_publish(stage, stage->held_plan, stage->held_output);
    stage->held_plan = NULL;
}

int stage_input_stands(stage_context *stage, const ring_reader *reader, uint64_t end) {
    if (reader->next >= end || ring_has(reader, end - 1)) return 1;
    stage->page->error = STAGE_ERROR_SEQUENCE;
    return 0;
}

void stage_digest(stage_context *stage, uint64_t word) {
    stage->digest = digest_bytes(stage->digest, &word, sizeof word);
}
