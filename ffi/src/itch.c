/* itch.c: NASDAQ TotalView-ITCH 5.0. See include/itch.h.
 *
 *   |0 type|1 locate|3 tracking|5 time (48 bits, ns since midnight)|11 body ...|     all big-endian
 *
 * Each message is declared once below; length table, decoder, encoder and the assert that its fields
 * fill it come from that one list. itch_normalise is written by hand, for the path.
 */
#include "itch.h"
#include "wire_inline.h"

#define HEAD_SIZE 11
#define TIME_MASK 0xffffffffffffu

/* ---- the messages: NUMBER(offset, size, field), TEXT(offset, size, field) --------------------- */

#define SYSTEM(NUMBER, TEXT) NUMBER(11, 1, event)
#define DIRECTORY(NUMBER, TEXT)                                                                        \
    TEXT(11, 8, stock) TEXT(19, 2, detail[0]) NUMBER(21, 4, number[0]) TEXT(25, 9, detail[2])          \
    NUMBER(34, 4, number[1]) TEXT(38, 1, detail[11])
#define STATUS(NUMBER, TEXT)                                                                           \
    TEXT(11, 8, stock) NUMBER(19, 1, event) TEXT(20, 1, detail[4]) TEXT(21, 4, detail[0])
#define REG_SHO(NUMBER, TEXT) TEXT(11, 8, stock) NUMBER(19, 1, event)
#define PARTICIPANT(NUMBER, TEXT)                                                                      \
    TEXT(11, 4, mpid) TEXT(15, 8, stock) NUMBER(23, 1, event) TEXT(24, 2, detail[0])
#define DECLINE(NUMBER, TEXT) NUMBER(11, 8, number[0]) NUMBER(19, 8, number[1]) NUMBER(27, 8, number[2])
#define BREACH(NUMBER, TEXT) NUMBER(11, 1, event)
#define QUOTING(NUMBER, TEXT)                                                                          \
    TEXT(11, 8, stock) NUMBER(19, 4, number[0]) TEXT(23, 1, detail[0]) NUMBER(24, 4, price)
#define COLLAR(NUMBER, TEXT)                                                                           \
    TEXT(11, 8, stock) NUMBER(19, 4, price) NUMBER(23, 4, number[0]) NUMBER(27, 4, number[1])          \
    NUMBER(31, 4, number[2])
#define HALT(NUMBER, TEXT) TEXT(11, 8, stock) NUMBER(19, 1, event) TEXT(20, 1, detail[0])
#define ADD(NUMBER, TEXT)                                                                              \
    NUMBER(11, 8, order_ref) NUMBER(19, 1, side) NUMBER(20, 4, shares) TEXT(24, 8, stock)              \
    NUMBER(32, 4, price)
#define ADD_MPID(NUMBER, TEXT) ADD(NUMBER, TEXT) TEXT(36, 4, mpid)
#define EXECUTED(NUMBER, TEXT) NUMBER(11, 8, order_ref) NUMBER(19, 4, shares) NUMBER(23, 8, match)
#define EXECUTED_PRICE(NUMBER, TEXT)                                                                   \
    EXECUTED(NUMBER, TEXT) NUMBER(31, 1, printable) NUMBER(32, 4, price)
#define CANCEL(NUMBER, TEXT) NUMBER(11, 8, order_ref) NUMBER(19, 4, shares)
#define DELETE(NUMBER, TEXT) NUMBER(11, 8, order_ref)
#define REPLACE(NUMBER, TEXT)                                                                          \
    NUMBER(11, 8, order_ref) NUMBER(19, 8, new_ref) NUMBER(27, 4, shares) NUMBER(31, 4, price)
#define TRADE(NUMBER, TEXT) ADD(NUMBER, TEXT) NUMBER(36, 8, match)
#define CROSS(NUMBER, TEXT)                                                                            \
    NUMBER(11, 8, shares) TEXT(19, 8, stock) NUMBER(27, 4, price) NUMBER(31, 8, match)                 \
    NUMBER(39, 1, cross_type)
#define BROKEN(NUMBER, TEXT) NUMBER(11, 8, match)
#define IMBALANCE(NUMBER, TEXT)                                                                        \
    NUMBER(11, 8, shares) NUMBER(19, 8, number[0]) TEXT(27, 1, detail[0]) TEXT(28, 8, stock)           \
    NUMBER(36, 4, number[1]) NUMBER(40, 4, number[2]) NUMBER(44, 4, price) NUMBER(48, 1, cross_type)   \
    TEXT(49, 1, detail[1])
