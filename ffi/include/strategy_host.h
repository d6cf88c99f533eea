/* strategy_host.h: what a Python strategy sees, kept for it in C, and the one call by which it is told.
 *
 *   norm ----copy----> batch --> own book, features, tops ---> event[]    one at a time, or columns
 *   reports ------------------> open orders, positions ------> report
 *   clock -------------------------------------------------> timers due
 *
 *   Python:  while (news = host_next(host)) dispatch(news)       orders ring <-- host_order, host_cancel ...
 *
 * The tables are arrays of the caller's memory that Python views without copying. They stand as of the last event
 * handed out: one at a time, as of that event; in a batch, as of its last one.
 * The host is an observer of norm: a strategy that cannot follow loses events and is told how many, and the feed never
 * waits for it. Its book and features then begin anew; tops are the feed's own words, and true at the next event.
 * A request is checked here for sense (a price, a known instrument); what a seat may do is the signal stage's to say.
 */
#pragma once
#include "book.h"
#include "feature.h"
#include "layout.h"
#include "ring.h"

#define HOST_DEPTH_MAX 64   /* levels of one side that can be asked for */
#define HOST_REFILLS_MAX 64 /* batches of one call: market nobody asked for must not keep reports waiting */

/* What a call of host_next found. */
enum host_news {
    HOST_IDLE,
    HOST_EVENT,   /* event[0 .. event_count) */
    HOST_REPORT,  /* report */
    HOST_TIMER,   /* timer_due_ns has come */
    HOST_STARTED, /* the seat is ours, open orders and positions are known: orders may be sent */
    HOST_LOST,    /* lost_count moved on: book and features begin anew */
    HOST_CUT,     /* the engine has cut the seat: cut_reason */
    HOST_AGAIN    /* nothing yet, and more to look at */
};

/* Which events are handed out, of wanted instruments. All are followed in the tables. */
enum host_want {
    WANT_TOP = 1,    /* best bid or offer changed, in price or quantity */
    WANT_TRADES = 2, /* executions and prints that count as volume */
    WANT_ORDERS = 4, /* every other change of the book */
    WANT_STATES = 8, /* trading states, gaps, auctions, notices */
    WANT_ALL = 15
};

/* What became of a request. */
enum host_status {
    HOST_SENT,
    HOST_NOT_TAKEN,      /* the seat is not ours, or not yet */
    HOST_RING_FULL,      /* the engine has not taken the requests before this one */
    HOST_ORDERS_MAX,     /* as many orders are open as the seat may have */
    HOST_UNKNOWN_ORDER,  /* no open order has that token */
    HOST_BUSY_ORDER,     /* a replacement or a cancel of it is under way */
    HOST_BAD_INSTRUMENT, /* from here on: nothing that a sane strategy asks for */
    HOST_BAD_PRICE,      /* not in 1..REQUEST_VALUE_MAX */
    HOST_BAD_QUANTITY,
    HOST_BAD_WORD        /* side or time in force */
};

/* One market event, flat: the fields of a norm_event, and what most strategies ask of them. */
typedef struct {
    uint64_t sequence;       /* in norm */
    uint64_t origin_time_ns;
    uint64_t publish_time_ns;
    uint64_t order_ref;
    uint64_t reference;
    int64_t price_ticks;
    int64_t quantity_lots;
    int64_t bid_price_ticks; /* the top and depth after it; 0 when that side is empty */
    int64_t ask_price_ticks;
    int64_t bid_quantity_lots;
    int64_t ask_quantity_lots;
    int64_t bid_depth_lots;
    int64_t ask_depth_lots;
    uint32_t instrument;
    uint16_t flags;          /* enum event_flag */
    uint8_t type;            /* enum event_type */
    uint8_t trade;           /* 1: it counts as volume */
    int8_t aggressor;        /* of a trade: 1 bought, -1 sold, 0 unknown */
    uint8_t top;             /* 1: the best bid or offer changed */
    uint8_t stale;           /* 1: the book may be wrong */
    uint8_t reserved[13];
} strategy_event;

/* An instrument's market as of the last event. */
typedef struct {
    int64_t bid_price_ticks;
    int64_t ask_price_ticks;
    int64_t bid_quantity_lots;
    int64_t ask_quantity_lots;
    int64_t bid_depth_lots;
    int64_t ask_depth_lots;
    int64_t last_price_ticks;  /* of the last trade; 0 before there was one */
    int64_t last_quantity_lots;
    uint64_t origin_time_ns;
    uint64_t volume_lots;
    uint64_t events;
    uint32_t state;            /* enum trading_state */
    uint32_t stale;            /* 1: the book may be wrong */
    uint64_t reserved[4];
} strategy_market;

/* What the strategy holds, by the engine's reports. */
typedef struct {
    int64_t position_lots;
    int64_t bought_lots; /* this run, by this attachment; broken trades taken out */
    int64_t sold_lots;
    int64_t cash_micros; /* of these trades; money in is positive */
} strategy_position;

