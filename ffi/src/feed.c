/* feed.c: the feed stage. See include/feed.h. */
#include "feed.h"
#include "clock_inline.h"
#include "digest.h"
#include "histogram_inline.h"
#include "raw_inline.h"
#include "ring_inline.h"
#include "wire_inline.h"
#include <string.h>

#define PREFETCH_AHEAD 4 /* messages whose book lines are fetched while earlier ones are applied */
#define LOCATES 65536
#define POLL_EVERY 16    /* messages between two looks at the sockets, while messages wait */
#define CAPTURE_PACKETS_MAX 64 /* looked at in one turn, where nothing comes of them */

/* What stands in `locate` in place of an instrument. NO_INSTRUMENT: nothing was heard of it yet. */
#define LOCATE_MISSED 4294967294u   /* messages were passed over before anybody said whose it is */
#define LOCATE_FOREIGN 4294967293u  /* of a symbol that the reference data does not have */
#define LOCATE_FILTERED 4294967292u /* of a symbol that the configuration leaves out */

_Static_assert(LOCATE_FILTERED > INSTRUMENTS_MAX, "no instrument has the number of what is none");

static uint32_t locate_of(const feed_stage *feed, uint32_t instrument) {
    return feed->instruments[instrument].flags & INSTRUMENT_FILTERED ? LOCATE_FILTERED : instrument;
}

/* A locate is the venue's number for the day: what a session taught does not outlive it. */
static void locates_reset(feed_stage *feed) {
    for (uint32_t i = 0; i < LOCATES; i++) feed->locate[i] = NO_INSTRUMENT;
    for (uint32_t i = 0; i < feed->instrument_count; i++) {
        uint32_t locate = feed->instruments[i].venue_locate;
        if (locate && locate < LOCATES) feed->locate[locate] = locate_of(feed, i);
    }
}

void feed_init(feed_stage *feed) {
    locates_reset(feed);
    feed->filtering = 0;
    for (uint32_t i = 0; i < feed->instrument_count; i++)
        if (feed->instruments[i].flags & INSTRUMENT_FILTERED) feed->filtering = 1;
    memset(feed->partial, 0, sizeof feed->partial);
    feed->packet_start = 1;
    feed->gap_open = feed->gap_lost = feed->silent = feed->in_snapshot = 0;
    if (feed->capture) {
        feed->line->midnight_ns = feed->midnight_ns;
        feed->line->venue_time = 1;
    }
    if (feed->stage.lockstep && feed->source) feed->source->pace = SOURCE_FLAT_OUT; /* virtual time has no pace */
}

static itch_context context_of(const feed_stage *feed) {
    return (itch_context){.instrument = feed->locate, .midnight_ns = feed->midnight_ns};
}

/* ---- planning --------------------------------------------------------------------------------- */

/* A look at the sockets costs as much as several messages: while the turns get on with what is here, one look in
 * POLL_EVERY messages is enough. What comes meanwhile waits in the kernel, where it would wait in raw. */
static int line_is_due(feed_stage *feed) {
    uint64_t next = feed->raw_in.next, stood = feed->plan_sequence;
    feed->plan_sequence = next;
    if (feed->raw.next != next && next != stood && next - feed->poll_sequence < POLL_EVERY) return 0;
    feed->poll_sequence = next;
    return 1;
}

static void front_end_poll(feed_stage *feed, uint64_t now_ns) {
    if (feed->source) source_poll(feed->source, &feed->raw, now_ns);
    if (feed->capture) {
        /* In virtual time a message meets the market that was before it: one packet after the other is done. */
        int done = !feed->stage.lockstep || feed->raw_in.next == feed->raw.next;
        if (done) capture_poll(feed->capture, feed->line, &feed->raw, now_ns, CAPTURE_PACKETS_MAX);
    } else if (feed->line && line_is_due(feed)) {
        ring_writer *target = feed->snapshot ? snapshot_target(feed->snapshot, &feed->raw) : &feed->raw;
        line_poll(feed->line, target, now_ns, LINE_BATCH_MAX);
        if (feed->snapshot) snapshot_poll(feed->snapshot, feed->line, &feed->raw, now_ns);
        feed->heard_time_ns = feed->line->heard_time_ns;
    }
    if (feed->ingress) {
        const lockstep_page *page = feed->stage.lockstep;
        ingress_poll(feed->ingress, &feed->raw, page ? page->now_ns : now_ns, page != NULL);
        feed->heard_time_ns = __atomic_load_n(&feed->ingress->page->heartbeat_time_ns, __ATOMIC_RELAXED);
    }
}

