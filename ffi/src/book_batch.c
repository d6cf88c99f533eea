/* book_batch.c: many events on the book, each one's cache lines asked for before its turn.
 *
 *   event i + 4s   ask for the map's line, the instrument
 *         i + 3s   read those:   ask for the order       | add: the best rungs of its ladder
 *         i + 2s   read those:   ask for its level, its neighbours in the queue | add: its level
 *         i +  s   read those:   ask for the rungs, if the level goes | add: the order at the queue's back
 *         i        book_apply                                                     s = BATCH_STEP events
 *
 * A small book is spared all but the map's line. An event of a large book touches about six lines, each found in the one before; fetched one after another
 * they would cost six times the latency of memory. What a stage reads may have changed by the event's turn:
 * it only ever chooses what to fetch. Every index met here is one that the book once gave out, so what
 * is read lies in the book.
 */
#include "book.h"
#include "book_state.h"

#define BATCH_STEP 4u
#define BATCH_ORDERS_LARGE 8192u /* ever live at once: from here on the orders outgrow the second cache */
#define BATCH_HINTS 16u /* a power of two, no less than the events between the second stage and the last */

static inline int names_order(const norm_event *event) {
    return event->header.type > NORM_ADD && event->header.type <= NORM_REPLACE;
}

static inline int adds_order(const book *self, const norm_event *event) {
    return event->header.type == NORM_ADD && event->header.instrument < self->config.instruments;
}

static inline void prefetch_best_rungs(const book *self, const price_ladder *ladder) {
    const rung *end = ladder_rungs(&self->blocks, ladder) + ladder->count;
    __builtin_prefetch(end - 1, 1);
    __builtin_prefetch(end - 1 - LADDER_CAPACITY_MIN, 1);
}

static inline void ask_first(const book *self, const norm_event *event) {
    __builtin_prefetch(map_home(&self->map, event->order_ref), 1);
    if (event->header.instrument >= self->config.instruments) return;
    const book_instrument *instrument = &self->instruments[event->header.instrument];
    __builtin_prefetch(&instrument->top, 1);
    __builtin_prefetch(&instrument->ladder, 1);
}

/* The hint becomes the order. */
static inline void ask_second(const book *self, const norm_event *event, uint32_t *hint) {
    if (names_order(event)) {
        *hint = map_guess(&self->map, event->order_ref);
        __builtin_prefetch(&self->orders[*hint], 1);
        if (event->header.type == NORM_REPLACE) __builtin_prefetch(map_home(&self->map, event->reference), 1);
    } else if (adds_order(self, event)) {
        uint32_t side = (event->header.flags & FLAG_SELL) != 0;
        prefetch_best_rungs(self, &self->instruments[event->header.instrument].ladder[side]);
    }
}

/* The hint becomes the level. */
static inline void ask_third(const book *self, const norm_event *event, uint32_t *hint) {
    if (names_order(event)) {
        const order_node *node = &self->orders[*hint];
        *hint = node->level;
        __builtin_prefetch(&self->orders[node->previous], 1);
        __builtin_prefetch(&self->orders[node->next], 1);
        __builtin_prefetch(&self->levels[*hint], 1);
    } else if (adds_order(self, event)) {
        uint32_t side = (event->header.flags & FLAG_SELL) != 0;
        const price_ladder *ladder = &self->instruments[event->header.instrument].ladder[side];
        *hint = ladder_level(&self->blocks, ladder, ladder_key(event->price_ticks, side));
        __builtin_prefetch(&self->levels[*hint], 1);
    }
}

static inline void ask_fourth(const book *self, const norm_event *event, uint32_t hint) {
    const level_node *level = &self->levels[hint];
    if (event->header.type == NORM_ADD)
        __builtin_prefetch(&self->orders[level->tail], 1);
    else if (level->orders == 1)
        prefetch_best_rungs(self, &self->instruments[level->owner >> 1].ladder[level->owner & 1]);
}

/* The near caches hold all of a small book but its map, which has a line for every few orders it has room for. */
static void apply_small(book *self, norm_event *events, uint8_t *statuses, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t ahead = i + BATCH_STEP;
        if (ahead < count) __builtin_prefetch(map_home(&self->map, events[ahead].order_ref), 1);
        statuses[i] = (uint8_t)book_apply(self, &events[i]);
    }
}

static void apply_large(book *self, norm_event *events, uint8_t *statuses, uint32_t count) {
    uint32_t hints[BATCH_HINTS] = {0};
    for (uint32_t first = 0; first < count + 4 * BATCH_STEP; first++) {
        uint32_t i = first; /* below 0 is above count */
        if (i < count) ask_first(self, &events[i]);
        i -= BATCH_STEP;
        if (i < count) ask_second(self, &events[i], &hints[i % BATCH_HINTS]);
        i -= BATCH_STEP;
        if (i < count) ask_third(self, &events[i], &hints[i % BATCH_HINTS]);
        i -= BATCH_STEP;
        if (i < count) ask_fourth(self, &events[i], hints[i % BATCH_HINTS]);
        i -= BATCH_STEP;
        if (i < count) statuses[i] = (uint8_t)book_apply(self, &events[i]);
    }
}

void book_apply_batch(book *self, norm_event *events, uint8_t *statuses, uint32_t count) {
    if (count == 1 || self->orders_used < BATCH_ORDERS_LARGE)
        apply_small(self, events, statuses, count);
    else
        apply_large(self, events, statuses, count);
}
