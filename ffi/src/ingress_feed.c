/* ingress_feed.c: from the ring `ingress` into raw, and canonical events as norm events. See include/ingress.h. */
#include "ingress.h"
#include "itch.h"
#include "ring_inline.h"
#include "wire_inline.h"
#include <stddef.h>
#include <string.h>

#define TIME_OFFSET 5u /* of the 48-bit time in every ITCH message */
#define TIME_END 11u
#define WIRE_PRICE_MAX 4294967295    /* what a venue's four bytes can say */
#define WIRE_QUANTITY_MAX 4294967295
#define KNOWN_FLAGS (FLAG_SELL | FLAG_PRINTABLE)
#define DAY_SPAN_NS (1ull << 48)     /* what a venue's six bytes can say of the time since midnight */

static int within_day(uint64_t midnight_ns, uint64_t time_ns) { return time_ns - midnight_ns < DAY_SPAN_NS; }

/* Virtual time follows it: a time that no venue's bytes could say moves nothing. */
static uint64_t origin_of(const ingress_source *source, const raw_event *event) {
    uint64_t said = event->header.origin_time_ns;
    if (event->header.type == RAW_NORM) return within_day(source->midnight_ns, said) ? said : source->origin_time_ns;
    if (event->header.type != RAW_MESSAGE || event->length < TIME_END) return source->origin_time_ns;
    return source->midnight_ns + wire_load(event->bytes + TIME_OFFSET, 6);
}

uint32_t ingress_poll(ingress_source *source, ring_writer *raw, uint64_t now_ns, int virtual_time) {
    uint32_t count = 0;
    while (count < source->batch_max) {
        const raw_event *event = ring_front_inline(&source->ring);
        if (!event) break;
        raw_event *slot = ring_claim_inline(raw);
        if (!slot) break;
        memcpy((uint8_t *)slot + sizeof(uint64_t), (const uint8_t *)event + sizeof(uint64_t),
               sizeof *slot - sizeof(uint64_t));
        source->origin_time_ns = origin_of(source, event);
        if (virtual_time) slot->header.ingress_time_ns = slot->header.publish_time_ns = now_ns;
        int told = slot->header.type == RAW_MESSAGE || slot->header.type == RAW_NORM;
        slot->header.origin_time_ns = told ? source->origin_time_ns : slot->header.ingress_time_ns;
        if (slot->header.type == RAW_SESSION) source->finished = 0;
        if (slot->header.type == RAW_SESSION_END) source->finished = 1;
        ring_commit_inline(raw);
        source->ring.next++;
        count++;
    }
    if (count) ring_release_inline(&source->ring);
    return count;
}

/* ---- canonical events ------------------------------------------------------------------------------ */

static int is_order(uint8_t type) { return type >= NORM_ADD && type <= NORM_REPLACE; }

/* The types that a venue tells of; the others are the engine's own findings. */
static int is_told(uint8_t type) {
    switch (type) {
    case NORM_TRADE:
    case NORM_CROSS:
    case NORM_BROKEN:
    case NORM_IMBALANCE:
    case NORM_STATUS:
    case NORM_DIRECTORY:
    case NORM_SYSTEM:
    case NORM_COLLAR:
    case NORM_NOTICE:
    case NORM_OPERATIONAL: return 1;
    default: return is_order(type);
    }
}

/* What it says of numbers is what the venue's bytes could have said: the path was built for no others. */
static int check_numbers(const ingress_norm *norm, uint64_t midnight_ns) {
    int64_t quantity_max = norm->type == NORM_CROSS || norm->type == NORM_IMBALANCE ? INT64_MAX : WIRE_QUANTITY_MAX;
    if (!within_day(midnight_ns, norm->origin_time_ns)) return ITCH_BAD_FIELD;
    if (norm->price_ticks < 0 || norm->price_ticks > WIRE_PRICE_MAX) return ITCH_BAD_FIELD;
    if (norm->quantity_lots < 0 || norm->quantity_lots > quantity_max) return ITCH_BAD_FIELD;
    int is_state = norm->type == NORM_STATUS || norm->type == NORM_OPERATIONAL;
    if (is_state && norm->order_ref > STATE_QUOTATION) return ITCH_BAD_FIELD;
    if (norm->flags & ~KNOWN_FLAGS || norm->reserved0 || norm->reserved1) return ITCH_BAD_FIELD;
    return ITCH_OK;
}

static int check_instrument(const ingress_norm *norm, uint32_t instrument, uint32_t instrument_count) {
    if (instrument < instrument_count) return ITCH_OK;
    if (instrument != NO_INSTRUMENT || norm->symbol[0]) return ITCH_UNKNOWN_INSTRUMENT;
    return norm->type == NORM_SYSTEM || norm->type == NORM_NOTICE ? ITCH_OK : ITCH_BAD_FIELD;
}

uint64_t ingress_order_ref(const raw_event *raw) {
    uint64_t order_ref;
    memcpy(&order_ref, raw->bytes + offsetof(ingress_norm, order_ref), sizeof order_ref);
    return order_ref;
}

int ingress_normalise(const raw_event *raw, uint32_t instrument_count, uint64_t midnight_ns, norm_event *event) {
    ingress_norm norm;
    if (raw->length != sizeof norm || raw->total != sizeof norm) return ITCH_BAD_LENGTH;
    memcpy(&norm, raw->bytes, sizeof norm);
    if (!is_told(norm.type)) return ITCH_UNKNOWN_TYPE;
    int status = check_instrument(&norm, raw->header.instrument, instrument_count);
    if (status == ITCH_OK) status = check_numbers(&norm, midnight_ns);
    if (status != ITCH_OK) return status;
    event->header.type = norm.type;
    event->header.flags = norm.flags;
    event->header.instrument = raw->header.instrument;
    event->header.origin_time_ns = norm.origin_time_ns;
    event->order_ref = norm.order_ref;
    event->price_ticks = norm.price_ticks;
    event->quantity_lots = norm.quantity_lots;
    event->reference = norm.reference;
    return ITCH_OK;
}
