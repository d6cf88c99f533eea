/* ingress.c: frames into the ring `ingress`. See include/ingress.h. */
#include "ingress.h"
#include "raw_inline.h"
#include "wire_inline.h"
#include <stddef.h>
#include <string.h>

#define FRAME_MAGIC 0x4e495048u  /* "HPIN" */
#define ANSWER_MAGIC 0x41495048u /* "HPIA" */
#define PREFIX_SIZE 2u
#define SEQUENCE_MAX ((uint64_t)1 << 63)
#define STATES_MAX 4u /* slots that the states around one message may take */

_Static_assert(sizeof(ingress_frame) == 64 && offsetof(ingress_frame, session) == 24, "documented in docs/ingress.md");
_Static_assert(sizeof(ingress_norm) == RAW_BYTES_MAX && offsetof(ingress_norm, type) == 56, "one fits a raw slot");
_Static_assert(sizeof(ingress_answer) == 64 && offsetof(ingress_answer, next) == 32, "documented in docs/ingress.md");
_Static_assert((int)INGRESS_REFUSALS + (int)INGRESS_STATUSES <= (int)INGRESS_COUNTERS, "a counter for each reason");
_Static_assert((int)INGRESS_COUNTERS <= COUNTERS_MAX, "counters fit their page");
_Static_assert(INGRESS_FRAME_MAX >= 64 + INGRESS_MESSAGES_MAX * (PREFIX_SIZE + RAW_BYTES_MAX), "the longest frame");

void ingress_init(ingress *self) {
    for (uint32_t i = 0; i < self->sender_count; i++) {
        ingress_sender *sender = &self->sender[i];
        sender->session = sender->next = sender->snapshot_end = sender->epoch = 0;
        sender->state = SENDER_ABSENT;
    }
    self->epoch = self->missing = self->missing_sequence = 0;
    self->told = self->waiting = 0;
    self->broken = self->ring->next != 0;
}

/* ---- what the feed is told -------------------------------------------------------------------------- */

static void publish(ingress *self, const raw_stamp *stamp, const void *bytes, uint32_t length, uint32_t instrument) {
    raw_event *event = ring_claim_inline(self->ring);
    if (!event) return; /* the caller saw room */
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.cause_sequence = stamp->sequence;
    event->header.origin_time_ns = stamp->origin_time_ns;
    event->header.ingress_time_ns = event->header.publish_time_ns = stamp->ingress_time_ns;
    event->header.type = stamp->type;
    event->header.flags = stamp->flags;
    event->header.instrument = instrument;
    event->session_sequence = stamp->sequence;
    event->length = (uint16_t)length;
    event->total = length;
    memcpy(event->bytes, bytes, length);
    ring_commit_inline(self->ring);
}

/* A state, with the name of the sender that brought it about. `total`: messages missing. */
static void state_publish(ingress *self, uint8_t type, const char *name, uint64_t total, uint64_t sequence,
                          uint64_t now_ns) {
    raw_event *event = ring_claim_inline(self->ring);
    if (!event) return;
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.ingress_time_ns = event->header.publish_time_ns = now_ns;
    event->header.type = type;
    event->header.flags = FLAG_PACKET_END;
    event->header.instrument = NO_INSTRUMENT;
    event->header.cause_sequence = event->session_sequence = sequence;
    event->total = total > UINT32_MAX ? UINT32_MAX : (uint32_t)total;
    if (name) {
        event->length = sizeof self->sender[0].name;
        memcpy(event->bytes, name, event->length);
    }
    ring_commit_inline(self->ring);
}

static int stale(const ingress *self) {
    if (self->broken) return 1;
    for (uint32_t i = 0; i < self->sender_count; i++) {
        const ingress_sender *sender = &self->sender[i];
        if (sender->epoch != self->epoch) continue;
        if (sender->state == SENDER_SILENT || (sender->state == SENDER_LIVE && sender->snapshot_end)) return 1;
    }
    return 0;
}

