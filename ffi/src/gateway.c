/* gateway.c: the gateway's turns and its commands. See include/gateway.h.
 *
 * One command, in this order, so that a death between any two steps leaves a state that recovery
 * understands: checks | fields and frame into the intent record | kill word once more | stamp |
 * send buffer | order table | (of all) disk, where intents are durable | cmd cursor | turn records of the stages
 * before, where they are held | socket.
 */
#include "gateway.h"
#include "command_inline.h"
#include "control.h"
#include "digest.h"
#include "gateway_parts.h"
#include "prefetch_inline.h"
#include "soup.h"
#include <string.h>

#define ALIGN(size) (((size) + CACHE_LINE_SIZE - 1) & ~(uint64_t)(CACHE_LINE_SIZE - 1))
#define RECEIVE_BYTES_MIN 65539
#define SEND_BYTES_MIN 1024

_Static_assert(sizeof(gateway_order) == CACHE_LINE_SIZE, "one line for an order");

/* ---- memory -------------------------------------------------------------------------------------- */

static uint64_t index_cells(const gateway_config *config) {
    uint64_t cells = 16;
    while (cells < 2 * (uint64_t)config->orders_max) cells *= 2;
    return cells;
}

static int config_is_sound(const gateway_config *config) {
    const session_config *line = &config->session;
    if (config->terms.kind < VENUE_PAPER || config->terms.kind > VENUE_OUCH42) return 0;
    if (config->terms.price_scale == 0 || config->batch_max == 0) return 0;
    if (config->orders_max == 0 || config->orders_max > (1u << 28)) return 0;
    if (config->terms.kind == VENUE_PAPER) return 1;
    return line->send_bytes >= SEND_BYTES_MIN && line->receive_bytes >= RECEIVE_BYTES_MIN && line->backoff_ns_min > 0 &&
           line->heartbeat_ns > 0 && line->silence_ns > 0 && memchr(line->address, 0, sizeof line->address) != NULL;
}

/* As many fills as commands of a day; a venue in this process or a replay repeats none. */
static uint64_t fill_cells(const gateway_config *config) {
    return config->terms.kind == VENUE_PAPER || config->replay ? 0 : index_cells(config);
}

uint64_t gateway_bytes(const gateway_config *config) {
    if (!config_is_sound(config)) return 0;
    return ALIGN(sizeof(gateway)) + config->orders_max * sizeof(gateway_order) + ALIGN(index_cells(config) * sizeof(uint32_t)) +
           ALIGN(fill_cells(config) * sizeof(gateway_fill)) +
           ALIGN((uint64_t)config->session.send_bytes + config->session.receive_bytes);
}

gateway *gateway_init(void *memory, uint64_t bytes, const gateway_config *config) {
    uint64_t needed = gateway_bytes(config);
    if (needed == 0 || bytes < needed || (uintptr_t)memory % CACHE_LINE_SIZE != 0) return NULL;
    memset(memory, 0, needed); /* and so faulted in */
    gateway *self = memory;
    uint8_t *at = (uint8_t *)memory + ALIGN(sizeof *self);
    self->config = *config;
    self->orders = (gateway_order *)at;
    at += config->orders_max * sizeof(gateway_order);
    self->index_by_id = (uint32_t *)at;
    self->index_mask = index_cells(config) - 1;
    at += ALIGN(index_cells(config) * sizeof(uint32_t));
    self->fills = (gateway_fill *)at;
    self->fill_mask = fill_cells(config) ? fill_cells(config) - 1 : 0;
    at += ALIGN(fill_cells(config) * sizeof(gateway_fill));
    self->session.send = at;
    self->session.fd = -1;
    self->socket = config->terms.kind != VENUE_PAPER && !config->replay;
    return self;
}

/* ---- the tables ---------------------------------------------------------------------------------- */

/* A cell holds the record's number + 1, and in the bits above the index's own as much of the name's hash: a probe
 * that meets another's cell need not read its record, which lies as far away as any memory. */
static uint64_t name_hash(const command_id *id) { return digest_bytes(0, id, sizeof *id); }
static uint32_t cell_tag(const gateway *self, uint64_t hash) { return (uint32_t)(hash >> 32) & ~(uint32_t)self->index_mask; }
static uint32_t *index_home(const gateway *self, const command_id *id) { return &self->index_by_id[name_hash(id) & self->index_mask]; }

/* The record + 1 that the cell names. */
static uint32_t cell_record(const gateway *self, uint32_t cell) { return cell & (uint32_t)self->index_mask; }

