/* line.c: one MoldUDP64 line. See include/line.h. */
#include "line.h"
#include "clock_inline.h"
#include "raw_inline.h"
#include <errno.h>
#include <sys/socket.h>

#define PACKET_MESSAGES_MAX ((MOLD_PACKET_MAX - MOLD_HEADER_SIZE) / 2)
#define STATES_ROOM 4 /* raw slots kept for state events beside a packet's messages */

uint64_t line_bytes(void) { return sizeof(line); }

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

static void stash_keep(line *line, const line_packet *packet) {
    uint32_t place = NOWHERE;
    for (uint32_t i = 0; i < LINE_STASH_MAX; i++) {
        if (line->stash_sequence[i] == packet->sequence) {
            line->counter[FEED_DUPLICATES] += packet->count;
            return;
        }
        if (!line->stash_sequence[i] && place == NOWHERE) place = i;
    }
    if (place == NOWHERE) return; /* full: it will be asked for when the gap before it has closed */
    line->stash[place] = *packet;
    line->stash_sequence[place] = packet->sequence;
    line->stash_count++;
    line->counter[FEED_REORDERED]++;
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

static void gap_request(line *line, uint64_t now_ns) {
    if (line->request_socket < 0) return;
    if (line->request_time_ns && now_ns - line->request_time_ns < line->request_interval_ns) return;
    line->request_time_ns = now_ns;
    uint64_t missing = line->gap_end - line->expected;
    mold_header request = {.sequence = line->expected,
                           .count = (uint16_t)(missing < LINE_REQUEST_MAX ? missing : LINE_REQUEST_MAX)};
    memcpy(request.session, line->session, sizeof request.session);
    uint8_t bytes[MOLD_HEADER_SIZE];
    uint32_t size = mold_header_encode(&request, bytes);
    line->counter[FEED_SYSTEM_CALLS]++;
    if (send(line->request_socket, bytes, size, MSG_DONTWAIT) < 0) line->counter[FEED_SOCKET_ERRORS]++;
    line->counter[FEED_REQUESTS]++;
}

static void gap_open(line *line, ring_writer *raw, uint64_t end, uint64_t now_ns) {
    if (end > line->gap_end) line->gap_end = end;
    if (line->gap_start_time_ns) return;
    line->gap_start_time_ns = now_ns;
    line->request_time_ns = 0;
    uint64_t missing = end - line->expected;
    line->counter[FEED_GAPS]++;
    line->counter[FEED_GAP_MESSAGES] += missing;
    raw_publish_state(raw, RAW_GAP, line->expected, (uint32_t)(missing > UINT32_MAX ? UINT32_MAX : missing), now_ns);
    gap_request(line, now_ns);
}

/* After each step forward: closed, moved on to the next hole, or given up. */
static uint32_t gap_advance(line *line, ring_writer *raw, uint64_t now_ns) {
    uint32_t published = stash_drain(line, raw);
    if (!line->gap_start_time_ns) return published;
    uint32_t next = stash_lowest(line);
    if (line->expected >= line->gap_end && next == NOWHERE) {
        line->gap_start_time_ns = 0;
        line->gap_end = 0;
        line->counter[FEED_GAPS_CLOSED]++;
        raw_publish_state(raw, RAW_GAP_CLOSED, line->expected, 0, now_ns);
        return published;
    }
    if (now_ns - line->gap_start_time_ns < line->gap_timeout_ns) {
        gap_request(line, now_ns);
        return published;
    }
    uint64_t from = next == NOWHERE ? line->gap_end : line->stash_sequence[next];
    if (from > line->expected) {
        uint64_t lost = from - line->expected;
        line->counter[FEED_GAPS_LOST]++;
        raw_publish_state(raw, RAW_GAP_LOST, line->expected, (uint32_t)(lost > UINT32_MAX ? UINT32_MAX : lost), now_ns);
        line->expected = from;
        line->gap_start_time_ns = now_ns; /* what is still missing after it gets its own time */
        line->request_time_ns = 0;
        published += stash_drain(line, raw);
    }
    if (line->expected >= line->gap_end && !line->stash_count) {
        line->gap_start_time_ns = 0;
        line->gap_end = 0;
    }
    return published;
}

static void session_begin(line *line, ring_writer *raw, const mold_header *header, uint64_t now_ns) {
    memcpy(line->session, header->session, sizeof line->session);
    line->expected = header->sequence ? header->sequence : 1;
    line->gap_start_time_ns = 0;
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
        if (!line->expected) line->expected = header->sequence ? header->sequence : 1;
        return 1;
    }
    int first = line->session[0] == 0;
    if (!first && (line->pinned_session || !line->ended)) {
        line->counter[FEED_MALFORMED]++; /* another session in the middle of ours is not believed */
        return 0;
    }
    session_begin(line, raw, header, now_ns);
    return 1;
}

