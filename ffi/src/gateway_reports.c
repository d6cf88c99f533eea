/* gateway_reports.c: what the venue says, and what follows from it. See include/gateway.h.
 *
 *   logged in --> REPLAY --quiet--> CANCEL --all queued--> QUERY --answer--> SETTLE --quiet--> up
 *                 sequenced        orders without an      account query     what the venue
 *                 replay           answer: unknown,       (OUCH 5.0)        never had is dead
 *                                  and cancelled
 *
 * A process that has just started asks for the stream from its first message and so rebuilds every
 * order; messages that were published before change the tables and are not published again.
 */
#include "gateway_parts.h"
#include "digest.h"
#include <string.h>

/* ---- publishing one report ----------------------------------------------------------------------- */

/* Does the report answer for the sending of an order, so that everything sent before it was seen too? */
static int is_answer(int type) { return type == EXEC_ACCEPTED || type == EXEC_REPLACED || type == EXEC_REJECTED; }

static void count_report(gateway *self, int type, const venue_report *report) {
    uint64_t *counter = gateway_counters(self);
    switch (type) {
    case EXEC_ACCEPTED:
    case EXEC_REPLACED: counter[GATEWAY_ACCEPTED]++; break;
    case EXEC_FILL:
        counter[GATEWAY_FILLS]++;
        counter[GATEWAY_FILLED_LOTS] += (uint64_t)report->quantity_lots;
        break;
    case EXEC_CANCELED: counter[GATEWAY_CANCELED]++; break;
    case EXEC_REJECTED:
    case EXEC_REPLACE_REJECTED: counter[GATEWAY_REJECTED]++; break;
    case EXEC_CORRECTED: counter[GATEWAY_CORRECTED]++; break;
    case EXEC_REPEATED: counter[GATEWAY_REPEATED]++; break;
    case EXEC_CANCEL_REJECTED: counter[GATEWAY_CANCEL_REJECTED]++; break;
    case EXEC_BROKEN: counter[GATEWAY_BROKEN]++; break;
    default: break;
    }
}

/* ---- executions, each once ------------------------------------------------------------------------ */

/* The place of an order's execution, or the free one where it belongs. */
static gateway_fill *fill_place(const gateway *self, const gateway_order *order, uint64_t match_id) {
    uint32_t index = (uint32_t)(order - self->orders) + 1;
    const uint64_t key[2] = {match_id, index};
    uint64_t at = digest_bytes(0, key, sizeof key) & self->fill_mask;
    while (self->fills[at].order && (self->fills[at].order != index || self->fills[at].match_id != match_id))
        at = (at + 1) & self->fill_mask;
    return &self->fills[at];
}

/* NULL when the venue never told of it, or took it back. */
static gateway_fill *fill_standing(const gateway *self, const gateway_order *order, uint64_t match_id) {
    gateway_fill *fill = fill_place(self, order, match_id);
    return fill->order && !fill->broken ? fill : NULL;
}

/* With the table full a repetition would not be known: no new orders, so that few more can come. */
static gateway_fill *fill_remember(gateway *self, const gateway_order *order, const venue_report *report) {
    if (2 * (self->fill_count + 1) > self->fill_mask + 1) {
        self->distrust = 1;
        return NULL;
    }
    gateway_fill *fill = fill_place(self, order, report->match_id);
    fill->match_id = report->match_id;
    fill->quantity_lots = report->quantity_lots;
    fill->price_ticks = report->price_ticks;
    fill->order = (uint32_t)(order - self->orders) + 1;
    self->fill_count++;
    return fill;
}

/* Has the venue said this before, under an earlier number? */
static int is_repeated(const gateway *self, const gateway_order *order, const venue_report *report) {
    int answered = order->flags & GATEWAY_ORDER_ANSWERED;
    switch (report->type) {
    case EXEC_ACCEPTED:
    case EXEC_REPLACED:
    case EXEC_REJECTED: return answered != 0;
    case EXEC_CANCELED: return answered && order->state == GATEWAY_ORDER_DEAD;
    case EXEC_FILL: return fill_place(self, order, report->match_id)->order != 0;
    case EXEC_BROKEN: return fill_place(self, order, report->match_id)->broken != 0;
    default: return 0;
    }
}

/* An execution told twice may be two, and an order both refused and taken may live: neither is believed. */
static int is_doubtful(const gateway_order *order, const venue_report *report) {
    int rejected = order->flags & GATEWAY_ORDER_REJECTED;
    if (report->type == EXEC_REJECTED) return !rejected;
    if (report->type == EXEC_ACCEPTED || report->type == EXEC_REPLACED) return rejected;
    return report->type == EXEC_FILL;
}