#define INTEREST(NUMBER, TEXT) TEXT(11, 8, stock) NUMBER(19, 1, event)
#define CAPITAL_RAISE(NUMBER, TEXT)                                                                    \
    TEXT(11, 8, stock) TEXT(19, 1, detail[0]) NUMBER(20, 4, number[0]) NUMBER(24, 4, number[1])        \
    NUMBER(28, 4, number[2]) NUMBER(32, 8, number[3]) NUMBER(40, 4, number[4]) NUMBER(44, 4, number[5])

/* Every type that has the common head. */
#define MESSAGES(MESSAGE)                                                                              \
    MESSAGE('S', 12, SYSTEM)                                                                           \
    MESSAGE('R', 39, DIRECTORY)                                                                        \
    MESSAGE('H', 25, STATUS)                                                                           \
    MESSAGE('Y', 20, REG_SHO)                                                                          \
    MESSAGE('L', 26, PARTICIPANT)                                                                      \
    MESSAGE('V', 35, DECLINE)                                                                          \
    MESSAGE('W', 12, BREACH)                                                                           \
    MESSAGE('K', 28, QUOTING)                                                                          \
    MESSAGE('J', 35, COLLAR)                                                                           \
    MESSAGE('h', 21, HALT)                                                                             \
    MESSAGE('A', 36, ADD)                                                                              \
    MESSAGE('F', 40, ADD_MPID)                                                                         \
    MESSAGE('E', 31, EXECUTED)                                                                         \
    MESSAGE('C', 36, EXECUTED_PRICE)                                                                   \
    MESSAGE('X', 23, CANCEL)                                                                           \
    MESSAGE('D', 19, DELETE)                                                                           \
    MESSAGE('U', 35, REPLACE)                                                                          \
    MESSAGE('P', 44, TRADE)                                                                            \
    MESSAGE('Q', 40, CROSS)                                                                            \
    MESSAGE('B', 19, BROKEN)                                                                           \
    MESSAGE('I', 50, IMBALANCE)                                                                        \
    MESSAGE('N', 20, INTEREST)                                                                         \
    MESSAGE('O', 48, CAPITAL_RAISE)

#define SNAPSHOT_END 'G' /* of GLIMPSE: type and a sequence in 20 digits, no common head */
#define SNAPSHOT_END_SIZE 21

#define FIELD_SIZE(offset, size, field) +size
#define FIELDS_FILL(type, length, FIELDS) \
    _Static_assert(HEAD_SIZE FIELDS(FIELD_SIZE, FIELD_SIZE) == length, "fields fill the message");
MESSAGES(FIELDS_FILL)

#define LENGTH_ENTRY(type, length, FIELDS) [type] = length,
static const uint8_t lengths[256] = {MESSAGES(LENGTH_ENTRY)[SNAPSHOT_END] = SNAPSHOT_END_SIZE};

uint32_t itch_length(uint8_t type) { return lengths[type]; }

/* ITCH_OK when the first byte is a type and the length is that type's. */
WIRE_INLINE int check_length(const uint8_t *bytes, uint32_t length) {
    if (length == 0) return ITCH_BAD_LENGTH;
    uint32_t expected = lengths[bytes[0]];
    if (__builtin_expect(expected != length, 0)) return expected ? ITCH_BAD_LENGTH : ITCH_UNKNOWN_TYPE;
    return ITCH_OK;
}

/* The eight bytes from 3 are tracking (16 bits) and time (48): they lie within the shortest message. */
WIRE_INLINE uint64_t time_of(const uint8_t *bytes) { return wire_load64(bytes + 3) & TIME_MASK; }

static bool is_side(uint8_t side) { return side == 'B' || side == 'S'; }

static int check_letters(const uint8_t *bytes) {
    switch (bytes[0]) {
    case 'A':
    case 'F':
    case 'P': return is_side(bytes[19]) ? ITCH_OK : ITCH_BAD_FIELD;
    case 'C': return bytes[31] == 'Y' || bytes[31] == 'N' ? ITCH_OK : ITCH_BAD_FIELD;
    default: return ITCH_OK;
    }
}

