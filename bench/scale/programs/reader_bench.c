/* reader_bench.c: what does one more gating reader of a ring cost?
 *
 *   same core    A: writes BATCH slots, then each reader in turn reads them             as in a fused engine
 *   two cores    A: writes whenever there is room ----> B: each reader in turn reads    the writer waits for the last
 *
 *   reader_bench CPU_A CPU_B READERS EVENTS     CPU_A = CPU_B: same core alone
 *
 * Slots of 128 bytes, as all rings of the engine have. Each reader reads every event's number, which stands at
 * its end, and the sums are verified. Prints one JSON line: ns of the whole for one event.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "clock_inline.h"
#include "ring_inline.h"
#include "segment.h"
#include "wait.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 1024u
#define SLOT_SIZE 128u
#define LAST (SLOT_SIZE / 8 - 1)
#define BATCH 64u

static clock_page now_page;
static ring_writer writer;
static ring_reader reader[RING_GATES_MAX];
static int readers;
static uint64_t *sums; /* shared: each reader's */

static void die(const char *what) {
    fprintf(stderr, "reader_bench: %s\n", what);
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

static void make_ring(void) {
    uint8_t *ring = map_shared(ring_bytes(CAPACITY, SLOT_SIZE));
    segment_header header = {.capacity = CAPACITY, .slot_size = SLOT_SIZE, .kind = SEGMENT_RING};
    segment_seal(ring, &header);
    if (ring_writer_attach(&writer, ring) != RING_OK) die("no writer");
    for (int i = 0; i < readers; i++) {
        uint8_t *cursor = map_shared(4096);
        segment_header own = {.kind = SEGMENT_CURSOR};
        segment_seal(cursor, &own);
        if (ring_writer_gate(&writer, cursor) != RING_OK) die("no gate");
        if (ring_reader_attach(&reader[i], ring, cursor, CURSOR_GATING) != RING_OK) die("no reader");
        sums[i] = 0;
    }
}

static uint64_t write_some(uint64_t number, uint64_t count) {
    uint64_t *slot;
    uint64_t end = number + count;
    while (number < end && (slot = ring_claim_inline(&writer))) {
        for (uint32_t word = 1; word <= LAST; word++) slot[word] = number;
        ring_commit_inline(&writer);
        number++;
    }
    return number;
}

static uint64_t read_some(int index) {
    ring_reader *own = &reader[index];
    uint64_t count = ring_available_inline(own, BATCH);
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t *slot = ring_at_inline(own, i);
        sums[index] += slot[LAST];
    }
    own->next += count;
    if (count) ring_release_inline(own);
    return count;
}

static void verify(uint64_t events) {
    for (int i = 0; i < readers; i++)
        if (sums[i] != events * (events - 1) / 2) die("a reader lost events");
}

static double same_core(uint64_t events) {
    make_ring();
    uint64_t start_ns = clock_read(&now_page);
    for (uint64_t number = 0; number < events;) {
        number = write_some(number, BATCH < events - number ? BATCH : events - number);
        for (int i = 0; i < readers; i++) read_some(i);
    }
    double spent_ns = (double)(clock_read(&now_page) - start_ns);
    verify(events);
    return spent_ns / (double)events;
}

static void read_all(uint64_t events) {
    for (uint64_t slowest = 0; slowest < events;) {
        slowest = events;
        for (int i = 0; i < readers; i++) {
            if (!read_some(i)) wait_spin();
            if (reader[i].next < slowest) slowest = reader[i].next;
        }
    }
}

static double two_cores(int cpu_b, uint64_t events) {
    make_ring();
    uint64_t *ready = map_shared(4096);
    pid_t child = fork();
    if (child < 0) die("no process");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(cpu_b);
        __atomic_store_n(ready, 1, __ATOMIC_RELEASE);
        read_all(events);
        exit(0);
    }
    while (!__atomic_load_n(ready, __ATOMIC_ACQUIRE)) wait_spin();
    uint64_t start_ns = clock_read(&now_page);
    for (uint64_t number = 0; number < events;) {
        uint64_t next = write_some(number, events - number);
        if (next == number) wait_spin();
        number = next;
    }
    double spent_ns = (double)(clock_read(&now_page) - start_ns); /* but for the last CAPACITY events */
    int status;
    waitpid(child, &status, 0);
    if (status != 0) die("the readers failed");
    verify(events);
    return spent_ns / (double)events;
}

int main(int words, char **word) {
    if (words != 5) die("usage: reader_bench CPU_A CPU_B READERS EVENTS");
    int cpu_a = atoi(word[1]), cpu_b = atoi(word[2]);
    readers = atoi(word[3]);
    uint64_t events = strtoull(word[4], NULL, 10);
    if (readers < 1 || readers > RING_GATES_MAX || events < CAPACITY) die("out of range");
    clock_calibrate(&now_page, 20000000, 0);
    sums = map_shared(4096);
    pin(cpu_a);
    same_core(events / 10); /* warm */
    double same_ns = same_core(events);
    if (cpu_a == cpu_b) printf("{\"same_core_ns\": %.3f, \"events\": %lu}\n", same_ns, events);
    else printf("{\"same_core_ns\": %.3f, \"two_cores_ns\": %.3f, \"events\": %lu}\n", same_ns, two_cores(cpu_b, events), events);
    return 0;
}