/* Silence is the front end's finding: it is written into the raw ring like all that was received,
 * once for each time that something was heard last. */
static void silence_check(feed_stage *feed, uint64_t now_ns) {
    if (!feed->silence_ns || feed->silence_reported_ns == feed->heard_time_ns) return;
    if (now_ns < feed->heard_time_ns || now_ns - feed->heard_time_ns < feed->silence_ns) return;
    raw_event *event = ring_claim_inline(&feed->raw);
    if (!event) return; /* said when there is room */
    feed->silence_reported_ns = feed->heard_time_ns;
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.origin_time_ns = now_ns;
    event->header.ingress_time_ns = now_ns;
    event->header.publish_time_ns = now_ns;
    event->header.type = RAW_SILENT;
    event->header.flags = FLAG_PACKET_END;
    event->header.instrument = NO_INSTRUMENT;
    ring_commit_inline(&feed->raw);
}

int feed_finished(const feed_stage *feed) {
    int ended = (feed->source && feed->source->finished) || (feed->ingress && feed->ingress->finished) ||
                (feed->capture && feed->capture->finished);
    return ended && feed->raw_in.next == feed->raw.next;
}

/* The venue's time of the latest of the messages that this turn will take. */
static uint64_t captured_time(const feed_stage *feed, uint64_t take) {
    uint64_t latest = 0;
    for (uint64_t i = 0; i < take; i++) {
        const raw_event *raw = ring_at_inline(&feed->raw_in, i);
        if (raw->header.type != RAW_MESSAGE) continue;
        uint64_t time_ns = raw_venue_time(feed->midnight_ns, raw->bytes, raw->length);
        if (time_ns > latest) latest = time_ns;
    }
    return latest;
}

/* Virtual time is the venue's, and moves with what is received. */
static void time_move(const feed_stage *feed, uint64_t take) {
    lockstep_page *page = feed->stage.lockstep;
    if (!page) return;
    uint64_t origin_time_ns = feed->source ? feed->source->origin_time_ns : 0;
    if (feed->ingress) origin_time_ns = feed->ingress->origin_time_ns;
    if (feed->capture) origin_time_ns = captured_time(feed, take);
    if (origin_time_ns > page->now_ns) __atomic_store_n(&page->now_ns, origin_time_ns, __ATOMIC_RELAXED);
}

/* Take no more than norm has room for; one raw event makes at most one norm event. */
static uint64_t take_of(feed_stage *feed) {
    uint64_t room = ring_room_inline(&feed->norm);
    uint64_t waiting = feed->raw.next - feed->raw_in.next;
    uint64_t take = waiting < feed->batch_max ? waiting : feed->batch_max;
    if (take <= room) return take;
    feed->stage.page->counter[FEED_NORM_FULL]++;
    return room;
}

void feed_plan(feed_stage *feed, turn_plan *plan) {
    stage_context *stage = &feed->stage;
    front_end_poll(feed, stage_now(stage));
    uint64_t take = take_of(feed);
    time_move(feed, take);
    stage_plan(stage, plan);
    if (!stage->lockstep) silence_check(feed, plan->now_ns);
    memset(plan->input_sequence, 0, sizeof plan->input_sequence);
    plan->input_sequence[0] = feed->raw_in.next + take;
}

/* ---- one raw event ------------------------------------------------------------------------------ */

static uint32_t stale(const feed_stage *feed) {
    return feed->gap_open | feed->gap_lost | feed->silent | feed->in_snapshot;
}

static uint32_t stale_of(const feed_stage *feed, uint32_t instrument) {
    return stale(feed) | (instrument < INSTRUMENTS_MAX ? feed->partial[instrument] : 0);
}

/* This instrument's book lacks something, or holds what it should not. 1 when that is news. */
static int partial_mark(feed_stage *feed, uint32_t instrument, uint32_t reason) {
    uint64_t *counter = feed->stage.page->counter;
    if (instrument >= feed->instrument_count || feed->partial[instrument]) return 0;
    feed->partial[instrument] = 1;
    counter[reason]++;
    counter[FEED_STALE_INSTRUMENTS]++;
    return 1;
}

