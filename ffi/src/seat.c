/* seat.c: the seats' part of the signal stage's turn. See include/seat.h. */
#include "seat.h"
#include "seat_orders.h"
#include "seat_parts.h"
#include "signal_inline.h"

#define NANOS 1000000000
#define IDS_PER_ORDER 4    /* its own, its predecessor's, a replacement's, a cancel's */
#define TOKENS_PER_ORDER 3
#define DEAD_PER_OPEN 3    /* dead orders remembered for each that may be open */
#define DEAD_MIN 64
#define DOUBLINGS_MAX 8    /* of the wait for a cancel's answer */

/* What caused an intent or a report. */
typedef struct {
    uint64_t sequence;
    uint8_t input;
    uint64_t origin_time_ns;
    uint64_t ingress_time_ns;
} seat_cause;

/* ---- memory ------------------------------------------------------------------------------------- */

static uint64_t lines(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) / CACHE_LINE_SIZE * CACHE_LINE_SIZE; }

static uint64_t orders_kept(uint32_t open_orders) { return (uint64_t)open_orders * (1 + DEAD_PER_OPEN) + DEAD_MIN; }

uint64_t seats_bytes(uint32_t seat_count, uint32_t instrument_count, uint32_t open_orders) {
    uint64_t orders = orders_kept(open_orders);
    return lines(seat_count * sizeof(seat)) + lines((uint64_t)seat_count * instrument_count * sizeof(int64_t)) +
           lines(orders * sizeof(seat_order)) + 2 * lines(sizeof(id_map)) +
           lines(id_map_cells(orders * IDS_PER_ORDER) * sizeof(id_map_cell)) +
           lines(id_map_cells(orders * TOKENS_PER_ORDER) * sizeof(id_map_cell));
}

static void *take(uint8_t **next, uint64_t bytes) {
    void *taken = *next;
    *next += lines(bytes);
    return taken;
}

static id_map *map_take(uint8_t **next, uint64_t ids) {
    id_map *map = take(next, sizeof *map);
    id_map_init(map, take(next, id_map_cells(ids) * sizeof(id_map_cell)), id_map_cells(ids));
    return map;
}

int seats_init(seats *self, void *memory, uint64_t bytes, uint32_t seat_count, uint32_t instrument_count,
               uint32_t open_orders) {
    if (seat_count > SEATS_MAX || bytes < seats_bytes(seat_count, instrument_count, open_orders)) return 0;
    memset(memory, 0, bytes);
    uint64_t orders = orders_kept(open_orders);
    uint8_t *next = memory;
    self->seat = take(&next, seat_count * sizeof(seat));
    int64_t *position = take(&next, (uint64_t)seat_count * instrument_count * sizeof(int64_t));
    self->order = take(&next, orders * sizeof(seat_order));
    self->ids = map_take(&next, orders * IDS_PER_ORDER);
    self->tokens = map_take(&next, orders * TOKENS_PER_ORDER);
    self->seat_count = seat_count;
    self->instrument_count = instrument_count;
    self->order_count = (uint32_t)orders;
    self->dead = (seat_list){SEAT_ORDER_NONE, SEAT_ORDER_NONE};
    for (uint32_t i = 0; i < self->order_count; i++) list_add(self, &self->dead, i);
    for (uint32_t i = 0; i < seat_count; i++) {
        self->seat[i].open = (seat_list){SEAT_ORDER_NONE, SEAT_ORDER_NONE};
        self->seat[i].position_lots = position + (uint64_t)i * instrument_count;
        self->seat[i].credit = INT64_MAX; /* cut down to the bucket's depth at the first message */
    }
    return 1;
}

/* ---- reports -------------------------------------------------------------------------------------- */

/* The slot of a report with all that every report has; NULL when nobody listens or there is no room, which
 * the front end then cuts the seat for. */
static report_event *report_claim(seats *self, seat *seat, uint8_t type, const seat_cause *cause, uint32_t instrument) {
    if (!seat->attached || !seat->reports.slots) return NULL;
    report_event *event = ring_claim_inline(&seat->reports);
    if (!event) {
        seat->reports_lost = 1;
        seat->page->reports_lost++;
        return NULL;
    }
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.type = type;
    event->header.cause_sequence = cause->sequence;
    event->header.cause_input = cause->input;
    event->header.origin_time_ns = cause->origin_time_ns;
    event->header.ingress_time_ns = cause->ingress_time_ns;
    event->header.instrument = instrument;
    event->attach_epoch = seat->attach_epoch;
    if (instrument < self->instrument_count) event->position_lots = seat->position_lots[instrument];
    return event;
}

