/* ring.h: broadcast ring of fixed-size slots, one writer, many readers, each slot stamped.
 *
 *   segment:  | header 128 | control 64 | ... | slots from byte 4096: stamp,payload | stamp,payload |
 *   cursor:   | header 128 | ring_cursor 64 |          (one segment per reader, the reader writes it)
 *
 * The writer stores the payload, then the stamp (sequence + 1) with release; a reader loads the stamp
 * with acquire and so owns what it sees. Stamp and payload share cache lines, so a message costs one
 * line's move, not two. A half-written slot has stamp 0 and is no message.
 *
 * A gating reader is never overrun: the writer may not pass its cursor by more than the capacity.
 * An observer never slows the writer: it copies a slot out, checks the stamp again, and when it was
 * lapped it counts exactly what it lost.
 *
 * The hot functions have inline twins in src/ring_inline.h; these are for Python and for tests.
 */
#pragma once
#include "layout.h"

enum ring_status {
    RING_OK,
    RING_EMPTY,
    RING_FULL,
    RING_LAPPED, /* observer: events were lost; the reader stands at the oldest one left */
    RING_BAD_MAGIC,
    RING_BAD_LAYOUT,
    RING_BAD_KIND,
    RING_BAD_SIZE,
    RING_TOO_MANY_GATES,
    RING_BAD_CURSOR /* a cursor that this ring cannot have: ahead of its writer, or lapped though gating */
};

/* Private to the writing process. */
typedef struct {
    uint8_t *slots;
    uint64_t mask;        /* capacity - 1 */
    uint64_t next;        /* sequence of the next commit */
    uint64_t limit;       /* may commit while next < limit; moved on from the gates when reached */
    uint32_t slot_shift;  /* log2 of the slot size */
    uint32_t gate_count;
    uint32_t bell_count;
    uint32_t looks_ahead; /* 1: ask for slots ahead; set by whoever knows that the readers share this processor */
    ring_control *control;
    const ring_cursor *gate[RING_GATES_MAX];
    doorbell *bell[RING_GATES_MAX];
} ring_writer;

/* Private to the reading process. */
typedef struct {
    const uint8_t *slots;
    uint64_t mask;
    uint64_t next;       /* sequence of the next event to read */
    uint32_t slot_shift;
    uint32_t kind;       /* enum cursor_kind */
    const ring_control *control;
    ring_cursor *cursor;
} ring_reader;

/* Bytes of a ring segment; 0 when capacity or slot size is not a power of two or out of range. */
uint64_t ring_bytes(uint64_t capacity, uint32_t slot_size);

/* Attach as the writer and take up after the last stamped slot, so that a writer killed anywhere
 * resumes without loss or doubling. `segment` is the whole mapped segment. */
int ring_writer_attach(ring_writer *writer, void *segment);
/* Never overrun the reader that owns this cursor segment. Call before the first claim: RING_BAD_CURSOR
 * when the ring has already gone past it. */
int ring_writer_gate(ring_writer *writer, const void *cursor_segment);
/* Ring this doorbell after commits; for readers that park. */
int ring_writer_bell(ring_writer *writer, void *doorbell_segment);

/* Attach as a reader, from its cursor's position. `kind`: a gating reader must have been given to
 * the writer with ring_writer_gate. */
int ring_reader_attach(ring_reader *reader, const void *segment, void *cursor_segment, uint32_t kind);

/* The slot to fill, or NULL when the ring is full; counted in control->full_count. The slot's
 * stamp is 0 from here to the commit, and claiming again before it gives the same slot. */
void *ring_claim(ring_writer *writer);
/* Publish the claimed slot. */
void ring_commit(ring_writer *writer);
/* How many claims would succeed now. */
uint64_t ring_room(ring_writer *writer);
/* Claim, copy `size` bytes over the slot but its stamp, commit: RING_OK, RING_FULL or RING_BAD_SIZE. */
int ring_publish(ring_writer *writer, const void *event, uint32_t size);

/* The same for `count` events of `size` bytes that lie one after the other: how many found room. */
uint64_t ring_publish_batch(ring_writer *writer, const void *events, uint32_t size, uint64_t count);

/* Gating: the event at the reader's position, or NULL. Valid until ring_release. */
const void *ring_front(const ring_reader *reader);
/* Gating: how many consecutive events stand from the reader's position, at most `max`. */
uint64_t ring_available(const ring_reader *reader, uint64_t max);
/* Gating: the event `ahead` places on, known to be available. */
const void *ring_at(const ring_reader *reader, uint64_t ahead);
/* Move on by `count` events; the writer learns of it at ring_release. */
void ring_advance(ring_reader *reader, uint64_t count);
void ring_release(ring_reader *reader);

/* Either kind: copy up to `max` events to `target`, move on and release. Returns how many; *lost grows
 * by what an observer lost, and cursor->lost_count with it. Every sequence is delivered or counted lost,
 * exactly once; an observer that is killed and resumes may meet again what it did since its last call. */
uint64_t ring_copy(ring_reader *reader, void *target, uint64_t max, uint64_t *lost);
/* Either kind: copy up to `max` consecutive events to `target` and move on, without release: the writer may
 * learn of it only when they are safe elsewhere. Ends before a hole; one that stands at the front is passed over
 * and *lost grows by it, as in ring_copy. The first event copied is that of reader->next less what is returned. */
uint64_t ring_take(ring_reader *reader, void *target, uint64_t max, uint64_t *lost);
/* Go on from `position`, released up to there: what a reader knows better than its cursor does. 0 when that is
 * more than was published. */
int ring_resume(ring_reader *reader, uint64_t position);
/* Observer: begin with the next event that is published. What came before was not lost. */
void ring_join(ring_reader *reader);
