/* paper.h: the paper venue: our orders against a recorded or live market, with queue position.
 *
 * It holds an L3 book of its own, built from the same canonical events. An order of ours that crosses
 * takes displayed orders in price-time priority (and takes them out of its copy of the book, so that
 * liquidity is used once); what is left rests at the back of its level's queue. It fills when an
 * execution at its price reaches past what stood ahead of it, when the market trades through its
 * price, or when an opposite order arrives that would have matched it. Cancels and executions of
 * orders ahead of it move it forward. When the market's books begin anew, ours wait for the snapshot
 * and then stand at the back of their levels.
 *
 *                 paper_order --> pending (latency) --.
 *   paper_market -------------------------------------+--> copy of the book --> reports --> paper_poll
 *
 * Time is the events' own: an order takes effect at its origin time plus its latency, after every
 * market event up to then, so the outcome does not depend on how events were batched. A drawn latency
 * depends on the seed and the order's number alone; orders do not overtake each other.
 *
 * That is the fill model `queue`. Two others bound it, for whoever wants to know what the queue is worth:
 *   front    ours stand first at their price: whatever executes there fills them (the best that could be)
 *   through  ours fill only when the market trades past their price (the worst that could be)
 *
 * Invariants: no report is ever dropped (an event that could not report is not taken); the quantity
 * of an order = filled + canceled + leaves; no displayed order is taken for more than it showed.
 */
#pragma once
#include "layout.h"
#include "book.h"

enum paper_fill { PAPER_FILL_QUEUE, PAPER_FILL_FRONT, PAPER_FILL_THROUGH };

/* What comes on top of latency_ns, for each order anew. */
enum paper_latency {
    PAPER_LATENCY_FIXED,      /* nothing */
    PAPER_LATENCY_UNIFORM,    /* between 0 and latency_spread_ns */
    PAPER_LATENCY_EXPONENTIAL /* of mean latency_spread_ns, at most 64 times that */
};

typedef struct {
    book_config book;      /* of the market's own orders; room for ours is added */
    uint32_t orders_max;   /* ours, live at once; also how many may be on their way */
    uint32_t reports_max;  /* waiting to be polled; a power of two over orders_max + 8 */
    uint64_t latency_ns;   /* order on its way to the venue */
    uint64_t first_match_id;
    uint64_t latency_spread_ns;
    uint64_t latency_seed;
    uint32_t fill;         /* enum paper_fill */
    uint32_t latency;      /* enum paper_latency */
} paper_config;

typedef struct paper paper;

enum paper_status { PAPER_OK, PAPER_FULL };

/* Why a venue refused, as OUCH 5.0 numbers it; the simulator uses the same. */
enum venue_reason {
    VENUE_REASON_NONE,
    VENUE_INVALID_DISPLAY = 0x03,
    VENUE_HALTED = 0x07,
    VENUE_BAD_SIDE = 0x09,
    VENUE_PROCESSING = 0x0A,   /* no room for another order */
    VENUE_OTHER = 0x0F,
    VENUE_BAD_QUANTITY = 0x13,
    VENUE_REPLACE_NOT_ALLOWED = 0x15, /* the order to replace is not live */
    VENUE_BAD_SYMBOL = 0x17,
    VENUE_BAD_PRICE = 0x1D,
    VENUE_OVER_THRESHOLD = 0x1E /* more shares than the venue takes at once */
};

/* Bytes that paper_init needs, 64-byte aligned; 0 when the configuration is out of range. */
uint64_t paper_bytes(const paper_config *config);
/* NULL when `memory` is too small or misaligned, or the configuration is out of range. */
paper *paper_init(void *memory, uint64_t bytes, const paper_config *config);
/* A market event, in order. May fill orders of ours. PAPER_FULL: not taken; poll, then give it again. */
int paper_market(paper *paper, const norm_event *event);
/* Such an event comes soon: ask for what it will touch. */
void paper_expect(const paper *paper, const norm_event *event);
/* An order of ours: new, replace or cancel. Never loses one: PAPER_FULL means it was not taken.
 * A refusal comes as a report: EXEC_REJECTED, EXEC_REPLACE_REJECTED, EXEC_CANCEL_REJECTED. */
int paper_order(paper *paper, const cmd_event *command);
/* Orders whose time has come by `now_ns` take effect: call it when every market event up to `now_ns`
 * was given. PAPER_FULL: some still wait for room among the reports. */
int paper_advance(paper *paper, uint64_t now_ns);
/* The next report in order; 1, or 0 when there is none. Fills header.type, .instrument,
 * .origin_time_ns, order_id, target_order_id, venue_ref, match_id, price, quantity, leaves,
 * cumulative, reason, side, liquidity ('A' added, 'R' removed); the rest is 0. Canceled and
 * cancel-rejected reports name the order that was to go in both order_id and target_order_id.
 * A replaced order keeps what it has executed: quantity and leaves are what is live now. A cancel may
 * name in quantity_lots what is to remain, which then keeps its place; 0: nothing. */
int paper_poll(paper *paper, exec_event *report);
/* Ours: resting at the venue; sent and not yet there. */
uint32_t paper_open_orders(const paper *paper);
uint32_t paper_pending_orders(const paper *paper);
/* The order as it stands in the queue (ahead_lots, ahead_orders), for people and tests. */
int paper_find(const paper *paper, uint64_t order_id, book_order *order);
/* Its copy of the book: the market less what we took, plus what we have resting. */
const book *paper_book(const paper *paper);
