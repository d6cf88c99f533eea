/* paper.c: the paper venue. See include/paper.h.
 *
 * Our resting orders stand in the copy of the book among the market's own, under references with
 * OWN_REF set, so their queue position is the book's to keep. Beside it, each instrument and side
 * lists our levels best first, and each level our orders oldest first:
 *
 *   best[instrument, side] --> level --> level --> level
 *                                |
 *                              order --> order
 *
 * A market event looks at the head of one list; with no order of ours there, that is all.
 *
 * The market's events tell what happened without us. Where they meet an order of ours:
 *   execution of R   those of ours that stood before R (better price, or same price and earlier) would
 *                    have been hit first, up to its quantity
 *   trade at P       (never displayed) those of ours at a price strictly better for the taker
 *   add or replace   one that crosses ours when ours is first in its queue: it trades with ours first
 */
#include "paper.h"
#include "feature_math.h"
#include "id_map_inline.h"
#include <stdbool.h>

#define OWN_REF ((uint64_t)1 << 63)
#define NONE 0xffffffffu
#define REPORTS_PER_STEP 4 /* an order's first step, or one fill with both sides ours, makes fewer */
#define PAPER_ORDERS_LIMIT (1u << 24)
#define PAPER_SPREAD_LIMIT ((uint64_t)1 << 48)
#define PAPER_SPREADS_MAX 64 /* of an exponential latency: 1 in 10^27 is longer */

typedef struct {
    uint64_t order_id;
    uint64_t ref; /* in the copy of the book */
    int64_t price_ticks;
    int64_t leaves_lots;
    int64_t cumulative_lots;
    uint32_t instrument;
    uint32_t level;
    uint32_t next; /* in its level; in the free list: the next free */
    uint32_t previous;
    uint8_t side;
    uint8_t time_in_force;
    uint8_t reserved[6];
} own_order;

/* Our orders at one price. Levels are as many as orders, since each holds at least one. */
typedef struct {
    int64_t price_ticks;
    uint32_t next; /* the next worse; in the free list: the next free */
    uint32_t previous;
    uint32_t first;
    uint32_t last;
} own_level;

typedef struct {
    uint64_t effect_time_ns;
    cmd_event command;
} pending_order;

struct paper {
    book *book;
    own_order *order;
    own_level *level;
    uint32_t *best; /* [instrument * 2 + side]: our best level there */
    uint32_t *working; /* [instrument]: ours resting there */
    pending_order *pending;
    exec_event *report;
    id_map by_id;
    uint64_t pending_head, pending_tail, pending_mask;
    uint64_t report_head, report_tail, report_mask;
    uint64_t latency_ns;
    uint64_t latency_spread_ns;
    uint64_t latency_seed;
    uint64_t now_ns;
    uint64_t next_ref;
    uint64_t next_match_id;
    uint32_t free;
    uint32_t free_level;
    uint32_t reserved;
    uint32_t taking; /* the order that is crossing the book, stopped for want of room among the reports */
    uint32_t open;
    uint32_t instruments;
    uint32_t unplaced; /* 1: the book is being built anew, and ours are not in it yet */
    uint32_t fill;     /* enum paper_fill */
    uint32_t latency;  /* enum paper_latency */
    uint32_t reserved1;
};

/* ---- memory ----------------------------------------------------------------------------------- */

typedef struct {
    book_config book;
    uint64_t order, level, best, working, pending, report, cell, book_memory, total; /* offsets */
    uint64_t pendings, cells;
} paper_plan;

static uint64_t align_line(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) & ~(uint64_t)(CACHE_LINE_SIZE - 1); }

static uint64_t take_space(uint64_t *total, uint64_t bytes) {
    uint64_t offset = *total;
    *total = align_line(offset + bytes);
    return offset;
}

