/* gateway.h: the gateway stage: approved orders -> wire, venue's reports -> executions.
 *
 *   cmd --kill, mode, digest, duplicate, session--> intent file --> frame --> socket (end of the turn)
 *    norm --> paper venue (that kind only) --.
 *                       socket --> reports --+--> order table --> exec
 *                                                adjust ----------^
 *
 * Invariants: no frame enters the send buffer before its intent is stored, and with durable intents none
 * leaves it before that is on disk; a command_id has at most one
 * intent, ever; an intent found after a death is never sent; a report is published before the intent
 * page's next_expected_sequence passes it. docs/gateway.md says how each case is settled.
 *
 * Inputs of a turn, in turn_plan.input_sequence: norm, cmd, then two words that make the order bytes a
 * function of the plan: the venue session (0 down, 1 up, 2 + n up with room for n orders), and the lowest user_ref
 * that may be given out. A part of the send buffer is kept for cancels: an order that does not fit the rest is refused.
 *
 * Conservation: each command is framed, refused or known, one for one, and each frame, read back from its bytes, asks
 * for what was approved. Where that fails nothing of it leaves, and CAUSE_CONSERVATION halts until a new run.
 */
#pragma once
#include "layout.h"
#include "ring.h"
#include "stage.h"
#include "intent.h"
#include "session.h"
#include "venue.h"

enum gateway_input { GATEWAY_INPUT_NORM, GATEWAY_INPUT_CMD, GATEWAY_INPUT_SESSION, GATEWAY_INPUT_USER_REF };

enum gateway_status { GATEWAY_OK, GATEWAY_BAD_CONFIG, GATEWAY_BAD_INTENTS, GATEWAY_TOO_SMALL };

typedef struct {
    venue_terms terms;      /* kind: paper, OUCH 5.0 or 4.2 */
    session_config session; /* paper: unused */
    uint64_t receive_interval_ns; /* at most one receive in so long; 0: one in each turn */
    uint64_t quiet_ns;      /* a recovering stream that is silent for so long is caught up */
    uint64_t kill_reset_ns; /* after a kill: reset a connection whose orders the venue does not take; 0: never */
    uint64_t query_timeout_ns; /* go up without an answer to the account query after so long */
    uint64_t midnight_time_ns; /* of the trading day at the venue, engine clock */
    uint32_t orders_max;    /* commands of one day: at least the intent file's capacity */
    uint32_t batch_max;     /* commands, and market events for the paper venue, in one turn */
    uint32_t instrument_count;
    uint8_t replay;         /* 1: store intents, touch no socket, publish nothing: what was published is given back */
    uint8_t reserved[3];
} gateway_config;

enum gateway_order_state {
    GATEWAY_ORDER_NONE,
    GATEWAY_ORDER_SENT,    /* or about to be */
    GATEWAY_ORDER_LIVE,
    GATEWAY_ORDER_UNKNOWN, /* sent on an earlier connection, no answer in the venue's stream */
    GATEWAY_ORDER_DEAD
};

enum gateway_order_flag {
    GATEWAY_ORDER_CANCEL_WANTED = 1, /* a cancel could not leave, or may have been lost */
    GATEWAY_ORDER_SETTLED_HERE = 2,  /* dead by inference; a late answer revives it */
    GATEWAY_ORDER_STUCK = 4,         /* a replacement whose target is dead */
    GATEWAY_ORDER_ANSWERED = 8,      /* accepted, replaced or rejected by the venue */
    GATEWAY_ORDER_REJECTED = 16,
    GATEWAY_ORDER_DISCARDED = 32     /* framed, and thrown away by a kill before a byte of it left */
};

/* One order or replacement; they stand in the order of their order_id and of their user_ref. */
typedef struct {
    uint64_t order_id;
    uint64_t venue_ref;
    uint64_t sent_time_ns;  /* 0: not by this process */
    int64_t leaves_lots;
    int64_t cumulative_lots;
    uint32_t user_ref;
    uint32_t record;        /* index of its intent */
    uint32_t instrument;
    uint32_t target;        /* replacement: index of the order replaced + 1 */
    uint32_t successor;     /* index of its latest replacement + 1 */
    uint8_t type;           /* CMD_NEW, CMD_REPLACE */
    uint8_t side;
    uint8_t state;          /* enum gateway_order_state */
    uint8_t flags;          /* enum gateway_order_flag */
} gateway_order;

/* One execution of an order, so that it is told once, and can be taken back or corrected. */
typedef struct {
    uint64_t match_id;
    int64_t quantity_lots;
    int64_t price_ticks;    /* as corrected */
    uint32_t order;         /* index + 1; 0 = the place is free */
    uint32_t broken;        /* 1: it did not happen */
} gateway_fill;

enum gateway_recovery { RECOVERY_NONE, RECOVERY_REPLAY, RECOVERY_CANCEL, RECOVERY_QUERY, RECOVERY_SETTLE };

