/* ring.c: attaching to rings, and the inline protocol's functions for Python. See include/ring.h. */
#include "ring.h"
#include "ring_inline.h"
#include <string.h>

#define RING_CAPACITY_MAX ((uint64_t)1 << 32)
#define RING_SLOT_SIZE_MAX 65536u

static const char SEGMENT_MAGIC[8] = {'H', 'O', 'T', 'P', 'A', 'T', 'H', '1'};

static int power_of_two(uint64_t value) { return value && !(value & (value - 1)); }

uint64_t ring_bytes(uint64_t capacity, uint32_t slot_size) {
    if (!power_of_two(capacity) || capacity > RING_CAPACITY_MAX) return 0;
    if (!power_of_two(slot_size) || slot_size < CACHE_LINE_SIZE || slot_size > RING_SLOT_SIZE_MAX) return 0;
    return RING_SLOTS_OFFSET + capacity * slot_size;
}

static int check(const void *segment, uint32_t kind) {
    const segment_header *header = segment;
    uint64_t magic = __atomic_load_n(&header->magic, __ATOMIC_ACQUIRE); /* partner: hotpath/segments.py stores it last */
    if (memcmp(&magic, SEGMENT_MAGIC, sizeof magic) != 0) return RING_BAD_MAGIC;
    if (header->kind != kind) return RING_BAD_KIND;
    if (kind == SEGMENT_RING && !ring_bytes(header->capacity, header->slot_size)) return RING_BAD_SIZE;
    return RING_OK;
}

static void *body(const void *segment) { return (uint8_t *)(uintptr_t)segment + SEGMENT_HEADER_SIZE; }

int ring_writer_attach(ring_writer *writer, void *segment) {
    int status = check(segment, SEGMENT_RING);
    if (status != RING_OK) return status;
    const segment_header *header = segment;
    memset(writer, 0, sizeof *writer);
    writer->slots = (uint8_t *)segment + RING_SLOTS_OFFSET;
    writer->mask = header->capacity - 1;
    writer->slot_shift = (uint32_t)__builtin_ctz(header->slot_size);
    writer->control = body(segment);
    writer->next = __atomic_load_n(&writer->control->position, __ATOMIC_RELAXED);
    /* The dead writer may have stamped a slot and not yet moved the position on. */
    while (__atomic_load_n(ring_slot(writer->slots, writer->next, writer->mask, writer->slot_shift), __ATOMIC_ACQUIRE) ==
           writer->next + 1)
        writer->next++;
    __atomic_store_n(&writer->control->position, writer->next, __ATOMIC_RELAXED);
    writer->limit = writer->next; /* looked up from the gates at the first claim */
    return RING_OK;
}

int ring_writer_gate(ring_writer *writer, const void *cursor_segment) {
    int status = check(cursor_segment, SEGMENT_CURSOR);
    if (status != RING_OK) return status;
    if (writer->gate_count == RING_GATES_MAX) return RING_TOO_MANY_GATES;
    writer->gate[writer->gate_count++] = body(cursor_segment);
    writer->limit = writer->next;
    return RING_OK;
}

int ring_writer_bell(ring_writer *writer, void *doorbell_segment) {
    int status = check(doorbell_segment, SEGMENT_DOORBELL);
    if (status != RING_OK) return status;
    if (writer->bell_count == RING_GATES_MAX) return RING_TOO_MANY_GATES;
    writer->bell[writer->bell_count++] = body(doorbell_segment);
    return RING_OK;
}

int ring_reader_attach(ring_reader *reader, const void *segment, void *cursor_segment, uint32_t kind) {
    int status = check(segment, SEGMENT_RING);
    if (status == RING_OK) status = check(cursor_segment, SEGMENT_CURSOR);
    if (status != RING_OK) return status;
    const segment_header *header = segment;
    memset(reader, 0, sizeof *reader);
    reader->slots = (const uint8_t *)segment + RING_SLOTS_OFFSET;
    reader->mask = header->capacity - 1;
    reader->slot_shift = (uint32_t)__builtin_ctz(header->slot_size);
    reader->control = body(segment);
    reader->cursor = body(cursor_segment);
    reader->kind = kind;
    reader->cursor->kind = kind;
    reader->next = __atomic_load_n(&reader->cursor->position, __ATOMIC_ACQUIRE);
    return RING_OK;
}

void *ring_claim(ring_writer *writer) { return ring_claim_inline(writer); }
void ring_commit(ring_writer *writer) { ring_commit_inline(writer); }
uint64_t ring_room(ring_writer *writer) { return ring_room_inline(writer); }

int ring_publish(ring_writer *writer, const void *event, uint32_t size) {
    uint8_t *slot = ring_claim_inline(writer);
    if (!slot) return RING_FULL;
    memcpy(slot + sizeof(uint64_t), (const uint8_t *)event + sizeof(uint64_t), size - sizeof(uint64_t));
    ring_commit_inline(writer);
    return RING_OK;
}

const void *ring_front(const ring_reader *reader) { return ring_front_inline(reader); }
uint64_t ring_available(const ring_reader *reader, uint64_t max) { return ring_available_inline(reader, max); }
const void *ring_at(const ring_reader *reader, uint64_t ahead) { return ring_at_inline(reader, ahead); }
void ring_advance(ring_reader *reader, uint64_t count) { reader->next += count; }
void ring_release(ring_reader *reader) { ring_release_inline(reader); }

/* The stamp at the reader's position tells all: the awaited one (take it), an older one or 0 (not
 * yet published, or being overwritten), a newer one (the writer has lapped us). */
uint64_t ring_copy(ring_reader *reader, void *target, uint64_t max, uint64_t *lost) {
    uint8_t *out = target;
    uint64_t size = (uint64_t)1 << reader->slot_shift;
    uint64_t count = 0;
    while (count < max) {
        const uint64_t *slot = ring_slot(reader->slots, reader->next, reader->mask, reader->slot_shift);
        uint64_t stamp = __atomic_load_n(slot, __ATOMIC_ACQUIRE); /* P1 */
        if (stamp == reader->next + 1) {
            memcpy(out, slot, size);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (__atomic_load_n(slot, __ATOMIC_RELAXED) == stamp) { /* P3 */
                memcpy(out, &stamp, sizeof stamp);
                out += size;
                count++;
                reader->next++;
                continue;
            }
        } else if (stamp < reader->next + 1) {
            uint64_t position = __atomic_load_n(&reader->control->position, __ATOMIC_ACQUIRE);
            if (position <= reader->next + reader->mask) break; /* nothing new, and not lapped */
        }
        /* Lapped. The slot being written next is not safe either: stand one past it. */
        uint64_t position = __atomic_load_n(&reader->control->position, __ATOMIC_ACQUIRE);
        uint64_t oldest = position > reader->mask ? position - reader->mask : 0;
        if (oldest <= reader->next) oldest = reader->next + 1;
        *lost += oldest - reader->next;
        reader->cursor->lost_count += oldest - reader->next;
        reader->next = oldest;
    }
    if (count) ring_release_inline(reader);
    return count;
}
