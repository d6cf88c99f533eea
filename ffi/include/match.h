/* match.h: a matching engine with price-time priority, on the order book kernel.
 *
 *   match_request --> match_submit --> events of the book (canonical; the venue's feed)
 *                                  \-> fills of owned orders (the sessions' reports)
 *
 * An entering order executes against the best opposite orders, oldest first, at their prices; what is
 * left rests at the back of its level, or leaves if it is IOC. A replacement has a new number and a new
 * place; a reduction keeps its place.
 *
 * Invariants: after each request no two sides cross or touch; entered = executed + rested + removed;
 * a book rebuilt from the events equals the engine's.
 */
#pragma once
#include "layout.h"
#include "book.h"
#include "paper.h"

typedef struct {
    book_config book;
    uint32_t owned_max;       /* orders with an owner, live at once */
    uint32_t reserved;
    uint64_t first_order_ref; /* numbers rise by one from here */
    uint64_t first_match_id;
} match_config;

enum match_action {
    MATCH_ENTER,
    MATCH_CANCEL,
    MATCH_REDUCE,
    MATCH_REPLACE,
    MATCH_TRADE /* a print strictly inside the spread, against an order never displayed; the book stays */
};

typedef struct {
    uint64_t time_ns;
    uint64_t order_ref;    /* CANCEL, REDUCE, REPLACE: which */
    int64_t price_ticks;   /* ENTER, REPLACE, TRADE; a market order is one whose price crosses everything */
    int64_t quantity_lots; /* ENTER, REPLACE: to execute or rest; TRADE: how much; REDUCE: what goes */
    uint32_t instrument;   /* ENTER, TRADE */
    uint32_t owner;        /* ENTER, REPLACE: whose fills are reported; 0 = nobody's */
    uint8_t action;        /* enum match_action */
    uint8_t side;          /* ENTER: enum side */
    uint8_t time_in_force; /* ENTER, REPLACE: enum time_in_force */
    uint8_t reserved[5];
} match_request;

/* An execution with an owner on at least one side. */
typedef struct {
    uint64_t maker_ref;
    uint64_t taker_ref;
    uint64_t match_id;
    uint64_t time_ns;
    int64_t price_ticks;
    int64_t quantity_lots;
    uint32_t maker_owner; /* 0: nobody's */
    uint32_t taker_owner;
    uint32_t instrument;
    uint8_t maker_side;
    uint8_t reserved[3];
} match_fill;

/* What a request came to. */
typedef struct {
    uint64_t order_ref;     /* ENTER, REPLACE: the number given; else the order named */
    int64_t executed_lots;
    int64_t leaves_lots;    /* rests now */
    int64_t removed_lots;   /* left the market unexecuted */
    uint32_t reason;        /* enum venue_reason, when refused */
    uint32_t reserved;
} match_result;

/* Where the outcome goes: arrays of the caller; counts grow. */
typedef struct {
    norm_event *event;
    match_fill *fill;
    uint32_t events_max;
    uint32_t fills_max;
    uint32_t events;
    uint32_t fills;
} match_output;

enum match_status {
    MATCH_OK,
    MATCH_REFUSED, /* nothing changed; result->reason says why */
    MATCH_MORE     /* an array is full: empty it, then match_resume */
};

typedef struct match match;

/* Bytes that match_init needs, 64-byte aligned; 0 when the configuration is out of range. */
uint64_t match_bytes(const match_config *config);
/* NULL when `memory` is too small or misaligned, or the configuration is out of range. */
match *match_init(void *memory, uint64_t bytes, const match_config *config);
/* `output` needs room for two events. Not while a request waits for match_resume. */
int match_submit(match *match, const match_request *request, match_output *output, match_result *result);
int match_resume(match *match, match_output *output, match_result *result);
/* While an instrument does not trade, only cancels and reductions are taken. One NORM_STATUS event. */
int match_state(match *match, uint32_t instrument, uint32_t trading_state, uint64_t time_ns, match_output *output);
/* The live orders, crowd's and owned alike. */
const book *match_book(const match *match);
/* Owner of a live order; 0 when it has none or is not live. */
uint32_t match_owner(const match *match, uint64_t order_ref);
uint64_t match_next_order_ref(const match *match);
