/* retell.h: what a decision saw, made again from recorded events: for whoever asks why an order happened.
 *
 *   raw    --retell_feed-->     feed kernel, private rings         --> the book before and after an event
 *   norm   --retell_features--> feature kernel, one instrument     --> the values at an event
 *   norm, exec, signal, turns --retell_risk--> gate, turn by turn  --> the gate before an intent
 *
 *   turns  --retell_turns-->    a whole stage, turn by turn        --> the digest of each as recorded, or not
 *
 * The kernels are the path's own; only what feeds them is another. retell_risk chains the digest that the risk
 * stage would have had and holds it against each turn record: a gate that decided otherwise is not believed.
 */
#pragma once
#include "layout.h"
#include "feature.h"
#include "feed.h"
#include "gate.h"
#include "gateway.h"
#include "risk.h"
#include "signal_stage.h"
#include "stage.h"

enum retell_status {
    RETELL_OK,
    RETELL_HUNGRY,  /* a turn wants events that were not given */
    RETELL_DIFFERS, /* a decision, as its digest tells, was another one: at `turn` */
    RETELL_LIMITS   /* a turn was made under limits that are not at hand */
};

/* Events are the caller's: recorded slots from `_begin` on. Sequences of what was given before stand in `_next`. */
typedef struct {
    const turn_event *turns;
    uint64_t turn_count;
    const norm_event *norm;
    uint64_t norm_begin;
    uint64_t norm_count;
    const exec_event *exec;
    uint64_t exec_begin;
    uint64_t exec_count;
    const signal_event *signal;
    uint64_t signal_begin;
    uint64_t signal_count;
    uint64_t signal_end;   /* stop in the turn of this intent, before it is decided */
    uint64_t norm_next;
    uint64_t exec_next;
    uint64_t signal_next;
    uint64_t cmd_next;
    uint64_t order_id_base;
    uint64_t digest;
    uint64_t turn;         /* number of the last turn that was begun */
    uint64_t roll_time_ns[ROLLS_AHEAD];
    turn_plan plan;        /* of that turn */
    cmd_event command;     /* of the last intent that was approved */
    uint32_t stopped;      /* 1: stands before `signal_end` */
    uint32_t reserved;
} retold_risk;

/* Run recorded turns of a stage bound to rings of a replay: each as soon as all that its plan may see stands there
 * and the readers of its output leave room for what it published. Returns how many were run and were as recorded;
 * *differs is 1 when the one after them was run and was not. `stage`: a feed_stage, signal_stage, risk_stage or
 * gateway, by `id` (enum stage_id). */
uint64_t retell_turns(void *stage, uint32_t id, const turn_event *turns, uint64_t count, uint32_t *differs);
/* The plan that a recorded turn was made by. */
void retell_plan(const turn_event *turn, turn_plan *plan);
/* Publish recorded raw events into the feed's own ring and let it take them; norm needs no reader. */
void retell_feed(feed_stage *feed, const raw_event *events, uint64_t count);
/* The market event that was made last; NULL when there is none. */
const norm_event *retell_norm(const feed_stage *feed);
/* Take in the market events of one instrument, and those at which all features begin anew; others are passed over.
 * Writes value[FEATURES_MAX] as after the last event of the instrument; returns its ready mask. */
uint32_t retell_features(const feature_config *config, feature_state *state, uint32_t instrument, const norm_event *events,
                         uint64_t count, double *value);
/* The gate through recorded turns; returns enum retell_status. */
int retell_risk(gate *gate, retold_risk *told);
/* Decide the intent that the retelling stopped before: enum reject_reason. */
int retell_decide(gate *gate, retold_risk *told, const signal_event *intent);
