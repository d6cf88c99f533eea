/* ring_inline.h: the ring's protocol, for the stages that live on it. See include/ring.h.
 *
 *   writer                                          reader
 *   claim   stamp = 0            ------- P3 ------> copy: re-load the stamp
 *           payload
 *   commit  stamp = sequence + 1 ------- P1 ------> load the stamp
 *           control.position     ------- P5 ------> copy: how far was I lapped?
 *           bell.sleeping?       <------ P4 ------> wait_arm: sleeping = 1, poll again
 *   claim   cursor.position      <------ P2 ------- release
 *
 * SYNC POINTS, each named at both ends:
 *   P1  ring_commit stores slot.stamp (release)       <-> reader loads slot.stamp (acquire).
 *       Without it a reader could see the stamp and an older payload.
 *   P2  ring_release stores cursor.position (release) <-> ring_limit loads it (acquire).
 *       Without it the writer could overwrite a slot that is still being read.
 *   P3  ring_claim stores stamp 0, then a release fence before the payload <-> ring_copy re-loads the
 *       stamp after an acquire fence. If the copy saw one word of the new payload, the fences order the
 *       0 before the re-load, which then differs from the stamp that the copy began with. Without
 *       either an observer could take a half-overwritten payload for whole.
 *   P4  ring_commit loads bell.sleeping after a full fence <-> wait_arm stores sleeping, then a full
 *       fence, and its caller polls once more before it sleeps. One of the two must see the other's
 *       store. Without both fences each could miss the other.
 *   P5  ring_commit stores control.position (release) <-> ring_copy loads it (acquire). Every event below
 *       it is published. Without it a lapped observer could stand at a slot not yet written.
 *
 * A process killed between two of these stores leaves: a slot with stamp 0 (the next writer claims it
 * anew), a stamp that position does not know of (ring_writer_attach looks for it), a bell not rung (the
 * sleeper's time-out ends its sleep), or a cursor behind what was read (the reader sees it again).
 */
#pragma once
#include "ring.h"
#include "prefetch_inline.h"
#include <stdbool.h>
#include <stddef.h>

/* Always release; tests/crash/test_ring_crash.py plants weaker ones, which the thread sanitizer must find. */
#ifndef RING_PUBLISH_ORDER
#define RING_PUBLISH_ORDER __ATOMIC_RELEASE
#endif
#ifndef RING_RELEASE_ORDER
#define RING_RELEASE_ORDER __ATOMIC_RELEASE
#endif

void ring_wake(doorbell *bell); /* wait.c */

static inline uint64_t *ring_slot(const uint8_t *slots, uint64_t sequence, uint64_t mask, uint32_t shift) {
    return (uint64_t *)(uintptr_t)(slots + ((sequence & mask) << shift));
}

/* The lowest gating cursor plus capacity: the writer's new limit. */
static inline uint64_t ring_limit(const ring_writer *writer) {
    uint64_t lowest = writer->next;
    for (uint32_t i = 0; i < writer->gate_count; i++) {
        uint64_t position = __atomic_load_n(&writer->gate[i]->position, __ATOMIC_ACQUIRE); /* P2 */
        if (position < lowest) lowest = position;
    }
    return lowest + writer->mask + 1;
}

static inline void *ring_claim_inline(ring_writer *writer) {
    if (__builtin_expect(writer->next >= writer->limit, 0)) {
        writer->limit = ring_limit(writer);
        if (writer->next >= writer->limit) {
            __atomic_store_n(&writer->control->full_count, writer->control->full_count + 1, __ATOMIC_RELAXED);
            return NULL;
        }
    }
    uint64_t *slot = ring_slot(writer->slots, writer->next, writer->mask, writer->slot_shift);
    __atomic_store_n(slot, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* P3 */
    return slot;
}

/* Ask for the slot after the next. A ring that is larger than the near caches would else make each message wait
 * for memory: its stores, and with them whatever reads them back, stand behind a line that is far away. Not between
 * processors: there it takes the line from the reader, and a round trip 30 to 45 ns more. */
PREFETCHING void ring_expect(const ring_writer *writer) {
    const uint8_t *slot = (const uint8_t *)ring_slot(writer->slots, writer->next + 1, writer->mask, writer->slot_shift);
    __builtin_prefetch(slot, 1);
    if (writer->slot_shift > 6) __builtin_prefetch(slot + CACHE_LINE_SIZE, 1);
}

static inline void ring_commit_inline(ring_writer *writer) {
    uint64_t *slot = ring_slot(writer->slots, writer->next, writer->mask, writer->slot_shift);
    uint64_t stamp = ++writer->next;
    __atomic_store_n(slot, stamp, RING_PUBLISH_ORDER);                     /* P1 */
    __atomic_store_n(&writer->control->position, stamp, __ATOMIC_RELEASE); /* P5 */
    if (writer->looks_ahead) ring_expect(writer);
    if (__builtin_expect(writer->bell_count != 0, 0)) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* P4 */
        for (uint32_t i = 0; i < writer->bell_count; i++)
            if (__atomic_load_n(&writer->bell[i]->sleeping, __ATOMIC_RELAXED)) ring_wake(writer->bell[i]);
    }
}

static inline uint64_t ring_room_inline(ring_writer *writer) {
    writer->limit = ring_limit(writer);
    return writer->limit > writer->next ? writer->limit - writer->next : 0;
}

/* Is the event with this sequence published? Gating readers only. */
static inline bool ring_has(const ring_reader *reader, uint64_t sequence) {
    const uint64_t *slot = ring_slot(reader->slots, sequence, reader->mask, reader->slot_shift);
    return __atomic_load_n(slot, __ATOMIC_ACQUIRE) == sequence + 1; /* P1 */
}

static inline const void *ring_front_inline(const ring_reader *reader) {
    return ring_has(reader, reader->next)
               ? ring_slot(reader->slots, reader->next, reader->mask, reader->slot_shift)
               : NULL;
}

static inline const void *ring_at_inline(const ring_reader *reader, uint64_t ahead) {
    return ring_slot(reader->slots, reader->next + ahead, reader->mask, reader->slot_shift);
}

static inline uint64_t ring_available_inline(const ring_reader *reader, uint64_t max) {
    uint64_t count = 0;
    while (count < max && ring_has(reader, reader->next + count)) count++;
    return count;
}

static inline void ring_release_inline(ring_reader *reader) {
    __atomic_store_n(&reader->cursor->position, reader->next, RING_RELEASE_ORDER); /* P2 */
}
