/* ingress_fuzz.c: mutated frames through the ingress kernel and the feed's reading of what it let through, under
 * AddressSanitizer and UBSan.
 *
 *   corpus: |length (4)|frame| ... --> pick --> mutate --> a heap block of exactly its size --> ingress_take
 *        --> every slot that came into the ring: sound, in number, and fit for ingress_normalise
 *
 * A canary puts a fault among what is right; a harness that does not catch it proves nothing:
 *   overread   reads one byte behind the frame      (AddressSanitizer must stop it)
 *   gap        forgets that a number was skipped    (the count of messages must differ)
 *
 *   usage: ingress_fuzz CORPUS SEED COUNT [overread|gap]
 */
#include "ingress.h"
#include "ring_inline.h"
#include "segment.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORPUS_SIZE_MAX (1 << 20)
#define FRAMES_MAX 256
#define GROW_MAX 8
#define RING_SLOTS 256
#define MUTATIONS_MAX 3
#define LIFE_FRAMES 500 /* a mutant may name a session that none can follow; then a successor must help */

static uint8_t *corpus;
static uint64_t frame_at[FRAMES_MAX], frame_count;
static uint64_t random_state, current, taken, seen_messages;
static _Alignas(4096) uint8_t ring_memory[RING_SLOTS_OFFSET + RING_SLOTS * 128];
static _Alignas(64) uint8_t cursor_memory[SEGMENT_HEADER_SIZE + sizeof(ring_cursor)];
static ring_writer writer;
static ring_reader reader;
static ingress self;
static uint64_t counter[COUNTERS_MAX];
static ingress_symbol symbols[2] = {{.symbol = "AAPL", .instrument = 1}, {.symbol = "GOOG", .instrument = 0}};
static const char *canary = "";

