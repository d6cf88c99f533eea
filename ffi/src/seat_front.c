/* seat_front.c: the front end of the seats: what co-processes wrote, copied, checked and put on record.
 *
 *   client page:  attach_epoch changed?  --> (SEAT_CUT)  SEAT_ATTACHED
 *                 silent, busy, dead?    --> SEAT_CUT
 *   orders ring:  slot --copy--> private memory --checks--> intake
 *                                                    \-------> SEAT_CUT
 *
 * Each look is bounded: SEAT_POLL_MAX requests of each seat, and never more than intake has room for; what
 * waits then fills the co-process's own ring, which tells it so.
 */
#include "seat.h"
#include "clock_inline.h"
#include "ring_inline.h"
#include "seat_parts.h"
#include <string.h>
#include <sys/random.h>

#define SECOND_NS 1000000000
#define CONTROL_EVENTS 3       /* that one look may publish of a seat: a cut, an attachment, a cut */
#define FLOOD_FACTOR 4         /* requests of one second, refused ones included: this often the rate allowed, */
#define FLOOD_FLOOR 1000       /* and so many more; an attachment counts as one */
#define ATTACH_INTERVAL_NS 10000000 /* between two attachments: each walks every instrument in the turn */
#define TOKEN_SEED_FLAG 0x8000000000000000u

/* ---- intake ------------------------------------------------------------------------------------- */

static void intake_publish(seats *self, request_event *request, uint32_t index) {
    request_event *event = ring_claim_inline(&self->intake);
    if (!event) return; /* cannot be: room was counted before */
    request->seat = (uint16_t)index;
    request->header.publish_time_ns = clock_read(self->stage->clock);
    memcpy((uint8_t *)event + sizeof(uint64_t), (const uint8_t *)request + sizeof(uint64_t), sizeof *event - sizeof(uint64_t));
    ring_commit_inline(&self->intake);
}

static void state_publish(seats *self, uint32_t index, uint8_t type, uint32_t reason, uint64_t token, uint64_t now_ns) {
    request_event event;
    memset(&event, 0, sizeof event);
    event.header.type = type;
    event.header.instrument = NO_INSTRUMENT;
    event.header.origin_time_ns = event.header.ingress_time_ns = now_ns;
    event.attach_epoch = self->seat[index].epoch;
    event.token = token;
    event.reason = (uint16_t)reason;
    intake_publish(self, &event, index);
}

/* ---- attaching and cutting ---------------------------------------------------------------------- */

static void cut(seats *self, uint32_t index, uint32_t reason, uint64_t now_ns) {
    seat *seat = &self->seat[index];
    if (seat->state != SEAT_TAKEN) return;
    state_publish(self, index, SEAT_CUT, reason, 0, now_ns);
    seat->state = reason == SEAT_CUT_DETACHED ? SEAT_EMPTY : SEAT_CUT_OFF;
    seat->reading = 0;
    seat->page->reason = reason;
    seat->page->cuts++;
    __atomic_store_n(&seat->page->state, seat->state, __ATOMIC_RELEASE); /* partner: the co-process, which then reads why */
}

