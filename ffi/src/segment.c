/* segment.c: sealing and recognising shared segments. See include/segment.h. */
#include "segment.h"
#include <string.h>

static const char SEGMENT_MAGIC[8] = {'H', 'O', 'T', 'P', 'A', 'T', 'H', '1'};

void segment_seal(void *segment, const segment_header *header) {
    uint64_t magic;
    memcpy(&magic, SEGMENT_MAGIC, sizeof magic);
    memcpy((uint8_t *)segment + sizeof magic, (const uint8_t *)header + sizeof magic, sizeof *header - sizeof magic);
    __atomic_store_n((uint64_t *)segment, magic, __ATOMIC_RELEASE); /* partner: segment_sealed */
}

int segment_sealed(const void *segment) {
    uint64_t magic = __atomic_load_n((const uint64_t *)segment, __ATOMIC_ACQUIRE); /* partner: segment_seal */
    return memcmp(&magic, SEGMENT_MAGIC, sizeof magic) == 0;
}

void *segment_body(const void *segment) { return (uint8_t *)(uintptr_t)segment + SEGMENT_HEADER_SIZE; }