/* Private to the process that runs the stage. The caller fills in what comes before `config`. */
typedef struct {
    stage_context stage;
    ring_reader norm;      /* paper only */
    ring_reader cmd;
    ring_writer exec;
    ring_reader adjust;    /* not in replay */
    const limits_page *limits; /* in shared memory: scopes that people killed; NULL: none ever is */
    const instrument_entry *instruments; /* config.instrument_count of them */
    void *paper;           /* a `paper`, made by the caller; paper only, and not in replay */
    stage_context *before[STAGES_MAX]; /* stages of the same loop, which hold their turn records; NULL: none */

    gateway_config config;
    session session;
    intent_store intents;
    gateway_order *orders;
    uint32_t *index_by_id; /* hash of command_id -> record + 1, and more of the hash above it */
    uint64_t index_mask;
    gateway_fill *fills;   /* by order and match, hashed, at most half of the places used; sockets only */
    uint64_t fill_mask;
    uint64_t fill_count;
    uint32_t order_count;
    uint32_t first_open;   /* no order below is anything but dead */
    uint32_t open_count;
    uint32_t stuck_count;
    uint32_t unknown_count;
    uint32_t recovery;     /* enum gateway_recovery */
    uint64_t recovery_time_ns;   /* of the last thing that happened in it */
    uint64_t recovery_heartbeats;
    uint64_t published_sequence; /* reports below were published, by this process or one before */
    uint64_t resume_sequence;    /* commands below were dealt with by a process before */
    uint64_t adjusted_sequence;  /* adjustments below were published, by this process or one before */
    uint64_t settle_below_ref;   /* the venue is past these: what it has not answered, it never had */
    uint64_t fencing_epoch;
    uint64_t receive_time_ns;    /* of the last receive, by the turns' clock */
    uint64_t ingress_time_ns;    /* when its bytes were in user memory */
    uint64_t scope_time_ns;  /* of the last look at orders of killed scopes */
    uint64_t scope_bytes;    /* of session.order_bytes, when the last scope was killed */
    uint32_t scope_version;  /* kill_version of the limits that a turn knows of */
    uint32_t scope_waits;    /* 1: not all of that is confirmed */
    uint64_t kill_seen;    /* kill epoch of which a turn knows + 1 */
    uint64_t kill_time_ns; /* of that turn */
    uint64_t sweep_epoch;  /* kill epoch whose sweep was begun + 1 */
    uint64_t kill_sent;    /* kill epoch reported as effective + 1 */
    uint64_t order_time_ns; /* when the last byte of a new order or replacement was handed over, or later */
    uint64_t market_origin_ns; /* paper: venue time of the last market event, */
    uint64_t market_now_ns;    /* and the turn's time when it was taken */
    uint32_t orphans;      /* paper: orders below this index died with the process before */
    uint32_t sweep;        /* 1: orders wait to be cancelled */
    uint32_t sweep_next;
    uint32_t sweep_all;    /* 1: every open order, whatever its flags */
    uint32_t announced_up; /* the last session event published */
    uint32_t announce_down; /* a down event must be published */
    uint32_t distrust;     /* 1: a report could not be understood, matched or believed; no new orders */
    uint32_t orders_unsent;   /* 1: of session.order_bytes some are in the send buffer */
    uint32_t causes_told;     /* what mode_publish last said */
    uint32_t window_used;     /* orders framed in this turn */
    uint32_t unconserved;     /* 1: what left is not what was approved: nothing but cancels leaves any more */
    uint64_t entered;         /* commands taken from the ring, */
    uint64_t left;            /* of which so many were framed, */
    uint64_t declined;        /* refused, */
    uint64_t settled;         /* or dealt with before, or by a sweep */
    uint32_t cancels_waiting; /* 1: cancels were stored while there was no session */
    uint32_t socket;       /* 1: there is a session to serve */
    uint32_t unsynced_order; /* orders from this index on are not on disk yet; durable intents only */
} gateway;

/* Bytes that gateway_init needs, 64-byte aligned; 0 when the configuration is out of range. */
uint64_t gateway_bytes(const gateway_config *config);
/* Lay the gateway out in `memory`. The caller then attaches stage, rings, instruments and paper. */
gateway *gateway_init(void *memory, uint64_t bytes, const gateway_config *config);
/* Open the intent file and take up after whatever died before. `segment` is the whole mapping. */
int gateway_open(gateway *gateway, void *segment, uint64_t bytes);
void gateway_plan(gateway *gateway, turn_plan *plan);
/* This intent was published just now: ask for what its command will touch. For a loop that runs both stages. */
void gateway_expect(const gateway *gateway, const signal_event *intent);
/* The same for an order of which nothing is known yet. */
void gateway_expect_order(const gateway *gateway);
/* A rehearsal's: as though no order had ever been. Its intent file is private memory. */
void gateway_forget(gateway *gateway);
/* 1 when the turn did something. */
int gateway_turn(gateway *gateway, const turn_plan *plan);
/* Records go to disk before their frames leave: gateway.durability = "power". After gateway_open; `records` is a
 * private copy of the file's, `sync_fd` is opened O_DSYNC, `page_fd` is not. Descriptors stay the caller's. */
void gateway_make_durable(gateway *gateway, intent_record *records, int sync_fd, int page_fd);
/* Log out and close. The intent file stays. */
void gateway_close(gateway *gateway);
