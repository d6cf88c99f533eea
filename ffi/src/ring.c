/* ring.c: attaching to rings, and the inline protocol's functions for Python. See include/ring.h. */
#include "ring.h"
#include "ring_inline.h"
#include "segment.h"
#include <string.h>

#define RING_CAPACITY_MAX ((uint64_t)1 << 32)
#define RING_SLOT_SIZE_MAX 65536u

static int power_of_two(uint64_t value) { return value && !(value & (value - 1)); }

uint64_t ring_bytes(uint64_t capacity, uint32_t slot_size) {
    if (!power_of_two(capacity) || capacity > RING_CAPACITY_MAX) return 0;
    if (!power_of_two(slot_size) || slot_size < CACHE_LINE_SIZE || slot_size > RING_SLOT_SIZE_MAX) return 0;
    return RING_SLOTS_OFFSET + capacity * slot_size;
}

static int check(const void *segment, uint32_t kind) {
    const segment_header *header = segment;
    if (!segment_sealed(segment)) return RING_BAD_MAGIC;
    if (header->kind != kind) return RING_BAD_KIND;
    if (kind == SEGMENT_RING && !ring_bytes(header->capacity, header->slot_size)) return RING_BAD_SIZE;
    return RING_OK;
}

int ring_writer_attach(ring_writer *writer, void *segment) {
    int status = check(segment, SEGMENT_RING);
    if (status != RING_OK) return status;
    const segment_header *header = segment;
    memset(writer, 0, sizeof *writer);
    writer->slots = (uint8_t *)segment + RING_SLOTS_OFFSET;
    writer->mask = header->capacity - 1;
    writer->slot_shift = (uint32_t)__builtin_ctz(header->slot_size);
    writer->control = segment_body(segment);
    writer->next = __atomic_load_n(&writer->control->position, __ATOMIC_RELAXED);
    /* The dead writer may have stamped a slot and not yet moved the position on. */
    while (__atomic_load_n(ring_slot(writer->slots, writer->next, writer->mask, writer->slot_shift), __ATOMIC_ACQUIRE) ==
           writer->next + 1)
        writer->next++;
    __atomic_store_n(&writer->control->position, writer->next, __ATOMIC_RELEASE); /* P5 */
    writer->limit = writer->next; /* looked up from the gates at the first claim */
    return RING_OK;
}

int ring_writer_gate(ring_writer *writer, const void *cursor_segment) {
    int status = check(cursor_segment, SEGMENT_CURSOR);
    if (status != RING_OK) return status;
    if (writer->gate_count == RING_GATES_MAX) return RING_TOO_MANY_GATES;
    const ring_cursor *cursor = segment_body(cursor_segment);
    uint64_t position = __atomic_load_n(&cursor->position, __ATOMIC_ACQUIRE); /* P2 */
    if (position > writer->next || writer->next - position > writer->mask + 1) return RING_BAD_CURSOR;
    writer->gate[writer->gate_count++] = cursor;
    writer->limit = writer->next;
    return RING_OK;
}

int ring_writer_bell(ring_writer *writer, void *doorbell_segment) {
    int status = check(doorbell_segment, SEGMENT_DOORBELL);
    if (status != RING_OK) return status;
    if (writer->bell_count == RING_GATES_MAX) return RING_TOO_MANY_GATES;
    writer->bell[writer->bell_count++] = segment_body(doorbell_segment);
    return RING_OK;
}

int ring_reader_attach(ring_reader *reader, const void *segment, void *cursor_segment, uint32_t kind) {
    int status = check(segment, SEGMENT_RING);
    if (status == RING_OK) status = check(cursor_segment, SEGMENT_CURSOR);
    if (status != RING_OK) return status;
    const segment_header *header = segment;
    const ring_control *control = segment_body(segment);
    ring_cursor *cursor = segment_body(cursor_segment);
    uint64_t position = __atomic_load_n(&cursor->position, __ATOMIC_ACQUIRE);
    /* A writer killed in its commit leaves one event stamped that its position does not count. */
    if (position > __atomic_load_n(&control->position, __ATOMIC_ACQUIRE) + 1) return RING_BAD_CURSOR;
    memset(reader, 0, sizeof *reader);
    reader->slots = (const uint8_t *)segment + RING_SLOTS_OFFSET;
    reader->mask = header->capacity - 1;
    reader->slot_shift = (uint32_t)__builtin_ctz(header->slot_size);
    reader->control = control;
    reader->cursor = cursor;
    reader->kind = kind;
    cursor->kind = kind;
    reader->next = position;
    return RING_OK;
}

void *ring_claim(ring_writer *writer) { return ring_claim_inline(writer); }
void ring_commit(ring_writer *writer) { ring_commit_inline(writer); }
uint64_t ring_room(ring_writer *writer) { return ring_room_inline(writer); }

int ring_publish(ring_writer *writer, const void *event, uint32_t size) {
    if (size < sizeof(uint64_t) || size > 1u << writer->slot_shift) return RING_BAD_SIZE;
    uint8_t *slot = ring_claim_inline(writer);
    if (!slot) return RING_FULL;
    memcpy(slot + sizeof(uint64_t), (const uint8_t *)event + sizeof(uint64_t), size - sizeof(uint64_t));
    ring_commit_inline(writer);
    return RING_OK;
}

