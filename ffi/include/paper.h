/* paper.h: the paper venue: our orders against a recorded or live market, with queue position.
 *
 * It holds an L3 book of its own, built from the same canonical events. An order of ours that crosses
 * takes displayed orders in price-time priority (and takes them out of its copy of the book, so that
 * liquidity is used once); what is left rests at the back of its level's queue. It fills when an
 * execution at its price reaches past what stood ahead of it, when the market trades through its
 * price, or when an opposite order arrives that would have matched it. Cancels and executions of
 * orders ahead of it move it forward.
 *
 * Time is the events' own: an order takes effect at its origin time plus `latency_ns`, after every
 * market event up to then, so the outcome does not depend on how events were batched.
 */
#pragma once
#include "layout.h"
#include "book.h"

typedef struct {
    book_config book;
    uint32_t orders_max;   /* ours, live at once */
    uint32_t reports_max;  /* waiting to be polled; a power of two */
    uint64_t latency_ns;   /* order on its way to the venue */
    uint64_t first_match_id;
} paper_config;

typedef struct paper paper;

enum paper_status { PAPER_OK, PAPER_FULL };

uint64_t paper_bytes(const paper_config *config);
paper *paper_init(void *memory, uint64_t bytes, const paper_config *config);
/* A market event, in order. May fill orders of ours. */
int paper_market(paper *paper, const norm_event *event);
/* An order of ours: new, replace or cancel. Never loses one: PAPER_FULL means it was not taken. */
int paper_order(paper *paper, const cmd_event *command);
/* Orders whose time has come by `now_ns` take effect. */
void paper_advance(paper *paper, uint64_t now_ns);
/* The next report in order; 1, or 0 when there is none. Fills header.type, .instrument,
 * .origin_time_ns, order_id, target_order_id, venue_ref, match_id, price, quantity, leaves,
 * cumulative, reason, side, liquidity ('A' added, 'R' removed). */
int paper_poll(paper *paper, exec_event *report);
