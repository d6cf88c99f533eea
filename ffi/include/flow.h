/* flow.h: seeded flow of orders for many instruments: what a market's participants want, or a whole
 * market's messages. Integer arithmetic only: one seed gives the same flow on every machine.
 *
 *   flow_intend(flow, book, &intent)   one participant's wish, judged by the caller's book: enter (it may
 *                                      cross), cancel, reduce, replace     --> for a matching engine
 *   flow_next(flow, &event)            the next event of a market that matches such wishes on a book of
 *                                      its own, valid at all times         --> for a bench or a test
 *   flow_encode(flow, &event, ...)     the same as an ITCH 5.0 message
 *
 * Activity over instruments follows 1 / (rank + 10), about the shape of a real day: the busiest of 8,000
 * has 1.4% of the messages. Prices cluster at and behind the touch, sizes are round lots with odd lots
 * between, most cancels take recent orders near the touch, a few orders rest absurdly far away (stub
 * quotes). The number of live orders is drawn to its target, quickly while the book fills.
 */
#pragma once
#include "layout.h"
#include "book.h"

#define FLOW_INSTRUMENTS_MAX 65534 /* an ITCH locate is instrument + 1 */

typedef struct {
    uint64_t seed;
    uint64_t midnight_ns;    /* of the trading day, as ns since the epoch */
    uint64_t start_ns;       /* of the first event, since midnight */
    uint64_t mean_gap_ns;    /* between two intents, over all instruments; 0: all at one instant */
    int64_t increment_ticks; /* prices are multiples of it; US equities: 100 */
    uint32_t instruments;
    uint32_t live_orders;    /* target, over all instruments */
    uint32_t runs_market;    /* 1: flow_next will be called, and `memory` holds its book too */
    uint32_t reserved;
} flow_config;

enum flow_action {
    FLOW_ENTER,   /* may cross the touch: the matching engine executes what it can */
    FLOW_CANCEL,
    FLOW_REDUCE,  /* cancel a part: quantity_lots go */
    FLOW_REPLACE, /* never crosses the touch it was judged by */
    FLOW_TRADE    /* two parties met inside the spread, one never displayed: a print, no book change */
};

typedef struct {
    uint64_t time_ns;      /* since the epoch */
    uint64_t order_ref;    /* CANCEL, REDUCE, REPLACE: a live order of the book it was judged by */
    int64_t price_ticks;   /* ENTER, REPLACE, TRADE */
    int64_t quantity_lots; /* all but CANCEL */
    uint32_t instrument;
    uint8_t action;        /* enum flow_action */
    uint8_t side;          /* enum side */
    uint8_t time_in_force; /* ENTER: enum time_in_force of what does not execute at once */
    uint8_t reserved;
} flow_intent;

typedef struct flow flow;

/* Bytes that flow_init needs, 64-byte aligned; 0 when the configuration is out of range. */
uint64_t flow_bytes(const flow_config *config);
/* Lay a flow out in `memory` (caller's, zeroed or not). NULL when it is too small or misaligned. */
flow *flow_init(void *memory, uint64_t bytes, const flow_config *config);

/* Draw the next intent, judging by `book`, which holds the market's live orders and at least as many
 * instruments. Others' orders may be among them: an intent to cancel one is the caller's to drop. */
void flow_intend(flow *flow, const book *book, flow_intent *intent);

/* The next event of a market of the flow's own: first the day's opening (NORM_SYSTEM, a NORM_DIRECTORY
 * for each instrument), then orders for ever. No event names an unknown order, no add crosses, each
 * execution is of the head of the best level. Fills type, instrument, origin time, flags, order_ref,
 * price, quantity, reference, and the top of the book after the event. */
void flow_next(flow *flow, norm_event *event);
/* An event of flow_next as an ITCH 5.0 message; bytes written, 0 when `capacity` is too small. */
uint32_t flow_encode(const flow *flow, const norm_event *event, uint8_t *target, uint32_t capacity);
/* Eight letters, space-padded, that name an instrument. */
void flow_symbol(uint32_t instrument, char symbol[8]);

/* The price around which an instrument's flow begins. */
int64_t flow_reference_ticks(const flow *flow, uint32_t instrument);
/* 64 bits from the flow's own stream, for a caller that needs chance of its own. */
uint64_t flow_random(flow *flow);
/* The book that flow_next runs on; NULL when runs_market is 0. */
const book *flow_book(const flow *flow);
