/* call_bench.c: what does one call of each small kernel cost?
 *
 *   prepared input in memory --> one kernel, called over and over --> a checksum      one core, warm
 *
 *   call_bench NAME CALLS          prints {"bench": NAME, "calls": CALLS, "ns_per_call": ..., "checksum": ...}
 *   call_bench list                the names, one a line
 *
 * The best of five rounds is reported. For instructions run it twice under callgrind with different CALLS:
 * the difference of the two counts, over that of the calls, is the kernel and its loop, without the start.
 */
#include "clock.h"
#include "clock_inline.h"
#include "digest.h"
#include "gate.h"
#include "histogram_inline.h"
#include "limit_copy.h"
#include "moldudp.h"
#include "ouch.h"
#include "ring_inline.h"
#include "segment.h"
#include "soup.h"
#include "venue.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 5
#define CAPACITY 1024u

static clock_page now_page;
static histogram recorded;
static ring_writer writer;
static ring_reader reader;
static gate risk_gate;
static cmd_event command;
static signal_event intent;
static uint8_t packet[MOLD_PACKET_MAX];
static uint32_t packet_size;
static uint8_t report_bytes[FRAME_BYTES_MAX];
static uint32_t report_length;
static const venue_terms TERMS = {.kind = VENUE_OUCH50, .price_scale = 1, .firm = "HPTH", .display = 'Y', .capacity = 'P', .customer = 'N'};

static void die(const char *what) {
    fprintf(stderr, "call_bench: %s\n", what);
    exit(1);
}

static void *zeroed(uint64_t bytes) {
    bytes = (bytes + 4095) / 4096 * 4096;
    void *memory = aligned_alloc(4096, bytes);
    if (!memory) die("no memory");
    return memset(memory, 0, bytes);
}

/* ---- inputs ------------------------------------------------------------------------------------ */

static void prepare_ring(void) {
    segment_header ring = {.capacity = CAPACITY, .slot_size = 128, .kind = SEGMENT_RING}, cursor = {.kind = SEGMENT_CURSOR};
    void *slots = zeroed(ring_bytes(CAPACITY, 128)), *position = zeroed(4096);
    segment_seal(slots, &ring);
    segment_seal(position, &cursor);
    if (ring_writer_attach(&writer, slots) || ring_writer_gate(&writer, position) ||
        ring_reader_attach(&reader, slots, position, CURSOR_GATING))
        die("no ring");
}

static void prepare_gate(void) {
    static instrument_entry entry = {.symbol = "TEST", .flags = INSTRUMENT_TRADED, .tick_value_micros = 100,
                                     .price_increment_ticks = 100, .round_lot_lots = 100};
    static struct {
        limits_header header;
        instrument_limits limits;
    } copy;
    limits_clear(&copy.header, 1, 0);
    copy.header.version = 1;
    copy.header.firm.gross_value_micros_max = INT64_MAX;
    copy.header.firm.open_orders_max = 1024;
    copy.header.firm.messages_per_second_max = 1000000000;
    copy.header.stale_after_ns = INT64_MAX;
    copy.limits.position_lots_max = INT64_MAX / 4;
    copy.limits.order_quantity_lots_max = 1000;
    copy.limits.order_value_micros_max = INT64_MAX;
    copy.limits.collar_ppm_max = 100000;
    limits_seal(&copy.header);
    static uint64_t counter[COUNTERS_MAX];
    uint64_t bytes = gate_bytes(1, 1024);
    if (!gate_init(&risk_gate, zeroed(bytes), bytes, 1, 1024)) die("no gate");
    risk_gate.entry = &entry;
    risk_gate.limits = &copy.header;
    risk_gate.counter = counter;
    turn_plan plan = {.now_ns = 1000000000};
    norm_event market = {.header = {.type = NORM_ADD, .flags = FLAG_TOP}, .bid_price_ticks = 1000000, .ask_price_ticks = 1000100};
    gate_market(&risk_gate, &plan, &market);
    intent = (signal_event){.header = {.type = SIGNAL_NEW, .cause_input = INPUT_NORM}, .price_ticks = 1000100,
                            .quantity_lots = 1, .strategy = 1, .account = 1, .strategy_epoch = 1};
}

static void prepare(void) {
    clock_calibrate(&now_page, 1000000, 0);
    histogram_reset(&recorded);
    prepare_ring();
    prepare_gate();
    command = (cmd_event){.header = {.type = CMD_NEW}, .id = {.cause_sequence = 1, .account = 1, .strategy = 1},
                          .order_id = 1, .price_ticks = 1000100, .quantity_lots = 100};
    mold_header header = {.session = "HOTPATH   ", .sequence = 1};
    packet_size = mold_header_encode(&header, packet);
    for (int i = 0; i < 20; i++) {
        const uint8_t message[36] = {'A'};
        packet_size = mold_append(packet, packet_size, sizeof packet, message, sizeof message);
    }
    ouch_report report = {.type = 'E', .user_ref = 7, .quantity = 100, .price = 1000100, .match = 9, .liquidity = 'R'};
    report_length = ouch50_encode_report(&report, report_bytes, sizeof report_bytes);
    if (!packet_size || !report_length) die("an input cannot be made");
}

