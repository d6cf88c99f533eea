/* ring_bench.c: what does a message between two processors cost, and how near is the ring to the floor?
 *
 *   floor       A: line = n ----> B: sees n, line = n + 1 ----> A        one cache line, C atomics
 *   round trip  A: ring 1   ----> B: takes it, ring 2     ----> A        two rings, slots of 64 or 128 bytes
 *   one way     A: ring 1 ------> B: takes batches, sums them            as fast as it goes
 *
 *   ring_bench CPU_A CPU_B ROUNDS TRIPS MESSAGES
 *
 * Two processes over one shared mapping, each pinned and spinning. Floor and round trips alternate, ROUNDS
 * times TRIPS each, because two virtual processors can move apart in mid-run: the factor is that of the
 * medians of rounds that stood side by side. Each message carries its number, and the sums are verified.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "clock_inline.h"
#include "histogram.h"
#include "ring_inline.h"
#include "wait.h"
#include "segment.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 64u       /* of the rings that make round trips: no message waits behind another */
#define CAPACITY_LONG 1024u /* one way */
#define BATCH 64u
#define ROUNDS_MAX 1000
#define CHUNK 500u
#define CHUNKS_MAX 10000

enum { FLOOR, RING_64, RING_128, ONE_WAY, KINDS };
static const char *const NAMES[KINDS] = {"floor", "ring_64", "ring_128", "one_way"};

typedef struct {
    uint8_t *ring[2], *cursor[2];
    ring_writer writer;
    ring_reader reader;
} lane; /* this process's ends of two rings of one slot size */

static struct {
    _Alignas(128) uint64_t line;
    _Alignas(128) uint64_t round; /* A has begun this round */
    _Alignas(128) uint64_t ready; /* B is in it */
    _Alignas(128) uint64_t sum;   /* that B found, one way */
} *shared;
static clock_page now_page;
static histogram trips[KINDS];

static void die(const char *what) {
    fprintf(stderr, "ring_bench: %s\n", what);
    exit(1);
}

static void *map_shared(uint64_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) die("no memory");
    return memory;
}

static void pin(int cpu) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) die("cannot pin to that processor");
}

static void make_lane(lane *made, uint32_t capacity, uint32_t slot_size) {
    for (int i = 0; i < 2; i++) {
        segment_header ring = {.capacity = capacity, .slot_size = slot_size, .kind = SEGMENT_RING};
        segment_header cursor = {.kind = SEGMENT_CURSOR};
        made->ring[i] = map_shared(ring_bytes(capacity, slot_size));
        made->cursor[i] = map_shared(4096);
        segment_seal(made->ring[i], &ring);
        segment_seal(made->cursor[i], &cursor);
    }
}

/* A writes the first ring and reads the second; B the other way round. */
static void open_lane(lane *own, int is_b) {
    if (ring_writer_attach(&own->writer, own->ring[is_b]) != RING_OK) die("no writer");
    if (ring_writer_gate(&own->writer, own->cursor[is_b]) != RING_OK) die("no gate");
    if (ring_reader_attach(&own->reader, own->ring[!is_b], own->cursor[!is_b], CURSOR_GATING) != RING_OK) die("no reader");
}

/* ---- one message ------------------------------------------------------------------------------- */

static inline void put(lane *own, uint64_t number) {
    uint64_t *slot;
    while (!(slot = ring_claim_inline(&own->writer)));
    for (int i = 1; i < 8; i++) slot[i] = number;
    ring_commit_inline(&own->writer);
}

/* A reader that looks again without a pause takes the line away from a writer that has filled half of it,
 * and the writer must fetch it back: a round trip of 1.5 times the floor in place of 1.1 to 1.3. */
static inline uint64_t take(lane *own) {
    const uint64_t *slot;
    while (!(slot = ring_front_inline(&own->reader))) wait_spin();
    uint64_t number = slot[1];
    if (slot[7] != number) die("a torn message");
    own->reader.next++;
    ring_release_inline(&own->reader);
    return number;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

/* ---- the rounds -------------------------------------------------------------------------------- */

/* Trips go in chunks: every other one is timed as a whole, so that no clock stands in its trips, and those
 * between are timed trip by trip, for the percentiles. The median chunk leaves out what the machine took. */
static double chunk_ns[CHUNKS_MAX];

static inline void floor_trip(uint64_t i) {
    __atomic_store_n(&shared->line, 2 * i + 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared->line, __ATOMIC_ACQUIRE) != 2 * i + 2);
}

static inline void ring_trip(lane *own, uint64_t i) {
    put(own, i);
    if (take(own) != i + 1) die("a wrong answer");
}

static inline void trip(lane *own, uint64_t i, int kind) {
    if (kind == FLOOR) floor_trip(i);
    else ring_trip(own, i);
}

/* The median of the chunks timed as a whole, ns a trip. */
static double trips_a(lane *own, uint64_t count, int kind) {
    int chunks = 0;
    for (uint64_t first = 0; first < count; first += 2 * CHUNK) {
        uint64_t start_ns = clock_read(&now_page);
        for (uint64_t i = first; i < first + CHUNK; i++) trip(own, i, kind);
        chunk_ns[chunks++] = (double)(clock_read(&now_page) - start_ns) / CHUNK;
        for (uint64_t i = first + CHUNK; i < first + 2 * CHUNK; i++) {
            start_ns = clock_read(&now_page);
            trip(own, i, kind);
            histogram_record(&trips[kind], clock_read(&now_page) - start_ns);
        }
    }
    return median(chunk_ns, chunks);
}

