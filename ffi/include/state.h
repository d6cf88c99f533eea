/* state.h: one word for all that a stage remembers: books, features, working orders, positions, exposure.
 *
 * Two runs that decided the same from the same events have the same words after each of them (I8): a difference
 * shows where it began, not first where an order shows it. The order in which things lie in memory is no state:
 * what stands in a hash table is summed, what has an order is chained. Neither measured times nor pointers count.
 * For replays, off the path: each word is a walk over everything.
 */
#pragma once
#include "layout.h"
#include "feed.h"
#include "gateway.h"
#include "risk.h"
#include "signal_stage.h"

/* Every order of every book, in its queue; which books are believed; what the feed waits for. */
uint64_t state_feed(const feed_stage *feed);
/* Features of every instrument, and what the built-in strategy has at work. */
uint64_t state_signal(const signal_stage *signal);
/* The gate: positions, reservations, references, throttle, what was decided last. */
uint64_t state_risk(const risk_stage *risk);
/* Intents stored, and the next number at the venue. */
uint64_t state_gateway(const gateway *gateway);
