/* exchange.h: the two markets that the simulator can run, and our orders in the first.
 *
 *   crowd      flow_intend --> match_submit --> publisher        (seeded, its own matching engine)
 *   recording  ITCH file   --> publisher, paper_market           (a day as it was; ours trade on paper)
 *
 * Each runs up to an instant of venue time, so that a batch costs one call.
 */
#pragma once
#include "layout.h"
#include "flow.h"
#include "itch.h"
#include "match.h"
#include "paper.h"
#include "publisher.h"

enum exchange_status {
    EXCHANGE_OK,   /* everything up to the instant was done */
    EXCHANGE_MORE, /* stopped early: empty the output, or poll the reports, and call again */
    EXCHANGE_END   /* recording: no message is left */
};

/* The caller sets the pointers and leaves the rest 0. */
typedef struct {
    flow *flow;
    match *match;
    publisher *publisher;
    flow_intent next; /* drawn, its time not yet come */
    uint64_t intents;
    uint64_t refused; /* intents that the engine did not take: on orders that were gone, or not the crowd's */
    uint64_t events;
    uint64_t unpublished; /* events that ITCH cannot say */
    uint32_t drawn;       /* `next` holds an intent */
    uint32_t unfinished;  /* an intent waits for room among the fills */
} exchange_crowd;

typedef struct {
    const uint8_t *bytes; /* uint16 length and message, repeated */
    uint64_t size;
    uint64_t position;
    const itch_context *context;
    paper *paper;
    publisher *publisher;
    book *book;     /* as recorded, without ours, for snapshots; NULL: not kept, nor is `state` */
    uint8_t *state; /* enum trading_state by instrument */
    uint64_t messages;
    uint64_t unknown; /* messages that ITCH 5.0 does not have, or of no instrument of ours: passed on as they are */
} exchange_recording;

/* The crowd's intents up to `until_ns`. Fills of owned orders gather in output->fill; its events are
 * published and not kept. At most `intents_max` intents. */
int exchange_run_crowd(exchange_crowd *crowd, uint64_t until_ns, uint64_t intents_max, match_output *output);
/* One request of ours: its events are published, its fills gather in output->fill. EXCHANGE_MORE: take the
 * fills, then call again with `request` NULL. */
int exchange_submit(exchange_crowd *crowd, const match_request *request, match_output *output, match_result *result,
                    int *match_status);
/* The recorded messages up to `until_ns` (since midnight), at most `messages_max`. */
int exchange_run_recording(exchange_recording *recording, uint64_t until_ns, uint64_t messages_max);
/* Time of the next recorded message, since midnight; 0 at the end. */
uint64_t exchange_recording_time(const exchange_recording *recording);
