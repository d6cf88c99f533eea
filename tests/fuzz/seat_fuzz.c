/* seat_fuzz.c: a co-process that writes anything into its orders ring and page, under sanitizers.
 *
 *   request near sense --> mutate --> slot of the orders ring --> seats_poll --> intake --> seats_request
 *   noise in the client's page and cursor                              |                        |
 *                                                                     '--> the seat is cut     '--> signal ring: judged
 *
 * Two seats: the liar's, and an honest one that must never be cut. The order tables lie in a heap block of exactly
 * their size. Its own canaries:
 *   trust      lets through a request for an instrument that does not exist  (no intent may name one)
 *   cut        cuts the honest seat too                                      (the check of it must fail)
 *
 *   usage: seat_fuzz SEED COUNT CANARY|none
 */
#include "fuzz.h"
#include "clock.h"
#include "seat.h"
#include "seat_client.h"
#include <sys/random.h>

#define INSTRUMENTS 4
#define SEATS 2
#define OPEN_ORDERS 16
#define SLOTS 256
#define BATCH 8
#define MUTATIONS_MAX 3
#define MILLISECOND_NS 1000000
#define ANSWER_TURNS_MAX 12 /* who comes again at once is let in a little later */
enum { HONEST, LIAR };

typedef struct {
    fuzz_ring orders;
    fuzz_ring reports;
    ring_writer writer;     /* the honest one's */
    ring_reader reports_in;
    seat_page page;
    seat_client_page client;
    uint32_t epoch;
    uint64_t token;
} client;

static seats self;
static void *tables;
static uint32_t tables_size;
static client clients[SEATS];
static fuzz_ring signal_ring, intake_ring;
static ring_writer signal_out;
static ring_reader signal_in;
static stage_context stage;
static stage_page page;
static control_page control;
static clock_page clock_words;
static turn_plan plan;
static uint64_t exec_sequence, let_through;

/* The client's own, and its to spoil. */
static ring_cursor *cursor_of(const client *who) {
    return (ring_cursor *)((uint8_t *)who->reports.cursor + SEGMENT_HEADER_SIZE);
}

/* ---- what came out -------------------------------------------------------------------------------- */

static void intent_judge(const signal_event *intent) {
    int type = intent->header.type;
    if (type != SIGNAL_NEW && type != SIGNAL_REPLACE && type != SIGNAL_CANCEL) fail("an intent of no kind");
    if (type == SIGNAL_CANCEL) return;
    if (intent->header.instrument >= INSTRUMENTS) fail("an intent for an instrument that does not exist");
    if (intent->price_ticks > REQUEST_VALUE_MAX || intent->quantity_lots > REQUEST_VALUE_MAX)
        fail("an intent beyond its bounds");
}

/* Now and then the venue answers for an order, near one that there is. */
static void venue_answer(uint64_t order_id) {
    exec_event event;
    memset(&event, 0, sizeof event);
    event.header.type = (uint8_t)(EXEC_ACCEPTED + random_below(EXEC_REPEATED - EXEC_ACCEPTED + 1));
    event.header.instrument = random_below(INSTRUMENTS);
    event.order_id = order_id;
    event.target_order_id = random_below(4) ? 0 : order_id - random_below(4);
    event.quantity_lots = random_below(20);
    event.leaves_lots = random_below(2) ? 0 : random_below(20);
    event.price_ticks = 100;
    event.match_id = random_below(1000);
    event.side = (uint8_t)random_below(2);
    (void)seats_execution(&self, &plan, exec_sequence++, &event);
}

static void signal_drain(void) {
    const signal_event *intent;
    while ((intent = ring_front_inline(&signal_in))) {
        intent_judge(intent);
        signal_in.next++;
        if (random_below(4)) venue_answer(signal_in.next - random_below(3));
    }
    ring_release_inline(&signal_in);
}

/* The venue may say that one lives which was given up for dead; a request may not. */
static void request_decide(const request_event *request) {
    const seat *seat = &self.seat[request->seat];
    uint32_t open_before = seat->open_orders;
    seats_request(&self, &plan, self.intake_in.next, request);
    if (seat->open_orders > open_before && seat->open_orders > OPEN_ORDERS) fail("more open orders than allowed");
}