/* One open gap stands for all reasons to doubt the books; it is told where the first begins and the last ends. */
static int settle(ingress *self, const char *name, uint64_t now_ns) {
    int now_stale = stale(self);
    self->counter[INGRESS_STALE] = (uint64_t)now_stale;
    if (now_stale == (int)self->told) return 1;
    if (!ring_room_inline(self->ring)) return 0;
    if (now_stale) state_publish(self, RAW_GAP, name, self->missing, self->missing_sequence, now_ns);
    else state_publish(self, RAW_GAP_CLOSED, name, 0, 0, now_ns);
    self->missing = self->missing_sequence = 0;
    self->told = (uint32_t)now_stale;
    return 1;
}

/* ---- is it a frame? ----------------------------------------------------------------------------------- */

static int is_zero(const void *bytes, uint32_t size) {
    const uint8_t *byte = bytes;
    for (uint32_t i = 0; i < size; i++)
        if (byte[i]) return 0;
    return 1;
}

/* The prefixes of a raw frame, each within it, and as many as it says. */
static int check_raw(const uint8_t *bytes, uint32_t size, uint32_t count) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (size - at < PREFIX_SIZE) return INGRESS_BAD_COUNT;
        uint32_t length = wire_load16(bytes + at);
        if (!length || length > RAW_BYTES_MAX) return INGRESS_BAD_MESSAGE;
        at += PREFIX_SIZE;
        if (size - at < length) return INGRESS_BAD_SIZE;
        at += length;
    }
    return at == size ? INGRESS_TAKEN : INGRESS_BAD_SIZE;
}

static int check_body(const ingress_frame *head, const uint8_t *bytes) {
    switch (head->kind) {
    case INGRESS_RAW:
        if (!head->count || head->count > INGRESS_MESSAGES_MAX) return INGRESS_BAD_COUNT;
        return check_raw(bytes, head->size, head->count);
    case INGRESS_NORM:
        if (!head->count || head->count > INGRESS_MESSAGES_MAX) return INGRESS_BAD_COUNT;
        return head->size == head->count * sizeof(ingress_norm) ? INGRESS_TAKEN : INGRESS_BAD_SIZE;
    case INGRESS_SESSION: return head->size ? INGRESS_BAD_SIZE : INGRESS_TAKEN;
    case INGRESS_HEARTBEAT:
    case INGRESS_END:
        if (head->count) return INGRESS_BAD_COUNT;
        return head->size ? INGRESS_BAD_SIZE : INGRESS_TAKEN;
    default: return INGRESS_BAD_KIND;
    }
}

static int check(const uint8_t *frame, uint64_t size, ingress_frame *head) {
    if (size < sizeof *head || size > INGRESS_FRAME_MAX) return INGRESS_BAD_SIZE;
    memcpy(head, frame, sizeof *head);
    if (head->magic != FRAME_MAGIC) return INGRESS_BAD_MAGIC;
    if (head->version != INGRESS_VERSION) return INGRESS_BAD_VERSION;
    if (head->size != size - sizeof *head) return INGRESS_BAD_SIZE;
    if (head->reserved0 || !is_zero(head->reserved, sizeof head->reserved)) return INGRESS_BAD_RESERVED;
    if (!head->session || !head->sequence || head->sequence >= SEQUENCE_MAX) return INGRESS_BAD_SEQUENCE;
    return check_body(head, frame + sizeof *head);
}

static ingress_sender *sender_find(ingress *self, const char *name) {
    for (uint32_t i = 0; i < self->sender_count; i++)
        if (memcmp(self->sender[i].name, name, sizeof self->sender[i].name) == 0) return &self->sender[i];
    return NULL;
}

/* ---- sessions ---------------------------------------------------------------------------------------------- */

/* The books are cleared for a sender that was part of the market already, and for whoever comes after a gap;
 * one that only joins finds its own part of them empty. */
static int session_begin(ingress *self, ingress_sender *sender, const ingress_frame *head, uint64_t now_ns) {
    if (head->session < sender->session) return INGRESS_SUPERSEDED;
    if (head->session == sender->session) return INGRESS_DUPLICATE;
    if (ring_room_inline(self->ring) < STATES_MAX) return INGRESS_FULL;
    if (self->broken || !self->epoch || sender->epoch == self->epoch) {
        self->epoch++;
        self->broken = self->told = 0; /* a session closes every gap */
        state_publish(self, RAW_SESSION, sender->name, 0, 1, now_ns);
    }
    sender->epoch = self->epoch;
    sender->session = head->session;
    sender->next = head->sequence;
    sender->snapshot_end = head->count ? head->sequence + head->count : 0;
    sender->state = SENDER_LIVE;
    self->counter[INGRESS_SESSIONS]++;
    settle(self, sender->name, now_ns);
    return INGRESS_TAKEN;
}

