/* ouch50.c: OUCH 5.0. See include/ouch.h.
 *
 *   to the venue:   |0 type|1 user_ref (4)| ...           |appendage, see ouch.c|
 *   from the venue: |0 type|1 time (8)|9 user_ref (4)| ... |appendage|
 *
 * Source: the venue's field list, each message checked against real bytes or two implementations.
 */
#include "ouch.h"
#include "ouch_inline.h"

/* ---- the messages: NUMBER(offset, size, field), TEXT(offset, size, field) --------------------- */

#define ENTER(NUMBER, TEXT)                                                                            \
    NUMBER(1, 4, user_ref) NUMBER(5, 1, side) NUMBER(6, 4, quantity) TEXT(10, 8, symbol)               \
    NUMBER(18, 8, price) NUMBER(26, 1, time_in_force) NUMBER(27, 1, display) NUMBER(28, 1, capacity)   \
    NUMBER(29, 1, iso) NUMBER(30, 1, cross) TEXT(31, 14, cl_ord_id)
#define REPLACE(NUMBER, TEXT)                                                                          \
    NUMBER(1, 4, previous_ref) NUMBER(5, 4, user_ref) NUMBER(9, 4, quantity) NUMBER(13, 8, price)      \
    NUMBER(21, 1, time_in_force) NUMBER(22, 1, display) NUMBER(23, 1, iso) TEXT(24, 14, cl_ord_id)
#define CANCEL(NUMBER, TEXT) NUMBER(1, 4, user_ref) NUMBER(5, 4, quantity)
#define MODIFY(NUMBER, TEXT) NUMBER(1, 4, user_ref) NUMBER(5, 1, side) NUMBER(6, 4, quantity)
#define QUERY(NUMBER, TEXT)

#define ORDERS(MESSAGE)                                                                                \
    MESSAGE('O', 47, ENTER, APPENDED)                                                                  \
    MESSAGE('U', 40, REPLACE, APPENDED)                                                                \
    MESSAGE('X', 9, CANCEL, MAY_APPEND)                                                                \
    MESSAGE('M', 10, MODIFY, PLAIN)                                                                    \
    MESSAGE('Q', 1, QUERY, MAY_APPEND)

#define STAMPED(NUMBER) NUMBER(1, 8, time_ns)
#define NAMED(NUMBER) STAMPED(NUMBER) NUMBER(9, 4, user_ref)

#define SYSTEM(NUMBER, TEXT) STAMPED(NUMBER) NUMBER(9, 1, event)
#define ACCEPTED(NUMBER, TEXT)                                                                         \
    NAMED(NUMBER) NUMBER(13, 1, side) NUMBER(14, 4, quantity) TEXT(18, 8, symbol) NUMBER(26, 8, price) \
    NUMBER(34, 1, time_in_force) NUMBER(35, 1, display) NUMBER(36, 8, order_ref)                       \
    NUMBER(44, 1, capacity) NUMBER(45, 1, iso) NUMBER(46, 1, cross) NUMBER(47, 1, state)               \
    TEXT(48, 14, cl_ord_id)
#define REPLACED(NUMBER, TEXT)                                                                         \
    STAMPED(NUMBER) NUMBER(9, 4, previous_ref) NUMBER(13, 4, user_ref) NUMBER(17, 1, side)             \
    NUMBER(18, 4, quantity) TEXT(22, 8, symbol) NUMBER(30, 8, price) NUMBER(38, 1, time_in_force)      \
    NUMBER(39, 1, display) NUMBER(40, 8, order_ref) NUMBER(48, 1, capacity) NUMBER(49, 1, iso)         \
    NUMBER(50, 1, cross) NUMBER(51, 1, state) TEXT(52, 14, cl_ord_id)
#define CANCELED(NUMBER, TEXT) NAMED(NUMBER) NUMBER(13, 4, quantity) NUMBER(17, 1, reason)
#define AIQ_CANCELED(NUMBER, TEXT)                                                                     \
    CANCELED(NUMBER, TEXT) NUMBER(18, 4, prevented) NUMBER(22, 8, price) NUMBER(30, 1, liquidity)
#define FILLED(NUMBER) /* what an execution and its correction share */                                \
    NAMED(NUMBER) NUMBER(13, 4, quantity) NUMBER(17, 8, price) NUMBER(25, 1, liquidity) NUMBER(26, 8, match)