/* A number that no co-process knows, once a run for each seat; in virtual time, where runs must be alike, always the same. */
static uint64_t token_seed(const seat *seat, int timeless) {
    uint64_t seed = 0;
    if (seat->page->attachments) return 0;
    if (timeless || getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = seat->strategy;
    return seed | TOKEN_SEED_FLAG;
}

static void attach(seats *self, uint32_t index, uint32_t epoch, uint64_t now_ns, int timeless) {
    seat *seat = &self->seat[index];
    cut(self, index, SEAT_CUT_DEAD, now_ns);
    seat->epoch = epoch;
    seat->state = SEAT_TAKEN;
    seat->reading = seat->reports_lost = 0;
    seat->heartbeat_seen_ns = seat->busy_seen_ns = now_ns;
    seat->busy_word = 0;
    seat->attach_time_ns = now_ns;
    state_publish(self, index, SEAT_ATTACHED, SEAT_CUT_NONE, token_seed(seat, timeless), now_ns);
    seat->page->reason = SEAT_CUT_NONE;
    seat->page->request_position = seat->orders.next;
    seat->page->attachments++;
    __atomic_store_n(&seat->page->state, SEAT_TAKEN, __ATOMIC_RELAXED);
    __atomic_store_n(&seat->page->attach_epoch, epoch, __ATOMIC_RELEASE); /* partner: the co-process, which waits for it */
}

/* Requests and attachments of one second, counted over attachments: whoever comes anew has no new allowance. */
static int floods(seat *seat, uint64_t now_ns) {
    if (seat_since(seat->window_time_ns, now_ns) >= SECOND_NS) {
        seat->window_time_ns = now_ns;
        seat->window_requests = 0;
    }
    return ++seat->window_requests > FLOOD_FACTOR * (uint64_t)seat->messages_per_second_max + FLOOD_FLOOR;
}

/* Somebody new has come: what its predecessor wrote is not read any more. The word that says so is the co-process's
 * own, and may move on as fast as memory allows: it is acted on now and then, and for the last time it was moved. */
static void greet(seats *self, uint32_t index, uint64_t now_ns, int timeless) {
    seat *seat = &self->seat[index];
    uint32_t epoch = __atomic_load_n(&seat->client->attach_epoch, __ATOMIC_ACQUIRE); /* partner: hotpath_client_announce */
    if (epoch == seat->epoch) return;
    seat->reading = 0;
    if (!timeless && seat_since(seat->attach_time_ns, now_ns) < ATTACH_INTERVAL_NS) return;
    if (!floods(seat, now_ns)) attach(self, index, epoch, now_ns, timeless);
}

/* ---- looking after a seat ------------------------------------------------------------------------ */

/* A word of the co-process's own: when did it last change? What it says is nobody's business. */
static uint64_t unchanged_ns(const uint64_t *word, uint64_t *seen_word, uint64_t *seen_time_ns, uint64_t now_ns) {
    uint64_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (value != *seen_word) {
        *seen_word = value;
        *seen_time_ns = now_ns;
    }
    return seat_since(*seen_time_ns, now_ns);
}

static uint32_t silence(seat *seat, uint64_t now_ns) {
    uint64_t quiet_ns = unchanged_ns(&seat->client->heartbeat_time_ns, &seat->heartbeat_word, &seat->heartbeat_seen_ns, now_ns);
    uint64_t busy_ns = unchanged_ns(&seat->client->busy_since_ns, &seat->busy_word, &seat->busy_seen_ns, now_ns);
    if (seat->budget_ns && seat->busy_word && busy_ns > seat->budget_ns) return SEAT_CUT_BUDGET;
    return quiet_ns > seat->heartbeat_ns ? SEAT_CUT_HEARTBEAT : SEAT_CUT_NONE;
}

static uint32_t trouble(seat *seat, uint64_t now_ns, int timeless) {
    if (__atomic_load_n(&seat->page->dead_epoch, __ATOMIC_RELAXED) == seat->epoch) return SEAT_CUT_DEAD;
    if (seat->reports_lost) return SEAT_CUT_REPORTS_FULL;
    for (uint32_t i = 0; i < seat->reports.gate_count; i++)
        if (__atomic_load_n(&seat->reports.gate[i]->position, __ATOMIC_RELAXED) > seat->reports.next) return SEAT_CUT_CURSOR;
    return timeless ? SEAT_CUT_NONE : silence(seat, now_ns);
}

static void look(seats *self, uint32_t index, uint64_t now_ns, int timeless) {
    seat *seat = &self->seat[index];
    if (seat->state != SEAT_TAKEN) return;
    /* A front end that was itself away saw no heartbeat either. */
    if (seat_since(self->look_time_ns, now_ns) > seat->heartbeat_ns / 4) seat->heartbeat_seen_ns = seat->busy_seen_ns = now_ns;
    uint32_t open_epoch = __atomic_load_n(&seat->client->open_epoch, __ATOMIC_ACQUIRE); /* partner: hotpath_client_open */
    if (!seat->reading && open_epoch == seat->epoch) seat->reading = 1;
    uint32_t reason = trouble(seat, now_ns, timeless);
    if (reason != SEAT_CUT_NONE) cut(self, index, reason, now_ns);
}

/* ---- requests ------------------------------------------------------------------------------------ */

static int within(int64_t value) { return value <= REQUEST_VALUE_MAX && value >= -REQUEST_VALUE_MAX; }

static int orders_well(const seats *self, const request_event *request) {
    if (request->header.type == REQUEST_CANCEL) return 1;
    if (request->header.instrument >= self->instrument_count) return 0;
    if (request->side > SIDE_SELL || request->time_in_force > TIF_IOC) return 0;
    return request->token && within(request->price_ticks) && within(request->quantity_lots);
}

/* SEAT_CUT_NONE when the request, a private copy, may be decided on. */
static uint32_t check(const seats *self, const seat *seat, const request_event *request) {
    if (request->attach_epoch != seat->epoch) return SEAT_CUT_MALFORMED;
    if (request->token > REQUEST_VALUE_MAX || request->target_token > REQUEST_VALUE_MAX) return SEAT_CUT_MALFORMED;
    if (!within(request->bid_price_ticks) || !within(request->ask_price_ticks)) return SEAT_CUT_MALFORMED;
    if (!(request->score >= -1.0 && request->score <= 1.0)) return SEAT_CUT_MALFORMED; /* a NaN is neither */
    switch (request->header.type) {
    case REQUEST_NEW:
    case REQUEST_REPLACE:
    case REQUEST_CANCEL: return orders_well(self, request) ? SEAT_CUT_NONE : SEAT_CUT_MALFORMED;
    case REQUEST_CANCEL_ALL: return SEAT_CUT_NONE;
    case REQUEST_DETACH: return SEAT_CUT_DETACHED;
    case REQUEST_RAISED: return SEAT_CUT_RAISED;
    default: return SEAT_CUT_MALFORMED;
    }
}

/* 1 with a copy of the next request; 0 when there is none; the seat is cut when its ring cannot be true. */
static int request_take(seats *self, uint32_t index, request_event *request, uint64_t now_ns) {
    ring_reader *orders = &self->seat[index].orders;
    const uint64_t *slot = ring_slot(orders->slots, orders->next, orders->mask, orders->slot_shift);
    uint64_t stamp = __atomic_load_n(slot, __ATOMIC_ACQUIRE); /* P1 */
    if (__builtin_expect(stamp != orders->next + 1, 1)) {
        uint64_t lap_before = orders->next > orders->mask ? orders->next - orders->mask : 0;
        if (stamp && stamp != lap_before) cut(self, index, SEAT_CUT_SEQUENCE, now_ns);
        return 0;
    }
    memcpy(request, slot, sizeof *request);
    return 1;
}

/* Which market event it answers is the co-process's to say, for the record; its times are ours. */
static void request_pass(seats *self, uint32_t index, request_event *request, uint64_t now_ns) {
    const seat *seat = &self->seat[index];
    request->request_sequence = seat->orders.next;
    request->header.flags = request->side == SIDE_SELL ? FLAG_SELL : 0;
    if (request->header.cause_input != INPUT_NORM) request->header.cause_input = INPUT_NONE;
    request->header.origin_time_ns = now_ns;
    request->header.ingress_time_ns = clock_read(self->stage->clock);
    request->reason = SEAT_CUT_NONE;
    memset(request->reserved, 0, sizeof request->reserved);
    seat_counter(self)[SIGNAL_REQUESTS]++;
    seat->page->requests++;
    intake_publish(self, request, index);
}

static void requests_read(seats *self, uint32_t index, uint64_t now_ns) {
    seat *seat = &self->seat[index];
    request_event request;
    uint64_t start = seat->orders.next;
    while (seat->reading && seat->orders.next < start + SEAT_POLL_MAX && request_take(self, index, &request, now_ns)) {
        uint32_t reason = floods(seat, now_ns) ? SEAT_CUT_RATE : check(self, seat, &request);
        if (reason == SEAT_CUT_NONE) request_pass(self, index, &request, now_ns);
        else cut(self, index, reason, now_ns);
        seat->orders.next++;
    }
    if (seat->orders.next != start) ring_release_inline(&seat->orders);
}

/* Room in intake for all that one look at a seat may publish; the gates are looked at when it seems to be short. */
static int intake_room(seats *self) {
    const uint64_t needed = SEAT_POLL_MAX + CONTROL_EVENTS;
    return self->intake.next + needed <= self->intake.limit || ring_room_inline(&self->intake) >= needed;
}

void seats_poll(seats *self, uint64_t now_ns, int timeless) {
    int looking = timeless || seat_since(self->look_time_ns, now_ns) >= SEAT_LOOK_INTERVAL_NS;
    for (uint32_t index = 0; index < self->seat_count; index++) {
        seat *seat = &self->seat[index];
        if (!seat->client || (!looking && !seat->reading)) continue;
        if (!intake_room(self)) return;
        if (looking) greet(self, index, now_ns, timeless);
        if (seat->reading) requests_read(self, index, now_ns); /* first: who has left in order is not dead */
        if (looking) look(self, index, now_ns, timeless);
    }
    if (looking) self->look_time_ns = now_ns;
}

void seat_bury(seat_page *page, uint32_t attach_epoch) {
    __atomic_store_n(&page->dead_epoch, attach_epoch, __ATOMIC_RELAXED); /* partner: trouble; a late look costs 100 us */
}