static int session_end(ingress *self, ingress_sender *sender, uint64_t now_ns) {
    if (ring_room_inline(self->ring) < STATES_MAX) return INGRESS_FULL;
    if (sender->snapshot_end) self->broken = 1; /* half a snapshot is no book */
    sender->state = SENDER_ABSENT;
    sender->snapshot_end = 0;
    state_publish(self, RAW_SESSION_END, sender->name, 0, sender->next, now_ns);
    settle(self, sender->name, now_ns);
    return INGRESS_TAKEN;
}

/* What was skipped is missing for good; what comes is passed on, and is stale. 0: there is no room to say so. */
static int gap_find(ingress *self, ingress_sender *sender, uint64_t sequence, uint64_t now_ns) {
    if (sequence <= sender->next) return 1;
    if (ring_room_inline(self->ring) < STATES_MAX) return 0;
    uint64_t missing = sequence - sender->next;
    self->counter[INGRESS_GAPS]++;
    self->counter[INGRESS_GAP_MESSAGES] += missing;
    if (!self->told) {
        self->missing = missing;
        self->missing_sequence = sender->next;
    }
    self->broken = 1;
    sender->next = sequence;
    settle(self, sender->name, now_ns);
    return 1;
}

/* ---- messages ------------------------------------------------------------------------------------------------ */

static uint32_t symbol_find(const ingress *self, const char *symbol) {
    uint32_t low = 0, high = self->symbol_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = memcmp(self->symbol[middle].symbol, symbol, sizeof self->symbol[middle].symbol);
        if (order == 0) return self->symbol[middle].instrument;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NO_INSTRUMENT;
}

static void norm_put(ingress *self, raw_stamp *stamp, const uint8_t *bytes) {
    ingress_norm norm;
    memcpy(&norm, bytes, sizeof norm);
    stamp->type = RAW_NORM;
    stamp->origin_time_ns = norm.origin_time_ns;
    publish(self, stamp, bytes, sizeof norm, symbol_find(self, norm.symbol));
}

/* A snapshot that ends within a frame ends there: the messages behind it are of whole books again. */
static void snapshot_move(ingress *self, ingress_sender *sender, uint64_t now_ns) {
    if (!sender->snapshot_end || sender->next < sender->snapshot_end) return;
    sender->snapshot_end = 0;
    settle(self, sender->name, now_ns);
}

static int messages_put(ingress *self, ingress_sender *sender, const ingress_frame *head, const uint8_t *bytes,
                        uint64_t now_ns) {
    uint64_t room = ring_room_inline(self->ring);
    uint32_t at = 0, put = 0;
    for (uint32_t i = 0; i < head->count; i++) {
        uint32_t length = sizeof(ingress_norm), skip = 0;
        if (head->kind == INGRESS_RAW) {
            length = wire_load16(bytes + at);
            skip = PREFIX_SIZE;
        }
        const uint8_t *message = bytes + at + skip;
        at += skip + length;
        if (head->sequence + i < sender->next) continue;
        if (room - put < STATES_MAX) {
            self->counter[INGRESS_MESSAGES] += put;
            return INGRESS_FULL;
        }
        raw_stamp stamp = {.sequence = head->sequence + i,
                           .ingress_time_ns = now_ns,
                           .flags = i + 1 == head->count ? FLAG_PACKET_END : 0,
                           .type = RAW_MESSAGE};
        if (head->kind == INGRESS_NORM) norm_put(self, &stamp, message);
        else publish(self, &stamp, message, length, NO_INSTRUMENT);
        put++;
        sender->next++;
        if (sender->snapshot_end) {
            snapshot_move(self, sender, now_ns);
            room = ring_room_inline(self->ring) + put;
        }
    }
    self->counter[INGRESS_MESSAGES] += put;
    return put ? INGRESS_TAKEN : INGRESS_DUPLICATE;
}

