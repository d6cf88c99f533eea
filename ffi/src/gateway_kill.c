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
#include "gate_inline.h"
#include "venue.h"

#define SCOPE_LOOK_NS 1000000 /* between two looks at what is open in killed scopes */

/* ---- scopes ---------------------------------------------------------------------------------------- */

/* The copy in force, where it lies: its writer works on the other one. Two changes at once may be met half-way; a
 * switch that stays is the same in both, and an order that is cancelled for nothing does no harm. */
static const limits_header *limits_now(const gateway *self) {
    const limits_page *page = self->limits;
    uint64_t generation = __atomic_load_n(&page->generation, __ATOMIC_ACQUIRE); /* partner: limits_publish */
    return (const limits_header *)(const void *)((const uint8_t *)page + page->copy_offset[generation & 1]);
}

uint32_t gateway_scope_version(const gateway *self) { return self->limits ? (uint32_t)limits_now(self)->kill_version : 0; }

/* Is an order in a scope that people have killed? */
static int scope_killed(const gateway *self, const limits_header *limits, const gateway_order *order) {
    const command_id *id = &self->intents.records[order->record].id;
    uint64_t switches = limits->firm.switches | account_limits(limits, id->account)->switches |
                        strategy_limits(limits, id->strategy)->switches;
    if (limits->venue_place) switches |= scope_entry(limits, limits->venue_place)->switches;
    if (order->instrument < limits->count) switches |= limits_at(limits, order->instrument)->scope.switches;
    return (switches & SWITCH_KILLED) != 0;
}

/* ---- what has not left ------------------------------------------------------------------------------- */

/* Of all orders, or of those in scopes that `limits` kill. What became of every order of the day is told; one that
 * never left is told to be gone (settle). */
static uint32_t orders_discard(gateway *self, const limits_header *limits) {
    session_message message;
    uint64_t at = 0;
    uint32_t discarded = 0;
    while (session_queued(&self->session, &at, &message)) {
        uint32_t user_ref = venue_order_ref(&self->config.terms, message.payload, message.length);
        gateway_order *order = user_ref ? gateway_order_by_ref(self, user_ref) : NULL;
        if (!order || (limits && !scope_killed(self, limits, order))) continue;
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

/* Of the bytes up to `order_bytes`, those that the venue's host has not acknowledged. A new connection has carried none. */
static uint64_t in_flight_below(gateway *self, uint64_t order_bytes) {
    session *line = &self->session;
    if (!self->socket || line->fd < 0 || line->order_bytes == 0 || order_bytes == 0) return 0;
    uint64_t in_flight = session_in_flight(line);
    uint64_t arrived = in_flight < line->queued_bytes ? line->queued_bytes - in_flight : 0;
    return order_bytes > arrived ? order_bytes - arrived : 0;
}

/* 1 once nothing is under way. One look at the clock in a kill: every turn until then asks the kernel. */
static int kill_settled(gateway *self, const turn_plan *plan) {
    control_page *page = self->stage.control;
    uint64_t in_flight = in_flight_below(self, self->session.order_bytes);
    if (in_flight && self->config.kill_reset_ns && plan->now_ns >= self->kill_time_ns + self->config.kill_reset_ns) {
        session_fail(&self->session, SESSION_KILLED, plan->now_ns);
        page->resets++;
        in_flight = 0;
    }
    __atomic_store_n(&page->in_flight_bytes, in_flight, __ATOMIC_RELAXED);
    return in_flight == 0;
}

/* Effective: told once for each kill. */
static void kill_confirm(gateway *self, const turn_plan *plan, uint64_t epoch) {
    if (self->kill_sent == epoch || !kill_settled(self, plan)) return;
    control_page *page = self->stage.control;
    self->kill_sent = epoch;
    page->order_time_ns = self->order_time_ns;
    page->effective_time_ns = clock_read(self->stage.clock);
    __atomic_store_n(&page->killed_epoch_sent, plan->kill_epoch, __ATOMIC_RELEASE); /* partner: control_effective */
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
    page->discarded_orders = orders_discard(self, NULL);
    uint64_t begun = bytes_begun(&self->session);
    if (self->session.order_bytes > begun) self->session.order_bytes = begun;
    kill_confirm(self, plan, epoch); /* most often nothing is under way, and the cancels need not be waited for */
    kill_sweep(self, epoch);
}

void gateway_kill_serve(gateway *self, const turn_plan *plan) {
    if (self->config.replay) return;
    control_page *page = self->stage.control;
    uint64_t epoch = (uint64_t)plan->kill_epoch + 1;
    kill_confirm(self, plan, epoch);
    kill_sweep(self, epoch);
    if (page->sweep_orders < self->open_count) page->sweep_orders = self->open_count; /* found by a recovery */
    if (page->open_orders != self->open_count) page->open_orders = self->open_count;
    int swept = self->sweep_epoch == epoch && !self->sweep;
    if (swept && page->sweep_epoch != plan->kill_epoch) __atomic_store_n(&page->sweep_epoch, plan->kill_epoch, __ATOMIC_RELEASE);
}

/* ---- scopes, killed ---------------------------------------------------------------------------------- */

void gateway_scope_begin(gateway *self, const turn_plan *plan) {
    self->scope_version = plan->limits_version;
    if (!self->limits || self->config.replay) return;
    const limits_header *limits = limits_now(self);
    for (uint32_t i = self->first_open; i < self->order_count; i++) {
        gateway_order *order = &self->orders[i];
        if (order->state != GATEWAY_ORDER_DEAD && scope_killed(self, limits, order)) order->flags |= GATEWAY_ORDER_CANCEL_WANTED;
    }
    gateway_sweep_start(self, 0);
    if (self->socket) orders_discard(self, limits);
    self->scope_bytes = self->session.order_bytes;
    self->scope_time_ns = 0;
    self->scope_waits = 1;
}

/* Told once what had left is no longer under way; then looked at until nothing is open any more. */
void gateway_scope_serve(gateway *self, const turn_plan *plan) {
    control_page *page = self->stage.control;
    int told = page->scoped_version_sent == self->scope_version;
    if (told && plan->now_ns < self->scope_time_ns + SCOPE_LOOK_NS) return;
    self->scope_time_ns = plan->now_ns;
    const limits_header *limits = limits_now(self);
    uint32_t open = 0;
    for (uint32_t i = self->first_open; i < self->order_count; i++)
        open += self->orders[i].state != GATEWAY_ORDER_DEAD && scope_killed(self, limits, &self->orders[i]);
    page->scoped_orders_open = open;
    if (!told && in_flight_below(self, self->scope_bytes)) return;
    if (!told) __atomic_store_n(&page->scoped_version_sent, self->scope_version, __ATOMIC_RELEASE); /* partner: hotctl */
    self->scope_waits = open != 0;
}