/* ---- every field, both ways ------------------------------------------------------------------- */

#define GET_NUMBER(offset, size, field) message->field = (__typeof__(message->field))wire_load(bytes + offset, size);
#define GET_TEXT(offset, size, field) memcpy(&message->field, bytes + offset, size);
#define DECODE_CASE(type, length, FIELDS) \
    case type: FIELDS(GET_NUMBER, GET_TEXT) break;

static void decode_body(const uint8_t *bytes, itch_message *message) {
    switch (bytes[0]) { MESSAGES(DECODE_CASE) }
}

static int decode_snapshot_end(const uint8_t *bytes, itch_message *message) {
    uint64_t sequence;
    if (!wire_load_digits(bytes + 1, &sequence)) return ITCH_BAD_FIELD;
    wire_clear(message, sizeof *message);
    message->type = SNAPSHOT_END;
    message->order_ref = sequence;
    return ITCH_OK;
}

int itch_decode(const uint8_t *bytes, uint32_t length, itch_message *message) {
    int status = check_length(bytes, length);
    if (status != ITCH_OK) return status;
    if (bytes[0] == SNAPSHOT_END) return decode_snapshot_end(bytes, message);
    status = check_letters(bytes);
    if (status != ITCH_OK) return status;
    wire_clear(message, sizeof *message);
    message->type = bytes[0];
    message->locate = wire_load16(bytes + 1);
    message->tracking = wire_load16(bytes + 3);
    message->time_ns = time_of(bytes);
    decode_body(bytes, message);
    return ITCH_OK;
}

#define PUT_NUMBER(offset, size, field)                \
    fits = fits && wire_fits(message->field, size);    \
    wire_store(target + offset, size, message->field);
#define PUT_TEXT(offset, size, field) memcpy(target + offset, &message->field, size);
#define ENCODE_CASE(type, length, FIELDS) \
    case type: FIELDS(PUT_NUMBER, PUT_TEXT) break;

/* False when a number does not fit its field. */
static bool encode_body(const itch_message *message, uint8_t *target) {
    bool fits = true;
    switch (message->type) { MESSAGES(ENCODE_CASE) }
    return fits;
}

uint32_t itch_encode(const itch_message *message, uint8_t *target, uint32_t capacity) {
    uint32_t length = lengths[message->type];
    if (length == 0 || length > capacity) return 0;
    target[0] = message->type;
    if (message->type == SNAPSHOT_END) {
        wire_store_digits(target + 1, message->order_ref);
        return length;
    }
    if (!wire_fits(message->time_ns, 6)) return 0;
    wire_store16(target + 1, message->locate);
    wire_store16(target + 3, message->tracking);
    wire_store(target + 5, 6, message->time_ns);
    return encode_body(message, target) ? length : 0;
}

/* ---- the path --------------------------------------------------------------------------------- */

/* What a message says, in the words of norm_event. */
typedef struct {
    uint64_t order_ref;
    int64_t price_ticks;
    int64_t quantity_lots;
    uint64_t reference;
    uint16_t flags;
    uint8_t type; /* enum event_type; EVENT_NONE: nonsense */
} meaning;

static uint64_t trading_state_of(uint8_t letter) {
    switch (letter) {
    case 'T': return STATE_TRADING;
    case 'H': return STATE_HALTED;
    case 'P': return STATE_PAUSED;
    case 'Q': return STATE_QUOTATION;
    default: return STATE_UNKNOWN;
    }
}

static meaning notice(const uint8_t *bytes, uint64_t reference) {
    return (meaning){.type = NORM_NOTICE, .order_ref = bytes[0], .reference = reference};
}

/* A halt of this market's own making is a second state beside the regulatory one, which its end must not
 * lift. That of a sister market does not stop this one. */
static meaning meaning_of_halt(const uint8_t *bytes) {
    if (bytes[19] != 'Q') return notice(bytes, bytes[19]);
    return (meaning){.type = NORM_OPERATIONAL, .order_ref = trading_state_of(bytes[20]), .reference = bytes[19]};
}