/* ---- one frame --------------------------------------------------------------------------------------------------- */

static int is_of_session(const ingress *self, const ingress_sender *sender, const ingress_frame *head) {
    if (head->session < sender->session) return INGRESS_SUPERSEDED;
    if (head->session > sender->session || sender->epoch != self->epoch) return INGRESS_SESSION_WANTED;
    if (sender->state == SENDER_ABSENT) return head->kind == INGRESS_END ? INGRESS_DUPLICATE : INGRESS_SESSION_WANTED;
    return INGRESS_TAKEN;
}

static void heard(ingress *self, ingress_sender *sender, uint64_t now_ns) {
    sender->heard_time_ns = now_ns;
    if (sender->state == SENDER_SILENT) {
        sender->state = SENDER_LIVE;
        settle(self, sender->name, now_ns);
    }
}

static int take_of(ingress *self, ingress_sender *sender, const ingress_frame *head, const uint8_t *bytes,
                   uint64_t now_ns) {
    if (head->kind == INGRESS_SESSION) {
        int begun = session_begin(self, sender, head, now_ns);
        if (begun == INGRESS_TAKEN) sender->heard_time_ns = now_ns;
        return begun;
    }
    int status = is_of_session(self, sender, head);
    if (status != INGRESS_TAKEN) return status;
    if (!self->waiting && head->sequence < sender->next) {
        uint64_t before = sender->next - head->sequence;
        self->counter[INGRESS_DUPLICATES] += before < head->count ? before : head->count;
    }
    if (!gap_find(self, sender, head->sequence, now_ns)) return INGRESS_FULL;
    heard(self, sender, now_ns);
    if (head->kind == INGRESS_END) status = session_end(self, sender, now_ns);
    else if (head->count) status = messages_put(self, sender, head, bytes, now_ns);
    return status == INGRESS_TAKEN && self->broken ? INGRESS_GAP : status;
}

static void senders_count(ingress *self) {
    uint64_t live = 0;
    for (uint32_t i = 0; i < self->sender_count; i++) live += self->sender[i].state == SENDER_LIVE;
    self->counter[INGRESS_SENDERS_LIVE] = live;
}

static void answer_write(ingress *self, const ingress_frame *head, const ingress_sender *sender, int status,
                         ingress_answer *answer) {
    memset(answer, 0, sizeof *answer);
    answer->magic = ANSWER_MAGIC;
    answer->version = INGRESS_VERSION;
    answer->status = (uint8_t)status;
    memcpy(answer->sender, head->sender, sizeof answer->sender);
    answer->session = head->session;
    answer->next = sender ? sender->next : 0;
    answer->credit = ring_room_inline(self->ring);
}

int ingress_take(ingress *self, const uint8_t *frame, uint64_t size, uint64_t now_ns, ingress_answer *answer) {
    ingress_frame head;
    memset(&head, 0, sizeof head);
    ingress_sender *sender = NULL;
    int status = check(frame, size, &head);
    if (status == INGRESS_TAKEN) {
        sender = sender_find(self, head.sender);
        status = sender ? take_of(self, sender, &head, frame + sizeof head, now_ns) : INGRESS_UNKNOWN_SENDER;
    }
    if (status == INGRESS_FULL) {
        if (!self->waiting) self->counter[INGRESS_FULL_WAITS]++;
        self->waiting = 1;
        return INGRESS_FULL;
    }
    self->waiting = 0;
    self->counter[INGRESS_FRAMES]++;
    if (status > INGRESS_GAP) self->counter[INGRESS_REFUSALS + status]++;
    senders_count(self);
    answer_write(self, &head, sender, status, answer);
    return status;
}

void ingress_tick(ingress *self, uint64_t now_ns) {
    const char *name = NULL;
    for (uint32_t i = 0; i < self->sender_count && self->silence_ns; i++) {
        ingress_sender *sender = &self->sender[i];
        if (sender->state != SENDER_LIVE || now_ns < sender->heard_time_ns + self->silence_ns) continue;
        sender->state = SENDER_SILENT;
        name = sender->name;
        self->counter[INGRESS_SILENCES]++;
    }
    settle(self, name, now_ns);
    senders_count(self);
}
