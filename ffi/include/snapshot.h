/* snapshot.h: books from a snapshot, when messages were lost for good or the day was joined late.
 *
 *   IDLE --gap lost, late start--> WAITING --back-off over--> RECEIVING --its end--> JOINING
 *    ^                                ^                           |                     | the live line has reached
 *    |                                |<-------- failure ---------+---------------------+ the snapshot's sequence
 *    |                                |                                                 v
 *    '---------- live again ---- DRAINING <------------------------------------- PUBLISHING
 *
 *   snapshot server --session--> bytes --PUBLISHING--> RAW_SNAPSHOT_BEGIN, messages, RAW_SNAPSHOT_END --.
 *   line -----------hold (a raw ring of our own)-----DRAINING, from the snapshot's sequence on ---------+--> raw
 *
 * From RECEIVING on the line writes into `hold`; before, its messages go to raw as ever, and are stale. A snapshot
 * is gathered whole and judged before a byte of it is published, so a cut, wrong or slow server never costs what
 * is known already: what was held is then let through, the books stay stale, and after a back-off it is asked again.
 *
 * Join. The snapshot holds all before message `sequence`; `hold` holds all from `hold_first` on. It fits when
 * hold_first <= sequence and the line knows of all up to `sequence`: a server that is ahead of what the line has
 * ever heard of is waited for, never believed. Held messages before it are covered by it and dropped; a gap told
 * before it counts only as far as it reaches behind it.
 *
 * Age. What was held is as old as the attempt took, so its messages go out behind a RAW_GAP, which is closed when
 * `hold` is empty and the line itself lacks nothing: a late price never looks like a fresh one.
 *
 * Part of the feed's front end: not deterministic; what it decides stands in the raw ring. The caller owns all
 * memory. Source: GLIMPSE 5.0 over SoupBinTCP 3.00.
 */
#pragma once
#include "layout.h"
#include "line.h"
#include "ring.h"
#include "session.h"

enum snapshot_state {
    SNAPSHOT_IDLE,
    SNAPSHOT_WAITING,
    SNAPSHOT_RECEIVING,
    SNAPSHOT_JOINING,
    SNAPSHOT_PUBLISHING,
    SNAPSHOT_DRAINING
};

/* Why an attempt failed; each is counted at FEED_SNAPSHOT_UNREACHABLE and on. */
enum snapshot_failure {
    SNAPSHOT_UNREACHABLE,    /* no connection */
    SNAPSHOT_REFUSED,        /* the login */
    SNAPSHOT_CUT,            /* the connection ended before the snapshot did */
    SNAPSHOT_MALFORMED,      /* bytes that are no packet, messages that no snapshot holds */
    SNAPSHOT_OTHER_SESSION,  /* of another session than the line's, or the line's changed meanwhile */
    SNAPSHOT_WRONG_SEQUENCE, /* older than what is held, or ahead of all that the line has heard of */
    SNAPSHOT_SLOW,           /* not whole within the time allowed */
    SNAPSHOT_NO_ROOM,        /* more messages, or more live ones meanwhile, than memory was given for */
    SNAPSHOT_FAILURES
};

typedef struct {
    /* the caller's, before the first poll */
    session_config config;   /* of the server; its back-off is not used */
    uint8_t *buffers;        /* of the session: send_bytes, then receive_bytes */
    uint8_t *bytes;          /* the snapshot: uint16 length and message, repeated */
    uint64_t capacity;
    ring_writer hold;        /* raw events of the line meanwhile */
    ring_reader hold_out;
    uint64_t timeout_ns;     /* of one attempt */
    uint64_t backoff_ns_min; /* doubled at each failure up to the maximum */
    uint64_t backoff_ns_max;
    uint64_t *counter;       /* of the feed */
    /* its own */
    session session;
    uint64_t session_counter[GATEWAY_COUNTERS];
    uint64_t system_calls;   /* of the session, told already */
    uint64_t size;           /* of the snapshot so far */
    uint64_t offset;         /* published up to here */
    uint64_t count;          /* messages of it */
    uint64_t sequence;       /* the snapshot's: number of the first message after it; 0 = its end has not come */
    uint64_t join;           /* held messages before it are dropped; 0 = none are */
    uint64_t hold_first;     /* number of the first message that may be held */
    uint64_t deadline_time_ns; /* end of the back-off, or of the attempt */
    uint64_t backoff_ns;
    uint64_t gaps_seen;      /* FEED_GAPS_LOST and FEED_SESSIONS, as far as they were judged */
    uint64_t sessions_seen;
    uint32_t state;          /* enum snapshot_state */
    uint32_t wanted;         /* 1: the books are stale until a snapshot */
    uint32_t begun;          /* RAW_SNAPSHOT_BEGIN is published */
    uint32_t covering;       /* 1 while what is held may be covered by the snapshot */
    uint32_t gap_told;       /* the feed was told of a gap, the line's or the age of what is held, and of no end of it */
    uint32_t reserved;
} snapshot;

/* Where the line is to write now. */
ring_writer *snapshot_target(snapshot *snapshot, ring_writer *raw);
/* One step, after each poll of the line. Never blocks; a bounded number of messages. */
void snapshot_poll(snapshot *snapshot, line *line, ring_writer *raw, uint64_t now_ns);
/* Leave the server. */
void snapshot_close(snapshot *snapshot, uint64_t now_ns);