/* Every type that is no order's. Quantities of 8 bytes that no signed lot can hold leave type 0. */
static __attribute__((noinline)) meaning meaning_of_rare(const uint8_t *bytes) {
    const meaning nonsense = {.type = EVENT_NONE};
    switch (bytes[0]) {
    case 'Q':
        if (bytes[11] & 0x80) return nonsense;
        return (meaning){.type = NORM_CROSS,
                         .flags = FLAG_PRINTABLE,
                         .order_ref = bytes[39],
                         .price_ticks = wire_load32(bytes + 27),
                         .quantity_lots = (int64_t)wire_load64(bytes + 11),
                         .reference = wire_load64(bytes + 31)};
    case 'B': return (meaning){.type = NORM_BROKEN, .reference = wire_load64(bytes + 11)};
    case 'I':
        if (bytes[11] & 0x80) return nonsense;
        return (meaning){.type = NORM_IMBALANCE,
                         .flags = bytes[27] == 'S' ? FLAG_SELL : 0,
                         .order_ref = wire_load64(bytes + 19),
                         .price_ticks = wire_load32(bytes + 44),
                         .quantity_lots = (int64_t)wire_load64(bytes + 11),
                         .reference = bytes[27]};
    case 'H':
        return (meaning){.type = NORM_STATUS,
                         .order_ref = trading_state_of(bytes[19]),
                         .reference = wire_load32(bytes + 21)};
    case 'h': return meaning_of_halt(bytes);
    case 'R':
        return (meaning){.type = NORM_DIRECTORY,
                         .quantity_lots = wire_load32(bytes + 21),
                         .reference = wire_load16(bytes + 1)};
    case 'S': return (meaning){.type = NORM_SYSTEM, .order_ref = bytes[11]};
    case 'J':
        return (meaning){.type = NORM_COLLAR,
                         .price_ticks = wire_load32(bytes + 19),
                         .quantity_lots = wire_load32(bytes + 27),
                         .reference = wire_load32(bytes + 23)};
    case 'Y':
    case 'N': return notice(bytes, bytes[19]); /* action; interest */
    case 'W': return notice(bytes, bytes[11]); /* the level breached */
    case 'L': return notice(bytes, bytes[25]); /* the participant's state */
    default: return notice(bytes, 0);          /* K O V */
    }
}

/* Where an order message keeps what a norm_event wants. The type of the next message is a coin toss
 * that no predictor wins, so the path does not branch on it: it loads through this plan, and an absent
 * number is a load masked away. A fifth to a third cheaper than a switch over recorded days
 * (bench/kernels/itch_bench.c). The offsets are those of the lists above a second time;
 * tests/property/test_codec_property.py holds the two equal over every type and any value.
 *
 * One letter may set a flag: `letter` sets it, `other` does not, any third is a bad field. A type that
 * has none looks at its own type byte, which always fits and sets nothing. */
typedef struct {
    uint8_t length;
    uint8_t type; /* enum event_type; EVENT_NONE: not an order message */
    uint8_t quantity_at, price_at, reference_at;
    uint8_t letter_at, letter, other;
    uint8_t letter_flag, flags;
    uint8_t has_quantity, has_price, has_reference; /* 0 or 1 */
    uint8_t reserved[3];
} order_plan;

#define SIDE_AT(at) .letter_at = (at), .letter = 'S', .other = 'B', .letter_flag = FLAG_SELL
#define NO_LETTER(own) .letter_at = 0, .letter = (own)
#define QUANTITY_AT(at) .quantity_at = (at), .has_quantity = 1
#define PRICE_AT(at) .price_at = (at), .has_price = 1
#define REFERENCE_AT(at) .reference_at = (at), .has_reference = 1
#define ORDER_AT 11

static const order_plan plans[256] = {
    ['A'] = {36, NORM_ADD, QUANTITY_AT(20), PRICE_AT(32), SIDE_AT(19)},
    ['F'] = {40, NORM_ADD, QUANTITY_AT(20), PRICE_AT(32), SIDE_AT(19)},
    ['D'] = {19, NORM_DELETE, NO_LETTER('D')},
    ['E'] = {31, NORM_EXECUTE, QUANTITY_AT(19), REFERENCE_AT(23), NO_LETTER('E'), .flags = FLAG_PRINTABLE},
    ['X'] = {23, NORM_REDUCE, QUANTITY_AT(19), NO_LETTER('X')},
    ['U'] = {35, NORM_REPLACE, QUANTITY_AT(27), PRICE_AT(31), REFERENCE_AT(19), NO_LETTER('U')},
    ['C'] = {36, NORM_EXECUTE_PRICE, QUANTITY_AT(19), PRICE_AT(32), REFERENCE_AT(23), .letter_at = 31, .letter = 'Y',
             .other = 'N', .letter_flag = FLAG_PRINTABLE},
    ['P'] = {44, NORM_TRADE, QUANTITY_AT(20), PRICE_AT(32), REFERENCE_AT(36), SIDE_AT(19), .flags = FLAG_PRINTABLE},
};