/* ---- what a report does to its order -------------------------------------------------------------- */

/* The venue holds the order, for so many lots less those that it has already told to be gone. One that was
 * given up for dead is alive again. */
static void order_rests(gateway *self, gateway_order *order, const venue_report *report) {
    int revived = order->flags & GATEWAY_ORDER_SETTLED_HERE;
    if (order->state == GATEWAY_ORDER_DEAD && !revived) return;
    int64_t gone = revived ? 0 : self->intents.records[order->record].quantity_lots - order->leaves_lots;
    int64_t leaves = report->dead || report->quantity_lots < gone ? 0 : report->quantity_lots - gone;
    order->venue_ref = report->venue_ref;
    gateway_order_set(self, order, leaves ? GATEWAY_ORDER_LIVE : GATEWAY_ORDER_DEAD);
    order->leaves_lots = leaves;
    order->flags &= (uint8_t)~GATEWAY_ORDER_SETTLED_HERE;
    if (!revived || !leaves) return;
    order->flags |= GATEWAY_ORDER_CANCEL_WANTED;
    gateway_sweep_start(self, 0);
}

static void order_loses(gateway *self, gateway_order *order, int64_t quantity_lots) {
    if (order->state == GATEWAY_ORDER_DEAD) return;
    order->leaves_lots -= quantity_lots;
    if (order->leaves_lots <= 0) gateway_order_set(self, order, GATEWAY_ORDER_DEAD);
}

static void order_replaced(gateway *self, gateway_order *order, const venue_report *report) {
    gateway_order *previous = order->target ? &self->orders[order->target - 1] : NULL;
    order_rests(self, order, report);
    if (!previous) return;
    order->cumulative_lots += previous->cumulative_lots;
    gateway_order_set(self, previous, GATEWAY_ORDER_DEAD);
}

/* More executed than the order had left: an order that was said to be dead lives, or one of its messages was
 * not about it. What was executed counts; what is left of the order is no longer known. */
static void order_filled(gateway *self, gateway_order *order, const venue_report *report) {
    fill_remember(self, order, report);
    if (report->quantity_lots > order->leaves_lots || order->state == GATEWAY_ORDER_DEAD) {
        gateway_counters(self)[GATEWAY_OVERFILLS]++;
        self->distrust = 1;
    }
    order->cumulative_lots += report->quantity_lots;
    order_loses(self, order, report->quantity_lots);
}

/* What the report does to its order, before it is published. */
static void order_apply(gateway *self, gateway_order *order, const venue_report *report) {
    switch (report->type) {
    case EXEC_ACCEPTED: order_rests(self, order, report); break;
    case EXEC_REPLACED: order_replaced(self, order, report); break;
    case EXEC_FILL: order_filled(self, order, report); break;
    case EXEC_CANCELED: order_loses(self, order, report->quantity_lots); break;
    case EXEC_REJECTED:
        order->flags |= GATEWAY_ORDER_REJECTED;
        gateway_order_set(self, order, GATEWAY_ORDER_DEAD);
        break;
    case EXEC_CANCEL_REJECTED: order->flags &= (uint8_t)~GATEWAY_ORDER_CANCEL_WANTED; break;
    case EXEC_RESTATED:
        if (report->venue_ref) order->venue_ref = report->venue_ref;
        if (report->sized && order->state == GATEWAY_ORDER_LIVE) order->leaves_lots = report->quantity_lots;
        break;
    default: break;
    }
    if (!is_answer(report->type)) return;
    order->flags |= GATEWAY_ORDER_ANSWERED;
    intent_settle(&self->intents, order->record);
}

/* A break or a correction names its fill by match number. What it takes back is what was told: quantity
 * and price of the fill go into the event, if there is one. A fill that is not known leaves the position
 * in doubt, and so does one that changes its quantity. */
static void fill_revise(gateway *self, const gateway_order *order, const venue_report *report, exec_event *event) {
    gateway_fill *fill = fill_standing(self, order, report->match_id);
    int corrected = report->type == EXEC_CORRECTED;
    if (event) event->quantity_lots = fill ? fill->quantity_lots : 0;
    if (event && !corrected) event->price_ticks = fill ? fill->price_ticks : 0;
    if (event && corrected) event->venue_ref = fill ? (uint64_t)fill->price_ticks : 0;
    if (!fill || (corrected && report->quantity_lots != fill->quantity_lots)) self->distrust = 1;
    if (!fill && !corrected) fill = fill_remember(self, order, report); /* told of after its break, it still did not happen */
    if (!fill) return;
    if (corrected) fill->price_ticks = report->price_ticks;
    else fill->broken = 1;
}

