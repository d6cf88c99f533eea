/* match.c: the matching engine. See include/match.h. The book keeps the queues; here are the rules. */
#include "match.h"
#include "id_map_inline.h"
#include <stdbool.h>

#define MATCH_OWNED_LIMIT (1u << 24)
#define EVENTS_PER_STEP 2 /* one execution, or the delete and the add of a replacement */

struct match {
    book *book;
    uint8_t *state; /* enum trading_state by instrument */
    id_map owner;   /* of live owned orders */
    uint64_t next_order_ref;
    uint64_t next_match_id;
    uint32_t instruments;
    bool entering; /* `taker` waits for room in the output */
    bool reserved[3];
    match_request taker; /* quantity_lots: what is still to execute or rest; order_ref: its own number */
    match_result result;
};

typedef struct {
    uint64_t state, cell, book_memory, total; /* offsets */
    uint64_t cells;
} match_plan;

static uint64_t align_line(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) & ~(uint64_t)(CACHE_LINE_SIZE - 1); }

static bool plan_memory(const match_config *config, match_plan *plan) {
    uint64_t book_size = book_bytes(&config->book);
    if (!book_size || !config->owned_max || config->owned_max > MATCH_OWNED_LIMIT || !config->first_order_ref) return false;
    plan->cells = id_map_cells(config->owned_max);
    plan->state = align_line(sizeof(struct match));
    plan->cell = align_line(plan->state + config->book.instruments);
    plan->book_memory = align_line(plan->cell + plan->cells * sizeof(id_map_cell));
    plan->total = plan->book_memory + book_size;
    return true;
}

uint64_t match_bytes(const match_config *config) {
    match_plan plan;
    return plan_memory(config, &plan) ? plan.total : 0;
}

match *match_init(void *memory, uint64_t bytes, const match_config *config) {
    match_plan plan;
    if (!memory || (uintptr_t)memory % CACHE_LINE_SIZE || !plan_memory(config, &plan) || bytes < plan.total) return NULL;
    uint8_t *base = memory;
    memset(base, 0, plan.cell);
    match *m = memory;
    m->state = base + plan.state;
    m->book = book_init(base + plan.book_memory, plan.total - plan.book_memory, &config->book);
    if (!m->book) return NULL;
    memset(m->state, STATE_TRADING, config->book.instruments);
    id_map_init(&m->owner, (id_map_cell *)(base + plan.cell), plan.cells);
    m->next_order_ref = config->first_order_ref;
    m->next_match_id = config->first_match_id;
    m->instruments = config->book.instruments;
    return m;
}

/* ---- events ------------------------------------------------------------------------------------ */

static bool worse(int side, int64_t price, int64_t than) { return side == SIDE_BUY ? price < than : price > than; }

static norm_event *event_next(match_output *output, uint8_t type, uint32_t instrument, uint64_t time_ns) {
    norm_event *event = &output->event[output->events++];
    memset(event, 0, sizeof *event);
    event->header.type = type;
    event->header.instrument = instrument;
    event->header.origin_time_ns = time_ns;
    return event;
}

/* Write the event, apply it to the book; an event that the book refuses is taken back. */
static int change(match *m, match_output *output, norm_event *event) {
    int status = book_apply(m->book, event);
    if (status != BOOK_OK) output->events--;
    return status;
}

static void execute(match *m, const book_order *maker, match_output *output) {
    match_request *taker = &m->taker;
    int64_t quantity = taker->quantity_lots < maker->quantity_lots ? taker->quantity_lots : maker->quantity_lots;
    norm_event *event = event_next(output, NORM_EXECUTE, maker->instrument, taker->time_ns);
    event->header.flags = FLAG_PRINTABLE;
    event->order_ref = maker->order_ref;
    event->quantity_lots = quantity;
    event->reference = m->next_match_id;
    change(m, output, event);

    uint32_t maker_owner = id_map_get(&m->owner, maker->order_ref);
    if (maker_owner == ID_MAP_NONE) maker_owner = 0;
    if (maker_owner && quantity == maker->quantity_lots) id_map_remove(&m->owner, maker->order_ref);
    if (maker_owner || taker->owner) {
        match_fill *fill = &output->fill[output->fills++];
        memset(fill, 0, sizeof *fill);
        fill->maker_ref = maker->order_ref;
        fill->taker_ref = taker->order_ref;
        fill->match_id = m->next_match_id;
        fill->time_ns = taker->time_ns;
        fill->price_ticks = maker->price_ticks;
        fill->quantity_lots = quantity;
        fill->maker_owner = maker_owner;
        fill->taker_owner = taker->owner;
        fill->instrument = maker->instrument;
        fill->maker_side = maker->side;
    }
    m->next_match_id++;
    taker->quantity_lots -= quantity;
    m->result.executed_lots += quantity;
}

