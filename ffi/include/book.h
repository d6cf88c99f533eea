/* book.h: order book by order (L3) for many instruments, in memory that the caller preallocates.
 *
 * Each order stands in the queue of its price level, in time priority; each instrument has its levels
 * on two sides, best last. No allocation after book_init; when a pool is full the event is refused,
 * counted by the caller, and the book says so.
 */
#pragma once
#include "layout.h"

enum book_status {
    BOOK_OK,
    BOOK_IGNORED,         /* the event's type does not touch the book */
    BOOK_UNKNOWN_ORDER,   /* a mid-day start: its add was never seen */
    BOOK_DUPLICATE_ORDER,
    BOOK_FULL,
    BOOK_BAD_EVENT        /* quantity or price out of range, instrument out of range */
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
 * it names, the quantity a delete removed, FLAG_TOP, and the top and depth of the book after it.
 * An event of another type gets the top of its instrument and BOOK_IGNORED. */
int book_apply(book *book, norm_event *event);
/* Bring what an event on this order will touch into the cache; a few events ahead. */
void book_prefetch(const book *book, uint64_t order_ref);
/* Best first; returns the count written, at most `max`. */
uint32_t book_depth(const book *book, uint32_t instrument, int side, book_level *levels, uint32_t max);
/* BOOK_OK or BOOK_UNKNOWN_ORDER. Walks the queue: for people and tests, not for the path. */
int book_find(const book *book, uint64_t order_ref, book_order *order);
/* Forget one instrument's orders; NO_INSTRUMENT: all. */
void book_clear(book *book, uint32_t instrument);
uint32_t book_order_count(const book *book);
uint32_t book_level_count(const book *book);
