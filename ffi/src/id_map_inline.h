/* id_map_inline.h: 64-bit ids to 32-bit values: open addressing, linear probing, backward-shift
 * deletion (no tombstones, so a lookup never grows slower with age). Memory is the caller's.
 * Invariant: at most half of the cells are used, so each probe ends. Id 0 is "no id".
 */
#pragma once
#include <stdint.h>
#include <string.h>

#define ID_MAP_NONE 0xffffffffu

typedef struct {
    uint64_t id; /* 0: empty */
    uint32_t value;
    uint32_t reserved;
} id_map_cell;

typedef struct {
    id_map_cell *cell;
    uint64_t mask;
    uint64_t count;
} id_map;

/* Cells for `ids` ids: the power of two at least twice as large. */
static inline uint64_t id_map_cells(uint64_t ids) {
    uint64_t cells = 16;
    while (cells < 2 * ids) cells *= 2;
    return cells;
}

static inline void id_map_init(id_map *map, id_map_cell *cell, uint64_t cells) {
    memset(cell, 0, cells * sizeof *cell);
    map->cell = cell;
    map->mask = cells - 1;
    map->count = 0;
}

/* Ids that a stranger chooses are put in with a secret mixed in, and then through this: one to one, 0 stays 0. Without,
 * whoever knows the table's hash chooses ids that stand in each other's way. */
static inline uint64_t id_map_mix(uint64_t id) {
    id = (id ^ id >> 33) * 0xff51afd7ed558ccdu;
    id = (id ^ id >> 33) * 0xc4ceb9fe1a85ec53u;
    return id ^ id >> 33;
}

static inline uint64_t id_map_home(const id_map *map, uint64_t id) {
    id *= 0x9e3779b97f4a7c15u;
    return (id ^ id >> 32) & map->mask;
}

/* The cell that holds `id`, or the empty one where it would stand. */
static inline uint64_t id_map_probe(const id_map *map, uint64_t id) {
    uint64_t index = id_map_home(map, id);
    while (map->cell[index].id && map->cell[index].id != id) index = (index + 1) & map->mask;
    return index;
}

static inline uint32_t id_map_get(const id_map *map, uint64_t id) {
    if (!id || !map->count) return ID_MAP_NONE;
    const id_map_cell *cell = &map->cell[id_map_probe(map, id)];
    return cell->id ? cell->value : ID_MAP_NONE;
}

/* 1, or 0 when the id is 0, is there already, or the map is half full. */
static inline int id_map_put(id_map *map, uint64_t id, uint32_t value) {
    if (!id || 2 * map->count > map->mask) return 0;
    id_map_cell *cell = &map->cell[id_map_probe(map, id)];
    if (cell->id) return 0;
    cell->id = id;
    cell->value = value;
    map->count++;
    return 1;
}

static inline void id_map_remove(id_map *map, uint64_t id) {
    if (!id || !map->count) return;
    uint64_t hole = id_map_probe(map, id);
    if (!map->cell[hole].id) return;
    map->count--;
    /* Pull back each follower whose home does not lie between the hole and itself. */
    for (uint64_t next = (hole + 1) & map->mask; map->cell[next].id; next = (next + 1) & map->mask) {
        uint64_t home = id_map_home(map, map->cell[next].id);
        if (((next - home) & map->mask) < ((next - hole) & map->mask)) continue;
        map->cell[hole] = map->cell[next];
        hole = next;
    }
    map->cell[hole].id = 0;
}
