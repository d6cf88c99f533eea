/* stage.h: what the four stages have in common: turns, and the loop that runs them.
 *
 * A stage works in turns. `x_plan` looks at the world (clock, ring heads, pages) and writes down in
 * a turn_plan all that the turn may see; `x_turn` then is a function of the plan, the events and the
 * stage's own state, and of nothing else. A live engine plans from the world; replay reads the plans
 * from the recorded turn records. A turn that consumed or published something publishes its record.
 *
 * A live plan is written into the stage's page, where it survives the process: a turn that was cut off before
 * its record is then run again by the very plan that it had (rebuild.h). The plan needs no seal of its own:
 * whatever a turn leaves behind (an output, a cursor) is stored with release after its plan, and the next plan
 * is begun after the record. Where the turn left nothing, nobody needs its plan.
 *
 *   feed     raw            -> norm
 *   signal   norm exec      -> signal
 *   risk     norm exec signal -> cmd
 *   gateway  norm cmd       -> exec            (norm for the paper venue only)
 */
#pragma once
#include "layout.h"
#include "ring.h"

#define ROLLS_AHEAD 8 /* rolls of the trading day that a stage knows of */

/* Private to the process that runs the stage; the pages are the mapped segments' bodies. */
typedef struct {
    stage_page *page;
    const clock_page *clock;
    control_page *control;
    histogram *hops;      /* HOPS_MAX of them, written by this stage alone; NULL: record none */
    lockstep_page *lockstep; /* NULL unless the engine runs in virtual time */
    ring_writer ctl;      /* this stage's turn records; slots == NULL: publish none */
    uint64_t turn;
    uint64_t digest;      /* of the outputs so far */
    const turn_plan *loop; /* what the loop saw of clock, kill and mode, once for all its stages; NULL: look */
    const turn_plan *held_plan;      /* of a turn whose record waits for the loop's orders; NULL: none waits */
    const ring_writer *held_output;
    uint32_t id;          /* enum stage_id */
    uint32_t holds;       /* 1: turn records wait for stage_record_held */
} stage_context;

enum wait_strategy { WAIT_SPIN, WAIT_YIELD, WAIT_PARK };

enum stage_error {
    STAGE_ERROR_NONE,
    STAGE_ERROR_SEQUENCE,  /* a replay plan asks for events that are not there */
    STAGE_ERROR_RESOURCE,
    STAGE_ERROR_SESSION
};

/* Say in the stage's page where it stands: enum stage_state, and who runs it where. */
void stage_announce(stage_page *page, uint32_t state, uint32_t pid, uint32_t cpu);
/* Say in a page that its process is alive; for processes beside the path, whose loop is their own. */
void stage_beat(stage_page *page, const clock_page *clock);
/* Now, for planning: the loop's reading where there is one. Spans are measured with the clock itself. */
uint64_t stage_now(const stage_context *stage);
/* Look at clock, kill and mode: what a plan has in common over the stages of one loop. */
void stage_look(const clock_page *clock, const control_page *control, turn_plan *seen);
/* Common parts of planning: time, kill, mode; the loop's look at them, or one's own. In lockstep the time
 * is the page's. */
void stage_plan(stage_context *stage, turn_plan *plan);
/* Publish the record of a turn that was not idle. `output` may be NULL. A stage that holds its records only
 * notes it: the plan then stays the caller's, unchanged, until stage_record_held. */
void stage_record(stage_context *stage, const turn_plan *plan, const ring_writer *output);
/* Publish the record that was held, if one was: before the stage's next turn. */
void stage_record_held(stage_context *stage);
/* 1 when the next roll of the trading day has come: it is taken off the list. 0 on the list = none. */
int stage_roll(uint64_t *roll_time_ns, uint64_t now_ns);
/* 1 when this input holds its events up to `end`, the plan's sequence; else the recording is broken, and
 * the page says so: a turn must not decide on a part of what its plan saw. */
int stage_input_stands(stage_context *stage, const ring_reader *reader, uint64_t end);
/* Chain one word of an output into the stage's digest: stages feed it what decisions determine, never
 * a measured time. */
void stage_digest(stage_context *stage, uint64_t word);
