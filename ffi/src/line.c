/* line.c: one MoldUDP64 line. See include/line.h. */
#include "line.h"
#include "clock_inline.h"
#include "raw_inline.h"
#include <errno.h>
#include <sys/socket.h>

#define PACKET_MESSAGES_MAX ((MOLD_PACKET_MAX - MOLD_HEADER_SIZE) / 2)
#define STATES_ROOM 4 /* raw slots kept for state events beside a packet's messages */
#define PACKET_SLOTS_MAX (PACKET_MESSAGES_MAX + MOLD_PACKET_MAX / RAW_BYTES_MAX + STATES_ROOM)

_Static_assert(PACKET_SLOTS_MAX < LINE_RAW_SLOTS_MIN, "a packet fits into the smallest raw ring");

uint64_t line_bytes(void) { return sizeof(line); }

/* A span that has not begun yet is 0: a packet's own time may be later than that of the poll. */
static uint64_t since(uint64_t then_ns, uint64_t now_ns) { return now_ns > then_ns ? now_ns - then_ns : 0; }

/* Publish the messages of one packet from `expected` on; the rest of it is old. */
static uint32_t publish(line *line, ring_writer *raw, const line_packet *packet, uint16_t flags) {
    mold_walker walker;
    uint64_t sequence = packet->sequence;
    uint32_t published = 0;
    mold_walk(&walker, packet->bytes, packet->size, packet->count);
    while (mold_next(&walker)) {
        if (sequence == line->expected) {
            raw_stamp stamp = {.sequence = sequence,
                               .ingress_time_ns = packet->ingress_time_ns,
                               .flags = (uint16_t)(flags | (walker.remaining ? 0 : FLAG_PACKET_END)),
                               .type = RAW_MESSAGE};
            raw_publish(raw, &stamp, walker.bytes, walker.length);
            line->expected++;
            published++;
        }
        sequence++;
    }
    return published;
}

/* Ring slots that a packet may need: a message of many slots needs bytes, so the packet bounds it. */
static uint64_t slots_wanted(const line_packet *packet) {
    return packet->count + packet->size / RAW_BYTES_MAX + STATES_ROOM;
}

#define NOWHERE LINE_STASH_MAX

/* Place of the earliest packet kept aside, or NOWHERE. */
static uint32_t stash_lowest(const line *line) {
    uint32_t lowest = NOWHERE;
    if (!line->stash_count) return lowest;
    for (uint32_t i = 0; i < LINE_STASH_MAX; i++)
        if (line->stash_sequence[i] && (lowest == NOWHERE || line->stash_sequence[i] < line->stash_sequence[lowest])) lowest = i;
    return lowest;
}

/* 1 when the packet, or one that begins with the same message, is kept aside. */
static int stash_keep(line *line, const line_packet *packet) {
    uint32_t place = NOWHERE;
    for (uint32_t i = 0; i < LINE_STASH_MAX; i++) {
        if (line->stash_sequence[i] == packet->sequence) {
            line->counter[FEED_DUPLICATES] += packet->count;
            return 1;
        }
        if (!line->stash_sequence[i] && place == NOWHERE) place = i;
    }
    if (place == NOWHERE) return 0;
    line->stash[place] = *packet;
    line->stash_sequence[place] = packet->sequence;
    line->stash_count++;
    line->counter[FEED_REORDERED]++;
    return 1;
}

/* Publish what the stash holds in sequence. */
static uint32_t stash_drain(line *line, ring_writer *raw) {
    uint32_t published = 0;
    while (line->stash_count) {
        uint32_t place = stash_lowest(line);
        const line_packet *packet = &line->stash[place];
        if (packet->sequence > line->expected || ring_room_inline(raw) < slots_wanted(packet)) break;
        published += publish(line, raw, packet, 0);
        line->stash_sequence[place] = 0;
        line->stash_count--;
    }
    return published;
}

/* Ask for what is missing: at once, again after the interval, and as soon as an answer is here. */
static void gap_request(line *line, uint64_t now_ns) {
    if (line->request_socket < 0) return;
    int answered = line->expected >= line->request_end; /* true as well when nothing was asked for yet */
    if (!answered && since(line->request_time_ns, now_ns) < line->request_interval_ns) return;
    uint64_t missing = line->gap_end - line->expected;
    uint64_t most = line->request_max ? line->request_max : LINE_REQUEST_MAX;
    mold_header request = {.sequence = line->expected, .count = (uint16_t)(missing < most ? missing : most)};
    memcpy(request.session, line->session, sizeof request.session);
    line->request_time_ns = now_ns;
    line->request_end = request.sequence + request.count;
    uint8_t bytes[MOLD_HEADER_SIZE];
    uint32_t size = mold_header_encode(&request, bytes);
    line->counter[FEED_SYSTEM_CALLS]++;
    if (send(line->request_socket, bytes, size, MSG_DONTWAIT) < 0) line->counter[FEED_SOCKET_ERRORS]++;
    line->counter[FEED_REQUESTS]++;
}