/* The cell of the intent with this id, or the empty one where it belongs; at most half are used. */
static uint32_t *index_cell(const gateway *self, const command_id *id) {
    uint64_t hash = name_hash(id), at = hash & self->index_mask;
    uint32_t tag = cell_tag(self, hash);
    for (;; at = (at + 1) & self->index_mask) {
        uint32_t cell = self->index_by_id[at];
        if (!cell) break;
        if ((cell & ~(uint32_t)self->index_mask) != tag) continue;
        if (memcmp(&self->intents.records[cell_record(self, cell) - 1].id, id, sizeof *id) == 0) break;
    }
    return &self->index_by_id[at];
}

/* From the end, in doubling steps, and then by halves: what is asked for is most often recent. */
gateway_order *gateway_order_by_id(const gateway *self, uint64_t order_id) {
    uint32_t high = self->order_count, step = 1;
    while (step < high && self->orders[high - step].order_id > order_id) step *= 2;
    uint32_t low = step < high ? high - step : 0;
    high -= step / 2;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (self->orders[middle].order_id < order_id) low = middle + 1;
        else high = middle;
    }
    return low < self->order_count && self->orders[low].order_id == order_id ? &self->orders[low] : NULL;
}

gateway_order *gateway_order_by_ref(const gateway *self, uint32_t user_ref) {
    if (self->order_count == 0 || user_ref < self->orders[0].user_ref) return NULL;
    uint32_t guess = user_ref - self->orders[0].user_ref; /* refs have no holes unless the venue made one */
    if (guess < self->order_count && self->orders[guess].user_ref == user_ref) return &self->orders[guess];
    uint32_t low = 0, high = self->order_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (self->orders[middle].user_ref < user_ref) low = middle + 1;
        else high = middle;
    }
    return low < self->order_count && self->orders[low].user_ref == user_ref ? &self->orders[low] : NULL;
}

static void order_unstick(gateway *self, gateway_order *order) {
    if (!(order->flags & GATEWAY_ORDER_STUCK)) return;
    order->flags &= (uint8_t)~GATEWAY_ORDER_STUCK;
    self->stuck_count--;
}

/* A replacement on its way to a dead order: some venues answer it with silence. */
static void order_stick(gateway *self, uint32_t index_after) {
    if (index_after == 0) return;
    gateway_order *order = &self->orders[index_after - 1];
    if (order->state != GATEWAY_ORDER_SENT || order->flags & GATEWAY_ORDER_STUCK) return;
    order->flags |= GATEWAY_ORDER_STUCK;
    self->stuck_count++;
}

void gateway_order_set(gateway *self, gateway_order *order, int state) {
    uint32_t index = (uint32_t)(order - self->orders);
    if (order->state == state) return;
    if (order->state == GATEWAY_ORDER_UNKNOWN) self->unknown_count--;
    if (order->state == GATEWAY_ORDER_DEAD || order->state == GATEWAY_ORDER_NONE) self->open_count++;
    if (order->state == GATEWAY_ORDER_DEAD && index < self->first_open) self->first_open = index;
    order->state = (uint8_t)state;
    if (state != GATEWAY_ORDER_SENT) order_unstick(self, order);
    if (state == GATEWAY_ORDER_UNKNOWN) self->unknown_count++;
    if (state != GATEWAY_ORDER_DEAD) return;
    self->open_count--;
    order->leaves_lots = 0;
    order->flags &= (uint8_t)~GATEWAY_ORDER_CANCEL_WANTED;
    order_stick(self, order->successor);
    while (self->first_open < self->order_count && self->orders[self->first_open].state == GATEWAY_ORDER_DEAD)
        self->first_open++;
}

/* Enter a stored intent into the tables: at once, or when found after a death. */
gateway_order *gateway_table_enter(gateway *self, uint32_t record_index) {
    const intent_record *record = &self->intents.records[record_index];
    *index_cell(self, &record->id) = cell_tag(self, name_hash(&record->id)) | (record_index + 1);
    gateway_order *target = record->type == CMD_NEW ? NULL : gateway_order_by_id(self, record->target_order_id);
    if (record->type == CMD_CANCEL) {
        if (target) target->flags |= GATEWAY_ORDER_CANCEL_WANTED;
        return target;
    }
    gateway_order *order = &self->orders[self->order_count++];
    memset(order, 0, sizeof *order);
    order->order_id = record->order_id;
    order->user_ref = record->user_ref;
    order->record = record_index;
    order->instrument = record->instrument;
    order->leaves_lots = record->quantity_lots;
    order->type = record->type;
    order->side = record->side;
    gateway_order_set(self, order, GATEWAY_ORDER_SENT);
    if (record->type == CMD_REPLACE && target) {
        order->target = (uint32_t)(target - self->orders) + 1;
        target->successor = self->order_count;
        if (target->state == GATEWAY_ORDER_DEAD) order_stick(self, self->order_count);
    }
    return order;
}

