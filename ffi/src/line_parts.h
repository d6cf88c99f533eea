/* line_parts.h: what the parts of the line share.
 *
 *   line_socket.c  sockets --> packets, stamped        line.c  packets --> one sequence      line_gap.c  holes
 */
#pragma once
#include "line.h"
#include "raw_inline.h"

#define PACKET_MESSAGES_MAX ((MOLD_PACKET_MAX - MOLD_HEADER_SIZE) / 2)
#define STATES_ROOM 8 /* raw slots kept for state events beside a packet's messages */
#define PACKET_SLOTS_MAX (PACKET_MESSAGES_MAX + MOLD_PACKET_MAX / RAW_BYTES_MAX + STATES_ROOM)

_Static_assert(PACKET_SLOTS_MAX < LINE_RAW_SLOTS_MIN, "a packet fits into the smallest raw ring");

enum stash_result { STASH_KEPT, STASH_KNOWN, STASH_FULL };

/* A span that has not begun yet is 0: a packet's own time may be later than that of the poll. */
static inline uint64_t since(uint64_t then_ns, uint64_t now_ns) { return now_ns > then_ns ? now_ns - then_ns : 0; }

/* Ring slots that a packet may need: a message of many slots needs bytes, so the packet bounds it. */
static inline uint64_t slots_wanted(const line_packet *packet) {
    return packet->count + packet->size / RAW_BYTES_MAX + STATES_ROOM;
}

/* Zeroed memory means one line. */
static inline uint32_t line_sides(const line *line) { return line->sides == 2 ? 2 : 1; }

/* A packet that will not be used, by reason. */
static inline void packet_drop(line *line, const line_packet *packet, uint32_t reason) {
    line->counter[reason]++;
    line->counter[FEED_MESSAGES_DROPPED] += packet->count;
}

/* The gauge of packets kept aside; after each change. */
static inline void held_count(line *line) {
    line->counter[FEED_PACKETS_HELD] = line->stash_count + (line->doubt_held && line->doubt.count);
}

/* A state of the line where it stands now, to be committed. NULL: no room. */
static inline raw_event *line_state_claim(const line *line, ring_writer *raw, uint8_t type, uint32_t missing, uint64_t now_ns) {
    raw_event *event = raw_claim_state(raw, type, line->expected, missing, now_ns);
    if (event && line->venue_time) event->header.origin_time_ns = line->origin_time_ns;
    return event;
}

static inline void line_state(const line *line, ring_writer *raw, uint8_t type, uint32_t missing, uint64_t now_ns) {
    if (line_state_claim(line, raw, type, missing, now_ns)) ring_commit_inline(raw);
}

/* line.c */
uint32_t line_publish(line *line, ring_writer *raw, const line_packet *packet, uint16_t flags);
uint32_t line_take(line *line, ring_writer *raw, line_packet *packet);
uint32_t line_work(line *line, ring_writer *raw, uint64_t now_ns);

/* line_gap.c */
int stash_keep(line *line, const line_packet *packet);
void stash_leave(line *line);
/* Messages up to `end` exist. */
void hole_know(line *line, uint64_t end);
/* After each step forward and now and then: publish what the stash holds in sequence, tell gaps, ask, give up. */
uint32_t hole_settle(line *line, ring_writer *raw, uint64_t now_ns);
