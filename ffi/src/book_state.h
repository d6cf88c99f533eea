/* book_state.h: what lies in a book's memory, for book.c and for flow.c, which judges by it.
 *
 *   | book | instruments | map lines | orders | levels | block states | blocks of the ladders |
 *
 * Index 0 of orders and levels is never used: it means none. A level belongs to an owner, instrument
 * and side in one number. An instrument's first line is all that an event near the touch needs of it,
 * laid out as the end of a norm_event.
 */
#pragma once
#include "book.h"
#include "book_blocks.h"
#include "book_ladder.h"
#include "book_map.h"
#include <stddef.h>

#define NO_ORDER 0u
#define NO_LEVEL 0u

typedef struct {
    uint64_t ref;
    int64_t quantity;
    uint32_t previous; /* towards the head, which is served first; a free order's next is the free list */
    uint32_t next;
    uint32_t level;
    uint32_t reserved;
} order_node;

typedef struct {
    int64_t key;
    int64_t quantity;
    uint32_t head;   /* a free level's is the free list */
    uint32_t tail;
    uint32_t orders;
    uint32_t owner;  /* instrument * 2 + side */
} level_node;

/* Indexed by enum side, in the order of norm_event. */
typedef struct {
    int64_t price[2];
    int64_t quantity[2];
    int64_t depth[2]; /* sum of the best DEPTH_LEVELS levels */
} book_top;

typedef struct {
    book_top top;
    int64_t floor[2]; /* key of the level DEPTH_LEVELS deep: a better or equal one counts in depth */
    price_ladder ladder[2];
    uint8_t reserved[32];
} book_instrument;

_Static_assert(sizeof(order_node) == 32, "two orders to a cache line");
_Static_assert(sizeof(level_node) == 32, "two levels to a cache line");
_Static_assert(sizeof(book_instrument) == 128, "an instrument's hot half is one cache line");
_Static_assert(offsetof(book_instrument, ladder) == CACHE_LINE_SIZE, "an instrument's hot half is one cache line");

struct book {
    book_instrument *instruments;
    order_node *orders;
    level_node *levels;
    order_map map;
    block_arena blocks;
    book_config config;
    uint32_t order_count;
    uint32_t level_count;
    uint32_t orders_used; /* indexes ever taken; above it the pool is untouched memory */
    uint32_t levels_used;
    uint32_t free_order;
    uint32_t free_level;
};

/* The level `rank` places behind the best, or NO_LEVEL. */
static inline uint32_t book_level_at(const book *self, uint32_t instrument, uint32_t side, uint32_t rank) {
    const price_ladder *ladder = &self->instruments[instrument].ladder[side];
    if (rank >= ladder->count) return NO_LEVEL;
    return ladder_rungs(&self->blocks, ladder)[ladder->count - 1 - rank].level;
}
