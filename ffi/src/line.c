/* line.c: packets of two lines and of a retransmission server into one sequence. See include/line.h. */
#include "line.h"
#include "line_parts.h"
#include "wire_inline.h"

static uint64_t packet_end(const line_packet *packet) { return packet->sequence + packet->count; }

static void venue_time_follow(line *line, const uint8_t *bytes, uint32_t length) {
    uint64_t time_ns = raw_venue_time(line->midnight_ns, bytes, length);
    if (time_ns) line->origin_time_ns = time_ns;
}

/* Publish the messages of one packet from `expected` on; the rest of it is old. */
uint32_t line_publish(line *line, ring_writer *raw, const line_packet *packet, uint16_t flags) {
    mold_walker walker;
    uint64_t sequence = packet->sequence;
    uint32_t published = 0;
    mold_walk(&walker, packet->bytes, packet->size, packet->count);
    while (mold_next(&walker)) {
        if (sequence == line->expected) {
            if (line->venue_time) venue_time_follow(line, walker.bytes, walker.length);
            raw_stamp stamp = {.sequence = sequence,
                               .origin_time_ns = line->origin_time_ns,
                               .ingress_time_ns = packet->ingress_time_ns,
                               .flags = (uint16_t)(flags | (walker.remaining ? 0 : FLAG_PACKET_END)),
                               .type = RAW_MESSAGE};
            raw_publish(raw, &stamp, walker.bytes, walker.length);
            line->expected++;
            published++;
        }
        sequence++;
    }
    if (line->expected > line->highest) line->highest = line->expected;
    line->counter[published ? FEED_PACKETS_USED : FEED_PACKETS_DUPLICATE]++;
    line->counter[FEED_MESSAGES_TAKEN] += published;
    line->counter[FEED_DUPLICATES] += packet->count - published;
    return published;
}

/* ---- the two lines ----------------------------------------------------------------------------- */

enum side_counter { SIDE_PACKETS, SIDE_FIRST, SIDE_LATE, SIDE_LOST, SIDE_SILENT, SIDE_COUNTERS };

static uint64_t *side_counter_of(line *line, uint32_t source, enum side_counter which) {
    return &line->counter[FEED_A_PACKETS + source * SIDE_COUNTERS + which];
}

static void side_count(line *line, const line_packet *packet, enum side_counter which) {
    if (packet->source != LINE_ANSWER) *side_counter_of(line, packet->source, which) += 1;
}

static void side_hear(line *line, ring_writer *raw, const line_packet *packet) {
    line_side *side = &line->side[packet->source];
    side->heard_time_ns = packet->ingress_time_ns;
    if (!side->silent) return;
    side->silent = 0;
    *side_counter_of(line, packet->source, SIDE_SILENT) = 0;
    line_state(line, raw, RAW_LINE_HEARD, packet->source, packet->ingress_time_ns);
}

/* 64 bits of all the bytes of a packet: for telling copies apart, not for keeping anybody out. */
static uint64_t packet_digest(const line_packet *packet) {
    uint64_t digest = packet->size, word = 0;
    uint32_t i = 0;
    for (; i + 8 <= packet->size; i += 8) {
        memcpy(&word, packet->bytes + i, 8);
        digest = (digest ^ word) * 0x9E3779B97F4A7C15u;
        digest ^= digest >> 29;
    }
    word = 0;
    memcpy(&word, packet->bytes + i, packet->size - i);
    digest = (digest ^ word) * 0x9E3779B97F4A7C15u;
    return digest ^ digest >> 32;
}

static line_seen *seen_of(line *line, uint64_t sequence) {
    return &line->seen[sequence * 0x9E3779B97F4A7C15u >> 52];
}

/* 1 when this line brings the packet for the first time. Copies on the two lines must be the same. */
static int packet_is_fresh(line *line, const line_packet *packet) {
    line_seen *seen = seen_of(line, packet->sequence);
    uint32_t bit = 1u << packet->source;
    uint64_t digest = line_sides(line) == 2 ? packet_digest(packet) : 0;
    if (seen->sequence != packet->sequence || seen->count != packet->count) {
        *seen = (line_seen){packet->sequence, digest, packet->count, bit};
        return 1;
    }
    if (seen->digest != digest) line->counter[FEED_DIVERGENCES]++;
    int fresh = !(seen->sides & bit);
    seen->sides |= bit;
    return fresh;
}

_Static_assert(LINE_SEEN_MAX == 1 << (64 - 52), "the top bits of the product are the place");

