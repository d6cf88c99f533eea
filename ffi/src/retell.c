/* retell.c: see include/retell.h. */
#include "retell.h"
#include "digest.h"
#include "limit_copy.h"
#include "ring_inline.h"
#include <string.h>

void retell_plan(const turn_event *turn, turn_plan *plan) {
    plan->now_ns = turn->header.origin_time_ns;
    for (int i = 0; i < INPUTS_MAX; i++) plan->input_sequence[i] = turn->input_sequence[i];
    plan->kill_epoch = turn->kill_epoch;
    plan->limits_version = turn->limits_version;
    plan->model_generation = turn->model_generation;
    plan->weights_version = turn->weights_version;
    plan->mode = turn->mode;
    plan->killed = turn->killed;
}

/* ---- feed ------------------------------------------------------------------------------------------ */

void retell_feed(feed_stage *feed, const raw_event *events, uint64_t count) {
    turn_plan plan;
    memset(&plan, 0, sizeof plan);
    for (uint64_t done = 0; done < count;) {
        uint64_t room = feed->raw.mask + 1 - (feed->raw.next - feed->raw_in.next);
        for (; room && done < count; room--, done++) {
            uint8_t *slot = ring_claim_inline(&feed->raw);
            memcpy(slot + sizeof events->header.stamp, (const uint8_t *)&events[done] + sizeof events->header.stamp,
                   sizeof *events - sizeof events->header.stamp);
            ring_commit_inline(&feed->raw);
        }
        plan.input_sequence[0] = feed->raw.next;
        feed_turn(feed, &plan);
    }
}

const norm_event *retell_norm(const feed_stage *feed) {
    const ring_writer *norm = &feed->norm;
    if (!norm->next) return NULL;
    return (const norm_event *)(const void *)ring_slot(norm->slots, norm->next - 1, norm->mask, norm->slot_shift);
}

/* ---- features --------------------------------------------------------------------------------------- */

uint32_t retell_features(const feature_config *config, feature_state *state, uint32_t instrument, const norm_event *events,
                         uint64_t count, double *value) {
    uint32_t ready = state->ready;
    for (uint64_t i = 0; i < count; i++) {
        if (events[i].header.type == NORM_CLEAR) feature_init(state);
        if (events[i].header.instrument == instrument) ready = feature_update(config, state, &events[i], value);
    }
    return ready;
}

/* ---- risk ------------------------------------------------------------------------------------------- */

static void chain(retold_risk *told, uint64_t word) { told->digest = digest_bytes(told->digest, &word, sizeof word); }

int retell_decide(gate *gate, retold_risk *told, const signal_event *intent) {
    uint64_t order_id = told->order_id_base + told->signal_next + 1;
    int reason = REJECT_RING_FULL;
    if (told->cmd_next < told->plan.input_sequence[3]) reason = gate_check(gate, &told->plan, intent, order_id, &told->command);
    if (reason == REJECT_NONE) {
        told->cmd_next++;
        chain(told, told->command.digest);
    } else {
        chain(told, order_id << 8 | (uint64_t)reason);
    }
    told->signal_next++;
    return reason;
}

static int given(uint64_t next, uint64_t end, uint64_t begin, uint64_t count) {
    return next >= end || (begin <= next && end <= begin + count);
}

static int turn_given(const retold_risk *told, uint64_t signal_end) {
    const uint64_t *end = told->plan.input_sequence;
    return given(told->norm_next, end[0], told->norm_begin, told->norm_count) &&
           given(told->exec_next, end[1], told->exec_begin, told->exec_count) &&
           given(told->signal_next, signal_end, told->signal_begin, told->signal_count);
}