/* Each list is whole, and each order is in one. */
static void tables_judge(void) {
    uint32_t found = 0;
    for (uint32_t i = 0; i <= self.seat_count; i++) {
        uint32_t found_before = found;
        const seat_list *list = i < self.seat_count ? &self.seat[i].open : &self.dead;
        uint32_t before = SEAT_ORDER_NONE;
        for (uint32_t at = list->first; at != SEAT_ORDER_NONE; at = self.order[at].next) {
            if (at >= self.order_count || ++found > self.order_count) fail("a list that leads nowhere");
            if (self.order[at].previous != before) fail("a list that does not lead back");
            before = at;
        }
        if (list->last != before) fail("a list that ends elsewhere");
        if (i < self.seat_count && found - found_before != self.seat[i].open_orders) fail("open orders miscounted");
    }
    if (found != self.order_count) fail("an order in no list");
}

/* Instead of the system's: the place of a token in its table is chance too, and a seed must repeat it. */
ssize_t getrandom(void *target, size_t size, unsigned flags) {
    (void)flags;
    for (size_t at = 0; at < size; at++) ((uint8_t *)target)[at] = (uint8_t)random_next();
    return (ssize_t)size;
}

/* ---- the engine's side ---------------------------------------------------------------------------- */

static void turn(uint64_t after_ns) {
    plan.now_ns += after_ns;
    seats_poll(&self, plan.now_ns, 0);
    self.output_limit = self.signal->next + ring_room_inline(self.signal);
    const request_event *event;
    while ((event = ring_front_inline(&self.intake_in))) {
        request_event request = *event;
        if (request.header.type != SEAT_ATTACHED && request.header.type != SEAT_CUT) {
            if (request.attach_epoch != clients[request.seat].epoch) fail("a request of another attachment");
            let_through++;
        }
        if (is_canary("trust") && request.header.type == REQUEST_NEW) request.header.instrument = 1u << 20;
        request_decide(&request);
        self.intake_in.next++;
    }
    ring_release_inline(&self.intake_in);
    (void)seats_sweep(&self, &plan);
    signal_drain();
    tables_judge();
    canary_sing(tables, tables_size);
}

static void attach(uint32_t index) {
    client *who = &clients[index];
    who->epoch++;
    seat_client_announce(&who->client, who->epoch, 1, 1, plan.now_ns);
    for (int turns = 0; turns < ANSWER_TURNS_MAX && !seat_client_known(&who->page, who->epoch); turns++)
        turn(MILLISECOND_NS);
    if (!seat_client_known(&who->page, who->epoch)) fail("nobody answered");
    seat_client_reset(who->orders.ring, who->page.request_position);
    if (index == HONEST) ring_write_to(&who->orders, &who->writer);
    seat_client_open(&who->client, who->epoch);
    turn(MILLISECOND_NS);
}

/* ---- the co-processes' side ------------------------------------------------------------------------ */

static void request_make(client *who, request_event *request) {
    static const uint8_t kinds[] = {REQUEST_NEW,     REQUEST_NEW,    REQUEST_NEW,       REQUEST_REPLACE,
                                    REQUEST_REPLACE, REQUEST_CANCEL, REQUEST_CANCEL_ALL};
    memset(request, 0, sizeof *request);
    request->header.type = kinds[random_below(sizeof kinds)];
    request->header.instrument = random_below(INSTRUMENTS);
    request->token = ++who->token;
    request->target_token = who->token - random_below(8);
    request->price_ticks = 1 + random_below(1000);
    request->quantity_lots = 1 + random_below(100);
    request->side = (uint8_t)random_below(2);
    request->attach_epoch = who->epoch;
}

static void mutate(request_event *request) {
    uint8_t *bytes = (uint8_t *)request;
    uint32_t at = random_below(random_below(2) ? sizeof *request : 48);
    switch (random_below(5)) {
    case 0: bytes[at] ^= (uint8_t)(1u << random_below(8)); return;
    case 1: bytes[at] = (uint8_t)random_next(); return;
    case 2: bytes[at] = random_below(2) ? 0 : 0xff; return;
    case 3: request->header.instrument = random_below(2) ? NO_INSTRUMENT : INSTRUMENTS + random_below(3); return;
    default: request->price_ticks = (int64_t)random_next(); return;
    }
}