/* The session's name as a number: whoever drops repetitions must not take the first messages of a new
 * session, which counts from 1 again, for the first ones of the old. */
static uint16_t session_tag(const session *session) {
    return (uint16_t)(digest_bytes(0, session->name, sizeof session->name) % UINT16_MAX + 1);
}

static void exec_fill(gateway *self, exec_event *event, const gateway_order *order, const venue_report *report, uint64_t sequence) {
    event->header.origin_time_ns = self->config.midnight_time_ns + report->time_ns;
    event->header.ingress_time_ns = self->ingress_time_ns;
    if (self->session.state == SESSION_RECOVERING) event->header.flags |= FLAG_RECOVERED;
    event->match_id = report->match_id;
    event->price_ticks = report->price_ticks;
    event->quantity_lots = report->quantity_lots;
    event->reason = report->reason;
    event->liquidity = report->liquidity;
    event->session_sequence = sequence;
    event->session = session_tag(&self->session);
    if (report->venue_ref && report->type != EXEC_CORRECTED) event->venue_ref = report->venue_ref;
    if (event->header.type == EXEC_REPEATED) event->reason = report->type;
    if (!order) return;
    event->leaves_lots = order->leaves_lots;
    event->cumulative_lots = order->cumulative_lots;
    int replacement = event->header.type == EXEC_REPLACED || event->header.type == EXEC_REPLACE_REJECTED;
    if (replacement && order->target) event->target_order_id = self->orders[order->target - 1].order_id;
    if (event->header.type == EXEC_CANCEL_REJECTED || event->header.type == EXEC_PENDING_CANCEL) event->target_order_id = order->order_id;
    if (event->price_ticks == 0) event->price_ticks = self->intents.records[order->record].price_ticks;
}

/* ---- orders that no intent tells of ----------------------------------------------------------------- */

/* The index of a wire symbol; NO_INSTRUMENT when the reference data has none such. */
static uint32_t instrument_named(const gateway *self, const char *symbol) {
    char wanted[16] = {0};
    for (int i = 0; i < 8 && symbol[i] != ' '; i++) wanted[i] = symbol[i];
    for (uint32_t i = 0; wanted[0] && i < self->config.instrument_count; i++)
        if (memcmp(self->instruments[i].symbol, wanted, sizeof wanted) == 0) return i;
    return NO_INSTRUMENT;
}

static void record_adopt(const gateway *self, intent_record *record, const venue_report *report, uint64_t order_id) {
    const gateway_order *target = report->previous_ref ? gateway_order_by_ref(self, report->previous_ref) : NULL;
    memset((uint8_t *)record + sizeof record->stamp, 0, sizeof *record - sizeof record->stamp);
    record->id.cause_sequence = order_id; /* with INPUT_NONE: no command was ever named so */
    record->order_id = order_id;
    record->target_order_id = target ? target->order_id : 0;
    record->price_ticks = report->price_ticks;
    record->quantity_lots = report->quantity_lots;
    record->instrument = report->type == EXEC_REJECTED ? NO_INSTRUMENT : instrument_named(self, report->symbol);
    record->user_ref = report->user_ref;
    record->type = target ? CMD_REPLACE : CMD_NEW;
    record->side = report->side;
    record->state = INTENT_SETTLED;
}

/* The intent file was begun anew in the middle of a day (the machine went down, or another one takes over): what
 * the venue answers for is an order of ours that must be known again. NULL when it cannot be entered in its place. */
static gateway_order *order_adopt(gateway *self, const venue_report *report) {
    if (!self->intents.page->adopts || self->session.state != SESSION_RECOVERING || !is_answer(report->type)) return NULL;
    uint64_t order_id = report->order_id ? report->order_id : report->user_ref; /* 4.2 does not repeat ours */
    const gateway_order *last = self->order_count ? &self->orders[self->order_count - 1] : NULL;
    if (report->user_ref == 0 || (last && (order_id <= last->order_id || report->user_ref <= last->user_ref))) return NULL;
    intent_record *record = intent_claim(&self->intents);
    if (!record) return NULL;
    record_adopt(self, record, report, order_id);
    if (record->instrument == NO_INSTRUMENT && report->type != EXEC_REJECTED) return NULL; /* no position could count it */
    intent_commit(&self->intents);
    gateway_counters(self)[GATEWAY_ADOPTED]++;
    return gateway_table_enter(self, (uint32_t)self->intents.next - 1);
}

