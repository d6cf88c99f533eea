/* gateway_paper.c: the gateway before the paper venue: a session that is always up, with no wire. The
 * frames are encoded and stored all the same, so that the order log reads alike in every kind.
 *
 *   norm --> paper_market --.
 *   cmd ---> paper_order ---+--> paper_poll --> order table --> exec
 *
 * The paper venue dies with its process: orders that were open then are gone, and are said to be
 * canceled when the next process opens the intent file. Its reports bear session_sequence 0.
 */
#include "gateway_parts.h"
#include "paper.h"
#include <string.h>

#define EXPECT_AHEAD 4 /* events whose book lines are fetched while earlier ones are followed */

/* Venue time, as far as it is known: that of the last market event and what has passed since. */
static uint64_t venue_now(const gateway *self, const turn_plan *plan) {
    return self->market_origin_ns + (plan->now_ns - self->market_now_ns);
}

static void order_follow(gateway *self, const exec_event *report) {
    gateway_order *order = gateway_order_by_id(self, report->order_id);
    uint64_t *counter = gateway_counters(self);
    if (!order) {
        counter[GATEWAY_UNMATCHED]++;
        return;
    }
    int state = GATEWAY_ORDER_LIVE;
    gateway_order *previous = order->target ? &self->orders[order->target - 1] : NULL;
    switch (report->header.type) {
    case EXEC_ACCEPTED: counter[GATEWAY_ACCEPTED]++; break;
    case EXEC_REPLACED:
        counter[GATEWAY_ACCEPTED]++;
        if (previous) {
            gateway_order_set(self, previous, GATEWAY_ORDER_DEAD);
            intent_settle(&self->intents, previous->record);
        }
        break;
    case EXEC_FILL:
        counter[GATEWAY_FILLS]++;
        counter[GATEWAY_FILLED_LOTS] += (uint64_t)report->quantity_lots;
        break;
    case EXEC_CANCELED: counter[GATEWAY_CANCELED]++; break;
    case EXEC_CANCEL_REJECTED:
        counter[GATEWAY_CANCEL_REJECTED]++;
        order->flags &= (uint8_t)~GATEWAY_ORDER_CANCEL_WANTED;
        return;
    default:
        counter[GATEWAY_REJECTED]++;
        state = GATEWAY_ORDER_DEAD;
        break;
    }
    order->venue_ref = report->venue_ref;
    order->leaves_lots = report->leaves_lots;
    order->cumulative_lots = report->cumulative_lots;
    gateway_order_set(self, order, report->leaves_lots > 0 ? state : GATEWAY_ORDER_DEAD);
    if (order->state == GATEWAY_ORDER_DEAD) intent_settle(&self->intents, order->record);
}

/* Reports as far as there is room for them. No part of the stage's digest: they are the venue's decisions,
 * and a replay takes them from the recording, as it does those of a venue on the wire. */
static void reports_publish(gateway *self, const turn_plan *plan) {
    exec_event report;
    for (;;) {
        exec_event *event = ring_claim_inline(&self->exec);
        if (!event) {
            gateway_counters(self)[GATEWAY_EXEC_FULL]++;
            return;
        }
        if (!paper_poll(self->paper, &report)) return;
        report.header.flags |= FLAG_OWN;
        if (report.side == SIDE_SELL) report.header.flags |= FLAG_SELL;
        report.header.ingress_time_ns = plan->now_ns;
        report.venue = VENUE_PAPER;
        memcpy((uint8_t *)event + sizeof event->header.stamp, (const uint8_t *)&report + sizeof event->header.stamp,
               sizeof report - sizeof event->header.stamp);
        order_follow(self, event);
        gateway_exec_commit(self, event);
    }
}

void gateway_paper_market(gateway *self, const turn_plan *plan) {
    uint64_t end = plan->input_sequence[GATEWAY_INPUT_NORM];
    if (self->norm.next >= end) return;
    while (self->norm.next < end) {
        const norm_event *event = ring_front_inline(&self->norm);
        if (!event) {
            self->stage.page->error = STAGE_ERROR_SEQUENCE;
            break;
        }
        if (self->norm.next + EXPECT_AHEAD < end) paper_expect(self->paper, ring_at_inline(&self->norm, EXPECT_AHEAD));
        if (paper_market(self->paper, event) != PAPER_OK) {
            reports_publish(self, plan);
            if (paper_market(self->paper, event) != PAPER_OK) break; /* exec is full: the market waits */
        }
        if (event->header.origin_time_ns > self->market_origin_ns) self->market_origin_ns = event->header.origin_time_ns;
        self->market_now_ns = plan->now_ns;
        self->norm.next++;
    }
    ring_release_inline(&self->norm);
}

/* What no market event caused (a timer's cancel, a request of a seat) bears the engine's clock: over a recorded
 * market that would be years after its last event. */
int gateway_paper_order(gateway *self, const turn_plan *plan, const cmd_event *command) {
    if (command->id.input == INPUT_NORM) return paper_order(self->paper, command) == PAPER_OK;
    cmd_event now = *command;
    now.header.origin_time_ns = venue_now(self, plan);
    return paper_order(self->paper, &now) == PAPER_OK;
}

/* After a kill: cancels for every open order, given to the venue as commands without an intent. */
static void sweep(gateway *self, const turn_plan *plan) {
    if (!self->sweep) return;
    for (; self->sweep_next < self->order_count; self->sweep_next++) {
        const gateway_order *order = &self->orders[self->sweep_next];
        if (order->state == GATEWAY_ORDER_DEAD) continue;
        if (!self->sweep_all && !(order->flags & GATEWAY_ORDER_CANCEL_WANTED)) continue;
        cmd_event cancel;
        memset(&cancel, 0, sizeof cancel);
        cancel.header.type = CMD_CANCEL;
        cancel.header.instrument = order->instrument;
        cancel.target_order_id = order->order_id;
        if (!gateway_paper_order(self, plan, &cancel)) return;
    }
    self->sweep = self->sweep_all = 0;
}

/* What the process before had open died with it. */
static int orphans_settle(gateway *self) {
    for (uint32_t i = self->first_open; i < self->orphans; i++) {
        gateway_order *order = &self->orders[i];
        if (order->state == GATEWAY_ORDER_DEAD) continue;
        if (self->intents.records[order->record].state != INTENT_SETTLED) {
            exec_event *event = gateway_exec_claim(self, EXEC_CANCELED, order);
            if (!event) return 0;
            event->quantity_lots = order->leaves_lots;
            event->leaves_lots = 0;
            gateway_exec_commit(self, event);
            intent_settle(&self->intents, order->record);
            gateway_counters(self)[GATEWAY_SETTLED]++;
        }
        gateway_order_set(self, order, GATEWAY_ORDER_DEAD);
    }
    self->orphans = 0;
    return 1;
}

void gateway_paper_serve(gateway *self, const turn_plan *plan) {
    if (!orphans_settle(self)) return;
    sweep(self, plan);
    /* Silence is time too, but only when this turn has seen all of the market that there is. */
    if (self->market_now_ns && self->market_now_ns < plan->now_ns && plan->input_sequence[GATEWAY_INPUT_NORM] == self->norm.next)
        paper_advance(self->paper, venue_now(self, plan));
    reports_publish(self, plan);
}