static void report_commit(seats *self, seat *seat, report_event *event) {
    if (event->side == SIDE_SELL) event->header.flags |= FLAG_SELL;
    event->header.publish_time_ns = clock_read(self->stage->clock);
    ring_commit_inline(&seat->reports);
    seat->page->reports++;
    seat_counter(self)[SIGNAL_REPORTS]++;
}

/* A request that the seat itself declines. */
static void refuse(seats *self, const seat_cause *cause, const request_event *request, uint16_t reason) {
    seat *seat = &self->seat[request->seat];
    seat->page->refused++;
    seat_counter(self)[SIGNAL_REQUESTS_REFUSED]++;
    uint8_t type = request->header.type == REQUEST_NEW       ? EXEC_REFUSED
                   : request->header.type == REQUEST_REPLACE ? EXEC_REPLACE_REJECTED
                                                             : EXEC_CANCEL_REJECTED;
    report_event *event = report_claim(self, seat, type, cause, request->header.instrument);
    if (!event) return;
    int cancel = type == EXEC_CANCEL_REJECTED;
    event->header.flags = FLAG_REFUSED;
    event->token = cancel ? request->target_token : request->token;
    event->target_token = cancel ? 0 : request->target_token;
    event->price_ticks = request->price_ticks;
    event->quantity_lots = request->quantity_lots;
    event->side = request->side;
    event->reason = reason;
    report_commit(self, seat, event);
}

static void order_describe(report_event *event, const seat_order *order) {
    event->token = order->token;
    event->order_id = order->order_id;
    event->price_ticks = order->price_ticks;
    event->quantity_lots = order->leaves_lots + order->filled_lots;
    event->leaves_lots = order->leaves_lots;
    event->cumulative_lots = order->filled_lots;
    event->side = order->side;
}

/* Where the seat stands: for a co-process that has just come, or come again. */
static void snapshot(seats *self, seat *seat, const seat_cause *cause) {
    for (uint32_t index = seat->open.first; index != SEAT_ORDER_NONE; index = self->order[index].next) {
        report_event *event = report_claim(self, seat, REPORT_ORDER, cause, self->order[index].instrument);
        if (!event) return;
        order_describe(event, &self->order[index]);
        report_commit(self, seat, event);
    }
    for (uint32_t instrument = 0; instrument < self->instrument_count; instrument++) {
        if (!seat->position_lots[instrument]) continue;
        report_event *event = report_claim(self, seat, REPORT_POSITION, cause, instrument);
        if (!event) return;
        report_commit(self, seat, event);
    }
}

static void report_state(seats *self, seat *seat, uint8_t type, const seat_cause *cause, uint16_t reason) {
    report_event *event = report_claim(self, seat, type, cause, NO_INSTRUMENT);
    if (!event) return;
    event->token = seat->last_token;
    event->reason = reason;
    report_commit(self, seat, event);
}

/* ---- intents --------------------------------------------------------------------------------------- */

/* The next intent of this cause, or NULL when the ring has no room for it, or the cause no leg. */
static signal_event *intent_claim(seats *self) {
    if (self->leg >= LEGS_MAX || self->signal->next >= self->output_limit) {
        seat_counter(self)[SIGNAL_RING_FULL]++;
        return NULL;
    }
    signal_event *event = ring_claim_inline(self->signal);
    if (!event) self->stage->page->error = STAGE_ERROR_RESOURCE; /* a replay whose ring is smaller than the plan saw */
    return event;
}

/* Publish with what every intent of a seat has; returns the order id that risk will give it. */
static uint64_t intent_publish(seats *self, const seat_cause *cause, signal_event *event, const seat *seat, uint8_t type,
                               const seat_order *order, uint16_t flags) {
    event->header.cause_sequence = cause->sequence;
    event->header.cause_input = cause->input;
    event->header.origin_time_ns = cause->origin_time_ns;
    event->header.ingress_time_ns = cause->ingress_time_ns;
    event->header.type = type;
    event->header.flags = (uint16_t)(flags | (order->side == SIDE_SELL ? FLAG_SELL : 0));
    event->header.instrument = order->instrument;
    event->threshold = 0;
    event->target_order_id = type == SIGNAL_NEW ? 0 : order->order_id;
    event->strategy = seat->strategy;
    event->account = seat->account;
    event->strategy_epoch = self->strategy_epoch;
    event->leg = (uint8_t)self->leg++;
    event->side = order->side;
    event->feed_ns = 0;
    event->reserved = 0;
    memset(event->component, 0, sizeof event->component);
    intent_commit(self->stage, self->signal, event);
    return self->order_id_base + self->signal->next;
}

