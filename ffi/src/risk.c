/* risk.c: the risk stage. See include/risk.h. */
#include "risk.h"
#include "clock_inline.h"
#include "digest.h"
#include "limit_copy.h"
#include "prefetch_inline.h"
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
    risk->limits_waiting = 0;
    const limits_header *source = (const limits_header *)(const void *)((const uint8_t *)page + offset);
    uint64_t bytes = source->bytes; /* not to be believed before the checksum, but never followed too far */
    memcpy(spare, source, bytes < risk->limits_bytes ? bytes : risk->limits_bytes);
    const limits_header *current = risk->gate.limits;
    int whole = limits_whole(spare, risk->limits_bytes);
    /* A turn names the limits by their version: two that bear the same could not be told apart. */
    int same_name = whole && current && (uint32_t)current->version == (uint32_t)spare->version;
    if (same_name && current->checksum == spare->checksum) return 0;
    if (!whole || same_name) {
        risk->stage.page->counter[RISK_LIMITS_REFUSED]++;
        return 0;
    }
    risk->limits_waiting = 1;
    return 1;
}

/* What was set for a time goes back when the time has come: by the turn's clock, in the copy of this stage's own. */
static void limits_revert(risk_stage *risk, uint64_t now_ns) {
    if ((int64_t)now_ns < risk->gate.limits->next_expiry_time_ns) return;
    limits_expire(risk->limits_copy[risk->limits_in_force], now_ns);
}

/* The version that a turn decides by; a copy taken over in planning comes into force in the turn, idle
 * or not: until something is decided by it, nobody can tell when it came. 0 when it is not at hand. */
static int limits_apply(risk_stage *risk, uint32_t version) {
    if ((uint32_t)risk->gate.limits->version == version) return 1;
    limits_header *other = risk->limits_copy[!risk->limits_in_force];
    if (!risk->limits_waiting) limits_take(risk); /* replay: nobody planned */
    if (!risk->limits_waiting || (uint32_t)other->version != version) {
        risk->stage.page->error = STAGE_ERROR_SEQUENCE;
        return 0;
    }
    risk->limits_waiting = 0;
    risk->limits_in_force = !risk->limits_in_force;
    risk->gate.limits = other;
    return 1;
}

int risk_init(risk_stage *risk) {
    risk->limits_generation = UINT64_MAX;
    risk->gate.limits = NULL;
    if (!limits_take(risk)) return 0;
    risk->limits_waiting = 0;
    risk->limits_in_force = !risk->limits_in_force;
    risk->gate.limits = risk->limits_copy[risk->limits_in_force];
    risk->gate.counter = risk->stage.page->counter;
    return 1;
}

void risk_expect_instrument(const risk_stage *risk, uint32_t instrument) {
    const gate *gate = &risk->gate;
    if (instrument >= gate->instrument_count) return;
    __builtin_prefetch((const instrument_limits *)(gate->limits + 1) + instrument, 0);
    prefetch_lines(&gate->instrument[instrument], sizeof(gate_instrument));
    __builtin_prefetch(&gate->entry[instrument], 0);
}

void risk_expect(const risk_stage *risk) {
    const norm_event *last = (const norm_event *)ring_slot(risk->norm.slots, risk->norm.next - 1, risk->norm.mask, risk->norm.slot_shift);
    gate_expect(&risk->gate, risk->order_id_base + risk->signal.next + 1, last->header.instrument);
    prefetch_lines(ring_slot(risk->cmd.slots, risk->cmd.next, risk->cmd.mask, risk->cmd.slot_shift), 2 * CACHE_LINE_SIZE);
}

/* ---- planning --------------------------------------------------------------------------------- */

void risk_plan(risk_stage *risk, turn_plan *plan) {
    stage_plan(&risk->stage, plan);
    limits_take(risk);
    uint32_t newest = risk->limits_waiting ? !risk->limits_in_force : risk->limits_in_force;
    plan->limits_version = (uint32_t)risk->limits_copy[newest]->version;
    if (risk->models) /* partner: scorer_apply */
        plan->model_generation = __atomic_load_n(&risk->models->generation, __ATOMIC_ACQUIRE) & MODEL_GENERATION_MASK;
    memset(plan->input_sequence, 0, sizeof plan->input_sequence);
    /* Intents are counted first: each one's cause then stands in norm by the time norm is counted. */
    uint64_t refusals = ring_room_inline(&risk->reject);
    uint64_t intents_max = refusals < risk->batch_max ? refusals : risk->batch_max;
    plan->input_sequence[RISK_INPUT_SIGNAL] = risk->signal.next + ring_available_inline(&risk->signal, intents_max);
    plan->input_sequence[RISK_INPUT_EXEC] = risk->exec.next + ring_available_inline(&risk->exec, risk->batch_max);
    uint64_t waiting = plan->input_sequence[RISK_INPUT_SIGNAL] - risk->signal.next;
    uint64_t norm_max = waiting ? risk->norm.mask + 1 : risk->batch_max;
    plan->input_sequence[RISK_INPUT_NORM] = risk->norm.next + ring_available_inline(&risk->norm, norm_max);
    plan->input_sequence[RISK_OUTPUT_LIMIT] = risk->cmd.next + ring_room_inline(&risk->cmd);
}

/* ---- one intent --------------------------------------------------------------------------------- */

