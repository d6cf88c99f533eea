/* seat.c: the seats' part of the signal stage's turn. See include/seat.h. */
#include "seat.h"
#include "id_map_inline.h"
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

/* ---- lists of orders ------------------------------------------------------------------------------ */

static void list_add(seats *self, seat_list *list, uint32_t index) {
    seat_order *order = &self->order[index];
    order->next = SEAT_ORDER_NONE;
    order->previous = list->last;
    if (list->last == SEAT_ORDER_NONE) list->first = index;
    else self->order[list->last].next = index;
    list->last = index;
}

static void list_remove(seats *self, seat_list *list, uint32_t index) {
    const seat_order *order = &self->order[index];
    if (order->previous == SEAT_ORDER_NONE) list->first = order->next;
    else self->order[order->previous].next = order->next;
    if (order->next == SEAT_ORDER_NONE) list->last = order->previous;
    else self->order[order->next].previous = order->previous;
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

/* ---- orders and their names ----------------------------------------------------------------------- */

/* A token is its seat's own: no two seats share a key. Tokens are at most 2^53. */
static uint64_t token_key(uint32_t seat, uint64_t token) { return token ? token * SEATS_MAX + seat : 0; }

static void token_forget(seats *self, const seat_order *order, uint64_t token) {
    id_map_remove(self->tokens, token_key(order->seat, token));
}

/* The open order that a token of its line names, or SEAT_ORDER_NONE. */
static uint32_t order_named(const seats *self, uint32_t seat, uint64_t token) {
    uint32_t index = id_map_get(self->tokens, token_key(seat, token));
    return index == ID_MAP_NONE || self->order[index].state == SEAT_ORDER_DEAD ? SEAT_ORDER_NONE : index;
}

static void wanted_set(seats *self, seat_order *order, uint8_t wanted) {
    self->wanted_count += (uint32_t)wanted - order->wanted;
    order->wanted = wanted;
}

static void cancel_forget(seats *self, seat_order *order) {
    id_map_remove(self->ids, order->cancel_id);
    order->cancel_id = 0;
}

static void replace_forget(seats *self, seat_order *order) {
    id_map_remove(self->ids, order->replace_id);
    token_forget(self, order, order->replace_token);
    order->replace_id = order->replace_token = 0;
}

static void previous_forget(seats *self, seat_order *order) {
    id_map_remove(self->ids, order->previous_id);
    token_forget(self, order, order->previous_token);
    order->previous_id = order->previous_token = 0;
}

/* The place of the order that is longest dead; all its names go. */
static uint32_t order_take(seats *self) {
    uint32_t index = self->dead.first;
    if (index == SEAT_ORDER_NONE) return index;
    seat_order *order = &self->order[index];
    list_remove(self, &self->dead, index);
    cancel_forget(self, order);
    replace_forget(self, order);
    previous_forget(self, order);
    id_map_remove(self->ids, order->order_id);
    token_forget(self, order, order->token);
    memset(order, 0, sizeof *order);
    return index;
}

static void order_open(seats *self, uint32_t index, uint8_t state) {
    seat_order *order = &self->order[index];
    seat *seat = &self->seat[order->seat];
    order->state = state;
    list_add(self, &seat->open, index);
    seat->page->open_orders = ++seat->open_orders;
}

static void order_close(seats *self, uint32_t index) {
    seat_order *order = &self->order[index];
    if (order->state == SEAT_ORDER_DEAD) return;
    seat *seat = &self->seat[order->seat];
    wanted_set(self, order, 0);
    order->state = SEAT_ORDER_DEAD;
    order->leaves_lots = 0;
    list_remove(self, &seat->open, index);
    list_add(self, &self->dead, index);
    seat->page->open_orders = --seat->open_orders;
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
                               const seat_order *order) {
    event->header.cause_sequence = cause->sequence;
    event->header.cause_input = cause->input;
    event->header.origin_time_ns = cause->origin_time_ns;
    event->header.ingress_time_ns = cause->ingress_time_ns;
    event->header.type = type;
    event->header.flags = order->side == SIDE_SELL ? FLAG_SELL : 0;
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
    order->cancel_id = intent_publish(self, cause, event, &self->seat[order->seat], SIGNAL_CANCEL, order);
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
    uint32_t index = event ? order_take(self) : SEAT_ORDER_NONE;
    if (index == SEAT_ORDER_NONE) return REJECT_RING_FULL;
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
    order->order_id = intent_publish(self, cause, event, seat, SIGNAL_NEW, order);
    id_map_put(self->ids, order->order_id, index);
    id_map_put(self->tokens, token_key(order->seat, order->token), index);
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
    order->replace_id = intent_publish(self, cause, event, seat, SIGNAL_REPLACE, order);
    order->replace_token = request->token;
    order->replace_price_ticks = request->price_ticks;
    id_map_put(self->ids, order->replace_id, index);
    id_map_put(self->tokens, token_key(order->seat, order->replace_token), index);
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

/* Cancel what is open, of one instrument or, NO_INSTRUMENT, of all; what finds no room now, the sweep sends. */
static void cancel_all(seats *self, const turn_plan *plan, const seat_cause *cause, seat *seat, uint32_t instrument) {
    for (uint32_t index = seat->open.first; index != SEAT_ORDER_NONE; index = self->order[index].next) {
        seat_order *order = &self->order[index];
        if (instrument != NO_INSTRUMENT && order->instrument != instrument) continue;
        wanted_set(self, order, 1);
        if (!order->cancel_id) order_cancel(self, plan, cause, index);
    }
}

static void attach(seats *self, seat *seat, const seat_cause *cause, const request_event *request) {
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

void seats_market(seats *self, const turn_plan *plan, uint64_t origin_time_ns) {
    if (origin_time_ns < self->market_origin_ns) return; /* events of the feed's own have none */
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
static seat_news news_of(const seat_order *order, const exec_event *execution) {
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
    }
    return news;
}

static void cancel_answered(seats *self, seat_order *order) {
    cancel_forget(self, order);
    order->asked = 0;
}

/* The order is now what its replacement asked for; a cancel that was sent meanwhile did not mean this one. */
static void replaced(seats *self, const turn_plan *plan, const seat_cause *cause, uint32_t index, const exec_event *execution) {
    seat_order *order = &self->order[index];
    if (execution->order_id != order->replace_id) return;
    previous_forget(self, order);
    order->previous_id = order->order_id;
    order->previous_token = order->token;
    order->order_id = order->replace_id;
    order->token = order->replace_token;
    order->replace_id = order->replace_token = 0;
    order->price_ticks = execution->price_ticks > 0 ? execution->price_ticks : order->replace_price_ticks;
    order->leaves_lots = execution->leaves_lots;
    if (order->state == SEAT_ORDER_PENDING) order->state = SEAT_ORDER_LIVE;
    if (execution->leaves_lots <= 0) order_close(self, index);
    else if (order->asked || order->wanted) order_cancel(self, plan, cause, index);
}

/* One that was given up for dead, and lives, is open again. */
static void rests(seats *self, uint32_t index, const exec_event *execution) {
    seat_order *order = &self->order[index];
    if (order->state == SEAT_ORDER_DEAD) {
        if (execution->leaves_lots <= 0) return;
        list_remove(self, &self->dead, index);
        order_open(self, index, SEAT_ORDER_LIVE);
    }
    order->state = SEAT_ORDER_LIVE;
    order->leaves_lots = execution->leaves_lots;
    if (execution->leaves_lots <= 0) order_close(self, index);
}

static void filled(seats *self, uint32_t index, const exec_event *execution, int sign) {
    seat_order *order = &self->order[index];
    int64_t *position = &self->seat[order->seat].position_lots[order->instrument];
    *position += (order->side == SIDE_BUY ? 1 : -1) * sign * execution->quantity_lots;
    order->filled_lots += sign * execution->quantity_lots;
    if (order->state == SEAT_ORDER_DEAD || sign < 0) return;
    order->leaves_lots = execution->leaves_lots;
    if (execution->leaves_lots <= 0) order_close(self, index);
}

static void restated(seat_order *order, const exec_event *execution) {
    if (order->state == SEAT_ORDER_DEAD) return;
    if (execution->price_ticks > 0) order->price_ticks = execution->price_ticks;
    if (execution->leaves_lots > 0) order->leaves_lots = execution->leaves_lots;
}

/* An order, a replacement or a cancel that came to nothing. */
static void came_to_nothing(seats *self, uint32_t index, const exec_event *execution) {
    seat_order *order = &self->order[index];
    uint64_t id = execution->order_id;
    if (id == order->replace_id) {
        replace_forget(self, order);
    } else if (id == order->cancel_id) {
        cancel_answered(self, order);
        /* The gate knows no such order: it has been answered for. Its names are kept, should more be heard. */
        if (execution->header.type == EXEC_REFUSED && execution->reason == REJECT_UNKNOWN_ORDER) order_close(self, index);
    } else if (id == order->order_id) {
        order_close(self, index);
    }
}

static void apply(seats *self, const turn_plan *plan, const seat_cause *cause, uint32_t index, const exec_event *execution) {
    seat_order *order = &self->order[index];
    switch (execution->header.type) {
    case EXEC_ACCEPTED: rests(self, index, execution); return;
    case EXEC_REPLACED: replaced(self, plan, cause, index, execution); return;
    case EXEC_FILL: filled(self, index, execution, 1); return;
    case EXEC_BROKEN: filled(self, index, execution, -1); return;
    case EXEC_RESTATED: restated(order, execution); return;
    case EXEC_CANCEL_REJECTED: cancel_answered(self, order); return;
    case EXEC_REJECTED:
    case EXEC_REFUSED:
    case EXEC_REPLACE_REJECTED: came_to_nothing(self, index, execution); return;
    case EXEC_CANCELED:
        if (execution->order_id != order->order_id || order->state == SEAT_ORDER_DEAD) return;
        order->leaves_lots = execution->leaves_lots;
        if (execution->leaves_lots <= 0) order_close(self, index);
        return;
    default: return;
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
    const seat_news news = news_of(&self->order[index], execution);
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