static void gap_publish(line *line, ring_writer *raw, uint8_t type, uint64_t missing, uint64_t now_ns) {
    raw_publish_state(raw, type, line->expected, (uint32_t)(missing > UINT32_MAX ? UINT32_MAX : missing), now_ns);
}

/* Messages up to `end` exist. Those from `expected` to `hole_end` are surely missing. */
static void gap_open(line *line, ring_writer *raw, uint64_t end, uint64_t hole_end, uint64_t now_ns) {
    int open = line->gap_end != 0;
    if (end > line->gap_end) line->gap_end = end;
    if (open) return;
    line->gap_start_time_ns = now_ns;
    line->gap_expected = line->expected;
    line->request_end = 0;
    line->counter[FEED_GAPS]++;
    line->counter[FEED_GAP_MESSAGES] += hole_end - line->expected;
    gap_publish(line, raw, RAW_GAP, hole_end - line->expected, now_ns);
}

/* Give up the first hole. What is still missing behind what the stash holds is a gap of its own. */
static uint32_t gap_give_up(line *line, ring_writer *raw, uint64_t from, uint64_t now_ns) {
    line->counter[FEED_GAPS_LOST]++;
    gap_publish(line, raw, RAW_GAP_LOST, from - line->expected, now_ns);
    line->expected = from;
    uint64_t end = line->gap_end;
    line->gap_end = 0;
    uint32_t published = stash_drain(line, raw);
    uint32_t next = stash_lowest(line);
    uint64_t hole_end = next == NOWHERE ? end : line->stash_sequence[next];
    if (next != NOWHERE || end > line->expected)
        gap_open(line, raw, end, hole_end > line->expected ? hole_end : line->expected, now_ns);
    return published;
}

/* After each step forward: closed, moved on to the next hole, or given up. */
static uint32_t gap_advance(line *line, ring_writer *raw, uint64_t now_ns) {
    uint32_t published = stash_drain(line, raw);
    if (!line->gap_end) return published;
    uint32_t next = stash_lowest(line);
    if (line->expected >= line->gap_end && next == NOWHERE) {
        line->gap_end = 0;
        line->counter[FEED_GAPS_CLOSED]++;
        gap_publish(line, raw, RAW_GAP_CLOSED, 0, now_ns);
        return published;
    }
    if (line->expected > line->gap_expected) {
        line->gap_expected = line->expected;
        line->gap_start_time_ns = now_ns;
    }
    uint64_t from = next == NOWHERE ? line->gap_end : line->stash_sequence[next];
    if (from <= line->expected) return published; /* what comes next is here; raw had no room for it */
    if (since(line->gap_start_time_ns, now_ns) >= line->gap_timeout_ns) published += gap_give_up(line, raw, from, now_ns);
    if (line->gap_end > line->expected) gap_request(line, now_ns);
    return published;
}

/* Where a session is taken up: at its start when what was missed can be asked for, else where it is. */
static uint64_t first_sequence(const line *line, const mold_header *header) {
    return line->request_socket >= 0 || !header->sequence ? 1 : header->sequence;
}

static void session_begin(line *line, ring_writer *raw, const mold_header *header, uint64_t now_ns) {
    memcpy(line->session, header->session, sizeof line->session);
    line->gap_end = 0;
    line->ended = 0;
    line->stash_count = 0;
    memset(line->stash_sequence, 0, sizeof line->stash_sequence);
    line->counter[FEED_SESSIONS]++;
    raw_stamp stamp = {.sequence = line->expected, .ingress_time_ns = now_ns, .flags = FLAG_PACKET_END, .type = RAW_SESSION};
    raw_publish(raw, &stamp, (const uint8_t *)line->session, sizeof line->session);
}

/* 1 when the packet belongs to the session that the line follows. */
static int session_check(line *line, ring_writer *raw, const mold_header *header, uint64_t now_ns) {
    if (memcmp(header->session, line->session, sizeof line->session) == 0) {
        if (!line->expected) line->expected = first_sequence(line, header);
        return 1;
    }
    int first = line->session[0] == 0;
    if (first && !line->expected) line->expected = first_sequence(line, header);
    if (!first && (line->pinned_session || !line->ended)) {
        line->counter[FEED_MALFORMED]++; /* another session in the middle of ours is not believed */
        return 0;
    }
    if (!first) line->expected = 1;
    session_begin(line, raw, header, now_ns);
    return 1;
}

/* Heartbeat or end of session: no messages, but the number of the next. */
static uint32_t heartbeat_take(line *line, ring_writer *raw, const mold_header *header, uint64_t now_ns) {
    line->counter[FEED_HEARTBEATS]++;
    if (header->sequence > line->expected) gap_open(line, raw, header->sequence, header->sequence, now_ns);
    else if (header->count == MOLD_END_OF_SESSION && !line->ended) {
        line->ended = 1;
        raw_publish_state(raw, RAW_SESSION_END, line->expected, 0, now_ns);
    }
    return gap_advance(line, raw, now_ns);
}

