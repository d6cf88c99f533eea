/* risk.h: the risk stage: norm, exec, signal -> gate -> cmd, and refusals back to the strategies.
 *
 * A turn drains market events first, then executions, then intents: the reference prices behind a
 * decision are never older than the event that caused it, because that event stood in norm before
 * its intent stood in signal. An order's id is order_id_base + its intent's sequence + 1: rising over all
 * runs of a trading day, and known to the strategy when it publishes. An intent is not taken before its
 * refusal would have a place in the reject ring: none is refused in silence.
 */
#pragma once
#include "layout.h"
#include "stage.h"
#include "gate.h"

/* The fourth word of a plan is no input: commands may be published up to that sequence, exclusive, so
 * that a full cmd ring refuses the same intents in replay. */
enum risk_input { RISK_INPUT_NORM, RISK_INPUT_EXEC, RISK_INPUT_SIGNAL, RISK_OUTPUT_LIMIT };

typedef struct {
    stage_context stage;
    ring_reader norm;
    ring_reader exec;
    ring_reader signal;
    ring_writer cmd;
    ring_writer reject;   /* exec_event of type EXEC_REFUSED for each intent that did not pass */
    gate gate;
    const limits_page *limits; /* in shared memory */
    limits_header *limits_copy[2]; /* private, each limits_bytes long: one in force, one being taken over */
    uint64_t limits_bytes;
    uint64_t limits_generation; /* last looked at */
    uint32_t limits_in_force;  /* index into limits_copy */
    uint32_t limits_waiting;   /* 1: the other copy is whole and newer; it comes into force in the next turn */
    uint32_t batch_max;        /* events of each input in one turn */
    uint32_t cancels_kept;      /* slots of the cmd ring that only cancels may use */
    uint32_t reserved;
    uint64_t roll_time_ns[ROLLS_AHEAD]; /* the next rolls of the trading day; 0 = none */
    uint64_t order_id_base;    /* highest order id of the day's earlier runs */
    const models_watch *models; /* NULL: no model can come */
} risk_stage;

/* Prepare: take over the limits in force. 0 when the copy that the page names is not whole. */
int risk_init(risk_stage *risk);
/* Ask for what an event of this instrument will touch, and an order in it. */
void risk_expect_instrument(const risk_stage *risk, uint32_t instrument);
/* Ask for what the next intent will touch, of which nothing is known yet. */
void risk_expect(const risk_stage *risk);
void risk_plan(risk_stage *risk, turn_plan *plan);
int risk_turn(risk_stage *risk, const turn_plan *plan);