static void wish_fill(signal_event *event, const request_event *request) {
    event->price_ticks = request->price_ticks;
    event->quantity_lots = request->quantity_lots;
    event->score = request->score;
    event->bid_price_ticks = request->bid_price_ticks;
    event->ask_price_ticks = request->ask_price_ticks;
}

/* Is this cancel the engine's own doing? Nothing that a co-process asks for is: it could dodge every throttle. */
static int is_protective(const turn_plan *plan, const seat_order *order) {
    return order->protective || plan->killed || plan->mode != MODE_NORMAL;
}

/* REJECT_NONE, or why no cancel left. */
static uint16_t order_cancel(seats *self, const turn_plan *plan, const seat_cause *cause, uint32_t index) {
    seat_order *order = &self->order[index];
    signal_event *event = intent_claim(self);
    if (!event) return REJECT_RING_FULL;
    event->price_ticks = order->price_ticks;
    event->quantity_lots = 0;
    event->score = 0;
    event->bid_price_ticks = event->ask_price_ticks = 0;
    event->time_in_force = order->time_in_force;
    cancel_forget(self, order);
    order->cancel_id = intent_publish(self, cause, event, &self->seat[order->seat], SIGNAL_CANCEL, order,
                                      is_protective(plan, order) ? FLAG_PROTECTIVE : 0);
    order->cancel_time_ns = plan->now_ns;
    if (order->cancels < UINT8_MAX) order->cancels++;
    id_map_put(self->ids, order->cancel_id, index);
    seat_counter(self)[SIGNAL_CANCELS]++;
    return REJECT_NONE;
}

/* ---- requests --------------------------------------------------------------------------------------- */

/* 1 when the seat's bucket has no token left; it is as deep as one second of its rate. */
static int throttled(seat *seat, uint64_t now_ns) {
    int64_t rate = seat->messages_per_second_max;
    int64_t full = rate * NANOS;
    uint64_t waited_ns = seat_since(seat->credit_time_ns, now_ns);
    int64_t gained = waited_ns >= NANOS ? full : (int64_t)waited_ns * rate;
    if (seat->credit > full) seat->credit = full;
    seat->credit = seat->credit > full - gained ? full : seat->credit + gained;
    if (waited_ns) seat->credit_time_ns = now_ns;
    if (seat->credit < NANOS) return 1;
    seat->credit -= NANOS;
    return 0;
}

/* Tokens rise, so that a request which is made twice is known by one number. */
static int token_used(seat *seat, uint64_t token) {
    if (token <= seat->last_token) return 1;
    seat->last_token = token;
    return 0;
}

static uint16_t request_new(seats *self, const turn_plan *plan, const seat_cause *cause, const request_event *request) {
    seat *seat = &self->seat[request->seat];
    if (token_used(seat, request->token)) return REJECT_DUPLICATE;
    if (seat->open_orders >= seat->open_orders_max) return REJECT_OPEN_ORDERS;
    if (throttled(seat, plan->now_ns)) return REJECT_THROTTLE;
    signal_event *event = intent_claim(self);
    uint32_t index = self->dead.first; /* the order that is longest dead */
    if (!event || index == SEAT_ORDER_NONE) return REJECT_RING_FULL;
    place_take(self, index);
    seat_order *order = &self->order[index];
    order->seat = request->seat;
    order->token = request->token;
    order->instrument = request->header.instrument;
    order->side = request->side;
    order->time_in_force = request->time_in_force;
    order->price_ticks = request->price_ticks;
    order->leaves_lots = request->quantity_lots;
    wish_fill(event, request);
    event->time_in_force = request->time_in_force;
    order->order_id = intent_publish(self, cause, event, seat, SIGNAL_NEW, order, 0);
    names_put(self, index);
    order_open(self, index, SEAT_ORDER_PENDING);
    seat_counter(self)[SIGNAL_NEW_ORDERS]++;
    return REJECT_NONE;
}