/* 0 when there was no room: nothing has changed and the report comes again. */
static int report_take(gateway *self, const venue_report *report, uint64_t sequence) {
    gateway_order *order = gateway_order_by_ref(self, report->user_ref);
    if (!order) order = order_adopt(self, report);
    int silent = sequence < self->published_sequence;
    int repeated = order && is_repeated(self, order, report);
    int type = repeated ? EXEC_REPEATED : report->type;
    if (type == EXEC_REJECTED && order && order->type == CMD_REPLACE) type = EXEC_REPLACE_REJECTED;
    exec_event *event = NULL;
    if (!silent) {
        event = gateway_exec_claim(self, type, order);
        if (!event) return 0;
        count_report(self, type, report);
    }
    if (!order) {
        gateway_counters(self)[GATEWAY_UNMATCHED]++;
        self->distrust = 1; /* the venue holds an order that no intent tells of */
    } else if (repeated) {
        if (is_doubtful(order, report)) self->distrust = 1;
    } else {
        if (is_answer(type) && order->sent_time_ns && event) gateway_hop(self, HOP_ACK, order->sent_time_ns, self->ingress_time_ns);
        order_apply(self, order, report);
    }
    if (is_answer(report->type) && report->user_ref > self->settle_below_ref) self->settle_below_ref = report->user_ref;
    int revised = order && (type == EXEC_BROKEN || type == EXEC_CORRECTED);
    if (!event) {
        if (revised) fill_revise(self, order, report, NULL);
        return 1;
    }
    exec_fill(self, event, order, report, sequence);
    if (revised) fill_revise(self, order, report, event);
    gateway_exec_commit(self, event);
    return 1;
}

/* ---- one message --------------------------------------------------------------------------------- */

static int message_take(gateway *self, const session_message *message, uint64_t now_ns) {
    venue_report report;
    intent_page *page = self->intents.page;
    switch (venue_decode_report(&self->config.terms, message->payload, message->length, &report)) {
    case VENUE_OK:
        if (message->sequence == 0) gateway_counters(self)[GATEWAY_MALFORMED]++; /* a report must be numbered */
        else if (!report_take(self, &report, message->sequence)) return 0;
        break;
    case VENUE_NEXT_REF:
        if (report.next_user_ref > page->next_user_ref) page->next_user_ref = report.next_user_ref;
        if (self->recovery == RECOVERY_QUERY) {
            self->recovery = RECOVERY_SETTLE;
            self->settle_below_ref = UINT64_MAX; /* until the first order of this connection */
        }
        break;
    case VENUE_UNINTERESTING: break;
    default:
        gateway_counters(self)[GATEWAY_MALFORMED]++;
        self->distrust = 1; /* it may have been a fill */
        break;
    }
    gateway_counters(self)[GATEWAY_MESSAGES_IN]++;
    self->recovery_time_ns = now_ns;
    if (message->sequence >= self->published_sequence) {
        self->published_sequence = message->sequence + 1;
        __atomic_store_n(&page->next_expected_sequence, self->published_sequence, __ATOMIC_RELEASE); /* partner: the next process */
    }
    return 1;
}

/* ---- cancels on the gateway's own account ---------------------------------------------------------- */

void gateway_sweep_start(gateway *self, int all) {
    self->sweep = 1;
    self->sweep_all |= (uint32_t)all;
    self->sweep_next = self->first_open;
}

static int wants_cancel(const gateway *self, const gateway_order *order) {
    if (order->state == GATEWAY_ORDER_DEAD || order->flags & GATEWAY_ORDER_DISCARDED) return 0;
    return self->sweep_all || order->state == GATEWAY_ORDER_UNKNOWN || order->flags & GATEWAY_ORDER_CANCEL_WANTED;
}

static int cancel_queue(gateway *self, const gateway_order *order) {
    uint8_t message[FRAME_BYTES_MAX], frame[FRAME_BYTES_MAX];
    uint32_t length = venue_encode_cancel(&self->config.terms, order->user_ref, message, sizeof message);
    length = venue_frame(message, length, frame, sizeof frame);
    if (!session_queue(&self->session, frame, length)) return 0;
    gateway_counters(self)[GATEWAY_FRAMES_OUT]++;
    return 1;
}