/* What the line has gone past is lost on it, until it comes after all. A heartbeat has no messages. */
static void side_follow(line *line, const line_packet *packet) {
    line_side *side = &line->side[packet->source];
    uint64_t *lost = side_counter_of(line, packet->source, SIDE_LOST);
    uint64_t end = packet_end(packet);
    if (packet->sequence == side->next && line_sides(line) == 1 && !line->gap_end) {
        side->next = end; /* nearly always */
        return;
    }
    int fresh = packet->count && packet_is_fresh(line, packet);
    if (!side->next) side->next = packet->sequence;
    if (packet->sequence > side->next) *lost += packet->sequence - side->next;
    else if (fresh && packet->sequence < side->next && (end > line->expected || line_sides(line) == 2)) {
        uint64_t late = (end < side->next ? end : side->next) - packet->sequence;
        *lost -= late < *lost ? late : *lost;
    }
    if (end > side->next) side->next = end;
}

/* ---- sessions ---------------------------------------------------------------------------------- */

/* What was missed of a session cannot be asked for, or comes from a snapshot. */
static int starts_late(const line *line) { return line->request_socket[0] < 0 || line->from_snapshot; }

/* Where a session is taken up: at its start when what was missed is asked for, else where it is. */
static uint64_t first_sequence(const line *line, const mold_header *header) {
    return !starts_late(line) || !header->sequence ? 1 : header->sequence;
}

static void doubt_drop(line *line) {
    if (line->doubt_held && line->doubt.count) packet_drop(line, &line->doubt, FEED_PACKETS_UNBELIEVED);
    line->doubt_held = 0;
    held_count(line);
}

/* `rolled`: the session follows one that ended, so that each line begins at 1. */
static void session_begin(line *line, ring_writer *raw, const mold_header *header, int rolled, uint64_t now_ns) {
    if (line->followed && memcmp(line->session, header->session, sizeof line->session) != 0)
        memcpy(line->left[line->left_count++ % LINE_SESSIONS_MAX], line->session, sizeof line->session);
    memcpy(line->session, header->session, sizeof line->session);
    stash_leave(line);
    doubt_drop(line);
    memset(line->seen, 0, sizeof line->seen);
    line->gap_end = line->hole_end = line->end_sequence = 0;
    line->gap_open = line->ended = line->confirmed = 0;
    line->followed = 1;
    line->highest = line->first_sequence = line->expected;
    for (uint32_t i = 0; i < LINE_SIDES_MAX; i++) line->side[i].next = rolled ? line->expected : 0;
    line->counter[FEED_SESSIONS]++;
    raw_stamp stamp = {.sequence = line->expected,
                       .origin_time_ns = line->venue_time ? line->origin_time_ns : now_ns,
                       .ingress_time_ns = now_ns,
                       .flags = FLAG_PACKET_END,
                       .type = RAW_SESSION};
    raw_publish(raw, &stamp, (const uint8_t *)line->session, sizeof line->session);
}

static int session_was_left(const line *line, const mold_header *header) {
    uint32_t known = line->left_count < LINE_SESSIONS_MAX ? line->left_count : LINE_SESSIONS_MAX;
    for (uint32_t i = 0; i < known; i++)
        if (memcmp(line->left[i], header->session, sizeof header->session) == 0) return 1;
    return 0;
}

/* Nobody ended our session, but it has been silent for long, and this is the second packet of the other. */
static int session_was_abandoned(line *line, const mold_header *header, uint64_t now_ns) {
    if (!line->session_wait_ns || since(line->heard_time_ns, now_ns) < line->session_wait_ns) return 0;
    int again = memcmp(line->other_session, header->session, sizeof header->session) == 0 &&
                header->sequence >= line->other_sequence && header->sequence - line->other_sequence <= LINE_AHEAD_MAX;
    memcpy(line->other_session, header->session, sizeof line->other_session);
    line->other_sequence = header->sequence;
    return again;
}

enum session_result { SESSION_OTHER, SESSION_OURS, SESSION_BEGUN };

/* A packet of another session than the one that the line follows is dropped, unless its session begins now. */
static enum session_result session_check(line *line, ring_writer *raw, const line_packet *packet, const mold_header *header) {
    uint64_t now_ns = packet->ingress_time_ns;
    int named = line->followed || line->pinned_session;
    if (named && memcmp(header->session, line->session, sizeof line->session) == 0) {
        if (line->followed) return SESSION_OURS;
    } else if (session_was_left(line, header)) {
        packet_drop(line, packet, FEED_PACKETS_OLD_SESSION);
        line->side[packet->source].heard_time_ns = now_ns; /* it rolls later than the other */
        return SESSION_OTHER;
    } else if (named && (line->pinned_session || !(line->ended || session_was_abandoned(line, header, now_ns)))) {
        packet_drop(line, packet, FEED_PACKETS_OTHER_SESSION); /* not believed in the middle of ours */
        return SESSION_OTHER;
    }
    int rolled = line->followed && line->ended;
    if (rolled) line->expected = 1;
    else if (line->followed || !line->expected) line->expected = first_sequence(line, header);
    session_begin(line, raw, header, rolled, now_ns);
    return SESSION_BEGUN;
}

