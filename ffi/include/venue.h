/* venue.h: the session half of the venue interface: canonical orders -> wire -> canonical executions.
 *
 *   cmd_event --venue_encode_order--> message --venue_frame--> |transport header|message| --> socket
 *   exec_event <--gateway.c-- venue_report <--venue_decode_report-- message
 *
 * One table of functions per protocol, chosen by kind in venue.c; nothing else in the gateway knows a
 * protocol's messages. An order is named on the wire by a user_ref that the gateway gives out. All
 * functions are pure: the bytes depend on their arguments alone.
 */
#pragma once
#include "layout.h"

enum venue_kind { VENUE_UNSPECIFIED, VENUE_PAPER, VENUE_OUCH50, VENUE_OUCH42 };

enum venue_status {
    VENUE_OK,
    VENUE_UNINTERESTING, /* a whole message that concerns no order: system events */
    VENUE_NEXT_REF,      /* the answer to venue_encode_query: next_user_ref */
    VENUE_MALFORMED
};

/* What every order of this session carries. */
typedef struct {
    uint32_t kind;        /* enum venue_kind; the paper venue's frames are OUCH 5.0's */
    uint32_t price_scale; /* wire price units (1/10000) in one tick */
    char firm[4];         /* space-padded; blank: the venue's default for the port */
    uint8_t display;      /* 'Y' displayed, 'N' not, 'A' attributable */
    uint8_t capacity;     /* 'A' agency, 'P' principal, 'R' riskless, 'O' other */
    uint8_t customer;     /* 4.2: 'R' retail, 'N' not, ' ' */
    uint8_t reserved;
} venue_terms;

/* A venue's message in canonical terms; fields that its type does not have are 0. */
typedef struct {
    uint64_t time_ns;      /* since midnight at the venue */
    uint64_t venue_ref;
    uint64_t match_id;
    int64_t price_ticks;
    int64_t quantity_lots; /* accepted, replaced, restated: live now; fill: executed; canceled: how much left */
    uint32_t user_ref;     /* replaced: the new one */
    uint32_t previous_ref; /* replaced */
    uint32_t next_user_ref;
    uint16_t reason;
    uint8_t type;          /* enum event_type, EXEC_* */
    uint8_t liquidity;
    uint8_t dead;          /* accepted or replaced, and already out of the book */
    uint8_t sized;         /* restated: quantity_lots says what is live now */
    uint8_t side;          /* enum side: accepted, replaced */
    uint8_t reserved[5];
    uint64_t order_id;     /* the engine's, where the venue repeats it: 5.0, accepted, replaced, rejected; else 0 */
    char symbol[8];        /* accepted, replaced: space-padded */
} venue_report;

/* The message of a command; 0 when the venue cannot express it (price or quantity out of range, blank
 * symbol). `user_ref` is the number given to this order, or for a cancel the number of the order to
 * cancel; `target_ref` is that of the order to replace. */
uint32_t venue_encode_order(const venue_terms *terms, const cmd_event *command, const char *symbol, uint32_t user_ref,
                            uint32_t target_ref, uint8_t *target, uint32_t capacity);
/* The message that cancels all of an order. */
uint32_t venue_encode_cancel(const venue_terms *terms, uint32_t user_ref, uint8_t *target, uint32_t capacity);
/* The message that asks which user_ref comes next; 0 when the protocol has none. */
uint32_t venue_encode_query(const venue_terms *terms, uint8_t *target, uint32_t capacity);
/* The number that a message of ours gives to a new order or a replacement; 0: it is neither, or no order of ours. */
uint32_t venue_order_ref(const venue_terms *terms, const uint8_t *message, uint32_t length);
/* 1 when the message asks the venue for exactly what was approved: that type, side, quantity, price and target. */
int venue_order_matches(const venue_terms *terms, const cmd_event *command, uint32_t target_ref, const uint8_t *message,
                        uint32_t length);
/* Put the transport's header before a message: bytes written, 0 when they do not fit. */
uint32_t venue_frame(const uint8_t *message, uint32_t length, uint8_t *target, uint32_t capacity);
/* enum venue_status. */
int venue_decode_report(const venue_terms *terms, const uint8_t *bytes, uint32_t length, venue_report *report);
