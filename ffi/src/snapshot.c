/* snapshot.c: books from a snapshot server, joined to the live line. See include/snapshot.h. */
#include "snapshot.h"
#include "itch.h"
#include "raw_inline.h"
#include "wire_inline.h"

#define LENGTH_SIZE 2
#define SESSION_NAME_SIZE 10
#define EVENTS_PER_POLL 256
#define SNAPSHOT_END_TYPE 'G'

_Static_assert(FEED_SNAPSHOT_NO_ROOM - FEED_SNAPSHOT_UNREACHABLE == SNAPSHOT_NO_ROOM, "a counter for each failure");

ring_writer *snapshot_target(snapshot *self, ring_writer *raw) {
    return self->state <= SNAPSHOT_WAITING ? raw : &self->hold;
}

static void state_set(snapshot *self, enum snapshot_state state) {
    self->state = state;
    self->counter[FEED_SNAPSHOT_STATE] = state;
}

/* ---- attempts ------------------------------------------------------------------------------------ */

static void wait_begin(snapshot *self) { state_set(self, self->wanted ? SNAPSHOT_WAITING : SNAPSHOT_IDLE); }

static void drain_begin(snapshot *self, uint64_t join) {
    self->join = join;
    self->covering = join != 0;
    state_set(self, SNAPSHOT_DRAINING);
}

static void fail(snapshot *self, enum snapshot_failure reason, uint64_t now_ns) {
    self->counter[FEED_SNAPSHOT_FAILURES]++;
    self->counter[FEED_SNAPSHOT_UNREACHABLE + (uint32_t)reason]++;
    session_fail(&self->session, SESSION_LOGGED_OUT, now_ns);
    self->deadline_time_ns = now_ns + self->backoff_ns;
    self->backoff_ns = self->backoff_ns * 2 < self->backoff_ns_max ? self->backoff_ns * 2 : self->backoff_ns_max;
    drain_begin(self, 0);
}

/* All before `line->expected` went to raw; all from it on will be held. */
static void attempt_begin(snapshot *self, const line *line, uint64_t now_ns) {
    self->counter[FEED_SNAPSHOT_ATTEMPTS]++;
    self->system_calls = 0;
    memset(self->session_counter, 0, sizeof self->session_counter);
    session_init(&self->session, &self->config, self->buffers, self->session_counter);
    self->size = self->offset = self->count = self->sequence = 0;
    self->begun = 0;
    self->hold_first = line->expected;
    self->gap_told = line->gap_open;
    self->deadline_time_ns = now_ns + self->timeout_ns;
    state_set(self, SNAPSHOT_RECEIVING);
}

/* Does the line lack something for good? While it writes into raw, its counters tell; what it holds is judged
 * as it is let through. */
static void line_judge(snapshot *self, const line *line, uint64_t now_ns) {
    uint64_t sessions = self->counter[FEED_SESSIONS], gaps = self->counter[FEED_GAPS_LOST];
    int other_session = sessions != self->sessions_seen;
    if (self->state > SNAPSHOT_WAITING) {
        if (other_session && self->state <= SNAPSHOT_JOINING) fail(self, SNAPSHOT_OTHER_SESSION, now_ns);
        return;
    }
    if (other_session) {
        self->wanted = line->first_sequence > 1;
        self->backoff_ns = self->backoff_ns_min;
        self->deadline_time_ns = now_ns;
    } else if (gaps != self->gaps_seen) {
        if (!self->wanted) self->deadline_time_ns = now_ns;
        self->wanted = 1;
    }
    self->sessions_seen = sessions;
    self->gaps_seen = gaps;
    wait_begin(self);
}

/* ---- receiving ------------------------------------------------------------------------------------- */

static enum snapshot_failure failure_of(uint32_t session_reason) {
    switch (session_reason) {
    case SESSION_CONNECT_FAILED:
    case SESSION_CONNECT_TIMEOUT: return SNAPSHOT_UNREACHABLE;
    case SESSION_LOGIN_TIMEOUT:
    case SESSION_SILENT: return SNAPSHOT_SLOW;
    case SESSION_PEER_CLOSED:
    case SESSION_SOCKET_ERROR:
    case SESSION_ENDED: return SNAPSHOT_CUT;
    case SESSION_MALFORMED: return SNAPSHOT_MALFORMED;
    default: return SNAPSHOT_REFUSED;
    }
}

/* A snapshot says what is, never what becomes of it. */
static int belongs_in_snapshot(const uint8_t *payload, uint32_t length) {
    if (!length || length != itch_length(payload[0])) return 0;
    switch (payload[0]) {
    case 'E':
    case 'C':
    case 'X':
    case 'D':
    case 'U':
    case 'P':
    case 'Q':
    case 'B': return 0;
    default: return 1;
    }
}