static uint32_t packet_take(line *line, ring_writer *raw, line_packet *packet, const mold_header *header) {
    uint64_t now_ns = packet->ingress_time_ns;
    line->heard_time_ns = now_ns;
    if (!session_check(line, raw, header, now_ns)) return 0;
    if (header->count == 0 || header->count == MOLD_END_OF_SESSION) {
        line->counter[FEED_HEARTBEATS]++;
        if (header->sequence > line->expected) gap_open(line, raw, header->sequence, now_ns);
        else if (header->count == MOLD_END_OF_SESSION && !line->ended) {
            line->ended = 1;
            raw_publish_state(raw, RAW_SESSION_END, line->expected, 0, now_ns);
        }
        return gap_advance(line, raw, now_ns);
    }
    if (header->sequence + header->count <= line->expected) {
        line->counter[FEED_DUPLICATES] += header->count;
        return 0;
    }
    if (header->sequence > line->expected) {
        stash_keep(line, packet);
        gap_open(line, raw, header->sequence, now_ns);
        return gap_advance(line, raw, now_ns);
    }
    uint16_t flags = line->gap_start_time_ns ? FLAG_RECOVERED : 0;
    uint32_t published = publish(line, raw, packet, flags);
    if (flags) line->counter[FEED_RECOVERED] += published;
    line->counter[FEED_DUPLICATES] += header->count - published;
    return published + (line->gap_start_time_ns ? gap_advance(line, raw, now_ns) : 0);
}

/* Parse and take the packet in line->packet. */
static uint32_t packet_in(line *line, ring_writer *raw, uint64_t now_ns) {
    mold_header header;
    line_packet *packet = &line->packet;
    packet->ingress_time_ns = now_ns;
    line->counter[FEED_PACKETS]++;
    line->counter[FEED_BYTES] += packet->size;
    if (mold_parse(packet->bytes, packet->size, &header) != MOLD_OK || mold_check(packet->bytes, packet->size) != MOLD_OK ||
        header.sequence > INT64_MAX) {
        line->counter[FEED_MALFORMED]++;
        return 0;
    }
    packet->sequence = header.sequence;
    packet->count = header.count == MOLD_END_OF_SESSION ? 0 : header.count;
    return packet_take(line, raw, packet, &header);
}

uint32_t line_packet_in(line *line, ring_writer *raw, const uint8_t *bytes, uint32_t size, uint64_t now_ns) {
    if (size > sizeof line->packet.bytes) size = sizeof line->packet.bytes; /* then its blocks do not fit: malformed */
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

uint32_t line_poll(line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max) {
    uint32_t published = 0;
    for (uint32_t i = 0; i < packets_max; i++) {
        /* Nothing is received that could not be published whole: it waits in the kernel's buffer. */
        if (ring_room_inline(raw) < PACKET_MESSAGES_MAX + STATES_ROOM) {
            line->counter[FEED_RAW_FULL]++;
            return published;
        }
        uint64_t packets = line->counter[FEED_PACKETS];
        published += receive(line, line->socket, raw);
        if (line->gap_start_time_ns && line->request_socket >= 0) published += receive(line, line->request_socket, raw);
        if (line->counter[FEED_PACKETS] == packets) break;
    }
    if (line->gap_start_time_ns) published += gap_advance(line, raw, now_ns);
    return published;
}
