/* rehearsal.c: an order that is never sent. See include/rehearsal.h. */
#include "rehearsal.h"
#include "limit_copy.h"
#include "clock_inline.h"
#include "intent.h"
#include "ring_inline.h"
#include "segment.h"
#include <string.h>

#define SLOTS 16u
#define SLOT_BYTES 128u
#define ORDERS_MAX 8u
#define RINGS 6 /* signal, cmd, exec in, exec out, two of turn records */
#define PRICE_TICKS 1000000
#define ALIGN(size) (((size) + CACHE_LINE_SIZE - 1) & ~(uint64_t)(CACHE_LINE_SIZE - 1))

_Static_assert(sizeof(signal_event) <= SLOT_BYTES && sizeof(cmd_event) <= SLOT_BYTES && sizeof(exec_event) <= SLOT_BYTES &&
                   sizeof(turn_event) <= SLOT_BYTES,
               "one slot for each event");

struct rehearsal {
    risk_stage risk;
    gateway *gateway;
    ring_writer signal;
    ring_writer exec; /* the answers that the venue would give */
    uint64_t played;
    stage_page risk_page;
    stage_page gateway_page;
    control_page control;
    instrument_entry instrument;
    struct {
        limits_header header;
        instrument_limits instrument;
    } limits;
    ring_cursor unread; /* of rings that the stages release without reading */
    const clock_page *clock;
};

static uint64_t ring_room_bytes(void) { return ALIGN(ring_bytes(SLOTS, SLOT_BYTES)); }
static uint64_t cursor_bytes(void) { return ALIGN(SEGMENT_HEADER_SIZE + sizeof(ring_cursor)); }

static gateway_config config_small(const gateway_config *config) {
    gateway_config small = *config;
    small.orders_max = ORDERS_MAX;
    small.instrument_count = 1;
    small.replay = 0; /* the branches of a live gateway */
    return small;
}

uint64_t rehearsal_bytes(const gateway_config *config) {
    gateway_config small = config_small(config);
    uint64_t gateway = gateway_bytes(&small);
    if (!gateway) return 0;
    return ALIGN(sizeof(rehearsal)) + RINGS * (ring_room_bytes() + cursor_bytes()) + ALIGN(gate_bytes(1, ORDERS_MAX)) +
           ALIGN(gateway) + ALIGN(intent_bytes(ORDERS_MAX));
}

/* ---- laying out ------------------------------------------------------------------------------------ */

static void *take(uint8_t **next, uint64_t bytes) {
    void *taken = *next;
    *next += ALIGN(bytes);
    return taken;
}

/* A ring in private memory; the kernels know no other kind. `reader` may be NULL: nobody reads it. */
static int ring_make(uint8_t **next, ring_writer *writer, ring_reader *reader) {
    segment_header ring = {.capacity = SLOTS, .slot_size = SLOT_BYTES, .kind = SEGMENT_RING};
    segment_header cursor = {.capacity = 1, .kind = SEGMENT_CURSOR};
    void *slots = take(next, ring_room_bytes()), *position = take(next, cursor_bytes());
    segment_seal(slots, &ring);
    segment_seal(position, &cursor);
    if (ring_writer_attach(writer, slots) != RING_OK) return 0;
    if (!reader) return 1;
    return ring_writer_gate(writer, position) == RING_OK && ring_reader_attach(reader, slots, position, CURSOR_GATING) == RING_OK;
}

static int rings_make(rehearsal *self, uint8_t **next) {
    risk_stage *risk = &self->risk;
    gateway *gateway = self->gateway;
    risk->norm.cursor = gateway->norm.cursor = &self->unread;
    return ring_make(next, &self->signal, &risk->signal) && ring_make(next, &risk->cmd, &gateway->cmd) &&
           ring_make(next, &self->exec, &risk->exec) && ring_make(next, &gateway->exec, NULL) &&
           ring_make(next, &risk->stage.ctl, NULL) && ring_make(next, &gateway->stage.ctl, NULL);
}

/* Limits that let the order through, by the same comparisons as any. */
static void limits_make(rehearsal *self) {
    limits_header *header = &self->limits.header;
    limits_clear(header, 1, 0);
    header->version = 1;
    header->stale_after_ns = LIMIT_OFF;
    header->firm.gross_value_micros_max = INT64_MAX / 2;
    header->firm.open_orders_max = ORDERS_MAX;
    header->firm.messages_per_second_max = 1000000000;
    instrument_limits *limits = &self->limits.instrument;
    limits->position_lots_max = limits->order_quantity_lots_max = 1000;
    limits->order_value_micros_max = INT64_MAX / 2;
    limits->collar_ppm_max = 100000;
    limits_seal(header);
    self->risk.gate.limits = header;
    self->risk.limits_copy[0] = self->risk.limits_copy[1] = header;
}