static uint16_t request_replace(seats *self, const turn_plan *plan, const seat_cause *cause, const request_event *request) {
    seat *seat = &self->seat[request->seat];
    if (token_used(seat, request->token)) return REJECT_DUPLICATE;
    uint32_t index = order_named(self, request->seat, request->target_token);
    if (index == SEAT_ORDER_NONE) return REJECT_UNKNOWN_ORDER;
    seat_order *order = &self->order[index];
    if (order->instrument != request->header.instrument || order->side != request->side) return REJECT_UNKNOWN_ORDER;
    if (order->replace_id || order->cancel_id || order->wanted) return REJECT_BUSY;
    if (throttled(seat, plan->now_ns)) return REJECT_THROTTLE;
    signal_event *event = intent_claim(self);
    if (!event) return REJECT_RING_FULL;
    wish_fill(event, request);
    event->time_in_force = order->time_in_force;
    order->replace_id = intent_publish(self, cause, event, seat, SIGNAL_REPLACE, order, 0);
    order->replace_token = request->token;
    order->replace_price_ticks = request->price_ticks;
    id_map_put(self->ids, order->replace_id, index);
    id_map_put(self->tokens, token_key(seat, order->seat, order->replace_token), index);
    seat_counter(self)[SIGNAL_REPLACES]++;
    return REJECT_NONE;
}

static uint16_t request_cancel(seats *self, const turn_plan *plan, const seat_cause *cause, const request_event *request) {
    uint32_t index = order_named(self, request->seat, request->target_token);
    if (index == SEAT_ORDER_NONE) return REJECT_UNKNOWN_ORDER;
    seat_order *order = &self->order[index];
    if (order->cancel_id) return REJECT_BUSY;
    uint16_t reason = order_cancel(self, plan, cause, index);
    if (reason == REJECT_NONE) order->asked = 1;
    return reason;
}

/* Cancel what is open, of one instrument or, NO_INSTRUMENT, of all; what finds no room now, the sweep sends. A seat that
 * was cut does not ask: the engine wants it. */
static void cancel_all(seats *self, const turn_plan *plan, const seat_cause *cause, seat *seat, uint32_t instrument) {
    for (uint32_t index = seat->open.first; index != SEAT_ORDER_NONE; index = self->order[index].next) {
        seat_order *order = &self->order[index];
        if (instrument != NO_INSTRUMENT && order->instrument != instrument) continue;
        wanted_set(self, order, 1);
        if (!seat->attached) order->protective = 1;
        if (!order->cancel_id) order_cancel(self, plan, cause, index);
    }
}

static void attach(seats *self, seat *seat, const seat_cause *cause, const request_event *request) {
    if (!seat->token_seed) seat->token_seed = request->token; /* it is on record: a replay's table is like this one */
    seat->attached = 1;
    seat->attach_epoch = request->attach_epoch;
    seat_counter(self)[SIGNAL_SEATS_ATTACHED]++;
    report_state(self, seat, REPORT_ATTACHED, cause, 0);
    snapshot(self, seat, cause);
    report_state(self, seat, REPORT_END, cause, 0);
}

static void cut(seats *self, const turn_plan *plan, seat *seat, const seat_cause *cause, const request_event *request) {
    if (!seat->attached) return;
    report_state(self, seat, REPORT_CUT, cause, request->reason);
    seat->attached = 0;
    seat_counter(self)[SIGNAL_SEATS_ATTACHED]--;
    seat_counter(self)[SIGNAL_SEATS_CUT]++;
    if (seat->policy == SEAT_CANCEL) cancel_all(self, plan, cause, seat, NO_INSTRUMENT);
}

static uint16_t request_decide(seats *self, const turn_plan *plan, const seat_cause *cause, const request_event *request) {
    if (!self->seat[request->seat].attached) return REJECT_SEAT;
    switch (request->header.type) {
    case REQUEST_NEW: return request_new(self, plan, cause, request);
    case REQUEST_REPLACE: return request_replace(self, plan, cause, request);
    case REQUEST_CANCEL: return request_cancel(self, plan, cause, request);
    case REQUEST_CANCEL_ALL: cancel_all(self, plan, cause, &self->seat[request->seat], request->header.instrument); return REJECT_NONE;
    default: return REJECT_NONE;
    }
}

void seats_market(seats *self, const turn_plan *plan, uint32_t instrument, uint64_t origin_time_ns) {
    /* What concerns no instrument may be the feed's own word, by the engine's clock. */
    if (instrument == NO_INSTRUMENT || origin_time_ns < self->market_origin_ns) return;
    self->market_origin_ns = origin_time_ns;
    self->market_seen_ns = plan->now_ns;
}

