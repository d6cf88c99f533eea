/* moldudp.h: MoldUDP64 1.00 packets: header 20 bytes, then blocks of uint16 length and bytes. */
#pragma once
#include "layout.h"

#define MOLD_HEADER_SIZE 20
#define MOLD_PACKET_MAX 1472
#define MOLD_END_OF_SESSION 65535

enum mold_status { MOLD_OK, MOLD_SHORT, MOLD_TRUNCATED, MOLD_TRAILING };

typedef struct {
    char session[10];
    uint16_t count;    /* messages; 0 = heartbeat, MOLD_END_OF_SESSION */
    uint32_t reserved;
    uint64_t sequence; /* of the first message; heartbeat and end: next expected */
} mold_header;

typedef struct {
    const uint8_t *bytes; /* of the current message */
    uint32_t length;
    uint32_t remaining;   /* messages after it */
    const uint8_t *next;
    const uint8_t *end;
} mold_walker;

/* MOLD_OK or MOLD_SHORT; looks at the header alone. */
int mold_parse(const uint8_t *packet, uint32_t size, mold_header *header);
/* Whole packet check: MOLD_OK when exactly `count` blocks fill it. */
int mold_check(const uint8_t *packet, uint32_t size);
/* Stand before the first message. A heartbeat and an end of session have none. */
void mold_walk(mold_walker *walker, const uint8_t *packet, uint32_t size, uint32_t count);
/* 1 and the next message in bytes/length, or 0 at the end or where the packet is cut short
 * (`remaining` then tells how many messages are missing). */
int mold_next(mold_walker *walker);
/* Write a header (20 bytes); begin a packet with count 0, for mold_append counts each block into it.
 * mold_append gives the new size, or 0 when the block does not fit in `capacity` or in the count. */
uint32_t mold_header_encode(const mold_header *header, uint8_t *target);
uint32_t mold_append(uint8_t *packet, uint32_t size, uint32_t capacity, const uint8_t *message, uint32_t length);
