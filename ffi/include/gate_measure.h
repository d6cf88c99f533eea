/* gate_measure.h: what each check of the gate had before it: the value, and the threshold it was held against.
 *
 *   gate as it stood, plan, intent --gate_measure--> one row a check, in the order in which gate_check makes them
 *
 * For people and tests, off the path: the gate that was, rebuilt from a journal, is asked why. Every check is
 * made, also those behind the one that refused. Invariant: the first row that refuses bears the reason that
 * gate_check gives, and when none refuses gate_check approves (a property test holds the two together).
 * Nothing is changed.
 */
#pragma once
#include "gate.h"

#define GATE_MEASURES_MAX 128

/* What a row's numbers count. */
enum gate_unit {
    UNIT_YES_NO,   /* 1 when the value is there */
    UNIT_CODE,     /* of an enum: the mode, a trading state */
    UNIT_LOTS,
    UNIT_TICKS,
    UNIT_MICROS,
    UNIT_PPM,
    UNIT_NS,
    UNIT_ORDERS,
    UNIT_MESSAGES_MILLI, /* thousandths of a message of the throttle's credit */
    UNIT_SEQUENCE,
    UNIT_MILLI           /* thousandths */
};

enum gate_relation { RELATION_AT_MOST, RELATION_AT_LEAST, RELATION_BELOW, RELATION_ABOVE, RELATION_EQUAL, RELATION_MULTIPLE };
enum gate_outcome { OUTCOME_NOT_ASKED, OUTCOME_PASSES, OUTCOME_REFUSES, OUTCOME_FORGIVEN };

/* The check passes when `value` stands to `threshold` as `relation` says. Both are saturated where the gate
 * counts in more bits; `outcome` is not. OUTCOME_NOT_ASKED: this check is not made of such an intent, or
 * nothing stands that it could be made of. */
typedef struct {
    int64_t value;
    int64_t threshold;
    uint16_t reason;  /* enum reject_reason that it gives */
    uint8_t unit;     /* enum gate_unit */
    uint8_t relation; /* enum gate_relation */
    uint8_t outcome;  /* enum gate_outcome */
    uint8_t scope;    /* enum scope_kind: whose limit it is */
    uint8_t reserved[2];
} gate_measured;

/* The rows of this intent, at most GATE_MEASURES_MAX; returns how many. Call it before gate_check. */
uint32_t gate_measure(const gate *gate, const turn_plan *plan, const signal_event *intent, uint64_t order_id,
                      gate_measured *rows);
