/* session.h: a SoupBinTCP client as a state machine that never blocks.
 *
 *   DISCONNECTED --back-off over--> CONNECTING --writable--> LOGGING_IN --accepted--> RECOVERING
 *        ^                              |                        |                       | gateway:
 *        |<------ failure, silence, end of stream ---------------+-----------------------+ caught up
 *        |                                                                               v
 *        `------------------------------------------------------------------------------ UP
 *   CLOSED: login refused, end of session, a gap that cannot be filled: stays so until people act.
 *
 * The caller owns both buffers. Bytes to send are gathered by session_queue and leave in one
 * system call of session_flush; received packets are looked at with session_next and let go with
 * session_consume, so a consumer without room stops reading and TCP slows the venue down.
 * Time is an argument everywhere. A connection that is not logged out is reset, however its process ends: no byte
 * leaves after it that the kernel still had. Source: SoupBinTCP 3.00.
 */
#pragma once
#include "layout.h"

enum session_state { SESSION_DISCONNECTED, SESSION_CONNECTING, SESSION_LOGGING_IN, SESSION_RECOVERING, SESSION_UP, SESSION_CLOSED };

/* Why the session is not up: EXEC_SESSION_DOWN carries it. From SESSION_REFUSED on it is CLOSED. */
enum session_reason {
    SESSION_REASON_NONE,
    SESSION_STARTED,          /* a new gateway process */
    SESSION_CONNECT_FAILED,
    SESSION_CONNECT_TIMEOUT,
    SESSION_LOGIN_TIMEOUT,
    SESSION_PEER_CLOSED,
    SESSION_SOCKET_ERROR,
    SESSION_SILENT,           /* nothing heard for silence_ns */
    SESSION_MALFORMED,        /* bytes that are no packet */
    SESSION_NOT_DURABLE,      /* intents could not be written to the disk: what was queued must not leave */
    SESSION_KILLED,           /* reset: after a kill the venue did not take what was under way */
    SESSION_NOT_CONSERVED,    /* what was queued is not what was approved, and must not leave */
    SESSION_REFUSED = 16,     /* login refused: reason unknown */
    SESSION_NOT_AUTHORISED,   /* 'A' */
    SESSION_NOT_AVAILABLE,    /* 'S': no such session */
    SESSION_ENDED,            /* the venue ended the session */
    SESSION_OTHER_SESSION,    /* accepted into a session that is not the intent file's */
    SESSION_SEQUENCE_GAP,     /* the venue no longer has what was asked for */
    SESSION_SEQUENCE_BACK,    /* the venue's stream is shorter than what was seen of it */
    SESSION_FENCED,           /* another gateway took the session */
    SESSION_LOGGED_OUT
};

typedef struct {
    char address[48];     /* IPv4, numeric, NUL-terminated */
    char username[6];     /* space-padded */
    char password[10];    /* space-padded */
    uint16_t port;
    uint16_t reserved0;
    uint32_t send_bytes;  /* buffer sizes; at least 65539 to receive */
    uint32_t receive_bytes;
    uint32_t socket_send_bytes; /* SO_SNDBUF; 0: the system's */
    uint64_t heartbeat_ns;      /* send one when nothing was sent for so long */
    uint64_t silence_ns;        /* give up when nothing was heard for so long */
    uint64_t connect_timeout_ns;
    uint64_t login_timeout_ns;
    uint64_t backoff_ns_min;    /* doubled at each failure up to the maximum */
    uint64_t backoff_ns_max;
} session_config;

/* Private to the gateway's process. */
typedef struct {
    session_config config;
    uint8_t *send;
    uint8_t *receive;
    uint64_t send_head;     /* first byte not yet handed to the kernel */
    uint64_t send_tail;
    uint64_t queued_bytes;  /* of this connection, so far: less what was thrown away */
    uint64_t order_bytes;   /* of queued_bytes: up to the last one of a packet that the caller calls an order */
    uint64_t send_begun;    /* bytes at send_head that end a packet of which the kernel has the beginning */
    uint64_t receive_head;  /* first byte not yet consumed */
    uint64_t receive_tail;
    uint64_t next_sequence; /* number of the next sequenced message */
    uint64_t deadline_time_ns; /* of the state: end of back-off, connect or login time-out */
    uint64_t backoff_ns;
    uint64_t sent_time_ns;
    uint64_t heard_time_ns;
    uint64_t check_time_ns; /* when to look next whether a connection has come about */
    uint64_t *counter;      /* GATEWAY_* counters */
    int fd;                 /* -1: none */
    uint32_t state;         /* enum session_state */
    uint32_t reason;        /* enum session_reason */
    uint32_t starved;       /* no whole packet waits in the buffer: time to receive */
    uint64_t heartbeats_heard; /* of this connection */
    char name[16];          /* the session asked for and then joined; blank: the current one */
} session;

typedef struct {
    const uint8_t *payload;
    uint32_t length;
    uint32_t size;     /* of the packet */
    uint64_t sequence; /* 0: not sequenced */
} session_message;

/* `buffers` holds send_bytes and then receive_bytes. */
void session_init(session *session, const session_config *config, uint8_t *buffers, uint64_t *counter);
/* Move time-outs, connecting, heartbeats on. `request_sequence` is what a login would ask for. */
void session_tick(session *session, uint64_t now_ns, uint64_t request_sequence);
/* 1 when `length` bytes could be queued now. */
int session_room(const session *session, uint32_t length);
/* Queue whole frames for sending; 0 when there is no room and nothing was queued. */
int session_queue(session *session, const uint8_t *bytes, uint32_t length);
/* One non-blocking send of what is queued; a part that does not leave stays. */
void session_flush(session *session, uint64_t now_ns);
/* One non-blocking receive, when the buffer holds no whole packet. Returns bytes received. */
uint64_t session_receive(session *session, uint64_t now_ns);
/* The next data message, 1, or 0 when none is whole. Control packets on the way are dealt with. */
int session_next(session *session, uint64_t now_ns, session_message *message);
void session_consume(session *session, const session_message *message);
/* Close the connection for this reason, and by it back off or stay closed. */
void session_fail(session *session, uint32_t reason, uint64_t now_ns);
/* The gateway has recovered: RECOVERING -> UP. */
void session_raise(session *session);
/* Bytes on their way to the peer's TCP, here or in the kernel; 0: it has acknowledged all, or there is no connection. */
uint64_t session_in_flight(session *session);
/* The packets queued of which no byte has left, one after the other: `at` is 0 at first. 0: there is no other one. */
int session_queued(const session *session, uint64_t *at, session_message *message);
/* Throw away the packet that session_queued has just shown; `at` then is that of the next. */
void session_discard(session *session, uint64_t *at, const session_message *message);
/* Ask to be logged out, as far as one send goes, and close. */
void session_logout(session *session, uint64_t now_ns);
