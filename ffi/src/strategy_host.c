/* strategy_host.c: see include/strategy_host.h. */
#include "strategy_host.h"
#include "clock_inline.h"
#include "histogram_inline.h"
#include "id_map_inline.h"
#include "ring_inline.h"
#include "seat_client.h"
#include <stdbool.h>
#include <stddef.h>

_Static_assert(sizeof(strategy_event) == 2 * CACHE_LINE_SIZE, "events in an array keep their lines");
_Static_assert(sizeof(strategy_market) == 2 * CACHE_LINE_SIZE, "so do instruments");
_Static_assert(offsetof(norm_event, ask_depth_lots) - offsetof(norm_event, bid_price_ticks) ==
                   offsetof(strategy_market, ask_depth_lots) - offsetof(strategy_market, bid_price_ticks),
               "the top and depth are copied as one block");

#define TOP_BYTES (6 * sizeof(int64_t))
#define TOKENS_PER_ORDER 2 /* its own, and a replacement's */

/* ---- memory ------------------------------------------------------------------------------------- */

static uint64_t lines(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) / CACHE_LINE_SIZE * CACHE_LINE_SIZE; }

static void *take(uint8_t **next, uint64_t count, uint64_t size) {
    void *taken = *next;
    *next += lines(count * size);
    return taken;
}

static uint64_t token_cells(uint32_t order_max) { return id_map_cells((uint64_t)order_max * TOKENS_PER_ORDER); }

uint64_t host_bytes(uint32_t instrument_count, uint32_t batch_max, uint32_t order_max) {
    uint64_t n = instrument_count;
    return lines(batch_max * sizeof(norm_event)) + lines(batch_max * sizeof(strategy_event)) + lines(sizeof(report_event)) +
           lines(n * sizeof(strategy_market)) + lines(n * FEATURES_MAX * sizeof(double)) + lines(n * sizeof(uint32_t)) +
           lines(n * sizeof(feature_state)) + lines(n * sizeof(strategy_position)) +
           lines(order_max * sizeof(strategy_order)) + lines(n) + 2 * lines(HOST_DEPTH_MAX * sizeof(book_level)) +
           lines(sizeof(id_map)) + lines(token_cells(order_max) * sizeof(id_map_cell));
}

static void market_forget(strategy_host *host) {
    for (uint32_t i = 0; i < host->instrument_count; i++) {
        feature_init(&host->feature_of[i]);
        host->ready[i] = 0;
    }
    for (uint64_t i = 0; i < (uint64_t)host->instrument_count * FEATURES_MAX; i++) host->value[i] = __builtin_nan("");
    if (host->book) book_clear(host->book, NO_INSTRUMENT);
}

static void orders_forget(strategy_host *host) {
    id_map *tokens = host->tokens;
    id_map_init(tokens, (id_map_cell *)((uint8_t *)host->tokens + lines(sizeof(id_map))), token_cells(host->order_max));
    host->order_count = 0;
    for (uint32_t i = 0; i < host->instrument_count; i++) host->position[i].position_lots = 0;
}

int host_init(strategy_host *host, void *memory, uint64_t bytes) {
    uint64_t n = host->instrument_count;
    if (bytes < host_bytes(host->instrument_count, host->batch_max, host->order_max)) return 0;
    memset(memory, 0, bytes);
    uint8_t *next = memory;
    host->batch = take(&next, host->batch_max, sizeof(norm_event));
    host->event = take(&next, host->batch_max, sizeof(strategy_event));
    host->report = take(&next, 1, sizeof(report_event));
    host->market = take(&next, n, sizeof(strategy_market));
    host->value = take(&next, n * FEATURES_MAX, sizeof(double));
    host->ready = take(&next, n, sizeof(uint32_t));
    host->feature_of = take(&next, n, sizeof(feature_state));
    host->position = take(&next, n, sizeof(strategy_position));
    host->order = take(&next, host->order_max, sizeof(strategy_order));
    host->wanted = take(&next, n, 1);
    host->bid = take(&next, HOST_DEPTH_MAX, sizeof(book_level));
    host->ask = take(&next, HOST_DEPTH_MAX, sizeof(book_level));
    host->tokens = next;
    memset(host->wanted, 1, n);
    host->timer_due_ns = UINT64_MAX;
    market_forget(host);
    orders_forget(host);
    return 1;
}

