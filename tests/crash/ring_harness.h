/* ring_harness.h: segments in anonymous shared memory, and events that tell whether they are whole.
 *
 *   | ring: header, control, slots | cursor | cursor | cursor | doorbell | tally |     each on its own page
 *
 * Event n's payload is 15 words made from n; the last is their sum. Any mixture of two events fails.
 */
#pragma once
#include "ring_inline.h"
#include "segment.h"
#include "wait.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOT_SIZE = 128, PAYLOAD_WORDS = 15, PAGE = 4096, CURSORS = 3 };

/* What survives the processes of a test, besides the ring itself. */
typedef struct {
    uint64_t inside;  /* 1 while a child is between the first and the last instruction of interest */
    uint64_t next;    /* sequence that the reader must see next, unless it was killed before releasing */
    uint64_t seen;    /* events taken, each once */
    uint64_t again;   /* events seen again after a kill */
    uint64_t failure; /* line of the first failed check in a child */
} tally;

typedef struct {
    void *ring;
    void *cursor[CURSORS];
    void *bell;
    tally *sums;
    uint64_t bytes;
} region;

#define REQUIRE(condition)                                                             \
    do {                                                                               \
        if (!(condition)) {                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static inline void seal(void *segment, uint32_t kind, uint64_t capacity) {
    segment_header header = {.kind = kind, .capacity = capacity, .slot_size = SLOT_SIZE};
    segment_seal(segment, &header);
}

static inline region region_make(uint64_t capacity) {
    region made;
    uint64_t ring = (ring_bytes(capacity, SLOT_SIZE) + PAGE - 1) / PAGE * PAGE;
    made.bytes = ring + (CURSORS + 2) * PAGE;
    uint8_t *base = mmap(NULL, made.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    REQUIRE(base != MAP_FAILED);
    made.ring = base;
    seal(made.ring, SEGMENT_RING, capacity);
    for (int i = 0; i < CURSORS; i++) {
        made.cursor[i] = base + ring + (uint64_t)i * PAGE;
        seal(made.cursor[i], SEGMENT_CURSOR, 1);
    }
    made.bell = base + ring + CURSORS * PAGE;
    seal(made.bell, SEGMENT_DOORBELL, 1);
    made.sums = (tally *)(base + ring + (CURSORS + 1) * PAGE);
    return made;
}

static inline void region_free(const region *old) { munmap(old->ring, old->bytes); }

static inline void fill(void *slot, uint64_t sequence) {
    uint64_t *word = (uint64_t *)slot + 1;
    uint64_t sum = 0;
    for (int i = 0; i < PAYLOAD_WORDS - 1; i++) {
        word[i] = (sequence + (uint64_t)i) * 0x9e3779b97f4a7c15u;
        sum += word[i];
    }
    word[PAYLOAD_WORDS - 1] = ~sum;
}

static inline int whole(const void *slot, uint64_t sequence) {
    const uint64_t *word = (const uint64_t *)slot + 1;
    uint64_t sum = 0;
    for (int i = 0; i < PAYLOAD_WORDS - 1; i++) {
        if (word[i] != (sequence + (uint64_t)i) * 0x9e3779b97f4a7c15u) return 0;
        sum += word[i];
    }
    return word[PAYLOAD_WORDS - 1] == ~sum;
}

static inline uint64_t harness_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Spin a little, then give the processor away: these tests share their machine. */
static inline void pause_a_little(uint32_t *spins) {
    if (++*spins % 256) wait_spin();
    else sched_yield();
}

static inline void die_with_parent(void) { prctl(PR_SET_PDEATHSIG, SIGKILL); }