/* Now, on the market's clock: an order's venue counts by it. */
static uint64_t market_time(const seats *self, const turn_plan *plan) {
    return self->market_origin_ns + seat_since(self->market_seen_ns, plan->now_ns);
}

void seats_request(seats *self, const turn_plan *plan, uint64_t sequence, const request_event *request) {
    if (request->seat >= self->seat_count) { /* a recording of another configuration */
        self->stage->page->error = STAGE_ERROR_SEQUENCE;
        return;
    }
    seat *seat = &self->seat[request->seat];
    const seat_cause cause = {.sequence = sequence,
                              .input = INPUT_INTAKE,
                              .origin_time_ns = market_time(self, plan),
                              .ingress_time_ns = request->header.ingress_time_ns};
    self->leg = 0;
    if (request->header.type == SEAT_ATTACHED) {
        attach(self, seat, &cause, request);
    } else if (request->header.type == SEAT_CUT) {
        cut(self, plan, seat, &cause, request);
    } else {
        uint16_t reason = request_decide(self, plan, &cause, request);
        if (reason != REJECT_NONE) refuse(self, &cause, request, reason);
    }
}

/* ---- executions -------------------------------------------------------------------------------------- */

/* What a report says of an execution, before the order has changed by it. */
typedef struct {
    uint64_t token;
    uint64_t target_token;
    uint8_t type;
    uint8_t refused; /* by this engine */
} seat_news;

/* Which request of the order an execution answers, in the seat's own numbers. */
static seat_news news_of(const seats *self, uint32_t index, const exec_event *execution) {
    const seat_order *order = &self->order[index];
    seat_news news = {.token = order->token, .type = execution->header.type, .refused = execution->header.type == EXEC_REFUSED};
    uint64_t id = execution->order_id;
    if (id == order->replace_id) {
        news.token = order->replace_token;
        news.target_token = order->token;
        if (news.refused) news.type = EXEC_REPLACE_REJECTED;
    } else if (id == order->cancel_id) {
        if (news.refused) news.type = EXEC_CANCEL_REJECTED;
    } else if (id == order->previous_id) {
        news.token = order->previous_token;
    } else if (news.type == EXEC_REPLACED) { /* given up for dead before: what it takes the place of has a place of its own */
        uint32_t target = id_map_get(self->ids, execution->target_order_id);
        if (target != ID_MAP_NONE && target != index && self->order[target].seat == order->seat)
            news.target_token = self->order[target].token;
    }
    return news;
}

static void cancel_answered(seats *self, seat_order *order) {
    cancel_forget(self, order);
    order->asked = 0;
}

/* One that was given up for dead, and lives. Whoever wanted it cancelled, or would have, still does. */
static void order_reopen(seats *self, uint32_t index) {
    seat_order *order = &self->order[index];
    const seat *seat = &self->seat[order->seat];
    list_remove(self, &self->dead, index);
    order_open(self, index, SEAT_ORDER_LIVE);
    int left_alone = !seat->attached && seat->policy == SEAT_CANCEL;
    if (left_alone) order->protective = 1;
    if (order->cancel_id || left_alone) wanted_set(self, order, 1);
}

/* The venue's word on what is left of the order by its present id. */
static void order_leaves(seats *self, uint32_t index, int64_t leaves_lots) {
    seat_order *order = &self->order[index];
    if (leaves_lots > 0 && order->state == SEAT_ORDER_DEAD && !order->gone) order_reopen(self, index);
    if (order->state == SEAT_ORDER_DEAD) return;
    order->state = SEAT_ORDER_LIVE;
    order->leaves_lots = leaves_lots;
    if (leaves_lots <= 0) order_close(self, index);
}

/* The names of the replacement become the order's; those of its predecessor are kept, of that one's elsewhere. */
static void names_shift(seats *self, uint32_t index) {
    seat_order *order = &self->order[index];
    name_keep(self, index, order->previous_id, order->previous_token, 1);
    order->previous_id = order->order_id;
    order->previous_token = order->token;
    order->order_id = order->replace_id;
    order->token = order->replace_token;
    order->replace_id = order->replace_token = 0;
}