static void rest(match *m, match_output *output) {
    const match_request *taker = &m->taker;
    bool owned = taker->owner != 0;
    if (taker->time_in_force != TIF_IOC && (!owned || id_map_put(&m->owner, taker->order_ref, taker->owner))) {
        norm_event *event = event_next(output, NORM_ADD, taker->instrument, taker->time_ns);
        event->header.flags = taker->side == SIDE_SELL ? FLAG_SELL : 0;
        event->order_ref = taker->order_ref;
        event->price_ticks = taker->price_ticks;
        event->quantity_lots = taker->quantity_lots;
        if (change(m, output, event) == BOOK_OK) {
            m->result.leaves_lots = taker->quantity_lots;
            return;
        }
        if (owned) id_map_remove(&m->owner, taker->order_ref);
    }
    m->result.removed_lots = taker->quantity_lots;
}

/* The taker executes while it crosses, then rests or leaves. */
static int proceed(match *m, match_output *output, match_result *result) {
    match_request *taker = &m->taker;
    book_order front;
    m->entering = true;
    while (taker->quantity_lots) {
        if (output->events + EVENTS_PER_STEP > output->events_max || output->fills >= output->fills_max) return MATCH_MORE;
        if (book_front(m->book, taker->instrument, !taker->side, &front) != BOOK_OK) break;
        if (worse(taker->side, taker->price_ticks, front.price_ticks)) break;
        execute(m, &front, output);
    }
    if (taker->quantity_lots) rest(m, output);
    m->entering = false;
    *result = m->result;
    return MATCH_OK;
}

/* ---- requests ---------------------------------------------------------------------------------- */

static int refuse(match_result *result, uint32_t reason) {
    result->reason = reason;
    return MATCH_REFUSED;
}

static uint32_t fault_of(const match *m, const match_request *request) {
    if (request->instrument >= m->instruments) return VENUE_BAD_SYMBOL;
    if (m->state[request->instrument] != STATE_TRADING) return VENUE_HALTED;
    if (request->side > SIDE_SELL) return VENUE_BAD_SIDE;
    if (request->quantity_lots <= 0) return VENUE_BAD_QUANTITY;
    if (request->price_ticks <= 0) return VENUE_BAD_PRICE;
    return VENUE_REASON_NONE;
}

static int print_trade(match *m, const match_request *request, match_output *output, match_result *result) {
    uint32_t fault = fault_of(m, request);
    if (fault) return refuse(result, fault);
    book_order bid, ask;
    if (book_front(m->book, request->instrument, SIDE_BUY, &bid) != BOOK_OK) return refuse(result, VENUE_BAD_PRICE);
    if (book_front(m->book, request->instrument, SIDE_SELL, &ask) != BOOK_OK) return refuse(result, VENUE_BAD_PRICE);
    if (request->price_ticks <= bid.price_ticks || request->price_ticks >= ask.price_ticks)
        return refuse(result, VENUE_BAD_PRICE);
    norm_event *event = event_next(output, NORM_TRADE, request->instrument, request->time_ns);
    event->header.flags = FLAG_PRINTABLE;
    event->price_ticks = request->price_ticks;
    event->quantity_lots = request->quantity_lots;
    event->reference = m->next_match_id++;
    book_apply(m->book, event); /* gives it the top of the book; a print is ignored otherwise */
    result->executed_lots = request->quantity_lots;
    return MATCH_OK;
}

static int begin_enter(match *m, const match_request *request, match_output *output, match_result *result) {
    uint32_t fault = fault_of(m, request);
    if (fault) return refuse(result, fault);
    memset(&m->result, 0, sizeof m->result);
    m->taker = *request;
    m->taker.order_ref = m->result.order_ref = m->next_order_ref++;
    return proceed(m, output, result);
}

static int remove_order(match *m, const match_request *request, match_output *output, match_result *result) {
    norm_event *event = event_next(output, NORM_DELETE, request->instrument, request->time_ns);
    event->order_ref = request->order_ref;
    if (change(m, output, event) != BOOK_OK) return refuse(result, VENUE_OTHER);
    id_map_remove(&m->owner, request->order_ref);
    result->removed_lots = event->quantity_lots;
    return MATCH_OK;
}

