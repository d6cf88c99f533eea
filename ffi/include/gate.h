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
#define GATE_ACCOUNTS_MAX 64
#define GATE_INPUTS 16 /* enum input_id */
#define GATE_REFERENCE_STALE 1 /* reference_epoch of an instrument last heard of by a stale event: no market_epoch */
#define GATE_NOBODY 65535 /* strategy of an order that no strategy of this run sent */
#define GATE_RECENT 4     /* orders of a side that repetitions are looked for in */

/* What one second of a rate leaves: message-nanoseconds, 1e9 pays for a message. Starts full. */
typedef struct {
    int64_t credit;
    uint64_t time_ns; /* at which it was so much */
} gate_bucket;

/* A sum over at least one window and at most two: the one that began at `start_ns`, and the one before. */
typedef struct {
    uint64_t start_ns;
    int64_t now;
    int64_t before;
} gate_window;

/* What is counted of one scope: firm, venue, account, strategy, instrument. Sums of 128 bits: low word first. */
typedef struct {
    gate_bucket orders;
    gate_bucket replaces;
    gate_bucket cancels;
    gate_bucket messages;
    uint64_t open_micros[2][2]; /* open orders at their own prices, by side */
    uint64_t gross_sum[2];      /* over instruments: worst case at reference */
    uint64_t net_sum[2];
    uint64_t day_sum[2];        /* value traded today */
    int64_t cash_micros;
    int64_t pnl_micros;
    int64_t pnl_peak_micros;    /* of the day, since it was re-armed */
    int64_t pnl_low_micros;
    int64_t drawdown_micros;    /* the largest */
    int64_t open_lots;
    int64_t day_lots;
    uint64_t open_orders;
    uint64_t messages_count;    /* sent today */
    uint64_t fills;             /* today */
    uint64_t executions;        /* since it was re-armed */
    uint64_t rearm_epoch;       /* of the limits, as last seen */
    gate_window rejects;        /* by the venue */
    uint64_t tripped_time_ns;   /* the breaker; 0 = closed */
    uint64_t trial_order_id;    /* the order by which it is tried */
} gate_scope;

/* What an account or a strategy has in one instrument. */
typedef struct {
    uint64_t key; /* 0 = free */
    int64_t position_lots;
    int64_t open_lots[2]; /* by side */
    int64_t gross_value_micros;
    int64_t net_value_micros;
    double score;         /* of the last intent that was approved */
    uint32_t next;        /* of the same instrument, + 1 */
    uint16_t scope;       /* place in gate.scope */
    uint16_t scored;      /* 1: score is one */
} gate_cell;

/* Open orders of one side of an instrument, the best price on top (gate_heap_inline.h). */
typedef struct {
    int64_t key; /* greater is better */
    uint32_t left;
    uint32_t right;
    uint32_t parent;
    uint32_t rank;
} gate_node;

typedef struct {
    int64_t price_ticks;
    int64_t quantity_lots;
    uint64_t time_ns;
    uint64_t strategy; /* + 1; 0 = no order */
} gate_recent;

typedef struct {
    int64_t position_lots;
    int64_t open_buy_lots;   /* reserved by buys not yet filled, and by sells below */
    int64_t open_sell_lots;
    int64_t bid_price_ticks; /* reference: 0 = that side is empty */
    int64_t ask_price_ticks;
    int64_t trade_price_ticks;
    uint64_t reference_time_ns; /* of the turn that saw the last fresh event */
    uint64_t reference_epoch;   /* gate.market_epoch at that event; 0 = there was none */
    int64_t gross_value_micros; /* this instrument's part of gate.firm.gross_sum */
    int64_t net_value_micros;   /* this instrument's part of gate.firm.net_sum */
    uint32_t trading_state;     /* enum trading_state */
    uint32_t operational_state; /* the same, of the market's own halts; unknown = there was none */
    uint32_t held;              /* 1: it may only be reduced, until people release it */
    uint32_t first_cell;        /* of those who have something in it, + 1; 0 = none */
    uint32_t top[2];            /* our best open order, by side: a node, 0 = none */
    uint32_t recent_next[2];
    int64_t bid_depth_lots;
    int64_t ask_depth_lots;
    uint64_t exit_time_ns;      /* of the last fill that brought the position nearer to flat */
    uint64_t safe_until_ns;     /* safe mode holds until then */
    uint64_t move_start_ns;     /* the window of the highest and lowest reference */
    int64_t move_high_ticks;
    int64_t move_low_ticks;
    int64_t before_high_ticks;
    int64_t before_low_ticks;
    gate_window market;         /* lots traded by everybody */
    gate_window own;            /* by us */
    gate_recent recent[2][GATE_RECENT];
    gate_scope scope;
} gate_instrument;

typedef struct {
    int64_t leaves_lots; /* reserved */
    int64_t filled_lots;
    int64_t price_ticks;
    int64_t value_micros; /* of leaves_lots, as it stands in open_micros */
    uint64_t time_ns;     /* approved */
    uint32_t instrument;
    uint32_t node;        /* in its side's heap */
    uint32_t account_cell; /* + 1; 0 = nobody's */
    uint32_t strategy_cell;
    uint32_t side;        /* enum side */
    uint32_t trial;       /* 1: a breaker was tried by it, and may be still */
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
    limits_header *limits;         /* the copy in force, verified, with its entries behind it: the stage's own */
    gate_instrument *instrument;
    uint64_t *order_id;            /* open orders, hashed by id, at most half of the places used; 0 = free */
    gate_order *order;
    gate_scope *scope;             /* GATE_STRATEGIES_MAX strategies, then GATE_ACCOUNTS_MAX accounts */
    gate_cell *cell;               /* hashed by key, at most half of the places used */
    gate_node *node;               /* a pool; 0 is none */
    uint64_t order_mask;
    uint64_t cell_mask;
    uint64_t cells;
    uint64_t open_orders;
    uint64_t last_session_sequence; /* of the executions of `session` */
    uint32_t session;              /* the venue session that the last numbered execution named */
    uint32_t node_free;            /* head of the free ones, linked by `left` */
    int64_t gross_value_micros;    /* firm.gross_sum, saturated */
    int64_t net_value_micros;
    int64_t cash_micros;
    int64_t throttle_credit;       /* in message-nanoseconds: 1e9 pays for a message; starts full */
    uint64_t throttle_time_ns;
    uint64_t market_epoch;         /* moved on by each gap, silence and session: older references are stale */
    uint64_t now_ns;               /* of the turn */
    uint64_t model_time_ns;        /* of the turn that first saw model_generation */
    uint32_t model_generation;
    uint32_t instrument_count;
    uint32_t require_trading_state; /* 1: an instrument whose state is unknown does not trade */
    uint32_t reserved;
    uint64_t *counter;             /* of the risk stage */
    uint64_t override_used[OVERRIDES_MAX]; /* ids of overrides that were used, the last ones */
    uint64_t override_next;
    uint32_t account_id[GATE_ACCOUNTS_MAX]; /* + 1, hashed as in the limits; 0 = free */
    gate_scope firm;
    gate_scope venue;
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
/* A turn begins: its time, and the model that made its intents. Before all else of the turn. */
void gate_begin(gate *gate, const turn_plan *plan);
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
