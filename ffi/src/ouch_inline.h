/* ouch_inline.h: what ouch50.c and ouch42.c share: how a list of fields becomes code, appendages, and
 * the letters both versions check. Each version lists its messages as
 *
 *   #define ENTER(NUMBER, TEXT) NUMBER(1, 4, user_ref) NUMBER(5, 1, side) ... TEXT(10, 8, symbol)
 *   #define ORDERS(MESSAGE)     MESSAGE('O', 47, ENTER, APPENDED) ...
 *
 * and expands the lists with the macros below into lengths, decoders, encoders, and the assert that
 * the fields fill the message. The structure in hand is always called `message`.
 */
#pragma once
#include "ouch.h"
#include "wire_inline.h"

/* Does an appendage follow? APPENDED: always, and the message's length includes its two length bytes.
 * MAY_APPEND: newer revisions may add it, length bytes and all. */
enum appending { PLAIN, APPENDED, MAY_APPEND };

typedef struct {
    uint8_t length; /* of the fixed part; 0: no such type */
    uint8_t appending;
} ouch_shape;

#define APPENDAGE_HEADER_SIZE 2

#define FIELD_SIZE(offset, size, field) +size
#define FIELDS_FILL(type, length, FIELDS, appending)                                                         \
    _Static_assert(1 FIELDS(FIELD_SIZE, FIELD_SIZE) + ((appending) == APPENDED ? APPENDAGE_HEADER_SIZE : 0) == \
                       (length), "fields fill the message");
#define SHAPE_ENTRY(type, length, FIELDS, appending) [type] = {length, appending},

#define GET_NUMBER(offset, size, field) message->field = (__typeof__(message->field))wire_load(bytes + offset, size);
#define GET_TEXT(offset, size, field) memcpy(message->field, bytes + offset, size);
#define DECODE_CASE(type, length, FIELDS, appending) \
    case type: FIELDS(GET_NUMBER, GET_TEXT) break;

#define PUT_NUMBER(offset, size, field)             \
    fits = fits && wire_fits(message->field, size); \
    wire_store(target + offset, size, message->field);
#define PUT_TEXT(offset, size, field) memcpy(target + offset, message->field, size);
#define ENCODE_CASE(type, length, FIELDS, appending) \
    case type: FIELDS(PUT_NUMBER, PUT_TEXT) break;

/* From the two length bytes on. The elements must fill exactly what remains. */
int ouch_appendage_decode(const uint8_t *bytes, uint32_t length, ouch_appendage *appendage);
/* Bytes written, its two length bytes included; 0 when they do not fit or a tag has no encoding. */
uint32_t ouch_appendage_encode(const ouch_appendage *appendage, uint8_t *target, uint32_t capacity);

static inline bool ouch_is_side(uint8_t side) { return side == 'B' || side == 'S' || side == 'T' || side == 'E'; }
static inline bool ouch_is_state(uint8_t state) { return state == 'L' || state == 'D'; }

/* Letters of a report that our own state depends on. Orders are the venue's to judge. */
static inline int ouch_check_report(const ouch_report *message) {
    switch (message->type) {
    case 'A':
    case 'U': return ouch_is_side(message->side) && ouch_is_state(message->state) ? OUCH_OK : OUCH_BAD_FIELD;
    case 'M': return ouch_is_side(message->side) ? OUCH_OK : OUCH_BAD_FIELD;
    default: return OUCH_OK;
    }
}

/* Is this a type, and can a message of it have this length? */
static inline int ouch_check_shape(const ouch_shape *shapes, const uint8_t *bytes, uint32_t length) {
    if (length == 0) return OUCH_BAD_LENGTH;
    ouch_shape shape = shapes[bytes[0]];
    if (shape.length == 0) return OUCH_UNKNOWN_TYPE;
    if (length == shape.length) return OUCH_OK;
    return length > shape.length && shape.appending != PLAIN ? OUCH_OK : OUCH_BAD_LENGTH;
}

/* The appendage of a message whose shape is known to be right. */
static inline int ouch_finish_decode(ouch_shape shape, const uint8_t *bytes, uint32_t length, ouch_appendage *appendage) {
    if (shape.appending == PLAIN || (shape.appending == MAY_APPEND && length == shape.length)) return OUCH_OK;
    uint32_t start = shape.appending == APPENDED ? shape.length - (uint32_t)APPENDAGE_HEADER_SIZE : shape.length;
    return ouch_appendage_decode(bytes + start, length - start, appendage);
}

/* The whole length once the appendage is written, 0 when it cannot be. */
static inline uint32_t ouch_finish_encode(ouch_shape shape, const ouch_appendage *appendage, uint8_t *target,
                                          uint32_t capacity) {
    if (shape.appending == PLAIN || (shape.appending == MAY_APPEND && appendage->present == 0)) return shape.length;
    uint32_t start = shape.appending == APPENDED ? shape.length - (uint32_t)APPENDAGE_HEADER_SIZE : shape.length;
    uint32_t size = ouch_appendage_encode(appendage, target + start, capacity - start);
    return size ? start + size : 0;
}