static bool plan_memory(const paper_config *config, paper_plan *plan) {
    uint32_t reports = config->reports_max;
    if (!config->orders_max || config->orders_max > PAPER_ORDERS_LIMIT) return false;
    if (config->fill > PAPER_FILL_THROUGH || config->latency > PAPER_LATENCY_EXPONENTIAL) return false;
    if (config->latency_spread_ns > PAPER_SPREAD_LIMIT) return false;
    if (!reports || reports & (reports - 1) || reports < config->orders_max + 2 * REPORTS_PER_STEP) return false;
    plan->book = config->book;
    if (plan->book.orders_max > UINT32_MAX - config->orders_max) return false;
    plan->book.orders_max += config->orders_max;
    plan->book.levels_max += config->orders_max;
    uint64_t book_size = book_bytes(&plan->book);
    if (!book_size) return false;
    plan->cells = id_map_cells(config->orders_max);
    plan->pendings = 1;
    while (plan->pendings < config->orders_max) plan->pendings *= 2;
    uint64_t total = align_line(sizeof(struct paper));
    plan->order = take_space(&total, config->orders_max * sizeof(own_order));
    plan->level = take_space(&total, config->orders_max * sizeof(own_level));
    plan->best = take_space(&total, config->book.instruments * 2 * sizeof(uint32_t));
    plan->working = take_space(&total, config->book.instruments * sizeof(uint32_t));
    plan->pending = take_space(&total, plan->pendings * sizeof(pending_order));
    plan->report = take_space(&total, reports * sizeof(exec_event));
    plan->cell = take_space(&total, plan->cells * sizeof(id_map_cell));
    plan->book_memory = take_space(&total, book_size);
    plan->total = total;
    return true;
}

uint64_t paper_bytes(const paper_config *config) {
    paper_plan plan;
    return plan_memory(config, &plan) ? plan.total : 0;
}

paper *paper_init(void *memory, uint64_t bytes, const paper_config *config) {
    paper_plan plan;
    if (!memory || (uintptr_t)memory % CACHE_LINE_SIZE || !plan_memory(config, &plan) || bytes < plan.total) return NULL;
    uint8_t *base = memory;
    memset(base, 0, plan.book_memory);
    paper *p = memory;
    p->order = (own_order *)(base + plan.order);
    p->level = (own_level *)(base + plan.level);
    p->best = (uint32_t *)(base + plan.best);
    p->working = (uint32_t *)(base + plan.working);
    p->pending = (pending_order *)(base + plan.pending);
    p->report = (exec_event *)(base + plan.report);
    p->book = book_init(base + plan.book_memory, plan.total - plan.book_memory, &plan.book);
    if (!p->book) return NULL;
    id_map_init(&p->by_id, (id_map_cell *)(base + plan.cell), plan.cells);
    p->pending_mask = plan.pendings - 1;
    p->report_mask = config->reports_max - 1;
    p->latency_ns = config->latency_ns;
    p->latency_spread_ns = config->latency_spread_ns;
    p->latency_seed = config->latency_seed;
    p->fill = config->fill;
    p->latency = config->latency;
    p->next_ref = OWN_REF + 1;
    p->next_match_id = config->first_match_id;
    p->taking = NONE;
    p->instruments = config->book.instruments;
    memset(p->best, 0xff, p->instruments * 2 * sizeof(uint32_t));
    for (uint32_t i = 0; i < config->orders_max; i++)
        p->order[i].next = p->level[i].next = i + 1 < config->orders_max ? i + 1 : NONE;
    return p;
}

/* ---- reports ---------------------------------------------------------------------------------- */

static uint64_t room(const paper *p) { return p->report_mask + 1 - (p->report_tail - p->report_head); }

/* Zeroed but for type, time and instrument. The caller made sure of the room. */
static exec_event *report_next(paper *p, uint8_t type, uint32_t instrument) {
    exec_event *report = &p->report[p->report_tail++ & p->report_mask];
    memset(report, 0, sizeof *report);
    report->header.type = type;
    report->header.instrument = instrument;
    report->header.origin_time_ns = p->now_ns;
    return report;
}

static exec_event *report_order(paper *p, uint8_t type, const own_order *own) {
    exec_event *report = report_next(p, type, own->instrument);
    report->order_id = own->order_id;
    report->venue_ref = own->ref;
    report->price_ticks = own->price_ticks;
    report->quantity_lots = own->leaves_lots;
    report->leaves_lots = own->leaves_lots;
    report->cumulative_lots = own->cumulative_lots;
    report->side = own->side;
    return report;
}