/* The inputs of one turn in the order in which risk_turn drains them, its intents up to the wanted one. */
static int turn_take(gate *gate, retold_risk *told, const turn_event *turn) {
    const uint64_t *end = told->plan.input_sequence;
    told->stopped = told->signal_end < end[2];
    uint64_t signal_end = told->stopped ? told->signal_end : end[2];
    if (!turn_given(told, signal_end)) return RETELL_HUNGRY;
    if ((int64_t)told->plan.now_ns >= gate->limits->next_expiry_time_ns) limits_expire(gate->limits, told->plan.now_ns);
    if (stage_roll(told->roll_time_ns, told->plan.now_ns)) gate_roll(gate);
    gate_begin(gate, &told->plan);
    for (; told->norm_next < end[0]; told->norm_next++)
        gate_market(gate, &told->plan, &told->norm[told->norm_next - told->norm_begin]);
    for (; told->exec_next < end[1]; told->exec_next++) gate_execution(gate, &told->exec[told->exec_next - told->exec_begin]);
    while (told->signal_next < signal_end) retell_decide(gate, told, &told->signal[told->signal_next - told->signal_begin]);
    return told->stopped || told->digest == turn->digest ? RETELL_OK : RETELL_DIFFERS;
}

int retell_risk(gate *gate, retold_risk *told) {
    for (uint64_t i = 0; i < told->turn_count && !told->stopped; i++) {
        const turn_event *turn = &told->turns[i];
        retell_plan(turn, &told->plan);
        told->turn = turn->turn;
        if (turn->limits_version != (uint32_t)gate->limits->version) return RETELL_LIMITS;
        int status = turn_take(gate, told, turn);
        if (status != RETELL_OK) return status;
    }
    return RETELL_OK;
}

/* ---- whole stages ------------------------------------------------------------------------------------ */

static int stands(const ring_reader *reader, uint64_t end) { return reader->next >= end || ring_has(reader, end - 1); }

static int room_for(ring_writer *writer, const turn_event *turn) {
    return turn->output_sequence <= writer->next || turn->output_sequence - writer->next <= ring_room_inline(writer);
}

static int feed_can(feed_stage *feed, const turn_event *turn) {
    return stands(&feed->raw_in, turn->input_sequence[0]) && room_for(&feed->norm, turn);
}

static int signal_can(signal_stage *signal, const turn_event *turn) {
    const uint64_t *end = turn->input_sequence;
    return stands(&signal->norm, end[SIGNAL_INPUT_NORM]) && stands(&signal->exec, end[SIGNAL_INPUT_EXEC]) &&
           stands(&signal->reject, end[SIGNAL_INPUT_REJECT]) &&
           (!signal->seats || stands(&signal->seats->intake_in, end[SIGNAL_INPUT_INTAKE])) && room_for(&signal->signal, turn);
}

static int risk_can(risk_stage *risk, const turn_event *turn) {
    const uint64_t *end = turn->input_sequence;
    return stands(&risk->norm, end[RISK_INPUT_NORM]) && stands(&risk->exec, end[RISK_INPUT_EXEC]) &&
           stands(&risk->signal, end[RISK_INPUT_SIGNAL]) && room_for(&risk->cmd, turn);
}

/* The stage's digest after the turn was run, in *digest; 0 when it cannot be run yet. */
static int turn_made(void *stage, uint32_t id, const turn_event *turn, uint64_t *digest) {
    turn_plan plan;
    retell_plan(turn, &plan);
    feed_stage *feed = stage;
    signal_stage *signal = stage;
    risk_stage *risk = stage;
    gateway *gateway = stage;
    switch (id) {
    case STAGE_FEED:
        if (!feed_can(feed, turn)) return 0;
        feed_turn(feed, &plan);
        *digest = feed->stage.digest;
        return 1;
    case STAGE_SIGNAL:
        if (!signal_can(signal, turn)) return 0;
        signal_turn(signal, &plan);
        *digest = signal->stage.digest;
        return 1;
    case STAGE_RISK:
        if (!risk_can(risk, turn)) return 0;
        risk_turn(risk, &plan);
        *digest = risk->stage.digest;
        return 1;
    default:
        if (!stands(&gateway->cmd, turn->input_sequence[GATEWAY_INPUT_CMD])) return 0;
        gateway_turn(gateway, &plan);
        *digest = gateway->stage.digest;
        return 1;
    }
}

uint64_t retell_turns(void *stage, uint32_t id, const turn_event *turns, uint64_t count, uint32_t *differs) {
    uint64_t digest = 0;
    *differs = 0;
    for (uint64_t done = 0; done < count; done++) {
        if (!turn_made(stage, id, &turns[done], &digest)) return done;
        if (digest == turns[done].digest) continue;
        *differs = 1;
        return done;
    }
    return count;
}