static void session_end_check(line *line, ring_writer *raw, uint64_t now_ns) {
    if (!line->end_sequence || line->ended || line->gap_end || line->expected < line->end_sequence) return;
    line->ended = 1;
    line_state(line, raw, RAW_SESSION_END, 0, now_ns);
}

/* ---- belief ------------------------------------------------------------------------------------ */

/* A second packet near the doubted one confirms it: another one, a copy on the other line, or a heartbeat. */
static int doubt_confirmed(const line *line, const line_packet *packet) {
    const line_packet *doubt = &line->doubt;
    if (!line->doubt_held) return 0;
    uint64_t apart = packet->sequence > doubt->sequence ? packet->sequence - doubt->sequence : doubt->sequence - packet->sequence;
    if (apart > LINE_AHEAD_MAX) return 0;
    return apart || packet->source != doubt->source || !packet->count || !doubt->count;
}

static void doubt_believe(line *line) {
    const line_packet *doubt = &line->doubt;
    line->doubt_held = 0;
    held_count(line);
    if (packet_end(doubt) > line->highest) line->highest = packet_end(doubt);
    side_follow(line, doubt);
    if (!doubt->count) {
        hole_know(line, doubt->sequence);
        return;
    }
    switch (stash_keep(line, doubt)) {
    case STASH_KEPT:
        side_count(line, doubt, SIDE_FIRST);
        hole_know(line, doubt->sequence);
        break;
    case STASH_FULL:
        packet_drop(line, doubt, FEED_PACKETS_NO_STASH);
        hole_know(line, packet_end(doubt));
        break;
    default: break;
    }
}

/* 1 when the packet's place in the stream is believed; else it is held until something confirms it. */
static int packet_believe(line *line, const line_packet *packet) {
    if (packet->sequence <= line->highest + LINE_AHEAD_MAX) {
        if (packet_end(packet) > line->highest) line->highest = packet_end(packet);
        return 1;
    }
    if (doubt_confirmed(line, packet)) {
        doubt_believe(line);
        if (packet_end(packet) > line->highest) line->highest = packet_end(packet);
        return 1;
    }
    doubt_drop(line);
    line->doubt = *packet;
    line->doubt_held = 1;
    held_count(line);
    return 0;
}

/* A session that was taken up in its middle by a packet which nothing agreed with is taken up again. */
static void start_confirm(line *line, ring_writer *raw, const line_packet *packet, const mold_header *header) {
    if (line->confirmed || packet->sequence > line->highest + LINE_AHEAD_MAX) return;
    if (packet->sequence + LINE_AHEAD_MAX < line->expected && starts_late(line)) {
        line->expected = first_sequence(line, header);
        session_begin(line, raw, header, 0, packet->ingress_time_ns);
        return;
    }
    line->confirmed = 1;
}

/* What follows each step: holes settled, the end told. Returns how many messages were published. */
uint32_t line_work(line *line, ring_writer *raw, uint64_t now_ns) {
    if (!line->gap_end && !line->end_sequence) return 0; /* nearly always */
    uint32_t published = line->gap_end ? hole_settle(line, raw, now_ns) : 0;
    session_end_check(line, raw, now_ns);
    return published;
}

uint32_t line_skip(line *line, ring_writer *raw, uint64_t sequence, uint64_t now_ns) {
    if (sequence <= line->expected) return 0;
    line->expected = sequence;
    if (sequence > line->highest) line->highest = sequence;
    return line_work(line, raw, now_ns);
}

/* ---- packets ----------------------------------------------------------------------------------- */

/* Heartbeat or end of session: no messages, but the number of the next. */
static void heartbeat_take(line *line, const line_packet *packet, const mold_header *header) {
    line->counter[FEED_HEARTBEATS]++;
    if (!packet_believe(line, packet)) return;
    side_follow(line, packet);
    if (header->sequence > line->expected) hole_know(line, header->sequence);
    if (header->count == MOLD_END_OF_SESSION && header->sequence >= line->expected) line->end_sequence = header->sequence;
}

/* A packet beyond what is expected. */
static void packet_keep(line *line, const line_packet *packet) {
    switch (stash_keep(line, packet)) {
    case STASH_KEPT:
        side_count(line, packet, SIDE_FIRST);
        hole_know(line, packet->sequence);
        break;
    case STASH_KNOWN:
        side_count(line, packet, SIDE_LATE);
        break;
    default: /* its own messages are missing too */
        packet_drop(line, packet, FEED_PACKETS_NO_STASH);
        hole_know(line, packet_end(packet));
        break;
    }
}

