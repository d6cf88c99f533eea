/* fuzz.h: what harnesses share: chance that a seed repeats, a corpus, mutations, canaries, rings in plain memory.
 *
 *   corpus: |length (4)|bytes| ... --> pick --> mutate --> a heap block of exactly its size --> what is tried
 *
 * The block ends where the bytes end, so that one read too far is caught. A canary puts a fault among what is
 * right; a harness that does not catch it proves nothing. Each program has its own, and two of the tools:
 *   overread   reads one byte behind the block    (AddressSanitizer must stop it)
 *   overflow   adds beyond what an int holds      (UBSan must stop it)
 *
 * COUNT counts mutated packets; those that are left as they were, for the state they make, come on top.
 *
 *   usage: PROGRAM SEED COUNT CANARY|none [CORPUS [DECODER]]
 */
#pragma once
#include "ring_inline.h"
#include "segment.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORPUS_SIZE_MAX (1 << 22)
#define CORPUS_COUNT_MAX 16384

static uint64_t random_state, current, mutated;
static const char *canary = "none";
static uint8_t *corpus;
static uint32_t corpus_at[CORPUS_COUNT_MAX], corpus_count;

/* splitmix64: one word of state, so that a seed replays. */
static inline uint64_t random_next(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint32_t random_below(uint32_t bound) { return bound ? (uint32_t)(random_next() % bound) : 0; }

static inline void fail(const char *what) {
    fprintf(stderr, "%s, at packet %llu\n", what, (unsigned long long)current);
    exit(1);
}

/* ---- canaries ------------------------------------------------------------------------------------ */

static inline int is_canary(const char *name) { return strcmp(canary, name) == 0; }

/* volatile: the compiler may not drop what the sanitizers must see. */
static inline void canary_sing(const uint8_t *bytes, uint32_t size) {
    volatile uint8_t behind = is_canary("overread") ? bytes[size] : 0;
    volatile int32_t most = is_canary("overflow") ? INT32_MAX : 0;
    most = most + 1;
    (void)behind;
}

/* ---- corpus and mutations -------------------------------------------------------------------------- */

static inline void corpus_load(const char *path) {
    FILE *file = fopen(path, "rb");
    corpus = malloc(CORPUS_SIZE_MAX);
    if (!file || !corpus) fail("no corpus");
    uint64_t size = fread(corpus, 1, CORPUS_SIZE_MAX, file);
    (void)fclose(file);
    for (uint64_t at = 0; at + 4 <= size && corpus_count < CORPUS_COUNT_MAX;) {
        uint32_t length;
        memcpy(&length, corpus + at, sizeof length);
        if (at + 4 + length > size) fail("a bad corpus");
        corpus_at[corpus_count++] = (uint32_t)at;
        at += 4u + length;
    }
    if (corpus_count == 0) fail("an empty corpus");
}

/* Its bytes, which stay the corpus's. */
static inline const uint8_t *corpus_pick(uint32_t *length) {
    const uint8_t *entry = corpus + corpus_at[random_below(corpus_count)];
    memcpy(length, entry, sizeof *length);
    return entry + sizeof *length;
}

#define MUTATE_KINDS 6

/* One fault at byte `at` of `size`, which is not 0; the block holds `capacity`. Returns the new size. */
static inline uint32_t mutate_at(uint8_t *bytes, uint32_t size, uint32_t capacity, uint32_t at) {
    switch (random_below(MUTATE_KINDS)) {
    case 0: bytes[at] ^= (uint8_t)(1u << random_below(8)); return size;
    case 1: bytes[at] = (uint8_t)random_next(); return size;
    case 2: bytes[at] = random_below(2) ? 0 : 0xff; return size;
    case 3: return at; /* cut */
    case 4: /* grow */
        if (size < capacity) bytes[size++] = (uint8_t)random_next();
        return size;
    default: /* take one byte out */
        memmove(bytes + at, bytes + at + 1, size - at - 1);
        return size - 1;
    }
}

/* ---- memory ---------------------------------------------------------------------------------------- */

/* Zeroed, and as large as is said: the next byte is not ours. */
static inline void *fresh(uint64_t size) {
    void *memory;
    if (posix_memalign(&memory, 64, size) != 0) fail("no memory");
    memset(memory, 0, size);
    return memory;
}

/* Bytes in a block of exactly their size, so that one read too far is caught. */
static inline uint8_t *exact_copy(const void *bytes, uint32_t size) {
    uint8_t *block = malloc(size);
    if (size && !block) fail("no memory");
    if (size) memcpy(block, bytes, size);
    return block;
}

typedef struct {
    void *ring;
    void *cursor;
} fuzz_ring;

/* A ring of 128 byte slots with one gating reader. */
static inline fuzz_ring ring_make(uint32_t slots) {
    fuzz_ring made = {.ring = fresh(RING_SLOTS_OFFSET + (uint64_t)slots * 128),
                      .cursor = fresh(SEGMENT_HEADER_SIZE + sizeof(ring_cursor))};
    segment_header header = {.kind = SEGMENT_RING, .capacity = slots, .slot_size = 128};
    segment_seal(made.ring, &header);
    header = (segment_header){.kind = SEGMENT_CURSOR, .capacity = 1};
    segment_seal(made.cursor, &header);
    return made;
}

static inline void ring_free(fuzz_ring made) {
    free(made.ring);
    free(made.cursor);
}

static inline void ring_write_to(const fuzz_ring *made, ring_writer *writer) {
    if (ring_writer_attach(writer, made->ring) != RING_OK || ring_writer_gate(writer, made->cursor) != RING_OK)
        fail("no ring");
}

static inline void ring_read_from(const fuzz_ring *made, ring_reader *reader) {
    if (ring_reader_attach(reader, made->ring, made->cursor, CURSOR_GATING) != RING_OK) fail("no ring");
}

/* ---- the program ------------------------------------------------------------------------------------- */

/* How many mutated packets are wanted. */
static inline uint64_t fuzz_begin(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s SEED COUNT CANARY|none [CORPUS [DECODER]]\n", argv[0]);
        exit(2);
    }
    random_state = strtoull(argv[1], NULL, 0);
    canary = argv[3];
    if (argc > 4) corpus_load(argv[4]);
    return strtoull(argv[2], NULL, 0);
}

/* `understood`: how many of all packets went further than being refused. */
static inline int fuzz_end(uint64_t understood) {
    printf("{\"mutated\": %llu, \"all\": %llu, \"understood\": %llu}\n", (unsigned long long)mutated,
           (unsigned long long)current, (unsigned long long)understood);
    free(corpus);
    return 0;
}
