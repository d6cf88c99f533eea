/* ouch42.c: OUCH 4.2. See include/ouch.h.
 *
 *   to the venue:   |0 type|1 token (14)| ...
 *   from the venue: |0 type|1 time (8)|9 token (14)| ...
 *
 * An order is named by its token. Where the caller leaves a token empty it is made from the user_ref;
 * where a token was made here the user_ref is read back from it (ouch.c).
 */
#include "ouch.h"
#include "ouch_inline.h"

/* ---- the messages: NUMBER(offset, size, field), TEXT(offset, size, field) --------------------- */

#define ENTER(NUMBER, TEXT)                                                                            \
    TEXT(1, 14, token) NUMBER(15, 1, side) NUMBER(16, 4, quantity) TEXT(20, 8, symbol)                 \
    NUMBER(28, 4, price) NUMBER(32, 4, tif_seconds) TEXT(36, 4, firm) NUMBER(40, 1, display)           \
    NUMBER(41, 1, capacity) NUMBER(42, 1, iso) NUMBER(43, 4, min_quantity) NUMBER(47, 1, cross)        \
    NUMBER(48, 1, customer)
#define REPLACE(NUMBER, TEXT)                                                                          \
    TEXT(1, 14, previous_token) TEXT(15, 14, token) NUMBER(29, 4, quantity) NUMBER(33, 4, price)       \
    NUMBER(37, 4, tif_seconds) NUMBER(41, 1, display) NUMBER(42, 1, iso) NUMBER(43, 4, min_quantity)
#define CANCEL(NUMBER, TEXT) TEXT(1, 14, token) NUMBER(15, 4, quantity)
#define MODIFY(NUMBER, TEXT) TEXT(1, 14, token) NUMBER(15, 1, side) NUMBER(16, 4, quantity)

#define ORDERS(MESSAGE)                                                                                \
    MESSAGE('O', 49, ENTER, PLAIN)                                                                     \
    MESSAGE('U', 47, REPLACE, PLAIN)                                                                   \
    MESSAGE('X', 19, CANCEL, PLAIN)                                                                    \
    MESSAGE('M', 20, MODIFY, PLAIN)

#define STAMPED(NUMBER) NUMBER(1, 8, time_ns)
#define NAMED(NUMBER, TEXT) STAMPED(NUMBER) TEXT(9, 14, token)
#define RESTING(NUMBER, TEXT) /* what an accepted order and a replaced one share */                    \
    NAMED(NUMBER, TEXT) NUMBER(23, 1, side) NUMBER(24, 4, quantity) TEXT(28, 8, symbol)                \
    NUMBER(36, 4, price) NUMBER(40, 4, tif_seconds) TEXT(44, 4, firm) NUMBER(48, 1, display)           \
    NUMBER(49, 8, order_ref) NUMBER(57, 1, capacity) NUMBER(58, 1, iso) NUMBER(59, 4, min_quantity)    \
    NUMBER(63, 1, cross) NUMBER(64, 1, state)

#define SYSTEM(NUMBER, TEXT) STAMPED(NUMBER) NUMBER(9, 1, event)
#define ACCEPTED(NUMBER, TEXT) RESTING(NUMBER, TEXT) NUMBER(65, 1, bbo_weight)
#define REPLACED(NUMBER, TEXT) RESTING(NUMBER, TEXT) TEXT(65, 14, previous_token) NUMBER(79, 1, bbo_weight)
#define CANCELED(NUMBER, TEXT) NAMED(NUMBER, TEXT) NUMBER(23, 4, quantity) NUMBER(27, 1, reason)
#define AIQ_CANCELED(NUMBER, TEXT)                                                                     \
    CANCELED(NUMBER, TEXT) NUMBER(28, 4, prevented) NUMBER(32, 4, price) NUMBER(36, 1, liquidity)
#define EXECUTED(NUMBER, TEXT)                                                                         \
    NAMED(NUMBER, TEXT) NUMBER(23, 4, quantity) NUMBER(27, 4, price) NUMBER(31, 1, liquidity)          \
    NUMBER(32, 8, match)
#define EXECUTED_REFERENCE(NUMBER, TEXT)                                                               \
    EXECUTED(NUMBER, TEXT) NUMBER(40, 4, reference_price) NUMBER(44, 1, reference_type)
#define CORRECTED(NUMBER, TEXT) EXECUTED(NUMBER, TEXT) NUMBER(40, 1, reason)
#define BROKEN(NUMBER, TEXT) NAMED(NUMBER, TEXT) NUMBER(23, 8, match) NUMBER(31, 1, reason)
#define REJECTED(NUMBER, TEXT) NAMED(NUMBER, TEXT) NUMBER(23, 1, reason)
#define PENDING(NUMBER, TEXT) NAMED(NUMBER, TEXT)
#define CANCEL_REJECTED(NUMBER, TEXT) NAMED(NUMBER, TEXT)
#define PRIORITY(NUMBER, TEXT)                                                                         \
    NAMED(NUMBER, TEXT) NUMBER(23, 4, price) NUMBER(27, 1, display) NUMBER(28, 8, order_ref)
