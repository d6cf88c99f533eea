/* venue.c: canonical orders and executions to and from OUCH 5.0 and 4.2. See include/venue.h. */
#include "venue.h"
#include "ouch.h"
#include "soup.h"
#include <string.h>

#define WIRE_PRICE_MAX 1999999900 /* 199,999.9900: above it the wire's numbers have special meanings */
#define WIRE_QUANTITY_MAX 999999
#define TIF42_IOC 0
#define TIF42_DAY 99998 /* until the end of market hours */
#define SYMBOL_SIZE 8

/* ---- one table for each protocol ---------------------------------------------------------------- */

typedef struct {
    uint32_t (*encode_order)(const ouch_order *order, uint8_t *target, uint32_t capacity);
    int (*decode_order)(const uint8_t *bytes, uint32_t length, ouch_order *order);
    int (*decode_report)(const uint8_t *bytes, uint32_t length, ouch_report *report);
    int has_query;
} protocol;

static const protocol protocols[] = {
    [VENUE_UNSPECIFIED] = {NULL, NULL, NULL, 0},
    [VENUE_PAPER] = {ouch50_encode_order, ouch50_decode_order, ouch50_decode_report, 0},
    [VENUE_OUCH50] = {ouch50_encode_order, ouch50_decode_order, ouch50_decode_report, 1},
    [VENUE_OUCH42] = {ouch42_encode_order, ouch42_decode_order, ouch42_decode_report, 0},
};

static const protocol *protocol_of(const venue_terms *terms) {
    return &protocols[terms->kind <= VENUE_OUCH42 ? terms->kind : VENUE_UNSPECIFIED];
}

/* ---- orders -------------------------------------------------------------------------------------- */

static int copy_symbol(const char *symbol, char *target) {
    int ended = 0;
    for (uint32_t i = 0; i < SYMBOL_SIZE; i++) {
        ended |= symbol[i] == 0 || symbol[i] == ' ';
        target[i] = ended ? ' ' : symbol[i];
    }
    return target[0] != ' ' && (ended || symbol[SYMBOL_SIZE] == 0);
}

/* The engine's order number in decimal, so that the venue's own record names our order. */
static void order_text(uint64_t order_id, char *target, uint32_t size) {
    uint32_t at = size;
    for (; at > 0 && order_id; order_id /= 10) target[--at] = (char)('0' + order_id % 10);
    while (at > 0) target[--at] = '0';
}

static uint8_t wire_side(const cmd_event *command) {
    if (command->side == SIDE_BUY) return 'B';
    return command->header.flags & FLAG_SHORT ? 'T' : 'S';
}

static void fill_terms(const venue_terms *terms, const cmd_event *command, ouch_order *order) {
    int immediate = command->time_in_force == TIF_IOC;
    order->time_in_force = immediate ? '3' : '0';
    order->tif_seconds = immediate ? TIF42_IOC : TIF42_DAY;
    order->display = terms->display;
    order->capacity = terms->capacity;
    order->customer = terms->customer;
    order->iso = 'N';
    order->cross = 'N';
    memcpy(order->firm, terms->firm, sizeof order->firm);
    order_text(command->order_id, order->cl_ord_id, sizeof order->cl_ord_id);
    if (terms->firm[0] != ' ' && terms->firm[0] != 0 && command->header.type == CMD_NEW) {
        order->appendage.present = 1u << 2;
        memcpy(order->appendage.firm, terms->firm, sizeof order->appendage.firm);
    }
}

uint32_t venue_encode_cancel(const venue_terms *terms, uint32_t user_ref, uint8_t *target, uint32_t capacity) {
    const protocol *wire = protocol_of(terms);
    ouch_order order;
    memset(&order, 0, sizeof order);
    order.type = 'X';
    order.user_ref = user_ref;
    return wire->encode_order ? wire->encode_order(&order, target, capacity) : 0;
}

uint32_t venue_encode_order(const venue_terms *terms, const cmd_event *command, const char *symbol, uint32_t user_ref,
                            uint32_t target_ref, uint8_t *target, uint32_t capacity) {
    const protocol *wire = protocol_of(terms);
    if (!wire->encode_order) return 0;
    if (command->header.type == CMD_CANCEL) return venue_encode_cancel(terms, user_ref, target, capacity);
    if (command->header.type != CMD_NEW && command->header.type != CMD_REPLACE) return 0;
    if (command->quantity_lots <= 0 || command->quantity_lots > WIRE_QUANTITY_MAX) return 0;
    if (command->price_ticks <= 0 || command->price_ticks > WIRE_PRICE_MAX / (int64_t)terms->price_scale) return 0;
    ouch_order order;
    memset(&order, 0, sizeof order);
    if (!copy_symbol(symbol, order.symbol)) return 0;
    order.type = command->header.type == CMD_NEW ? 'O' : 'U';
    order.side = wire_side(command);
    order.user_ref = user_ref;
    order.previous_ref = target_ref;
    order.quantity = (uint32_t)command->quantity_lots;
    order.price = (uint64_t)command->price_ticks * terms->price_scale;
    fill_terms(terms, command, &order);
    return wire->encode_order(&order, target, capacity);
}