/* A batch of cancels. They are no intents: a repeated cancel does no harm, and none may be lost. */
static void sweep(gateway *self) {
    if (!self->sweep) return;
    uint32_t queued = 0;
    while (self->sweep_next < self->order_count) {
        gateway_order *order = &self->orders[self->sweep_next];
        if (wants_cancel(self, order)) {
            if (queued == SWEEP_BATCH || !cancel_queue(self, order)) return;
            order->flags |= GATEWAY_ORDER_CANCEL_WANTED; /* until the venue has answered, over reconnections too */
            queued++;
        }
        self->sweep_next++;
    }
    self->sweep = 0;
    self->sweep_all = 0;
}

/* ---- settling ------------------------------------------------------------------------------------ */

/* Is the venue known to have passed over this order without a word, or never to have had it? */
static int is_settled(const gateway *self, const gateway_order *order) {
    if (order->flags & GATEWAY_ORDER_DISCARDED) return order->state != GATEWAY_ORDER_DEAD;
    int doubtful = order->state == GATEWAY_ORDER_UNKNOWN || order->flags & GATEWAY_ORDER_STUCK;
    return doubtful && order->state != GATEWAY_ORDER_DEAD && order->user_ref < self->settle_below_ref;
}

static int order_settle(gateway *self, gateway_order *order) {
    int type = order->type == CMD_REPLACE ? EXEC_REPLACE_REJECTED : EXEC_CANCELED;
    exec_event *event = gateway_exec_claim(self, type, order);
    if (!event) return 0;
    event->quantity_lots = order->leaves_lots;
    event->leaves_lots = 0;
    event->price_ticks = self->intents.records[order->record].price_ticks;
    if (order->target) event->target_order_id = self->orders[order->target - 1].order_id;
    gateway_exec_commit(self, event);
    gateway_order_set(self, order, GATEWAY_ORDER_DEAD);
    order->flags |= GATEWAY_ORDER_SETTLED_HERE;
    intent_settle(&self->intents, order->record);
    gateway_counters(self)[GATEWAY_SETTLED]++;
    return 1;
}

/* The venue deals with a session's messages in order: once it has answered for a later number, an
 * earlier one that it passed over in silence can no longer come to life. */
static int settle(gateway *self) {
    if (self->unknown_count + self->stuck_count == 0) return 1;
    for (uint32_t i = self->first_open; i < self->order_count; i++)
        if (is_settled(self, &self->orders[i]) && !order_settle(self, &self->orders[i])) return 0;
    return 1;
}

/* After the replay: an order without an answer is unknown, and counts at worst case. One that a
 * process before had settled is dead. 0 when there was no room to say so. */
static int orders_doubt(gateway *self) {
    for (uint32_t i = self->first_open; i < self->order_count; i++) {
        gateway_order *order = &self->orders[i];
        if (order->state != GATEWAY_ORDER_SENT) continue;
        if (self->intents.records[order->record].state == INTENT_SETTLED) {
            gateway_order_set(self, order, GATEWAY_ORDER_DEAD);
            order->flags |= GATEWAY_ORDER_SETTLED_HERE;
            continue;
        }
        exec_event *event = gateway_exec_claim(self, EXEC_UNKNOWN, order);
        if (!event) return 0;
        event->quantity_lots = order->leaves_lots;
        gateway_exec_commit(self, event);
        gateway_order_set(self, order, GATEWAY_ORDER_UNKNOWN);
        gateway_counters(self)[GATEWAY_UNKNOWN]++;
    }
    return 1;
}

/* ---- recovery ------------------------------------------------------------------------------------ */

static void recovery_step_to(gateway *self, int recovery, uint64_t now_ns) {
    self->recovery = (uint32_t)recovery;
    self->recovery_time_ns = now_ns;
    self->recovery_heartbeats = self->session.heartbeats_heard;
}

/* The venue had nothing more to say: a heartbeat, or silence for as long as configured. */
static int quiet(const gateway *self, uint64_t now_ns) {
    if (!self->session.starved) return 0;
    return self->session.heartbeats_heard != self->recovery_heartbeats || now_ns >= self->recovery_time_ns + self->config.quiet_ns;
}