#define MODIFIED(NUMBER, TEXT) NAMED(NUMBER, TEXT) NUMBER(23, 1, side) NUMBER(24, 4, quantity)

#define REPORTS(MESSAGE)                                                                               \
    MESSAGE('S', 10, SYSTEM, PLAIN)                                                                    \
    MESSAGE('A', 66, ACCEPTED, PLAIN)                                                                  \
    MESSAGE('U', 80, REPLACED, PLAIN)                                                                  \
    MESSAGE('C', 28, CANCELED, PLAIN)                                                                  \
    MESSAGE('D', 37, AIQ_CANCELED, PLAIN)                                                              \
    MESSAGE('E', 40, EXECUTED, PLAIN)                                                                  \
    MESSAGE('G', 45, EXECUTED_REFERENCE, PLAIN)                                                        \
    MESSAGE('F', 41, CORRECTED, PLAIN)                                                                 \
    MESSAGE('B', 32, BROKEN, PLAIN)                                                                    \
    MESSAGE('J', 24, REJECTED, PLAIN)                                                                  \
    MESSAGE('P', 23, PENDING, PLAIN)                                                                   \
    MESSAGE('I', 23, CANCEL_REJECTED, PLAIN)                                                           \
    MESSAGE('T', 36, PRIORITY, PLAIN)                                                                  \
    MESSAGE('M', 28, MODIFIED, PLAIN)

ORDERS(FIELDS_FILL)
REPORTS(FIELDS_FILL)
static const ouch_shape order_shapes[256] = {ORDERS(SHAPE_ENTRY)};
static const ouch_shape report_shapes[256] = {REPORTS(SHAPE_ENTRY)};

/* ---- tokens in their places ------------------------------------------------------------------- */

#define TOKEN_SIZE 14
#define ORDER_TOKEN_OFFSET 1
#define ORDER_NEW_TOKEN_OFFSET 15
#define REPORT_TOKEN_OFFSET 9
#define REPORT_PREVIOUS_TOKEN_OFFSET 65

static void fill_token(uint8_t *target, uint32_t user_ref) {
    if (target[0] == 0) ouch42_token(user_ref, (char *)target);
}

/* A token of another's making leaves the user_ref 0, which is no order of ours. */
static uint32_t user_ref_of(const char *token) {
    uint32_t user_ref;
    (void)ouch42_user_ref(token, &user_ref);
    return user_ref;
}

/* ---- both ways -------------------------------------------------------------------------------- */

int ouch42_decode_order(const uint8_t *bytes, uint32_t length, ouch_order *message) {
    int status = ouch_check_shape(order_shapes, bytes, length);
    if (status != OUCH_OK) return status;
    wire_clear(message, sizeof *message);
    message->type = bytes[0];
    switch (bytes[0]) { ORDERS(DECODE_CASE) }
    message->user_ref = user_ref_of(message->token);
    if (bytes[0] == 'U') message->previous_ref = user_ref_of(message->previous_token);
    return OUCH_OK;
}

uint32_t ouch42_encode_order(const ouch_order *message, uint8_t *target, uint32_t capacity) {
    ouch_shape shape = order_shapes[message->type];
    if (shape.length == 0 || shape.length > capacity) return 0;
    bool fits = true;
    target[0] = message->type;
    switch (message->type) { ORDERS(ENCODE_CASE) }
    if (message->type == 'U') {
        fill_token(target + ORDER_TOKEN_OFFSET, message->previous_ref);
        fill_token(target + ORDER_NEW_TOKEN_OFFSET, message->user_ref);
    } else {
        fill_token(target + ORDER_TOKEN_OFFSET, message->user_ref);
    }
    return fits ? shape.length : 0;
}

int ouch42_decode_report(const uint8_t *bytes, uint32_t length, ouch_report *message) {
    int status = ouch_check_shape(report_shapes, bytes, length);
    if (status != OUCH_OK) return status;
    wire_clear(message, sizeof *message);
    message->type = bytes[0];
    switch (bytes[0]) { REPORTS(DECODE_CASE) }
    if (bytes[0] != 'S') message->user_ref = user_ref_of(message->token);
    if (bytes[0] == 'U') message->previous_ref = user_ref_of(message->previous_token);
    return ouch_check_report(message);
}

uint32_t ouch42_encode_report(const ouch_report *message, uint8_t *target, uint32_t capacity) {
    ouch_shape shape = report_shapes[message->type];
    if (shape.length == 0 || shape.length > capacity) return 0;
    bool fits = true;
    target[0] = message->type;
    switch (message->type) { REPORTS(ENCODE_CASE) }
    if (message->type != 'S') fill_token(target + REPORT_TOKEN_OFFSET, message->user_ref);
    if (message->type == 'U') fill_token(target + REPORT_PREVIOUS_TOKEN_OFFSET, message->previous_ref);
    return fits ? shape.length : 0;
}
