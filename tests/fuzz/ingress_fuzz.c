/* ingress_fuzz.c: mutated frames through the ingress kernel and the feed's reading of what it let through, under
 * AddressSanitizer and UBSan.
 *
 *   a frame of the corpus --> continue its stream --> mutate --> ingress_take
 *        --> every slot that came into the ring: sound, in number, and fit for ingress_normalise
 *
 * Its own canary:
 *   gap        forgets that a number was skipped    (the count of messages must differ)
 *
 *   usage: ingress_fuzz SEED COUNT CANARY|none CORPUS
 */
#include "fuzz.h"
#include "ingress.h"

#define GROW_MAX 8
#define RING_SLOTS 256
#define MUTATIONS_MAX 3
#define LIFE_FRAMES 500 /* a mutant may name a session that none can follow; then a successor must help */

static uint64_t taken, seen_messages;
static fuzz_ring ring;
static ring_writer writer;
static ring_reader reader;
static ingress self;
static uint64_t counter[COUNTERS_MAX];
static ingress_symbol symbols[2] = {{.symbol = "AAPL", .instrument = 1}, {.symbol = "GOOG", .instrument = 0}};

/* ---- what came through --------------------------------------------------------------------------- */

static void slot_judge(const raw_event *slot) {
    norm_event event;
    if (slot->length > RAW_BYTES_MAX || slot->offset) fail("a slot that holds more than it can");
    switch (slot->header.type) {
    case RAW_NORM:
        if (ingress_normalise(slot, 2, 0, &event) == 0 && event.header.instrument != NO_INSTRUMENT &&
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
    canary_sing(frame, size);
}

/* ---- mutation --------------------------------------------------------------------------------------- */

/* The head more often. */
static uint32_t mutate(uint8_t *frame, uint32_t size, uint32_t capacity) {
    uint32_t at = random_below(4) ? random_below(size) : random_below(size < 48 ? size : 48);
    return mutate_at(frame, size, capacity, at);
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
    uint32_t size, mutations = random_below(MUTATIONS_MAX);
    const uint8_t *frame = corpus_pick(&size);
    uint32_t capacity = size + GROW_MAX;
    uint8_t *work = malloc(capacity);
    if (!work) fail("no memory");
    memcpy(work, frame, size);
    frame_continue(work, size);
    for (uint32_t i = 0; i < mutations && size; i++) size = mutate(work, size, capacity);
    mutated += mutations > 0;
    uint8_t *exact = exact_copy(work, size);
    frame_offer(exact, size);
    if (random_below(64) == 0) ingress_tick(&self, current);
    ring_drain();
    free(exact);
    free(work);
}

/* ---- the program --------------------------------------------------------------------------------------- */

static void make_ingress(void) {
    ring = ring_make(RING_SLOTS);
    ring_write_to(&ring, &writer);
    ring_read_from(&ring, &reader);
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
    uint64_t count = fuzz_begin(argc, argv);
    make_ingress();
    for (; mutated < count; current++) {
        if (current % LIFE_FRAMES == 0) ingress_init(&self);
        run_one();
    }
    ring_free(ring);
    return fuzz_end(taken);
}