static void query_send(gateway *self, uint64_t now_ns) {
    uint8_t message[FRAME_BYTES_MAX], frame[FRAME_BYTES_MAX];
    uint32_t length = venue_encode_query(&self->config.terms, message, sizeof message);
    if (length == 0) { /* OUCH 4.2: what is unknown stays so until a later order is answered */
        recovery_step_to(self, RECOVERY_SETTLE, now_ns);
        return;
    }
    length = venue_frame(message, length, frame, sizeof frame);
    if (session_queue(&self->session, frame, length)) recovery_step_to(self, RECOVERY_QUERY, now_ns);
}

static int session_announce_up(gateway *self) {
    exec_event *event = gateway_exec_claim(self, EXEC_SESSION_UP, NULL);
    if (!event) return 0;
    event->venue_ref = self->intents.page->next_user_ref;
    _Static_assert(sizeof self->session.name == sizeof event->match_id + sizeof event->target_order_id, "the name fills two words");
    memcpy(&event->match_id, self->session.name, sizeof event->match_id);
    memcpy(&event->target_order_id, self->session.name + sizeof event->match_id, sizeof event->target_order_id);
    gateway_exec_commit(self, event);
    self->announced_up = 1;
    return 1;
}

static void recovery_finish(gateway *self, uint64_t now_ns) {
    if (self->unknown_count && !quiet(self, now_ns)) return;
    if (!settle(self)) return;
    self->settle_below_ref = 0;
    if (!session_announce_up(self)) return;
    session_raise(&self->session);
    self->recovery = RECOVERY_NONE;
    self->intents.page->adopts = 0;
    if (self->cancels_waiting) gateway_sweep_start(self, 0);
    self->cancels_waiting = 0;
}

static void recover(gateway *self, const turn_plan *plan) {
    uint64_t now_ns = plan->now_ns;
    switch (self->recovery) {
    case RECOVERY_NONE:
        memcpy(self->intents.page->session, self->session.name, 10);
        recovery_step_to(self, RECOVERY_REPLAY, now_ns);
        break;
    case RECOVERY_REPLAY:
        if (!quiet(self, now_ns) || !orders_doubt(self)) break;
        gateway_sweep_start(self, plan->killed);
        self->cancels_waiting = 0;
        recovery_step_to(self, RECOVERY_CANCEL, now_ns);
        break;
    case RECOVERY_CANCEL:
        sweep(self);
        if (!self->sweep) query_send(self, now_ns);
        break;
    case RECOVERY_QUERY:
        if (now_ns >= self->recovery_time_ns + self->config.query_timeout_ns) recovery_step_to(self, RECOVERY_SETTLE, now_ns);
        break;
    case RECOVERY_SETTLE: recovery_finish(self, now_ns); break;
    default: break;
    }
}

/* ---- the session's share of a turn ------------------------------------------------------------------ */

/* A session that is down is said to be so before anything else happens to it. */
static int announce_down(gateway *self) {
    if (!self->announce_down) return 1;
    exec_event *event = gateway_exec_claim(self, EXEC_SESSION_DOWN, NULL);
    if (!event) return 0;
    event->reason = (uint16_t)self->session.reason;
    gateway_exec_commit(self, event);
    self->announce_down = 0;
    self->announced_up = 0;
    return 1;
}

static void messages_drain(gateway *self, uint64_t now_ns) {
    session_message message;
    while (session_next(&self->session, now_ns, &message)) {
        if (!message_take(self, &message, now_ns)) return;
        session_consume(&self->session, &message);
    }
}

static void receive(gateway *self, uint64_t now_ns) {
    if (now_ns >= self->receive_time_ns + self->config.receive_interval_ns) {
        self->receive_time_ns = now_ns;
        if (session_receive(&self->session, now_ns)) self->ingress_time_ns = clock_read(self->stage.clock);
    }
    messages_drain(self, now_ns);
}

void gateway_serve(gateway *self, const turn_plan *plan) {
    uint64_t now_ns = plan->now_ns;
    session *line = &self->session;
    if (announce_down(self)) {
        session_tick(line, now_ns, line->next_sequence);
        if (line->state == SESSION_UP) {
            sweep(self);
            settle(self);
        }
        session_flush(line, now_ns);
        receive(self, now_ns);
        if (line->state == SESSION_RECOVERING) recover(self, plan);
    }
    if (line->state == SESSION_RECOVERING || line->state == SESSION_UP) return;
    self->recovery = RECOVERY_NONE;
    self->settle_below_ref = 0; /* what the last connection proved is not carried into the next */
    self->sweep = self->sweep_all = 0;
    if (self->announced_up) self->announce_down = 1;
}
