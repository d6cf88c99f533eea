/* gateway_kill.c: the gateway's part of a kill. See include/gateway.h and include/control.h.
 *
 *   turn that knows of it:  refuse every new order | throw away those framed that have not left | send what is left:
 *                           the rest of a packet that was cut, cancels | ask the kernel what is under way
 *   nothing is any more:    killed_epoch_sent: effective
 *   the venue takes none:   after kill_reset_ns the connection is reset; what was under way never arrives, and the
 *                           next login cancels what is open
 *
 * "Under way" counts order bytes alone: TCP keeps their place, so what is acknowledged says which of them were. A kill
 * is thus not held up by the cancels that it sends itself.
 */
#include "gateway_parts.h"
#include "venue.h"

/* What became of every order of the day is told; one that never left is told to be gone (settle). */
static uint32_t orders_discard(gateway *self) {
    session_message message;
    uint64_t at = 0;
    uint32_t discarded = 0;
    while (session_queued(&self->session, &at, &message)) {
        uint32_t user_ref = venue_order_ref(&self->config.terms, message.payload, message.length);
        gateway_order *order = user_ref ? gateway_order_by_ref(self, user_ref) : NULL;
        if (!order) continue;
        session_discard(&self->session, &at, &message);
        self->intents.records[order->record].sent_time_ns = order->sent_time_ns = 0;
        order->flags |= GATEWAY_ORDER_DISCARDED;
        gateway_order_set(self, order, GATEWAY_ORDER_UNKNOWN);
        discarded++;
    }
    return discarded;
}

/* Bytes handed over of this connection, with the rest of a packet that must still follow. */
static uint64_t bytes_begun(const session *line) {
    return line->queued_bytes - (line->send_tail - line->send_head) + line->send_begun;
}

void gateway_orders_sent(gateway *self) {
    const session *line = &self->session;
    self->order_time_ns = clock_read(self->stage.clock);
    if (line->queued_bytes - (line->send_tail - line->send_head) >= line->order_bytes) self->orders_unsent = 0;
}

/* Order bytes that the venue's host has not acknowledged. A new connection has carried none. */
static uint64_t orders_in_flight(gateway *self) {
    session *line = &self->session;
    if (!self->socket || line->fd < 0 || line->order_bytes == 0) return 0;
    uint64_t in_flight = session_in_flight(line);
    uint64_t arrived = in_flight < line->queued_bytes ? line->queued_bytes - in_flight : 0;
    return line->order_bytes > arrived ? line->order_bytes - arrived : 0;
}

/* Cancels leave in the same turn: no order waits for them, and their bytes draw the acknowledgement of what went
 * before, which a venue's host may otherwise hold back. */
static void kill_sweep(gateway *self, uint64_t epoch) {
    if (self->sweep_epoch == epoch || (self->socket && self->session.state != SESSION_UP)) return;
    self->sweep_epoch = epoch;
    gateway_sweep_start(self, 1);
}

void gateway_kill_begin(gateway *self, const turn_plan *plan) {
    uint64_t epoch = (uint64_t)plan->kill_epoch + 1;
    if (self->kill_seen == epoch || self->config.replay) return;
    self->kill_seen = epoch;
    self->kill_time_ns = plan->now_ns;
    control_page *page = self->stage.control;
    page->sweep_orders = page->open_orders = self->open_count;
    page->resets = page->discarded_orders = 0;
    if (!self->socket) return;
    kill_sweep(self, epoch);
    page->discarded_orders = orders_discard(self);
    uint64_t begun = bytes_begun(&self->session);
    if (self->session.order_bytes > begun) self->session.order_bytes = begun;
}

/* 1 once nothing is under way. One look at the clock in a kill: every turn until then asks the kernel. */
static int kill_settled(gateway *self, const turn_plan *plan) {
    control_page *page = self->stage.control;
    uint64_t in_flight = orders_in_flight(self);
    if (in_flight && self->config.kill_reset_ns && plan->now_ns >= self->kill_time_ns + self->config.kill_reset_ns) {
        session_fail(&self->session, SESSION_KILLED, plan->now_ns);
        page->resets++;
        in_flight = 0;
    }
    __atomic_store_n(&page->in_flight_bytes, in_flight, __ATOMIC_RELAXED);
    return in_flight == 0;
}

void gateway_kill_serve(gateway *self, const turn_plan *plan) {
    if (self->config.replay) return;
    control_page *page = self->stage.control;
    uint64_t epoch = (uint64_t)plan->kill_epoch + 1;
    if (self->kill_sent != epoch && kill_settled(self, plan)) {
        self->kill_sent = epoch;
        page->order_time_ns = self->order_time_ns;
        page->effective_time_ns = clock_read(self->stage.clock);
        __atomic_store_n(&page->killed_epoch_sent, plan->kill_epoch, __ATOMIC_RELEASE); /* partner: control_effective */
    }
    kill_sweep(self, epoch);
    if (page->sweep_orders < self->open_count) page->sweep_orders = self->open_count; /* found by a recovery */
    if (page->open_orders != self->open_count) page->open_orders = self->open_count;
    int swept = self->sweep_epoch == epoch && !self->sweep;
    if (swept && page->sweep_epoch != plan->kill_epoch) __atomic_store_n(&page->sweep_epoch, plan->kill_epoch, __ATOMIC_RELEASE);
}
