/* rebuild.c: recorded turns run again, and front ends taken up. See include/rebuild.h. */
#include "rebuild.h"
#include "book_state.h"
#include "id_map_inline.h"
#include "retell.h"
#include "ring_inline.h"
#include <string.h>

#define PREFIX_SIZE 2 /* of a message in a recorded feed */

/* ---- turns -------------------------------------------------------------------------------------- */

static stage_context *context(const rebuild *self) {
    switch (self->id) {
    case STAGE_FEED: return &((feed_stage *)self->stage)->stage;
    case STAGE_SIGNAL: return &((signal_stage *)self->stage)->stage;
    default: return &((risk_stage *)self->stage)->stage;
    }
}

static uint64_t output_next(const rebuild *self) {
    switch (self->id) {
    case STAGE_FEED: return ((const feed_stage *)self->stage)->norm.next;
    case STAGE_SIGNAL: return ((const signal_stage *)self->stage)->signal.next;
    default: return ((const risk_stage *)self->stage)->cmd.next;
    }
}

static void turn_run(const rebuild *self, const turn_plan *plan) {
    switch (self->id) {
    case STAGE_FEED: feed_turn(self->stage, plan); return;
    case STAGE_SIGNAL: signal_turn(self->stage, plan); return;
    default: risk_turn(self->stage, plan); return;
    }
}

/* The input's events up to `end` into its private ring, each under its own number: 0 when more must be given. */
static int input_fill(rebuild *self, uint32_t index, uint64_t end) {
    rebuild_input *input = &self->input[index];
    while (input->ring.next < end) {
        uint64_t sequence = input->ring.next;
        if (sequence < input->begin || sequence >= input->end) {
            self->input_wanted = index;
            return 0;
        }
        uint8_t *slot = ring_claim_inline(&input->ring);
        if (!slot) { /* cannot be: a turn takes no more than a ring holds, and the one before took all */
            context(self)->page->error = STAGE_ERROR_RESOURCE;
            return 1;
        }
        uint64_t size = (uint64_t)1 << input->ring.slot_shift;
        memcpy(slot + sizeof(uint64_t), input->events + (sequence - input->begin) * size + sizeof(uint64_t), size - sizeof(uint64_t));
        ring_commit_inline(&input->ring);
    }
    return 1;
}

static int inputs_fill(rebuild *self, const turn_plan *plan) {
    for (uint32_t i = 0; i < INPUTS_MAX; i++)
        if (self->input[i].ring.slots && !input_fill(self, i, plan->input_sequence[i])) return 0;
    return 1;
}

static int is_as_recorded(const rebuild *self, const turn_event *record) {
    const stage_context *stage = context(self);
    return stage->turn == record->turn && stage->digest == record->digest && output_next(self) == record->output_sequence;
}

int rebuild_run(rebuild *self, uint64_t turns_max) {
    for (uint64_t run = 0; self->turn < self->turn_count; run++) {
        if (run == turns_max) return REBUILD_PAUSED;
        const turn_event *record = &self->turns[self->turn];
        turn_plan plan;
        retell_plan(record, &plan);
        if (!inputs_fill(self, &plan)) return REBUILD_HUNGRY;
        turn_run(self, &plan);
        if (context(self)->page->error != STAGE_ERROR_NONE) return REBUILD_BROKEN;
        if (!is_as_recorded(self, record)) return REBUILD_DIFFERS;
        self->turn++;
    }
    return REBUILD_DONE;
}

int rebuild_cut_turn(rebuild *self, const turn_plan *plan) {
    if (!inputs_fill(self, plan)) return REBUILD_HUNGRY;
    turn_run(self, plan);
    return context(self)->page->error == STAGE_ERROR_NONE ? REBUILD_DONE : REBUILD_BROKEN;
}

void rebuild_record(stage_context *stage, const turn_plan *plan, const ring_writer *output) {
    stage->held_plan = plan;
    stage->held_output = output;
    stage_record_held(stage);
}

/* ---- rings --------------------------------------------------------------------------------------- */

void rebuild_reader_place(ring_reader *reader, uint64_t sequence) {
    reader->next = sequence;
    ring_release_inline(reader);
}

void rebuild_ring_place(ring_writer *ring, ring_reader *reader, uint64_t sequence) {
    ring->next = ring->limit = sequence;
    if (reader) rebuild_reader_place(reader, sequence);
}

/* ---- front ends ----------------------------------------------------------------------------------- */

