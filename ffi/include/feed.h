/* feed.h: the feed stage: raw -> decode -> book -> norm.
 *
 *   network, file or senders --(line.h, snapshot.h, source.h, ingress.h)--> raw ring --(turns)--> norm ring
 *
 * The front end decides what was received, in which order, and where it is whole; it runs in
 * feed_plan and writes that down in the raw ring. The turn is a function of the raw ring alone.
 * A book that is known to lack something is not believed: FLAG_STALE on the events of its instrument
 * alone, until a snapshot or a session begins it anew. A gap, a silence and a snapshot in the making
 * concern all instruments. docs/feed.md has the reasons, and what each message not used is counted as.
 *
 * A turn never starts a message that norm has no room for: a stalled reader of norm backs up into
 * raw, then into the socket, and comes back as a gap, which marks the books stale.
 */
#pragma once
#include "layout.h"
#include "stage.h"
#include "book.h"
#include "itch.h"
#include "source.h"
#include "capture.h"
#include "line.h"
#include "snapshot.h"
#include "ingress.h"

typedef struct {
    stage_context stage;
    ring_writer raw;      /* the front end's */
    ring_reader raw_in;
    ring_writer norm;
    book *book;           /* own */
    source *source;       /* a recorded feed, or NULL */
    line *line;           /* a network line, or that of a capture, or NULL */
    capture *capture;     /* what the line is given in place of sockets, or NULL */
    snapshot *snapshot;   /* where its books come from when it lost messages for good, or NULL */
    ingress_source *ingress; /* what senders push, or NULL */
    const instrument_entry *instruments;
    uint32_t *locate;     /* 65536 entries: instrument by venue locate, or what feed.c knows of it instead */
    uint32_t instrument_count;
    uint32_t batch_max;   /* raw events of one turn */
    uint64_t midnight_ns; /* of the trading day */
    uint64_t silence_ns;  /* books are stale when nothing was heard for so long; 0 = never */
    uint64_t heard_time_ns;
    uint64_t message_time_ns; /* when the feed turned to the current message */
    uint64_t silence_reported_ns; /* the heard_time_ns whose silence was written down */
    uint64_t plan_sequence; /* of raw, at the last plan */
    uint64_t poll_sequence; /* of raw, at the last look at the sockets */
    uint32_t gap_open;
    uint32_t gap_lost;     /* orders were missed for good: stale until a snapshot or the next session */
    uint32_t silent;
    uint32_t packet_start; /* the next message is the first of its packet */
    uint32_t in_snapshot;  /* between the begin and the end of one */
    uint32_t trust_late_start; /* 1: a session joined after its first message is believed until an order turns up
                                  whose add was never seen; 0: stale until a snapshot */
    uint32_t filtering;    /* some instruments are left out */
    uint8_t partial[INSTRUMENTS_MAX]; /* 1: this book is not believed */
} feed_stage;

/* Prepare what the caller has filled in: locates from the instruments, an empty book. */
void feed_init(feed_stage *feed);
/* Run the front end, then plan. */
void feed_plan(feed_stage *feed, turn_plan *plan);
/* Ask for what the book will touch first for the message that waits longest, once there is one; the instrument of
 * which it speaks, or a number that none has. */
uint32_t feed_expect(const feed_stage *feed);
/* 1 when the recorded feed has ended and all of it was taken. */
int feed_finished(const feed_stage *feed);
/* 1 when the turn did something. */
int feed_turn(feed_stage *feed, const turn_plan *plan);
