/* tap.h: what the tap puts on the wire, and the sorting of a batch into its topics.
 *
 *   ring slots, mixed --tap_sort--> runs of one instrument each --> topic | tap_frame | slots
 *
 * The format is documented in docs/tap.md. Slots travel as they lie in the ring, so a frame bears the
 * layout's hash. A subscriber sees loss in two places: `lost_count`, what the tap did not read in time,
 * and a hole in `topic_position`, what was dropped on the way because the subscriber was slow.
 */
#pragma once
#include "layout.h"

/* Where a process beside the path listens. Entries of the endpoints segment. */
typedef struct {
    char process[24];  /* NUL-padded */
    char address[104]; /* as ZeroMQ writes it, NUL-padded */
} endpoint_entry;

/* The second part of a message of the tap, after the topic and before the slots. */
typedef struct {
    uint64_t magic;            /* "HPTAP001" in memory order */
    uint64_t layout_hash;      /* of the slots that follow */
    uint64_t run_epoch;        /* of the engine's run */
    uint64_t tap_epoch;        /* the tap began: topic positions count from here */
    uint64_t first_sequence;   /* of the first slot, in its ring */
    uint64_t topic_position;   /* slots sent on this topic before these */
    uint64_t lost_count;       /* events of this ring that the tap itself has lost so far in this run */
    int64_t tick_value_micros; /* of the instrument; 0 where there is none */
    uint32_t count;            /* slots that follow */
    uint32_t slot_size;
    char engine[24];           /* NUL-padded */
} tap_frame;

/* The tap's counters, in its own page. */
enum tap_counter {
    TAP_EVENTS,        /* read from the rings */
    TAP_LOST,          /* overwritten before they were read */
    TAP_FRAMES,        /* sent; one that nobody asked for is not made */
    TAP_FRAME_EVENTS,  /* in those frames */
    TAP_SUBSCRIPTIONS, /* gauge: distinct topics asked for */
    TAP_COUNTERS
};

#define TAP_BATCH_MAX 4096 /* slots of one tap_sort */

/* One instrument's part of a batch. */
typedef struct {
    uint32_t instrument; /* or NO_INSTRUMENT */
    uint32_t start;      /* of its slots in the sorted batch */
    uint32_t count;
    uint32_t reserved;
} tap_run;

/* Sorts `count` slots of 128 bytes, at most TAP_BATCH_MAX, by instrument, in order within each: `sorted` and
 * `runs` have room for as many. `place` has INSTRUMENTS_MAX + 1 words, all 0 before and after. Returns the
 * number of runs, in order of their first slots. */
uint32_t tap_sort(const norm_event *slots, uint32_t count, uint32_t *place, norm_event *sorted, tap_run *runs);