int rebuild_source(source *source, uint64_t sequence, uint64_t start_time_ns, uint64_t first_time_ns) {
    for (source->sequence = 1; source->sequence <= sequence; source->sequence++) {
        if (source->size - source->offset < PREFIX_SIZE) return 0;
        uint32_t length = (uint32_t)source->bytes[source->offset] << 8 | source->bytes[source->offset + 1];
        if (source->size - source->offset - PREFIX_SIZE < length) return 0;
        source->offset += PREFIX_SIZE + length;
    }
    source->start_time_ns = start_time_ns;
    source->first_time_ns = first_time_ns;
    if (!source->speed_ppm) source->speed_ppm = 1000000;
    return 1;
}

void rebuild_line(line *line, const uint8_t *session, uint64_t expected, uint64_t gap_end, uint64_t now_ns) {
    memcpy(line->session, session, sizeof line->session);
    line->followed = line->confirmed = 1;
    line->expected = line->highest = line->first_sequence = expected;
    line->heard_time_ns = line->watch_time_ns = now_ns;
    for (uint32_t i = 0; i < LINE_SIDES_MAX; i++) line->side[i].heard_time_ns = now_ns;
    if (!gap_end) return;
    line->gap_open = 1;
    line->gap_end = line->hole_end = line->highest = gap_end > expected ? gap_end : expected;
    line->hole_expected = expected;
    line->hole_time_ns = line->gap_start_time_ns = now_ns;
}

void rebuild_seat(seat *seat, uint32_t attach_epoch, uint32_t state, uint32_t reason, uint64_t request_next, uint64_t now_ns) {
    seat->epoch = attach_epoch;
    seat->state = state;
    seat->attach_time_ns = seat->heartbeat_seen_ns = seat->busy_seen_ns = now_ns;
    if (request_next > seat->orders.next) rebuild_reader_place(&seat->orders, request_next);
    seat->page->reason = reason;
    if (state == SEAT_TAKEN && seat->page->attach_epoch != attach_epoch) seat->page->request_position = seat->orders.next;
    __atomic_store_n(&seat->page->state, state, __ATOMIC_RELEASE); /* partner: the co-process, as in seat_front.c */
    if (state == SEAT_TAKEN) __atomic_store_n(&seat->page->attach_epoch, attach_epoch, __ATOMIC_RELEASE);
}

void rebuild_paper(paper *paper, const norm_event *events, uint64_t count) {
    exec_event report;
    for (uint64_t i = 0; i < count; i++) {
        while (paper_market(paper, &events[i]) != PAPER_OK)
            if (!paper_poll(paper, &report)) return; /* cannot be: it has no orders to tell of */
    }
}

/* ---- images --------------------------------------------------------------------------------------- */

int rebuild_book(book *self, const void *image, uint64_t bytes) {
    const book own = *self, *other = image;
    if (bytes < sizeof own || memcmp(&other->config, &own.config, sizeof own.config) != 0) return 0;
    if (other->map.mask != own.map.mask || other->blocks.units != own.blocks.units) return 0;
    memcpy(self, image, bytes);
    self->instruments = own.instruments;
    self->orders = own.orders;
    self->levels = own.levels;
    self->map.lines = own.map.lines;
    self->blocks.memory = own.blocks.memory;
    self->blocks.state = own.blocks.state;
    return 1;
}

/* What the turns decide by; the terms, the pages and the front end's part stay as they are. */
static void seat_restore(seat *self, const seat *other) {
    self->open = other->open;
    self->open_orders = other->open_orders;
    self->attached = other->attached;
    self->attach_epoch = other->attach_epoch;
    self->last_token = other->last_token;
    self->token_seed = other->token_seed;
    self->credit = other->credit;
    self->credit_time_ns = other->credit_time_ns;
}

/* The memory begins with the seats themselves (seats_init); the id maps lie in it, each with a pointer into it. */
int rebuild_seats(seats *self, const void *image, uint64_t bytes) {
    seat own[SEATS_MAX];
    id_map *ids = self->ids, *tokens = self->tokens;
    if (self->seat_count > SEATS_MAX || bytes < self->seat_count * sizeof(seat)) return 0;
    id_map_cell *id_cell = ids->cell, *token_cell = tokens->cell;
    memcpy(own, self->seat, self->seat_count * sizeof(seat));
    memcpy(self->seat, image, bytes);
    for (uint32_t i = 0; i < self->seat_count; i++) {
        seat_restore(&own[i], &self->seat[i]);
        self->seat[i] = own[i];
    }
    ids->cell = id_cell;
    tokens->cell = token_cell;
    return 1;
}
