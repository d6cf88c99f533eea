/* itch_file.c: scanning and indexing files of ITCH messages. See include/itch_file.h. */
#include "itch_file.h"
#include "itch.h"
#include "wire_inline.h"

#define FRAME_HEADER_SIZE 2

/* The next whole frame at `at`, or false at the end, at an end mark, or where it is cut short. */
static bool next_frame(const uint8_t *bytes, uint64_t size, uint64_t at, uint32_t *length) {
    if (size - at < FRAME_HEADER_SIZE) return false;
    *length = wire_load16(bytes + at);
    return *length != 0 && size - at - FRAME_HEADER_SIZE >= *length;
}

static void count_refused(itch_scan *scan, int status, const uint8_t *bytes, uint32_t length) {
    scan->undecoded_bytes += length;
    if (status == ITCH_UNKNOWN_TYPE) {
        scan->unknown_types++;
        return;
    }
    scan->bad_lengths += status == ITCH_BAD_LENGTH;
    scan->bad_fields += status == ITCH_BAD_FIELD;
    if (length) scan->malformed[bytes[0]]++;
}

static void count_time(itch_scan *scan, uint64_t time_ns) {
    if (!scan->timed) scan->time_first_ns = time_ns;
    if (scan->timed && time_ns < scan->time_previous_ns) scan->time_reversals++;
    if (time_ns > scan->time_last_ns) scan->time_last_ns = time_ns;
    scan->time_previous_ns = time_ns;
    scan->timed = 1;
}

void itch_scan_message(itch_scan *scan, itch_traffic *traffic, const uint8_t *bytes, uint32_t length) {
    itch_message message;
    int status = itch_decode(bytes, length, &message);
    if (status != ITCH_OK) {
        count_refused(scan, status, bytes, length);
        return;
    }
    scan->messages++;
    scan->understood_bytes += length;
    scan->count[message.type]++;
    if (message.type == 'G') return; /* has neither time nor locate */
    count_time(scan, message.time_ns);
    itch_traffic *entry = &traffic[message.locate];
    entry->messages++;
    entry->adds += message.type == 'A' || message.type == 'F';
    if (message.stock[0]) memcpy(entry->stock, message.stock, sizeof entry->stock);
}

uint64_t itch_file_scan(const uint8_t *bytes, uint64_t size, itch_scan *scan, itch_traffic *traffic) {
    uint64_t at = 0;
    uint32_t length;
    while (next_frame(bytes, size, at, &length)) {
        itch_scan_message(scan, traffic, bytes + at + FRAME_HEADER_SIZE, length);
        at += FRAME_HEADER_SIZE + length;
    }
    if (size - at >= FRAME_HEADER_SIZE && wire_load16(bytes + at) == 0) {
        scan->ended = 1;
        at += FRAME_HEADER_SIZE;
    }
    return at;
}

uint64_t itch_file_index(const uint8_t *bytes, uint64_t size, uint64_t *offset, uint64_t capacity,
                         uint64_t *consumed) {
    uint64_t at = 0, count = 0;
    uint32_t length;
    while (count < capacity && next_frame(bytes, size, at, &length)) {
        offset[count++] = at + FRAME_HEADER_SIZE;
        at += FRAME_HEADER_SIZE + length;
    }
    *consumed = at;
    return count;
}

static void scan_packet(const uint8_t *payload, uint32_t size, uint32_t count, itch_scan *scan, itch_traffic *traffic) {
    mold_walker walker;
    mold_walk(&walker, payload, size, count);
    while (mold_next(&walker)) itch_scan_message(scan, traffic, walker.bytes, walker.length);
}

void itch_packets_scan(const uint8_t *file, const pcap_packet *packets, uint64_t count, mold_header *header,
                       uint8_t *verdict, itch_scan *scan, itch_traffic *traffic) {
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *payload = file + packets[i].payload_offset;
        memset(&header[i], 0, sizeof header[i]);
        verdict[i] = MOLD_NOT_UDP;
        if (packets[i].kind != PACKET_UDP) continue;
        verdict[i] = (uint8_t)mold_check(payload, packets[i].payload_length);
        if (verdict[i] != MOLD_OK) continue;
        mold_parse(payload, packets[i].payload_length, &header[i]);
        scan_packet(payload, packets[i].payload_length, header[i].count, scan, traffic);
    }
}
