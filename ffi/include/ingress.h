/* ingress.h: frames that feed handlers in any language push, into the ring `ingress`, and from there into raw.
 *
 *   sender --frames over ZeroMQ--> ingress_take --ring ingress--> ingress_poll --ring raw--> the feed's turns
 *          <--ingress_answer----   (process ingress)              (front end of the feed)
 *
 * A frame comes from outside: every length, number and name in it is checked before any of it is used, and
 * one that fails is counted by its reason and dropped whole. Formats: docs/ingress.md, little-endian.
 *
 * A sender is one of those configured, and has one stream: a session, and messages numbered in it. What is
 * not the next message is a duplicate and dropped, or reveals a gap: RAW_GAP, and books are stale until the
 * sender begins a new session. A session begins with the snapshot that it announces: stale until that is
 * whole. A sender that falls silent makes books stale until it is heard again, if nothing is missing then.
 *
 * Several senders share one market, whose books are cleared together: when one begins anew, each other one
 * must too (INGRESS_SESSION_WANTED), since its part went with the rest.
 *
 * Nothing is dropped for want of room: a frame that does not fit is taken up where it was left off, and
 * until then the process reads no other, so that the senders' queues fill.
 */
#pragma once
#include "layout.h"
#include "ring.h"

#define INGRESS_SENDERS_MAX 16
#define INGRESS_MESSAGES_MAX 4096 /* of one frame */
#define INGRESS_FRAME_MAX 327680  /* bytes: header, and as many of the longest messages */
#define INGRESS_VERSION 1

/* ---- on the wire ------------------------------------------------------------------------------- */

enum ingress_kind {
    INGRESS_KIND_UNSPECIFIED,
    INGRESS_SESSION,   /* a session begins at `sequence`; its first `count` messages are the snapshot */
    INGRESS_RAW,       /* venue bytes: `count` times a big-endian length (2) and a message */
    INGRESS_NORM,      /* canonical events: `count` ingress_norms */
    INGRESS_HEARTBEAT, /* `sequence` is the next message's: reveals a gap at the end of a burst */
    INGRESS_END        /* the session ends in order; its sender may be silent from here on */
};

typedef struct {
    uint32_t magic;    /* "HPIN" in memory order */
    uint16_t version;  /* INGRESS_VERSION */
    uint8_t kind;      /* enum ingress_kind */
    uint8_t reserved0; /* 0, as every reserved field */
    char sender[16];   /* NUL-padded */
    uint64_t session;  /* of the sender, each above the last: its start time in ns will do */
    uint64_t sequence; /* of the first message, counted within the session from any number */
    uint32_t count;    /* messages */
    uint32_t size;     /* bytes that follow */
    uint64_t reserved[2];
} ingress_frame;

/* A canonical event: what itch_normalise makes of a message, with the symbol in place of an index. */
typedef struct {
    uint64_t origin_time_ns; /* venue clock, ns since the epoch: within 2^48 of the day's midnight */
    uint64_t order_ref;
    int64_t price_ticks;
    int64_t quantity_lots;
    uint64_t reference;
    char symbol[16];         /* NUL-padded; empty: the market's own event */
    uint8_t type;            /* NORM_ADD to NORM_TRADE and the states that a venue tells of */
    uint8_t reserved0;
    uint16_t flags;          /* FLAG_SELL, FLAG_PRINTABLE */
    uint32_t reserved1;
} ingress_norm;

/* What became of a frame; above INGRESS_GAP: it was refused. */
enum ingress_status {
    INGRESS_TAKEN,
    INGRESS_DUPLICATE,      /* every message of it was here already */
    INGRESS_GAP,            /* taken, but messages are missing, of this sender or another: begin a new session */
    INGRESS_SESSION_WANTED, /* no session of this sender stands: begin one */
    INGRESS_SUPERSEDED,     /* a later session of the same sender has begun */
    INGRESS_UNKNOWN_SENDER,
    INGRESS_BAD_MAGIC,
    INGRESS_BAD_VERSION,
    INGRESS_BAD_KIND,
    INGRESS_BAD_SIZE,       /* the frame is shorter or longer than it says, or longer than one may be */
    INGRESS_BAD_COUNT,      /* more messages than a frame may have, or none, or not as many as it says */
    INGRESS_BAD_MESSAGE,    /* a message of no length, or of more than RAW_BYTES_MAX */
    INGRESS_BAD_RESERVED,
    INGRESS_BAD_SEQUENCE,   /* numbers that cannot be: 0, or beyond 2^63 */
    INGRESS_STATUSES,
    INGRESS_FULL            /* the ring has no room: offer the same frame again. Never on the wire */
};