uint64_t ring_publish_batch(ring_writer *writer, const void *events, uint32_t size, uint64_t count) {
    const uint8_t *event = events;
    uint64_t done = 0;
    while (done < count && ring_publish(writer, event + done * size, size) == RING_OK) done++;
    return done;
}

const void *ring_front(const ring_reader *reader) { return ring_front_inline(reader); }
uint64_t ring_available(const ring_reader *reader, uint64_t max) { return ring_available_inline(reader, max); }
const void *ring_at(const ring_reader *reader, uint64_t ahead) { return ring_at_inline(reader, ahead); }
void ring_advance(ring_reader *reader, uint64_t count) { reader->next += count; }
void ring_release(ring_reader *reader) { ring_release_inline(reader); }

/* Copies the event at the reader's position if its stamp is `stamp` before and after: 1 if whole. */
static int copy_whole(const ring_reader *reader, const uint64_t *slot, uint64_t stamp, uint8_t *out) {
    uint64_t size = ((uint64_t)1 << reader->slot_shift) - sizeof stamp;
    memcpy(out, &stamp, sizeof stamp);
    memcpy(out + sizeof stamp, slot + 1, size);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(slot, __ATOMIC_RELAXED) == stamp; /* P3 */
}

/* Move a lapped observer to the oldest event that is surely left. The slot that is written next may be
 * in the writer's hands already, so it counts as lost, and at least the event in question is: the reader
 * always moves on. Each sequence is thus delivered or counted lost, once. */
static uint64_t skip_lost(ring_reader *reader) {
    uint64_t position = __atomic_load_n(&reader->control->position, __ATOMIC_ACQUIRE); /* P5 */
    uint64_t oldest = position > reader->mask ? position - reader->mask : 0;
    if (oldest <= reader->next) oldest = reader->next + 1;
    uint64_t lost = oldest - reader->next;
    reader->next = oldest;
    __atomic_store_n(&reader->cursor->lost_count, reader->cursor->lost_count + lost, __ATOMIC_RELAXED);
    return lost;
}

/* The stamp at the reader's position tells all: the awaited one (take it), an older one (not yet
 * published), a newer one (the writer has lapped us). A stamp of 0 is a slot in the writer's hands, for
 * the awaited event or a later one, and only then is the writer's own line looked at: an idle observer
 * that polled it would take it from the writer at every commit. */
enum look { LOOK_TAKEN, LOOK_EMPTY, LOOK_LOST };

static enum look look(ring_reader *reader, uint8_t *out) {
    const uint64_t *slot = ring_slot(reader->slots, reader->next, reader->mask, reader->slot_shift);
    uint64_t stamp = __atomic_load_n(slot, __ATOMIC_ACQUIRE); /* P1 */
    if (stamp == reader->next + 1) {
        if (!copy_whole(reader, slot, stamp, out)) return LOOK_LOST;
        reader->next++;
        return LOOK_TAKEN;
    }
    if (stamp > reader->next + 1) return LOOK_LOST;
    if (stamp != 0) return LOOK_EMPTY;
    uint64_t position = __atomic_load_n(&reader->control->position, __ATOMIC_ACQUIRE); /* P5 */
    return position <= reader->next + reader->mask ? LOOK_EMPTY : LOOK_LOST; /* being written, and not lapped */
}

uint64_t ring_copy(ring_reader *reader, void *target, uint64_t max, uint64_t *lost) {
    uint8_t *out = target;
    uint64_t start = reader->next;
    uint64_t count = 0;
    for (uint64_t tries = 0; count < max && tries < 2 * max; tries++) {
        enum look found = look(reader, out + (count << reader->slot_shift));
        if (found == LOOK_EMPTY) break;
        if (found == LOOK_TAKEN)
            count++;
        else
            *lost += skip_lost(reader);
    }
    if (reader->next != start) ring_release_inline(reader);
    return count;
}

uint64_t ring_take(ring_reader *reader, void *target, uint64_t max, uint64_t *lost) {
    uint8_t *out = target;
    uint64_t count = 0;
    for (uint64_t tries = 0; count < max && tries < 2 * max; tries++) {
        enum look found = look(reader, out + (count << reader->slot_shift));
        if (found == LOOK_EMPTY || (found == LOOK_LOST && count)) break;
        if (found == LOOK_TAKEN)
            count++;
        else
            *lost += skip_lost(reader);
    }
    return count;
}

int ring_resume(ring_reader *reader, uint64_t position) {
    if (position > __atomic_load_n(&reader->control->position, __ATOMIC_ACQUIRE) + 1) return 0; /* P5 */
    reader->next = position;
    ring_release_inline(reader);
    return 1;
}

void ring_join(ring_reader *reader) {
    reader->next = __atomic_load_n(&reader->control->position, __ATOMIC_ACQUIRE); /* P5 */
    ring_release_inline(reader);
}