/* ---- the market --------------------------------------------------------------------------------- */

static bool is_trade(const norm_event *event) {
    uint8_t type = event->header.type;
    if (!(event->header.flags & FLAG_PRINTABLE)) return false;
    return type == NORM_EXECUTE || type == NORM_EXECUTE_PRICE || type == NORM_TRADE || type == NORM_CROSS;
}

static uint32_t kind_of(const norm_event *event) {
    uint32_t kind = event->header.flags & FLAG_TOP ? WANT_TOP : 0;
    if (is_trade(event)) return kind | WANT_TRADES;
    if (kind) return kind;
    return event->header.type <= NORM_REPLACE ? WANT_ORDERS : WANT_STATES;
}

/* A copy goes into the book, which writes what it finds: one that began late knows less than the feed's. */
static void book_follow(strategy_host *host, const norm_event *event) {
    norm_event copy = *event;
    if (event->header.type <= NORM_REPLACE) book_apply(host->book, &copy);
}

static void stale_all(strategy_host *host) {
    for (uint32_t i = 0; i < host->instrument_count; i++) host->market[i].stale = 1;
}

/* Every book is empty from here; what follows fills them anew. */
static void books_empty(strategy_host *host) {
    market_forget(host);
    for (uint32_t i = 0; i < host->instrument_count; i++) memset(&host->market[i].bid_price_ticks, 0, TOP_BYTES);
}

/* A state of the line concerns every instrument. That the line is whole again says nothing of any: each one's
 * next event does. */
static void line_follow(strategy_host *host, const norm_event *event) {
    switch (event->header.type) {
    case NORM_GAP:
    case NORM_SILENT: stale_all(host); return;
    case NORM_CLEAR:
        books_empty(host);
        stale_all(host);
        return;
    default: return;
    }
}

static void follow(strategy_host *host, const norm_event *event) {
    host->events++;
    uint32_t instrument = event->header.instrument;
    if (instrument >= host->instrument_count) {
        line_follow(host, event);
        return;
    }
    if (host->book) book_follow(host, event);
    strategy_market *market = &host->market[instrument];
    memcpy(&market->bid_price_ticks, &event->bid_price_ticks, TOP_BYTES);
    market->origin_time_ns = event->header.origin_time_ns;
    market->events++;
    market->stale = (event->header.flags & FLAG_STALE) != 0;
    if (is_trade(event)) {
        market->last_price_ticks = event->price_ticks;
        market->last_quantity_lots = event->quantity_lots;
        market->volume_lots += (uint64_t)event->quantity_lots;
    } else if (event->header.type == NORM_STATUS) {
        market->state = (uint32_t)event->order_ref;
    }
    host->ready[instrument] = feature_update(&host->feature, &host->feature_of[instrument], event,
                                             &host->value[(uint64_t)instrument * FEATURES_MAX]);
}

static bool wanted(const strategy_host *host, const norm_event *event) {
    if (!(kind_of(event) & host->wants)) return false;
    uint32_t instrument = event->header.instrument;
    return instrument >= host->instrument_count || host->wanted[instrument];
}

static void describe(strategy_host *host, const norm_event *event, strategy_event *target) {
    uint16_t flags = event->header.flags;
    uint8_t type = event->header.type;
    bool trade = is_trade(event);
    bool told = trade && (type == NORM_EXECUTE || type == NORM_EXECUTE_PRICE) && !(flags & FLAG_UNKNOWN_ORDER);
    target->sequence = event->header.stamp - 1;
    target->origin_time_ns = event->header.origin_time_ns;
    target->publish_time_ns = event->header.publish_time_ns;
    target->order_ref = event->order_ref;
    target->reference = event->reference;
    target->price_ticks = event->price_ticks;
    target->quantity_lots = event->quantity_lots;
    memcpy(&target->bid_price_ticks, &event->bid_price_ticks, TOP_BYTES);
    target->instrument = event->header.instrument;
    target->flags = flags;
    target->type = type;
    target->trade = trade;
    target->aggressor = told ? (flags & FLAG_SELL ? 1 : -1) : 0; /* an executed sell was bought */
    target->top = (flags & FLAG_TOP) != 0;
    target->stale = (flags & FLAG_STALE) != 0;
    host->event_sequence = target->sequence;
    host->event_time_ns = target->publish_time_ns;
    host->handed++;
}