static void market_make(rehearsal *self, const turn_plan *plan) {
    norm_event event = {.header = {.type = NORM_ADD}, .bid_price_ticks = PRICE_TICKS - 100, .ask_price_ticks = PRICE_TICKS};
    gate_market(&self->risk.gate, plan, &event);
}

static void stage_make(stage_context *stage, stage_page *page, control_page *control, const clock_page *clock) {
    stage->page = page;
    stage->control = control;
    stage->clock = clock;
}

rehearsal *rehearsal_init(void *memory, uint64_t bytes, const gateway_config *config, const clock_page *clock) {
    uint64_t needed = rehearsal_bytes(config);
    if (!needed || bytes < needed || (uintptr_t)memory % CACHE_LINE_SIZE) return NULL;
    memset(memory, 0, needed);
    gateway_config small = config_small(config);
    uint8_t *next = memory;
    rehearsal *self = take(&next, sizeof *self);
    self->clock = clock;
    self->instrument = (instrument_entry){.symbol = "WARM", .flags = INSTRUMENT_TRADED, .tick_value_micros = 100,
                                          .price_increment_ticks = 100, .round_lot_lots = 100};
    uint64_t gateway_size = gateway_bytes(&small), gate_size = gate_bytes(1, ORDERS_MAX);
    self->gateway = gateway_init(take(&next, gateway_size), gateway_size, &small);
    if (!self->gateway || !gate_init(&self->risk.gate, take(&next, gate_size), gate_size, 1, ORDERS_MAX)) return NULL;
    stage_make(&self->risk.stage, &self->risk_page, &self->control, clock);
    stage_make(&self->gateway->stage, &self->gateway_page, &self->control, clock);
    self->gateway->socket = 0;
    self->gateway->instruments = self->risk.gate.entry = &self->instrument;
    self->risk.gate.counter = self->risk_page.counter;
    limits_make(self);
    if (!rings_make(self, &next)) return NULL;
    segment_header intents = {.capacity = ORDERS_MAX, .slot_size = sizeof(intent_record), .kind = SEGMENT_INTENTS};
    void *segment = take(&next, intent_bytes(ORDERS_MAX));
    segment_seal(segment, &intents);
    if (gateway_open(self->gateway, segment, intent_bytes(ORDERS_MAX)) != GATEWAY_OK) return NULL;
    market_make(self, &(turn_plan){.now_ns = 1});
    return self;
}

/* ---- one order ------------------------------------------------------------------------------------- */

static void intent_write(rehearsal *self, uint64_t now_ns) {
    signal_event *intent = ring_claim_inline(&self->signal);
    if (!intent) return;
    memset((uint8_t *)intent + sizeof(uint64_t), 0, sizeof *intent - sizeof(uint64_t));
    intent->header.type = SIGNAL_NEW;
    intent->header.cause_input = INPUT_NORM;
    intent->header.cause_sequence = self->played;
    intent->header.ingress_time_ns = intent->header.publish_time_ns = now_ns;
    intent->price_ticks = PRICE_TICKS;
    intent->quantity_lots = 100;
    intent->strategy = intent->account = intent->strategy_epoch = 1;
    intent->time_in_force = TIF_IOC;
    ring_commit_inline(&self->signal);
}

/* The venue takes it off at once: what the gate had reserved is free for the next one. */
static void answer_write(rehearsal *self, uint64_t order_id) {
    exec_event *answer = ring_claim_inline(&self->exec);
    if (!answer) return;
    memset((uint8_t *)answer + sizeof(uint64_t), 0, sizeof *answer - sizeof(uint64_t));
    answer->header.type = EXEC_CANCELED;
    answer->order_id = order_id;
    ring_commit_inline(&self->exec);
}

int rehearsal_run(rehearsal *self, const risk_stage *risk, const gateway *gateway) {
    turn_plan plan = {.now_ns = clock_read(self->clock), .limits_version = 1};
    self->played++;
    intent_write(self, plan.now_ns);
    plan.input_sequence[RISK_INPUT_SIGNAL] = self->signal.next;
    plan.input_sequence[RISK_INPUT_EXEC] = self->exec.next;
    plan.input_sequence[RISK_OUTPUT_LIMIT] = self->risk.cmd.next + 1;
    risk_turn(&self->risk, &plan);
    memset(plan.input_sequence, 0, sizeof plan.input_sequence);
    plan.input_sequence[GATEWAY_INPUT_CMD] = self->risk.cmd.next;
    plan.input_sequence[GATEWAY_INPUT_SESSION] = 1;
    gateway_turn(self->gateway, &plan);
    int stored = self->gateway->intents.next == 1;
    gateway_forget(self->gateway);
    answer_write(self, self->risk.signal.next);
    if (risk) risk_expect(risk);
    if (gateway) gateway_expect_order(gateway);
    return stored;
}
