/* source.h: a recorded feed in memory (length-prefixed ITCH: uint16 length, message, ...) played into
 * the raw ring: flat out, at the recorded pace or a multiple of it, or at a fixed rate.
 *
 * At a pace, a message's ingress time is the instant at which it was due, not the one at which the
 * source came round to it: latency is then measured from intended time, and a stall shows in full.
 *
 * Or the raw events that a journal kept, gaps and sessions included: flat out, in the recorded order; its
 * time is then the instant at which each was received.
 */
#pragma once
#include "layout.h"
#include "ring.h"

enum source_pace {
    SOURCE_FLAT_OUT,
    SOURCE_RECORDED, /* recorded gaps divided by speed_ppm / 1e6 */
    SOURCE_RATE      /* one message every interval_ns */
};

typedef struct {
    const uint8_t *bytes; /* the caller's, unchanged while the source lives */
    uint64_t size;
    uint64_t offset;      /* of the next length prefix */
    uint64_t sequence;    /* of the next message, from 1 */
    uint64_t midnight_ns; /* of the trading day */
    uint64_t speed_ppm;   /* 0 is taken for 1,000,000: as recorded */
    uint64_t interval_ns;
    uint64_t start_time_ns;  /* engine clock at the first message; 0 = not yet */
    uint64_t first_time_ns;  /* origin of the first message */
    uint64_t origin_time_ns; /* of the last message published */
    uint32_t pace;           /* enum source_pace */
    uint32_t batch_max;      /* messages published by one poll */
    uint32_t finished;
    uint32_t truncated; /* 1 when the file ends inside a message, or in what is none */
    const raw_event *events; /* recorded ones, `size` of them; `offset` is then the next one's place; NULL: bytes */
    uint64_t stop_sequence;  /* publish nothing from this message on, until it is moved; 0 = nowhere */
} source;

/* Publish what is due by `now_ns` and fits; returns how many messages. */
uint32_t source_poll(source *source, ring_writer *raw, uint64_t now_ns);