/* Another batch, copied out of the ring. 0 when there is none. */
static uint32_t refill(strategy_host *host, uint64_t *lost) {
    host->batch_next = 0;
    host->batch_count = (uint32_t)ring_copy(&host->norm, host->batch, host->batch_max, lost);
    return host->batch_count;
}

/* One event, or in columns all of a batch that are wanted. */
static uint32_t hand_out(strategy_host *host) {
    uint32_t count = 0, most = host->columns ? host->batch_max : 1;
    while (host->batch_next < host->batch_count && count < most) {
        const norm_event *event = &host->batch[host->batch_next++];
        follow(host, event);
        if (wanted(host, event)) describe(host, event, &host->event[count++]);
    }
    return count;
}

static int market_next(strategy_host *host) {
    for (int refills = 0; refills < HOST_REFILLS_MAX; refills++) {
        host->event_count = hand_out(host);
        if (host->event_count) return HOST_EVENT;
        uint64_t lost = 0;
        uint32_t count = refill(host, &lost);
        if (lost) {
            host->lost_count += lost;
            market_forget(host);
            stale_all(host);
            if (host->events) return HOST_LOST; /* else it came late, and lost what it never had */
        }
        if (!count) return HOST_IDLE;
    }
    return HOST_AGAIN;
}

/* ---- orders ------------------------------------------------------------------------------------- */

uint32_t host_find(const strategy_host *host, uint64_t token) {
    uint32_t index = id_map_get(host->tokens, token);
    return index == ID_MAP_NONE ? host->order_count : index;
}

static strategy_order *order_add(strategy_host *host, uint64_t token, uint32_t instrument, uint32_t side) {
    if (host->order_count >= host->order_max || !id_map_put(host->tokens, token, host->order_count)) return NULL;
    strategy_order *order = &host->order[host->order_count++];
    memset(order, 0, sizeof *order);
    order->token = token;
    order->instrument = instrument;
    order->side = (uint8_t)side;
    return order;
}

static void replacement_forget(strategy_host *host, strategy_order *order) {
    id_map_remove(host->tokens, order->replace_token);
    order->replace_token = 0;
}

/* The last order takes the place of one that is gone: the table stays dense. */
static void order_remove(strategy_host *host, uint32_t index) {
    strategy_order *order = &host->order[index];
    replacement_forget(host, order);
    id_map_remove(host->tokens, order->token);
    uint32_t last = --host->order_count;
    if (index == last) return;
    *order = host->order[last];
    id_map_remove(host->tokens, order->token);
    id_map_put(host->tokens, order->token, index);
    if (!order->replace_token) return;
    id_map_remove(host->tokens, order->replace_token);
    id_map_put(host->tokens, order->replace_token, index);
}

/* What an order has left, by a report; at 0 it is gone. */
static void leaves_set(strategy_host *host, uint32_t index, const report_event *report) {
    strategy_order *order = &host->order[index];
    order->leaves_lots = report->leaves_lots;
    order->filled_lots = report->cumulative_lots;
    if (order->leaves_lots <= 0) order_remove(host, index);
}

static void accepted(strategy_host *host, uint32_t index, const report_event *report) {
    strategy_order *order = &host->order[index];
    order->state = STRATEGY_ORDER_LIVE;
    order->order_id = report->order_id;
    if (report->price_ticks > 0) order->price_ticks = report->price_ticks;
    leaves_set(host, index, report);
}

/* The order goes on under the replacement's token. */
static void replaced(strategy_host *host, uint32_t index, const report_event *report) {
    strategy_order *order = &host->order[index];
    if (order->token != report->token) {
        replacement_forget(host, order);
        id_map_remove(host->tokens, order->token);
        order->token = report->token;
        id_map_put(host->tokens, order->token, index);
    }
    order->quantity_lots = report->leaves_lots + report->cumulative_lots;
    accepted(host, index, report);
}

