/* codec_fuzz.c: mutated messages through one decoder, under AddressSanitizer and UBSan.
 *
 *   a message of the corpus --> mutate, graft --> DECODER --> what was understood must encode back to the same bytes
 *
 *   DECODER   what is tried                                   its own canary
 *   itch      itch_decode, itch_normalise                     offset   reads a price one byte too early
 *   ouch42    orders and reports of 4.2                       offset   reads a quantity one byte too early
 *   ouch50    orders and reports of 5.0, appendages           offset   the same
 *   soup      SoupBinTCP packets and logins                   offset   takes a payload one byte too early
 *   mold      MoldUDP64 packets and the walk through them     skip     walks past a message
 *   file      captures of packets, files of ITCH messages     beyond   says that a payload is one byte longer
 *
 *   usage: codec_fuzz SEED COUNT CANARY|none CORPUS DECODER
 */
#include "fuzz.h"
#include "itch.h"
#include "itch_file.h"
#include "moldudp.h"
#include "ouch.h"
#include "pcap.h"
#include "soup.h"
#include "wire_inline.h"

#define MESSAGE_MAX 1500
#define MUTATIONS_MAX 6
#define PACKETS_MAX 64
#define TARGET_SIZE 512

typedef void decoder_try(const uint8_t *bytes, uint32_t length, uint8_t *target);

static uint64_t understood;
static uint32_t instrument[INSTRUMENTS_MAX];
static itch_traffic traffic[65536];

/* ---- the decoders ------------------------------------------------------------------------------- */

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

static void try_orders42(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    ouch_order order;
    if (ouch42_decode_order(bytes, length, &order) != OUCH_OK) return;
    if (order.token[0] == 0 || (order.type == 'U' && order.previous_token[0] == 0)) return; /* would be made anew */
    if (is_canary("offset") && order.type == 'O') order.quantity = wire_load32(bytes + 15);
    expect_same("OUCH 4.2 order round trip", bytes, length, target, ouch42_encode_order(&order, target, TARGET_SIZE));
}

static void try_reports42(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    ouch_report report;
    if (ouch42_decode_report(bytes, length, &report) != OUCH_OK) return;
    if (report.type != 'S' && report.token[0] == 0) return;
    if (report.type == 'U' && report.previous_token[0] == 0) return;
    expect_same("OUCH 4.2 report round trip", bytes, length, target,
                ouch42_encode_report(&report, target, TARGET_SIZE));
}

static void try_ouch42(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    try_orders42(bytes, length, target);
    try_reports42(bytes, length, target);
}

static void try_orders50(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    ouch_order order, again;
    if (ouch50_decode_order(bytes, length, &order) != OUCH_OK || order.appendage.unknown_tags) return;
    if (is_canary("offset") && order.type == 'O') order.quantity = wire_load32(bytes + 5);
    uint32_t written = ouch50_encode_order(&order, target, TARGET_SIZE);
    uint32_t empty = written + 2 == length ? 2 : 0; /* an optional appendage that is there and empty */
    if (is_plain(&order.appendage))
        expect_same("OUCH 5.0 order round trip", bytes, length - empty, target, written);
    else if (ouch50_decode_order(target, written, &again) != OUCH_OK || memcmp(&order, &again, sizeof order) != 0 ||
             written != length)
        fail("OUCH 5.0 order with an appendage"); /* its elements may come in any order */
}

static void try_reports50(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    ouch_report report, again;
    if (ouch50_decode_report(bytes, length, &report) != OUCH_OK || report.appendage.unknown_tags) return;
    uint32_t written = ouch50_encode_report(&report, target, TARGET_SIZE);
    if (is_plain(&report.appendage))
        expect_same("OUCH 5.0 report round trip", bytes, length, target, written);
    else if (ouch50_decode_report(target, written, &again) != OUCH_OK ||
             memcmp(&report, &again, sizeof report) != 0 || written != length)
        fail("OUCH 5.0 report with an appendage");
}

