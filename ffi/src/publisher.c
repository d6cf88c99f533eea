/* publisher.c: a venue's outgoing feed. See include/publisher.h. */
#include "publisher.h"
#include "itch.h"
#include "moldudp.h"
#include "wire_inline.h"
#include <string.h>

#define BLOCK_HEADER_SIZE 2
#define PUBLISHED_MESSAGE_MAX 64 /* no ITCH message is longer */

typedef struct {
    char stock[8];
    uint16_t locate;
    uint8_t known;
    uint8_t reserved[5];
} publisher_symbol;

struct publisher {
    uint8_t *store;
    uint64_t *position; /* [sequence & message_mask]: bytes stored before it since the start */
    publisher_symbol *symbol;
    uint64_t store_mask;
    uint64_t message_mask;
    uint64_t written;  /* bytes stored since the start, the gaps at the ring's end included */
    uint64_t next;     /* number of the next message */
    uint64_t oldest;
    uint64_t unsent;   /* first message not yet flushed */
    uint64_t midnight_ns;
    uint32_t instruments;
    uint32_t packet_bytes_max;
    char session[10];
    uint8_t reserved[6];
};

static uint64_t align_line(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) & ~(uint64_t)(CACHE_LINE_SIZE - 1); }
static bool power_of_two(uint64_t value) { return value && !(value & (value - 1)); }

uint64_t publisher_bytes(const publisher_config *config) {
    if (!power_of_two(config->store_bytes) || config->store_bytes < 65536 || config->store_bytes > (uint64_t)1 << 40) return 0;
    if (!power_of_two(config->store_messages) || config->store_messages > (uint64_t)1 << 36) return 0;
    if (!config->instruments || config->instruments > INSTRUMENTS_MAX) return 0;
    if (config->packet_bytes_max > MOLD_PACKET_MAX) return 0;
    if (config->packet_bytes_max < MOLD_HEADER_SIZE + BLOCK_HEADER_SIZE + PUBLISHED_MESSAGE_MAX) return 0;
    return align_line(sizeof(struct publisher)) + align_line(config->instruments * sizeof(publisher_symbol)) +
           align_line(config->store_messages * sizeof(uint64_t)) + config->store_bytes;
}

publisher *publisher_init(void *memory, uint64_t bytes, const publisher_config *config) {
    uint64_t needed = publisher_bytes(config);
    if (!memory || (uintptr_t)memory % CACHE_LINE_SIZE || !needed || bytes < needed) return NULL;
    publisher *p = memory;
    memset(p, 0, sizeof *p);
    uint8_t *base = (uint8_t *)memory + align_line(sizeof *p);
    p->symbol = (publisher_symbol *)base;
    memset(p->symbol, 0, config->instruments * sizeof *p->symbol);
    base += align_line(config->instruments * sizeof *p->symbol);
    p->position = (uint64_t *)base;
    p->store = base + align_line(config->store_messages * sizeof *p->position);
    p->store_mask = config->store_bytes - 1;
    p->message_mask = config->store_messages - 1;
    p->next = p->oldest = p->unsent = 1;
    p->midnight_ns = config->midnight_ns;
    p->instruments = config->instruments;
    p->packet_bytes_max = config->packet_bytes_max;
    memcpy(p->session, config->session, sizeof p->session);
    return p;
}

int publisher_instrument(publisher *p, uint32_t instrument, uint16_t locate, const char *stock) {
    if (instrument >= p->instruments) return PUBLISHER_UNENCODABLE;
    memcpy(p->symbol[instrument].stock, stock, sizeof p->symbol[instrument].stock);
    p->symbol[instrument].locate = locate;
    p->symbol[instrument].known = 1;
    return PUBLISHER_OK;
}

/* ---- messages ---------------------------------------------------------------------------------- */

int publisher_message(publisher *p, const uint8_t *bytes, uint32_t length) {
    uint64_t size = BLOCK_HEADER_SIZE + length;
    if (!length || length > PUBLISHED_MESSAGE_MAX) return PUBLISHER_UNENCODABLE;
    uint64_t left = p->store_mask + 1 - (p->written & p->store_mask);
    if (left < size) p->written += left; /* messages do not wrap */
    uint8_t *target = p->store + (p->written & p->store_mask);
    wire_store16(target, (uint16_t)length);
    memcpy(target + BLOCK_HEADER_SIZE, bytes, length);
    p->position[p->next & p->message_mask] = p->written;
    p->written += size;
    p->next++;
    while (p->next - p->oldest > p->message_mask + 1 ||
           p->written - p->position[p->oldest & p->message_mask] > p->store_mask + 1)
        p->oldest++;
    return PUBLISHER_OK;
}