/* Money and lots of a fill, or with sign -1 of one that did not happen. */
static void filled(strategy_host *host, const report_event *report, int sign) {
    uint32_t instrument = report->header.instrument;
    strategy_position *position = &host->position[instrument];
    int64_t lots = sign * report->quantity_lots;
    int64_t money = lots * report->price_ticks * host->instruments[instrument].tick_value_micros;
    if (report->side == SIDE_BUY) {
        position->bought_lots += lots;
        position->cash_micros -= money;
    } else {
        position->sold_lots += lots;
        position->cash_micros += money;
    }
}

/* A request that came to nothing: an order is gone, a replacement or a cancel leaves its order as it was. */
static void came_to_nothing(strategy_host *host, uint32_t index, const report_event *report) {
    strategy_order *order = &host->order[index];
    if (report->header.type == EXEC_CANCEL_REJECTED) {
        order->canceling = 0;
        int gone = (report->header.flags & FLAG_REFUSED) && report->reason == REJECT_UNKNOWN_ORDER;
        if (gone) order_remove(host, index);
    } else if (order->replace_token && order->replace_token == report->token) {
        replacement_forget(host, order);
    } else if (order->token == report->token) {
        order_remove(host, index);
    }
}

static void snapshot_order(strategy_host *host, const report_event *report) {
    strategy_order *order = order_add(host, report->token, report->header.instrument, report->side);
    if (!order) return;
    order->order_id = report->order_id;
    order->price_ticks = report->price_ticks;
    order->quantity_lots = report->quantity_lots;
    order->leaves_lots = report->leaves_lots;
    order->filled_lots = report->cumulative_lots;
    order->state = STRATEGY_ORDER_LIVE;
}

static void order_report(strategy_host *host, const report_event *report) {
    uint8_t type = report->header.type;
    if (type == EXEC_FILL) filled(host, report, 1);
    if (type == EXEC_BROKEN) filled(host, report, -1);
    uint32_t index = host_find(host, report->token);
    if (index == host->order_count) index = host_find(host, report->target_token);
    if (index == host->order_count) return;
    switch (type) {
    case EXEC_ACCEPTED: accepted(host, index, report); return;
    case EXEC_REPLACED: replaced(host, index, report); return;
    case EXEC_FILL:
    case EXEC_CANCELED: leaves_set(host, index, report); return;
    case EXEC_RESTATED:
        if (report->price_ticks > 0) host->order[index].price_ticks = report->price_ticks;
        if (report->leaves_lots > 0) host->order[index].leaves_lots = report->leaves_lots;
        return;
    case EXEC_REJECTED:
    case EXEC_REFUSED:
    case EXEC_REPLACE_REJECTED:
    case EXEC_CANCEL_REJECTED: came_to_nothing(host, index, report); return;
    default: return;
    }
}

static int cut_tell(strategy_host *host, uint32_t reason) {
    host->trading = 0;
    host->cut_reason = reason;
    if (host->cut_told) return HOST_IDLE;
    host->cut_told = 1;
    return HOST_CUT;
}

/* Take in one report: enum host_news. */
static int report_follow(strategy_host *host, const report_event *report) {
    uint32_t instrument = report->header.instrument;
    if (instrument < host->instrument_count) host->position[instrument].position_lots = report->position_lots;
    switch (report->header.type) {
    case REPORT_ATTACHED: orders_forget(host); return HOST_IDLE;
    case REPORT_ORDER: snapshot_order(host, report); return HOST_IDLE;
    case REPORT_POSITION: return HOST_IDLE;
    case REPORT_END:
        if (report->token > host->token) host->token = report->token;
        host->trading = 1;
        return HOST_STARTED;
    case REPORT_CUT: return cut_tell(host, report->reason);
    default:
        if (instrument < host->instrument_count) order_report(host, report);
        return HOST_REPORT;
    }
}