#define EXECUTED(NUMBER, TEXT) FILLED(NUMBER)
#define CORRECTED(NUMBER, TEXT) FILLED(NUMBER) NUMBER(34, 1, reason) TEXT(35, 14, cl_ord_id)
#define BROKEN(NUMBER, TEXT) NAMED(NUMBER) NUMBER(13, 8, match) NUMBER(21, 1, reason) TEXT(22, 14, cl_ord_id)
#define REJECTED(NUMBER, TEXT) NAMED(NUMBER) NUMBER(13, 2, reason) TEXT(15, 14, cl_ord_id)
#define PENDING(NUMBER, TEXT) NAMED(NUMBER)
#define CANCEL_REJECTED(NUMBER, TEXT) NAMED(NUMBER)
#define PRIORITY(NUMBER, TEXT) NAMED(NUMBER) NUMBER(13, 8, price) NUMBER(21, 1, display) NUMBER(22, 8, order_ref)
#define MODIFIED(NUMBER, TEXT) NAMED(NUMBER) NUMBER(13, 1, side) NUMBER(14, 4, quantity)
#define RESTATED(NUMBER, TEXT) NAMED(NUMBER) NUMBER(13, 1, reason)
#define QUERY_ANSWER(NUMBER, TEXT) NAMED(NUMBER)

#define REPORTS(MESSAGE)                                                                               \
    MESSAGE('S', 10, SYSTEM, PLAIN)                                                                    \
    MESSAGE('A', 64, ACCEPTED, APPENDED)                                                               \
    MESSAGE('U', 68, REPLACED, APPENDED)                                                               \
    MESSAGE('C', 18, CANCELED, PLAIN)                                                                  \
    MESSAGE('D', 31, AIQ_CANCELED, PLAIN)                                                              \
    MESSAGE('E', 36, EXECUTED, APPENDED)                                                               \
    MESSAGE('F', 49, CORRECTED, PLAIN)                                                                 \
    MESSAGE('B', 36, BROKEN, PLAIN)                                                                    \
    MESSAGE('J', 29, REJECTED, PLAIN)                                                                  \
    MESSAGE('P', 13, PENDING, PLAIN)                                                                   \
    MESSAGE('I', 13, CANCEL_REJECTED, PLAIN)                                                           \
    MESSAGE('T', 30, PRIORITY, PLAIN)                                                                  \
    MESSAGE('M', 18, MODIFIED, PLAIN)                                                                  \
    MESSAGE('R', 16, RESTATED, APPENDED)                                                               \
    MESSAGE('Q', 13, QUERY_ANSWER, PLAIN)

ORDERS(FIELDS_FILL)
REPORTS(FIELDS_FILL)
static const ouch_shape order_shapes[256] = {ORDERS(SHAPE_ENTRY)};
static const ouch_shape report_shapes[256] = {REPORTS(SHAPE_ENTRY)};

/* ---- both ways -------------------------------------------------------------------------------- */

int ouch50_decode_order(const uint8_t *bytes, uint32_t length, ouch_order *message) {
    int status = ouch_check_shape(order_shapes, bytes, length);
    if (status != OUCH_OK) return status;
    wire_clear(message, sizeof *message);
    message->type = bytes[0];
    switch (bytes[0]) { ORDERS(DECODE_CASE) }
    return ouch_finish_decode(order_shapes[bytes[0]], bytes, length, &message->appendage);
}

uint32_t ouch50_encode_order(const ouch_order *message, uint8_t *target, uint32_t capacity) {
    ouch_shape shape = order_shapes[message->type];
    if (shape.length == 0 || shape.length > capacity) return 0;
    bool fits = true;
    target[0] = message->type;
    switch (message->type) { ORDERS(ENCODE_CASE) }
    return fits ? ouch_finish_encode(shape, &message->appendage, target, capacity) : 0;
}

int ouch50_decode_report(const uint8_t *bytes, uint32_t length, ouch_report *message) {
    int status = ouch_check_shape(report_shapes, bytes, length);
    if (status != OUCH_OK) return status;
    wire_clear(message, sizeof *message);
    message->type = bytes[0];
    switch (bytes[0]) { REPORTS(DECODE_CASE) }
    status = ouch_check_report(message);
    if (status != OUCH_OK) return status;
    return ouch_finish_decode(report_shapes[bytes[0]], bytes, length, &message->appendage);
}

uint32_t ouch50_encode_report(const ouch_report *message, uint8_t *target, uint32_t capacity) {
    ouch_shape shape = report_shapes[message->type];
    if (shape.length == 0 || shape.length > capacity) return 0;
    bool fits = true;
    target[0] = message->type;
    switch (message->type) { REPORTS(ENCODE_CASE) }
    return fits ? ouch_finish_encode(shape, &message->appendage, target, capacity) : 0;
}
