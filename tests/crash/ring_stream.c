/* ring_stream.c: a writer process, a gating reader process and an observer process; N events.
 *
 *   writer --ring--> reader (gating: sees each event once, in order, whole)
 *               \--> observer (delivered + lost = N, each delivered one whole and in order)
 *
 * usage: ring_stream EVENTS CAPACITY. Prints one line of key=value.
 */
#include "ring_harness.h"

enum { BATCH = 64 };

static void run_writer(const region *shared, uint64_t events) {
    ring_writer writer;
    uint32_t spins = 0;
    REQUIRE(ring_writer_attach(&writer, shared->ring) == RING_OK);
    REQUIRE(ring_writer_gate(&writer, shared->cursor[0]) == RING_OK);
    while (writer.next < events) {
        void *slot = ring_claim_inline(&writer);
        if (!slot) {
            pause_a_little(&spins);
            continue;
        }
        fill(slot, writer.next);
        ring_commit_inline(&writer);
    }
}

static void run_observer(const region *shared, uint64_t events) {
    ring_reader reader;
    uint32_t spins = 0;
    uint64_t lost = 0, delivered = 0, next = 0;
    static uint64_t batch[BATCH][SLOT_SIZE / 8];
    REQUIRE(ring_reader_attach(&reader, shared->ring, shared->cursor[1], CURSOR_OBSERVER) == RING_OK);
    while (reader.next < events) {
        uint64_t before = lost;
        uint64_t count = ring_copy(&reader, batch, BATCH, &lost);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t sequence = batch[i][0] - 1;
            REQUIRE(sequence >= next && sequence < events);
            REQUIRE(whole(batch[i], sequence));
            next = sequence + 1;
        }
        delivered += count;
        REQUIRE(delivered + lost == reader.next);
        if (!count && lost == before) pause_a_little(&spins);
    }
    REQUIRE(delivered + lost == events);
    REQUIRE(reader.cursor->lost_count == lost);
    shared->sums->seen = delivered;
    shared->sums->again = lost;
}

static void run_reader(const region *shared, uint64_t events) {
    ring_reader reader;
    uint32_t spins = 0;
    REQUIRE(ring_reader_attach(&reader, shared->ring, shared->cursor[0], CURSOR_GATING) == RING_OK);
    while (reader.next < events) {
        uint64_t count = ring_available_inline(&reader, BATCH);
        for (uint64_t i = 0; i < count; i++) REQUIRE(whole(ring_at_inline(&reader, i), reader.next + i));
        reader.next += count;
        if (count) ring_release_inline(&reader);
        else pause_a_little(&spins);
    }
    REQUIRE(!ring_front_inline(&reader));
}

static pid_t start(void (*run)(const region *, uint64_t), const region *shared, uint64_t events) {
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child) return child;
    die_with_parent();
    run(shared, events);
    _exit(0);
}

int main(int count, char **argument) {
    REQUIRE(count == 3);
    uint64_t events = strtoull(argument[1], NULL, 10), capacity = strtoull(argument[2], NULL, 10);
    region shared = region_make(capacity);
    uint64_t began = harness_now();
    pid_t child[3] = {start(run_observer, &shared, events), start(run_reader, &shared, events),
                      start(run_writer, &shared, events)};
    for (int i = 0; i < 3; i++) {
        int status;
        REQUIRE(waitpid(child[i], &status, 0) == child[i]);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    const ring_control *control = segment_body(shared.ring);
    printf("events=%lu read=%lu observed=%lu lost=%lu full=%lu ns_per_event=%.2f\n", control->position,
           ((ring_cursor *)segment_body(shared.cursor[0]))->position, shared.sums->seen, shared.sums->again,
           control->full_count, (double)(harness_now() - began) / (double)events);
    return 0;
}
