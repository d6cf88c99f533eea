/* gate.h: the risk gate: what may be sent, and what is owed for what was sent.
 *
 *   intent --gate_check--> approved: worst case reserved, command filled in
 *                      \-> enum reject_reason
 *   exec   --gate_execution--> reservation released, position and cash moved
 *   norm   --gate_market--> reference prices
 *
 * The worst case of an order is that all of it fills. It is reserved when the order is approved and
 * released by executions alone, so an order whose fate is unknown goes on counting. A replacement
 * reserves its own quantity beside that of the order it replaces until the venue has answered. Where
 * the venue says what is live (accepted, replaced, restated), its figure is the reservation.
 *
 * A refused intent leaves no trace: neither credit nor the memory of repetitions is spent on it.
 * An order that does not raise the worst case of its instrument passes the limit of gross value, so
 * that a position can be reduced while the market holds it above the limit.
 *
 * Integers only, saturated: an overflow is a breach, never a small number. Nothing here reads a clock:
 * time is the turn's.
 */
#pragma once
#include "layout.h"
#include "stage.h"

#define GATE_STRATEGIES_MAX 256
#define GATE_INPUTS 16 /* enum input_id */
#define GATE_REFERENCE_STALE 1 /* reference_epoch of an instrument last heard of by a stale event: no market_epoch */

typedef struct {
    int64_t position_lots;
    int64_t open_buy_lots;   /* reserved by buys not yet filled, and by sells below */
    int64_t open_sell_lots;
    int64_t bid_price_ticks; /* reference: 0 = that side is empty */
    int64_t ask_price_ticks;
    int64_t trade_price_ticks;
    uint64_t reference_time_ns; /* of the turn that saw the last fresh event */
    uint64_t reference_epoch;   /* gate.market_epoch at that event; 0 = there was none */
    int64_t gross_value_micros; /* this instrument's part of gate.gross_value_micros */
    int64_t net_value_micros;   /* this instrument's part of gate.net_value_micros */
    uint32_t trading_state;     /* enum trading_state */
    uint32_t operational_state; /* the same, of the market's own halts; unknown = there was none */
    uint32_t held;              /* 1: it may only be reduced, until people release it */
    uint32_t reserved0;
    uint64_t reserved1[4];
} gate_instrument;

typedef struct {
    int64_t leaves_lots; /* reserved */
    int64_t filled_lots;
    uint32_t instrument;
    uint32_t side; /* enum side */
} gate_order;

/* The last approved intent of a strategy and an input, by which repetitions are known. */
typedef struct {
    uint64_t cause_sequence;
    uint16_t leg;
    uint16_t epoch; /* of the strategy; a later one starts anew */
    uint32_t seen;
} gate_intent;

typedef struct {
    const instrument_entry *entry; /* reference data, `instrument_count` of them */
    const limits_header *limits;   /* the copy in force, verified, with its entries behind it */
    gate_instrument *instrument;
    uint64_t *order_id;            /* open orders, hashed by id, at most half of the places used; 0 = free */
    gate_order *order;
    uint64_t order_mask;
    uint64_t open_orders;
    uint64_t last_session_sequence; /* of the executions of `session` */
    uint32_t session;              /* the venue session that the last numbered execution named */
    uint32_t reserved;
    uint64_t gross_sum[2];         /* over the instruments: 128 bits, low word first */
    uint64_t net_sum[2];
    int64_t gross_value_micros;    /* the same, saturated */
    int64_t net_value_micros;
    int64_t cash_micros;
    int64_t throttle_credit;       /* in message-nanoseconds: 1e9 pays for a message; starts full */
    uint64_t throttle_time_ns;
    uint64_t market_epoch;         /* moved on by each gap, silence and session: older references are stale */
    uint32_t instrument_count;
    uint32_t require_trading_state; /* 1: an instrument whose state is unknown does not trade */
    uint64_t *counter;             /* of the risk stage */
    gate_intent intent[GATE_STRATEGIES_MAX][GATE_INPUTS];
} gate;

/* Bytes for `open_orders_max` orders and `instruments`, 64-byte aligned. */
uint64_t gate_bytes(uint32_t instruments, uint32_t open_orders_max);
/* Lay out in `memory` (the caller's, zeroed here, 64-byte aligned); the rest of *gate is the caller's,
 * zeroed. 0 when it is too small. */
int gate_init(gate *gate, void *memory, uint64_t bytes, uint32_t instruments, uint32_t open_orders_max);
/* REJECT_NONE and the worst case reserved, or the reason. `order_id` names the order to be; `command`
 * gets all fields but the stamps and times. */
int gate_check(gate *gate, const turn_plan *plan, const signal_event *intent, uint64_t order_id, cmd_event *command);
/* Ask for what the check of an order will touch. */
void gate_expect(const gate *gate, uint64_t order_id, uint32_t instrument);
/* Undo the reservation of an order that was approved but could not be handed on. */
void gate_release(gate *gate, uint64_t order_id);
/* A new trading day: profit and traded quantities count from here; positions and open orders stay. */
void gate_roll(gate *gate);
void gate_execution(gate *gate, const exec_event *execution);
void gate_market(gate *gate, const turn_plan *plan, const norm_event *event);
/* The limits of one instrument in force; NULL when the copy has none for it. */
const instrument_limits *gate_limits(const gate *gate, uint32_t instrument);
