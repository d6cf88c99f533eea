/* glimpse.c: a book as a snapshot service sends it. See include/glimpse.h. */
#include "glimpse.h"
#include "book_state.h"
#include "itch.h"
#include "soup.h"

#define ADD_SIZE (GLIMPSE_ORDER_BYTES - SOUP_HEADER_SIZE)

static int order_write(const glimpse_instrument *named, const order_node *order, int64_t price_ticks, uint32_t side,
                       uint8_t *target) {
    itch_message add = {.type = 'A',
                        .side = side == SIDE_SELL ? 'S' : 'B',
                        .locate = named->locate,
                        .time_ns = named->time_ns,
                        .order_ref = order->ref,
                        .shares = (uint64_t)order->quantity,
                        .price = (uint64_t)price_ticks};
    memcpy(add.stock, named->stock, sizeof add.stock);
    uint8_t *payload = target + SOUP_HEADER_SIZE;
    if (itch_encode(&add, payload, ADD_SIZE) != ADD_SIZE) return GLIMPSE_UNENCODABLE;
    soup_encode(SOUP_SEQUENCED, payload, ADD_SIZE, target, GLIMPSE_ORDER_BYTES);
    return GLIMPSE_OK;
}

int glimpse_orders(const book *self, uint32_t instrument, const glimpse_instrument *named, uint8_t *target,
                   uint64_t capacity, uint64_t *size) {
    *size = 0;
    if (instrument >= self->config.instruments) return GLIMPSE_OK;
    for (uint32_t side = SIDE_BUY; side <= SIDE_SELL; side++) {
        const price_ladder *ladder = &self->instruments[instrument].ladder[side];
        const rung *rungs = ladder_rungs(&self->blocks, ladder);
        for (uint32_t rank = ladder->count; rank > 0; rank--) { /* the best stands last */
            const level_node *level = &self->levels[rungs[rank - 1].level];
            for (uint32_t i = level->head; i != NO_ORDER; i = self->orders[i].next) {
                if (capacity - *size < GLIMPSE_ORDER_BYTES) return GLIMPSE_NO_ROOM;
                int status = order_write(named, &self->orders[i], ladder_key(level->key, side), side, target + *size);
                if (status != GLIMPSE_OK) return status;
                *size += GLIMPSE_ORDER_BYTES;
            }
        }
    }
    return GLIMPSE_OK;
}
