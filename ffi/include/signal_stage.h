/* signal_stage.h: the signal stage: norm, executions -> features -> strategies -> intents.
 * (Not signal.h: that name is the C library's.)
 *
 *            score passes the threshold            venue accepts
 *     IDLE ----------------------------> PENDING ------------------> LIVE
 *      ^                                    |                        | ^
 *      |   refused, rejected, no answer     |    cancel (score turned, too old)  replaced, or refused
 *      +------------------------------------+    replace (the touch moved away)     |
 *      |                                                             v |
 *      +---------- filled, canceled, no answer ----------- CANCELING, REPLACING
 *
 * One working order per instrument. Style `take` sends immediate-or-cancel at the far touch; style
 * `join` rests at the near touch and follows it. Decisions see the turn's time and the events; they
 * never see a clock.
 */
#pragma once
#include "layout.h"
#include "stage.h"
#include "feature.h"
#include "native.h"
#include "scorer.h"
#include "seat.h"
#include "strategy.h"

/* The last word of a plan is no input: intents may be published up to that sequence, exclusive, so that
 * a full ring drops the same ones in replay. */
enum signal_input { SIGNAL_INPUT_NORM, SIGNAL_INPUT_EXEC, SIGNAL_INPUT_REJECT, SIGNAL_INPUT_INTAKE, SIGNAL_OUTPUT_LIMIT };
enum signal_style { STYLE_TAKE, STYLE_JOIN };
enum working_state { WORKING_IDLE, WORKING_PENDING, WORKING_LIVE, WORKING_CANCELING, WORKING_REPLACING };

typedef struct {
    feature_config feature;
    strategy_config strategy;
    int64_t order_quantity_lots;
    int64_t position_lots_max;    /* the strategy's own wish; the gate's limit is another matter */
    uint64_t cooldown_ns;         /* between two new orders of one instrument */
    uint64_t order_life_ns;       /* a resting order older than this is canceled */
    uint64_t replace_interval_ns; /* between two replacements of one order */
    uint64_t answer_timeout_ns;   /* an order unanswered for so long is canceled, a cancel given up */
    uint32_t style;               /* enum signal_style */
    uint16_t strategy_id;
    uint16_t account;
    uint16_t strategy_epoch;
    uint16_t silent;              /* 1: it trades by its seats alone */
    uint16_t reserved[2];
} signal_config;

/* What the strategy has at work in one instrument. */
typedef struct {
    uint64_t order_id;    /* the live or pending order */
    uint64_t request_id;  /* the cancel or replacement under way */
    int64_t price_ticks;
    int64_t leaves_lots;
    int64_t filled_lots;  /* of the live order, what it replaced included */
    int64_t position_lots;
    uint64_t placed_time_ns;  /* of the last new order, by the turn's time */
    uint64_t request_time_ns; /* of the last request of any kind */
    int64_t bid_price_ticks;  /* the touch as last seen */
    int64_t ask_price_ticks;
    uint32_t state;       /* enum working_state */
    uint32_t list_index;  /* place in signal_stage.working while not idle */
    uint8_t side;
    uint8_t reserved[7];
    int64_t request_price_ticks; /* of the replacement under way */
    uint64_t reserved1[3];
} working_order;

typedef struct {
    stage_context stage;
    ring_reader norm;
    ring_reader exec;
    ring_reader reject;
    ring_writer signal;
    signal_config config;
    feature_state *feature;  /* one per instrument */
    working_order *order;    /* one per instrument */
    native_strategy native;  /* the user's own component, if there is one */
    uint32_t *working;       /* instruments whose order is not idle, dense */
    const instrument_entry *instruments;
    uint32_t working_count;
    uint32_t instrument_count;
    uint32_t batch_max;      /* events of each input in one turn */
    uint32_t leg;            /* of the next intent with the same cause */
    uint32_t cancel_flags;   /* of this turn's cancels: FLAG_PROTECTIVE once the engine may do less than all */
    uint64_t output_limit;   /* of this turn's plan */
    uint64_t sweep_time_ns;  /* of the last look at all working orders */
    uint64_t sweep_interval_ns;
    uint64_t roll_time_ns[ROLLS_AHEAD]; /* the next rolls of the trading day; 0 = none */
    uint64_t order_id_base;   /* as risk's */
    seats *seats;             /* NULL: no co-process can come */
    scorer *scorer;           /* NULL: no model can come */
    ring_writer decision;     /* what models said; with a scorer */
} signal_stage;

void signal_init(signal_stage *signal);
/* Ask for what an event of this instrument will touch. */
void signal_expect(const signal_stage *signal, uint32_t instrument);
void signal_plan(signal_stage *signal, turn_plan *plan);
int signal_turn(signal_stage *signal, const turn_plan *plan);
