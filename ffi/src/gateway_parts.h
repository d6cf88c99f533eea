/* gateway_parts.h: what the gateway's sources share: gateway.c (turns and commands),
 * gateway_reports.c (reports and recovery), gateway_kill.c (kills), gateway_paper.c (the paper venue). */
#pragma once
#include "gateway.h"
#include "clock_inline.h"
#include "histogram_inline.h"
#include "ring_inline.h"

/* Cancels that one turn may queue on the gateway's own account. */
#define SWEEP_BATCH 64

static inline uint64_t *gateway_counters(gateway *self) { return self->stage.page->counter; }

static inline void gateway_hop(gateway *self, int hop, uint64_t from, uint64_t to) {
    if (to < from) gateway_counters(self)[GATEWAY_NEGATIVE_HOPS]++;
    else if (self->stage.hops) histogram_record_inline(&self->stage.hops[hop], to - from);
}

/* gateway.c: orders in the table, by their engine's number and by the wire's; NULL when not there. */
gateway_order *gateway_order_by_id(const gateway *self, uint64_t order_id);
gateway_order *gateway_order_by_ref(const gateway *self, uint32_t user_ref);
/* Move an order to a state and keep the counts that go with it. */
void gateway_order_set(gateway *self, gateway_order *order, int state);
/* Enter a stored intent into the tables. */
gateway_order *gateway_table_enter(gateway *self, uint32_t record_index);
/* The next execution to fill, cleared and headed, or NULL when the ring is full (counted). */
exec_event *gateway_exec_claim(gateway *self, int type, const gateway_order *order);
void gateway_exec_commit(gateway *self, exec_event *event);

/* gateway_reports.c: the session's share of a turn. */
void gateway_serve(gateway *self, const turn_plan *plan);
void gateway_sweep_start(gateway *self, int all);

/* gateway_conserve.c: does a frame ask for what was approved; the sums of a turn; what of a turn's orders fits. */
void gateway_conserve_frame(gateway *self, const cmd_event *command, const intent_record *record, uint32_t target_ref);
void gateway_conserve_turn(gateway *self);
uint64_t gateway_session_word(const gateway *self);

/* gateway_kill.c: at the beginning of a turn, and at its end. */
void gateway_kill_begin(gateway *self, const turn_plan *plan);
void gateway_kill_serve(gateway *self, const turn_plan *plan);
/* The same of scopes that are killed in the limits; the version by which they are, for a plan. */
uint32_t gateway_scope_version(const gateway *self);
void gateway_scope_begin(gateway *self, const turn_plan *plan);
void gateway_scope_serve(gateway *self, const turn_plan *plan);
/* After the turn's send: when the last byte of an order was handed over. */
void gateway_orders_sent(gateway *self);

/* gateway_paper.c: the paper venue's share of a turn. `order` returns 0 when the venue has no room. */
void gateway_paper_market(gateway *self, const turn_plan *plan);
int gateway_paper_order(gateway *self, const turn_plan *plan, const cmd_event *command);
void gateway_paper_serve(gateway *self, const turn_plan *plan);
