/* source.c: a recorded feed played into the raw ring. See include/source.h. */
#include "source.h"
#include "raw_inline.h"
#include <string.h>

#define PREFIX_SIZE 2
#define TIME_OFFSET 5 /* of the 48-bit time in every ITCH message */
#define TIME_END 11

static uint32_t big16(const uint8_t *bytes) { return (uint32_t)bytes[0] << 8 | bytes[1]; }

static uint64_t big48(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 6; i++) value = value << 8 | bytes[i];
    return value;
}

/* When the next message is due, on the engine clock. */
static uint64_t due_time(const source *source, uint64_t origin_time_ns) {
    if (source->pace == SOURCE_RATE) return source->start_time_ns + (source->sequence - 1) * source->interval_ns;
    uint64_t since = origin_time_ns > source->first_time_ns ? origin_time_ns - source->first_time_ns : 0;
    return source->start_time_ns + (uint64_t)((unsigned __int128)since * 1000000u / source->speed_ppm);
}

static void start(source *source, uint64_t origin_time_ns, uint64_t now_ns) {
    source->start_time_ns = now_ns;
    source->first_time_ns = origin_time_ns;
    if (!source->sequence) source->sequence = 1;
    if (!source->speed_ppm) source->speed_ppm = 1000000;
}

/* No message follows: the file ends here, or what stands here cannot be one. */
static void finish(source *source, int truncated) {
    source->finished = 1;
    source->truncated = (uint32_t)truncated;
}

static int stopped(const source *source) { return source->stop_sequence && source->sequence >= source->stop_sequence; }

/* Recorded events as they were received, each as if it came now. */
static uint32_t events_poll(source *source, ring_writer *raw, uint64_t now_ns) {
    const uint64_t stamp_size = sizeof source->events->header.stamp;
    uint32_t count = 0;
    if (!source->sequence) source->sequence = 1;
    for (; count < source->batch_max && source->offset < source->size && !stopped(source); count++) {
        raw_event *slot = ring_claim_inline(raw);
        if (!slot) break;
        const raw_event *event = &source->events[source->offset++];
        memcpy((uint8_t *)slot + stamp_size, (const uint8_t *)event + stamp_size, sizeof *event - stamp_size);
        slot->header.ingress_time_ns = slot->header.publish_time_ns = now_ns;
        if (event->header.ingress_time_ns > source->origin_time_ns) source->origin_time_ns = event->header.ingress_time_ns;
        source->sequence++;
        ring_commit_inline(raw);
    }
    source->finished = source->offset == source->size;
    return count;
}

uint32_t source_poll(source *source, ring_writer *raw, uint64_t now_ns) {
    if (source->events) return events_poll(source, raw, now_ns);
    uint32_t count = 0;
    uint64_t room = ring_room_inline(raw);
    while (count < source->batch_max && !source->finished && !stopped(source)) {
        uint64_t left = source->size - source->offset;
        if (left < PREFIX_SIZE) {
            finish(source, left != 0);
            break;
        }
        uint32_t length = big16(source->bytes + source->offset);
        /* A zero length marks the end. One that the ring could never hold is no message, and would wait for ever. */
        if (length == 0 || left - PREFIX_SIZE < length || raw_slots(length) > raw->mask + 1) {
            finish(source, length != 0);
            break;
        }
        const uint8_t *message = source->bytes + source->offset + PREFIX_SIZE;
        uint64_t origin = length >= TIME_END ? source->midnight_ns + big48(message + TIME_OFFSET) : source->origin_time_ns;
        if (!source->start_time_ns) start(source, origin, now_ns);
        uint64_t ingress = now_ns;
        if (source->pace != SOURCE_FLAT_OUT) {
            ingress = due_time(source, origin);
            if (ingress > now_ns) { /* what comes from a socket is near when it is seen; what comes from a file, when it is due */
                __builtin_prefetch(message + length - 1);
                break;
            }
        }
        if (room < raw_slots(length)) break;
        room -= raw_slots(length);
        raw_stamp stamp = {.sequence = source->sequence++,
                           .origin_time_ns = origin,
                           .ingress_time_ns = ingress,
                           .flags = FLAG_PACKET_END, /* each message of a file is its own packet */
                           .type = RAW_MESSAGE};
        raw_publish(raw, &stamp, message, length);
        source->origin_time_ns = origin;
        source->offset += PREFIX_SIZE + length;
        count++;
    }
    return count;
}
