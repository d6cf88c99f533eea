/* rebuild.h: a stage's state made again from what was recorded, for a process that takes a dead one's place.
 *
 *   recorded events --rebuild_run--> private input rings --> x_turn, planned by each record --> private output rings
 *   turn records ---------------------------------------------^            | digest == the record's?
 *
 * The stage's kernel is the live one, bound to rings of this process alone: it publishes nothing, releases no
 * live cursor and writes in no shared page. The caller (hotpath/recovery.py) then compares what the dead process
 * left in the live rings with what was made again, publishes what is missing, and binds the stage to them.
 *
 * The rest: the front ends, whose state no turn record tells. Each is taken up from the last event that it put on
 * record, so that nothing is taken twice; what was not taken is a gap, or waits in its ring.
 */
#pragma once
#include "layout.h"
#include "feed.h"
#include "paper.h"
#include "risk.h"
#include "signal_stage.h"
#include "stage.h"

enum rebuild_status {
    REBUILD_DONE,    /* every turn given was run, and was as recorded */
    REBUILD_HUNGRY,  /* an input's events have come to their end: `input_wanted`, from its ring's next on */
    REBUILD_PAUSED,  /* so many turns were run as were asked for */
    REBUILD_DIFFERS, /* a digest, a number of outputs or of events taken is not the record's: at `turn` */
    REBUILD_BROKEN   /* the stage itself refused: its page's error says why */
};

/* The ring of one word of the stage's plan. */
typedef struct {
    ring_writer ring;      /* private, gated by the stage's reader of it; slots == NULL: this word names no ring */
    const uint8_t *events; /* recorded slots of sequences [begin, end); the caller's, for as long as it is run */
    uint64_t begin;
    uint64_t end;
} rebuild_input;

typedef struct {
    void *stage;             /* feed_stage, signal_stage or risk_stage, by its `id` */
    uint32_t id;             /* enum stage_id */
    uint32_t input_wanted;
    const turn_event *turns; /* the records, in order; the caller's */
    uint64_t turn;           /* index of the next one */
    uint64_t turn_count;
    rebuild_input input[INPUTS_MAX];
} rebuild;

/* Run recorded turns, at most `turns_max` of them. */
int rebuild_run(rebuild *self, uint64_t turns_max);
/* Run the turn that was cut off, by its own plan; its record is not published. REBUILD_DONE, HUNGRY or BROKEN. */
int rebuild_cut_turn(rebuild *self, const turn_plan *plan);
/* Publish the record of that turn, with the stage bound to the live ring of its records. */
void rebuild_record(stage_context *stage, const turn_plan *plan, const ring_writer *output);
/* Stand at `sequence` of a live ring, and let its writer know. */
void rebuild_reader_place(ring_reader *reader, uint64_t sequence);
/* Begin a private ring, and its reader, at `sequence`. */
void rebuild_ring_place(ring_writer *ring, ring_reader *reader, uint64_t sequence);

/* A recorded feed: after its message `sequence`, played as if it had begun at `start_time_ns` with a message of
 * origin `first_time_ns`. 0 when the file has no so many messages. */
int rebuild_source(source *source, uint64_t sequence, uint64_t start_time_ns, uint64_t first_time_ns);
/* A line that goes on in `session` (10 bytes) after all below `expected` were published. `gap_end`: the gap that
 * was told and not closed reaches up to there; 0 = there is none. */
void rebuild_line(line *line, const uint8_t *session, uint64_t expected, uint64_t gap_end, uint64_t now_ns);
/* A seat as its last events in `intake` left it: its attachment, whether it was cut off (and why) or left in order,
 * and the first of its requests that was not passed on. */
void rebuild_seat(seat *seat, uint32_t attach_epoch, uint32_t state, uint32_t reason, uint64_t request_next, uint64_t now_ns);

/* The market that a paper venue has missed, as recorded: its copy of the book is then the market's own, without the
 * orders that died with it and with what they took. */
void rebuild_paper(paper *paper, const norm_event *events, uint64_t count);

/* A book, or the tables of seats, as another process's memory of the same configuration held them: all but what
 * points into memory or belongs to the front end. 0 when the image cannot be one. */
int rebuild_book(book *self, const void *image, uint64_t bytes);
int rebuild_seats(seats *self, const void *image, uint64_t bytes);