typedef struct {
    uint32_t magic;   /* "HPIA" in memory order */
    uint16_t version;
    uint8_t status;   /* enum ingress_status */
    uint8_t reserved0;
    char sender[16];
    uint64_t session;
    uint64_t next;    /* every message below is in the engine's ring */
    uint64_t credit;  /* messages that the ring has room for now */
    uint64_t reserved[2];
} ingress_answer;

/* ---- the process's own --------------------------------------------------------------------------- */

/* In the page of the process ingress; refusals by reason follow: INGRESS_REFUSALS + enum ingress_status. */
enum ingress_counter {
    INGRESS_FRAMES,       /* received */
    INGRESS_MESSAGES,     /* put into the ring */
    INGRESS_DUPLICATES,   /* messages that were here already */
    INGRESS_GAPS,
    INGRESS_GAP_MESSAGES, /* missing in them */
    INGRESS_SESSIONS,
    INGRESS_SILENCES,     /* a sender fell silent */
    INGRESS_FULL_WAITS,   /* a frame had to wait for room */
    INGRESS_STALE,        /* gauge: 1 while the feed is told that books are stale */
    INGRESS_SENDERS_LIVE, /* gauge */
    INGRESS_REFUSALS = 32,
    INGRESS_COUNTERS = 64
};

enum ingress_sender_state { SENDER_ABSENT, SENDER_LIVE, SENDER_SILENT };

typedef struct {
    char name[16];
    uint64_t session;
    uint64_t next;          /* sequence that is to come */
    uint64_t snapshot_end;  /* first sequence after the snapshot; 0 = it is whole */
    uint64_t heard_time_ns;
    uint64_t epoch;         /* of the market that its session belongs to */
    uint32_t state;         /* enum ingress_sender_state */
    uint32_t reserved;
} ingress_sender;

typedef struct {
    char symbol[16]; /* NUL-padded */
    uint32_t instrument;
    uint32_t reserved;
} ingress_symbol;

typedef struct {
    ring_writer *ring;             /* `ingress` */
    const ingress_symbol *symbol;  /* sorted by their bytes */
    uint64_t *counter;             /* by enum ingress_counter */
    uint64_t silence_ns;
    uint64_t epoch;                /* counts the times that the books were cleared */
    uint64_t missing;              /* messages of the gap that is to be told */
    uint64_t missing_sequence;     /* the first of them */
    uint32_t symbol_count;
    uint32_t sender_count;
    uint32_t broken;               /* a gap that only a new session closes */
    uint32_t told;                 /* the feed knows that books are stale */
    uint32_t waiting;              /* the last frame did not fit, and will come again */
    uint32_t reserved;
    ingress_sender sender[INGRESS_SENDERS_MAX];
} ingress;

/* After the caller has filled in ring, symbols, counters, silence and the senders' names. A ring that a
 * predecessor wrote to lacks what it knew: every sender must begin anew. */
void ingress_init(ingress *self);
/* Take one frame as it came: enum ingress_status. `answer` is written unless INGRESS_FULL is returned. */
int ingress_take(ingress *self, const uint8_t *frame, uint64_t size, uint64_t now_ns, ingress_answer *answer);
/* Look for senders that have fallen silent, and tell the feed what it does not know yet. */
void ingress_tick(ingress *self, uint64_t now_ns);

/* ---- the feed's -------------------------------------------------------------------------------- */

typedef struct {
    ring_reader ring;      /* `ingress`, gating */
    const stage_page *page; /* of the process: its heartbeat says that somebody listens */
    uint64_t midnight_ns;  /* of the trading day */
    uint64_t origin_time_ns; /* of the last message given */
    uint32_t batch_max;    /* events of one poll */
    uint32_t finished;     /* the last session ended in order */
} ingress_source;

/* Copy what has come into raw, as far as there is room. In virtual time the ingress times are `now_ns`: nothing
 * else is known there. Returns how many events. */
uint32_t ingress_poll(ingress_source *source, ring_writer *raw, uint64_t now_ns, int virtual_time);
/* A RAW_NORM event as the norm event that it says, held to what venue bytes can say on the day that began at
 * `midnight_ns`: enum itch_status. The event is not touched unless ITCH_OK is returned. */
int ingress_normalise(const raw_event *raw, uint32_t instrument_count, uint64_t midnight_ns, norm_event *event);
/* The order that a RAW_NORM event touches, if any: lets a reader prefetch. */
uint64_t ingress_order_ref(const raw_event *raw);
