/* ring_side.c: one tree's ring, loaded by ring_turns.c beside those of other trees.
 *
 *   A: ring 0 ----> B: takes it, ring 1 ----> A        a round trip; every message carries its number
 *
 * Compiled as a shared object with the tree's own ring.c and headers; nothing else of the tree is in it.
 */
#include "ring_inline.h"
#include "segment.h"
#include "wait.h"

#define EXPORTED __attribute__((visibility("default")))
#define CAPACITY 64u /* no message waits behind another */
#define PAGE 4096u

enum { SIDE_OK, SIDE_TORN, SIDE_WRONG, SIDE_NO_RING };

typedef struct {
    ring_writer writer;
    ring_reader reader;
    uint64_t number;
} side;

EXPORTED uint64_t side_private_bytes(void) { return sizeof(side); }

static uint64_t ring_room_bytes(uint32_t slot_size) {
    return (ring_bytes(CAPACITY, slot_size) + PAGE - 1) / PAGE * PAGE;
}

/* Shared memory of both rings and both cursors, in this order. */
EXPORTED uint64_t side_shared_bytes(uint32_t slot_size) { return 2 * ring_room_bytes(slot_size) + 2 * PAGE; }

EXPORTED void side_make(uint8_t *memory, uint32_t slot_size) {
    for (uint32_t i = 0; i < 2; i++) {
        segment_header ring = {.capacity = CAPACITY, .slot_size = slot_size, .kind = SEGMENT_RING};
        segment_header cursor = {.kind = SEGMENT_CURSOR};
        segment_seal(memory + i * ring_room_bytes(slot_size), &ring);
        segment_seal(memory + 2 * ring_room_bytes(slot_size) + i * PAGE, &cursor);
    }
}

/* A writes the first ring and reads the second; B the other way round. */
EXPORTED int side_open(side *own, uint8_t *memory, uint32_t slot_size, uint32_t is_b) {
    uint8_t *cursors = memory + 2 * ring_room_bytes(slot_size);
    uint8_t *out = memory + is_b * ring_room_bytes(slot_size), *in = memory + !is_b * ring_room_bytes(slot_size);
    own->number = 0;
    if (ring_writer_attach(&own->writer, out) != RING_OK) return SIDE_NO_RING;
    if (ring_writer_gate(&own->writer, cursors + is_b * PAGE) != RING_OK) return SIDE_NO_RING;
    return ring_reader_attach(&own->reader, in, cursors + !is_b * PAGE, CURSOR_GATING) == RING_OK ? SIDE_OK : SIDE_NO_RING;
}

static inline void put(side *own, uint64_t number) {
    uint64_t *slot;
    while (!(slot = ring_claim_inline(&own->writer)));
    for (int i = 1; i < 8; i++) slot[i] = number;
    ring_commit_inline(&own->writer);
}

/* With a pause between looks, as ring_bench.c explains. */
static inline int take(side *own, uint64_t *number) {
    const uint64_t *slot;
    while (!(slot = ring_front_inline(&own->reader))) wait_spin();
    *number = slot[1];
    int torn = slot[7] != *number;
    own->reader.next++;
    ring_release_inline(&own->reader);
    return torn ? SIDE_TORN : SIDE_OK;
}

/* So many round trips: A asks with a number, B answers with the next. */
EXPORTED int side_trips(side *own, uint32_t is_b, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t number;
        if (!is_b) put(own, own->number);
        if (take(own, &number) != SIDE_OK) return SIDE_TORN;
        if (number != own->number + !is_b) return SIDE_WRONG;
        if (is_b) put(own, number + 1);
        own->number++;
    }
    return SIDE_OK;
}
