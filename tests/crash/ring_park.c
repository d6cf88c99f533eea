/* ring_park.c: every message finds its reader asleep or about to be, and none is slept through.
 *
 *   asker 0 --ring--\            /--ring--> asker 0
 *                    > echo ----<              each parks on its own doorbell; echo's has two ringers
 *   asker 1 --ring--/            \--ring--> asker 1
 *
 * An asker sends its next message only after the answer, so that one lost wake-up stops it: its sleep then
 * ends by the time-out, which is counted. Random spins before each step vary who meets whom.
 *
 * usage: ring_park ROUNDS. Prints one line of key=value.
 */
#include "ring_harness.h"

enum { ASKERS = 2, CAPACITY = 4 };
static const uint64_t TIMEOUT_NS = 5000000000u;

static region question[ASKERS], answer[ASKERS]; /* the bell of question[0] is the echo's */
static uint64_t rounds;
static uint64_t noise;

static void random_spins(void) {
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    for (uint64_t i = noise >> 55; i; i--) wait_spin();
}

static ring_writer writer_of(const region *ring, void *bell) {
    ring_writer writer;
    REQUIRE(ring_writer_attach(&writer, ring->ring) == RING_OK);
    REQUIRE(ring_writer_gate(&writer, ring->cursor[0]) == RING_OK);
    REQUIRE(ring_writer_bell(&writer, bell) == RING_OK);
    return writer;
}

static ring_reader reader_of(const region *ring) {
    ring_reader reader;
    REQUIRE(ring_reader_attach(&reader, ring->ring, ring->cursor[0], CURSOR_GATING) == RING_OK);
    return reader;
}

static void send(ring_writer *writer) {
    void *slot = ring_claim_inline(writer);
    REQUIRE(slot);
    fill(slot, writer->next);
    random_spins();
    ring_commit_inline(writer);
}

static void take(ring_reader *reader) {
    REQUIRE(whole(ring_front_inline(reader), reader->next));
    reader->next++;
    ring_release_inline(reader);
}

static void run_asker(int which) {
    ring_writer ask = writer_of(&question[which], question[0].bell);
    ring_reader hear = reader_of(&answer[which]);
    doorbell *bell = segment_body(answer[which].bell);
    uint64_t parks = 0;
    noise = 1000 + (uint64_t)which;
    while (hear.next < rounds) {
        send(&ask);
        while (!ring_front_inline(&hear)) {
            random_spins();
            wait_arm(bell);
            if (ring_front_inline(&hear)) {
                wait_disarm(bell);
                break;
            }
            parks++;
            REQUIRE(wait_park(bell, TIMEOUT_NS));
        }
        take(&hear);
    }
    answer[which].sums->seen = parks;
}

static void run_echo(void) {
    ring_reader hear[ASKERS];
    ring_writer say[ASKERS];
    doorbell *bell = segment_body(question[0].bell);
    uint64_t parks = 0;
    for (int i = 0; i < ASKERS; i++) {
        hear[i] = reader_of(&question[i]);
        say[i] = writer_of(&answer[i], answer[i].bell);
    }
    while (hear[0].next < rounds || hear[1].next < rounds) {
        int busy = 0;
        for (int i = 0; i < ASKERS; i++) {
            if (!ring_front_inline(&hear[i])) continue;
            take(&hear[i]);
            send(&say[i]);
            busy = 1;
        }
        if (busy) continue;
        random_spins();
        wait_arm(bell);
        if (ring_front_inline(&hear[0]) || ring_front_inline(&hear[1])) {
            wait_disarm(bell);
            continue;
        }
        parks++;
        REQUIRE(wait_park(bell, TIMEOUT_NS));
    }
    question[0].sums->seen = parks;
}

int main(int count, char **argument) {
    REQUIRE(count == 2);
    rounds = strtoull(argument[1], NULL, 10);
    for (int i = 0; i < ASKERS; i++) question[i] = region_make(CAPACITY), answer[i] = region_make(CAPACITY);
    pid_t child[ASKERS + 1];
    for (int i = 0; i < ASKERS + 1; i++) {
        child[i] = fork();
        REQUIRE(child[i] >= 0);
        if (child[i]) continue;
        die_with_parent();
        if (i < ASKERS) run_asker(i);
        else run_echo();
        _exit(0);
    }
    for (int i = 0; i < ASKERS + 1; i++) {
        int status;
        REQUIRE(waitpid(child[i], &status, 0) == child[i]);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    printf("rounds=%lu asker_parks=%lu echo_parks=%lu\n", rounds * ASKERS, answer[0].sums->seen + answer[1].sums->seen,
           question[0].sums->seen);
    return 0;
}
