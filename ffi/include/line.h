/* line.h: a MoldUDP64 stream, on one line or two: UDP packets in, messages in sequence into the raw ring.
 *
 *   line A --.                 .-- sequence < expected   here already: drop, or skip the head
 *            +-> one sequence -+-- sequence == expected  publish its messages
 *   line B --'                 '-- sequence > expected   a hole: keep the packet aside, wait, ask
 *
 *   hole --(the other line, or a packet out of order, brings it)--> filled: nobody is told
 *    |
 *    '--(every line that speaks has gone past it, or `gap_wait_ns` is over)--> RAW_GAP, requests
 *         |--(a server answers)--> RAW_GAP_CLOSED
 *         '--(`gap_timeout_ns` without progress)--> RAW_GAP_LOST with its reason; on from what is here
 *
 * Both lines carry the same packets; whichever comes first is used. What one line loses and the other brings
 * is no gap. A line that falls silent while the other speaks is told (RAW_LINE_SILENT, RAW_LINE_HEARD): that is
 * no staleness, but one more loss would be.
 *
 * While a hole is open, later packets wait in a preallocated stash; requests follow each other as their answers
 * come (a server answers with what one packet holds). A server that does not answer `request_tries` times is
 * left for the next one. Heartbeats reveal holes at the end of a burst. Each RAW_GAP is followed by one of
 * RAW_GAP_CLOSED, RAW_GAP_LOST and RAW_SESSION before the next; what is published is in sequence, once, and what
 * is skipped is what the RAW_GAP_LOSTs count.
 *
 * What is missing can wait, what is live cannot: requests go only as fast as the journal reads raw. A day that is
 * asked for again at noon would else overtake it, which halts the engine. While it is behind, a gap does not age.
 *
 * Belief. One packet alone may not move the stream by more than LINE_AHEAD_MAX: beyond, it is held until a second
 * packet near it, its copy on the other line, or a heartbeat confirms it. A new session is believed once the old
 * one has ended, or has been silent for `session_wait_ns` while two packets of the other came; its first message
 * is number 1, whatever comes first. A session that was left is never believed again.
 *
 * Every packet received has one fate, and a counter for it: see the table in docs/feed.md. A packet that raw
 * has no room for is left unread, and one given in is dropped like a lost one.
 */
#pragma once
#include "layout.h"
#include "moldudp.h"
#include "ring.h"

#define LINE_SIDES_MAX 2
#define LINE_SERVERS_MAX 2
#define LINE_STASH_MAX 1024      /* packets kept aside while a hole is open */
#define LINE_REQUEST_MAX 1000    /* messages asked for in one request */
#define LINE_AHEAD_MAX 4096      /* messages that one packet alone may move the stream */
#define LINE_BATCH_MAX 32        /* packets taken in one system call */
#define LINE_SEEN_MAX 4096       /* packets remembered to compare their copies */
#define LINE_SESSIONS_MAX 8      /* sessions remembered after they were left */

enum line_source { LINE_A, LINE_B, LINE_ANSWER };

typedef struct {
    uint64_t sequence;
    uint64_t ingress_time_ns;
    uint32_t size;
    uint32_t count; /* messages */
    uint32_t source; /* enum line_source */
    uint32_t reserved;
    uint8_t bytes[MOLD_PACKET_MAX + 8];
} line_packet;

/* One of the two copies of the stream. */
typedef struct {
    uint64_t next;          /* first sequence after all that it brought; 0 = nothing yet */
    uint64_t heard_time_ns; /* a packet of our session, or a late one of the last */
    int32_t socket;         /* bound, non-blocking; the caller's; -1 = packets are given in */
    uint32_t silent;        /* 1 after its silence was told */
    uint32_t hot;           /* looks in a row that found something */
    uint32_t kernel_drops;  /* as the kernel counts them */
} line_side;

/* What a packet looked like, for its copies. One line alone remembers only what came while there was a hole. */
typedef struct {
    uint64_t sequence; /* 0 = free */
    uint64_t digest;   /* of its bytes; 0 while there is one line */
    uint32_t count;
    uint32_t sides;    /* bit by enum line_source: who brought it */
} line_seen;

