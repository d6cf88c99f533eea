/* codec_fuzz.c: mutated messages through every decoder, under AddressSanitizer and UBSan.
 *
 *   corpus: |length (2)|message| ...  --> pick one --> mutate --> copy into a heap block of exactly its
 *   size --> every decoder --> what was understood must encode back to the same bytes
 *
 * The heap block ends where the message ends, so that one byte read too far is caught. A canary puts a
 * wrong decoder among the right ones; a harness that does not catch it proves nothing:
 *   overread   reads one byte behind the message       (AddressSanitizer must stop it)
 *   offset     reads a price one byte too early        (the round trip must differ)
 *
 *   usage: codec_fuzz CORPUS SEED COUNT [overread|offset]
 */
#include "itch.h"
#include "itch_file.h"
#include "moldudp.h"
#include "ouch.h"
#include "pcap.h"
#include "soup.h"
#include "wire_inline.h"
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_MAX 1500
#define MUTATIONS_MAX 6
#define PACKETS_MAX 64
#define TARGET_SIZE 512
#define CORPUS_SIZE_MAX (1 << 20)
#define CORPUS_COUNT_MAX 4096

static uint8_t *corpus;
static uint64_t offsets[CORPUS_COUNT_MAX], offset_count;
static uint64_t random_state, current, understood;
static uint32_t instrument[INSTRUMENTS_MAX];
static itch_traffic traffic[65536];
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
    fprintf(stderr, "codec_fuzz: %s, at message %llu\n", what, (unsigned long long)current);
    exit(1);
}

/* ---- every decoder ---------------------------------------------------------------------------- */

static int is_canary(const char *name) { return strcmp(canary, name) == 0; }

static void expect_same(const char *what, const uint8_t *bytes, uint32_t length, const uint8_t *target,
                        uint32_t written) {
    understood++;
    if (written != length || memcmp(bytes, target, length) != 0) fail(what);
}

/* Digits may be padded on either side, so that the end of a snapshot need not come back the same. */
static void try_itch(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    itch_message message;
    norm_event event;
    const itch_context context = {instrument, 0};
    int status = itch_decode(bytes, length, &message);
    int normalised = itch_normalise(&context, bytes, length, &event);
    (void)itch_order_ref(bytes, length);
    if (status != ITCH_OK && normalised == ITCH_OK) fail("the path understood what the decoder refused");
    if (status != ITCH_OK || message.type == 'G') return;
    if (is_canary("offset") && message.type == 'A') message.price = wire_load32(bytes + 31);
    expect_same("ITCH round trip", bytes, length, target, itch_encode(&message, target, TARGET_SIZE));
}

static int is_plain(const ouch_appendage *appendage) { return appendage->present == 0 && appendage->unknown_tags == 0; }

static void try_orders(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    ouch_order order;
    if (ouch50_decode_order(bytes, length, &order) == OUCH_OK && is_plain(&order.appendage)) {
        uint32_t written = ouch50_encode_order(&order, target, TARGET_SIZE);
        uint32_t empty = written + 2 == length ? 2 : 0; /* an optional appendage that is there and empty */
        expect_same("OUCH 5.0 order round trip", bytes, length - empty, target, written);
    }
    if (ouch42_decode_order(bytes, length, &order) != OUCH_OK) return;
    if (order.token[0] == 0 || (order.type == 'U' && order.previous_token[0] == 0)) return; /* would be made anew */
    expect_same("OUCH 4.2 order round trip", bytes, length, target, ouch42_encode_order(&order, target, TARGET_SIZE));
}

static void try_reports(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    ouch_report report;
    if (ouch50_decode_report(bytes, length, &report) == OUCH_OK && is_plain(&report.appendage))
        expect_same("OUCH 5.0 report round trip", bytes, length, target,
                    ouch50_encode_report(&report, target, TARGET_SIZE));
    if (ouch42_decode_report(bytes, length, &report) != OUCH_OK) return;
    if (report.type != 'S' && report.token[0] == 0) return;
    if (report.type == 'U' && report.previous_token[0] == 0) return;
    expect_same("OUCH 4.2 report round trip", bytes, length, target,
                ouch42_encode_report(&report, target, TARGET_SIZE));
}

static void try_soup(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    soup_packet packet;
    soup_login login;
    char session[10];
    uint64_t sequence;
    if (soup_parse(bytes, length, &packet) != SOUP_OK) return;
    if (packet.size > length) fail("a SoupBinTCP packet larger than what is there");
    if (packet.size <= TARGET_SIZE)
        expect_same("SoupBinTCP round trip", bytes, packet.size, target,
                    soup_encode(packet.type, packet.payload, packet.length, target, TARGET_SIZE));
    (void)soup_login_decode(&packet, &login);
    (void)soup_accept_decode(&packet, session, &sequence);
}