/* All begins anew: what was passed over before lacks in no book from here on. */
static void books_clear(feed_stage *feed) {
    for (uint32_t i = 0; i < LOCATES; i++)
        if (feed->locate[i] == LOCATE_MISSED) feed->locate[i] = NO_INSTRUMENT;
    book_clear(feed->book, NO_INSTRUMENT);
    memset(feed->partial, 0, sizeof feed->partial);
    feed->stage.page->counter[FEED_STALE_INSTRUMENTS] = 0;
}

/* ---- whose message -------------------------------------------------------------------------------- */

/* The instrument of a symbol as the wire pads it, or why there is none. */
static uint32_t symbol_find(const feed_stage *feed, const char *stock) {
    char symbol[sizeof feed->instruments[0].symbol] = {0};
    for (uint32_t i = 0; i < sizeof(((itch_message *)0)->stock) && stock[i] != ' '; i++) symbol[i] = stock[i];
    for (uint32_t i = 0; i < feed->instrument_count; i++)
        if (memcmp(feed->instruments[i].symbol, symbol, sizeof symbol) == 0) return locate_of(feed, i);
    return feed->filtering ? LOCATE_FILTERED : LOCATE_FOREIGN;
}

static int speaks_of(const feed_stage *feed, uint32_t instrument, const char *stock) {
    const char *symbol = feed->instruments[instrument].symbol;
    for (uint32_t i = 0; i < sizeof(((itch_message *)0)->stock); i++)
        if ((stock[i] == ' ' ? 0 : stock[i]) != symbol[i]) return 0;
    return 1;
}

/* The directory message says whose a locate is today; where the beginning of the day was missed, any message
 * that bears a symbol does. */
static void locate_learn(feed_stage *feed, const raw_event *raw, uint16_t locate) {
    itch_message message;
    uint32_t *known = &feed->locate[locate], before = *known;
    if (itch_decode(raw->bytes, raw->length, &message) != ITCH_OK || message.locate != locate) return;
    if (!message.stock[0]) { /* of a type that names none */
        if (itch_order_ref(raw->bytes, raw->length)) *known = LOCATE_MISSED;
        return;
    }
    if (before < feed->instrument_count && speaks_of(feed, before, message.stock)) return;
    *known = symbol_find(feed, message.stock);
    if (before == LOCATE_MISSED) partial_mark(feed, *known, FEED_PARTIAL_UNKNOWN_ORDER);
}

/* What `locate` holds for this message: an instrument, or a reason. */
static uint32_t locate_look_up(feed_stage *feed, const raw_event *raw) {
    if (raw->length < 3) return NO_INSTRUMENT;
    uint16_t locate = wire_load16(raw->bytes + 1);
    if (!locate) return NO_INSTRUMENT; /* the market's own */
    int open = feed->locate[locate] == NO_INSTRUMENT || feed->locate[locate] == LOCATE_MISSED;
    if (__builtin_expect(open || raw->bytes[0] == 'R', 0)) locate_learn(feed, raw, locate);
    return feed->locate[locate];
}

/* ---- what became of it ------------------------------------------------------------------------------ */

static void count_refused(uint64_t *counter, int status) {
    switch (status) {
    case ITCH_UNKNOWN_INSTRUMENT: counter[FEED_UNKNOWN_INSTRUMENT]++; break;
    case ITCH_UNKNOWN_TYPE: counter[FEED_UNKNOWN_TYPE]++; break;
    default: counter[FEED_BAD_MESSAGE]++; break;
    }
}

