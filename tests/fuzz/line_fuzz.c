/* line_fuzz.c: mutated packets through the feed's line, under AddressSanitizer and UBSan.
 *
 *   a packet near where the line stands --> mutate --> a heap block of exactly its size --> line_packet_in
 *        --> raw ring: each message once and in order, each skip told; each packet has one fate
 *
 * A line lives for LIFE_PACKETS, so that mutants meet sessions that ended, gaps, doubt and a full stash.
 * The line copies a packet into a buffer of its own, where AddressSanitizer sees no end of it: what lies behind is
 * filled with STALE before each packet, and no message may hold that. Its own canaries:
 *   twice      reads one message of raw twice       (the sequence must be wrong)
 *   stale      ends a packet in STALE               (a message must be seen to hold it)
 *
 *   usage: line_fuzz SEED COUNT CANARY|none
 */
#include "fuzz.h"
#include "clock.h"
#include "line.h"

#define RAW_SLOTS 8192
#define LIFE_PACKETS 1500
#define MUTATIONS_MAX 3
#define WORK_SIZE 4096
#define MESSAGE_MAX 90
#define MESSAGES_MAX 12
#define STALE "\xde\xad\xfa\xce" /* four bytes, all different: MUTATIONS_MAX cannot make them */
#define STALE_SIZE 4

static line *self;
static fuzz_ring raw_ring;
static ring_writer raw;
static ring_reader reader;
static clock_page clock_words;
static uint64_t counter[COUNTERS_MAX];
static uint64_t now_ns, expected, used, published;
static int gap_open;
static uint8_t stale[sizeof((line_packet *)0)->bytes];

/* ---- what came out ------------------------------------------------------------------------------ */

static int holds_stale(const uint8_t *bytes, uint32_t size) {
    for (uint32_t i = 0; i + STALE_SIZE <= size; i++)
        if (memcmp(bytes + i, STALE, STALE_SIZE) == 0) return 1;
    return 0;
}

static void message_judge(const raw_event *slot) {
    if (slot->length > RAW_BYTES_MAX || (uint64_t)slot->offset + slot->length > slot->total)
        fail("a slot beyond its message");
    if (holds_stale(slot->bytes, slot->length)) fail("a message of what was never received");
    if (slot->offset) {
        if (slot->session_sequence + 1 != expected) fail("the rest of another message");
        return;
    }
    if (expected && slot->session_sequence != expected) fail("a message out of sequence");
    expected = slot->session_sequence + 1;
    published++;
}

static void state_judge(const raw_event *slot) {
    switch (slot->header.type) {
    case RAW_SESSION:
        expected = slot->session_sequence;
        gap_open = 0;
        break;
    case RAW_GAP:
        if (gap_open) fail("a gap within a gap");
        gap_open = 1;
        break;
    case RAW_GAP_CLOSED:
        if (!gap_open) fail("a gap that was never open has closed");
        gap_open = 0;
        break;
    case RAW_GAP_LOST:
        if (!gap_open || !slot->total) fail("nothing was lost");
        gap_open = 0;
        expected = slot->total == UINT32_MAX ? 0 : slot->session_sequence + slot->total; /* the figure is saturated */
        break;
    case RAW_SESSION_END:
    case RAW_SILENT:
    case RAW_LINE_SILENT:
    case RAW_LINE_HEARD: break;
    default: fail("a slot of another's type");
    }
}

static void raw_drain(void) {
    const raw_event *slot;
    while ((slot = ring_front_inline(&reader))) {
        if (slot->header.type == RAW_MESSAGE) message_judge(slot);
        else state_judge(slot);
        if (is_canary("twice") && slot->header.type == RAW_MESSAGE && published == 100) message_judge(slot);
        reader.next++;
    }
    ring_release_inline(&reader);
}

/* The table of docs/feed.md: every packet went exactly one way. */
static void fates_judge(void) {
    static const uint32_t fates[] = {FEED_PACKETS_USED,          FEED_HEARTBEATS,           FEED_PACKETS_DUPLICATE,
                                     FEED_PACKETS_MALFORMED,     FEED_PACKETS_OTHER_SESSION, FEED_PACKETS_OLD_SESSION,
                                     FEED_PACKETS_UNBELIEVED,    FEED_PACKETS_NO_STASH,     FEED_PACKETS_NO_ROOM,
                                     FEED_PACKETS_WRONG_ANSWER,  FEED_PACKETS_LEFT,         FEED_PACKETS_HELD};
    uint64_t total = 0;
    for (uint32_t i = 0; i < sizeof fates / sizeof fates[0]; i++) total += counter[fates[i]];
    if (total != counter[FEED_PACKETS]) fail("a packet with no fate, or two");
}

/* ---- packets ------------------------------------------------------------------------------------- */

static void store_big(uint8_t *target, uint64_t value, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) target[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static uint64_t load_big(const uint8_t *bytes, uint32_t size) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++) value = value << 8 | bytes[i];
    return value;
}

/* A header that can be, and exactly as many messages as it says; told without the kernel's help. */
static int is_sound(const uint8_t *packet, uint32_t size) {
    if (size < MOLD_HEADER_SIZE || size > MOLD_PACKET_MAX) return 0;
    uint64_t sequence = load_big(packet + 10, 8), count = load_big(packet + 18, 2);
    if (count == MOLD_END_OF_SESSION) count = 0;
    if (sequence > INT64_MAX || (count && !sequence)) return 0;
    uint64_t at = MOLD_HEADER_SIZE;
    while (count-- && at + 2 <= size) at += 2 + load_big(packet + at, 2);
    return count == UINT64_MAX && at == size;
}