/* Messages of our session, from a line or a server. */
static uint32_t messages_take(line *line, ring_writer *raw, const line_packet *packet) {
    if (packet_end(packet) <= line->expected) {
        side_count(line, packet, SIDE_LATE);
        line->counter[FEED_PACKETS_DUPLICATE]++;
        line->counter[FEED_DUPLICATES] += packet->count;
        return 0;
    }
    if (packet->sequence > line->expected) {
        packet_keep(line, packet);
        return 0;
    }
    uint32_t published = line_publish(line, raw, packet, line->gap_open ? FLAG_RECOVERED : 0);
    side_count(line, packet, SIDE_FIRST);
    if (line->gap_open) line->counter[FEED_RECOVERED] += published;
    return published;
}

/* What a server gives must be of our session, and what is missing. An answer holds what its packet has room for, so
 * the rest is asked for at once: at one packet each interval a late joiner would never catch up. Twice as much as
 * came, so that a server which answers a request with many packets does not send them over and over. */
static uint32_t answer_take(line *line, ring_writer *raw, const line_packet *packet, const mold_header *header) {
    int ours = line->followed && memcmp(header->session, line->session, sizeof line->session) == 0;
    uint64_t wanted_end = line->gap_end > line->expected ? line->gap_end : line->expected;
    if (!ours || !packet->count || packet->sequence > wanted_end) {
        packet_drop(line, packet, FEED_PACKETS_WRONG_ANSWER);
        line->gap_wrong++;
        return 0;
    }
    uint32_t published = messages_take(line, raw, packet);
    if (published) {
        line->gap_answers++;
        line->request_end = line->expected;
        line->request_max = 2 * published < LINE_REQUEST_MAX ? 2 * published : LINE_REQUEST_MAX;
    }
    return published + line_work(line, raw, packet->ingress_time_ns);
}

static uint32_t side_take(line *line, ring_writer *raw, const line_packet *packet, const mold_header *header) {
    side_count(line, packet, SIDE_PACKETS);
    enum session_result session = session_check(line, raw, packet, header);
    if (session == SESSION_OTHER) return 0;
    side_hear(line, raw, packet);
    line->heard_time_ns = packet->ingress_time_ns;
    if (session == SESSION_OURS) start_confirm(line, raw, packet, header);
    uint32_t published = 0;
    if (!packet->count) heartbeat_take(line, packet, header);
    else if (packet_believe(line, packet)) {
        side_follow(line, packet);
        published = messages_take(line, raw, packet);
    }
    return published + line_work(line, raw, packet->ingress_time_ns);
}

/* Parse and take a packet whose bytes, size, source and times are filled in. */
uint32_t line_take(line *line, ring_writer *raw, line_packet *packet) {
    mold_header header = {.count = 0};
    line->counter[FEED_PACKETS]++;
    line->counter[FEED_BYTES] += packet->size;
    packet->count = 0;
    int sound = packet->size <= MOLD_PACKET_MAX && mold_parse(packet->bytes, packet->size, &header) == MOLD_OK &&
                mold_check(packet->bytes, packet->size) == MOLD_OK;
    int messages = sound && header.count != 0 && header.count != MOLD_END_OF_SESSION;
    if (!sound || header.sequence > INT64_MAX || (messages && !header.sequence)) { /* messages count from 1 */
        packet_drop(line, packet, FEED_PACKETS_MALFORMED);
        side_count(line, packet, SIDE_PACKETS);
        return 0;
    }
    if (line_sides(line) == 2) __builtin_prefetch(seen_of(line, header.sequence));
    packet->sequence = header.sequence;
    packet->count = messages ? header.count : 0;
    line->counter[FEED_MESSAGES_IN] += packet->count;
    if (ring_room_inline(raw) < slots_wanted(packet)) {
        line->counter[FEED_RAW_FULL]++;
        packet_drop(line, packet, FEED_PACKETS_NO_ROOM);
        side_count(line, packet, SIDE_PACKETS);
        return 0;
    }
    if (packet->source == LINE_ANSWER) return answer_take(line, raw, packet, &header);
    return side_take(line, raw, packet, &header);
}

uint32_t line_packet_in(line *line, ring_writer *raw, uint32_t source, const uint8_t *bytes, uint32_t size, uint64_t now_ns) {
    line_packet *packet = &line->batch[0];
    if (size > sizeof packet->bytes) size = sizeof packet->bytes; /* too long either way: malformed */
    memcpy(packet->bytes, bytes, size);
    packet->size = size;
    packet->source = source < line_sides(line) ? source : source == LINE_ANSWER ? LINE_ANSWER : LINE_A;
    packet->ingress_time_ns = now_ns;
    return line_take(line, raw, packet);
}