/* ---- executions ---------------------------------------------------------------------------------- */

exec_event *gateway_exec_claim(gateway *self, int type, const gateway_order *order) {
    exec_event *event = ring_claim_inline(&self->exec);
    if (!event) {
        gateway_counters(self)[GATEWAY_EXEC_FULL]++;
        return NULL;
    }
    memset((uint8_t *)event + sizeof event->header.stamp, 0, sizeof *event - sizeof event->header.stamp);
    event->header.type = (uint8_t)type;
    event->header.flags = FLAG_OWN;
    event->header.instrument = NO_INSTRUMENT;
    event->venue = (uint8_t)self->config.terms.kind;
    if (!order) return event;
    event->header.instrument = order->instrument;
    if (order->side == SIDE_SELL) event->header.flags |= FLAG_SELL;
    event->order_id = order->order_id;
    event->venue_ref = order->venue_ref;
    event->side = order->side;
    event->leaves_lots = order->leaves_lots;
    event->cumulative_lots = order->cumulative_lots;
    return event;
}

void gateway_exec_commit(gateway *self, exec_event *event) {
    event->header.publish_time_ns = clock_read(self->stage.clock);
    ring_commit_inline(&self->exec);
}

/* ---- taking up after a death ----------------------------------------------------------------------- */

/* Paper: the newest report of an order, met first on the way back, says what was left of it. */
static void paper_order_look_back(gateway *self, const exec_event *event) {
    gateway_order *order = self->paper ? gateway_order_by_id(self, event->order_id) : NULL;
    if (!order || event->venue_ref == 0 || order->venue_ref != 0) return;
    order->venue_ref = event->venue_ref;
    order->leaves_lots = event->leaves_lots;
    order->cumulative_lots = event->cumulative_lots;
}

/* What the exec ring still tells of the process before: the venue's last message that was published,
 * the last command refused, and the orders settled by inference. */
static void exec_look_back(gateway *self) {
    uint64_t newest = self->exec.next;
    for (uint64_t back = 1; back <= newest && back <= self->exec.mask + 1; back++) {
        const uint64_t *slot = ring_slot(self->exec.slots, newest - back, self->exec.mask, self->exec.slot_shift);
        const exec_event *event = (const exec_event *)slot;
        if (event->header.stamp != newest - back + 1) break;
        if (event->session_sequence >= self->published_sequence) self->published_sequence = event->session_sequence + 1;
        if (event->header.cause_input == INPUT_CMD && event->header.cause_sequence >= self->resume_sequence)
            self->resume_sequence = event->header.cause_sequence + 1;
        if (event->header.cause_input == INPUT_ADJUST && event->header.cause_sequence >= self->adjusted_sequence)
            self->adjusted_sequence = event->header.cause_sequence + 1;
        paper_order_look_back(self, event);
        if (event->session_sequence == 0 && (event->header.type == EXEC_CANCELED || event->header.type == EXEC_REPLACE_REJECTED)) {
            gateway_order *order = gateway_order_by_id(self, event->order_id);
            if (order) intent_settle(&self->intents, order->record);
        }
    }
}

/* Whether the process before left the session said to be up: where the ring does not tell any more, it may have. A
 * process that died before its own login was over has said nothing to be taken back. */
static int session_was_up(const gateway *self) {
    uint64_t newest = self->exec.next;
    for (uint64_t back = 1; back <= newest && back <= self->exec.mask + 1; back++) {
        const uint64_t *slot = ring_slot(self->exec.slots, newest - back, self->exec.mask, self->exec.slot_shift);
        const exec_event *event = (const exec_event *)slot;
        if (event->header.stamp != newest - back + 1) break;
        if (event->header.type == EXEC_SESSION_UP || event->header.type == EXEC_SESSION_DOWN)
            return event->header.type == EXEC_SESSION_UP;
    }
    return newest > self->exec.mask; /* else all of it stands, and no login of this run was ever over */
}

static int records_are_sound(const gateway *self) {
    uint64_t last_id = 0;
    for (uint64_t i = 0; i < self->intents.next; i++) {
        const intent_record *record = &self->intents.records[i];
        if (record->type == CMD_CANCEL) continue;
        if (record->order_id <= last_id || record->frame_length > FRAME_BYTES_MAX) return 0;
        last_id = record->order_id;
    }
    return 1;
}

