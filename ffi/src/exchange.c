/* exchange.c: the simulator's two markets. See include/exchange.h. */
#include "exchange.h"
#include "moldudp.h"
#include "wire_inline.h"
#include <string.h>

#define FILLS_PER_INTENT 64 /* room wanted before an intent; what makes more is resumed */
#define BLOCK_HEADER_SIZE 2
#define TIME_OFFSET 5

static void publish(exchange_crowd *crowd, match_output *output) {
    for (uint32_t i = 0; i < output->events; i++)
        if (publisher_event(crowd->publisher, &output->event[i]) != PUBLISHER_OK) crowd->unpublished++;
    crowd->events += output->events;
    output->events = 0;
}

int exchange_submit(exchange_crowd *crowd, const match_request *request, match_output *output, match_result *result,
                    int *match_status) {
    int status = request ? match_submit(crowd->match, request, output, result) : match_resume(crowd->match, output, result);
    publish(crowd, output);
    while (status == MATCH_MORE && output->fills < output->fills_max) {
        status = match_resume(crowd->match, output, result);
        publish(crowd, output);
    }
    *match_status = status;
    return status == MATCH_MORE ? EXCHANGE_MORE : EXCHANGE_OK;
}

static match_request request_of(const flow_intent *intent) {
    static const uint8_t action[] = {[FLOW_ENTER] = MATCH_ENTER,
                                     [FLOW_CANCEL] = MATCH_CANCEL,
                                     [FLOW_REDUCE] = MATCH_REDUCE,
                                     [FLOW_REPLACE] = MATCH_REPLACE,
                                     [FLOW_TRADE] = MATCH_TRADE};
    return (match_request){.time_ns = intent->time_ns,
                           .order_ref = intent->order_ref,
                           .price_ticks = intent->price_ticks,
                           .quantity_lots = intent->quantity_lots,
                           .instrument = intent->instrument,
                           .action = action[intent->action],
                           .side = intent->side,
                           .time_in_force = intent->time_in_force};
}

static bool names_an_owned_order(const exchange_crowd *crowd, const match_request *request) {
    return request->order_ref && match_owner(crowd->match, request->order_ref);
}

int exchange_run_crowd(exchange_crowd *crowd, uint64_t until_ns, uint64_t intents_max, match_output *output) {
    match_result result;
    int status;
    if (crowd->unfinished && exchange_submit(crowd, NULL, output, &result, &status) == EXCHANGE_MORE) return EXCHANGE_MORE;
    crowd->unfinished = 0;
    for (uint64_t done = 0; done < intents_max; done++) {
        if (!crowd->drawn) flow_intend(crowd->flow, match_book(crowd->match), &crowd->next);
        crowd->drawn = 1;
        if (crowd->next.time_ns > until_ns) return EXCHANGE_OK;
        if (output->fills + FILLS_PER_INTENT > output->fills_max) return EXCHANGE_MORE;
        crowd->drawn = 0;
        crowd->intents++;
        match_request request = request_of(&crowd->next);
        if (names_an_owned_order(crowd, &request)) {
            crowd->refused++; /* a session's: not the crowd's to touch */
            continue;
        }
        crowd->unfinished = exchange_submit(crowd, &request, output, &result, &status) == EXCHANGE_MORE;
        if (status == MATCH_REFUSED) crowd->refused++;
        if (crowd->unfinished) return EXCHANGE_MORE;
    }
    return EXCHANGE_MORE;
}

/* ---- a recorded day ---------------------------------------------------------------------------- */

/* Length of the message at the position, 0 when none is left whole. */
static uint32_t message_length(const exchange_recording *recording) {
    uint64_t left = recording->size - recording->position;
    if (left < BLOCK_HEADER_SIZE) return 0;
    uint32_t length = wire_load16(recording->bytes + recording->position);
    return left - BLOCK_HEADER_SIZE < length ? 0 : length;
}

static uint64_t message_time(const uint8_t *message, uint32_t length) {
    return length >= TIME_OFFSET + 6 ? wire_load(message + TIME_OFFSET, 6) : 0;
}

uint64_t exchange_recording_time(const exchange_recording *recording) {
    uint32_t length = message_length(recording);
    return length ? message_time(recording->bytes + recording->position + BLOCK_HEADER_SIZE, length) : 0;
}

static void snapshot_follow(exchange_recording *recording, norm_event *event) {
    book_apply(recording->book, event);
    if (event->header.type == NORM_STATUS) recording->state[event->header.instrument] = (uint8_t)event->order_ref;
}

int exchange_run_recording(exchange_recording *recording, uint64_t until_ns, uint64_t messages_max) {
    for (uint64_t done = 0; done < messages_max; done++) {
        uint32_t length = message_length(recording);
        if (!length) return EXCHANGE_END;
        const uint8_t *message = recording->bytes + recording->position + BLOCK_HEADER_SIZE;
        if (message_time(message, length) > until_ns) return EXCHANGE_OK;
        norm_event event = {0};
        if (itch_normalise(recording->context, message, length, &event) == ITCH_OK) {
            if (paper_market(recording->paper, &event) != PAPER_OK) return EXCHANGE_MORE;
            if (recording->book) snapshot_follow(recording, &event);
        } else {
            recording->unknown++;
        }
        publisher_message(recording->publisher, message, length);
        recording->position += BLOCK_HEADER_SIZE + length;
        recording->messages++;
    }
    return EXCHANGE_MORE;
}