/* Whatever the book refused it does not hold, or should not have held: then it is not the venue's. */
static void count_applied(feed_stage *feed, int status, uint32_t instrument) {
    uint64_t *counter = feed->stage.page->counter;
    switch (status) {
    case BOOK_OK:
        counter[FEED_BOOK_UPDATES]++;
        counter[FEED_USED]++;
        break;
    case BOOK_UNKNOWN_ORDER:
        counter[FEED_UNKNOWN_ORDER]++;
        partial_mark(feed, instrument, FEED_PARTIAL_UNKNOWN_ORDER);
        break;
    case BOOK_DUPLICATE_ORDER:
        counter[FEED_DUPLICATE_ORDER]++;
        partial_mark(feed, instrument, FEED_PARTIAL_DUPLICATE_ORDER);
        break;
    case BOOK_FULL:
        counter[FEED_BOOK_FULL]++;
        partial_mark(feed, instrument, FEED_PARTIAL_BOOK_FULL);
        break;
    case BOOK_BAD_EVENT:
        counter[FEED_BAD_EVENT]++;
        partial_mark(feed, instrument, FEED_PARTIAL_BAD_EVENT);
        break;
    default: counter[FEED_USED]++; break; /* BOOK_IGNORED: of a type that no book holds */
    }
}

/* All that a decision downstream may read of a norm event, in one word: neither stamps nor measured times. */
static uint64_t norm_word(const norm_event *event) {
    uint64_t what = (uint64_t)event->header.type << 48 | (uint64_t)event->header.flags << 32 | event->header.instrument;
    const uint64_t field[DIGEST_FIELDS_MAX] = {what,
                                               event->header.origin_time_ns,
                                               event->order_ref,
                                               (uint64_t)event->price_ticks,
                                               (uint64_t)event->quantity_lots,
                                               event->reference,
                                               (uint64_t)event->bid_price_ticks,
                                               (uint64_t)event->ask_price_ticks,
                                               (uint64_t)event->bid_quantity_lots,
                                               (uint64_t)event->ask_quantity_lots,
                                               (uint64_t)event->bid_depth_lots,
                                               (uint64_t)event->ask_depth_lots};
    return digest_fields(field, DIGEST_FIELDS_MAX);
}

/* A hop that a clock says was negative is counted, never wrapped. */
static void hop_record(feed_stage *feed, enum hop hop, uint64_t from, uint64_t to) {
    if (to < from) {
        feed->stage.page->counter[FEED_NEGATIVE_HOPS]++;
        return;
    }
    if (feed->stage.hops) histogram_record_inline(&feed->stage.hops[hop], to - from);
}

static void norm_commit(feed_stage *feed, norm_event *event, const raw_event *raw) {
    uint64_t now = clock_read(feed->stage.clock);
    event->header.cause_sequence = feed->raw_in.next;
    event->header.cause_input = INPUT_RAW;
    event->header.ingress_time_ns = feed->message_time_ns;
    event->header.publish_time_ns = now;
    event->header.flags |= (uint16_t)((stale_of(feed, event->header.instrument) ? FLAG_STALE : 0) |
                                      (raw->header.flags & (FLAG_PACKET_END | FLAG_RECOVERED)));
    stage_digest(&feed->stage, norm_word(event));
    ring_commit_inline(&feed->norm);
    hop_record(feed, HOP_FEED, feed->message_time_ns, now);
    feed->message_time_ns = now;
    feed->stage.page->counter[FEED_EVENTS]++;
}

/* A state of the line, as an event for all instruments or of one. */
static void state_publish(feed_stage *feed, const raw_event *raw, uint8_t type, uint32_t instrument) {
    norm_event *event = ring_claim_inline(&feed->norm);
    if (!event) return;
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.type = type;
    event->header.instrument = instrument;
    /* The front end dated it, so that a replay of the raw ring, which has none, says the same. A message from a
     * socket, told of because it cannot be read, was not dated. */
    int dated = raw->header.type != RAW_MESSAGE || raw->header.origin_time_ns;
    event->header.origin_time_ns = dated ? raw->header.origin_time_ns : raw->header.ingress_time_ns;
    if (type == NORM_GAP && instrument == NO_INSTRUMENT) event->quantity_lots = raw->total;
    if (raw->header.type == RAW_GAP_LOST) event->reference = raw->bytes[0];
    if (type == NORM_LINE) {
        event->order_ref = 'A' + raw->total;
        event->quantity_lots = raw->header.type == RAW_LINE_HEARD;
    }
    feed->message_time_ns = raw->header.ingress_time_ns;
    norm_commit(feed, event, raw);
}

static int touches_book(uint8_t type) {
    return type == 'A' || type == 'F' || type == 'E' || type == 'C' || type == 'X' || type == 'D' || type == 'U';
}