static void mode_publish(gateway *self) {
    int up = !self->socket || (self->session.state == SESSION_UP && self->announced_up);
    int broken = self->intents.page->promise == INTENT_PROMISE_BROKEN; /* over restarts, for people to end */
    uint32_t causes = 1u | (uint32_t)!up << 1 | (uint32_t)(self->distrust != 0) << 2 | (uint32_t)broken << 3;
    if (causes != self->causes_told) {
        control_cause(self->stage.control, CAUSE_SESSION, up ? MODE_NORMAL : MODE_CANCEL_ONLY);
        control_cause(self->stage.control, CAUSE_BELIEF, self->distrust ? MODE_CANCEL_ONLY : MODE_NORMAL);
        control_cause(self->stage.control, CAUSE_INTENTS, broken ? MODE_HALTED : MODE_NORMAL);
        self->causes_told = causes;
    }
    gateway_counters(self)[GATEWAY_SESSION_UP] = (uint64_t)up;
    gateway_counters(self)[GATEWAY_OPEN_ORDERS] = self->open_count;
    gateway_counters(self)[GATEWAY_PROMISE] = self->intents.page->promise;
    gateway_counters(self)[GATEWAY_ADOPTING] = self->intents.page->adopts;
}

int gateway_open(gateway *self, void *segment, uint64_t bytes) {
    if (intent_attach(&self->intents, segment, bytes) != INTENT_OK) return GATEWAY_BAD_INTENTS;
    if (self->intents.capacity > self->config.orders_max) return GATEWAY_TOO_SMALL;
    if (!records_are_sound(self)) return GATEWAY_BAD_INTENTS;
    for (uint64_t i = 0; i < self->intents.next; i++) gateway_table_enter(self, (uint32_t)i);
    intent_page *page = self->intents.page;
    if (page->next_user_ref == 0) page->next_user_ref = 1;
    if (page->next_expected_sequence == 0) page->next_expected_sequence = 1;
    self->published_sequence = page->next_expected_sequence;
    if (!self->config.replay) {
        self->fencing_epoch = intent_fence(&self->intents);
        exec_look_back(self);
    }
    session_init(&self->session, &self->config.session, self->session.send, gateway_counters(self));
    self->session.next_sequence = 1; /* all of it, to rebuild the orders; what was published stays silent */
    if (page->session[0]) memcpy(self->session.name, page->session, 10);
    if (self->paper) self->orphans = self->order_count;
    self->announce_down = self->socket && session_was_up(self);
    mode_publish(self);
    return GATEWAY_OK;
}

void gateway_make_durable(gateway *self, intent_record *records, int sync_fd, int page_fd) {
    intent_make_durable(&self->intents, records, sync_fd, page_fd);
    self->unsynced_order = self->order_count;
}

void gateway_close(gateway *self) {
    if (self->socket && self->stage.clock) session_logout(&self->session, clock_read(self->stage.clock));
}

/* ---- planning ------------------------------------------------------------------------------------ */

void gateway_plan(gateway *self, turn_plan *plan) {
    stage_plan(&self->stage, plan);
    memset(plan->input_sequence, 0, sizeof plan->input_sequence);
    /* Commands are counted first: each one's cause then stands in norm by the time norm is counted. */
    plan->input_sequence[GATEWAY_INPUT_CMD] = self->cmd.next + ring_available_inline(&self->cmd, self->config.batch_max);
    if (plan->input_sequence[GATEWAY_INPUT_CMD] != self->cmd.next) {
        const cmd_event *command = ring_front_inline(&self->cmd);
        __builtin_prefetch(index_home(self, &command->id), 1);
    }
    if (self->paper)
        plan->input_sequence[GATEWAY_INPUT_NORM] = self->norm.next + ring_available_inline(&self->norm, self->config.batch_max);
    plan->input_sequence[GATEWAY_INPUT_SESSION] = gateway_session_word(self);
    plan->input_sequence[GATEWAY_INPUT_USER_REF] = self->intents.page->next_user_ref;
    plan->limits_version = gateway_scope_version(self); /* after the commands were counted: none of them is newer */
}

/* The lines that the next order will write: after T1, when there is time. */
PREFETCHING void prefetch_next(const gateway *self) {
    if (self->intents.next == self->intents.capacity) return;
    prefetch_lines(&self->intents.records[self->intents.next], sizeof(intent_record));
    if (self->order_count < self->config.orders_max) __builtin_prefetch(&self->orders[self->order_count], 1);
}

/* The command's name is the intent's: its cell lies anywhere in an index that no near cache holds. */
void gateway_expect(const gateway *self, const signal_event *intent) {
    command_id id = command_name(intent);
    __builtin_prefetch(index_home(self, &id), 1);
    prefetch_next(self);
}

