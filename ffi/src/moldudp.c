/* moldudp.c: MoldUDP64 packets. See include/moldudp.h.
 *
 *   |0 session (10)|10 sequence (8)|18 count (2)|20 length (2)|message|length (2)|message| ...
 */
#include "moldudp.h"
#include "wire_inline.h"

#define SEQUENCE_OFFSET 10
#define COUNT_OFFSET 18
#define BLOCK_HEADER_SIZE 2

int mold_parse(const uint8_t *packet, uint32_t size, mold_header *header) {
    if (size < MOLD_HEADER_SIZE) return MOLD_SHORT;
    memcpy(header->session, packet, sizeof header->session);
    header->sequence = wire_load64(packet + SEQUENCE_OFFSET);
    header->count = wire_load16(packet + COUNT_OFFSET);
    header->reserved = 0;
    return MOLD_OK;
}

void mold_walk(mold_walker *walker, const uint8_t *packet, uint32_t size, uint32_t count) {
    walker->bytes = packet;
    walker->length = 0;
    walker->remaining = count == MOLD_END_OF_SESSION ? 0 : count;
    walker->end = packet + size;
    walker->next = size < MOLD_HEADER_SIZE ? walker->end : packet + MOLD_HEADER_SIZE;
}

int mold_next(mold_walker *walker) {
    uint64_t left = (uint64_t)(walker->end - walker->next);
    if (walker->remaining == 0 || left < BLOCK_HEADER_SIZE) return 0;
    uint32_t length = wire_load16(walker->next);
    if (left - BLOCK_HEADER_SIZE < length) return 0;
    walker->bytes = walker->next + BLOCK_HEADER_SIZE;
    walker->length = length;
    walker->next = walker->bytes + length;
    walker->remaining--;
    return 1;
}

int mold_check(const uint8_t *packet, uint32_t size) {
    mold_header header;
    mold_walker walker;
    if (mold_parse(packet, size, &header) != MOLD_OK) return MOLD_SHORT;
    mold_walk(&walker, packet, size, header.count);
    while (mold_next(&walker)) {}
    if (walker.remaining) return MOLD_TRUNCATED;
    return walker.next == walker.end ? MOLD_OK : MOLD_TRAILING;
}

uint32_t mold_header_encode(const mold_header *header, uint8_t *target) {
    memcpy(target, header->session, sizeof header->session);
    wire_store64(target + SEQUENCE_OFFSET, header->sequence);
    wire_store16(target + COUNT_OFFSET, header->count);
    return MOLD_HEADER_SIZE;
}

uint32_t mold_append(uint8_t *packet, uint32_t size, uint32_t capacity, const uint8_t *message, uint32_t length) {
    if (size < MOLD_HEADER_SIZE || size > capacity || length > UINT16_MAX) return 0;
    if (capacity - size < BLOCK_HEADER_SIZE + length) return 0;
    uint16_t count = wire_load16(packet + COUNT_OFFSET);
    if (count >= MOLD_END_OF_SESSION - 1) return 0;
    wire_store16(packet + size, (uint16_t)length);
    if (length) memcpy(packet + size + BLOCK_HEADER_SIZE, message, length);
    wire_store16(packet + COUNT_OFFSET, (uint16_t)(count + 1));
    return size + BLOCK_HEADER_SIZE + length;
}
