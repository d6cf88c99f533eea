/* ring_kill.c: writer and reader are killed at random instants, over and over, and take up again.
 *
 *   parent: start both, wait 0 to 2 ms, SIGKILL one of them (or both), check, start it again
 *
 * The reader keeps what it has taken in the tally and releases afterwards, so that after a kill it may see
 * again what it had not released, and nothing else. A new writer must stand exactly behind the last stamped
 * slot: below it an event would be published twice, above it one would be missing.
 *
 * usage: ring_kill KILLS SEED. Prints one line of key=value.
 */
#include "ring_harness.h"

enum { CAPACITY = 64, BATCH = 16 };

static uint64_t state;

static uint64_t random_below(uint64_t bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % bound;
}

/* The highest stamp in the ring: what a writer that takes up must stand behind. */
static uint64_t highest_stamp(const region *shared) {
    uint64_t highest = 0;
    for (uint64_t i = 0; i < CAPACITY; i++) {
        uint64_t stamp = *(uint64_t *)((uint8_t *)shared->ring + RING_SLOTS_OFFSET + i * SLOT_SIZE);
        if (stamp > highest) highest = stamp;
    }
    return highest;
}

static void fail(const region *shared, uint64_t line) {
    __atomic_store_n(&shared->sums->failure, line, __ATOMIC_RELAXED);
    _exit(1);
}

static void run_writer(const region *shared) {
    ring_writer writer;
    uint32_t spins = 0;
    uint64_t highest = highest_stamp(shared);
    if (ring_writer_attach(&writer, shared->ring) != RING_OK) fail(shared, __LINE__);
    if (ring_writer_gate(&writer, shared->cursor[0]) != RING_OK) fail(shared, __LINE__);
    if (writer.next != highest) fail(shared, __LINE__);
    for (;;) {
        void *slot = ring_claim_inline(&writer);
        if (!slot) {
            pause_a_little(&spins);
            continue;
        }
        fill(slot, writer.next);
        ring_commit_inline(&writer);
    }
}

static void run_reader(const region *shared) {
    ring_reader reader;
    uint32_t spins = 0;
    tally *sums = shared->sums;
    if (ring_reader_attach(&reader, shared->ring, shared->cursor[0], CURSOR_GATING) != RING_OK) fail(shared, __LINE__);
    if (reader.next > sums->next || sums->next - reader.next > BATCH) fail(shared, __LINE__);
    uint64_t again_until = sums->next;
    for (;;) {
        uint64_t count = ring_available_inline(&reader, BATCH);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t sequence = reader.next + i;
            if (!whole(ring_at_inline(&reader, i), sequence)) fail(shared, __LINE__);
            if (sequence < again_until) {
                sums->again++;
                continue;
            }
            if (sequence != sums->next) fail(shared, __LINE__);
            __atomic_store_n(&sums->next, sequence + 1, __ATOMIC_RELAXED);
        }
        reader.next += count;
        if (count) ring_release_inline(&reader);
        else pause_a_little(&spins);
    }
}

static pid_t start(void (*run)(const region *), const region *shared) {
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child) return child;
    die_with_parent();
    run(shared);
    _exit(2);
}

static void stop(const region *shared, pid_t child) {
    int status;
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, &status, 0) == child);
    if (shared->sums->failure) fprintf(stderr, "a child failed its check at line %lu\n", shared->sums->failure);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(int count, char **argument) {
    REQUIRE(count == 3);
    uint64_t kills = strtoull(argument[1], NULL, 10);
    state = strtoull(argument[2], NULL, 10) * 2 + 1;
    region shared = region_make(CAPACITY);
    pid_t writer = start(run_writer, &shared), reader = start(run_reader, &shared);
    for (uint64_t done = 0; done < kills;) {
        usleep((useconds_t)random_below(2000));
        uint64_t victims = 1 + random_below(3); /* bit 0: the writer, bit 1: the reader */
        if (victims & 1) stop(&shared, writer), done++;
        if (victims & 2) stop(&shared, reader), done++;
        if (victims & 1) writer = start(run_writer, &shared);
        if (victims & 2) reader = start(run_reader, &shared);
    }
    stop(&shared, writer);
    uint64_t published = highest_stamp(&shared), waited = harness_now();
    while (__atomic_load_n(&shared.sums->next, __ATOMIC_RELAXED) < published) {
        REQUIRE(harness_now() - waited < 20000000000u);
        usleep(1000);
    }
    stop(&shared, reader);
    REQUIRE(shared.sums->next == published);
    printf("kills=%lu published=%lu read=%lu again=%lu\n", kills, published, shared.sums->next, shared.sums->again);
    return 0;
}
