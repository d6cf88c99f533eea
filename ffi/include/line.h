/* line.h: one MoldUDP64 line: UDP packets in, messages in sequence into the raw ring.
 *
 *   packet: sequence < expected   duplicate, or its head is: drop, or skip the head
 *           sequence == expected  publish its messages
 *           sequence > expected   a gap: RAW_GAP, keep the packet aside, ask for what is missing
 *
 * While a gap is open, later packets wait in a preallocated stash, ordered by sequence; requests follow
 * each other as their answers come (a server answers with what one packet holds), and are repeated until the gap is filled (RAW_GAP_CLOSED) or `gap_timeout_ns` has passed without progress
 * (RAW_GAP_LOST, and the line goes on from the first packet it holds). Heartbeats reveal gaps at the end
 * of a burst. Each RAW_GAP is followed by one of RAW_GAP_CLOSED, RAW_GAP_LOST and RAW_SESSION before the
 * next; what is published is in sequence, once, and what is skipped is what the RAW_GAP_LOSTs count.
 *
 * A new session is believed once the old one has ended; its first message is number 1, whatever comes
 * first. A packet that raw has no room for is left unread, and one given in is dropped like a lost one.
 */
#pragma once
#include "layout.h"
#include "moldudp.h"
#include "ring.h"

#define LINE_STASH_MAX 1024      /* packets kept aside while a gap is open */
#define LINE_REQUEST_MAX 1000    /* messages asked for in one request */

typedef struct {
    uint64_t sequence;
    uint64_t ingress_time_ns;
    uint32_t size;
    uint32_t count; /* messages */
    uint8_t bytes[MOLD_PACKET_MAX + 8];
} line_packet;

typedef struct {
    int32_t socket;          /* bound, non-blocking; the caller's */
    int32_t request_socket;  /* connected to the retransmission server, non-blocking; -1 = there is none */
    uint64_t expected;       /* next sequence to publish; 0 = not yet known */
    uint64_t gap_start_time_ns; /* when the gap was found, or last grew shorter */
    uint64_t gap_end;        /* first sequence known to exist after the gap; 0 = no gap is open */
    uint64_t gap_expected;   /* `expected` at gap_start_time_ns */
    uint64_t request_time_ns;
    uint64_t request_end;    /* first sequence after the last request; 0 = none was sent */
    uint64_t gap_timeout_ns;
    uint64_t request_interval_ns;
    uint64_t heard_time_ns;
    uint32_t stash_count;
    uint32_t ended;          /* end of session seen */
    uint32_t request_max;    /* messages to ask for at a time: twice the last answer; 0 = none came yet */
    uint32_t reserved0;
    char session[10];
    uint8_t pinned_session;  /* 1: other sessions than `session` are counted and dropped */
    uint8_t reserved[5];
    uint64_t *counter;       /* of the feed, by enum feed_counter */
    const clock_page *clock;
    uint64_t stash_sequence[LINE_STASH_MAX]; /* 0 = the place is free */
    line_packet stash[LINE_STASH_MAX];
    line_packet packet;      /* being received */
} line;

/* Raw slots that one packet may need; raw must hold more. */
#define LINE_RAW_SLOTS_MIN 1024

/* Receive up to `packets_max` packets without blocking and publish what is in order. Returns how many
 * messages were published. */
uint32_t line_poll(line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max);
/* Take one packet as if it had been received: for replayed captures and tests. */
uint32_t line_packet_in(line *line, ring_writer *raw, const uint8_t *bytes, uint32_t size, uint64_t now_ns);
/* Bytes of a line, for the caller to allocate. */
uint64_t line_bytes(void);
