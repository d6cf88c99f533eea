/* risk.c: the risk stage. See include/risk.h. */
#include "risk.h"
#include "clock_inline.h"
#include "digest.h"
#include "ring_inline.h"
#include <string.h>

/* ---- limits ----------------------------------------------------------------------------------- */

/* Take the current copy over when it is whole; its writer may have died half-way, or be at work. */
static int limits_take(risk_stage *risk) {
    const limits_page *page = risk->limits;
    uint64_t generation = __atomic_load_n(&page->generation, __ATOMIC_ACQUIRE); /* partner: limits_publish */
    if (generation == risk->limits_generation) return 0;
    risk->limits_generation = generation;
    uint64_t offset = page->copy_offset[generation & 1];
    limits_header *spare = risk->limits_copy[!risk->limits_in_force];
    memcpy(spare, (const uint8_t *)page + offset, risk->limits_bytes);
    uint64_t count_max = (risk->limits_bytes - sizeof(limits_header)) / sizeof(instrument_limits);
    if (spare->count > count_max || gate_limits_checksum(spare) != spare->checksum) {
        risk->stage.page->counter[RISK_LIMITS_REFUSED]++;
        return 0;
    }
    return 1;
}

/* The version that a turn decides by; a copy taken over in planning comes into force in the turn. */
static void limits_apply(risk_stage *risk, uint32_t version) {
    const limits_header *current = risk->limits_copy[risk->limits_in_force];
    if ((uint32_t)current->version == version) return;
    if ((uint32_t)risk->limits_copy[!risk->limits_in_force]->version != version) return;
    risk->limits_in_force = !risk->limits_in_force;
    risk->gate.limits = risk->limits_copy[risk->limits_in_force];
}

int risk_init(risk_stage *risk) {
    risk->limits_generation = UINT64_MAX;
    if (!limits_take(risk)) return 0;
    risk->limits_in_force = !risk->limits_in_force;
    risk->gate.limits = risk->limits_copy[risk->limits_in_force];
    risk->gate.throttle_credit = 0;
    risk->gate.counter = risk->stage.page->counter;
    return 1;
}

/* ---- planning --------------------------------------------------------------------------------- */

void risk_plan(risk_stage *risk, turn_plan *plan) {
    stage_plan(&risk->stage, plan);
    plan->limits_version = (uint32_t)risk->gate.limits->version;
    if (limits_take(risk)) plan->limits_version = (uint32_t)risk->limits_copy[!risk->limits_in_force]->version;
    memset(plan->input_sequence, 0, sizeof plan->input_sequence);
    /* Intents are counted first: each one's cause then stands in norm by the time norm is counted. */
    plan->input_sequence[RISK_INPUT_SIGNAL] = risk->signal.next + ring_available_inline(&risk->signal, risk->batch_max);
    plan->input_sequence[RISK_INPUT_EXEC] = risk->exec.next + ring_available_inline(&risk->exec, risk->batch_max);
    uint64_t waiting = plan->input_sequence[RISK_INPUT_SIGNAL] - risk->signal.next;
    uint64_t norm_max = waiting ? risk->norm.mask + 1 : risk->batch_max;
    plan->input_sequence[RISK_INPUT_NORM] = risk->norm.next + ring_available_inline(&risk->norm, norm_max);
}

/* ---- one intent --------------------------------------------------------------------------------- */

static void refuse(risk_stage *risk, const signal_event *intent, uint64_t order_id, int reason) {
    uint64_t *counter = risk->stage.page->counter;
    counter[RISK_REJECTED]++;
    counter[RISK_REJECTS + reason]++;
    stage_digest(&risk->stage, order_id << 8 | (uint64_t)reason);
    exec_event *event = ring_claim_inline(&risk->reject);
    if (!event) {
        counter[RISK_RING_FULL]++; /* the strategy gives the order up by its own time limit */
        return;
    }
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.cause_sequence = risk->signal.next;
    event->header.cause_input = INPUT_SIGNAL;
    event->header.origin_time_ns = intent->header.origin_time_ns;
    event->header.ingress_time_ns = intent->header.ingress_time_ns;
    event->header.publish_time_ns = clock_read(risk->stage.clock);
    event->header.type = EXEC_REFUSED;
    event->header.instrument = intent->header.instrument;
    event->order_id = order_id;
    event->target_order_id = intent->target_order_id;
    event->price_ticks = intent->price_ticks;
    event->quantity_lots = intent->quantity_lots;
    event->side = intent->side;
    event->reason = (uint16_t)reason;
    ring_commit_inline(&risk->reject);
}