static int reduce(match *m, const match_request *request, match_output *output, match_result *result) {
    book_order order;
    if (book_find(m->book, request->order_ref, &order) != BOOK_OK) return refuse(result, VENUE_OTHER);
    if (request->quantity_lots <= 0) return refuse(result, VENUE_BAD_QUANTITY);
    if (request->quantity_lots >= order.quantity_lots) return remove_order(m, request, output, result);
    norm_event *event = event_next(output, NORM_REDUCE, order.instrument, request->time_ns);
    event->order_ref = request->order_ref;
    event->quantity_lots = request->quantity_lots;
    change(m, output, event);
    result->removed_lots = request->quantity_lots;
    result->leaves_lots = order.quantity_lots - request->quantity_lots;
    return MATCH_OK;
}

/* One replace event where the new order simply rests; where it would cross, the old one is deleted and
 * the new one enters like any other, since a feed's replace cannot execute. */
static int begin_replace(match *m, const match_request *request, match_output *output, match_result *result) {
    book_order old, front;
    if (book_find(m->book, request->order_ref, &old) != BOOK_OK) return refuse(result, VENUE_REPLACE_NOT_ALLOWED);
    match_request taker = *request;
    taker.instrument = old.instrument;
    taker.side = old.side;
    uint32_t fault = fault_of(m, &taker);
    if (fault) return refuse(result, fault);
    memset(&m->result, 0, sizeof m->result);
    taker.order_ref = m->result.order_ref = m->next_order_ref++;
    bool crosses = book_front(m->book, old.instrument, !old.side, &front) == BOOK_OK &&
                   !worse(old.side, taker.price_ticks, front.price_ticks);
    m->taker = taker;
    if (crosses || taker.time_in_force == TIF_IOC) {
        remove_order(m, request, output, result);
        *result = (match_result){0};
        return proceed(m, output, result);
    }
    norm_event *event = event_next(output, NORM_REPLACE, old.instrument, request->time_ns);
    event->order_ref = request->order_ref;
    event->reference = taker.order_ref;
    event->price_ticks = taker.price_ticks;
    event->quantity_lots = taker.quantity_lots;
    if (change(m, output, event) != BOOK_OK) return refuse(result, VENUE_PROCESSING);
    id_map_remove(&m->owner, request->order_ref);
    if (taker.owner) id_map_put(&m->owner, taker.order_ref, taker.owner);
    m->result.leaves_lots = taker.quantity_lots;
    *result = m->result;
    return MATCH_OK;
}

int match_submit(match *m, const match_request *request, match_output *output, match_result *result) {
    *result = (match_result){0};
    result->order_ref = request->order_ref;
    if (m->entering || output->events + EVENTS_PER_STEP > output->events_max) return refuse(result, VENUE_PROCESSING);
    switch (request->action) {
    case MATCH_ENTER: return begin_enter(m, request, output, result);
    case MATCH_CANCEL: return remove_order(m, request, output, result);
    case MATCH_REDUCE: return reduce(m, request, output, result);
    case MATCH_REPLACE: return begin_replace(m, request, output, result);
    case MATCH_TRADE: return print_trade(m, request, output, result);
    default: return refuse(result, VENUE_OTHER);
    }
}

int match_resume(match *m, match_output *output, match_result *result) {
    if (m->entering) return proceed(m, output, result);
    *result = m->result;
    return MATCH_OK;
}

int match_state(match *m, uint32_t instrument, uint32_t trading_state, uint64_t time_ns, match_output *output) {
    if (instrument >= m->instruments || trading_state > STATE_QUOTATION || output->events >= output->events_max)
        return MATCH_REFUSED;
    m->state[instrument] = (uint8_t)trading_state;
    norm_event *event = event_next(output, NORM_STATUS, instrument, time_ns);
    event->order_ref = trading_state;
    book_apply(m->book, event);
    return MATCH_OK;
}

const book *match_book(const match *m) { return m->book; }
uint64_t match_next_order_ref(const match *m) { return m->next_order_ref; }

uint32_t match_owner(const match *m, uint64_t order_ref) {
    uint32_t owner = id_map_get(&m->owner, order_ref);
    return owner == ID_MAP_NONE ? 0 : owner;
}