WIRE_INLINE uint64_t mask_of(uint8_t has) { return 0 - (uint64_t)has; }

/* System events and market-wide circuit breakers concern no instrument; their locate is 0. */
static bool is_market_wide(uint8_t type) { return type == 'S' || type == 'V' || type == 'W'; }

static __attribute__((noinline)) int normalise_snapshot_end(const uint8_t *bytes, norm_event *event) {
    uint64_t sequence;
    if (!wire_load_digits(bytes + 1, &sequence)) return ITCH_BAD_FIELD;
    event->header.type = NORM_NOTICE;
    event->header.flags = 0;
    event->header.instrument = NO_INSTRUMENT;
    event->header.origin_time_ns = 0;
    event->order_ref = SNAPSHOT_END;
    event->price_ticks = event->quantity_lots = 0;
    event->reference = sequence;
    return ITCH_OK;
}

static __attribute__((noinline)) int normalise_rare(const itch_context *context, const uint8_t *bytes, uint32_t length,
                                                    norm_event *event) {
    int status = check_length(bytes, length);
    if (status != ITCH_OK) return status;
    if (bytes[0] == SNAPSHOT_END) return normalise_snapshot_end(bytes, event);
    uint32_t instrument = is_market_wide(bytes[0]) ? NO_INSTRUMENT : context->instrument[wire_load16(bytes + 1)];
    if (instrument == NO_INSTRUMENT && !is_market_wide(bytes[0])) return ITCH_UNKNOWN_INSTRUMENT;
    meaning said = meaning_of_rare(bytes);
    if (said.type == EVENT_NONE) return ITCH_BAD_FIELD;
    event->header.type = said.type;
    event->header.flags = said.flags;
    event->header.instrument = instrument;
    event->header.origin_time_ns = context->midnight_ns + time_of(bytes);
    event->order_ref = said.order_ref;
    event->price_ticks = said.price_ticks;
    event->quantity_lots = said.quantity_lots;
    event->reference = said.reference;
    return ITCH_OK;
}

int itch_normalise(const itch_context *context, const uint8_t *bytes, uint32_t length, norm_event *event) {
    if (__builtin_expect(length == 0, 0)) return ITCH_BAD_LENGTH;
    const order_plan *plan = &plans[bytes[0]];
    if (__builtin_expect(plan->length != length, 0)) return normalise_rare(context, bytes, length, event);
    uint32_t instrument = context->instrument[wire_load16(bytes + 1)];
    if (__builtin_expect(instrument == NO_INSTRUMENT, 0)) return ITCH_UNKNOWN_INSTRUMENT;
    uint32_t unlike_letter = bytes[plan->letter_at] ^ plan->letter;
    uint32_t unlike_other = bytes[plan->letter_at] ^ plan->other;
    if (__builtin_expect(unlike_letter * unlike_other != 0, 0)) return ITCH_BAD_FIELD; /* one branch, not two */
    event->header.type = plan->type;
    event->header.flags = (uint16_t)(plan->flags | (plan->letter_flag & mask_of(unlike_letter == 0)));
    event->header.instrument = instrument;
    event->header.origin_time_ns = context->midnight_ns + time_of(bytes);
    event->order_ref = wire_load64(bytes + ORDER_AT);
    event->price_ticks = (int64_t)(wire_load32(bytes + plan->price_at) & mask_of(plan->has_price));
    event->quantity_lots = (int64_t)(wire_load32(bytes + plan->quantity_at) & mask_of(plan->has_quantity));
    event->reference = wire_load64(bytes + plan->reference_at) & mask_of(plan->has_reference);
    return ITCH_OK;
}

uint64_t itch_order_ref(const uint8_t *bytes, uint32_t length) {
    if (length < 19) return 0;
    switch (bytes[0]) {
    case 'A':
    case 'F':
    case 'E':
    case 'C':
    case 'X':
    case 'D':
    case 'U': return wire_load64(bytes + 11);
    default: return 0;
    }
}
