/* book.h: order book by order (L3) for many instruments, in memory that the caller preallocates.
 *
 *   order_ref --> map line --> order --> level --> instrument: top, depth sums, ladders
 *                              |  ^        |            |
 *                              v  |        v            v
 *                            its queue   head, tail   sorted prices, best last
 *
 * Each order stands in the queue of its price level, in time priority: a replace goes to the back, a
 * reduction keeps its place. No allocation after book_init and no unbounded loop: when a pool is full,
 * or a hostile choice of order numbers has filled a stretch of the map, the event is refused with
 * BOOK_FULL, the book stays as it was, and the caller counts it. Crossed and locked books occur in
 * real data and are kept as they come.
 */
#pragma once
#include "layout.h"

#define BOOK_PRICE_MAX 4611686018427387904    /* 2^62: a price lies in 1..BOOK_PRICE_MAX */
#define BOOK_QUANTITY_MAX 1152921504606846976 /* 2^60: the sum of a level lies in 1..BOOK_QUANTITY_MAX */
#define BOOK_ORDERS_MAX 1073741824            /* 2^30 */

enum book_status {
    BOOK_OK,
    BOOK_IGNORED,         /* the event's type does not touch the book */
    BOOK_UNKNOWN_ORDER,   /* a mid-day start: its add was never seen; the event gets FLAG_UNKNOWN_ORDER */
    BOOK_DUPLICATE_ORDER, /* an order of this number is live: the book stays as it was */
    BOOK_FULL,            /* no room for the order: the book stays as it was */
    BOOK_BAD_EVENT        /* quantity, price or instrument out of range: the book stays as it was. But an
                           * execution or reduction of more than the order has left removes the order,
                           * since whatever the truth is, it no longer rests with what we thought it had */
};

typedef struct {
    uint32_t instruments;
    uint32_t orders_max; /* live at once, over all instruments */
    uint32_t levels_max; /* live at once, over all instruments and sides */
    uint32_t reserved;
} book_config;

typedef struct {
    int64_t price_ticks;
    int64_t quantity_lots;
    uint64_t orders;
} book_level;

typedef struct {
    uint64_t order_ref;
    int64_t price_ticks;
    int64_t quantity_lots;
    int64_t ahead_lots;    /* quantity before it in its queue */
    uint32_t ahead_orders;
    uint32_t instrument;
    uint8_t side;          /* enum side */
    uint8_t reserved[7];
} book_order;

typedef struct book book;

/* Bytes that book_init needs, 64-byte aligned; 0 when the configuration is out of range. */
uint64_t book_bytes(const book_config *config);
/* Lay a book out in `memory` (caller's, zeroed or not). NULL when it is too small or misaligned. */
book *book_init(void *memory, uint64_t bytes, const book_config *config);

/* Apply one canonical event and write into it what it found: side, price and instrument of the order
 * it names (a NORM_EXECUTE_PRICE and a NORM_REPLACE keep their own price), the quantity a delete
 * removed, FLAG_TOP, and the top and depth of the book after it. Of a known order the instrument is
 * the order's, whatever the event said. An event of another type gets the top of its instrument and
 * BOOK_IGNORED. Returns enum book_status. */
int book_apply(book *book, norm_event *event);
/* The same for consecutive events, each one's status in `statuses`. Asks for each event's cache lines well
 * before its turn: on a large book nearly twice as fast as one at a time, from about eight events on. */
void book_apply_batch(book *book, norm_event *events, uint8_t *statuses, uint32_t count);
/* For a caller that applies one event at a time: bring what an event on this order will touch into the
 * cache: first its line of the map, eight or so messages ahead; then, four or so ahead, the order. */
void book_prefetch(const book *book, uint64_t order_ref);
void book_prefetch_order(const book *book, uint64_t order_ref);
/* Best first; returns the count written, at most `max`. */
uint32_t book_depth(const book *book, uint32_t instrument, int side, book_level *levels, uint32_t max);
/* The order that an incoming one would meet first: head of the best level. BOOK_OK or BOOK_UNKNOWN_ORDER
 * when that side is empty. */
int book_front(const book *book, uint32_t instrument, int side, book_order *order);
/* The queue at one price, in time priority; returns the count written, at most `max`. */
uint32_t book_queue(const book *book, uint32_t instrument, int side, int64_t price_ticks, book_order *orders,
                    uint32_t max);
/* BOOK_OK or BOOK_UNKNOWN_ORDER. Walks the queue: for people and tests, not for the path. */
int book_find(const book *book, uint64_t order_ref, book_order *order);
/* Forget one instrument's orders; NO_INSTRUMENT: all. */
void book_clear(book *book, uint32_t instrument);
uint32_t book_order_count(const book *book);
uint32_t book_level_count(const book *book);
