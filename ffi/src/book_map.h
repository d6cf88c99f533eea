/* book_map.h: hash map from order number to order index, for book.c. See include/book.h.
 *
 *   line, 64 bytes: | tag[10] | strays | - | order[10] |
 *
 * A number's home is one line. Its ten places are compared in one stroke by 16-bit tags (0 = empty);
 * a tag that agrees is confirmed by the order's own number. A full home sends the newcomer to one of the
 * next lines, at most MAP_PROBE_LINES in all, and counts it in `strays`: a lookup leaves its home only
 * while strays is not 0. So a lookup, an insertion and a removal each touch one line nearly always and
 * a bounded number whatever the numbers are; a removal moves nothing and leaves no tombstone.
 */
#pragma once
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define MAP_LINE_PLACES 10u
#define MAP_PROBE_LINES 16u
#define MAP_ORDERS_PER_LINE 6u /* at most, on average. A home is then full once in 25 */

typedef struct {
    uint16_t tag[MAP_LINE_PLACES];
    uint16_t strays; /* orders whose home this is and that stand elsewhere */
    uint16_t reserved;
    uint32_t order[MAP_LINE_PLACES];
} map_line;

_Static_assert(sizeof(map_line) == 64, "a map line is a cache line");

typedef struct {
    map_line *lines;
    uint64_t mask; /* lines - 1 */
    uint32_t shift;
} order_map;

/* Where a number stands, or would. */
typedef struct {
    map_line *home;
    map_line *line; /* home, or the one it strayed to */
    uint32_t place;
    uint16_t tag;
} map_place;

static inline uint32_t map_line_count_log2(uint64_t orders) {
    uint32_t log2 = 4; /* no fewer lines than MAP_PROBE_LINES */
    while (((uint64_t)MAP_ORDERS_PER_LINE << log2) < orders) log2++;
    return log2;
}

/* Two odd multipliers and a fold between: no stride of order numbers met in practice clusters. */
static inline uint64_t map_hash(uint64_t ref) {
    ref *= 0x9e3779b97f4a7c15u;
    ref ^= ref >> 32;
    return ref * 0xd6e8feb86659fd93u;
}

static inline map_line *map_home(const order_map *map, uint64_t ref) {
    return map->lines + (map_hash(ref) >> map->shift);
}

/* The tag is of lower bits than the home, and never 0. */
static inline map_place map_start(const order_map *map, uint64_t ref) {
    uint64_t hash = map_hash(ref);
    map_line *home = map->lines + (hash >> map->shift);
    return (map_place){.home = home, .line = home, .tag = (uint16_t)((hash >> 16) | 1u)};
}

/* Bit i is set where place i has this tag. */
static inline uint32_t map_match(const map_line *line, uint16_t tag) {
#if defined(__SSE2__) && !defined(HOTPATH_PORTABLE)
    __m128i wanted = _mm_set1_epi16((short)tag);
    __m128i low = _mm_load_si128((const __m128i *)(const void *)line);
    __m128i high = _mm_load_si128((const __m128i *)(const void *)line + 1);
    __m128i equal = _mm_packs_epi16(_mm_cmpeq_epi16(low, wanted), _mm_cmpeq_epi16(high, wanted));
    return (uint32_t)_mm_movemask_epi8(equal) & ((1u << MAP_LINE_PLACES) - 1u);
#else
    uint32_t mask = 0;
    for (uint32_t i = 0; i < MAP_LINE_PLACES; i++) mask |= (uint32_t)(line->tag[i] == tag) << i;
    return mask;
#endif
}

static inline map_line *map_next(const order_map *map, const map_line *line) {
    return map->lines + ((uint64_t)(line - map->lines + 1) & map->mask);
}

/* The order whose tag agrees in this number's home, unconfirmed; 0 when there is none. */
static inline uint32_t map_guess(const order_map *map, uint64_t ref) {
    map_place at = map_start(map, ref);
    uint32_t match = map_match(at.line, at.tag);
    return match ? at.line->order[__builtin_ctz(match)] : 0;
}

/* Take the first empty place from home on; 0 when the probe's bound is reached. */
static inline int map_insert(const order_map *map, map_place at, uint32_t order) {
    at.line = at.home;
    for (uint32_t i = 0; i < MAP_PROBE_LINES; i++, at.line = map_next(map, at.line)) {
        uint32_t empty = map_match(at.line, 0);
        if (!empty) continue;
        at.place = (uint32_t)__builtin_ctz(empty);
        at.line->tag[at.place] = at.tag;
        at.line->order[at.place] = order;
        at.home->strays = (uint16_t)(at.home->strays + (i != 0));
        return 1;
    }
    return 0;
}

static inline void map_remove(map_place at) {
    at.line->tag[at.place] = 0;
    at.home->strays = (uint16_t)(at.home->strays - (at.line != at.home));
}