static void refuse(risk_stage *risk, const signal_event *intent, uint64_t order_id, int reason) {
    uint64_t *counter = risk->stage.page->counter;
    counter[RISK_REJECTED]++;
    counter[RISK_REJECTS + reason]++;
    stage_digest(&risk->stage, order_id << 8 | (uint64_t)reason);
    exec_event *event = ring_claim_inline(&risk->reject);
    if (!event) { /* a replay whose reject ring is smaller than the plan saw */
        risk->stage.page->error = STAGE_ERROR_RESOURCE;
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

/* A hop that a clock says was negative is counted, never wrapped. */
static uint32_t span(risk_stage *risk, uint64_t from, uint64_t to) {
    if (to < from) {
        risk->stage.page->counter[RISK_NEGATIVE_HOPS]++;
        return 0;
    }
    return to - from > UINT32_MAX ? UINT32_MAX : (uint32_t)(to - from);
}

static void command_publish(risk_stage *risk, const signal_event *intent, cmd_event *command) {
    risk->stage.page->counter[RISK_APPROVED]++;
    stage_digest(&risk->stage, command->digest);
    command->header.cause_sequence = risk->signal.next;
    command->header.cause_input = INPUT_SIGNAL;
    command->header.origin_time_ns = intent->header.origin_time_ns;
    command->header.ingress_time_ns = intent->header.ingress_time_ns;
    command->feed_ns = intent->feed_ns;
    command->signal_ns = span(risk, intent->header.ingress_time_ns + intent->feed_ns, intent->header.publish_time_ns);
    command->header.publish_time_ns = clock_read(risk->stage.clock);
    ring_commit_inline(&risk->cmd);
}

static void intent_decide(risk_stage *risk, const turn_plan *plan, const signal_event *intent) {
    uint64_t order_id = risk->order_id_base + risk->signal.next + 1;
    risk->stage.page->counter[RISK_SIGNALS]++;
    uint64_t kept = intent->header.type == SIGNAL_CANCEL ? 0 : risk->cancels_kept;
    if (risk->cmd.next + kept >= plan->input_sequence[RISK_OUTPUT_LIMIT]) {
        risk->stage.page->counter[RISK_RING_FULL]++;
        refuse(risk, intent, order_id, REJECT_RING_FULL);
        return;
    }
    cmd_event *command = ring_claim_inline(&risk->cmd);
    if (!command) { /* a replay whose cmd ring is smaller than the plan saw */
        risk->stage.page->error = STAGE_ERROR_RESOURCE;
        return;
    }
    int reason = gate_check(&risk->gate, plan, intent, order_id, command);
    if (reason == REJECT_NONE) command_publish(risk, intent, command);
    else refuse(risk, intent, order_id, reason);
}

/* Whether the firm has lost more than it may, and since which re-arming: the lowest and the deepest fall are remembered,
 * so this stays until people re-arm (gate_exposure_inline.h refuses by the same). */
static uint64_t loss_latched(const gate *gate) {
    const scope_limits *limits = &gate->limits->firm;
    const gate_scope *firm = &gate->firm;
    int rearmed = limits->rearm_epoch != firm->rearm_epoch;
    int64_t lost = -(rearmed ? firm->pnl_micros : firm->pnl_low_micros);
    int64_t fallen = rearmed ? 0 : firm->drawdown_micros;
    return lost > limits->day_loss_micros_max || fallen > limits->day_drawdown_micros_max ? limits->rearm_epoch + 1 : 0;
}

/* ---- the turn ----------------------------------------------------------------------------------- */

static int drained(const risk_stage *risk, const turn_plan *plan) {
    return risk->norm.next >= plan->input_sequence[RISK_INPUT_NORM] && risk->exec.next >= plan->input_sequence[RISK_INPUT_EXEC] &&
           risk->signal.next >= plan->input_sequence[RISK_INPUT_SIGNAL];
}

static int inputs_stand(risk_stage *risk, const turn_plan *plan) {
    return stage_input_stands(&risk->stage, &risk->norm, plan->input_sequence[RISK_INPUT_NORM]) &&
           stage_input_stands(&risk->stage, &risk->exec, plan->input_sequence[RISK_INPUT_EXEC]) &&
           stage_input_stands(&risk->stage, &risk->signal, plan->input_sequence[RISK_INPUT_SIGNAL]);
}

static void market_drain(risk_stage *risk, const turn_plan *plan) {
    for (; risk->norm.next < plan->input_sequence[RISK_INPUT_NORM]; risk->norm.next++) {
        gate_market(&risk->gate, plan, ring_at_inline(&risk->norm, 0));
        risk->stage.page->counter[RISK_MARKET_EVENTS]++;
    }
    ring_release_inline(&risk->norm);
}

static void executions_drain(risk_stage *risk, const turn_plan *plan) {
    for (; risk->exec.next < plan->input_sequence[RISK_INPUT_EXEC]; risk->exec.next++)
        gate_execution(&risk->gate, ring_at_inline(&risk->exec, 0));
    ring_release_inline(&risk->exec);
}

static void intents_drain(risk_stage *risk, const turn_plan *plan) {
    for (; risk->signal.next < plan->input_sequence[RISK_INPUT_SIGNAL]; risk->signal.next++)
        intent_decide(risk, plan, ring_at_inline(&risk->signal, 0));
    ring_release_inline(&risk->signal);
}

int risk_turn(risk_stage *risk, const turn_plan *plan) {
    if (!limits_apply(risk, plan->limits_version) || drained(risk, plan) || !inputs_stand(risk, plan)) return 0;
    limits_revert(risk, plan->now_ns);
    if (stage_roll(risk->roll_time_ns, plan->now_ns)) gate_roll(&risk->gate);
    gate_begin(&risk->gate, plan);
    risk->stage.page->counter[RISK_MODE] = plan->killed ? MODE_HALTED : plan->mode;
    market_drain(risk, plan);
    executions_drain(risk, plan);
    intents_drain(risk, plan);
    risk->stage.page->counter[RISK_LOSS_LATCHED] = loss_latched(&risk->gate);
    stage_record(&risk->stage, plan, &risk->cmd);
    return 1;
}