/* splitmix64: one word of state, so that a seed replays. */
static uint64_t random_next(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t random_below(uint32_t bound) { return bound ? (uint32_t)(random_next() % bound) : 0; }

static void fail(const char *what) {
    fprintf(stderr, "ingress_fuzz: %s, at frame %llu\n", what, (unsigned long long)current);
    exit(1);
}

static int is_canary(const char *name) { return strcmp(canary, name) == 0; }

/* ---- what came through --------------------------------------------------------------------------- */

static void slot_judge(const raw_event *slot) {
    norm_event event;
    if (slot->length > RAW_BYTES_MAX || slot->offset) fail("a slot that holds more than it can");
    switch (slot->header.type) {
    case RAW_NORM:
        if (ingress_normalise(slot, 2, &event) == 0 && event.header.instrument != NO_INSTRUMENT &&
            event.header.instrument > 1)
            fail("an instrument that does not exist");
        break;
    case RAW_MESSAGE:
        if (!slot->length || slot->total != slot->length) fail("a message that is none");
        break;
    case RAW_SESSION:
    case RAW_SESSION_END:
    case RAW_GAP:
    case RAW_GAP_CLOSED: return;
    default: fail("a slot of another's type");
    }
    seen_messages++;
}

static void ring_drain(void) {
    const raw_event *slot;
    while ((slot = ring_front_inline(&reader))) {
        slot_judge(slot);
        reader.next++;
    }
    ring_release_inline(&reader);
}

static void frame_offer(const uint8_t *frame, uint32_t size) {
    ingress_answer answer;
    uint64_t before = counter[INGRESS_FRAMES];
    int status = INGRESS_FULL;
    for (int tries = 0; tries < 1000 && status == INGRESS_FULL; tries++) {
        status = ingress_take(&self, frame, size, current, &answer);
        ring_drain();
    }
    if (status == INGRESS_FULL) fail("a frame that waits for ever");
    if (status >= INGRESS_STATUSES) fail("an unknown status");
    if (counter[INGRESS_FRAMES] != before + 1) fail("a frame counted twice");
    if (status <= INGRESS_GAP) taken++;
    if (is_canary("gap") && status == INGRESS_GAP) counter[INGRESS_MESSAGES]++;
    if (counter[INGRESS_MESSAGES] != seen_messages) fail("messages lost or doubled on the way");
    volatile uint8_t behind = is_canary("overread") ? frame[size] : 0;
    (void)behind;
}

/* ---- mutation --------------------------------------------------------------------------------------- */

static uint32_t mutate(uint8_t *frame, uint32_t size) {
    uint32_t at = random_below(4) ? random_below(size) : random_below(size < 48 ? size : 48); /* the head more often */
    switch (random_below(6)) {
    case 0: frame[at] ^= (uint8_t)(1u << random_below(8)); return size;
    case 1: frame[at] = (uint8_t)random_next(); return size;
    case 2: frame[at] = random_below(2) ? 0 : 0xff; return size;
    case 3: return at; /* cut */
    case 4: frame[size] = (uint8_t)random_next(); return size + 1; /* grow */
    default:
        memmove(frame + at, frame + at + 1, size - at - 1);
        return size - 1;
    }
}

/* As often as not a frame that continues its stream, so that mutants meet a state worth having. */
static void frame_continue(uint8_t *frame, uint32_t size) {
    ingress_frame head;
    if (size < sizeof head || random_below(8) == 0) return;
    memcpy(&head, frame, sizeof head);
    ingress_sender *sender = &self.sender[random_below(2)];
    memcpy(head.sender, sender->name, sizeof head.sender);
    head.session = head.kind == INGRESS_SESSION ? sender->session + 1 : sender->session;
    head.sequence = sender->next + (random_below(16) ? 0 : random_below(5));
    if (head.sequence == 0) head.sequence = 1;
    memcpy(frame, &head, sizeof head);
}

static void run_one(void) {
    uint64_t at = frame_at[random_below((uint32_t)frame_count)];
    uint32_t size, mutations = random_below(MUTATIONS_MAX);
    memcpy(&size, corpus + at, sizeof size);
    uint8_t *work = malloc(size + GROW_MAX);
    if (!work) fail("no memory");
    memcpy(work, corpus + at + sizeof size, size);
    frame_continue(work, size);
    for (uint32_t i = 0; i < mutations && size; i++) size = mutate(work, size);
    uint8_t *exact = malloc(size);
    if (size && !exact) fail("no memory");
    if (size) memcpy(exact, work, size);
    frame_offer(exact, size);
    if (random_below(64) == 0) ingress_tick(&self, current);
    ring_drain();
    free(exact);
    free(work);
}

/* ---- the start ------------------------------------------------------------------------------------------- */

static void load_corpus(const char *path) {
    FILE *file = fopen(path, "rb");
    corpus = malloc(CORPUS_SIZE_MAX);
    if (!file || !corpus) fail("no corpus");
    uint64_t size = fread(corpus, 1, CORPUS_SIZE_MAX, file);
    (void)fclose(file);
    for (uint64_t at = 0; at + 4 <= size && frame_count < FRAMES_MAX;) {
        uint32_t length;
        memcpy(&length, corpus + at, sizeof length);
        if (at + 4 + length > size) fail("a bad corpus");
        frame_at[frame_count++] = at;
        at += 4u + length;
    }
    if (frame_count == 0) fail("an empty corpus");
}

static void make_ingress(void) {
    segment_header header = {.kind = SEGMENT_RING, .capacity = RING_SLOTS, .slot_size = 128};
    segment_seal(ring_memory, &header);
    header = (segment_header){.kind = SEGMENT_CURSOR, .capacity = 1};
    segment_seal(cursor_memory, &header);
    if (ring_writer_attach(&writer, ring_memory) != RING_OK || ring_writer_gate(&writer, cursor_memory) != RING_OK ||
        ring_reader_attach(&reader, ring_memory, cursor_memory, CURSOR_GATING) != RING_OK)
        fail("no ring");
    self = (ingress){.ring = &writer,
                     .symbol = symbols,
                     .symbol_count = 2,
                     .counter = counter,
                     .silence_ns = 50,
                     .sender_count = 2,
                     .sender = {{.name = "a"}, {.name = "b"}}};
    ingress_init(&self);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s CORPUS SEED COUNT [overread|gap]\n", argv[0]);
        return 2;
    }
    load_corpus(argv[1]);
    random_state = strtoull(argv[2], NULL, 0);
    if (argc > 4) canary = argv[4];
    make_ingress();
    uint64_t count = strtoull(argv[3], NULL, 0);
    for (current = 1; current <= count; current++) {
        if (current % LIFE_FRAMES == 0) ingress_init(&self);
        run_one();
    }
    printf("{\"frames\": %llu, \"taken\": %llu, \"messages\": %llu}\n", (unsigned long long)count,
           (unsigned long long)taken, (unsigned long long)seen_messages);
    free(corpus);
    return 0;
}