static uint32_t packet_make(uint8_t *packet) {
    uint32_t size = MOLD_HEADER_SIZE, count = random_below(24) ? 1 + random_below(MESSAGES_MAX) : 0;
    int64_t ahead = random_below(3) ? 0 : (int64_t)random_below(20) - 6;
    uint64_t sequence = self->expected + (uint64_t)ahead;
    memcpy(packet, random_below(400) ? "SESSION001" : "SESSION002", 10);
    store_big(packet + 10, sequence ? sequence : 1, 8);
    store_big(packet + 18, !count && random_below(12) == 0 ? MOLD_END_OF_SESSION : count, 2);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = random_below(MESSAGE_MAX);
        store_big(packet + size, length, 2);
        memset(packet + size + 2, (int)i, length);
        size += 2 + length;
    }
    return size;
}

/* A run of one byte; now and then more than a packet may hold. */
static uint32_t grow(uint8_t *packet, uint32_t size) {
    uint32_t more = random_below(16) ? 1 + random_below(8) : random_below(1500);
    if (size + more > WORK_SIZE) return size;
    memset(packet + size, (int)random_below(256), more);
    return size + more;
}

static uint32_t mutate(uint8_t *packet, uint32_t size) {
    static const uint64_t wild[] = {0, 1, 1ull << 31, 1ull << 63, UINT64_MAX, 4095, 65535};
    uint64_t number = wild[random_below(7)];
    switch (random_below(8)) {
    case 0: return grow(packet, size);
    case 1:
        if (size >= MOLD_HEADER_SIZE) store_big(packet + 10, number, 8);
        return size;
    case 2:
        if (size >= MOLD_HEADER_SIZE) store_big(packet + 18, random_below(2) ? number : random_below(40), 2);
        return size;
    default: return mutate_at(packet, size, WORK_SIZE, random_below(size));
    }
}

/* Takes the packet, with nothing behind it in the line's buffer that could pass for a part of it. */
static void packet_offer(uint32_t source, uint8_t *packet, uint32_t size) {
    if (is_canary("stale") && size > MOLD_HEADER_SIZE + STALE_SIZE)
        memcpy(packet + size - STALE_SIZE, STALE, STALE_SIZE);
    memcpy(self->batch[0].bytes + size, stale, sizeof self->batch[0].bytes - size);
    uint64_t refused = counter[FEED_PACKETS_MALFORMED] + (uint64_t)!is_sound(packet, size);
    (void)line_packet_in(self, &raw, source, packet, size, now_ns);
    if (counter[FEED_PACKETS_MALFORMED] != refused) fail("a malformed packet taken, or a sound one refused");
    raw_drain();
}

/* ---- one life, one packet ------------------------------------------------------------------------- */

static void line_begin(void) {
    used += counter[FEED_PACKETS_USED];
    memset(self, 0, line_bytes());
    memset(counter, 0, sizeof counter);
    self->counter = counter;
    self->clock = &clock_words;
    self->sides = 1 + random_below(2);
    self->side[0].socket = self->side[1].socket = self->request_socket[0] = self->request_socket[1] = -1;
    self->gap_wait_ns = 200000;
    self->gap_timeout_ns = random_below(2) ? 50000000 : 1000000;
    self->request_interval_ns = 5000000;
    self->line_silence_ns = random_below(2) ? 0 : 10000000;
    self->session_wait_ns = random_below(2) ? 0 : 100000000;
    self->request_tries = 3;
    expected = 0;
    gap_open = 0;
}

static void run_one(void) {
    uint8_t work[WORK_SIZE];
    uint32_t size = packet_make(work), mutations = random_below(2) ? 1 + random_below(MUTATIONS_MAX) : 0;
    for (uint32_t i = 0; i < mutations && size; i++) size = mutate(work, size);
    mutated += mutations > 0;
    if (size > MOLD_PACKET_MAX + 8) size = MOLD_PACKET_MAX + 8; /* more does not come out of a receive */
    uint8_t *exact = exact_copy(work, size);
    now_ns += random_below(16) ? 1000 : random_below(30000000);
    packet_offer(random_below(16) ? random_below(2) : LINE_ANSWER, exact, size);
    canary_sing(exact, size);
    if (random_below(4) == 0) (void)line_poll(self, &raw, now_ns, 1);
    raw_drain();
    fates_judge();
    free(exact);
}

int main(int argc, char **argv) {
    uint64_t count = fuzz_begin(argc, argv);
    clock_calibrate(&clock_words, 0, 1);
    raw_ring = ring_make(RAW_SLOTS);
    ring_write_to(&raw_ring, &raw);
    ring_read_from(&raw_ring, &reader);
    self = fresh(line_bytes());
    for (uint32_t at = 0; at + STALE_SIZE <= sizeof stale; at += STALE_SIZE) memcpy(stale + at, STALE, STALE_SIZE);
    now_ns = 1000000000;
    for (; mutated < count; current++) {
        if (current % LIFE_PACKETS == 0) line_begin();
        run_one();
    }
    used += counter[FEED_PACKETS_USED];
    free(self);
    ring_free(raw_ring);
    return fuzz_end(used);
}
