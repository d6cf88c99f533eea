/* book_blocks.h: buddy allocator over one preallocated arena, for the ladders of book.c.
 *
 *   class 0 is one unit of 64 bytes; class c is 2^c units at a multiple of 2^c
 *
 * A ladder that grows takes a block of the next class and gives its old one back, where it joins its
 * free neighbour. Free blocks hold their own list links; `state` has a byte per unit: class + 1 at the
 * head of a free block, else 0. Every loop is bounded by the number of classes.
 */
#pragma once
#include <stdint.h>

#define BLOCK_UNIT_BYTES 64u
#define BLOCK_CLASSES 32u
#define NO_BLOCK UINT32_MAX

typedef struct {
    uint32_t next;
    uint32_t previous;
} block_links;

typedef struct {
    uint8_t *memory;
    uint8_t *state;
    uint32_t units;     /* a power of two */
    uint32_t available; /* bit c: a block of class c is free */
    uint32_t first[BLOCK_CLASSES];
} block_arena;

static inline void *block_at(const block_arena *arena, uint32_t unit) {
    return arena->memory + (uint64_t)unit * BLOCK_UNIT_BYTES;
}

static inline void block_link(block_arena *arena, uint32_t unit, uint32_t class) {
    block_links *links = block_at(arena, unit);
    links->previous = NO_BLOCK;
    links->next = arena->first[class];
    if (links->next != NO_BLOCK) ((block_links *)block_at(arena, links->next))->previous = unit;
    arena->first[class] = unit;
    arena->available |= 1u << class;
    arena->state[unit] = (uint8_t)(class + 1);
}

static inline void block_unlink(block_arena *arena, uint32_t unit, uint32_t class) {
    const block_links *links = block_at(arena, unit);
    if (links->next != NO_BLOCK) ((block_links *)block_at(arena, links->next))->previous = links->previous;
    if (links->previous != NO_BLOCK)
        ((block_links *)block_at(arena, links->previous))->next = links->next;
    else
        arena->first[class] = links->next;
    if (arena->first[class] == NO_BLOCK) arena->available &= ~(1u << class);
    arena->state[unit] = 0;
}

/* The smallest free block of this class or above, its surplus halves given back; NO_BLOCK when none. */
static inline uint32_t block_take(block_arena *arena, uint32_t class) {
    uint32_t fits = class < BLOCK_CLASSES ? arena->available >> class << class : 0;
    if (!fits) return NO_BLOCK;
    uint32_t found = (uint32_t)__builtin_ctz(fits);
    uint32_t unit = arena->first[found];
    block_unlink(arena, unit, found);
    while (found > class) {
        found--;
        block_link(arena, unit + (1u << found), found);
    }
    return unit;
}

static inline void block_give(block_arena *arena, uint32_t unit, uint32_t class) {
    while ((1u << class) < arena->units) {
        uint32_t buddy = unit ^ (1u << class);
        if (arena->state[buddy] != class + 1) break;
        block_unlink(arena, buddy, class);
        unit &= ~(1u << class);
        class++;
    }
    block_link(arena, unit, class);
}