/* A message that says something of an order and cannot be read: what it said, the book lacks. */
static void message_refuse(feed_stage *feed, const raw_event *raw, uint32_t instrument, int status) {
    count_refused(feed->stage.page->counter, status);
    if (status != ITCH_BAD_LENGTH && status != ITCH_BAD_FIELD) return;
    if (!raw->length || !touches_book(raw->bytes[0])) return;
    if (partial_mark(feed, instrument, FEED_PARTIAL_BAD_MESSAGE)) state_publish(feed, raw, NORM_GAP, instrument);
}

static void event_apply(feed_stage *feed, norm_event *event, const raw_event *raw) {
    count_applied(feed, book_apply(feed->book, event), event->header.instrument);
    if (event->header.flags & FLAG_TOP) feed->stage.page->counter[FEED_TOP_CHANGES]++;
    norm_commit(feed, event, raw);
}

static void message_decode(feed_stage *feed, const raw_event *raw) {
    uint64_t *counter = feed->stage.page->counter;
    norm_event *event = ring_claim_inline(&feed->norm);
    if (!event) { /* a replay whose norm ring is smaller than the plan saw */
        feed->stage.page->error = STAGE_ERROR_RESOURCE;
        return;
    }
    if (raw->offset != 0) return; /* the rest of what was refused with its first slot */
    counter[FEED_MESSAGES]++;
    if (feed->in_snapshot) counter[FEED_SNAPSHOT_MESSAGES]++;
    uint32_t instrument = locate_look_up(feed, raw);
    if (instrument == LOCATE_FILTERED) {
        counter[FEED_FILTERED]++;
        return;
    }
    int status = ITCH_BAD_LENGTH; /* ITCH has no message longer than one slot */
    if (instrument == LOCATE_MISSED || instrument == LOCATE_FOREIGN) status = ITCH_UNKNOWN_INSTRUMENT;
    else if (raw->length == raw->total) {
        itch_context context = context_of(feed);
        status = itch_normalise(&context, raw->bytes, raw->length, event);
    }
    if (status != ITCH_OK) {
        message_refuse(feed, raw, instrument, status);
        return;
    }
    event_apply(feed, event, raw);
}

/* A canonical event that a sender pushed: held to what a venue's bytes can say, then like any other. */
static void norm_take(feed_stage *feed, const raw_event *raw) {
    uint64_t *counter = feed->stage.page->counter;
    norm_event *event = ring_claim_inline(&feed->norm);
    if (!event) {
        feed->stage.page->error = STAGE_ERROR_RESOURCE;
        return;
    }
    counter[FEED_MESSAGES]++;
    uint32_t instrument = raw->header.instrument;
    if (instrument < feed->instrument_count && feed->instruments[instrument].flags & INSTRUMENT_FILTERED) {
        counter[FEED_FILTERED]++;
        return;
    }
    int status = ingress_normalise(raw, feed->instrument_count, feed->midnight_ns, event);
    if (status == ITCH_OK) {
        event_apply(feed, event, raw);
        return;
    }
    count_refused(counter, status);
    if (status == ITCH_BAD_FIELD && partial_mark(feed, instrument, FEED_PARTIAL_BAD_MESSAGE))
        state_publish(feed, raw, NORM_GAP, instrument);
}

