/* ouch.c: what OUCH 5.0 and 4.2 share: the appendage of optional values, and tokens. See include/ouch.h.
 *
 *   appendage:  |length of the elements (2)|length|tag|value ...|length|tag|value ...|
 *                                           `-- counts the tag byte
 *   token:      |'H'|'P'|user_ref in 12 digits of base 36|
 */
#include "ouch.h"
#include "ouch_inline.h"

/* NUMBER(tag, size of the value, field), TEXT(tag, size, field); a set is encoded in this order. */
#define ELEMENTS(NUMBER, TEXT)                                                                         \
    NUMBER(1, 8, secondary_ref)                                                                        \
    TEXT(2, 4, firm)                                                                                   \
    NUMBER(3, 4, min_quantity)                                                                         \
    NUMBER(4, 1, customer_type)                                                                        \
    NUMBER(5, 4, max_floor)                                                                            \
    NUMBER(6, 1, price_type)                                                                           \
    NUMBER(7, 4, peg_offset)                                                                           \
    NUMBER(9, 8, discretion_price)                                                                     \
    NUMBER(10, 1, discretion_price_type)                                                               \
    NUMBER(11, 4, discretion_peg_offset)                                                               \
    NUMBER(12, 1, post_only)                                                                           \
    NUMBER(13, 4, random_reserves)                                                                     \
    TEXT(14, 4, route)                                                                                 \
    NUMBER(15, 4, expire_time)                                                                         \
    NUMBER(16, 1, trade_now)                                                                           \
    NUMBER(17, 1, handle_inst)                                                                         \
    NUMBER(18, 1, bbo_weight)                                                                          \
    NUMBER(19, 8, reference_price)                                                                     \
    NUMBER(20, 1, reference_price_type)                                                                \
    NUMBER(22, 4, display_quantity)                                                                    \
    NUMBER(23, 8, display_price)

#define ELEMENT_HEADER_SIZE 2
#define BIT(tag) (1u << (tag))
#define TAG_BIT(tag, size, field) | BIT(tag)
static const uint32_t known_tags = 0 ELEMENTS(TAG_BIT, TAG_BIT);

#define ELEMENT_NUMBER_CASE(tag, size, field)                                                \
    case tag:                                                                                \
        if (value_size != size) return OUCH_BAD_APPENDAGE;                                   \
        appendage->field = (__typeof__(appendage->field))wire_load(value, size);             \
        break;
#define ELEMENT_TEXT_CASE(tag, size, field)                                                  \
    case tag:                                                                                \
        if (value_size != size) return OUCH_BAD_APPENDAGE;                                   \
        memcpy(appendage->field, value, size);                                               \
        break;

/* A tag told twice is refused: which of the two was meant is not ours to guess. */
static int decode_element(uint8_t tag, const uint8_t *value, uint32_t value_size, ouch_appendage *appendage) {
    switch (tag) {
        ELEMENTS(ELEMENT_NUMBER_CASE, ELEMENT_TEXT_CASE)
    default: appendage->unknown_tags++; return OUCH_OK;
    }
    if (appendage->present & BIT(tag)) return OUCH_BAD_APPENDAGE;
    appendage->present |= BIT(tag);
    return OUCH_OK;
}

int ouch_appendage_decode(const uint8_t *bytes, uint32_t length, ouch_appendage *appendage) {
    if (length < APPENDAGE_HEADER_SIZE || wire_load16(bytes) != length - APPENDAGE_HEADER_SIZE) return OUCH_BAD_LENGTH;
    uint32_t at = APPENDAGE_HEADER_SIZE;
    while (at < length) {
        uint32_t size = bytes[at]; /* of tag and value */
        if (size == 0 || size > length - at - 1) return OUCH_BAD_APPENDAGE;
        int status = decode_element(bytes[at + 1], bytes + at + ELEMENT_HEADER_SIZE, size - 1, appendage);
        if (status != OUCH_OK) return status;
        at += 1 + size;
    }
    return OUCH_OK;
}

#define ELEMENT_SIZE(tag, size, field) +(appendage->present & BIT(tag) ? (uint32_t)(ELEMENT_HEADER_SIZE + size) : 0)
#define PUT_ELEMENT_HEADER(tag, size) \
    target[at++] = size + 1;          \
    target[at++] = tag;
#define PUT_ELEMENT_NUMBER(tag, size, field)                         \
    if (appendage->present & BIT(tag)) {                             \
        PUT_ELEMENT_HEADER(tag, size)                                \
        wire_store(target + at, size, (uint64_t)appendage->field);   \
        at += size;                                                  \
    }
#define PUT_ELEMENT_TEXT(tag, size, field)                           \
    if (appendage->present & BIT(tag)) {                             \
        PUT_ELEMENT_HEADER(tag, size)                                \
        memcpy(target + at, appendage->field, size);                 \
        at += size;                                                  \
    }

uint32_t ouch_appendage_encode(const ouch_appendage *appendage, uint8_t *target, uint32_t capacity) {
    if (appendage->present & ~known_tags) return 0;
    uint32_t size = appendage->present ? 0 ELEMENTS(ELEMENT_SIZE, ELEMENT_SIZE) : 0;
    if (capacity < APPENDAGE_HEADER_SIZE + size) return 0;
    wire_store16(target, (uint16_t)size);
    uint32_t at = APPENDAGE_HEADER_SIZE;
    if (size) {
        ELEMENTS(PUT_ELEMENT_NUMBER, PUT_ELEMENT_TEXT)
    }
    return at;
}

/* ---- tokens ----------------------------------------------------------------------------------- */

#define TOKEN_SIZE 14
#define TOKEN_PREFIX_SIZE 2

void ouch42_token(uint32_t user_ref, char *token) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    memcpy(token, "HP000000000000", TOKEN_SIZE);
    for (uint32_t at = TOKEN_SIZE; user_ref; user_ref /= 36) token[--at] = digits[user_ref % 36]; /* at most seven */
}

int ouch42_user_ref(const char *token, uint32_t *user_ref) {
    uint64_t total = 0;
    *user_ref = 0;
    if (token[0] != 'H' || token[1] != 'P') return OUCH_BAD_TOKEN;
    for (uint32_t at = TOKEN_PREFIX_SIZE; at < TOKEN_SIZE; at++) {
        char letter = token[at];
        uint32_t digit;
        if (letter >= '0' && letter <= '9') digit = (uint32_t)(letter - '0');
        else if (letter >= 'A' && letter <= 'Z') digit = (uint32_t)(letter - 'A') + 10;
        else return OUCH_BAD_TOKEN;
        total = total * 36 + digit; /* 12 digits of base 36 are below 2^63 */
    }
    if (total > UINT32_MAX) return OUCH_BAD_TOKEN;
    *user_ref = (uint32_t)total;
    return OUCH_OK;
}
