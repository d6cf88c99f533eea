/* seat.h: seats: how foreign programs and Python strategies trade beside the path.
 *
 *   co-process --orders ring--> seats_poll --intake ring--> seats_request --> signal ring --> risk ...
 *                               (front end:                 (in the turn:
 *                                copies, checks, cuts)        bounds, order table)
 *   co-process <--reports ring------------------------------ seats_execution <-- exec, reject
 *
 * Nothing that a co-process writes is trusted, indexed with or waited for: a request is copied to private
 * memory before it is looked at, pages are looked at for change alone, and whatever is wrong cuts this seat
 * and nothing else. What the front end let through stands in `intake` and is recorded, so that a replay,
 * which has no co-process, decides the same. Reports are outputs that decide nothing.
 *
 *   an order of a seat:   PENDING --accepted--> LIVE --filled, canceled, rejected, refused--> DEAD
 *                         and, any time before DEAD, one replacement and one cancel under way
 *
 * A dead order keeps its ids until its place is needed for another, so that a late fill or a broken trade still
 * finds its seat. An order that was replaced goes on under its replacement's names, and is known by its last ones too:
 * what is said of those counts for the position, and changes nothing else. The names before those, and a replacement
 * that the venue refused, become dead orders of their own. An execution that finds no seat is the built-in strategy's.
 */
#pragma once
#include "layout.h"
#include "ring.h"
#include "stage.h"

#define SEAT_POLL_MAX 32              /* requests taken from one seat in one look */
#define SEAT_LOOK_INTERVAL_NS 100000  /* between two looks at a seat's pages */
#define SEAT_ORDER_NONE 4294967295

enum seat_order_state { SEAT_ORDER_DEAD, SEAT_ORDER_PENDING, SEAT_ORDER_LIVE };

typedef struct {
    uint64_t order_id;
    uint64_t token;
    uint64_t replace_id;      /* the replacement under way; 0 = none, as below */
    uint64_t replace_token;
    uint64_t cancel_id;       /* the cancel under way */
    uint64_t cancel_time_ns;  /* when the last one was sent */
    uint64_t previous_id;     /* the order that this one replaced */
    uint64_t previous_token;
    int64_t price_ticks;
    int64_t replace_price_ticks;
    int64_t leaves_lots;
    int64_t filled_lots;      /* what it replaced included */
    uint32_t instrument;
    uint32_t next;            /* of the list it is in: its seat's open orders, or the dead; SEAT_ORDER_NONE = last */
    uint32_t previous;
    uint16_t seat;
    uint8_t side;
    uint8_t state;            /* enum seat_order_state */
    uint8_t wanted;           /* 1: a cancel is to be sent, again if need be, until it is dead */
    uint8_t asked;            /* 1: its co-process wants it cancelled */
    uint8_t time_in_force;
    uint8_t cancels;          /* sent so far, counted to 255: each waits longer for an answer than the one before */
    uint8_t gone;             /* 1: another has taken its place; what is said of it cannot mean that it lives */
    uint8_t protective;       /* 1: the engine itself wants it gone: its cancels bear FLAG_PROTECTIVE */
    uint8_t reserved[10];
} seat_order;

typedef struct {
    uint32_t first;
    uint32_t last;
} seat_list;