static uint32_t span(uint64_t from, uint64_t to) {
    if (to < from) return 0;
    return to - from > UINT32_MAX ? UINT32_MAX : (uint32_t)(to - from);
}

static void intent_decide(risk_stage *risk, const turn_plan *plan, const signal_event *intent) {
    uint64_t order_id = risk->order_id_base + risk->signal.next + 1;
    risk->stage.page->counter[RISK_SIGNALS]++;
    cmd_event *command = ring_claim_inline(&risk->cmd);
    if (!command) {
        refuse(risk, intent, order_id, REJECT_RING_FULL);
        return;
    }
    int reason = gate_check(&risk->gate, plan, intent, order_id, command);
    if (reason != REJECT_NONE) {
        refuse(risk, intent, order_id, reason);
        return;
    }
    risk->stage.page->counter[RISK_APPROVED]++;
    stage_digest(&risk->stage, command->digest);
    command->header.cause_sequence = risk->signal.next;
    command->header.cause_input = INPUT_SIGNAL;
    command->header.origin_time_ns = intent->header.origin_time_ns;
    command->header.ingress_time_ns = intent->header.ingress_time_ns;
    command->feed_ns = intent->feed_ns;
    command->signal_ns = span(intent->header.ingress_time_ns + intent->feed_ns, intent->header.publish_time_ns);
    command->header.publish_time_ns = clock_read(risk->stage.clock);
    ring_commit_inline(&risk->cmd);
}

/* ---- the turn ----------------------------------------------------------------------------------- */

static int drained(const risk_stage *risk, const turn_plan *plan) {
    return risk->norm.next >= plan->input_sequence[RISK_INPUT_NORM] && risk->exec.next >= plan->input_sequence[RISK_INPUT_EXEC] &&
           risk->signal.next >= plan->input_sequence[RISK_INPUT_SIGNAL];
}

/* The next event of an input up to the plan's sequence, or NULL; a plan that asks for events that are
 * not there is a broken recording. */
static const void *next_event(risk_stage *risk, ring_reader *reader, uint64_t end) {
    if (reader->next >= end) return NULL;
    const void *event = ring_front_inline(reader);
    if (!event) risk->stage.page->error = STAGE_ERROR_SEQUENCE;
    return event;
}

int risk_turn(risk_stage *risk, const turn_plan *plan) {
    if (drained(risk, plan)) return 0;
    limits_apply(risk, plan->limits_version);
    risk->stage.page->counter[RISK_MODE] = plan->killed ? MODE_HALTED : plan->mode;
    const norm_event *market;
    while ((market = next_event(risk, &risk->norm, plan->input_sequence[RISK_INPUT_NORM]))) {
        gate_market(&risk->gate, plan, market);
        risk->stage.page->counter[RISK_MARKET_EVENTS]++;
        risk->norm.next++;
    }
    ring_release_inline(&risk->norm);
    const exec_event *execution;
    while ((execution = next_event(risk, &risk->exec, plan->input_sequence[RISK_INPUT_EXEC]))) {
        gate_execution(&risk->gate, execution);
        risk->exec.next++;
    }
    ring_release_inline(&risk->exec);
    const signal_event *intent;
    while ((intent = next_event(risk, &risk->signal, plan->input_sequence[RISK_INPUT_SIGNAL]))) {
        intent_decide(risk, plan, intent);
        risk->signal.next++;
    }
    ring_release_inline(&risk->signal);
    stage_record(&risk->stage, plan, &risk->cmd);
    return 1;
}