static uint8_t state_letter(uint64_t state) {
    switch (state) {
    case STATE_TRADING: return 'T';
    case STATE_PAUSED: return 'P';
    case STATE_QUOTATION: return 'Q';
    default: return 'H';
    }
}

/* The letter that a type has in ITCH, 0 when none. */
static uint8_t letter_of(const norm_event *event) {
    switch (event->header.type) {
    case NORM_ADD: return 'A';
    case NORM_EXECUTE: return 'E';
    case NORM_EXECUTE_PRICE: return 'C';
    case NORM_REDUCE: return 'X';
    case NORM_DELETE: return 'D';
    case NORM_REPLACE: return 'U';
    case NORM_TRADE: return 'P';
    case NORM_BROKEN: return 'B';
    case NORM_STATUS: return 'H';
    default: return 0;
    }
}

int publisher_event(publisher *p, const norm_event *event) {
    uint8_t bytes[PUBLISHED_MESSAGE_MAX];
    itch_message message = {.type = letter_of(event)};
    if (!message.type) return PUBLISHER_NOT_PUBLIC;
    uint32_t instrument = event->header.instrument;
    if (instrument >= p->instruments || !p->symbol[instrument].known) return PUBLISHER_UNENCODABLE;
    message.locate = p->symbol[instrument].locate;
    memcpy(message.stock, p->symbol[instrument].stock, sizeof message.stock);
    message.time_ns = event->header.origin_time_ns - p->midnight_ns;
    message.side = event->header.flags & FLAG_SELL ? 'S' : 'B';
    message.printable = event->header.flags & FLAG_PRINTABLE ? 'Y' : 'N';
    message.order_ref = event->order_ref;
    message.shares = (uint64_t)event->quantity_lots;
    message.price = (uint64_t)event->price_ticks;
    message.new_ref = message.match = event->reference;
    if (message.type == 'H') {
        message.event = state_letter(event->order_ref);
        memset(message.detail, ' ', sizeof message.detail);
    }
    if (message.type == 'P') message.order_ref = 0, message.side = 'B'; /* as the venue has sent since 2014 */
    uint32_t length = itch_encode(&message, bytes, sizeof bytes);
    return length ? publisher_message(p, bytes, length) : PUBLISHER_UNENCODABLE;
}

/* ---- packets ----------------------------------------------------------------------------------- */

uint32_t publisher_signal(const publisher *p, uint16_t count, uint8_t *target) {
    mold_header header = {.sequence = p->unsent, .count = count};
    memcpy(header.session, p->session, sizeof header.session);
    return mold_header_encode(&header, target);
}

/* Messages [sequence, end) as far as one packet holds them. */
static uint32_t pack(const publisher *p, uint64_t sequence, uint64_t end, uint8_t *target, uint32_t capacity) {
    if (capacity > p->packet_bytes_max) capacity = p->packet_bytes_max;
    if (capacity < MOLD_HEADER_SIZE || sequence < p->oldest || sequence >= end) return 0;
    mold_header header = {.sequence = sequence};
    memcpy(header.session, p->session, sizeof header.session);
    uint32_t size = mold_header_encode(&header, target);
    for (uint64_t s = sequence; s < end; s++) {
        const uint8_t *message = p->store + (p->position[s & p->message_mask] & p->store_mask);
        uint32_t grown = mold_append(target, size, capacity, message + BLOCK_HEADER_SIZE, wire_load16(message));
        if (!grown) break;
        size = grown;
    }
    return size > MOLD_HEADER_SIZE ? size : 0;
}

uint32_t publisher_packet(const publisher *p, uint64_t sequence, uint32_t count, uint8_t *target, uint32_t capacity) {
    if (sequence >= p->unsent) return 0;
    uint64_t end = count < p->unsent - sequence ? sequence + count : p->unsent;
    return pack(p, sequence, end, target, capacity);
}

uint32_t publisher_flush(publisher *p, uint8_t *target, uint32_t capacity, uint32_t *sizes, uint32_t max) {
    uint32_t packets = 0;
    if (p->unsent < p->oldest) p->unsent = p->oldest; /* the store was too small for one turn: a gap */
    while (packets < max && p->unsent < p->next) {
        uint32_t size = pack(p, p->unsent, p->next, target, capacity);
        if (!size) break;
        p->unsent += wire_load16(target + MOLD_HEADER_SIZE - 2); /* its count */
        sizes[packets++] = size;
        target += size;
        capacity -= size;
    }
    return packets;
}

uint64_t publisher_next_sequence(const publisher *p) { return p->next; }
uint64_t publisher_oldest_sequence(const publisher *p) { return p->oldest; }
