/* itch.h: NASDAQ TotalView-ITCH 5.0: every message type, both ways.
 * Big-endian integers, prices in 1/10000, times in ns since midnight Eastern. Source: the venue's
 * specification of ITCH 5.0; each length and offset is checked against real captures in tests. */
#pragma once
#include "layout.h"

enum itch_status { ITCH_OK, ITCH_BAD_LENGTH, ITCH_UNKNOWN_TYPE, ITCH_UNKNOWN_INSTRUMENT, ITCH_BAD_FIELD };

/* A message with every field of every type; those that `type` does not have are 0. For inspection,
 * tests and the simulator; the path uses itch_normalise.
 *
 *   type  event        detail                              price      number
 *   S     event code
 *   R                  category, financial status,                    round lot, ETP leverage factor
 *                      round lots only, class, sub-type (2),
 *                      authenticity, short sale, IPO,
 *                      LULD tier, ETP, inverse
 *   H     state        reason (4), reserved
 *   Y     action
 *   L     primary      mode, state
 *   V                                                                 three levels, in 1/10^8
 *   W     level
 *   K                  qualifier                           IPO        release time, in seconds
 *   J                                                      reference  upper, lower, extension
 *   h     market       action
 *   I                  direction, price variation          reference  imbalance, far, near
 *   N     interest
 *   O                  eligible                                       min, max, near price, near time,
 *                                                                     lower, upper
 */
typedef struct {
    uint8_t type;
    uint8_t side;       /* 'B' or 'S' */
    uint8_t printable;  /* C */
    uint8_t cross_type; /* Q I */
    uint16_t locate;
    uint16_t tracking;
    uint64_t time_ns;   /* since midnight */
    uint64_t order_ref; /* A F E C X D U P; G: sequence */
    uint64_t new_ref;   /* U */
    uint64_t match;     /* E C P Q B */
    uint64_t shares;    /* A F E C X U P Q; I: paired shares */
    uint64_t price;     /* as on the wire */
    char stock[8];      /* space-padded as on the wire */
    char mpid[4];       /* F L */
    uint8_t event;      /* S event; H state; Y action; L primary; W level; N interest; h market */
    uint8_t detail[27]; /* the one-letter fields that remain, in wire order; H reason; R classes */
    uint64_t number[6]; /* the numbers that remain, in wire order */
} itch_message;

/* Wire length of a type, 0 for a type that ITCH 5.0 does not have. */
uint32_t itch_length(uint8_t type);
/* `message` is written only when ITCH_OK is returned. Of the letters only those that change a meaning
 * are judged: the side of A, F and P, and whether C is printable. */
int itch_decode(const uint8_t *bytes, uint32_t length, itch_message *message);
/* Returns the bytes written, 0 when the type is unknown, `capacity` too small, or a number too large
 * for its field. */
uint32_t itch_encode(const itch_message *message, uint8_t *target, uint32_t capacity);

typedef struct {
    const uint32_t *instrument; /* by locate: index or NO_INSTRUMENT; 65536 entries */
    uint64_t midnight_ns;       /* of the trading day, as ns since the epoch */
} itch_context;

/* One message to its canonical event: type, flags, instrument, origin time, order_ref, price,
 * quantity, reference. Stamps, causes and the top of the book are the caller's. The event is not
 * touched unless ITCH_OK is returned; its flags are set afresh, so a caller adds its own after.
 *
 * Four letters in `reference` read from the high byte down, as a hexadecimal dump shows them. An
 * operational halt ('h') of this market (Q) is NORM_OPERATIONAL, one of its sisters (B, X) a notice.
 * NORM_IMBALANCE has the direction in `reference`, FLAG_SELL when it is to sell.
 * NORM_DIRECTORY has the round lot as its quantity. NORM_NOTICE has in `reference` the one letter that
 * Y, N, W, L and h carry. System events and circuit breakers (S V W) concern NO_INSTRUMENT. */
int itch_normalise(const itch_context *context, const uint8_t *bytes, uint32_t length, norm_event *event);
/* The order a message touches, 0 when none: lets a reader prefetch. No bounds check but `length`. */
uint64_t itch_order_ref(const uint8_t *bytes, uint32_t length);