void gateway_expect_order(const gateway *self) {
    prefetch_next(self);
    __builtin_prefetch(self->intents.page, 1);
    prefetch_lines(gateway_counters((gateway *)(uintptr_t)self), 2 * CACHE_LINE_SIZE);
    prefetch_lines(ring_slot(self->exec.slots, self->exec.next, self->exec.mask, self->exec.slot_shift), 2 * CACHE_LINE_SIZE);
    if (self->socket) prefetch_lines(self->session.send + self->session.send_tail, 2 * CACHE_LINE_SIZE);
}

void gateway_forget(gateway *self) {
    for (uint64_t i = 0; i < self->intents.next; i++) *index_cell(self, &self->intents.records[i].id) = 0;
    for (uint64_t i = 0; i < self->intents.next; i++) self->intents.records[i].stamp = 0;
    self->intents.next = self->intents.page->count = 0;
    self->intents.page->next_user_ref = 1;
    self->order_count = self->open_count = self->first_open = 0;
}

/* ---- one command --------------------------------------------------------------------------------- */

/* A command is dealt with, or held for a later turn because something it needs has no room. */
enum command_outcome { COMMAND_DONE, COMMAND_HELD };

static int refuse(gateway *self, const cmd_event *command, uint64_t order_id, int reason) {
    if (!self->config.replay) {
        exec_event *event = gateway_exec_claim(self, EXEC_REFUSED, NULL);
        if (!event) return COMMAND_HELD;
        event->header.cause_sequence = self->cmd.next;
        event->header.cause_input = INPUT_CMD;
        event->header.origin_time_ns = command->header.origin_time_ns;
        event->header.ingress_time_ns = command->header.ingress_time_ns;
        event->header.instrument = command->header.instrument;
        if (command->side == SIDE_SELL) event->header.flags |= FLAG_SELL;
        event->order_id = order_id;
        event->target_order_id = order_id == command->order_id ? command->target_order_id : command->order_id;
        event->price_ticks = command->price_ticks;
        event->quantity_lots = command->quantity_lots;
        event->side = command->side;
        event->reason = (uint16_t)reason;
        gateway_exec_commit(self, event);
    }
    gateway_counters(self)[GATEWAY_REFUSED]++;
    self->declined++;
    stage_digest(&self->stage, order_id << 8 | (uint64_t)reason);
    return COMMAND_DONE;
}

static int reason_against(const gateway *self, const turn_plan *plan, const cmd_event *command) {
    if (digest_command(command) != command->digest) return REJECT_DIGEST;
    if (command->header.type == CMD_CANCEL) return REJECT_NONE;
    if (command->header.type != CMD_NEW && command->header.type != CMD_REPLACE) return REJECT_ENCODING;
    if (plan->killed || command->kill_epoch != plan->kill_epoch) return REJECT_KILLED;
    if (command->limits_version < plan->limits_version) return REJECT_LIMITS_VERSION; /* a scope was killed since */
    uint64_t word = plan->input_sequence[GATEWAY_INPUT_SESSION];
    if (!word) return REJECT_SESSION_DOWN;
    if (word > 1 && self->window_used >= word - 2) return REJECT_SEND_WINDOW;
    if (plan->mode >= MODE_CANCEL_ONLY || self->unconserved || self->intents.page->promise == INTENT_PROMISE_BROKEN) return REJECT_MODE;
    if (command->header.instrument >= self->config.instrument_count) return REJECT_INSTRUMENT;
    if (self->intents.next == self->intents.capacity) return REJECT_INTENTS_FULL;
    if (self->intents.page->next_user_ref > UINT32_MAX) return REJECT_INTENTS_FULL;
    return REJECT_NONE;
}

/* Fields and frame of a record whose stamp is still 0. 0 when the venue cannot express the command. */
static int record_fill(gateway *self, const turn_plan *plan, const cmd_event *command, intent_record *record, uint32_t user_ref,
                       uint32_t target_ref) {
    static const char NO_SYMBOL[16];
    const char *symbol = command->header.instrument < self->config.instrument_count
                             ? self->instruments[command->header.instrument].symbol
                             : NO_SYMBOL;
    memset(record->frame, 0, sizeof record->frame);
    uint8_t *message = record->frame + SOUP_HEADER_SIZE; /* in its place: framing it then copies nothing */
    uint32_t length = venue_encode_order(&self->config.terms, command, symbol, user_ref, target_ref, message,
                                         sizeof record->frame - SOUP_HEADER_SIZE);
    length = length ? venue_frame(message, length, record->frame, sizeof record->frame) : 0;
    if (length == 0) return 0;
    record->frame_length = (uint16_t)length;
    record->id = command->id;
    record->order_id = command->order_id;
    record->target_order_id = command->target_order_id;
    record->digest = command->digest;
    record->time_ns = plan->now_ns;
    record->price_ticks = command->price_ticks;
    record->quantity_lots = command->quantity_lots;
    record->instrument = command->header.instrument;
    record->user_ref = user_ref;
    record->type = command->header.type;
    record->side = command->side;
    record->state = INTENT_STORED;
    record->time_in_force = command->time_in_force;
    return 1;
}

