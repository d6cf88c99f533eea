/* book_ladder.h: the sorted prices of one side of one instrument, best last. For book.c.
 *
 *   rung: | key 8 | level 4 | - 4 |      worst ... best
 *
 * A key orders prices of either side alike: better is greater. Most activity is near the best, so a
 * search goes back from the end and halves only what lies deeper; an insertion or removal moves only
 * the rungs better than it. Prices may lie arbitrarily far apart (stub quotes at 0.0100 and
 * 199,999.9900 are real), which is why no array is indexed by price.
 */
#pragma once
#include "book_blocks.h"
#include <stdint.h>
#include <string.h>

#define LADDER_NEAR 8u /* rungs looked at one by one */

typedef struct {
    int64_t key;
    uint32_t level;
    uint32_t reserved;
} rung;

#define LADDER_CAPACITY_MIN (BLOCK_UNIT_BYTES / (uint32_t)sizeof(rung))

typedef struct {
    uint32_t unit; /* of its block, while capacity is not 0 */
    uint32_t count;
    uint32_t capacity;
    uint32_t class;
} price_ladder;

/* Greater is better on both sides: one's complement turns the order of an ask round and cannot overflow. */
static inline int64_t ladder_key(int64_t price_ticks, uint32_t side) { return price_ticks ^ -(int64_t)side; }

static inline rung *ladder_rungs(const block_arena *arena, const price_ladder *ladder) {
    return block_at(arena, ladder->unit);
}

/* How many rungs are worse than `key`: where it stands, or would. */
static inline uint32_t ladder_position(const rung *rungs, uint32_t count, int64_t key) {
    uint32_t near = count > LADDER_NEAR ? count - LADDER_NEAR : 0;
    uint32_t high = count;
    while (high > near) {
        if (rungs[high - 1].key < key) return high;
        high--;
    }
    uint32_t low = 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rungs[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The level of this key, 0 when the ladder has none. */
static inline uint32_t ladder_level(const block_arena *arena, const price_ladder *ladder, int64_t key) {
    const rung *rungs = ladder_rungs(arena, ladder);
    uint32_t position = ladder_position(rungs, ladder->count, key);
    return position < ladder->count && rungs[position].key == key ? rungs[position].level : 0;
}

/* Move to a block of another class; 0 when there is none. */
static inline int ladder_resize(block_arena *arena, price_ladder *ladder, uint32_t class) {
    uint32_t unit = block_take(arena, class);
    if (unit == NO_BLOCK) return 0;
    if (ladder->count) memcpy(block_at(arena, unit), ladder_rungs(arena, ladder), ladder->count * sizeof(rung));
    if (ladder->capacity) block_give(arena, ladder->unit, ladder->class);
    ladder->unit = unit;
    ladder->class = class;
    ladder->capacity = LADDER_CAPACITY_MIN << class;
    return 1;
}

static inline int ladder_insert(block_arena *arena, price_ladder *ladder, uint32_t position, int64_t key, uint32_t level) {
    if (ladder->count == ladder->capacity &&
        !ladder_resize(arena, ladder, ladder->capacity ? ladder->class + 1 : 0))
        return 0;
    rung *rungs = ladder_rungs(arena, ladder);
    memmove(&rungs[position + 1], &rungs[position], (ladder->count - position) * sizeof(rung));
    rungs[position] = (rung){.key = key, .level = level};
    ladder->count++;
    return 1;
}

/* Blocks shrink at a quarter full, so that all ladders together hold at most four rungs a level, and
 * a ladder that hovers at a border does not move at every step. */
static inline void ladder_remove(block_arena *arena, price_ladder *ladder, uint32_t position) {
    rung *rungs = ladder_rungs(arena, ladder);
    ladder->count--;
    memmove(&rungs[position], &rungs[position + 1], (ladder->count - position) * sizeof(rung));
    if (ladder->class && ladder->count <= ladder->capacity / 4) ladder_resize(arena, ladder, ladder->class - 1);
}

static inline void ladder_clear(block_arena *arena, price_ladder *ladder) {
    if (ladder->capacity) block_give(arena, ladder->unit, ladder->class);
    memset(ladder, 0, sizeof *ladder);
}