/* SNAPSHOT_FAILURES when the message was taken; it may have been the last. */
static enum snapshot_failure message_take(snapshot *self, const session_message *message) {
    if (!message->sequence) return SNAPSHOT_FAILURES; /* unsequenced: nothing of ours */
    if (!belongs_in_snapshot(message->payload, message->length)) return SNAPSHOT_MALFORMED;
    if (message->payload[0] == SNAPSHOT_END_TYPE) {
        itch_message end;
        if (itch_decode(message->payload, message->length, &end) != ITCH_OK || !end.order_ref) return SNAPSHOT_MALFORMED;
        self->sequence = end.order_ref;
        return SNAPSHOT_FAILURES;
    }
    if (self->capacity - self->size < LENGTH_SIZE + message->length) return SNAPSHOT_NO_ROOM;
    wire_store16(self->bytes + self->size, (uint16_t)message->length);
    memcpy(self->bytes + self->size + LENGTH_SIZE, message->payload, message->length);
    self->size += LENGTH_SIZE + message->length;
    self->count++;
    return SNAPSHOT_FAILURES;
}

/* Both venues pad session names with spaces, one on the left and one on the right. */
static int same_session(const char *one, const char *other) {
    uint32_t a = 0, b = 0;
    while (a < SESSION_NAME_SIZE && one[a] == ' ') a++;
    while (b < SESSION_NAME_SIZE && other[b] == ' ') b++;
    for (; a < SESSION_NAME_SIZE && b < SESSION_NAME_SIZE; a++, b++)
        if (one[a] != other[b]) return 0;
    for (; a < SESSION_NAME_SIZE; a++)
        if (one[a] != ' ') return 0;
    for (; b < SESSION_NAME_SIZE; b++)
        if (other[b] != ' ') return 0;
    return 1;
}

static int hold_is_full(snapshot *self) { return ring_room_inline(&self->hold) < LINE_RAW_SLOTS_MIN; }

/* What was received by now, as far as one poll goes; what the session still holds comes with the next. */
static void messages_receive(snapshot *self, const line *line, uint64_t now_ns) {
    session_message message;
    session_tick(&self->session, now_ns, 1);
    session_flush(&self->session, now_ns);
    session_receive(&self->session, now_ns);
    for (uint32_t i = 0; i < EVENTS_PER_POLL; i++) {
        if (self->sequence || !session_next(&self->session, now_ns, &message)) break;
        enum snapshot_failure failure = message_take(self, &message);
        if (failure != SNAPSHOT_FAILURES) {
            fail(self, failure, now_ns);
            return;
        }
        session_consume(&self->session, &message);
    }
    if (self->sequence) {
        int ours = same_session(self->session.name, line->session);
        session_logout(&self->session, now_ns);
        if (ours) state_set(self, SNAPSHOT_JOINING);
        else fail(self, SNAPSHOT_OTHER_SESSION, now_ns);
        return;
    }
    if (self->session.fd < 0 && self->session.reason != SESSION_STARTED) fail(self, failure_of(self->session.reason), now_ns);
    else if (now_ns >= self->deadline_time_ns) fail(self, SNAPSHOT_SLOW, now_ns);
    else if (hold_is_full(self)) fail(self, SNAPSHOT_NO_ROOM, now_ns);
}

static void system_calls_count(snapshot *self) {
    uint64_t calls = self->session_counter[GATEWAY_SYSTEM_CALLS];
    self->counter[FEED_SYSTEM_CALLS] += calls - self->system_calls;
    self->system_calls = calls;
}

/* ---- joining --------------------------------------------------------------------------------------- */

static void join_check(snapshot *self, line *line, uint64_t now_ns) {
    if (self->sequence < self->hold_first) {
        fail(self, SNAPSHOT_WRONG_SEQUENCE, now_ns);
    } else if (line->highest >= self->sequence) {
        line_skip(line, &self->hold, self->sequence, now_ns); /* what the line lacks of it, it need not ask for */
        state_set(self, SNAPSHOT_PUBLISHING);
    } else if (now_ns >= self->deadline_time_ns) {
        fail(self, SNAPSHOT_WRONG_SEQUENCE, now_ns);
    } else if (hold_is_full(self)) {
        fail(self, SNAPSHOT_NO_ROOM, now_ns);
    }
}

/* What is held is as old as the attempt took: a gap, as long as any of it is still to come. */
static void age_tell(snapshot *self, ring_writer *raw, uint64_t sequence, uint64_t now_ns) {
    if (self->gap_told) return;
    raw_publish_state(raw, RAW_GAP, sequence, 0, now_ns);
    self->gap_told = 1;
}