static uint32_t packet_take(line *line, ring_writer *raw, line_packet *packet, const mold_header *header) {
    uint64_t now_ns = packet->ingress_time_ns;
    if (!session_check(line, raw, header, now_ns)) return 0;
    line->heard_time_ns = now_ns;
    if (header->count == 0 || header->count == MOLD_END_OF_SESSION) return heartbeat_take(line, raw, header, now_ns);
    uint64_t end = header->sequence + header->count;
    if (end <= line->expected) {
        line->counter[FEED_DUPLICATES] += header->count;
        return 0;
    }
    if (header->sequence > line->expected) { /* with the stash full, its own messages are missing too */
        uint64_t known_end = stash_keep(line, packet) ? header->sequence : end;
        gap_open(line, raw, known_end, header->sequence, now_ns);
        return gap_advance(line, raw, now_ns);
    }
    int recovering = line->gap_end != 0;
    uint32_t published = publish(line, raw, packet, recovering ? FLAG_RECOVERED : 0);
    if (recovering) line->counter[FEED_RECOVERED] += published;
    line->counter[FEED_DUPLICATES] += header->count - published;
    return published + (recovering ? gap_advance(line, raw, now_ns) : 0);
}

/* Parse and take the packet in line->packet. */
static uint32_t packet_in(line *line, ring_writer *raw, uint64_t now_ns) {
    mold_header header;
    line_packet *packet = &line->packet;
    packet->ingress_time_ns = now_ns;
    line->counter[FEED_PACKETS]++;
    line->counter[FEED_BYTES] += packet->size;
    int sound = packet->size <= MOLD_PACKET_MAX && mold_parse(packet->bytes, packet->size, &header) == MOLD_OK &&
                mold_check(packet->bytes, packet->size) == MOLD_OK;
    int messages = sound && header.count != 0 && header.count != MOLD_END_OF_SESSION;
    if (!sound || header.sequence > INT64_MAX || (messages && !header.sequence)) { /* messages count from 1 */
        line->counter[FEED_MALFORMED]++;
        return 0;
    }
    packet->sequence = header.sequence;
    packet->count = messages ? header.count : 0;
    if (ring_room_inline(raw) < slots_wanted(packet)) {
        line->counter[FEED_RAW_FULL]++;
        return 0;
    }
    return packet_take(line, raw, packet, &header);
}

uint32_t line_packet_in(line *line, ring_writer *raw, const uint8_t *bytes, uint32_t size, uint64_t now_ns) {
    if (size > sizeof line->packet.bytes) size = sizeof line->packet.bytes; /* too long either way: malformed */
    memcpy(line->packet.bytes, bytes, size);
    line->packet.size = size;
    return packet_in(line, raw, now_ns);
}

static uint32_t receive(line *line, int socket, ring_writer *raw) {
    ssize_t size = recv(socket, line->packet.bytes, sizeof line->packet.bytes, MSG_DONTWAIT);
    line->counter[FEED_SYSTEM_CALLS]++;
    if (size < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) line->counter[FEED_SOCKET_ERRORS]++;
        return 0;
    }
    line->packet.size = (uint32_t)size;
    return packet_in(line, raw, clock_read(line->clock)); /* T0: the bytes are in user memory */
}

/* An answer holds what its packet has room for, so the rest is asked for at once: at one packet each interval
 * a late joiner would never catch up. Twice as much as came, so that a server which answers a request with
 * many packets does not send them over and over. */
static uint32_t receive_answer(line *line, ring_writer *raw) {
    uint32_t published = receive(line, line->request_socket, raw);
    if (!published) return 0;
    line->request_end = line->expected;
    line->request_max = 2 * published < LINE_REQUEST_MAX ? 2 * published : LINE_REQUEST_MAX;
    return published;
}

/* Nothing is received that could not be published whole: it waits in the kernel's buffer. */
static int raw_has_room(line *line, ring_writer *raw) {
    if (ring_room_inline(raw) >= PACKET_SLOTS_MAX) return 1;
    line->counter[FEED_RAW_FULL]++;
    return 0;
}

uint32_t line_poll(line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max) {
    uint32_t published = 0;
    for (uint32_t i = 0; i < packets_max; i++) {
        uint64_t packets = line->counter[FEED_PACKETS];
        if (!raw_has_room(line, raw)) return published;
        published += receive(line, line->socket, raw);
        if (line->gap_end && line->request_socket >= 0) {
            if (!raw_has_room(line, raw)) return published;
            published += receive_answer(line, raw);
        }
        if (line->counter[FEED_PACKETS] == packets) break;
    }
    if (line->gap_end && raw_has_room(line, raw)) published += gap_advance(line, raw, now_ns);
    return published;
}
