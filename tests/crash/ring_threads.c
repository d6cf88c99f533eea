/* ring_threads.c: two threads over one mapped segment, for the thread sanitizer. Gating readers only: the
 * sanitizer does not understand the fences that an observer relies on.
 *
 * usage: ring_threads EVENTS
 */
#include "ring_harness.h"
#include <pthread.h>

enum { CAPACITY = 16, BATCH = 4 };

static region shared;
static uint64_t events;

static void *run_writer(void *unused) {
    ring_writer writer;
    uint32_t spins = 0;
    REQUIRE(ring_writer_attach(&writer, shared.ring) == RING_OK);
    REQUIRE(ring_writer_gate(&writer, shared.cursor[0]) == RING_OK);
    REQUIRE(ring_writer_bell(&writer, shared.bell) == RING_OK);
    while (writer.next < events) {
        void *slot = ring_claim_inline(&writer);
        if (!slot) {
            pause_a_little(&spins);
            continue;
        }
        fill(slot, writer.next);
        ring_commit_inline(&writer);
    }
    return unused;
}

/* Parks now and then, so that the doorbell is under the sanitizer too. */
static void *run_reader(void *unused) {
    ring_reader reader;
    doorbell *bell = segment_body(shared.bell);
    REQUIRE(ring_reader_attach(&reader, shared.ring, shared.cursor[0], CURSOR_GATING) == RING_OK);
    while (reader.next < events) {
        uint64_t count = ring_available_inline(&reader, BATCH);
        for (uint64_t i = 0; i < count; i++) REQUIRE(whole(ring_at_inline(&reader, i), reader.next + i));
        reader.next += count;
        if (count) {
            ring_release_inline(&reader);
            continue;
        }
        wait_arm(bell);
        if (ring_front_inline(&reader)) wait_disarm(bell);
        else wait_park(bell, 1000000);
    }
    return unused;
}

int main(int count, char **argument) {
    REQUIRE(count == 2);
    events = strtoull(argument[1], NULL, 10);
    shared = region_make(CAPACITY);
    pthread_t writer, reader;
    REQUIRE(pthread_create(&reader, NULL, run_reader, NULL) == 0);
    REQUIRE(pthread_create(&writer, NULL, run_writer, NULL) == 0);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    printf("events=%lu\n", events);
    return 0;
}