/* A replacement that was given up for dead took its order's place all the same. */
static void order_succeed(seats *self, uint32_t index, uint64_t target_id) {
    seat_order *order = &self->order[index];
    uint32_t target_index = id_map_get(self->ids, target_id);
    if (target_index == ID_MAP_NONE || target_index == index) return;
    seat_order *target = &self->order[target_index];
    if (target->seat != order->seat || target->order_id != target_id) return;
    order->filled_lots += target->filled_lots;
    order->protective |= target->protective;
    if (order->state != SEAT_ORDER_DEAD && (target->wanted || target->cancel_id)) wanted_set(self, order, 1);
    order_close(self, target_index);
}

/* The order is now what its replacement asked for; a cancel that was sent meanwhile did not mean this one. */
static void replaced(seats *self, const turn_plan *plan, const seat_cause *cause, uint32_t index, const exec_event *execution) {
    seat_order *order = &self->order[index];
    int late = execution->order_id == order->order_id && order->state == SEAT_ORDER_DEAD && !order->gone;
    if (execution->order_id != order->replace_id && !late) return;
    if (execution->price_ticks > 0) order->price_ticks = execution->price_ticks;
    else if (!late) order->price_ticks = order->replace_price_ticks;
    if (!late) names_shift(self, index);
    order_leaves(self, index, execution->leaves_lots);
    if (late) order_succeed(self, index, execution->target_order_id);
    int wanted = order->asked || order->wanted;
    cancel_forget(self, order);
    if (order->state == SEAT_ORDER_DEAD || !wanted) return;
    if (order_cancel(self, plan, cause, index) != REJECT_NONE) wanted_set(self, order, 1); /* the sweep sends it */
}

/* A fill of the order's predecessor happened too, but says nothing of what is left of the order. */
static void filled(seats *self, uint32_t index, const exec_event *execution, int sign) {
    seat_order *order = &self->order[index];
    int64_t *position = &self->seat[order->seat].position_lots[order->instrument];
    *position += (order->side == SIDE_BUY ? 1 : -1) * sign * execution->quantity_lots;
    order->filled_lots += sign * execution->quantity_lots;
    if (order->state == SEAT_ORDER_DEAD || sign < 0) return;
    if (execution->order_id != order->order_id && execution->order_id != order->replace_id) return;
    order->leaves_lots = execution->leaves_lots;
    if (execution->leaves_lots <= 0) order_close(self, index);
}

/* An order, a replacement or a cancel that came to nothing. */
static void came_to_nothing(seats *self, uint32_t index, const exec_event *execution) {
    seat_order *order = &self->order[index];
    uint64_t id = execution->order_id;
    if (id == order->replace_id) {
        /* Refused here it never left; refused or settled by the venue's word it may yet be heard of. */
        if (execution->header.type == EXEC_REFUSED) replace_forget(self, order);
        else name_keep(self, index, order->replace_id, order->replace_token, 0);
        order->replace_id = order->replace_token = 0;
    } else if (id == order->cancel_id) {
        cancel_answered(self, order);
        /* The gate knows no such order: it has been answered for. Its names are kept, should more be heard. */
        if (execution->header.type == EXEC_REFUSED && execution->reason == REJECT_UNKNOWN_ORDER) order_close(self, index);
    } else if (id == order->order_id) {
        order_close(self, index);
    }
}

/* What the venue says of an order by a name that it gave up is no news of what it has become. */
static void present(seats *self, uint32_t index, const exec_event *execution) {
    seat_order *order = &self->order[index];
    switch (execution->header.type) {
    case EXEC_ACCEPTED: order_leaves(self, index, execution->leaves_lots); return;
    case EXEC_CANCEL_REJECTED: cancel_answered(self, order); return;
    case EXEC_CANCELED:
        if (order->state == SEAT_ORDER_DEAD) return;
        order->leaves_lots = execution->leaves_lots;
        if (execution->leaves_lots <= 0) order_close(self, index);
        return;
    case EXEC_RESTATED:
        if (order->state == SEAT_ORDER_DEAD) return;
        if (execution->price_ticks > 0) order->price_ticks = execution->price_ticks;
        if (execution->leaves_lots > 0) order->leaves_lots = execution->leaves_lots;
        return;
    default: return;
    }
}

