/* feed.c: the feed stage. See include/feed.h. */
#include "feed.h"
#include "clock_inline.h"
#include "digest.h"
#include "histogram_inline.h"
#include "ring_inline.h"
#include <string.h>

#define PREFETCH_AHEAD 4 /* messages whose book lines are fetched while earlier ones are applied */
#define LOCATES 65536

void feed_init(feed_stage *feed) {
    for (uint32_t i = 0; i < LOCATES; i++) feed->locate[i] = NO_INSTRUMENT;
    for (uint32_t i = 0; i < feed->instrument_count; i++)
        if (feed->instruments[i].venue_locate && feed->instruments[i].venue_locate < LOCATES)
            feed->locate[feed->instruments[i].venue_locate] = i;
    feed->packet_start = 1;
    feed->gap_open = feed->gap_lost = feed->silent = 0;
    if (feed->stage.lockstep && feed->source) feed->source->pace = SOURCE_FLAT_OUT; /* virtual time has no pace */
}

static itch_context context_of(const feed_stage *feed) {
    return (itch_context){.instrument = feed->locate, .midnight_ns = feed->midnight_ns};
}

/* ---- planning --------------------------------------------------------------------------------- */

static void front_end_poll(feed_stage *feed, uint64_t now_ns) {
    if (feed->source) source_poll(feed->source, &feed->raw, now_ns);
    if (feed->line) {
        line_poll(feed->line, &feed->raw, now_ns, LINE_BATCH_MAX);
        feed->heard_time_ns = feed->line->heard_time_ns;
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
    event->header.ingress_time_ns = now_ns;
    event->header.publish_time_ns = now_ns;
    event->header.type = RAW_SILENT;
    event->header.flags = FLAG_PACKET_END;
    event->header.instrument = NO_INSTRUMENT;
    ring_commit_inline(&feed->raw);
}

void feed_plan(feed_stage *feed, turn_plan *plan) {
    stage_context *stage = &feed->stage;
    front_end_poll(feed, stage_now(stage));
    if (stage->lockstep && feed->source && feed->source->origin_time_ns > stage->lockstep->now_ns)
        __atomic_store_n(&stage->lockstep->now_ns, feed->source->origin_time_ns, __ATOMIC_RELAXED);
    stage_plan(stage, plan);
    if (!stage->lockstep) silence_check(feed, plan->now_ns);
    /* Take no more than norm has room for; one raw event makes at most one norm event. */
    uint64_t room = ring_room_inline(&feed->norm);
    uint64_t waiting = feed->raw.next - feed->raw_in.next;
    uint64_t take = waiting < feed->batch_max ? waiting : feed->batch_max;
    if (take > room) {
        take = room;
        feed->stage.page->counter[FEED_NORM_FULL]++;
    }
    memset(plan->input_sequence, 0, sizeof plan->input_sequence);
    plan->input_sequence[0] = feed->raw_in.next + take;
}

/* ---- one raw event ------------------------------------------------------------------------------ */

static uint32_t stale(const feed_stage *feed) { return feed->gap_open | feed->gap_lost | feed->silent; }

/* A locate is the venue's number for the day; the directory message says whose it is today. */
static void directory_learn(feed_stage *feed, const raw_event *raw) {
    itch_message message;
    if (itch_decode(raw->bytes, raw->length, &message) != ITCH_OK) return;
    char symbol[sizeof feed->instruments[0].symbol] = {0};
    for (uint32_t i = 0; i < sizeof message.stock && message.stock[i] != ' '; i++) symbol[i] = message.stock[i];
    uint32_t known = feed->locate[message.locate];
    if (known != NO_INSTRUMENT && memcmp(feed->instruments[known].symbol, symbol, sizeof symbol) == 0) return;
    feed->locate[message.locate] = NO_INSTRUMENT;
    for (uint32_t i = 0; i < feed->instrument_count; i++)
        if (memcmp(feed->instruments[i].symbol, symbol, sizeof symbol) == 0) {
            feed->locate[message.locate] = i;
            return;
        }
}

static void count_status(uint64_t *counter, int status) {
    switch (status) {
    case ITCH_UNKNOWN_INSTRUMENT: counter[FEED_UNKNOWN_INSTRUMENT]++; break;
    case ITCH_UNKNOWN_TYPE: counter[FEED_UNKNOWN_TYPE]++; break;
    default: counter[FEED_MALFORMED]++; break;
    }
}

static void count_applied(uint64_t *counter, int status) {
    switch (status) {
    case BOOK_OK: counter[FEED_BOOK_UPDATES]++; break;
    case BOOK_UNKNOWN_ORDER: counter[FEED_UNKNOWN_ORDER]++; break;
    case BOOK_DUPLICATE_ORDER: counter[FEED_DUPLICATE_ORDER]++; break;
    case BOOK_FULL: counter[FEED_BOOK_FULL]++; break;
    case BOOK_BAD_EVENT: counter[FEED_MALFORMED]++; break;
    default: break;
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
    event->header.flags |= (uint16_t)((stale(feed) ? FLAG_STALE : 0) |
                                      (raw->header.flags & (FLAG_PACKET_END | FLAG_RECOVERED)));
    stage_digest(&feed->stage, norm_word(event));
    ring_commit_inline(&feed->norm);
    hop_record(feed, HOP_FEED, feed->message_time_ns, now);
    feed->message_time_ns = now;
    feed->stage.page->counter[FEED_EVENTS]++;
}

static void message_decode(feed_stage *feed, const raw_event *raw) {
    uint64_t *counter = feed->stage.page->counter;
    if (raw->offset == 0) counter[FEED_MESSAGES]++;
    norm_event *event = ring_claim_inline(&feed->norm);
    if (!event) { /* a replay whose norm ring is smaller than the plan saw */
        feed->stage.page->error = STAGE_ERROR_RESOURCE;
        return;
    }
    if (raw->length != raw->total) { /* ITCH has no message longer than one slot */
        if (raw->offset == 0) counter[FEED_MALFORMED]++;
        return;
    }
    itch_context context = context_of(feed);
    if (raw->length && raw->bytes[0] == 'R') directory_learn(feed, raw);
    int status = itch_normalise(&context, raw->bytes, raw->length, event);
    if (status != ITCH_OK) {
        count_status(counter, status);
        return;
    }
    count_applied(counter, book_apply(feed->book, event));
    if (event->header.flags & FLAG_TOP) counter[FEED_TOP_CHANGES]++;
    norm_commit(feed, event, raw);
}

/* A state of the line, as an event for all instruments. */
static void state_publish(feed_stage *feed, const raw_event *raw, uint8_t type) {
    norm_event *event = ring_claim_inline(&feed->norm);
    if (!event) return;
    memset((uint8_t *)event + sizeof(uint64_t), 0, sizeof *event - sizeof(uint64_t));
    event->header.type = type;
    event->header.instrument = NO_INSTRUMENT;
    event->header.origin_time_ns = raw->header.ingress_time_ns;
    if (type == NORM_GAP) event->quantity_lots = raw->total;
    if (raw->header.type == RAW_GAP_LOST) event->reference = raw->bytes[0];
    if (type == NORM_LINE) {
        event->order_ref = 'A' + raw->total;
        event->quantity_lots = raw->header.type == RAW_LINE_HEARD;
    }
    feed->message_time_ns = raw->header.ingress_time_ns;
    norm_commit(feed, event, raw);
}

static void state_apply(feed_stage *feed, const raw_event *raw) {
    uint64_t *counter = feed->stage.page->counter;
    switch (raw->header.type) {
    case RAW_GAP:
        feed->gap_open = 1;
        state_publish(feed, raw, NORM_GAP);
        break;
    case RAW_GAP_CLOSED:
        feed->gap_open = 0;
        if (!stale(feed)) state_publish(feed, raw, NORM_WHOLE);
        break;
    case RAW_GAP_LOST: /* orders were missed: the books stay stale until the next session */
        feed->gap_open = 0;
        feed->gap_lost = 1;
        state_publish(feed, raw, NORM_GAP);
        break;
    case RAW_SILENT:
        feed->silent = 1;
        counter[FEED_SILENCES]++;
        state_publish(feed, raw, NORM_SILENT);
        break;
    case RAW_LINE_SILENT:
    case RAW_LINE_HEARD: /* the other line speaks: told, and nothing is stale */
        state_publish(feed, raw, NORM_LINE);
        break;
    case RAW_SESSION:
        book_clear(feed->book, NO_INSTRUMENT);
        feed->gap_open = feed->gap_lost = 0;
        state_publish(feed, raw, NORM_WHOLE);
        break;
    default: break;
    }
    counter[FEED_STALE] = stale(feed);
}

/* Hearing anything ends a silence. */
static void silence_end(feed_stage *feed, const raw_event *raw) {
    if (!feed->silent || raw->header.type == RAW_SILENT || raw->header.type == RAW_LINE_SILENT) return;
    feed->silent = 0;
    feed->stage.page->counter[FEED_STALE] = stale(feed);
}

static void prefetch(const feed_stage *feed, uint64_t end) {
    uint64_t sequence = feed->raw_in.next + PREFETCH_AHEAD;
    if (sequence >= end) return;
    const raw_event *raw = ring_at_inline(&feed->raw_in, PREFETCH_AHEAD);
    uint64_t order_ref = itch_order_ref(raw->bytes, raw->length);
    if (order_ref) book_prefetch(feed->book, order_ref);
}

static void raw_take(feed_stage *feed, const raw_event *raw) {
    /* A message behind its packet-mates has waited for them: that hop is recorded apart. */
    if (feed->packet_start) feed->message_time_ns = raw->header.ingress_time_ns;
    else hop_record(feed, HOP_WAIT, raw->header.ingress_time_ns, feed->message_time_ns);
    feed->packet_start = (raw->header.flags & FLAG_PACKET_END) != 0;
    silence_end(feed, raw);
    if (raw->header.type == RAW_MESSAGE) message_decode(feed, raw);
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