/* A kill since the turn was planned: the command waits for the next turn, whose plan knows of it. */
static int killed_since(const gateway *self, const turn_plan *plan) {
    if (self->config.replay) return 0;
    uint64_t epoch = __atomic_load_n(&self->stage.control->kill_epoch, __ATOMIC_ACQUIRE); /* partner: any killer's atomic add */
    return (uint32_t)epoch != plan->kill_epoch;
}

static void hops_record(gateway *self, const cmd_event *command, uint64_t sent_time_ns) {
    uint64_t ingress = command->header.ingress_time_ns;
    uint64_t signal = ingress + command->feed_ns + command->signal_ns;
    gateway_hop(self, HOP_ORDER_FEED, 0, command->feed_ns);
    gateway_hop(self, HOP_ORDER_SIGNAL, 0, command->signal_ns);
    gateway_hop(self, HOP_ORDER_RISK, signal, command->header.publish_time_ns);
    gateway_hop(self, HOP_ORDER_GATEWAY, command->header.publish_time_ns, sent_time_ns);
    gateway_hop(self, HOP_ORDER_PATH, ingress, sent_time_ns);
}

/* The record is whole: stamp it, give its frame to the session, and enter it in the tables. */
static void record_store(gateway *self, const cmd_event *command, intent_record *record, uint32_t target_ref) {
    uint32_t index = (uint32_t)self->intents.next;
    intent_commit(&self->intents);
    self->left++;
    if (record->type != CMD_CANCEL) self->window_used++;
    int up = !self->socket || self->session.state == SESSION_UP;
    if (self->socket && up) {
        session_queue(&self->session, record->frame, record->frame_length);
        if (record->type != CMD_CANCEL) {
            self->session.order_bytes = self->session.queued_bytes;
            self->orders_unsent = 1;
        }
    }
    uint64_t sent_time_ns = clock_read(self->stage.clock); /* T1 */
    gateway_order *order = gateway_table_enter(self, index);
    self->stage.digest = digest_bytes(self->stage.digest, record->frame, record->frame_length);
    if (up) {
        record->sent_time_ns = sent_time_ns;
        hops_record(self, command, sent_time_ns);
        gateway_counters(self)[GATEWAY_FRAMES_OUT]++;
    }
    if (record->type != CMD_CANCEL) order->sent_time_ns = sent_time_ns;
    gateway_conserve_frame(self, command, record, target_ref); /* after T1, and before a byte leaves */
    prefetch_next(self);
}

static int order_send(gateway *self, const turn_plan *plan, const cmd_event *command) {
    uint32_t target_ref = 0;
    if (self->order_count && command->order_id <= self->orders[self->order_count - 1].order_id)
        return refuse(self, command, gateway_order_by_id(self, command->order_id) ? 0 : command->order_id, REJECT_DUPLICATE);
    if (command->order_id == 0) return refuse(self, command, 0, REJECT_DUPLICATE);
    if (command->header.type == CMD_REPLACE) {
        const gateway_order *target = gateway_order_by_id(self, command->target_order_id);
        if (!target) return refuse(self, command, command->order_id, REJECT_UNKNOWN_ORDER);
        target_ref = target->user_ref;
    }
    if (self->socket && !session_room(&self->session, FRAME_BYTES_MAX)) return COMMAND_HELD;
    intent_record *record = intent_claim(&self->intents);
    uint32_t user_ref = (uint32_t)self->intents.page->next_user_ref;
    if (!record_fill(self, plan, command, record, user_ref, target_ref))
        return refuse(self, command, command->order_id, REJECT_ENCODING);
    if (killed_since(self, plan)) return COMMAND_HELD;
    if (self->paper && !gateway_paper_order(self, plan, command)) return COMMAND_HELD;
    record_store(self, command, record, target_ref);
    gateway_counters(self)[command->header.type == CMD_NEW ? GATEWAY_NEW_ORDERS : GATEWAY_REPLACES]++;
    return COMMAND_DONE;
}