typedef struct {
    /* What every packet needs: one cache line, and the next one for the sides. */
    uint64_t *counter;       /* of the feed, by enum feed_counter; the caller's */
    uint64_t expected;       /* next sequence to publish; 0 = not yet known. The caller may set it */
    uint64_t highest;        /* first sequence after all that is believed to exist */
    uint64_t gap_end;        /* first sequence known to exist after the holes; 0 = there is no hole */
    uint64_t end_sequence;   /* of the session, once its end was announced; 0 = not yet */
    uint64_t heard_time_ns;  /* a packet of our session, on either line */
    char session[10];        /* the caller's when it is pinned */
    uint8_t pinned_session;  /* 1: other sessions than `session` are counted and dropped; the caller's */
    uint8_t followed;        /* 1 once a packet of `session` has come */
    uint8_t confirmed;       /* 1 once a second packet agrees with where the session was taken up */
    uint8_t ended;           /* end of session reached */
    uint8_t gap_open;        /* RAW_GAP is published */
    uint8_t doubt_held;      /* `doubt` holds a packet, or a heartbeat */
    line_side side[LINE_SIDES_MAX];

    /* the caller's, before the first packet */
    uint32_t sides;          /* lines in use: 1 or 2 */
    uint32_t batch_max;      /* packets of one system call; 0 = one */
    int32_t request_socket[LINE_SERVERS_MAX]; /* connected, non-blocking; -1 = there is none. The first comes first */
    const clock_page *clock;
    histogram *hops;         /* of the feed, or NULL: HOP_KERNEL is recorded here */
    uint64_t gap_wait_ns;    /* that a hole may be filled without being a gap */
    uint64_t gap_timeout_ns;
    uint64_t request_interval_ns;
    uint64_t line_silence_ns; /* 0 = the silence of one line is not watched */
    uint64_t session_wait_ns; /* 0 = only an ended session is left */
    uint32_t request_tries;  /* requests without an answer before the other server is asked */
    uint32_t from_snapshot;  /* 1: a session joined late is taken up where it is, and a snapshot brings the rest */
    uint64_t midnight_ns;    /* of the trading day; for venue_time */
    const ring_writer *recorded; /* raw, where a journal reads it; NULL: nobody does */
    const ring_cursor *recorder; /* the journal's place in it */
    uint64_t recorder_lag_max;   /* events; while it is further behind, nothing that is missing is asked for */
    uint64_t venue_time;     /* 1: a state of the line is dated by the last message, not by the clock: a capture's
                                may be another day's than its messages */

    uint64_t origin_time_ns; /* venue_time: of the last message published; else 0 */

    /* holes and gaps */
    uint64_t first_sequence; /* where the session was taken up */
    uint64_t hole_end;       /* first sequence after the first hole; 0 = there is none */
    uint64_t hole_expected;  /* `expected` when the first hole last grew shorter */
    uint64_t hole_time_ns;   /* when the first hole was found */
    uint64_t gap_start_time_ns; /* when the gap was found, or last grew shorter */
    uint64_t gap_answers;    /* packets of this gap that a server gave and that were of use */
    uint64_t gap_wrong;      /* and that were not what was asked for */
    uint64_t request_time_ns;
    uint64_t request_end;    /* first sequence after the last request; 0 = none was sent */
    uint32_t request_max;    /* messages to ask for at a time: twice the last answer; 0 = none came yet */
    uint32_t server;         /* that is asked now */
    uint32_t tries;          /* requests to it since the last progress */
    uint32_t stash_count;

    /* silence, clocks, other sessions */
    uint64_t watch_time_ns;  /* when the line began to watch for silence */
    uint64_t kernel_time_ns; /* when the kernel's clock and drops are looked at next */
    int64_t realtime_ns;     /* engine clock less CLOCK_REALTIME, which the kernel stamps with */
    uint64_t other_sequence;
    char other_session[10];  /* of the last packet that was not ours */
    uint8_t reserved1[2];
    uint32_t left_count;     /* sessions left so far */
    char left[LINE_SESSIONS_MAX][10];

    line_seen seen[LINE_SEEN_MAX];
    uint64_t stash_sequence[LINE_STASH_MAX]; /* 0 = the place is free */
    line_packet stash[LINE_STASH_MAX];
    line_packet doubt;                 /* too far ahead to be believed alone */
    line_packet batch[LINE_BATCH_MAX]; /* being received */
} line;

/* Raw slots that one packet may need; raw must hold more. */
#define LINE_RAW_SLOTS_MIN 1024

/* Look at each line once, without blocking, and publish what is in order: up to `packets_max` packets of each where
 * the last looks found some, else one. Returns how many messages were published. */
uint32_t line_poll(line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max);
/* Take one packet as if `source` had received it: for replayed captures and tests. */
uint32_t line_packet_in(line *line, ring_writer *raw, uint32_t source, const uint8_t *bytes, uint32_t size, uint64_t now_ns);
/* What comes before `sequence` is known another way: go on from there. Returns how many messages were published. */
uint32_t line_skip(line *line, ring_writer *raw, uint64_t sequence, uint64_t now_ns);
/* Bytes of a line, for the caller to allocate and to clear. */
uint64_t line_bytes(void);