static void report_refusal(paper *p, uint8_t type, const cmd_event *command, uint16_t reason) {
    exec_event *report = report_next(p, type, command->header.instrument);
    report->order_id = type == EXEC_CANCEL_REJECTED ? command->target_order_id : command->order_id;
    report->target_order_id = command->target_order_id;
    report->price_ticks = command->price_ticks;
    report->quantity_lots = command->quantity_lots;
    report->side = command->side;
    report->reason = reason;
}

/* An empty queue begins again at its first place: the lines just used serve the next order too. */
static void rewind_empty(uint64_t *head, uint64_t *tail) {
    if (*head == *tail) *head = *tail = 0;
}

int paper_poll(paper *p, exec_event *report) {
    if (p->report_head == p->report_tail) return 0;
    *report = p->report[p->report_head++ & p->report_mask];
    rewind_empty(&p->report_head, &p->report_tail);
    return 1;
}

/* ---- our orders and their lists ---------------------------------------------------------------- */

static bool better(int side, int64_t price, int64_t than) { return side == SIDE_BUY ? price > than : price < than; }

static uint32_t *best_of(paper *p, const own_order *own) { return &p->best[own->instrument * 2 + own->side]; }

/* Our first order on a side, by priority. */
static uint32_t first_of(const paper *p, uint32_t instrument, int side) {
    uint32_t level = p->best[instrument * 2 + (uint32_t)side];
    return level == NONE ? NONE : p->level[level].first;
}

/* The one after it. */
static uint32_t next_of(const paper *p, const own_order *own) {
    if (own->next != NONE) return own->next;
    uint32_t level = p->level[own->level].next;
    return level == NONE ? NONE : p->level[level].first;
}

/* Our level at the order's price, made when there is none. Walks our levels, not our orders. */
static uint32_t level_of(paper *p, const own_order *own) {
    uint32_t *link = best_of(p, own);
    uint32_t previous = NONE;
    while (*link != NONE && better(own->side, p->level[*link].price_ticks, own->price_ticks)) {
        previous = *link;
        link = &p->level[previous].next;
    }
    if (*link != NONE && p->level[*link].price_ticks == own->price_ticks) return *link;
    uint32_t made = p->free_level;
    own_level *level = &p->level[made];
    p->free_level = level->next;
    *level = (own_level){own->price_ticks, *link, previous, NONE, NONE};
    if (level->next != NONE) p->level[level->next].previous = made;
    *link = made;
    return made;
}

static void list_insert(paper *p, uint32_t slot) {
    own_order *own = &p->order[slot];
    own->level = level_of(p, own);
    own_level *level = &p->level[own->level];
    own->next = NONE;
    own->previous = level->last;
    if (level->last != NONE)
        p->order[level->last].next = slot;
    else
        level->first = slot;
    level->last = slot;
    p->working[own->instrument]++;
    p->open++;
}

static void level_remove(paper *p, const own_order *own) {
    own_level *level = &p->level[own->level];
    if (level->previous != NONE)
        p->level[level->previous].next = level->next;
    else
        *best_of(p, own) = level->next;
    if (level->next != NONE) p->level[level->next].previous = level->previous;
    level->next = p->free_level;
    p->free_level = own->level;
}

static void list_remove(paper *p, uint32_t slot) {
    own_order *own = &p->order[slot];
    own_level *level = &p->level[own->level];
    if (own->previous != NONE)
        p->order[own->previous].next = own->next;
    else
        level->first = own->next;
    if (own->next != NONE)
        p->order[own->next].previous = own->previous;
    else
        level->last = own->previous;
    if (level->first == NONE) level_remove(p, own);
    p->working[own->instrument]--;
    p->open--;
}

static void slot_free(paper *p, uint32_t slot) {
    id_map_remove(&p->by_id, p->order[slot].order_id);
    p->order[slot].next = p->free;
    p->free = slot;
}

/* One event of our own making on the copy of the book. */
static int book_change(paper *p, uint8_t type, const own_order *own, uint64_t ref, int64_t quantity_lots) {
    norm_event event = {0};
    event.header.type = type;
    event.header.instrument = own->instrument;
    event.header.flags = own->side == SIDE_SELL ? FLAG_SELL : 0;
    event.order_ref = ref;
    event.price_ticks = own->price_ticks;
    event.quantity_lots = quantity_lots;
    return book_apply(p->book, &event);
}