enum strategy_order_state { STRATEGY_ORDER_PENDING = 1, STRATEGY_ORDER_LIVE };

/* An order that may be open, from its request to the report that ends it. */
typedef struct {
    uint64_t token;          /* the strategy's own number */
    uint64_t order_id;       /* the engine's; 0 before it is known */
    uint64_t replace_token;  /* the replacement under way; 0 = none */
    int64_t price_ticks;
    int64_t quantity_lots;   /* wanted in all */
    int64_t leaves_lots;
    int64_t filled_lots;
    uint64_t request_time_ns; /* of the order or its last replacement */
    uint32_t instrument;
    uint8_t side;            /* enum side */
    uint8_t state;           /* enum strategy_order_state */
    uint8_t canceling;       /* 1: a cancel is under way */
    uint8_t reserved;
} strategy_order;

/* The caller fills in the first part; host_init lays out the second in the caller's memory. */
typedef struct {
    ring_reader norm;
    ring_reader reports;
    ring_writer orders;
    seat_client_page *client;
    const seat_page *page;
    const clock_page *clock;
    histogram *answer;             /* market event published to request published; NULL: record none */
    const lockstep_page *lockstep; /* NULL unless time is virtual */
    const instrument_entry *instruments;
    book *book;                    /* its own; NULL: it keeps none */
    feature_config feature;
    uint32_t instrument_count;
    uint32_t batch_max;            /* events copied, and handed out, at once */
    uint32_t order_max;
    uint32_t wants;                /* enum host_want */
    uint32_t columns;              /* 1: event[] is filled with a whole batch */
    uint32_t attach_epoch;

    norm_event *batch;
    strategy_event *event;
    report_event *report;
    strategy_market *market;
    double *value;                 /* FEATURES_MAX of each instrument */
    uint32_t *ready;               /* a bit of each feature */
    feature_state *feature_of;
    strategy_position *position;
    strategy_order *order;
    uint8_t *wanted;               /* by instrument: 1 = hand out its events */
    book_level *bid;               /* HOST_DEPTH_MAX, as last asked for */
    book_level *ask;
    void *tokens;

    uint64_t now_ns;               /* of this call */
    uint64_t timer_due_ns;         /* UINT64_MAX: no timer */
    uint64_t token;                /* the last one given out */
    uint64_t lost_count;           /* market events overwritten before they were read */
    uint64_t event_sequence;       /* of the last event handed out, and when it was published */
    uint64_t event_time_ns;
    uint64_t events;               /* followed */
    uint64_t handed;               /* handed out */
    uint64_t requests;
    uint64_t unsent;               /* requests that came to nothing here */
    uint32_t event_count;
    uint32_t order_count;
    uint32_t batch_count;
    uint32_t batch_next;
    uint32_t trading;              /* 1 from HOST_STARTED to HOST_CUT */
    uint32_t status;               /* enum host_status: of the last request */
    uint32_t cut_reason;           /* enum seat_cut */
    uint32_t cut_told;
    uint32_t answering;            /* 1: what is asked for now answers a market event */
    uint32_t reserved;
} strategy_host;

/* Bytes that host_init lays out, 64-byte aligned. */
uint64_t host_bytes(uint32_t instrument_count, uint32_t batch_max, uint32_t order_max);
/* 1, or 0 when the memory is too small. Reads instrument_count, batch_max and order_max. */
int host_init(strategy_host *host, void *memory, uint64_t bytes);
/* The next thing to tell: enum host_news. Says that the strategy lives, and that it is busy until the next call. */
int host_next(strategy_host *host);
/* What stands between two calls is no callback: busy no more. */
void host_rest(strategy_host *host);

/* Each returns the token of the order, or 1 for a cancel; 0 when nothing was sent: `status` says why. */
uint64_t host_order(strategy_host *host, uint32_t instrument, uint32_t side, int64_t price_ticks, int64_t quantity_lots,
                    uint32_t time_in_force);
uint64_t host_replace(strategy_host *host, uint64_t token, int64_t price_ticks, int64_t quantity_lots);
uint64_t host_cancel(strategy_host *host, uint64_t token);
/* Every open order, of one instrument or, NO_INSTRUMENT, of all. */
uint64_t host_cancel_all(strategy_host *host, uint32_t instrument);
/* The strategy cannot go on (REQUEST_RAISED), or leaves in order (REQUEST_DETACH). */
uint64_t host_leave(strategy_host *host, uint32_t request);

/* The best levels of both sides into bid[] and ask[], at most HOST_DEPTH_MAX of each, best first; their counts are
 * `counts`. 0 when the host keeps no book. */
int host_depth(strategy_host *host, uint32_t instrument, uint32_t levels, uint32_t counts[2]);
/* Index in order[] of an open order, or order_count. */
uint32_t host_find(const strategy_host *host, uint64_t token);
