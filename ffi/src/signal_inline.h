/* signal_inline.h: publishing an intent, for the built-in strategy and for seats. */
#pragma once
#include "clock_inline.h"
#include "digest.h"
#include "ring_inline.h"
#include "stage.h"
#include <string.h>

#define LEGS_MAX 255

/* What the decision determined, in one word. */
static inline uint64_t intent_word(const signal_event *event) {
    uint64_t score;
    memcpy(&score, &event->score, sizeof score);
    const uint64_t field[] = {(uint64_t)event->header.instrument << 32 | (uint64_t)event->header.type << 24 |
                                  (uint64_t)event->side << 16 | (uint64_t)event->time_in_force << 8 | event->leg,
                              event->header.cause_sequence,
                              event->header.cause_input,
                              (uint64_t)event->price_ticks,
                              (uint64_t)event->quantity_lots,
                              event->target_order_id,
                              score,
                              (uint64_t)event->bid_price_ticks,
                              (uint64_t)event->ask_price_ticks};
    return digest_fields(field, sizeof field / sizeof field[0]);
}

/* The claimed event is whole but for its time. */
static inline void intent_commit(stage_context *stage, ring_writer *signal, signal_event *event) {
    stage_digest(stage, intent_word(event));
    event->header.publish_time_ns = clock_read(stage->clock);
    ring_commit_inline(signal);
    stage->page->counter[SIGNAL_SIGNALS]++;
}