static int reports_next(strategy_host *host) {
    uint64_t lost = 0;
    for (uint32_t i = 0; i < host->batch_max; i++) {
        if (!ring_copy(&host->reports, host->report, 1, &lost)) return HOST_IDLE;
        if (host->report->attach_epoch != host->attach_epoch) continue; /* a predecessor's */
        int news = report_follow(host, host->report);
        if (news != HOST_IDLE) return news;
    }
    return HOST_AGAIN;
}

/* ---- the call ------------------------------------------------------------------------------------ */

static int look(strategy_host *host) {
    int news = reports_next(host);
    if (news != HOST_IDLE) return news;
    uint32_t reason;
    int state = seat_client_state(host->page, &reason);
    if (host->trading && (state != SEAT_TAKEN || host->page->attach_epoch != host->attach_epoch)) return cut_tell(host, reason);
    if (!host->trading) return HOST_IDLE;
    if (host->now_ns >= host->timer_due_ns) return HOST_TIMER;
    return market_next(host);
}

int host_next(strategy_host *host) {
    if (host->lockstep) {
        host->now_ns = __atomic_load_n(&host->lockstep->now_ns, __ATOMIC_RELAXED);
        return look(host);
    }
    host->now_ns = clock_read(host->clock);
    seat_client_busy(host->client, 0);
    seat_client_beat(host->client, host->now_ns);
    int news = look(host);
    host->answering = news == HOST_EVENT;
    if (news != HOST_IDLE && news != HOST_AGAIN) seat_client_busy(host->client, clock_read(host->clock));
    return news;
}

void host_rest(strategy_host *host) {
    if (!host->lockstep) seat_client_busy(host->client, 0);
}

/* ---- requests ------------------------------------------------------------------------------------ */

static uint64_t unsent(strategy_host *host, uint32_t status) {
    host->status = status;
    host->unsent++;
    return 0;
}

static request_event *request_claim(strategy_host *host, uint32_t type, uint32_t instrument) {
    request_event *request = ring_claim_inline(&host->orders);
    if (!request) return NULL;
    memset((uint8_t *)request + sizeof(uint64_t), 0, sizeof *request - sizeof(uint64_t));
    request->header.type = (uint8_t)type;
    request->header.instrument = instrument;
    request->header.cause_input = INPUT_NORM;
    request->header.cause_sequence = host->event_sequence;
    request->header.origin_time_ns = host->now_ns;
    request->attach_epoch = host->attach_epoch;
    if (instrument >= host->instrument_count) return request;
    request->bid_price_ticks = host->market[instrument].bid_price_ticks;
    request->ask_price_ticks = host->market[instrument].ask_price_ticks;
    return request;
}

static void request_commit(strategy_host *host, request_event *request) {
    uint64_t now_ns = host->lockstep ? host->now_ns : clock_read(host->clock);
    request->header.publish_time_ns = now_ns;
    ring_commit_inline(&host->orders);
    if (host->answer && host->answering && now_ns >= host->event_time_ns)
        histogram_record_inline(host->answer, now_ns - host->event_time_ns);
    host->requests++;
    host->status = HOST_SENT;
}

static bool in_range(int64_t value) { return value > 0 && value <= REQUEST_VALUE_MAX; }

/* HOST_SENT when nothing speaks against it yet. */
static uint32_t refusal(const strategy_host *host, int64_t price_ticks, int64_t quantity_lots) {
    if (!in_range(price_ticks)) return HOST_BAD_PRICE;
    if (!in_range(quantity_lots)) return HOST_BAD_QUANTITY;
    return host->trading ? HOST_SENT : HOST_NOT_TAKEN;
}