static void floor_b(uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        while (__atomic_load_n(&shared->line, __ATOMIC_ACQUIRE) != 2 * i + 1);
        __atomic_store_n(&shared->line, 2 * i + 2, __ATOMIC_RELEASE);
    }
}

static void ring_b(lane *own, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) put(own, take(own) + 1);
}

static void one_way_a(lane *own, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) put(own, i);
}

static void one_way_b(lane *own, uint64_t count) {
    uint64_t sum = 0, done = 0;
    while (done < count) {
        uint64_t found = ring_available_inline(&own->reader, BATCH);
        for (uint64_t i = 0; i < found; i++) sum += ((const uint64_t *)ring_at_inline(&own->reader, i))[1];
        if (!found) continue;
        own->reader.next += found;
        done += found;
        ring_release_inline(&own->reader);
    }
    __atomic_store_n(&shared->sum, sum, __ATOMIC_RELEASE);
}

static void meet(int is_b, uint64_t round) {
    uint64_t *own = is_b ? &shared->ready : &shared->round, *other = is_b ? &shared->round : &shared->ready;
    __atomic_store_n(own, round, __ATOMIC_RELEASE);
    while (__atomic_load_n(other, __ATOMIC_ACQUIRE) < round);
}

/* ns a message of each round, by kind; B's are not looked at. */
static void run(int is_b, lane *lanes, int rounds, uint64_t count, uint64_t messages, double each[][ROUNDS_MAX]) {
    uint64_t meeting = 0;
    for (int round = 0; round < rounds; round++)
        for (int kind = FLOOR; kind < KINDS; kind++) {
            lane *own = &lanes[kind];
            uint64_t amount = kind == ONE_WAY ? messages : count;
            if (!is_b) __atomic_store_n(&shared->line, 0, __ATOMIC_RELAXED);
            meet(is_b, ++meeting);
            uint64_t start_ns = clock_read(&now_page);
            double trip_ns = 0;
            if (kind == ONE_WAY) is_b ? one_way_b(own, amount) : one_way_a(own, amount);
            else if (!is_b) trip_ns = trips_a(own, amount, kind);
            else if (kind == FLOOR) floor_b(amount);
            else ring_b(own, amount);
            meet(is_b, ++meeting);
            each[kind][round] = kind == ONE_WAY ? (double)(clock_read(&now_page) - start_ns) / (double)amount : trip_ns;
            if (kind == ONE_WAY && !is_b && shared->sum != amount * (amount - 1) / 2) die("messages were lost");
        }
}

int main(int words, char **word) {
    static double each[KINDS][ROUNDS_MAX], factor[2][ROUNDS_MAX];
    if (words != 6) die("usage: ring_bench CPU_A CPU_B ROUNDS TRIPS MESSAGES");
    int rounds = atoi(word[3]);
    uint64_t count = strtoull(word[4], NULL, 10), messages = strtoull(word[5], NULL, 10);
    count -= count % (2 * CHUNK);
    if (rounds < 1 || rounds > ROUNDS_MAX || !count || count / CHUNK > CHUNKS_MAX || !messages) die("out of range");
    clock_calibrate(&now_page, 50000000, 0);
    for (int kind = 0; kind < KINDS; kind++) histogram_reset(&trips[kind]);
    lane lanes[KINDS] = {0};
    shared = map_shared(sizeof *shared);
    make_lane(&lanes[RING_64], CAPACITY, 64);
    make_lane(&lanes[RING_128], CAPACITY, 128);
    make_lane(&lanes[ONE_WAY], CAPACITY_LONG, 64);
    pid_t child = fork();
    if (child < 0) die("no process");
    int is_b = child == 0;
    if (is_b) prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(atoi(word[is_b ? 2 : 1]));
    for (int kind = RING_64; kind < KINDS; kind++) open_lane(&lanes[kind], is_b);
    run(is_b, lanes, rounds, count, messages, each);
    if (is_b) return 0;
    int status;
    waitpid(child, &status, 0);
    if (status != 0) die("the other process failed");
    for (int round = 0; round < rounds; round++)
        for (int kind = RING_64; kind <= RING_128; kind++) factor[kind - RING_64][round] = each[kind][round] / each[FLOOR][round];
    for (int kind = FLOOR; kind < ONE_WAY; kind++)
        printf("{\"what\": \"%s\", \"ns\": %.2f, \"p50_ns\": %lu, \"p99_ns\": %lu, \"p999_ns\": %lu, \"max_ns\": %lu, "
               "\"factor\": %.4f, \"trips\": %lu}\n",
               NAMES[kind], median(each[kind], rounds), histogram_value_at(&trips[kind], 50), histogram_value_at(&trips[kind], 99),
               histogram_value_at(&trips[kind], 99.9), trips[kind].value_max,
               kind == FLOOR ? 1.0 : median(factor[kind - RING_64], rounds), trips[kind].total_count);
    double way_ns = median(each[ONE_WAY], rounds);
    printf("{\"what\": \"one_way\", \"ns\": %.3f, \"messages_per_second\": %.0f, \"messages\": %lu}\n", way_ns, 1e9 / way_ns,
           messages * (uint64_t)rounds);
    return 0;
}