uint32_t venue_encode_query(const venue_terms *terms, uint8_t *target, uint32_t capacity) {
    const protocol *wire = protocol_of(terms);
    if (!wire->has_query) return 0;
    ouch_order order;
    memset(&order, 0, sizeof order);
    order.type = 'Q';
    return wire->encode_order(&order, target, capacity);
}

uint32_t venue_order_ref(const venue_terms *terms, const uint8_t *message, uint32_t length) {
    const protocol *wire = protocol_of(terms);
    ouch_order order;
    if (length == 0 || (message[0] != 'O' && message[0] != 'U')) return 0;
    if (!wire->decode_order || wire->decode_order(message, length, &order) != OUCH_OK) return 0;
    return order.user_ref;
}

int venue_order_matches(const venue_terms *terms, const cmd_event *command, uint32_t target_ref, const uint8_t *message,
                        uint32_t length) {
    static const uint8_t TYPE[] = {[CMD_NEW - CMD_NEW] = 'O', [CMD_REPLACE - CMD_NEW] = 'U', [CMD_CANCEL - CMD_NEW] = 'X'};
    const protocol *wire = protocol_of(terms);
    uint8_t type = command->header.type;
    ouch_order order;
    if (type < CMD_NEW || type > CMD_CANCEL || length == 0 || message[0] != TYPE[type - CMD_NEW]) return 0;
    if (!wire->decode_order || wire->decode_order(message, length, &order) != OUCH_OK) return 0;
    if (type == CMD_CANCEL) return order.user_ref == target_ref && order.quantity == 0;
    if ((int64_t)order.quantity != command->quantity_lots) return 0;
    if (order.price != (uint64_t)command->price_ticks * terms->price_scale) return 0;
    return type == CMD_NEW ? (order.side == 'B') == (command->side == SIDE_BUY) : order.previous_ref == target_ref;
}

uint32_t venue_frame(const uint8_t *message, uint32_t length, uint8_t *target, uint32_t capacity) {
    return soup_encode(SOUP_UNSEQUENCED, message, length, target, capacity);
}

/* ---- reports ------------------------------------------------------------------------------------- */

/* What each of the venue's messages is to the engine: the table of docs/gateway.md. */
static uint8_t canonical_type(uint8_t type) {
    switch (type) {
    case 'A': return EXEC_ACCEPTED;
    case 'U': return EXEC_REPLACED;
    case 'C': return EXEC_CANCELED;
    case 'D': return EXEC_CANCELED; /* self-match prevention */
    case 'E': return EXEC_FILL;
    case 'G': return EXEC_FILL; /* 4.2: with the reference price of a pegged match */
    case 'B': return EXEC_BROKEN;
    case 'F': return EXEC_CORRECTED;
    case 'J': return EXEC_REJECTED;
    case 'P': return EXEC_PENDING_CANCEL;
    case 'I': return EXEC_CANCEL_REJECTED;
    case 'T': return EXEC_RESTATED; /* new price, display or venue reference */
    case 'M': return EXEC_RESTATED; /* new quantity */
    case 'R': return EXEC_RESTATED;
    default: return EVENT_NONE;
    }
}

/* What order_text wrote; 0 when somebody else wrote it. */
static uint64_t order_number(const char *text, uint32_t size) {
    uint64_t number = 0;
    for (uint32_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    return number;
}

int venue_decode_report(const venue_terms *terms, const uint8_t *bytes, uint32_t length, venue_report *report) {
    const protocol *wire = protocol_of(terms);
    ouch_report wire_report;
    if (!wire->decode_report || wire->decode_report(bytes, length, &wire_report) != OUCH_OK) return VENUE_MALFORMED;
    memset(report, 0, sizeof *report);
    report->time_ns = wire_report.time_ns;
    report->user_ref = wire_report.user_ref;
    if (wire_report.type == 'S') return VENUE_UNINTERESTING;
    if (wire_report.type == 'Q') {
        report->next_user_ref = wire_report.user_ref;
        return VENUE_NEXT_REF;
    }
    report->type = canonical_type(wire_report.type);
    if (report->type == EVENT_NONE) return VENUE_MALFORMED;
    report->previous_ref = wire_report.previous_ref;
    report->venue_ref = wire_report.order_ref;
    report->match_id = wire_report.match;
    report->price_ticks = (int64_t)(wire_report.price / terms->price_scale);
    report->quantity_lots = wire_report.quantity;
    report->reason = wire_report.reason;
    report->liquidity = wire_report.liquidity;
    report->dead = wire_report.state == 'D';
    report->sized = wire_report.type == 'M';
    report->side = wire_report.side == 'B' ? SIDE_BUY : SIDE_SELL;
    report->order_id = order_number(wire_report.cl_ord_id, sizeof wire_report.cl_ord_id);
    memcpy(report->symbol, wire_report.symbol, sizeof report->symbol);
    return VENUE_OK;
}