static void try_ouch50(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    try_orders50(bytes, length, target);
    try_reports50(bytes, length, target);
}

static void try_soup(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    soup_packet packet;
    soup_login login;
    char session[10];
    uint64_t sequence;
    if (soup_parse(bytes, length, &packet) != SOUP_OK) return;
    if (packet.size > length) fail("a SoupBinTCP packet larger than what is there");
    if (is_canary("offset")) packet.payload--;
    if (packet.size <= TARGET_SIZE)
        expect_same("SoupBinTCP round trip", bytes, packet.size, target,
                    soup_encode(packet.type, packet.payload, packet.length, target, TARGET_SIZE));
    (void)soup_login_decode(&packet, &login);
    (void)soup_accept_decode(&packet, session, &sequence);
}

static void try_mold(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    mold_header header;
    mold_walker walker;
    uint64_t total = MOLD_HEADER_SIZE;
    if (mold_parse(bytes, length, &header) != MOLD_OK) return;
    mold_walk(&walker, bytes, length, header.count);
    if (is_canary("skip")) (void)mold_next(&walker);
    while (mold_next(&walker)) {
        total += 2 + walker.length;
        if (walker.length <= TARGET_SIZE) memcpy(target, walker.bytes, walker.length); /* they are there to be read */
    }
    if (total > length) fail("MoldUDP64 messages beyond their packet");
    int whole = walker.remaining == 0 && total == length;
    if (whole != (mold_check(bytes, length) == MOLD_OK)) fail("mold_check and mold_next disagree");
    understood += (uint64_t)whole;
}

static void try_file(const uint8_t *bytes, uint32_t length, uint8_t *target) {
    (void)target;
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
        if (packets[i].payload_offset + packets[i].payload_length + is_canary("beyond") > length)
            fail("a payload beyond its file");
    memset(&scan, 0, sizeof scan);
    itch_packets_scan(bytes, packets, count, headers, verdicts, &scan, traffic);
    understood += count;
}

/* ---- one message ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    decoder_try *attempt;
} decoders[] = {{"itch", try_itch}, {"ouch42", try_ouch42}, {"ouch50", try_ouch50},
                {"soup", try_soup}, {"mold", try_mold},     {"file", try_file}};

static decoder_try *decoder_find(const char *name) {
    for (uint32_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++)
        if (strcmp(name, decoders[i].name) == 0) return decoders[i].attempt;
    fail("no such decoder");
    return NULL;
}

static uint32_t pick(uint8_t *message) {
    uint32_t length;
    const uint8_t *bytes = corpus_pick(&length);
    if (length > MESSAGE_MAX) fail("a bad corpus");
    memcpy(message, bytes, length);
    return length;
}

/* From `at` on, the tail of another message. */
static uint32_t graft(uint8_t *message, uint32_t length, uint32_t at) {
    uint32_t size;
    const uint8_t *other = corpus_pick(&size);
    if (size <= at) return length;
    memcpy(message + at, other + at, size - at);
    return size;
}

static uint32_t mutate(uint8_t *message, uint32_t length) {
    uint32_t at = random_below(length);
    return random_below(MUTATE_KINDS + 1) ? mutate_at(message, length, MESSAGE_MAX, at) : graft(message, length, at);
}

static void run_one(decoder_try *attempt) {
    uint8_t message[MESSAGE_MAX];
    uint32_t length = pick(message), mutations = random_below(MUTATIONS_MAX);
    for (uint32_t i = 0; i < mutations && length; i++) length = mutate(message, length);
    mutated += mutations > 0;
    uint8_t *exact = exact_copy(message, length), *target = malloc(TARGET_SIZE);
    if (!target) fail("no memory");
    attempt(exact, length, target);
    canary_sing(exact, length);
    free(target);
    free(exact);
}

int main(int argc, char **argv) {
    uint64_t count = fuzz_begin(argc, argv);
    decoder_try *attempt = decoder_find(argc > 5 ? argv[5] : "");
    for (; mutated < count; current++) run_one(attempt);
    return fuzz_end(understood);
}