static void apply(seats *self, const turn_plan *plan, const seat_cause *cause, uint32_t index, const exec_event *execution) {
    switch (execution->header.type) {
    case EXEC_REPLACED: replaced(self, plan, cause, index, execution); return;
    case EXEC_FILL: filled(self, index, execution, 1); return;
    case EXEC_BROKEN: filled(self, index, execution, -1); return;
    case EXEC_REJECTED:
    case EXEC_REFUSED:
    case EXEC_REPLACE_REJECTED: came_to_nothing(self, index, execution); return;
    default:
        if (execution->order_id == self->order[index].order_id) present(self, index, execution);
        return;
    }
}

static void execution_report(seats *self, const seat_cause *cause, const seat_news *news, const seat_order *order,
                             const exec_event *execution) {
    seat *seat = &self->seat[order->seat];
    report_event *event = report_claim(self, seat, news->type, cause, order->instrument);
    if (!event) return;
    event->header.flags = (uint16_t)((execution->header.flags & FLAG_RECOVERED) | (news->refused ? FLAG_REFUSED : 0));
    event->token = news->token;
    event->target_token = news->target_token;
    event->order_id = execution->order_id;
    event->match_id = execution->match_id;
    event->price_ticks = execution->price_ticks;
    event->quantity_lots = execution->quantity_lots;
    event->leaves_lots = execution->leaves_lots;
    event->cumulative_lots = order->filled_lots;
    event->reason = execution->reason;
    event->side = order->side;
    event->liquidity = execution->liquidity;
    report_commit(self, seat, event);
}

/* As the gate does: 1 when the venue's number says that this was applied before. */
static int repeated(seats *self, const exec_event *execution) {
    if (!execution->session_sequence) return 0;
    if (execution->session != self->session) self->last_session_sequence = 0;
    self->session = execution->session;
    if (execution->session_sequence <= self->last_session_sequence) return 1;
    self->last_session_sequence = execution->session_sequence;
    return 0;
}

/* The venue's session concerns every seat. */
static void session_report(seats *self, const seat_cause *cause, const exec_event *execution) {
    if (execution->header.type != EXEC_SESSION_UP && execution->header.type != EXEC_SESSION_DOWN) return;
    for (uint32_t i = 0; i < self->seat_count; i++)
        report_state(self, &self->seat[i], execution->header.type, cause, execution->reason);
}

int seats_execution(seats *self, const turn_plan *plan, uint64_t sequence, const exec_event *execution) {
    const seat_cause cause = {.sequence = sequence,
                              .input = INPUT_EXEC,
                              .origin_time_ns = execution->header.origin_time_ns,
                              .ingress_time_ns = execution->header.ingress_time_ns};
    if (execution->header.instrument >= self->instrument_count) session_report(self, &cause, execution);
    uint32_t index = id_map_get(self->ids, execution->order_id);
    if (index == ID_MAP_NONE) return 0;
    if (repeated(self, execution)) return 1;
    const seat_news news = news_of(self, index, execution);
    self->leg = 0;
    apply(self, plan, &cause, index, execution);
    if (execution->header.type != EXEC_REPEATED) execution_report(self, &cause, &news, &self->order[index], execution);
    return 1;
}

/* ---- time --------------------------------------------------------------------------------------------- */

/* A cancel that found no room, was refused, or has had no answer for long: again, ever more rarely, for each
 * takes a record of the gateway's intent file. */
static void order_sweep(seats *self, const turn_plan *plan, const seat_cause *cause, uint32_t index) {
    const seat_order *order = &self->order[index];
    uint64_t patience_ns = self->answer_timeout_ns << (order->cancels < DOUBLINGS_MAX ? order->cancels : DOUBLINGS_MAX);
    int waiting = order->cancels && seat_since(order->cancel_time_ns, plan->now_ns) < patience_ns / 2;
    if (order->wanted && !waiting) order_cancel(self, plan, cause, index);
}

int seats_sweep(seats *self, const turn_plan *plan) {
    if (!self->wanted_count || seat_since(self->sweep_time_ns, plan->now_ns) < self->sweep_interval_ns) return 0;
    self->sweep_time_ns = plan->now_ns;
    const seat_cause cause = {.sequence = self->stage->turn + 1,
                              .input = INPUT_TIMER,
                              .origin_time_ns = market_time(self, plan),
                              .ingress_time_ns = clock_read(self->stage->clock)};
    self->leg = 0;
    for (uint32_t i = 0; i < self->seat_count; i++)
        for (uint32_t index = self->seat[i].open.first; index != SEAT_ORDER_NONE; index = self->order[index].next)
            order_sweep(self, plan, &cause, index);
    return 1;
}