uint64_t host_order(strategy_host *host, uint32_t instrument, uint32_t side, int64_t price_ticks, int64_t quantity_lots,
                    uint32_t time_in_force) {
    if (instrument >= host->instrument_count) return unsent(host, HOST_BAD_INSTRUMENT);
    if (side > SIDE_SELL || time_in_force > TIF_IOC) return unsent(host, HOST_BAD_WORD);
    uint32_t status = refusal(host, price_ticks, quantity_lots);
    if (status != HOST_SENT) return unsent(host, status);
    if (host->order_count >= host->order_max) return unsent(host, HOST_ORDERS_MAX);
    request_event *request = request_claim(host, REQUEST_NEW, instrument);
    if (!request) return unsent(host, HOST_RING_FULL);
    strategy_order *order = order_add(host, host->token + 1, instrument, side);
    if (!order) return unsent(host, HOST_ORDERS_MAX); /* the claimed slot is claimed again by the next request */
    request->token = ++host->token;
    request->price_ticks = order->price_ticks = price_ticks;
    request->quantity_lots = order->quantity_lots = order->leaves_lots = quantity_lots;
    request->side = (uint8_t)side;
    request->time_in_force = (uint8_t)time_in_force;
    order->state = STRATEGY_ORDER_PENDING;
    order->request_time_ns = host->now_ns;
    request_commit(host, request);
    return host->token;
}

uint64_t host_replace(strategy_host *host, uint64_t token, int64_t price_ticks, int64_t quantity_lots) {
    uint32_t status = refusal(host, price_ticks, quantity_lots);
    if (status != HOST_SENT) return unsent(host, status);
    uint32_t index = host_find(host, token);
    if (index == host->order_count || host->order[index].token != token) return unsent(host, HOST_UNKNOWN_ORDER);
    strategy_order *order = &host->order[index];
    if (order->replace_token || order->canceling) return unsent(host, HOST_BUSY_ORDER);
    request_event *request = request_claim(host, REQUEST_REPLACE, order->instrument);
    if (!request) return unsent(host, HOST_RING_FULL);
    if (!id_map_put(host->tokens, host->token + 1, index)) return unsent(host, HOST_ORDERS_MAX);
    request->token = order->replace_token = ++host->token;
    request->target_token = token;
    request->price_ticks = price_ticks;
    request->quantity_lots = quantity_lots;
    request->side = order->side;
    order->request_time_ns = host->now_ns;
    request_commit(host, request);
    return host->token;
}

uint64_t host_cancel(strategy_host *host, uint64_t token) {
    if (!host->trading) return unsent(host, HOST_NOT_TAKEN);
    uint32_t index = host_find(host, token);
    if (index == host->order_count) return unsent(host, HOST_UNKNOWN_ORDER);
    strategy_order *order = &host->order[index];
    if (order->canceling) return unsent(host, HOST_BUSY_ORDER);
    request_event *request = request_claim(host, REQUEST_CANCEL, order->instrument);
    if (!request) return unsent(host, HOST_RING_FULL);
    request->target_token = order->token;
    request->side = order->side;
    order->canceling = 1;
    request_commit(host, request);
    return 1;
}

uint64_t host_cancel_all(strategy_host *host, uint32_t instrument) {
    if (instrument != NO_INSTRUMENT && instrument >= host->instrument_count) return unsent(host, HOST_BAD_INSTRUMENT);
    if (!host->trading) return unsent(host, HOST_NOT_TAKEN);
    request_event *request = request_claim(host, REQUEST_CANCEL_ALL, instrument);
    if (!request) return unsent(host, HOST_RING_FULL);
    for (uint32_t i = 0; i < host->order_count; i++)
        if (instrument == NO_INSTRUMENT || host->order[i].instrument == instrument) host->order[i].canceling = 1;
    request_commit(host, request);
    return 1;
}

uint64_t host_leave(strategy_host *host, uint32_t type) {
    if (!host->trading) return unsent(host, HOST_NOT_TAKEN);
    request_event *request = request_claim(host, type, NO_INSTRUMENT);
    if (!request) return unsent(host, HOST_RING_FULL);
    request_commit(host, request);
    host->trading = 0;
    return 1;
}

/* ---- depth --------------------------------------------------------------------------------------- */

int host_depth(strategy_host *host, uint32_t instrument, uint32_t levels, uint32_t counts[2]) {
    counts[0] = counts[1] = 0;
    if (!host->book || instrument >= host->instrument_count) return 0;
    uint32_t most = levels < HOST_DEPTH_MAX ? levels : HOST_DEPTH_MAX;
    counts[SIDE_BUY] = book_depth(host->book, instrument, SIDE_BUY, host->bid, most);
    counts[SIDE_SELL] = book_depth(host->book, instrument, SIDE_SELL, host->ask, most);
    return 1;
}