/* Slots as the ring's order has them, each of them wrong in any way, its stamp too. */
static void liar_write(void) {
    client *who = &clients[LIAR];
    const ring_reader *orders = &self.seat[LIAR].orders;
    uint64_t position = orders->next;
    for (uint64_t ahead = 0; ahead < BATCH; ahead++, current++) {
        uint8_t *slot = (uint8_t *)who->orders.ring + RING_SLOTS_OFFSET + (position + ahead) % SLOTS * 128;
        request_event request;
        request_make(who, &request);
        uint32_t mutations = random_below(2) ? random_below(MUTATIONS_MAX + 1) : 0;
        for (uint32_t i = 0; i < mutations; i++) mutate(&request);
        mutated += mutations > 0;
        request.header.stamp = random_below(200) ? position + ahead + 1 : random_next();
        memcpy(slot, &request, sizeof request);
    }
    uint8_t *words = (uint8_t *)&who->client; /* its page, all but the epochs */
    if (random_below(64) == 0)
        for (uint32_t i = 8; i < sizeof who->client; i++) words[i] = (uint8_t)random_next();
    if (random_below(64) == 0) cursor_of(who)->position = random_next();
}

static void reports_read(client *who) {
    while (ring_front_inline(&who->reports_in)) who->reports_in.next++;
    ring_release_inline(&who->reports_in);
}

static void honest_trade(void) {
    client *who = &clients[HONEST];
    request_event request;
    request_make(who, &request);
    if (ring_publish(&who->writer, &request, sizeof request) != RING_OK) fail("no room for the honest one");
    seat_client_beat(&who->client, plan.now_ns);
    reports_read(who);
    if (is_canary("cut") && random_below(100) == 0) seat_bury(&who->page, who->epoch);
    if (who->page.state != SEAT_TAKEN) fail("the honest seat was cut");
}

static void liar_return(void) {
    client *who = &clients[LIAR];
    ring_reader *reports = &who->reports_in;
    cursor_of(who)->position = reports->next = self.seat[LIAR].reports.next;
    attach(LIAR);
}

/* ---- the start --------------------------------------------------------------------------------------- */

static void make_seats(void) {
    clock_calibrate(&clock_words, 0, 1);
    stage = (stage_context){.page = &page, .clock = &clock_words, .control = &control, .id = STAGE_SIGNAL};
    signal_ring = ring_make(4096);
    intake_ring = ring_make(4096);
    ring_write_to(&signal_ring, &signal_out);
    ring_read_from(&signal_ring, &signal_in);
    tables_size = (uint32_t)seats_bytes(SEATS, INSTRUMENTS, SEATS * OPEN_ORDERS);
    tables = fresh(tables_size);
    if (!seats_init(&self, tables, tables_size, SEATS, INSTRUMENTS, SEATS * OPEN_ORDERS)) fail("no seats");
    self.stage = &stage;
    self.signal = &signal_out;
    self.answer_timeout_ns = 1000 * MILLISECOND_NS;
    self.sweep_interval_ns = MILLISECOND_NS;
    self.strategy_epoch = 1;
    ring_write_to(&intake_ring, &self.intake);
    ring_read_from(&intake_ring, &self.intake_in);
    for (uint32_t i = 0; i < SEATS; i++) {
        client *who = &clients[i];
        seat *seat = &self.seat[i];
        who->orders = ring_make(SLOTS);
        who->reports = ring_make(4096);
        ring_read_from(&who->orders, &seat->orders);
        ring_write_to(&who->reports, &seat->reports);
        ring_read_from(&who->reports, &who->reports_in);
        who->token = 8; /* so that an older one's can be named */
        seat->page = &who->page;
        seat->client = &who->client;
        seat->account = (uint16_t)(2 + i);
        seat->strategy = (uint16_t)(100 + i);
        seat->policy = SEAT_CANCEL;
        seat->open_orders_max = OPEN_ORDERS;
        seat->messages_per_second_max = 1000000;
        seat->heartbeat_ns = 100 * MILLISECOND_NS;
        seat->budget_ns = 20 * MILLISECOND_NS;
    }
    plan.now_ns = 1000 * MILLISECOND_NS;
}

int main(int argc, char **argv) {
    uint64_t count = fuzz_begin(argc, argv);
    make_seats();
    attach(HONEST);
    attach(LIAR);
    while (mutated < count) {
        if (clients[LIAR].page.state != SEAT_TAKEN) liar_return();
        liar_write();
        honest_trade();
        turn(MILLISECOND_NS);
        if (random_below(2)) reports_read(&clients[LIAR]);
    }
    if (clients[HONEST].page.cuts) fail("the honest seat was cut");
    for (uint32_t i = 0; i < SEATS; i++) {
        ring_free(clients[i].orders);
        ring_free(clients[i].reports);
    }
    ring_free(signal_ring);
    ring_free(intake_ring);
    free(tables);
    return fuzz_end(let_through);
}
