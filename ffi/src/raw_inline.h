/* raw_inline.h: putting venue bytes into the raw ring, for whatever receives them. */
#pragma once
#include "layout.h"
#include "ring_inline.h"
#include "wire_inline.h"
#include <string.h>

#define RAW_TIME_OFFSET 5 /* of the 48-bit time in every ITCH message but the end of a snapshot */
#define RAW_TIME_END 11

typedef struct {
    uint64_t sequence; /* the venue's */
    uint64_t origin_time_ns;
    uint64_t ingress_time_ns;
    uint16_t flags;
    uint8_t type;
} raw_stamp;

/* The venue's time in a message; 0 where it has none. */
static inline uint64_t raw_venue_time(uint64_t midnight_ns, const uint8_t *bytes, uint32_t length) {
    if (length < RAW_TIME_END || bytes[0] == 'G') return 0;
    return midnight_ns + wire_load(bytes + RAW_TIME_OFFSET, 6);
}

/* Slots that a message of `length` bytes takes. */
static inline uint32_t raw_slots(uint32_t length) {
    return length <= RAW_BYTES_MAX ? 1 : (length + RAW_BYTES_MAX - 1) / RAW_BYTES_MAX;
}

/* At most RAW_BYTES_MAX bytes. memcpy of a length that is not known loops over the bytes that fill no vector, some 190
 * instructions. Words instead, cut where an ITCH message has its fields (a header of 11 bytes, then a reference of 8),
 * so that a decoder that reads at once finds each of them in one store; the last word overlaps the one before. */
static inline void raw_copy(uint8_t *target, const uint8_t *source, uint32_t length) {
    enum { WORD = 8, HEADER = 11 };
    if (length < WORD) {
        for (uint32_t i = 0; i < length; i++) target[i] = source[i];
        return;
    }
    memcpy(target, source, WORD);
    uint32_t done = WORD;
    if (length >= HEADER + WORD) {
        memcpy(target + HEADER - WORD, source + HEADER - WORD, WORD);
        done = HEADER;
    }
    for (; done + WORD <= length; done += WORD) memcpy(target + done, source + done, WORD);
    if (done < length) memcpy(target + length - WORD, source + length - WORD, WORD);
}

/* Publish one message; the caller knows that raw_slots(length) of them are free. */
static inline void raw_publish(ring_writer *raw, const raw_stamp *stamp, const uint8_t *bytes, uint32_t length) {
    uint32_t offset = 0;
    do {
        raw_event *event = ring_claim_inline(raw);
        if (!event) return;
        uint32_t part = length - offset < RAW_BYTES_MAX ? length - offset : RAW_BYTES_MAX;
        event->header.cause_sequence = stamp->sequence;
        event->header.origin_time_ns = stamp->origin_time_ns;
        event->header.ingress_time_ns = stamp->ingress_time_ns;
        event->header.publish_time_ns = stamp->ingress_time_ns;
        event->header.type = stamp->type;
        event->header.cause_input = INPUT_NONE;
        int last = offset + part == length;
        event->header.flags = (uint16_t)(last ? stamp->flags : stamp->flags & ~FLAG_PACKET_END);
        event->header.instrument = NO_INSTRUMENT;
        event->session_sequence = stamp->sequence;
        event->length = (uint16_t)part;
        event->offset = (uint16_t)offset;
        event->total = length;
        raw_copy(event->bytes, bytes + offset, part);
        ring_commit_inline(raw);
        offset += part;
    } while (offset < length);
}

/* A state of the line, to be committed: a gap of `missing` messages, silence, the end of a session. NULL: no room. */
static inline raw_event *raw_claim_state(ring_writer *raw, uint8_t type, uint64_t sequence, uint32_t missing, uint64_t now_ns) {
    raw_event *event = ring_claim_inline(raw);
    if (!event) return NULL;
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.cause_sequence = sequence;
    event->header.origin_time_ns = now_ns;
    event->header.ingress_time_ns = now_ns;
    event->header.publish_time_ns = now_ns;
    event->header.type = type;
    event->header.flags = FLAG_PACKET_END;
    event->header.instrument = NO_INSTRUMENT;
    event->session_sequence = sequence;
    event->total = missing;
    return event;
}

static inline void raw_publish_state(ring_writer *raw, uint8_t type, uint64_t sequence, uint32_t missing, uint64_t now_ns) {
    if (raw_claim_state(raw, type, sequence, missing, now_ns)) ring_commit_inline(raw);
}