/* Cancels pass in every mode. Without a session they are stored, and leave after the next login. */
static int cancel_send(gateway *self, const turn_plan *plan, const cmd_event *command) {
    gateway_order *target = gateway_order_by_id(self, command->target_order_id);
    if (!target) return refuse(self, command, command->order_id, REJECT_UNKNOWN_ORDER);
    int waits = self->socket && self->session.state != SESSION_UP;
    if (self->socket && !waits && !session_room(&self->session, FRAME_BYTES_MAX)) return COMMAND_HELD;
    intent_record *record = intent_claim(&self->intents);
    if (!record) { /* the day's file is full: the cancel leaves all the same */
        target->flags |= GATEWAY_ORDER_CANCEL_WANTED;
        gateway_sweep_start(self, 0);
        self->settled++;
    } else {
        if (!record_fill(self, plan, command, record, target->user_ref, 0))
            return refuse(self, command, command->order_id, REJECT_ENCODING);
        if (self->paper && !gateway_paper_order(self, plan, command)) return COMMAND_HELD;
        record_store(self, command, record, target->user_ref);
    }
    if (waits) self->cancels_waiting = 1;
    gateway_counters(self)[GATEWAY_CANCELS]++;
    return COMMAND_DONE;
}

static int command_take(gateway *self, const turn_plan *plan, const cmd_event *command) {
    int reason = reason_against(self, plan, command); /* while the index's line, asked for in planning, arrives */
    uint32_t known = cell_record(self, *index_cell(self, &command->id));
    if (known) {
        const intent_record *record = &self->intents.records[known - 1];
        gateway_counters(self)[GATEWAY_DUPLICATE_COMMANDS]++;
        /* The very same command, read again after a death: its frame may have left, so nothing is said. */
        if (record->order_id == command->order_id && record->digest == command->digest) {
            self->settled++;
            return COMMAND_DONE;
        }
        uint64_t order_id = gateway_order_by_id(self, command->order_id) ? 0 : command->order_id;
        return refuse(self, command, order_id, REJECT_DUPLICATE);
    }
    if (reason != REJECT_NONE) return refuse(self, command, command->order_id, reason);
    return command->header.type == CMD_CANCEL ? cancel_send(self, plan, command) : order_send(self, plan, command);
}

/* Intents on disk before a byte of their frames leaves, in one system call for all of the turn's. After a failure
 * what is queued is dropped with the connection: none of it was sent, and recovery finds it so. */
static void intents_sync(gateway *self, const turn_plan *plan) {
    intent_store *store = &self->intents;
    if (store->sync_fd < 0 || store->synced == store->next || store->page->promise == INTENT_PROMISE_BROKEN) return;
    gateway_counters(self)[GATEWAY_SYSTEM_CALLS]++;
    if (!intent_sync(store)) {
        gateway_counters(self)[GATEWAY_SYNC_FAILURES]++;
        if (self->socket) session_fail(&self->session, SESSION_NOT_DURABLE, plan->now_ns);
        return;
    }
    gateway_counters(self)[GATEWAY_SYNCS]++;
    uint64_t now_ns = clock_read(self->stage.clock);
    for (; self->unsynced_order < self->order_count; self->unsynced_order++) {
        const gateway_order *order = &self->orders[self->unsynced_order];
        if (order->sent_time_ns) gateway_hop(self, HOP_ORDER_SYNC, order->sent_time_ns, now_ns);
    }
}

static void commands_drain(gateway *self, const turn_plan *plan) {
    if (plan->input_sequence[GATEWAY_INPUT_USER_REF] > self->intents.page->next_user_ref)
        self->intents.page->next_user_ref = plan->input_sequence[GATEWAY_INPUT_USER_REF];
    self->window_used = 0;
    while (self->cmd.next < plan->input_sequence[GATEWAY_INPUT_CMD]) {
        const cmd_event *command = ring_front_inline(&self->cmd);
        if (!command) {
            self->stage.page->error = STAGE_ERROR_SEQUENCE;
            break;
        }
        if (self->cmd.next >= self->resume_sequence) {
            if (command_take(self, plan, command) == COMMAND_HELD) break;
            gateway_counters(self)[GATEWAY_COMMANDS]++;
            self->entered++;
        }
        self->cmd.next++;
    }
    gateway_conserve_turn(self);
    intents_sync(self, plan); /* a command that is read no more must be found in the file */
    ring_release_inline(&self->cmd);
}

/* ---- the turn ------------------------------------------------------------------------------------ */