/* ---- the kernels ------------------------------------------------------------------------------- */

static uint64_t call_clock(uint64_t calls) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < calls; i++) sum += clock_read(&now_page) != 0;
    return sum;
}

static uint64_t call_histogram(uint64_t calls) {
    for (uint64_t i = 0; i < calls; i++) histogram_record_inline(&recorded, (i * 2654435761u) & 0xfffff);
    return recorded.value_max;
}

static uint64_t call_ring(uint64_t calls) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < calls; i++) {
        uint64_t *slot = ring_claim_inline(&writer);
        if (!slot) die("the ring is full");
        for (int k = 1; k < 16; k++) slot[k] = i;
        ring_commit_inline(&writer);
        const uint64_t *front = ring_front_inline(&reader);
        sum += front[15];
        reader.next++;
        ring_release_inline(&reader);
    }
    return sum;
}

static uint64_t call_digest(uint64_t calls) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < calls; i++) {
        command.order_id = i + 1;
        sum += digest_command(&command);
    }
    return sum;
}

static uint64_t call_mold(uint64_t calls) { /* a call is one message of a packet of twenty */
    uint64_t sum = 0;
    for (uint64_t i = 0; i < calls;) {
        mold_header header;
        mold_walker walker;
        if (mold_parse(packet, packet_size, &header) != MOLD_OK) die("no packet");
        for (mold_walk(&walker, packet, packet_size, header.count); mold_next(&walker); i++) sum += walker.length;
    }
    return sum;
}

static uint64_t call_encode(uint64_t calls) {
    uint64_t sum = 0;
    uint8_t frame[FRAME_BYTES_MAX];
    for (uint64_t i = 0; i < calls; i++) {
        command.order_id = i + 1;
        uint32_t length = venue_encode_order(&TERMS, &command, "TEST\0\0\0\0", (uint32_t)i + 1, 0, frame + SOUP_HEADER_SIZE,
                                             sizeof frame - SOUP_HEADER_SIZE);
        sum += venue_frame(frame + SOUP_HEADER_SIZE, length, frame, sizeof frame) + frame[SOUP_HEADER_SIZE + 4];
    }
    return sum;
}

static uint64_t call_decode(uint64_t calls) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < calls; i++) {
        venue_report report;
        report_bytes[8] = (uint8_t)i;
        if (venue_decode_report(&TERMS, report_bytes, report_length, &report) != VENUE_OK) die("no report");
        sum += report.quantity_lots + (uint64_t)report.time_ns;
    }
    return sum;
}

static uint64_t call_gate(uint64_t calls) { /* approved, reserved, and released again */
    static uint64_t order_id;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < calls; i++) {
        turn_plan plan = {.now_ns = 2000000000 + order_id};
        intent.header.cause_sequence = ++order_id;
        if (gate_check(&risk_gate, &plan, &intent, order_id, &command) != REJECT_NONE) die("the gate refused");
        gate_release(&risk_gate, order_id);
        sum += command.digest & 1;
    }
    return sum + order_id;
}

static const struct {
    const char *name;
    uint64_t (*call)(uint64_t calls);
} KERNELS[] = {{"clock_read", call_clock},         {"histogram_record", call_histogram}, {"ring_publish_take", call_ring},
               {"digest_command", call_digest},    {"mold_next", call_mold},             {"ouch50_order_frame", call_encode},
               {"ouch50_report_decode", call_decode}, {"gate_check_release", call_gate}};

int main(int words, char **word) {
    uint32_t count = sizeof KERNELS / sizeof KERNELS[0];
    if (words == 2 && !strcmp(word[1], "list")) {
        for (uint32_t i = 0; i < count; i++) puts(KERNELS[i].name);
        return 0;
    }
    if (words != 3) die("usage: call_bench NAME CALLS | list");
    uint64_t calls = strtoull(word[2], NULL, 10), best_ns = UINT64_MAX, sum = 0;
    prepare();
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(word[1], KERNELS[i].name) != 0) continue;
        for (int round = 0; round < ROUNDS; round++) {
            uint64_t start_ns = clock_read(&now_page);
            sum += KERNELS[i].call(calls);
            uint64_t took_ns = clock_read(&now_page) - start_ns;
            if (took_ns < best_ns) best_ns = took_ns;
        }
        printf("{\"bench\": \"%s\", \"calls\": %lu, \"ns_per_call\": %.2f, \"checksum\": \"%016lx\"}\n", word[1], calls * ROUNDS,
               (double)best_ns / (double)calls, sum);
        return 0;
    }
    die("no kernel of that name");
}
