/* publisher.h: a venue's outgoing feed: ITCH 5.0 messages, numbered, kept, and packed into MoldUDP64.
 *
 *   canonical event --> ITCH message --> store --> publisher_flush  --> packets of what is new
 *                                          \----> publisher_packet --> a packet of what is asked for again
 *
 *   store:  |len msg|len msg|len msg| ... a ring of bytes; position[sequence] says where each begins
 *
 * Messages count from 1. The store is bounded: the oldest go when bytes or numbers run out, and a request
 * for them gets nothing.
 */
#pragma once
#include "layout.h"

typedef struct {
    char session[10];        /* space-padded */
    uint8_t reserved[6];
    uint64_t midnight_ns;    /* of the trading day, as ns since the epoch */
    uint64_t store_bytes;    /* powers of two */
    uint64_t store_messages;
    uint32_t instruments;
    uint32_t packet_bytes_max; /* of a UDP payload; at most MOLD_PACKET_MAX */
} publisher_config;

enum publisher_status {
    PUBLISHER_OK,
    PUBLISHER_NOT_PUBLIC,  /* the event's type has no ITCH message */
    PUBLISHER_UNENCODABLE  /* a number does not fit its field, or the instrument has no symbol */
};

typedef struct publisher publisher;

/* Bytes that publisher_init needs, 64-byte aligned; 0 when the configuration is out of range. */
uint64_t publisher_bytes(const publisher_config *config);
/* NULL when `memory` is too small or misaligned, or the configuration is out of range. */
publisher *publisher_init(void *memory, uint64_t bytes, const publisher_config *config);
/* How an instrument is called on the wire. `stock` is 8 characters, space-padded. */
int publisher_instrument(publisher *publisher, uint32_t instrument, uint16_t locate, const char *stock);
/* Number and keep one message: a canonical event, or the bytes of one as they are. */
int publisher_event(publisher *publisher, const norm_event *event);
int publisher_message(publisher *publisher, const uint8_t *bytes, uint32_t length);
/* Packets of all that was not yet flushed, one behind the other in `target`, their sizes in `sizes`.
 * Returns how many; call again until it gives 0. */
uint32_t publisher_flush(publisher *publisher, uint8_t *target, uint32_t capacity, uint32_t *sizes, uint32_t max);
/* One packet of at most `count` messages from `sequence` on: its size, or 0 when the store does not
 * have that message (any more). Never more than was flushed. */
uint32_t publisher_packet(const publisher *publisher, uint64_t sequence, uint32_t count, uint8_t *target,
                          uint32_t capacity);
/* A packet with no message: heartbeat (count 0) or end of session (count MOLD_END_OF_SESSION). 20 bytes. */
uint32_t publisher_signal(const publisher *publisher, uint16_t count, uint8_t *target);
/* The number that the next message will have; the oldest kept. */
uint64_t publisher_next_sequence(const publisher *publisher);
uint64_t publisher_oldest_sequence(const publisher *publisher);
