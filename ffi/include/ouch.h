/* ouch.h: OUCH 5.0 and 4.2 messages, both ways, appendages included. The two versions share the
 * structures: 5.0 names an order by user_ref, 4.2 by a 14-character token; a token made here is the
 * user_ref in base 36 behind a prefix (ouch42_token), so that both come back as a user_ref. */
#pragma once
#include "layout.h"

enum ouch_status { OUCH_OK, OUCH_BAD_LENGTH, OUCH_UNKNOWN_TYPE, OUCH_BAD_APPENDAGE, OUCH_BAD_TOKEN, OUCH_BAD_FIELD };
enum ouch_version { OUCH_UNSPECIFIED, OUCH_42, OUCH_50 };

/* Appendage values by tag; `present` has bit (1 << tag). Tags as in OUCH 5.0, 1..31. */
typedef struct {
    uint32_t present;
    char firm[4];             /* 2 */
    uint64_t secondary_ref;   /* 1 */
    uint32_t min_quantity;    /* 3 */
    uint32_t max_floor;       /* 5 */
    int32_t peg_offset;       /* 7 */
    int32_t discretion_peg_offset; /* 11 */
    uint64_t discretion_price; /* 9 */
    uint64_t reference_price; /* 19 */
    uint64_t display_price;   /* 23 */
    uint32_t display_quantity; /* 22 */
    uint32_t random_reserves; /* 13 */
    uint32_t expire_time;     /* 15 */
    char route[4];            /* 14 */
    uint8_t customer_type;    /* 4 */
    uint8_t price_type;       /* 6 */
    uint8_t discretion_price_type; /* 10 */
    uint8_t post_only;        /* 12 */
    uint8_t trade_now;        /* 16 */
    uint8_t handle_inst;      /* 17 */
    uint8_t bbo_weight;       /* 18 */
    uint8_t reference_price_type; /* 20 */
    uint32_t unknown_tags;    /* elements whose tag is none of these: kept in count, not in value */
    uint32_t reserved;
} ouch_appendage;

/* Client to venue: O enter, U replace, X cancel, M modify, Q account query (5.0). */
typedef struct {
    uint8_t type;
    uint8_t side;          /* B S T E */
    uint8_t time_in_force; /* 5.0: '0' day, '3' IOC, ...; 4.2 has seconds in tif_seconds */
    uint8_t display;
    uint8_t capacity;
    uint8_t iso;
    uint8_t cross;
    uint8_t customer;      /* 4.2 */
    uint32_t user_ref;     /* O, X, M: the order; U: the new number */
    uint32_t previous_ref; /* U: the order replaced */
    uint32_t quantity;     /* X: intended remaining, 0 = all */
    uint32_t tif_seconds;  /* 4.2: 0 IOC, 99998 market hours, 99999 system hours */
    uint64_t price;        /* 1/10000 */
    char symbol[8];        /* space-padded */
    char firm[4];          /* 4.2 */
    uint32_t min_quantity; /* 4.2 */
    char cl_ord_id[14];    /* 5.0 */
    char token[14];        /* 4.2: as on the wire */
    char previous_token[14];
    uint8_t reserved[6];
    ouch_appendage appendage;
} ouch_order;

/* Venue to client: S A U C D E G B F J P I T M R Q. Fields that `type` does not have are 0. */
typedef struct {
    uint8_t type;
    uint8_t side;
    uint8_t time_in_force;
    uint8_t display;
    uint8_t capacity;
    uint8_t iso;
    uint8_t cross;
    uint8_t state;         /* A U: 'L' live, 'D' dead */
    uint8_t liquidity;
    uint8_t event;         /* S */
    uint8_t bbo_weight;    /* 4.2 */
    uint8_t reference_type; /* G */
    uint16_t reason;       /* C D B F J R */
    uint16_t reserved0;
    uint32_t user_ref;     /* U: the new number; Q: next expected */
    uint32_t previous_ref; /* U */
    uint32_t quantity;     /* C D: decrement; E: executed */
    uint32_t prevented;    /* D */
    uint32_t tif_seconds;  /* 4.2 */
    uint32_t min_quantity; /* 4.2 */
    uint64_t time_ns;      /* since midnight */
    uint64_t price;
    uint64_t reference_price; /* G */
    uint64_t order_ref;    /* the venue's */
    uint64_t match;
    char symbol[8];
    char firm[4];
    char cl_ord_id[14];
    char token[14];
    char previous_token[14];
    uint8_t reserved1[2];
    ouch_appendage appendage;
} ouch_report;

/* Encoders return the bytes written, 0 when the type is unknown, they do not fit, or a number is too
 * large for its field. Decoders return enum ouch_status and never read past `length`; unless it is
 * OUCH_OK, what they left in the structure means nothing. OUCH_BAD_FIELD: a report whose side or state
 * is none; a bad order decodes, for the venue to reject with a reason.
 * Appendages: 5.0 only. Elements are written by rising tag; those of unknown tags are not written. X and
 * Q carry one only when `present` says so, as newer revisions allow.
 * Tokens: 4.2 only. A token that begins with NUL is made from user_ref (previous_ref). */
uint32_t ouch50_encode_order(const ouch_order *order, uint8_t *target, uint32_t capacity);
int ouch50_decode_order(const uint8_t *bytes, uint32_t length, ouch_order *order);
uint32_t ouch50_encode_report(const ouch_report *report, uint8_t *target, uint32_t capacity);
int ouch50_decode_report(const uint8_t *bytes, uint32_t length, ouch_report *report);
uint32_t ouch42_encode_order(const ouch_order *order, uint8_t *target, uint32_t capacity);
int ouch42_decode_order(const uint8_t *bytes, uint32_t length, ouch_order *order);
uint32_t ouch42_encode_report(const ouch_report *report, uint8_t *target, uint32_t capacity);
int ouch42_decode_report(const uint8_t *bytes, uint32_t length, ouch_report *report);
/* "HP" and 12 digits of base 36. Decoding a token not made here gives OUCH_BAD_TOKEN and user_ref 0;
 * ouch42_decode_* then leave user_ref 0 and still return OUCH_OK. */
void ouch42_token(uint32_t user_ref, char *token);
int ouch42_user_ref(const char *token, uint32_t *user_ref);