static void state_apply(feed_stage *feed, const raw_event *raw) {
    uint64_t *counter = feed->stage.page->counter;
    switch (raw->header.type) {
    case RAW_GAP:
        feed->gap_open = 1;
        state_publish(feed, raw, NORM_GAP, NO_INSTRUMENT);
        break;
    case RAW_GAP_CLOSED:
        feed->gap_open = 0;
        if (!stale(feed)) state_publish(feed, raw, NORM_WHOLE, NO_INSTRUMENT);
        break;
    case RAW_GAP_LOST: /* orders were missed: the books stay stale until a snapshot or the next session */
        feed->gap_open = 0;
        feed->gap_lost = 1;
        state_publish(feed, raw, NORM_GAP, NO_INSTRUMENT);
        break;
    case RAW_SILENT:
        feed->silent = 1;
        counter[FEED_SILENCES]++;
        state_publish(feed, raw, NORM_SILENT, NO_INSTRUMENT);
        break;
    case RAW_LINE_SILENT:
    case RAW_LINE_HEARD: /* the other line speaks: told, and nothing is stale */
        state_publish(feed, raw, NORM_LINE, NO_INSTRUMENT);
        break;
    case RAW_SESSION: /* joined late, all that was said before is missing */
        books_clear(feed);
        locates_reset(feed);
        feed->gap_open = feed->in_snapshot = 0;
        feed->gap_lost = raw->session_sequence > 1 && !feed->trust_late_start;
        state_publish(feed, raw, NORM_CLEAR, NO_INSTRUMENT);
        break;
    case RAW_SNAPSHOT_BEGIN:
        books_clear(feed);
        feed->in_snapshot = 1;
        state_publish(feed, raw, NORM_CLEAR, NO_INSTRUMENT);
        break;
    case RAW_SNAPSHOT_END:
        feed->in_snapshot = feed->gap_open = feed->gap_lost = 0;
        counter[FEED_SNAPSHOTS]++;
        state_publish(feed, raw, NORM_WHOLE, NO_INSTRUMENT);
        break;
    default: break;
    }
    counter[FEED_STALE] = stale(feed);
}

/* Hearing anything from the line ends a silence; a snapshot comes another way. */
static void silence_end(feed_stage *feed, const raw_event *raw) {
    uint8_t type = raw->header.type;
    if (!feed->silent || type == RAW_SILENT || type == RAW_LINE_SILENT) return;
    if (feed->in_snapshot || type == RAW_SNAPSHOT_BEGIN) return;
    feed->silent = 0;
    feed->stage.page->counter[FEED_STALE] = stale(feed);
}

static void prefetch(const feed_stage *feed, uint64_t end) {
    uint64_t sequence = feed->raw_in.next + PREFETCH_AHEAD;
    if (sequence >= end) return;
    const raw_event *raw = ring_at_inline(&feed->raw_in, PREFETCH_AHEAD);
    if (raw->header.type == RAW_NORM) book_prefetch(feed->book, ingress_order_ref(raw));
    if (raw->header.type != RAW_MESSAGE) return;
    if (feed->filtering && raw->length >= 3 && feed->locate[wire_load16(raw->bytes + 1)] == LOCATE_FILTERED) return;
    uint64_t order_ref = itch_order_ref(raw->bytes, raw->length);
    if (order_ref) book_prefetch(feed->book, order_ref);
}

uint32_t feed_expect(const feed_stage *feed) {
    const raw_event *raw = ring_at_inline(&feed->raw_in, 0);
    if (raw->header.type != RAW_MESSAGE || raw->length < 3) return NO_INSTRUMENT;
    uint64_t order_ref = itch_order_ref(raw->bytes, raw->length);
    if (order_ref) book_prefetch(feed->book, order_ref);
    return feed->locate[wire_load16(raw->bytes + 1)];
}

static void raw_take(feed_stage *feed, const raw_event *raw) {
    /* A message behind its packet-mates has waited for them: that hop is recorded apart. */
    if (feed->packet_start) feed->message_time_ns = raw->header.ingress_time_ns;
    else hop_record(feed, HOP_WAIT, raw->header.ingress_time_ns, feed->message_time_ns);
    feed->packet_start = (raw->header.flags & FLAG_PACKET_END) != 0;
    silence_end(feed, raw);
    if (raw->header.type == RAW_MESSAGE) message_decode(feed, raw);
    else if (raw->header.type == RAW_NORM) norm_take(feed, raw);
    else state_apply(feed, raw);
}

int feed_turn(feed_stage *feed, const turn_plan *plan) {
    uint64_t end = plan->input_sequence[0];
    if (feed->raw_in.next >= end || !stage_input_stands(&feed->stage, &feed->raw_in, end)) return 0;
    if (!feed->packet_start) feed->message_time_ns = clock_read(feed->stage.clock);
    for (; feed->raw_in.next < end; feed->raw_in.next++) {
        prefetch(feed, end);
        raw_take(feed, ring_at_inline(&feed->raw_in, 0));
    }
    ring_release_inline(&feed->raw_in);
    feed->stage.page->counter[FEED_LIVE_ORDERS] = book_order_count(feed->book);
    stage_record(&feed->stage, plan, &feed->norm);
    return 1;
}