static void fill_report(paper *p, const own_order *own, int64_t quantity_lots, int64_t price_ticks, uint8_t liquidity) {
    exec_event *report = report_order(p, EXEC_FILL, own);
    report->quantity_lots = quantity_lots;
    report->price_ticks = price_ticks;
    report->match_id = p->next_match_id;
    report->liquidity = liquidity;
}

/* A resting order of ours executes at its own price. The caller moves the match number on. */
static void fill_resting(paper *p, uint32_t slot, int64_t quantity_lots) {
    own_order *own = &p->order[slot];
    book_change(p, NORM_EXECUTE, own, own->ref, quantity_lots);
    own->leaves_lots -= quantity_lots;
    own->cumulative_lots += quantity_lots;
    fill_report(p, own, quantity_lots, own->price_ticks, 'A');
    if (own->leaves_lots) return;
    list_remove(p, slot);
    slot_free(p, slot);
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- an order takes effect --------------------------------------------------------------------- */

static void cancel_rest(paper *p, uint32_t slot, uint16_t reason) {
    own_order *own = &p->order[slot];
    exec_event *report = report_order(p, EXEC_CANCELED, own);
    report->target_order_id = own->order_id;
    report->leaves_lots = 0;
    report->reason = reason;
    slot_free(p, slot);
}

static void take_one(paper *p, uint32_t slot, const book_order *front) {
    own_order *own = &p->order[slot];
    int64_t quantity = smaller(own->leaves_lots, front->quantity_lots);
    uint32_t head = first_of(p, own->instrument, !own->side);
    own->leaves_lots -= quantity;
    own->cumulative_lots += quantity;
    fill_report(p, own, quantity, front->price_ticks, 'R');
    if (front->order_ref & OWN_REF)
        fill_resting(p, head, quantity); /* both sides are ours, and ours at the front is our list's head */
    else
        book_change(p, NORM_EXECUTE, own, front->order_ref, quantity);
    p->next_match_id++;
}

/* The order in `taking` crosses the book, then rests or dies. PAPER_FULL: it stopped for want of room. */
static int take(paper *p) {
    uint32_t slot = p->taking;
    own_order *own = &p->order[slot];
    book_order front;
    while (own->leaves_lots) {
        if (room(p) < REPORTS_PER_STEP) return PAPER_FULL;
        if (book_front(p->book, own->instrument, !own->side, &front) != BOOK_OK) break;
        if (better(own->side, front.price_ticks, own->price_ticks)) break;
        take_one(p, slot, &front);
    }
    p->taking = NONE;
    if (!own->leaves_lots)
        slot_free(p, slot);
    else if (own->time_in_force == TIF_IOC)
        cancel_rest(p, slot, 'I');
    else if (book_change(p, NORM_ADD, own, own->ref, own->leaves_lots) != BOOK_OK)
        cancel_rest(p, slot, 'Z');
    else
        list_insert(p, slot);
    return PAPER_OK;
}

static uint16_t fault_of(const paper *p, const cmd_event *command) {
    if (command->header.instrument >= p->instruments) return VENUE_BAD_SYMBOL;
    if (command->side > SIDE_SELL) return VENUE_BAD_SIDE;
    if (command->quantity_lots <= 0) return VENUE_BAD_QUANTITY;
    if (command->price_ticks <= 0) return VENUE_BAD_PRICE;
    if (!command->order_id || id_map_get(&p->by_id, command->order_id) != NONE) return VENUE_OTHER;
    return VENUE_REASON_NONE;
}

static void enter(paper *p, uint32_t slot, const cmd_event *command, int64_t cumulative_lots) {
    own_order *own = &p->order[slot];
    own->order_id = command->order_id;
    own->ref = p->next_ref++;
    own->price_ticks = command->price_ticks;
    own->leaves_lots = command->quantity_lots - cumulative_lots;
    own->cumulative_lots = cumulative_lots;
    own->instrument = command->header.instrument;
    own->side = command->side;
    own->time_in_force = command->time_in_force;
    id_map_put(&p->by_id, own->order_id, slot);
    p->taking = slot;
}

static void begin_new(paper *p, const cmd_event *command) {
    uint16_t fault = fault_of(p, command);
    if (!fault && p->free == NONE) fault = VENUE_PROCESSING;
    if (fault) {
        report_refusal(p, EXEC_REJECTED, command, fault);
        return;
    }
    uint32_t slot = p->free;
    p->free = p->order[slot].next;
    enter(p, slot, command, 0);
    report_order(p, EXEC_ACCEPTED, &p->order[slot]);
}

/* The replacement takes the slot of the order it replaces, at the back of the queue. */
static void begin_replace(paper *p, const cmd_event *command) {
    uint32_t slot = id_map_get(&p->by_id, command->target_order_id);
    const own_order *old = slot == NONE ? NULL : &p->order[slot];
    uint16_t fault = old ? fault_of(p, command) : (uint16_t)VENUE_REPLACE_NOT_ALLOWED;
    if (!fault && old->instrument != command->header.instrument) fault = VENUE_BAD_SYMBOL;
    if (!fault && old->side != command->side) fault = VENUE_BAD_SIDE;
    if (!fault && command->quantity_lots <= old->cumulative_lots) fault = VENUE_BAD_QUANTITY;
    if (fault) {
        report_refusal(p, EXEC_REPLACE_REJECTED, command, fault);
        return;
    }
    int64_t cumulative_lots = old->cumulative_lots;
    book_change(p, NORM_DELETE, old, old->ref, 0);
    list_remove(p, slot);
    id_map_remove(&p->by_id, command->target_order_id);
    enter(p, slot, command, cumulative_lots);
    report_order(p, EXEC_REPLACED, &p->order[slot])->target_order_id = command->target_order_id;
}

/* What remains keeps its place. */
static void cancel_part(paper *p, own_order *own, const cmd_event *command) {
    int64_t gone = own->leaves_lots - command->quantity_lots;
    if (gone <= 0) {
        report_refusal(p, EXEC_CANCEL_REJECTED, command, VENUE_BAD_QUANTITY);
        return;
    }
    book_change(p, NORM_REDUCE, own, own->ref, gone);
    own->leaves_lots -= gone;
    exec_event *report = report_order(p, EXEC_CANCELED, own);
    report->target_order_id = own->order_id;
    report->quantity_lots = gone;
    report->reason = 'U';
}

static void begin_cancel(paper *p, const cmd_event *command) {
    uint32_t slot = id_map_get(&p->by_id, command->target_order_id);
    if (slot == NONE) {
        report_refusal(p, EXEC_CANCEL_REJECTED, command, VENUE_OTHER);
        return;
    }
    own_order *own = &p->order[slot];
    if (command->quantity_lots > 0) {
        cancel_part(p, own, command);
        return;
    }
    book_change(p, NORM_DELETE, own, own->ref, 0);
    list_remove(p, slot);
    cancel_rest(p, slot, 'U');
}

static void begin(paper *p, const cmd_event *command) {
    switch (command->header.type) {
    case CMD_NEW: begin_new(p, command); break;
    case CMD_REPLACE: begin_replace(p, command); break;
    case CMD_CANCEL: begin_cancel(p, command); break;
    default: report_refusal(p, EXEC_REJECTED, command, VENUE_OTHER);
    }
}

/* Everything due by `until_ns`. One line leads to the venue: an order waits for those sent before it. */
static int run_due(paper *p, uint64_t until_ns) {
    for (;;) {
        if (p->taking != NONE && take(p) != PAPER_OK) return PAPER_FULL;
        if (p->pending_head == p->pending_tail) return PAPER_OK;
        const pending_order *due = &p->pending[p->pending_head & p->pending_mask];
        if (due->effect_time_ns > until_ns) return PAPER_OK;
        if (room(p) < REPORTS_PER_STEP) return PAPER_FULL;
        if (due->effect_time_ns > p->now_ns) p->now_ns = due->effect_time_ns;
        p->pending_head++;
        begin(p, &due->command);
        rewind_empty(&p->pending_head, &p->pending_tail);
    }
}

/* 64 even bits of a number: the finaliser of splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t scatter(uint64_t value) {
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

/* The same for an order whenever it is asked: a replay in other batches, or on another machine, draws alike. */
static uint64_t latency_of(const paper *p, const cmd_event *command) {
    if (p->latency == PAPER_LATENCY_FIXED) return p->latency_ns;
    uint64_t bits = scatter(scatter(p->latency_seed) ^ command->order_id) >> 11;
    double part = ((double)bits + 0.5) * 0x1p-53; /* in (0, 1) */
    double spreads = part;
    if (p->latency == PAPER_LATENCY_EXPONENTIAL) {
        spreads = -feature_math_log(part);
        if (spreads > PAPER_SPREADS_MAX) spreads = PAPER_SPREADS_MAX;
    }
    return p->latency_ns + (uint64_t)(spreads * (double)p->latency_spread_ns);
}

int paper_order(paper *p, const cmd_event *command) {
    if (p->pending_tail - p->pending_head > p->pending_mask) return PAPER_FULL;
    pending_order *pending = &p->pending[p->pending_tail++ & p->pending_mask];
    pending->effect_time_ns = command->header.origin_time_ns + latency_of(p, command);
    pending->command = *command;
    return PAPER_OK;
}

int paper_advance(paper *p, uint64_t now_ns) {
    int status = run_due(p, now_ns);
    if (status == PAPER_OK && now_ns > p->now_ns) p->now_ns = now_ns;
    return status;
}

/* ---- the market moves -------------------------------------------------------------------------- */

/* Earlier in the same queue? Walks it; asked only where we have an order at the level. Both are looked up
 * anew, since each fill of ours moves up whatever stands behind it. */
static bool stands_before(const paper *p, const own_order *own, uint64_t order_ref) {
    if (p->fill != PAPER_FILL_QUEUE) return p->fill == PAPER_FILL_FRONT;
    book_order ours, other;
    return book_find(p->book, own->ref, &ours) == BOOK_OK && book_find(p->book, order_ref, &other) == BOOK_OK &&
           ours.ahead_orders < other.ahead_orders;
}

/* `quantity_lots` of the order `hit` executed: those of ours before it would have been hit first. */
static void market_executed(paper *p, const norm_event *event) {
    book_order hit;
    if (book_find(p->book, event->order_ref, &hit) != BOOK_OK) return;
    int64_t left = event->quantity_lots;
    uint32_t slot = first_of(p, hit.instrument, hit.side);
    while (slot != NONE && left > 0) {
        const own_order *own = &p->order[slot];
        uint32_t next = next_of(p, own);
        bool first = own->price_ticks == hit.price_ticks ? stands_before(p, own, hit.order_ref)
                                                         : better(hit.side, own->price_ticks, hit.price_ticks);
        if (!first) return;
        int64_t quantity = smaller(left, own->leaves_lots);
        left -= quantity;
        fill_resting(p, slot, quantity);
        p->next_match_id++;
        slot = next;
    }
}

/* A trade that was never displayed went through our price. */
static void market_traded(paper *p, const norm_event *event) {
    for (int side = SIDE_BUY; side <= SIDE_SELL; side++) {
        int64_t left = event->quantity_lots;
        uint32_t slot = first_of(p, event->header.instrument, side);
        while (slot != NONE && left > 0 && better(side, p->order[slot].price_ticks, event->price_ticks)) {
            uint32_t next = next_of(p, &p->order[slot]);
            int64_t quantity = smaller(left, p->order[slot].leaves_lots);
            left -= quantity;
            fill_resting(p, slot, quantity);
            p->next_match_id++;
            slot = next;
        }
    }
}

/* An order of the market arrives at `price_ticks`: what it trades with ours before it rests. */
static int64_t market_arrived(paper *p, uint32_t instrument, int side, int64_t price_ticks, int64_t quantity_lots) {
    int64_t left = quantity_lots;
    book_order front;
    for (uint32_t slot; left > 0 && (slot = first_of(p, instrument, !side)) != NONE;) {
        const own_order *own = &p->order[slot];
        if (better(side, own->price_ticks, price_ticks)) break; /* ours asks more, or bids less, than it gives */
        if (p->fill == PAPER_FILL_THROUGH && own->price_ticks == price_ticks) break;
        if (book_front(p->book, instrument, !side, &front) != BOOK_OK || front.order_ref != own->ref) break;
        int64_t quantity = smaller(left, own->leaves_lots);
        left -= quantity;
        fill_resting(p, slot, quantity);
        p->next_match_id++;
    }
    return left;
}

static void market_add(paper *p, norm_event *event, bool working) {
    if (working) {
        int side = event->header.flags & FLAG_SELL ? SIDE_SELL : SIDE_BUY;
        event->quantity_lots =
            market_arrived(p, event->header.instrument, side, event->price_ticks, event->quantity_lots);
    }
    if (event->quantity_lots > 0) book_apply(p->book, event);
}

static void market_replace(paper *p, norm_event *event, bool working) {
    book_order old;
    if (working && book_find(p->book, event->order_ref, &old) == BOOK_OK) {
        event->quantity_lots =
            market_arrived(p, event->header.instrument, old.side, event->price_ticks, event->quantity_lots);
        if (event->quantity_lots <= 0) event->header.type = NORM_DELETE; /* it traded with ours entirely */
    }
    book_apply(p->book, event);
}

/* Ours, each at the back of its level: where they stood before, nobody knows. */
static void ours_place(paper *p) {
    for (uint32_t i = 0; i < p->instruments * 2; i++)
        for (uint32_t slot = first_of(p, i / 2, (int)(i & 1)); slot != NONE; slot = next_of(p, &p->order[slot])) {
            const own_order *own = &p->order[slot];
            book_change(p, NORM_ADD, own, own->ref, own->leaves_lots);
        }
    p->unplaced = 0;
}

/* The market's books are empty. While a snapshot fills them, ours wait: what is in it was there before them. */
static void market_cleared(paper *p, const norm_event *event) {
    book_clear(p->book, NO_INSTRUMENT);
    p->unplaced = 1;
    if (!(event->header.flags & FLAG_STALE)) ours_place(p);
}

void paper_expect(const paper *p, const norm_event *event) {
    if (event->header.type >= NORM_ADD && event->header.type <= NORM_REPLACE) book_prefetch(p->book, event->order_ref);
}

int paper_market(paper *p, const norm_event *event) {
    uint64_t time_ns = event->header.origin_time_ns;
    if (time_ns && run_due(p, time_ns - 1) != PAPER_OK) return PAPER_FULL;
    uint32_t instrument = event->header.instrument;
    if (instrument >= p->instruments) { /* of the market, not of an instrument */
        if (event->header.type == NORM_CLEAR) market_cleared(p, event);
        if (event->header.type == NORM_WHOLE && p->unplaced) ours_place(p);
        return PAPER_OK;
    }
    bool working = p->working[instrument] != 0;
    if (working && room(p) < p->working[instrument]) return PAPER_FULL;
    if (time_ns > p->now_ns) p->now_ns = time_ns;
    norm_event copy = *event;
    if (copy.order_ref & OWN_REF) return PAPER_OK; /* no venue numbers so high: those are ours */
    switch (copy.header.type) {
    case NORM_ADD: market_add(p, &copy, working); break;
    case NORM_REPLACE: market_replace(p, &copy, working); break;
    case NORM_EXECUTE:
    case NORM_EXECUTE_PRICE:
        if (working) market_executed(p, &copy);
        book_apply(p->book, &copy); /* of an order that we took in part it may ask too much: then it goes */
        break;
    case NORM_REDUCE:
    case NORM_DELETE: book_apply(p->book, &copy); break;
    case NORM_TRADE:
        if (working) market_traded(p, &copy);
        break;
    default: break;
    }
    return PAPER_OK;
}

/* ---- for people and tests ---------------------------------------------------------------------- */

uint32_t paper_open_orders(const paper *p) { return p->open; }
uint32_t paper_pending_orders(const paper *p) { return (uint32_t)(p->pending_tail - p->pending_head); }
const book *paper_book(const paper *p) { return p->book; }

int paper_find(const paper *p, uint64_t order_id, book_order *order) {
    uint32_t slot = id_map_get(&p->by_id, order_id);
    return slot == NONE ? BOOK_UNKNOWN_ORDER : book_find(p->book, p->order[slot].ref, order);
}