typedef struct {
    /* terms */
    uint16_t account;
    uint16_t strategy;
    uint32_t policy;                  /* enum seat_policy */
    uint32_t open_orders_max;
    uint32_t messages_per_second_max; /* a token bucket of this rate and depth; cancels are free */
    uint64_t heartbeat_ns;
    uint64_t budget_ns;               /* 0 = none */
    /* what turns decide by */
    seat_list open;
    uint32_t open_orders;
    uint32_t attached;                /* 1 from SEAT_ATTACHED to SEAT_CUT */
    uint32_t attach_epoch;
    uint32_t reserved0;
    uint64_t last_token;
    uint64_t token_seed;              /* where tokens stand in their table, from the first SEAT_ATTACHED; 0 before it */
    int64_t credit;                   /* in message-nanoseconds */
    uint64_t credit_time_ns;
    int64_t *position_lots;           /* by instrument */
    /* the front end's */
    ring_reader orders;
    ring_writer reports;              /* slots == NULL: a replay, nobody listens */
    seat_page *page;
    const seat_client_page *client;   /* NULL: nobody can come */
    uint32_t state;                   /* enum seat_state */
    uint32_t epoch;                   /* of the client's page, as last acted on */
    uint32_t reading;                 /* 1: the orders ring is this attachment's */
    uint32_t reports_lost;            /* 1: a report found no room */
    uint64_t attach_time_ns;          /* of the last attachment */
    uint64_t heartbeat_word;          /* as last seen, and when it last changed */
    uint64_t heartbeat_seen_ns;
    uint64_t busy_word;
    uint64_t busy_seen_ns;
    uint64_t window_time_ns;          /* the present second, and how many requests came in it */
    uint64_t window_requests;
} seat;

typedef struct {
    stage_context *stage;
    ring_writer *signal;
    ring_writer intake;
    ring_reader intake_in;
    seat *seat;                       /* seat_count of them */
    seat_order *order;                /* order_count of them */
    void *ids;                        /* id maps: order, replacement and cancel ids; tokens */
    void *tokens;
    uint32_t seat_count;
    uint32_t order_count;
    uint32_t instrument_count;
    uint16_t strategy_epoch;
    uint16_t leg;                     /* of the next intent with the same cause */
    seat_list dead;                   /* longest dead first */
    uint32_t wanted_count;            /* orders with `wanted` set */
    uint32_t session;                 /* the venue session that the last numbered execution named */
    uint64_t last_session_sequence;
    uint64_t order_id_base;           /* as risk's */
    uint64_t output_limit;            /* of this turn's plan */
    uint64_t answer_timeout_ns;       /* a cancel that is wanted is sent again after so long, the next after twice that */
    uint64_t sweep_interval_ns;
    uint64_t sweep_time_ns;
    uint64_t look_time_ns;            /* front end: of the last look at the pages */
    uint64_t market_origin_ns;        /* venue clock of the last market event, and the turn's time when it came */
    uint64_t market_seen_ns;
} seats;

/* Bytes for the tables of seats that may have `open_orders` open in all; 64-byte aligned. */
uint64_t seats_bytes(uint32_t seat_count, uint32_t instrument_count, uint32_t open_orders);
/* Lay the tables out in `memory` (the caller's, zeroed here); 0 when it is too small or too many seats are asked
 * for. The caller fills in terms, rings and pages of self->seat[] after it, and the rest before it. */
int seats_init(seats *self, void *memory, uint64_t bytes, uint32_t seat_count, uint32_t instrument_count,
               uint32_t open_orders);

/* Front end, while planning: take what the co-processes wrote, look after them, write it all to intake. With
 * `timeless` (virtual time) no silence cuts a seat. */
void seats_poll(seats *self, uint64_t now_ns, int timeless);
/* In the turn: the market has come so far on its own clock, which a recorded feed's need not be ours. NO_INSTRUMENT
 * says nothing of it. */
void seats_market(seats *self, const turn_plan *plan, uint32_t instrument, uint64_t origin_time_ns);
/* In the turn: one event of intake, `sequence` its number there. */
void seats_request(seats *self, const turn_plan *plan, uint64_t sequence, const request_event *request);
/* In the turn: one execution or refusal; `sequence` its number in its ring. 1 when it is a seat's. */
int seats_execution(seats *self, const turn_plan *plan, uint64_t sequence, const exec_event *execution);
/* In the turn, after all else: cancels that are wanted and were not sent, or not answered. 1 when it looked. */
int seats_sweep(seats *self, const turn_plan *plan);
/* The supervisor's word: the process of this attachment has ended. */
void seat_bury(seat_page *page, uint32_t attach_epoch);