static void try_mold(const uint8_t *bytes, uint32_t length) {
    mold_header header;
    mold_walker walker;
    uint64_t total = MOLD_HEADER_SIZE;
    if (mold_parse(bytes, length, &header) != MOLD_OK) return;
    mold_walk(&walker, bytes, length, header.count);
    while (mold_next(&walker)) total += 2 + walker.length;
    if (total > length) fail("MoldUDP64 messages beyond their packet");
    int whole = walker.remaining == 0 && total == length;
    if (whole != (mold_check(bytes, length) == MOLD_OK)) fail("mold_check and mold_next disagree");
    understood += (uint64_t)whole;
}

static void try_files(const uint8_t *bytes, uint32_t length) {
    static pcap_packet packets[PACKETS_MAX];
    static mold_header headers[PACKETS_MAX];
    static uint8_t verdicts[PACKETS_MAX];
    itch_scan scan;
    pcap_format format;
    uint64_t index[8], count = 0, consumed = 0;
    memset(&scan, 0, sizeof scan);
    if (itch_file_scan(bytes, length, &scan, traffic) > length) fail("a scan beyond its file");
    (void)itch_file_index(bytes, length, index, 8, &consumed);
    if (pcap_open(bytes, length, &format) != PCAP_OK) return;
    (void)pcap_index(&format, bytes, length, PCAP_FILE_HEADER_SIZE, packets, PACKETS_MAX, &count, &consumed);
    for (uint64_t i = 0; i < count; i++)
        if (packets[i].payload_offset + packets[i].payload_length > length) fail("a payload beyond its file");
    memset(&scan, 0, sizeof scan);
    itch_packets_scan(bytes, packets, count, headers, verdicts, &scan, traffic);
    understood += count;
}

/* volatile: the compiler may not drop the read that the sanitizer must see. */
static void try_overread(const uint8_t *bytes, uint32_t length) {
    volatile uint8_t behind = is_canary("overread") ? bytes[length] : 0;
    (void)behind;
}

static void try_all(const uint8_t *bytes, uint32_t length) {
    uint8_t *target = malloc(TARGET_SIZE);
    if (!target) fail("no memory");
    try_itch(bytes, length, target);
    try_orders(bytes, length, target);
    try_reports(bytes, length, target);
    try_soup(bytes, length, target);
    try_mold(bytes, length);
    try_files(bytes, length);
    try_overread(bytes, length);
    free(target);
}

/* ---- mutation --------------------------------------------------------------------------------- */

static uint32_t pick(uint8_t *message) {
    uint64_t at = offsets[random_below((uint32_t)offset_count)];
    uint32_t length = wire_load16(corpus + at);
    memcpy(message, corpus + at + 2, length);
    return length;
}

/* From `at` on, the tail of another message. */
static uint32_t graft(uint8_t *message, uint32_t length, uint32_t at) {
    uint8_t other[MESSAGE_MAX];
    uint32_t size = pick(other);
    if (size <= at) return length;
    memcpy(message + at, other + at, size - at);
    return size;
}

static uint32_t mutate(uint8_t *message, uint32_t length) {
    uint32_t at = random_below(length);
    switch (random_below(7)) {
    case 0: message[at] ^= (uint8_t)(1u << random_below(8)); return length;
    case 1: message[at] = (uint8_t)random_next(); return length;
    case 2: message[at] = random_below(2) ? 0 : 0xff; return length;
    case 3: return at; /* cut */
    case 4: /* grow */
        if (length < MESSAGE_MAX) message[length++] = (uint8_t)random_next();
        return length;
    case 5: /* take one byte out */
        memmove(message + at, message + at + 1, length - at - 1);
        return length - 1;
    default: return graft(message, length, at);
    }
}

static void run_one(void) {
    uint8_t message[MESSAGE_MAX];
    uint32_t length = pick(message), mutations = random_below(MUTATIONS_MAX);
    for (uint32_t i = 0; i < mutations && length; i++) length = mutate(message, length);
    uint8_t *exact = malloc(length);
    if (length && !exact) fail("no memory");
    if (length) memcpy(exact, message, length);
    try_all(exact, length);
    free(exact);
}

static void load_corpus(const char *path) {
    FILE *file = fopen(path, "rb");
    corpus = malloc(CORPUS_SIZE_MAX);
    if (!file || !corpus) fail("no corpus");
    uint64_t size = fread(corpus, 1, CORPUS_SIZE_MAX, file);
    (void)fclose(file);
    for (uint64_t at = 0; at + 2 <= size && offset_count < CORPUS_COUNT_MAX; at += 2u + wire_load16(corpus + at)) {
        uint32_t length = wire_load16(corpus + at);
        if (length > MESSAGE_MAX || at + 2 + length > size) fail("a bad corpus");
        offsets[offset_count++] = at;
    }
    if (offset_count == 0) fail("an empty corpus");
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s CORPUS SEED COUNT [overread|offset]\n", argv[0]);
        return 2;
    }
    load_corpus(argv[1]);
    random_state = strtoull(argv[2], NULL, 0);
    if (argc > 4) canary = argv[4];
    uint64_t count = strtoull(argv[3], NULL, 0);
    for (current = 0; current < count; current++) run_one();
    printf("{\"messages\": %llu, \"understood\": %llu}\n", (unsigned long long)count, (unsigned long long)understood);
    free(corpus);
    return 0;
}