/* The turns that made these orders, told before a byte of them leaves: after T1, so no order waits for it. */
static void records_release(const gateway *self) {
    for (int stage = 0; stage < STAGES_MAX; stage++)
        if (self->before[stage]) stage_record_held(self->before[stage]);
}

/* I10: one gateway at a time. The page's epoch moves on when another opens the intent file. */
static int fenced(gateway *self, const turn_plan *plan) {
    if (self->config.replay) return 0;
    uint64_t epoch = __atomic_load_n(&self->intents.page->fencing_epoch, __ATOMIC_ACQUIRE); /* partner: intent_fence */
    if (epoch == self->fencing_epoch) return 0;
    if (self->socket) session_fail(&self->session, SESSION_FENCED, plan->now_ns);
    self->stage.page->error = STAGE_ERROR_SESSION;
    return 1;
}

/* ---- adjustments --------------------------------------------------------------------------------- */

static int64_t saturated_difference(int64_t a, int64_t b) {
    int64_t difference;
    if (!__builtin_sub_overflow(a, b, &difference)) return difference;
    return a < b ? INT64_MIN : INT64_MAX;
}

static int adjustment_tells(const adjustment_event *adjustment) {
    if (adjustment->header.type == ADJUST_HOLD) return EXEC_HELD;
    return adjustment->header.type == ADJUST_RELEASE ? EXEC_RELEASED : EXEC_ADJUSTED;
}

/* What people say of a position takes its place among the executions here, so that all who fold them agree. A death
 * between the two rings shows as an event in exec, which exec_look_back found: it is told once. */
static void adjustments_drain(gateway *self) {
    uint64_t left = ring_available_inline(&self->adjust, self->config.batch_max);
    if (!left) return;
    for (; left; left--, self->adjust.next++) {
        const adjustment_event *adjustment = ring_front_inline(&self->adjust);
        if (adjustment->part || self->adjust.next < self->adjusted_sequence) continue;
        exec_event *event = gateway_exec_claim(self, adjustment_tells(adjustment), NULL);
        if (!event) break;
        event->header.cause_sequence = self->adjust.next;
        event->header.cause_input = INPUT_ADJUST;
        event->header.origin_time_ns = adjustment->header.origin_time_ns;
        event->header.ingress_time_ns = adjustment->header.ingress_time_ns;
        event->header.instrument = adjustment->header.instrument;
        event->match_id = adjustment->id;
        int64_t lots = adjustment->quantity_lots;
        event->side = lots < 0 ? SIDE_SELL : SIDE_BUY;
        if (event->side == SIDE_SELL) event->header.flags |= FLAG_SELL;
        event->quantity_lots = lots < 0 ? saturated_difference(0, lots) : lots;
        event->venue_ref = (uint64_t)saturated_difference(adjustment->cash_micros, adjustment->cost_micros);
        gateway_exec_commit(self, event);
    }
    ring_release_inline(&self->adjust);
}

int gateway_turn(gateway *self, const turn_plan *plan) {
    if (fenced(self, plan)) return 0;
    uint64_t before = self->cmd.next + self->norm.next + self->exec.next + gateway_counters(self)[GATEWAY_MESSAGES_IN];
    /* Orders first: nobody should wait while a venue of paper follows the market. They take effect by their
     * own time, after every market event up to it, so the venue sees no difference. */
    int ordered = self->cmd.next < plan->input_sequence[GATEWAY_INPUT_CMD];
    if (ordered) {
        commands_drain(self, plan);
        records_release(self);
    }
    if (plan->killed) gateway_kill_begin(self, plan);
    if (plan->limits_version != self->scope_version) gateway_scope_begin(self, plan);
    if (self->paper) gateway_paper_market(self, plan);
    if (self->socket) gateway_serve(self, plan);
    if (self->orders_unsent) gateway_orders_sent(self);
    if (self->paper) gateway_paper_serve(self, plan);
    if (!ordered && self->adjust.cursor) adjustments_drain(self); /* people can wait for a turn without orders */
    if (plan->killed) gateway_kill_serve(self, plan);
    if (self->scope_waits) gateway_scope_serve(self, plan);
    if (!self->config.replay) mode_publish(self);
    if (self->cmd.next + self->norm.next + self->exec.next + gateway_counters(self)[GATEWAY_MESSAGES_IN] == before) return 0;
    turn_plan done = *plan; /* what was held back is not in the record: replay stops where this turn did */
    done.input_sequence[GATEWAY_INPUT_NORM] = self->norm.next;
    done.input_sequence[GATEWAY_INPUT_CMD] = self->cmd.next;
    stage_record(&self->stage, &done, &self->exec);
    return 1;
}