static void messages_publish(snapshot *self, const line *line, ring_writer *raw, uint64_t now_ns) {
    uint64_t room = ring_room_inline(raw);
    if (room > EVENTS_PER_POLL) room = EVENTS_PER_POLL;
    if (!self->begun && room) {
        raw_publish_state(raw, RAW_SNAPSHOT_BEGIN, self->sequence, (uint32_t)self->count, now_ns);
        self->begun = 1;
        room--;
    }
    for (; room && self->offset < self->size; room--) {
        const uint8_t *message = self->bytes + self->offset;
        uint32_t length = wire_load16(message);
        raw_stamp stamp = {.sequence = self->sequence - 1, /* what it brings the books up to */
                           .ingress_time_ns = now_ns,
                           .flags = FLAG_RECOVERED | FLAG_PACKET_END,
                           .type = RAW_MESSAGE};
        raw_publish(raw, &stamp, message + LENGTH_SIZE, length);
        self->offset += LENGTH_SIZE + length;
    }
    if (room < 2 || self->offset < self->size) return;
    raw_publish_state(raw, RAW_SNAPSHOT_END, self->sequence, (uint32_t)self->count, now_ns);
    self->gap_told = 0;
    if (line->expected > self->sequence) age_tell(self, raw, self->sequence, now_ns); /* before anybody acts on the books */
    self->wanted = 0;
    self->backoff_ns = self->backoff_ns_min;
    self->deadline_time_ns = now_ns + self->backoff_ns; /* should what was held tell of another loss */
    drain_begin(self, self->sequence);
}

/* ---- what was held --------------------------------------------------------------------------------- */

static void event_pass(ring_writer *raw, const raw_event *held) {
    raw_event *event = ring_claim_inline(raw);
    if (!event) return;
    memcpy((uint8_t *)event + sizeof(uint64_t), (const uint8_t *)held + sizeof(uint64_t), sizeof *event - sizeof(uint64_t));
    ring_commit_inline(raw);
}

/* A loss counts as far as it reaches behind the snapshot. */
static void loss_pass(snapshot *self, ring_writer *raw, const raw_event *held) {
    uint64_t end = held->session_sequence + held->total;
    if (self->covering && end <= self->join) return;
    raw_event loss = *held;
    if (self->covering && loss.session_sequence < self->join) {
        loss.total = (uint32_t)(end - self->join);
        loss.session_sequence = loss.header.cause_sequence = self->join;
    }
    event_pass(raw, &loss);
    self->gap_told = 0;
    self->wanted = 1;
}

/* One held event; 1 when it is to pass. */
static int held_judge(snapshot *self, ring_writer *raw, const raw_event *held, uint64_t now_ns) {
    switch (held->header.type) {
    case RAW_MESSAGE:
        if (self->covering && held->session_sequence < self->join) {
            if (!held->offset) self->counter[FEED_SNAPSHOT_COVERED]++;
            return 0;
        }
        self->covering = 0;
        age_tell(self, raw, held->session_sequence, now_ns);
        return 1;
    case RAW_GAP:
        if (self->covering) return 0;
        self->gap_told = 1;
        return 1;
    case RAW_GAP_CLOSED: return 0; /* told when the last of what is held has passed */
    case RAW_SESSION: /* numbers begin anew, and with them the feed's gaps */
        self->covering = self->gap_told = 0;
        self->wanted = held->session_sequence > 1;
        return 1;
    default: return 1;
    }
}

/* Nothing is held any more: the feed's gap is the line's again. */
static void drain_end(snapshot *self, const line *line, ring_writer *raw, uint64_t now_ns) {
    if (line->gap_open != self->gap_told)
        raw_publish_state(raw, line->gap_open ? RAW_GAP : RAW_GAP_CLOSED, line->expected, 0, now_ns);
    self->gap_told = line->gap_open;
    self->gaps_seen = self->counter[FEED_GAPS_LOST];
    self->sessions_seen = self->counter[FEED_SESSIONS];
    wait_begin(self);
}

static void held_drain(snapshot *self, const line *line, ring_writer *raw, uint64_t now_ns) {
    for (uint32_t i = 0; i < EVENTS_PER_POLL; i++) {
        if (ring_room_inline(raw) < 2) break; /* for its age, and itself */
        const raw_event *held = ring_front_inline(&self->hold_out);
        if (!held) {
            drain_end(self, line, raw, now_ns);
            break;
        }
        if (held->header.type == RAW_GAP_LOST) loss_pass(self, raw, held);
        else if (held_judge(self, raw, held, now_ns)) event_pass(raw, held);
        self->hold_out.next++;
    }
    ring_release_inline(&self->hold_out);
}

void snapshot_poll(snapshot *self, line *line, ring_writer *raw, uint64_t now_ns) {
    line_judge(self, line, now_ns);
    switch (self->state) {
    case SNAPSHOT_WAITING:
        if (now_ns >= self->deadline_time_ns) attempt_begin(self, line, now_ns);
        break;
    case SNAPSHOT_RECEIVING:
        messages_receive(self, line, now_ns);
        system_calls_count(self);
        break;
    case SNAPSHOT_JOINING: join_check(self, line, now_ns); break;
    case SNAPSHOT_PUBLISHING: messages_publish(self, line, raw, now_ns); break;
    case SNAPSHOT_DRAINING: held_drain(self, line, raw, now_ns); break;
    default: break;
    }
    self->counter[FEED_SNAPSHOT_HELD] = self->hold.next - self->hold_out.next;
}

void snapshot_close(snapshot *self, uint64_t now_ns) {
    if (self->session.fd > 0) session_logout(&self->session, now_ns);
}
