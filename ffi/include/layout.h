/* layout.h: every structure that two processes, or C and Python, share. Written once, here.
 *
 * The same text is compiled by the C compiler, parsed by cffi (the `cdef`), and walked through
 * `ffi.typeof` to make the NumPy dtypes and the 64-bit layout hash over every field's name, type and
 * offset (ffi/dtypes.py). Two processes whose hashes differ refuse to share a segment.
 *
 * The subset: integer #defines, enums, and typedefs of plain structs. No pointers, no bit-fields,
 * no conditionals, no functions. Sizes and offsets are asserted in src/layout.c.
 *
 * Words used here
 *   sequence   number of an event in its ring, counted from 0; the slot's stamp holds sequence + 1
 *   _time_ns   an instant. `origin` is the venue's clock; every other instant is the engine clock
 *              (clock.h): ns since the Unix epoch, anchored once a run and never stepped
 *   _ns        a span
 *   ticks      price in the instrument's tick; lots: quantity in the instrument's lot (refdata)
 *   micros     money in millionths of the instrument's currency
 */
#pragma once
#include <stdint.h>

#define CACHE_LINE_SIZE 64
#define SEGMENT_HEADER_SIZE 128
#define RING_SLOTS_OFFSET 4096 /* slots start on a page of their own, so that readers map them read-only */
#define RING_GATES_MAX 8       /* gating readers of one ring */
#define INPUTS_MAX 5           /* words of a plan: input rings of one stage, and how far it may publish */
#define COUNTERS_MAX 128       /* counters of one stage */
#define RESTART_SLOTS 8        /* words for the phases of a restart */
#define INSTRUMENTS_MAX 65536
#define NO_INSTRUMENT 4294967295 /* an event of the market, not of an instrument */
#define RAW_BYTES_MAX 64         /* venue bytes in one raw slot; a longer message takes several */
#define FRAME_BYTES_MAX 80       /* one order frame, transport header included */
#define INTENT_RECORDS_OFFSET 4096 /* of the intent file, after its page */

/* ---- segments ------------------------------------------------------------------------------- */

enum segment_kind {
    SEGMENT_UNSPECIFIED,
    SEGMENT_RING,
    SEGMENT_CURSOR,
    SEGMENT_DOORBELL,
    SEGMENT_STAGE,
    SEGMENT_HISTOGRAMS,
    SEGMENT_CLOCK,
    SEGMENT_CONTROL,
    SEGMENT_LIMITS,
    SEGMENT_INSTRUMENTS,
    SEGMENT_LOCKSTEP,
    SEGMENT_INTENTS,
    SEGMENT_SEAT,
    SEGMENT_SEAT_CLIENT,
    SEGMENT_ENDPOINTS,
    SEGMENT_MODELS,
    SEGMENT_MODELS_WATCH
};

/* The first 128 bytes of every segment. `magic` is stored last, with release: a segment that has
 * none is one whose maker died half-way. */
typedef struct {
    uint64_t magic;            /* "HOTPATH1" in memory order */
    uint64_t layout_hash;      /* of the extension that made it */
    uint64_t run_epoch;        /* instant at which the run began, one for all its segments */
    uint64_t owner_start_time; /* clock ticks since boot, field 22 of /proc/PID/stat */
    uint64_t capacity;         /* slots, or entries */
    uint32_t slot_size;        /* bytes of one slot or entry */
    uint32_t kind;             /* enum segment_kind */
    uint32_t owner_pid;
    uint32_t reserved;
    uint8_t boot_id[16];
    char name[56]; /* NUL-padded */
} segment_header;

/* ---- rings ---------------------------------------------------------------------------------- */

/* The writer's line, at SEGMENT_HEADER_SIZE of a ring segment. */
typedef struct {
    uint64_t position;   /* events published; trails the stamps by at most one commit */
    uint64_t full_count; /* claims declined because a gating reader lagged */
    uint64_t reserved[6];
} ring_control;

enum cursor_kind { CURSOR_UNSPECIFIED, CURSOR_GATING, CURSOR_OBSERVER };

/* A reader's own line, at SEGMENT_HEADER_SIZE of its cursor segment. */
typedef struct {
    uint64_t position;   /* next sequence to read */
    uint64_t lost_count; /* observer: events overwritten before it read them */
    uint32_t kind;       /* enum cursor_kind */
    uint32_t reserved0;
    uint64_t reserved[5];
} ring_cursor;

/* Where a process that parks sleeps, at SEGMENT_HEADER_SIZE of its doorbell segment. */
typedef struct {
    uint32_t sleeping; /* 1 while the sleeper may be in futex_wait */
    uint32_t wakes;    /* the futex word: moved on by whoever rings */
    uint32_t reserved[14];
} doorbell;

/* ---- events --------------------------------------------------------------------------------- */

/* What an event's cause_sequence counts. Not always one ring: a refusal by risk comes on the ring reject, and
 * what it causes says INPUT_EXEC as what an execution causes does. */
enum input_id {
    INPUT_NONE,   /* no event: of a raw event it is the venue's number, of a turn record the turn */
    INPUT_RAW,
    INPUT_NORM,
    INPUT_SIGNAL,
    INPUT_CMD,
    INPUT_EXEC,
    INPUT_CTL,
    INPUT_TIMER,  /* turns of the stage */
    INPUT_INTAKE,
    INPUT_ADJUST
};

/* One numbering for the types of all classes, so that an event names itself wherever it is met. */
enum event_type {
    EVENT_NONE,
    /* raw */
    RAW_MESSAGE = 1,    /* one venue message, exact bytes */
    RAW_SESSION,        /* a session began or changed; bytes hold its name, session_sequence is its first message here */
    RAW_GAP,            /* messages missing: session_sequence is the first, quantity in `total` */
    RAW_GAP_CLOSED,     /* the line is whole again */
    RAW_GAP_LOST,       /* the gap will not be filled; the books stay stale until a snapshot or a session.
                           bytes[0] = enum gap_reason */
    RAW_SILENT,         /* nothing heard for the time allowed */
    RAW_SESSION_END,
    RAW_LINE_SILENT,    /* one of two lines fell silent while the other speaks: `total` = which (0 A, 1 B) */
    RAW_LINE_HEARD,     /* and speaks again */
    RAW_SNAPSHOT_BEGIN, /* books empty: `total` messages of a snapshot follow, then its end */
    RAW_SNAPSHOT_END,   /* books are those before message session_sequence */
    RAW_NORM = 15,      /* one canonical event, pushed as such: an ingress_norm (ingress.h) */
    /* norm: orders */
    NORM_ADD = 16,      /* order_ref rests at price for quantity */
    NORM_EXECUTE,       /* quantity of order_ref executed at its own price; reference = match */
    NORM_EXECUTE_PRICE, /* the same at another price; FLAG_PRINTABLE if it counts as volume */
    NORM_REDUCE,        /* order_ref loses quantity */
    NORM_DELETE,        /* order_ref leaves the book; quantity = what was left */
    NORM_REPLACE,       /* order_ref becomes reference, at price for quantity, last in its queue */
    /* norm: prints and states */
    NORM_TRADE = 32,    /* an execution that never rested in the book; reference = match */
    NORM_CROSS,         /* auction print; reference = match, order_ref = kind of cross (ASCII) */
    NORM_BROKEN,        /* the execution `reference` did not happen */
    NORM_IMBALANCE,     /* auction: price = reference price, quantity = paired, order_ref = imbalance */
    NORM_STATUS,        /* trading state: order_ref = enum trading_state, reference = reason (4 ASCII) */
    NORM_DIRECTORY,     /* instrument announced; reference = venue locate */
    NORM_SYSTEM,        /* order_ref = the venue's event code (ASCII) */
    NORM_COLLAR,        /* price = reference, quantity = lower ticks, reference = upper ticks */
    NORM_NOTICE,        /* another message of the venue, kept for the record: order_ref = its type */
    NORM_GAP,           /* messages lost: books stale from here; quantity = how many, reference = enum
                           gap_reason once they are lost for good, 0 while they may still come. Of one
                           instrument: its book cannot be believed */
    NORM_WHOLE,         /* books whole again */
    NORM_SILENT,        /* the venue fell silent: books stale */
    NORM_OPERATIONAL,   /* the market's own halt, beside its trading state: order_ref = enum trading_state,
                           reference = the market (ASCII) */
    NORM_LINE,          /* one of two feed lines: order_ref = which (ASCII A, B), quantity = 1 speaks, 0 silent */
    NORM_CLEAR,         /* books are empty from here, as each follower's must be: a session began, or a snapshot */
    /* signal */
    SIGNAL_NEW = 64,
    SIGNAL_REPLACE,
    SIGNAL_CANCEL,
    SIGNAL_DECISION,    /* on the ring decision: what a model said, whether it trades or only looks on */
    /* cmd */
    CMD_NEW = 80,
    CMD_REPLACE,
    CMD_CANCEL,
    /* exec */
    EXEC_ACCEPTED = 96, /* the venue holds the order: leaves_lots is live */
    EXEC_REPLACED,      /* target_order_id became order_id */
    EXEC_FILL,
    EXEC_CANCELED,      /* quantity lots left the order; reason = the venue's code */
    EXEC_REJECTED,      /* the venue refused the order */
    EXEC_CANCEL_REJECTED,
    EXEC_REPLACE_REJECTED, /* order_id is dead, target_order_id lives on */
    EXEC_BROKEN,        /* the fill match_id did not happen */
    EXEC_CORRECTED,     /* the fill match_id was at another price; venue_ref = the price before, 0 = not known */
    EXEC_RESTATED,      /* the venue changed the order on its own (price, display, quantity) */
    EXEC_REFUSED,       /* the gateway did not send: reason = enum reject_reason */
    EXEC_PENDING_CANCEL,
    EXEC_UNKNOWN,       /* sent, fate unknown: counts at worst case until it is settled */
    EXEC_SESSION_UP,    /* match_id and target_order_id: the venue session's name, 16 bytes */
    EXEC_SESSION_DOWN,
    EXEC_REPEATED,      /* the venue said again what it had said: reason = the event type; nothing changes */
    EXEC_ADJUSTED,      /* people moved the position: match_id = the adjustment, which stands in the ring adjust at
                           cause_sequence; venue_ref = the money that it moves, in micros, as an int64_t */
    EXEC_HELD,          /* the instrument may only be reduced until people release it: reason = what was found */
    EXEC_RELEASED,
    /* ctl */
    CTL_TURN = 128,
    CTL_LIMITS,         /* a line of a version of the limits that differs from the version before */
    CTL_MODEL_BYTES,    /* a piece of a model's image, once for each image of a run */
    CTL_MODELS,         /* a generation of the models: which images play which part */
    /* seats: what a co-process asks for, and on the ring intake what became of its seat */
    REQUEST_NEW = 144,
    REQUEST_REPLACE,    /* target_token becomes token, at price for quantity (the total, executed included) */
    REQUEST_CANCEL,     /* of the order target_token */
    REQUEST_CANCEL_ALL, /* every open order of the seat, in one instrument or, NO_INSTRUMENT, in all */
    REQUEST_DETACH,     /* it leaves: a cut, with the seat's policy for what is open */
    REQUEST_RAISED,     /* it says itself that it cannot go on */
    SEAT_ATTACHED,      /* attach_epoch names the attachment; token of the first one seeds the seat's table of tokens */
    SEAT_CUT,           /* reason = enum seat_cut */
    /* reports: the exec types with the co-process's own tokens, and */
    REPORT_ATTACHED = 160, /* the seat is attach_epoch's; a snapshot follows */
    REPORT_ORDER,          /* snapshot: an open order */
    REPORT_POSITION,       /* snapshot: a position that is not flat */
    REPORT_END,            /* of the snapshot; token = the highest that the seat has seen */
    REPORT_CUT,            /* reason = enum seat_cut: nothing is taken until the next attachment */
    /* adjustments: positions that no execution explains */
    ADJUST_OPENING = 176,  /* held when the run began */
    ADJUST_CORPORATE,      /* split, merger, dividend */
    ADJUST_CORRECTION,     /* a mistake, here or at the venue, set right by hand */
    ADJUST_HOLD,           /* moves nothing: both sides disagree about this instrument */
    ADJUST_RELEASE         /* moves nothing: people have settled it */
};

enum event_flag {
    FLAG_SELL = 1,          /* side of the order or execution; unset is buy */
    FLAG_PRINTABLE = 2,     /* counts as volume */
    FLAG_STALE = 4,         /* the book may be wrong: gap, silence or overrun */
    FLAG_PACKET_END = 8,    /* last message of its packet */
    FLAG_TOP = 16,          /* best bid or offer changed in price or quantity */
    FLAG_UNKNOWN_ORDER = 32, /* order_ref was never seen added (a mid-day start) */
    FLAG_SHORT = 64,        /* sell short */
    FLAG_OWN = 128,         /* concerns an order of this engine */
    FLAG_RECOVERED = 256,   /* arrived by retransmission or sequenced replay */
    FLAG_REFUSED = 512,     /* report: this engine said no, not the venue: reason = enum reject_reason */
    FLAG_PROTECTIVE = 1024  /* a cancel of the engine's own or an operator's: no throttle or resting time holds it */
};

/* Why a gap was given up. */
enum gap_reason {
    GAP_NO_SERVER = 1, /* nobody to ask */
    GAP_UNANSWERED,    /* asked, and nothing came */
    GAP_WRONG_ANSWERS, /* what came was not what was asked for */
    GAP_STALLED        /* a part came, the rest did not */
};

enum trading_state { STATE_UNKNOWN, STATE_TRADING, STATE_HALTED, STATE_PAUSED, STATE_QUOTATION };

/* The first 48 bytes of every slot. `stamp` is the ring's: 0 while the slot is written. */
typedef struct {
    uint64_t stamp;           /* sequence + 1 */
    uint64_t cause_sequence;  /* of what caused this event, counted as cause_input says */
    uint64_t origin_time_ns;  /* venue clock of the causing market event, as ns since the epoch; a state of the line
                                 has the time at which the front end found it */
    uint64_t ingress_time_ns; /* its bytes were in user memory (or were intended to be) */
    uint64_t publish_time_ns; /* this event was published */
    uint8_t type;             /* enum event_type */
    uint8_t cause_input;      /* enum input_id */
    uint16_t flags;           /* enum event_flag */
    uint32_t instrument;      /* index into refdata, or NO_INSTRUMENT */
} event_header;

/* Exact venue bytes in accepted order. A message longer than RAW_BYTES_MAX takes consecutive slots
 * of the same session_sequence; `offset` of the first is 0. */
typedef struct {
    event_header header;
    uint64_t session_sequence; /* the venue's number of the message */
    uint16_t length;           /* bytes in this slot */
    uint16_t offset;           /* of this slot's bytes in the message */
    uint32_t total;            /* bytes of the whole message; RAW_GAP: messages missing */
    uint8_t bytes[RAW_BYTES_MAX];
} raw_event;

/* A market event and the top of the book after it. */
typedef struct {
    event_header header;
    uint64_t order_ref; /* the venue's order number */
    int64_t price_ticks;
    int64_t quantity_lots;
    uint64_t reference; /* by type: new order number, match number, reason, locate */
    int64_t bid_price_ticks; /* 0 when that side is empty, as is its quantity */
    int64_t ask_price_ticks;
    int64_t bid_quantity_lots;
    int64_t ask_quantity_lots;
    int64_t bid_depth_lots; /* sum of the best DEPTH_LEVELS levels */
    int64_t ask_depth_lots;
} norm_event;

#define DEPTH_LEVELS 5

enum side { SIDE_BUY, SIDE_SELL };
enum time_in_force { TIF_DAY, TIF_IOC };
#define COMPONENTS_MAX 5

/* What a strategy wants done. */
typedef struct {
    event_header header;
    int64_t price_ticks;
    int64_t quantity_lots;
    double score;     /* in [-1, 1]: the ensemble's */
    double threshold; /* that it passed */
    int64_t bid_price_ticks; /* as the strategy saw them */
    int64_t ask_price_ticks;
    uint64_t target_order_id; /* SIGNAL_REPLACE, SIGNAL_CANCEL */
    uint16_t strategy;
    uint16_t account;
    uint16_t strategy_epoch;
    uint8_t leg;  /* which of the signals of one cause */
    uint8_t side; /* enum side */
    uint32_t feed_ns; /* ingress to norm publish */
    uint8_t time_in_force;
    uint8_t reserved;
    int16_t component[COMPONENTS_MAX]; /* each strategy's score, times 32767 */
} signal_event;

/* Names one wire order for ever: (account, strategy, strategy epoch, input, cause sequence, leg). */
typedef struct {
    uint64_t cause_sequence;
    uint16_t account;
    uint16_t strategy;
    uint16_t strategy_epoch;
    uint8_t input;
    uint8_t leg;
} command_id;

/* An order that passed the risk gate. `digest` covers what I1 calls the canonical command. */
typedef struct {
    event_header header;
    command_id id;
    uint64_t order_id;        /* the engine's, dense, rising from 1 */
    uint64_t target_order_id; /* CMD_REPLACE, CMD_CANCEL */
    int64_t price_ticks;
    int64_t quantity_lots;    /* CMD_REPLACE: total wanted, executed included; CMD_CANCEL: 0 */
    uint64_t digest;
    uint32_t limits_version;
    uint32_t kill_epoch;
    uint32_t feed_ns;
    uint32_t signal_ns; /* norm publish to signal publish */
    uint8_t side;
    uint8_t time_in_force;
    uint8_t venue;
    uint8_t reserved0;
    uint32_t reserved1;
} cmd_event;

/* What became of an order. */
typedef struct {
    event_header header;
    uint64_t order_id;
    uint64_t venue_ref; /* the venue's order number */
    uint64_t match_id;
    int64_t price_ticks;
    int64_t quantity_lots;
    int64_t leaves_lots;
    int64_t cumulative_lots;
    uint64_t session_sequence; /* the venue's number of the message; 0 = made here */
    uint64_t target_order_id;
    uint16_t reason;
    uint8_t side;
    uint8_t liquidity; /* the venue's flag, ASCII */
    uint8_t venue;
    uint8_t reserved;
    uint16_t session; /* names the venue session that session_sequence counts in; never the next one's */
} exec_event;

#define ADJUSTMENT_TEXT_MAX 44 /* bytes of it in one slot */

/* What people say of a position: so many lots, at so much cost, and so much money. An adjustment with a long text takes
 * `parts` consecutive slots, alike but for `part` and text. The gateway tells each one once, as EXEC_ADJUSTED, so that
 * it has its place among the executions. */
typedef struct {
    event_header header;   /* type: ADJUST_...; origin_time_ns: when it was asked for */
    uint64_t id;           /* rising over all runs of the engine, from 1 */
    int64_t quantity_lots; /* that the position gains; negative: loses */
    int64_t cost_micros;   /* that the cost of the position gains: what was paid for a long one, less than 0 for a short */
    int64_t cash_micros;   /* received (dividend) or paid besides: profit or loss at once */
    uint8_t part;          /* of the text, from 0 */
    uint8_t parts;
    uint16_t length;       /* bytes in this slot */
    uint8_t text[ADJUSTMENT_TEXT_MAX]; /* UTF-8: who, a line feed, why */
} adjustment_event;

/* What a version of the limits changed, a cache line of the copy in each event. The first version is in the run's file;
 * each later one stands here, whole, before it can come into force, so that a turn can be made again under the very
 * bytes that it decided by. What the bytes mean is nobody's business here. */
typedef struct {
    event_header header; /* origin_time_ns: when it was asked for */
    uint64_t digest;     /* of the whole copy with all of this version's lines (digest_bytes, seed 0) */
    uint32_t version;    /* as a turn names it */
    uint32_t line;       /* which CACHE_LINE_SIZE bytes of the copy, from 0 */
    uint8_t bytes[CACHE_LINE_SIZE];
} limits_change;

/* ---- models ------------------------------------------------------------------------------------ */

/* The parts that models play in one generation. */
enum model_role {
    MODEL_CHAMPION,   /* trades */
    MODEL_CHALLENGER, /* looks on, or trades a part: enum challenger_part */
    MODEL_FALLBACK,   /* takes the champion's place when that failed */
    MODEL_ROLES
};

enum challenger_part {
    CHALLENGER_SHADOW,      /* its decisions are recorded and compared, never traded */
    CHALLENGER_INSTRUMENTS, /* it trades a fraction of the instruments */
    CHALLENGER_SIZE         /* the wished position is the champion's and, for a fraction, its own */
};

#define MODEL_TRIP_SHIFT 24 /* of turn_plan.model_generation: above it a bit for each role that failed */
#define MODEL_GENERATION_MASK 16777215

/* A generation of the models: what a slot of the models segment, and a CTL_MODELS event, begin with. */
typedef struct {
    uint64_t checksum;          /* of the rest (digest_bytes, seed 0) */
    uint32_t generation;        /* from 1; 0: no model was ever loaded */
    uint32_t part;              /* enum challenger_part */
    uint32_t part_ppm;          /* of instruments or size */
    uint32_t reason;            /* enum model_reason */
    uint64_t digest[MODEL_ROLES]; /* of the images; 0: nobody plays that part */
} models_deck;

/* Why a generation came. */
enum model_reason {
    MODEL_REASON_LOADED,
    MODEL_REASON_SHADOWED,
    MODEL_REASON_CANARY,
    MODEL_REASON_PROMOTED,
    MODEL_REASON_ROLLED_BACK,
    MODEL_REASON_DROPPED,   /* the challenger is looked at no more */
    MODEL_REASON_FELL_BACK  /* a model failed on the path */
};

/* At SEGMENT_HEADER_SIZE of the models segment; two slots follow. A slot holds a deck and, one behind the other at
 * multiples of 64 bytes, the images that it names. Readers copy slot[generation & 1] and check every digest. */
typedef struct {
    uint64_t generation;     /* stored last, with release */
    uint64_t slot_offset[2]; /* from this page */
    uint64_t slot_bytes;
    uint64_t trip;           /* generation | roles << MODEL_TRIP_SHIFT: what was found to have drifted */
    uint64_t reserved[3];
    uint64_t image_offset[2][4]; /* of each role, from the slot's start; 0: none */
    uint64_t image_bytes[2][4];
} models_page;

/* What the journal has of the models: every image once, in pieces, then each generation. */
typedef struct {
    event_header header;
    uint64_t digest;     /* CTL_MODEL_BYTES: of the whole image */
    uint32_t generation; /* CTL_MODELS */
    uint32_t offset;     /* CTL_MODEL_BYTES: of this piece; CTL_MODELS: 0 */
    uint8_t bytes[CACHE_LINE_SIZE]; /* a piece, or a models_deck and behind it who did it (UTF-8) */
} model_change;

enum decision_status {
    DECISION_SCORED,
    DECISION_ABSTAINED, /* an input is not known */
    DECISION_NAN,       /* the model gave no number: it has no opinion */
    DECISION_FAILED     /* the executor returned an error */
};

/* What a model said to one event. cause: the norm event. */
typedef struct {
    event_header header;
    uint64_t digest;        /* of the model's image */
    uint64_t inputs_digest; /* of its inputs, to the bit */
    double score;           /* the model's own, in [-1, 1] */
    double ensemble;        /* with the other components, by their weights */
    int64_t target_lots;    /* the position that it wishes; where it wishes none, what is held */
    int64_t position_lots;  /* held then */
    float output;           /* of the model, before centre and scale */
    uint32_t generation;
    uint32_t latency_ns;    /* measured; 0 in virtual time */
    uint8_t role;           /* enum model_role */
    uint8_t status;         /* enum decision_status */
    uint8_t acts;           /* 1: orders follow it */
    uint8_t wishes;         /* 1: |ensemble| passed the threshold */
    uint64_t reserved[2];
} decision_event;

#define DRIFT_BINS 10
#define DRIFT_COLUMNS 65 /* the inputs, and the score behind them */
#define MODEL_COLUMNS_MAX 64

/* How a model fares on the path. One writer: the signal stage. */
typedef struct {
    uint64_t digest;
    uint64_t runs;
    uint64_t abstained;
    uint64_t nan;
    uint64_t over_budget;
    uint64_t latency_sum_ns;
    uint64_t latency_max_ns;
    uint64_t wishes;
    uint64_t compared;    /* of a challenger: events at which the champion was asked too */
    uint64_t agreed;      /* both wished the same position */
    uint64_t drift_count; /* evaluations that were counted below */
    uint64_t reserved[5];
    uint32_t bin[DRIFT_COLUMNS][DRIFT_BINS];
} model_health;

/* At SEGMENT_HEADER_SIZE of the segment models.watch. */
typedef struct {
    uint64_t generation; /* in force, with the roles that failed */
    uint64_t time_ns;    /* since when, by the turn's time */
    uint64_t trip_cause[MODEL_ROLES]; /* enum model_trip, of the roles that failed */
    uint64_t swaps;
    uint64_t reserved[2];
    model_health health[MODEL_ROLES];
} models_watch;

enum model_trip { MODEL_TRIP_NONE, MODEL_TRIP_LATENCY, MODEL_TRIP_NAN, MODEL_TRIP_DRIFT };

/* One non-idle turn of a stage: all that its decisions could see besides the events themselves. Its header's
 * ingress_time_ns is no time: it holds a bit for each cause (enum cause) that tightened the engine then, for people. */
typedef struct {
    event_header header; /* origin_time_ns = now_ns of the turn */
    uint64_t turn;
    uint64_t input_sequence[INPUTS_MAX]; /* drained up to here, exclusive, per input in the stage's order */
    uint64_t output_sequence;            /* published up to here, exclusive */
    uint64_t digest;                     /* running digest of the stage's outputs */
    uint32_t kill_epoch;
    uint32_t limits_version;
    uint32_t model_generation;
    uint16_t weights_version;
    uint8_t mode;   /* enum trading_mode */
    uint8_t killed; /* 1 while kill_epoch is not armed */
} turn_event;

/* ---- control -------------------------------------------------------------------------------- */

enum trading_mode { MODE_NORMAL, MODE_REDUCE_ONLY, MODE_CANCEL_ONLY, MODE_HALTED };

#define CAUSES_MAX 64
#define CONTROL_PATH_MAX 256
#define BEATS_MAX 8

/* What may tighten the engine. Each cause owns a byte of control_page.cause, which one process writes: the mode that
 * it demands. The strictest wins. What each means, how it clears and who clears it: hotpath/control/causes.py, from
 * which docs/modes.md is made. */
enum cause {
    CAUSE_OPERATOR,        /* people */
    CAUSE_SUPERVISOR,      /* a process of the path is away */
    CAUSE_RECORD_FEED,     /* a turn that could not be recorded: by enum stage_id */
    CAUSE_RECORD_SIGNAL,
    CAUSE_RECORD_RISK,
    CAUSE_RECORD_GATEWAY,
    CAUSE_SESSION,         /* the venue session is not up */
    CAUSE_BELIEF,          /* the venue said what cannot be believed */
    CAUSE_INTENTS,         /* the disk of the intents failed */
    CAUSE_JOURNAL,         /* behind, or away */
    CAUSE_JOURNAL_SPACE,   /* little room on its disk */
    CAUSE_JOURNAL_LOST,    /* it has a hole, or is gone */
    CAUSE_RECONCILE,       /* positions are not compared */
    CAUSE_FEED_STALE,      /* the market is not known: a gap, silence */
    CAUSE_LEASE_FEED,      /* not heard for longer than its lease: by enum stage_id */
    CAUSE_LEASE_SIGNAL,
    CAUSE_LEASE_RISK,
    CAUSE_LEASE_GATEWAY,
    CAUSE_LEASE_SUPERVISOR,
    CAUSE_LEASE_CONTROL,
    CAUSE_SLEPT,           /* the gateway's own loop stood still: what waits for it is old */
    CAUSE_CLOCK,           /* the engine's clock is out of bound */
    CAUSE_LATENCY,         /* the path's own tail is */
    CAUSE_LOSS,            /* daily loss, drawdown */
    CAUSE_MODEL,           /* the model is not to be believed */
    CAUSE_CONSERVATION,    /* what left the gateway is not what was approved */
    CAUSES
};

/* What becomes of open orders when their session ends: hotpath/control/disconnect.py. */
enum on_disconnect {
    ON_DISCONNECT_UNKNOWN,
    ON_DISCONNECT_BY_ACCOUNT, /* as the venue set the account up, which nobody has told */
    ON_DISCONNECT_CANCELS,
    ON_DISCONNECT_LEAVES,
    ON_DISCONNECT_DIES        /* with the gateway's process: it is the venue */
};

/* Who beats in the control page: processes without a stage's page that a lease watches. */
enum beat { BEAT_SUPERVISOR, BEAT_CONTROL, BEATS };

/* At SEGMENT_HEADER_SIZE of the control segment. Killed while kill_epoch != armed_epoch; a kill is effective once
 * killed_epoch_sent or killed_epoch_reset has reached its epoch. kill_epoch is the first word in every layout, so that
 * an engine of any build can be killed. */
typedef struct {
    uint64_t kill_epoch;      /* moved on by every kill; any process may, with an atomic add */
    uint64_t reserved0[7];
    uint64_t armed_epoch;     /* the kill epoch that people have accepted; written by the supervisor */
    uint64_t reserved1[7];
    uint64_t killed_epoch_sent; /* the gateway: after this epoch no byte of an order leaves, nor is one under way */
    uint64_t effective_time_ns; /* when it found that so */
    uint64_t order_time_ns;     /* at the latest then was the last byte of a new order or replacement handed over */
    uint64_t in_flight_bytes;   /* handed over and not yet acknowledged by the venue's host; 0 once effective */
    uint64_t sweep_epoch;       /* a cancel for every order that this kill found open was handed over */
    uint32_t sweep_orders;      /* that it found open */
    uint32_t open_orders;       /* of them and any others, now: their cancels are not confirmed */
    uint32_t discarded_orders;  /* framed, and thrown away before they left */
    uint32_t resets;            /* connections that were reset because the venue did not take what was under way */
    uint32_t scoped_version_sent; /* after this kill_version of the limits no order byte of a killed scope leaves */
    uint32_t scoped_orders_open;  /* in killed scopes, as of the last look: their cancels are not confirmed */
    uint64_t killed_epoch_reset; /* whoever ended the gateway's process: it is gone, and its socket was reset */
    uint64_t reset_time_ns;
    uint64_t reserved3[6];
    uint32_t stop;            /* 1: take no new work; 2: leave the loop. Written by the supervisor */
    uint32_t on_disconnect;   /* enum on_disconnect, of the venue session; written when the page is made */
    uint32_t reserved4[14];
    uint64_t beat_time_ns[BEATS_MAX]; /* by enum beat; 0: there is none, and nobody waits for it */
    uint8_t cause[CAUSES_MAX];        /* enum trading_mode by enum cause; each byte has one writer */
    uint64_t kill_escalate_ns;        /* a kill that is not effective by then ends the gateway's process */
    uint64_t reserved5[7];
    char latch_path[CONTROL_PATH_MAX];   /* NUL-padded, written when the page is made: where a kill is latched, */
    char intents_path[CONTROL_PATH_MAX]; /* and whose fencing epoch keeps a gateway out */
} control_page;

/* ---- limits ---------------------------------------------------------------------------------- */

/* Every limit is an int64_t. 0 forbids, or for a least value asks for nothing; LIMIT_OFF: there is no such limit. */
#define LIMIT_OFF 9223372036854775807
#define TEMPORARY_LIMITS_MAX 16
#define OVERRIDES_MAX 8
#define TRADING_HOURS_MAX 4
#define STRATEGY_PLACES 256 /* strategies by number */
#define ACCOUNT_PLACES 64   /* accounts, hashed by number: the low bits, then the next free place */
#define SCOPES_MAX 128      /* entries of limits_copy's table of scopes */

enum scope_kind { SCOPE_FIRM, SCOPE_VENUE, SCOPE_ACCOUNT, SCOPE_STRATEGY, SCOPE_INSTRUMENT, SCOPE_KINDS };

/* What people did to a scope; it stands until people undo it. */
enum scope_switch {
    SWITCH_KILLED = 1,      /* nothing new, and what is open is cancelled */
    SWITCH_PAUSED = 2,      /* nothing new; what is open stays */
    SWITCH_REDUCE_ONLY = 4,
    SWITCH_CANCEL_ONLY = 8
};

/* Groups of limits, so that those which are off are passed over together. */
enum limit_group {
    GROUP_SWITCHES = 1,
    GROUP_RATES = 2,
    GROUP_EXPOSURE = 4,
    GROUP_DAY = 8,
    GROUP_LOSS = 16,
    GROUP_CONDUCT = 32, /* order-to-trade, repeated executions, breaker */
    GROUP_COLLARS = 64, /* of an instrument: the further ones */
    GROUP_MARKET = 128, /* of an instrument: volatility, spread, depth, participation */
    GROUP_TIMING = 256  /* of an instrument: duplicates, cool-down, resting time */
};

/* Limits of one scope: the firm, a venue's session, an account, a strategy, an instrument. */
typedef struct {
    uint64_t active;                 /* enum limit_group: what is on. Derived by limits_seal */
    uint64_t switches;               /* enum scope_switch */
    int64_t orders_per_second_max;   /* token buckets, each as deep as one second of its rate */
    int64_t replaces_per_second_max;
    int64_t cancels_per_second_max;
    int64_t messages_per_second_max; /* orders, replaces and cancels together */
    int64_t cancels_reserved;        /* messages of that bucket which only cancels may use */
    int64_t open_orders_max;
    int64_t position_lots_max;       /* |position| in any one instrument with every open order filled */
    int64_t gross_value_micros_max;  /* sum over instruments of |worst-case position| at reference */
    int64_t net_value_micros_max;    /* |sum over instruments of the position| with one side's open orders filled */
    int64_t credit_micros_max;       /* paid for purchases over received for sales, with every open buy filled */
    int64_t day_value_micros_max;    /* traded today, and open */
    int64_t day_lots_max;
    int64_t day_loss_micros_max;     /* marked to market; the lowest since it was re-armed counts */
    int64_t day_drawdown_micros_max; /* from the day's best, likewise */
    int64_t messages_per_fill_milli_max; /* order-to-trade ratio, in thousandths */
    int64_t messages_free;           /* before that ratio is judged */
    int64_t executions_max;          /* repeated automated executions, until re-armed */
    uint64_t rearm_epoch;            /* moved on by people: what is latched in this scope begins anew */
    int64_t breaker_rejects_max;     /* refusals by the venue within the window: one more trips the breaker */
    int64_t breaker_window_ns;
    int64_t breaker_cooldown_ns;     /* then one order is tried */
    uint32_t id;                     /* number of the venue, account or strategy */
    uint32_t kind;                   /* enum scope_kind */
} scope_limits;

enum limit_flag {
    LIMIT_BLOCKED = 1,
    LIMIT_NO_SHORT = 2,
    LIMIT_ROUND_LOTS = 4,          /* whole round lots alone */
    LIMIT_NO_DAY = 8,              /* no order that rests */
    LIMIT_NO_IOC = 16,
    LIMIT_NO_SELF_TRADE = 32,      /* none that could meet an order of ours */
    LIMIT_OUTSIDE_ENVELOPE = 64,   /* this deployment may never touch it */
    LIMIT_LOCKED_ALLOWED = 128     /* a locked market (bid = ask) may be traded in */
};

/* Limits of one instrument. */
typedef struct {
    int64_t position_lots_max;       /* |position| with every open order filled */
    int64_t order_quantity_lots_max;
    int64_t order_value_micros_max;
    int64_t collar_ppm_max;          /* distance from the reference price, parts per million */
    uint64_t flags;                  /* enum limit_flag */
    int64_t collar_ticks_max;        /* the same in ticks */
    int64_t trade_collar_ppm_max;    /* distance from the last trade */
    int64_t through_ppm_max;         /* how far through the opposite side's best price */
    int64_t move_ppm_max;            /* a buy over the window's lowest reference, a sell under its highest */
    int64_t volatility_ppm_max;      /* the window's highest reference over its lowest */
    int64_t window_ns;               /* of both */
    int64_t spread_ppm_max;
    int64_t depth_lots_min;          /* on the side that the order would take; 0: none asked for */
    int64_t participation_ppm_max;   /* our lots of the market's, in the window */
    int64_t participation_window_ns;
    int64_t duplicate_window_ns;     /* same strategy, side, price and quantity within it; 0: off */
    int64_t resting_ns_min;          /* that an order stands before its strategy may move or cancel it */
    int64_t cooldown_ns;             /* after an exit, before risk is taken again */
    int64_t safe_ns;                 /* the pre-action filter: how long safe mode holds once it tripped; 0: off */
    int64_t envelope_lots_max;       /* |position| that this deployment may ever reach */
    uint64_t reserved[4];
    scope_limits scope;
} instrument_limits;

/* A limit that reverts by itself: the copy holds the temporary value, this what it goes back to. */
typedef struct {
    int64_t value_before;
    int64_t expires_time_ns;         /* 0 = this place is free */
    uint32_t offset;                 /* of the limit in the copy */
    uint32_t reserved[3];
    char who[32];                    /* NUL-padded */
} temporary_limit;

/* Leave for one order to breach one kind of limit once. */
typedef struct {
    uint64_t id;                     /* rising; 0 = this place is free */
    int64_t expires_time_ns;
    uint64_t reasons[2];             /* bits, by enum reject_reason: what it forgives */
    int64_t quantity_lots_max;
    int64_t order_value_micros_max;
    uint32_t instrument;             /* NO_INSTRUMENT: any */
    uint16_t account;
    uint16_t strategy;
    uint8_t side;                    /* enum side; SIDE_ANY */
    uint8_t any_account;
    uint8_t any_strategy;
    uint8_t reserved[5];
    char who[32];                    /* NUL-padded */
} limit_override;

#define SIDE_ANY 255

typedef struct {
    int64_t open_time_ns;
    int64_t close_time_ns;           /* 0 = this pair is not used */
} trading_hours;

/* One copy of the limits, whole: this header, `count` instrument_limits, `scope_count` scope_limits. */
typedef struct {
    uint64_t version;
    uint64_t checksum;               /* of `bytes` bytes with checksum = 0 */
    uint64_t bytes;                  /* of the copy */
    uint64_t count;                  /* instruments */
    uint64_t kill_version;           /* of the last version that killed a scope: commands of an older one are not sent */
    int64_t stale_after_ns;          /* reference prices older than this are stale */
    int64_t next_expiry_time_ns;     /* of the temporary limits. Derived by limits_seal */
    uint32_t scope_count;
    uint32_t hours_count;            /* 0: trading hours are not asked about */
    int64_t intent_age_ns_max;       /* from the market event in memory to the gate's turn */
    int64_t score_milli_max;         /* |score| that a model may give, in thousandths */
    int64_t score_jump_milli_max;    /* from one intent of a strategy in an instrument to the next */
    int64_t model_age_ns_max;        /* since the model's generation last changed hands; LIMIT_OFF: not asked */
    uint64_t model_generation_min;   /* intents of older models are refused */
    int64_t envelope_order_value_micros_max; /* of the signed deployment envelope */
    int64_t envelope_gross_value_micros_max;
    uint64_t reserved[1];
    trading_hours hours[TRADING_HOURS_MAX];
    scope_limits firm;
    scope_limits any_account;        /* of each account that has no entry of its own */
    scope_limits any_strategy;
    temporary_limit temporary[TEMPORARY_LIMITS_MAX];
    limit_override override[OVERRIDES_MAX];
    uint8_t strategy_place[STRATEGY_PLACES]; /* place in the table of scopes + 1; 0 = any_strategy */
    uint8_t account_place[ACCOUNT_PLACES];   /* the same, of the accounts */
    uint8_t venue_place;                     /* the same, of the venue; 0 = there are no limits of its own */
    uint8_t reserved_places[63];
} limits_header;

/* At SEGMENT_HEADER_SIZE of the limits segment; two copies follow at `copy_offset`, each of `copy_bytes` at most.
 * Readers take copy[generation & 1] and check it. */
typedef struct {
    uint64_t generation;
    uint64_t copy_offset[2];
    uint64_t copy_bytes;
    uint64_t reserved[4];
} limits_page;

enum reject_reason {
    REJECT_NONE,
    REJECT_KILLED,
    REJECT_MODE,
    REJECT_STALE_DATA,
    REJECT_NO_REFERENCE,
    REJECT_INSTRUMENT,
    REJECT_BLOCKED,
    REJECT_NOT_TRADING,
    REJECT_QUANTITY,
    REJECT_PRICE,
    REJECT_ORDER_VALUE,
    REJECT_COLLAR,
    REJECT_POSITION,
    REJECT_GROSS_VALUE,
    REJECT_OPEN_ORDERS,
    REJECT_THROTTLE,
    REJECT_DUPLICATE,
    REJECT_UNKNOWN_ORDER,
    REJECT_NO_SHORT,
    REJECT_RING_FULL,
    REJECT_SESSION_DOWN,
    REJECT_DIGEST,
    REJECT_LIMITS_VERSION,
    REJECT_INTENTS_FULL,
    REJECT_ENCODING,
    REJECT_SEAT,       /* the seat is cut */
    REJECT_BUSY,       /* another request for this order is under way */
    REJECT_CROSSED,         /* bid over the offer: no price to hold an order against */
    /* of a scope that people switched off, and of one whose switch allows less */
    REJECT_SCOPE_KILLED,
    REJECT_SCOPE_PAUSED,
    REJECT_SCOPE_REDUCE_ONLY,
    REJECT_SCOPE_CANCEL_ONLY,
    /* order */
    REJECT_ENVELOPE,        /* the deployment may not touch it, or not so much of it */
    REJECT_ROUND_LOT,
    REJECT_TIME_IN_FORCE,
    REJECT_TRADING_HOURS,
    REJECT_LOCKED,          /* bid = ask, where that is not allowed */
    REJECT_COLLAR_TICKS,
    REJECT_TRADE_COLLAR,
    REJECT_THROUGH,         /* too far through the opposite side */
    REJECT_MOVE,            /* too far from the window's other extreme */
    REJECT_REPEATED_ORDER,  /* the same order within the window */
    REJECT_SELF_TRADE,
    REJECT_RESTING,         /* its target has not rested long enough */
    REJECT_COOLDOWN,        /* after an exit */
    /* rate */
    REJECT_ORDER_RATE,
    REJECT_REPLACE_RATE,
    REJECT_CANCEL_RATE,
    REJECT_MESSAGE_RATE,    /* what is left is kept for cancels */
    REJECT_ORDER_TO_TRADE,
    REJECT_EXECUTIONS,      /* repeated automated executions: people must re-arm */
    REJECT_PARTICIPATION,
    REJECT_BREAKER,         /* tripped, and its trial is not due or under way */
    REJECT_SEND_WINDOW,     /* the order does not fit what may be sent */
    /* exposure */
    REJECT_SCOPE_POSITION,
    REJECT_NET_VALUE,
    REJECT_CREDIT,
    REJECT_DAY_VALUE,
    REJECT_DAY_QUANTITY,
    REJECT_DAY_LOSS,
    REJECT_DRAWDOWN,
    /* state */
    REJECT_MODEL,           /* score not a number, out of range, of an old model */
    REJECT_INTENT_AGE,
    REJECT_SCORE_JUMP,
    REJECT_VOLATILITY,
    REJECT_SPREAD,
    REJECT_DEPTH,
    REJECT_SAFE_MODE,
    REJECT_CAPACITY,        /* no place left to keep count of it */
    REJECT_REASONS_MAX
};

/* ---- reference data ------------------------------------------------------------------------- */

typedef struct {
    char symbol[16];              /* NUL-padded */
    uint32_t venue_locate;        /* the venue's number for the day; 0 = not yet known */
    uint32_t flags;               /* enum instrument_flag */
    int64_t tick_value_micros;    /* money of one tick of one lot */
    int64_t price_increment_ticks; /* an order's price is a multiple of it */
    int64_t round_lot_lots;
    char currency[8];
    uint64_t reserved;
} instrument_entry;

enum instrument_flag {
    INSTRUMENT_TRADED = 1,
    INSTRUMENT_RESTRICTED = 2,
    INSTRUMENT_FILTERED = 4 /* the feed keeps no book of it and passes nothing of it on */
};

/* ---- clock, stages, lockstep ---------------------------------------------------------------- */

enum clock_source { CLOCK_UNSPECIFIED, CLOCK_TSC, CLOCK_SYSTEM };

/* time_ns = anchor_time_ns + ((tsc - anchor_tsc) * scale >> 32). At SEGMENT_HEADER_SIZE. */
typedef struct {
    uint64_t anchor_tsc;
    uint64_t anchor_time_ns;
    uint64_t scale;       /* ns per tick, 32.32 fixed point */
    uint64_t frequency_hz;
    uint32_t source;      /* enum clock_source */
    uint32_t reserved0;
    int64_t error_ppb;    /* against CLOCK_MONOTONIC_RAW at calibration */
    uint64_t reserved[2];
} clock_page;

enum stage_id { STAGE_FEED, STAGE_SIGNAL, STAGE_RISK, STAGE_GATEWAY, STAGES_MAX };

enum stage_state {
    STAGE_ABSENT,
    STAGE_STARTING,
    STAGE_READY,   /* attached, warmed up, in its loop */
    STAGE_DRAINING,
    STAGE_STOPPED,
    STAGE_FAILED
};

/* All that a turn may see of the world beside its events (stage.h). */
typedef struct {
    uint64_t now_ns;
    uint64_t input_sequence[INPUTS_MAX]; /* drain each input up to here, exclusive */
    uint32_t kill_epoch;
    uint32_t limits_version;
    uint32_t model_generation;
    uint16_t weights_version;
    uint8_t mode;   /* enum trading_mode in force */
    uint8_t killed;
} turn_plan;

/* What a stage's process that took a dead one's place spent its time on. */
enum restart_phase {
    RESTART_WAIT,   /* from the death's being noticed to the start: the back-off */
    RESTART_START,  /* the process and its imports */
    RESTART_ATTACH, /* segments, books, sockets */
    RESTART_READ,   /* the journal, opened and found to be whole */
    RESTART_REPLAY, /* every recorded turn, digest by digest */
    RESTART_FINISH, /* the turn that was cut off, and what stands in the rings compared */
    RESTART_RESUME, /* the front ends: where the world is to be taken up */
    RESTART_PHASES
};

/* At SEGMENT_HEADER_SIZE of a stage's own segment; its counters follow at the next line. */
typedef struct {
    uint64_t heartbeat_time_ns; /* of the last turn, idle or not */
    uint64_t turns;             /* non-idle */
    uint64_t idle_turns;
    uint64_t publish_time_ns;   /* of the last turn that published */
    uint32_t state;             /* enum stage_state */
    uint32_t pid;
    uint32_t cpu;
    uint32_t error;             /* enum stage_error, when STAGE_FAILED */
    uint64_t state_digest;      /* of all that the stage remembers (state.h), at its orderly end; 0 = not ended */
    uint64_t reserved[1];
    uint64_t counter[COUNTERS_MAX]; /* by the stage's own enum: feed_counter, signal_counter, ... */
    turn_plan plan;                 /* of the turn being made, or of the next one */
    uint64_t restart_ns[RESTART_SLOTS]; /* by enum restart_phase: of the last time that the stage was rebuilt */
    uint64_t restart_turns;         /* replayed then */
    uint64_t restarts;              /* times that it was */
    uint64_t restart_reserved[6];
} stage_page;

/* Lockstep: the baton names whose turn it is; it counts up without wrapping. The places of a round: the feed, the
 * strategies in the order of their configuration, then signal, risk, gateway. */
typedef struct {
    uint64_t baton;       /* round * (STAGES_MAX + strategies) + place */
    uint64_t now_ns;      /* virtual time of the round; written by the feed */
    uint64_t idle_rounds; /* rounds since anything was done */
    uint32_t finished;    /* the source is exhausted */
    uint32_t busy;        /* some stage did something this round */
    uint32_t strategies;  /* Python strategies that take turns; set before the first round */
    uint32_t reserved0;
    uint64_t reserved[3];
} lockstep_page;

/* ---- seats ----------------------------------------------------------------------------------- */

#define SEATS_MAX 16
#define REQUEST_VALUE_MAX 9007199254740992 /* 2^53: |price|, |quantity| and tokens; every double holds them */

enum seat_state {
    SEAT_EMPTY,    /* nobody has it */
    SEAT_TAKEN,    /* attached: requests are taken, reports given */
    SEAT_CUT_OFF   /* cut: nothing is taken until the next attachment */
};

/* Why a seat was cut. */
enum seat_cut {
    SEAT_CUT_NONE,
    SEAT_CUT_DETACHED,     /* the co-process left in order */
    SEAT_CUT_DEAD,         /* its process ended, or another one took its place */
    SEAT_CUT_HEARTBEAT,    /* it lives, perhaps, but is not heard */
    SEAT_CUT_BUDGET,       /* one call of its took longer than it may */
    SEAT_CUT_RAISED,       /* it said so itself */
    SEAT_CUT_MALFORMED,    /* a request that no honest client writes */
    SEAT_CUT_SEQUENCE,     /* its orders ring holds an impossible stamp */
    SEAT_CUT_CURSOR,       /* its place in the reports is one that it cannot have */
    SEAT_CUT_REPORTS_FULL, /* it does not read its reports */
    SEAT_CUT_RATE,         /* it floods its orders ring */
    SEAT_CUT_ENGINE_ENDED  /* the engine is stopped or dead: what the client finds out, since nobody is left to say so */
};

enum seat_policy { SEAT_CANCEL, SEAT_LEAVE }; /* its open orders, when it is cut */

/* At SEGMENT_HEADER_SIZE of the segment seat.NAME. The engine writes it, the co-process maps it read-only. */
typedef struct {
    uint32_t state;            /* enum seat_state */
    uint32_t reason;           /* enum seat_cut: of the last cut */
    uint32_t attach_epoch;     /* the attachment that the engine knows */
    uint32_t index;            /* of the seat */
    uint64_t request_position; /* where the present attachment begins its orders ring */
    uint64_t reserved0[5];
    uint32_t dead_epoch;       /* the supervisor: the process of this attachment has ended */
    uint32_t reserved1[15];
    uint16_t account;          /* the terms, for the co-process to know */
    uint16_t strategy;
    uint32_t policy;           /* enum seat_policy */
    uint32_t open_orders_max;
    uint32_t messages_per_second_max;
    uint64_t heartbeat_ns;     /* silence after which the seat is cut */
    uint64_t budget_ns;        /* of one call, 0 = none */
    uint64_t reserved2[4];
    uint64_t requests;         /* counters, over the run */
    uint64_t refused;
    uint64_t reports;
    uint64_t reports_lost;
    uint64_t attachments;
    uint64_t cuts;
    uint64_t open_orders;      /* gauge */
    uint64_t reserved3;
} seat_page;

/* At SEGMENT_HEADER_SIZE of the segment seat.NAME.client. The co-process writes it; the engine trusts none of
 * it: it looks whether words change, and never at what they say. */
typedef struct {
    uint32_t attach_epoch;     /* moved on by each attachment, stored last */
    uint32_t open_epoch;       /* = attach_epoch once the orders ring is reset: requests may be read */
    uint32_t pid;
    uint32_t reserved0;
    uint64_t start_time;       /* clock ticks since boot, field 22 of /proc/PID/stat */
    uint64_t heartbeat_time_ns; /* moved on by the co-process */
    uint64_t busy_since_ns;    /* a call of its began; 0 = none under way */
    uint64_t reserved1[3];
} seat_client_page;

/* What a co-process wants done: a slot of its orders ring. On the ring intake: checked, copied, numbered. */
typedef struct {
    event_header header;       /* cause: the market event that it answers, for the record; times: its own */
    uint64_t token;            /* the co-process's own number of the order to be; rising, from 1 */
    uint64_t target_token;     /* REQUEST_REPLACE, REQUEST_CANCEL */
    int64_t price_ticks;
    int64_t quantity_lots;
    int64_t bid_price_ticks;   /* as the co-process saw them; 0 = it does not say */
    int64_t ask_price_ticks;
    double score;              /* in [-1, 1], for the record */
    uint64_t request_sequence; /* intake: in its orders ring */
    uint32_t attach_epoch;     /* of the attachment that wrote it */
    uint16_t seat;             /* intake: index */
    uint16_t reason;           /* SEAT_CUT: enum seat_cut */
    uint8_t side;
    uint8_t time_in_force;
    uint8_t reserved[6];
} request_event;

/* What became of an order of a seat, with the seat's own numbers. A replacement's reports name it in `token`
 * and the order that it replaces in `target_token`; any other report's `token` is its order's. */
typedef struct {
    event_header header; /* type: an exec type or a REPORT_ one; cause and times: the execution's */
    uint64_t token;
    uint64_t target_token;
    uint64_t order_id;   /* the engine's */
    uint64_t match_id;
    int64_t price_ticks;
    int64_t quantity_lots;
    int64_t leaves_lots;
    int64_t cumulative_lots; /* of the order and of those that it replaced */
    int64_t position_lots;   /* of the seat in this instrument, after it */
    uint32_t attach_epoch;   /* of the attachment that it is for */
    uint16_t reason;         /* enum reject_reason with FLAG_REFUSED, enum seat_cut in REPORT_CUT, else the venue's */
    uint8_t side;
    uint8_t liquidity;       /* the venue's flag, ASCII */
} report_event;

/* ---- counters: the names that people see are these, lower case, without the stage ------------- */

enum feed_counter {
    FEED_PACKETS,
    FEED_BYTES,
    FEED_MESSAGES,
    FEED_EVENTS,
    FEED_BOOK_UPDATES,
    FEED_TOP_CHANGES,
    FEED_DUPLICATES,
    FEED_REORDERED,
    FEED_GAPS,
    FEED_GAP_MESSAGES,
    FEED_GAPS_CLOSED,
    FEED_GAPS_LOST,
    FEED_REQUESTS,
    FEED_RECOVERED,
    FEED_HEARTBEATS,
    FEED_SESSIONS,
    FEED_SILENCES,
    FEED_UNKNOWN_TYPE,
    FEED_UNKNOWN_INSTRUMENT,
    FEED_UNKNOWN_ORDER,
    FEED_DUPLICATE_ORDER,
    FEED_BOOK_FULL,
    FEED_RAW_FULL,
    FEED_NORM_FULL,
    FEED_SOCKET_ERRORS,
    FEED_SYSTEM_CALLS,
    FEED_STALE,             /* gauge: 1 while books are stale */
    FEED_LIVE_ORDERS,       /* gauge */
    FEED_NEGATIVE_HOPS,
    /* packets = used + heartbeats + held + the reasons: docs/feed.md */
    FEED_PACKETS_USED,      /* gave a message at least */
    FEED_PACKETS_DUPLICATE,
    FEED_PACKETS_MALFORMED,
    FEED_PACKETS_OTHER_SESSION,
    FEED_PACKETS_OLD_SESSION,
    FEED_PACKETS_UNBELIEVED,
    FEED_PACKETS_NO_STASH,
    FEED_PACKETS_NO_ROOM,
    FEED_PACKETS_WRONG_ANSWER,
    FEED_PACKETS_LEFT,      /* kept aside when their session was left */
    FEED_PACKETS_HELD,      /* gauge: kept aside now */
    /* messages in sound packets: in = taken + duplicates + dropped, and those of held packets */
    FEED_MESSAGES_IN,
    FEED_MESSAGES_TAKEN,
    FEED_MESSAGES_DROPPED,
    /* each line: the same five, A then B */
    FEED_A_PACKETS,
    FEED_A_FIRST,           /* packets that came first on it */
    FEED_A_LATE,            /* packets whose messages were all here already */
    FEED_A_LOST,            /* gauge: messages that it went past and did not bring since */
    FEED_A_SILENT,          /* gauge */
    FEED_B_PACKETS,
    FEED_B_FIRST,
    FEED_B_LATE,
    FEED_B_LOST,
    FEED_B_SILENT,
    FEED_LINE_SILENCES,
    FEED_DIVERGENCES,       /* copies of one packet with other bytes */
    FEED_HOLES_FILLED,      /* by the other line or a packet out of order, before they were gaps */
    FEED_REQUEST_TIMEOUTS,
    FEED_SERVER_SWITCHES,
    FEED_KERNEL_DROPS,      /* packets that the sockets' buffers had no room for */
    /* messages = used + unknown_type + bad_message + unknown_instrument + filtered + unknown_order
     *          + duplicate_order + book_full + bad_event */
    FEED_USED,              /* decoded, and the book did what it said */
    FEED_FILTERED,          /* of instruments that the configuration leaves out */
    FEED_BAD_MESSAGE,       /* length or a field that its type cannot have */
    FEED_BAD_EVENT,         /* price or quantity that the book cannot have: more than the order had, none at all */
    FEED_STALE_INSTRUMENTS, /* gauge: books that cannot be believed, each for the first of these reasons */
    FEED_PARTIAL_UNKNOWN_ORDER,
    FEED_PARTIAL_DUPLICATE_ORDER,
    FEED_PARTIAL_BOOK_FULL,
    FEED_PARTIAL_BAD_EVENT,
    FEED_PARTIAL_BAD_MESSAGE,
    FEED_SNAPSHOTS,         /* taken over */
    FEED_SNAPSHOT_MESSAGES, /* in them; counted among messages too */
    FEED_SNAPSHOT_COVERED,  /* live messages that one held already */
    FEED_SNAPSHOT_HELD,     /* gauge: live events that wait for one */
    FEED_SNAPSHOT_STATE,    /* gauge: enum snapshot_state */
    FEED_SNAPSHOT_ATTEMPTS,
    FEED_SNAPSHOT_FAILURES, /* the sum of those below, by enum snapshot_failure */
    FEED_SNAPSHOT_UNREACHABLE,
    FEED_SNAPSHOT_REFUSED,
    FEED_SNAPSHOT_CUT,
    FEED_SNAPSHOT_MALFORMED,
    FEED_SNAPSHOT_OTHER_SESSION,
    FEED_SNAPSHOT_WRONG_SEQUENCE,
    FEED_SNAPSHOT_SLOW,
    FEED_SNAPSHOT_NO_ROOM,
    FEED_RECOVERY_WAITS,    /* gauge: 1 while what is missing is not asked for: the journal is behind in raw */
    FEED_COUNTERS
};

enum signal_counter {
    SIGNAL_EVENTS,
    SIGNAL_EVALUATIONS,
    SIGNAL_SIGNALS,
    SIGNAL_NEW_ORDERS,
    SIGNAL_REPLACES,
    SIGNAL_CANCELS,
    SIGNAL_SUPPRESSED_STALE,
    SIGNAL_SUPPRESSED_COOLDOWN,
    SIGNAL_SUPPRESSED_WORKING,
    SIGNAL_RING_FULL,
    SIGNAL_NEGATIVE_HOPS,
    SIGNAL_NATIVE_NONSENSE, /* scores of [signal] native that were no finite number: counted as 0 */
    SIGNAL_REQUESTS,         /* of seats, taken from their rings */
    SIGNAL_REQUESTS_REFUSED, /* at the seat; what the gate refuses is risk's to count */
    SIGNAL_REPORTS,
    SIGNAL_SEATS_CUT,
    SIGNAL_SEATS_ATTACHED,   /* gauge */
    SIGNAL_SUPPRESSED_CROSSED,
    SIGNAL_MODEL_GENERATION, /* gauge: of the models in force */
    SIGNAL_MODEL_SWAPS,
    SIGNAL_MODEL_RUNS,       /* of all models */
    SIGNAL_MODEL_ABSTAINED,
    SIGNAL_MODEL_NAN,
    SIGNAL_MODEL_FALLBACKS,  /* models that failed on the path */
    SIGNAL_COUNTERS
};

/* The rejects by reason follow the others: RISK_REJECTS + enum reject_reason. */
enum risk_counter {
    RISK_SIGNALS,
    RISK_APPROVED,
    RISK_REJECTED,
    RISK_EXECUTIONS,
    RISK_DUPLICATE_EXECUTIONS,
    RISK_UNKNOWN_EXECUTIONS,
    RISK_OVERFILLS,
    RISK_OPEN_ORDERS,       /* gauge */
    RISK_POSITION_LOTS,     /* gauge: sum of |position| */
    RISK_GROSS_VALUE_MICROS, /* gauge */
    RISK_CASH_MICROS,       /* gauge, signed */
    RISK_PNL_MICROS,        /* gauge, signed: cash + positions at the reference price */
    RISK_BOUGHT_LOTS,
    RISK_SOLD_LOTS,
    RISK_MARKET_EVENTS,
    RISK_RING_FULL,
    RISK_LIMITS_REFUSED,    /* a limits copy whose checksum was wrong */
    RISK_NEGATIVE_HOPS,
    RISK_ROLLS,
    RISK_MODE,              /* gauge: enum trading_mode in force */
    RISK_LOSS_LATCHED,      /* gauge: 1 + the firm's rearm_epoch under which its day's loss or drawdown is over; 0: it is not */
    RISK_REJECTS = 32,
    RISK_COUNTERS = 112
};

enum gateway_counter {
    GATEWAY_COMMANDS,
    GATEWAY_NEW_ORDERS,
    GATEWAY_REPLACES,
    GATEWAY_CANCELS,
    GATEWAY_REFUSED,
    GATEWAY_FRAMES_OUT,
    GATEWAY_BYTES_OUT,
    GATEWAY_MESSAGES_IN,
    GATEWAY_BYTES_IN,
    GATEWAY_ACCEPTED,
    GATEWAY_FILLS,
    GATEWAY_FILLED_LOTS,
    GATEWAY_CANCELED,
    GATEWAY_REJECTED,
    GATEWAY_CANCEL_REJECTED,
    GATEWAY_BROKEN,
    GATEWAY_UNKNOWN,
    GATEWAY_SETTLED,
    GATEWAY_LOGINS,
    GATEWAY_LOGIN_REJECTS,
    GATEWAY_DISCONNECTS,
    GATEWAY_HEARTBEATS_OUT,
    GATEWAY_HEARTBEATS_IN,
    GATEWAY_MALFORMED,
    GATEWAY_UNMATCHED,
    GATEWAY_EXEC_FULL,
    GATEWAY_SYSTEM_CALLS,
    GATEWAY_SESSION_UP,     /* gauge */
    GATEWAY_OPEN_ORDERS,    /* gauge */
    GATEWAY_NEGATIVE_HOPS,
    GATEWAY_DUPLICATE_COMMANDS,
    GATEWAY_REPEATED,       /* reports that the venue sent again under a new number */
    GATEWAY_CORRECTED,
    GATEWAY_OVERFILLS,      /* executions of more than their order had left */
    GATEWAY_ADOPTED,        /* orders that the venue told of and no intent did, entered into a file begun anew */
    GATEWAY_SYNCS,          /* writes of intents through to the disk */
    GATEWAY_SYNC_FAILURES,  /* at most 1: the first one halts */
    GATEWAY_PROMISE,        /* gauge: enum intent_promise */
    GATEWAY_ADOPTING,       /* gauge: 1 until what the venue tells of the day is known */
    GATEWAY_COUNTERS
};

/* Of the process that compares both sides' account of what was executed, in its page side.reconcile. */
enum reconcile_counter {
    RECONCILE_MATCHED,    /* executions that both sides told of */
    RECONCILE_WAITING,    /* gauge: executions that one side has told of so far */
    RECONCILE_COMPARISONS, /* of all positions */
    RECONCILE_BREAKS,     /* gauge: that stand */
    RECONCILE_GENERATION, /* moved on with every change of the breaks, once it is on disk */
    RECONCILE_CONFIRMED,  /* gauge: 1 once positions were compared in this run */
    RECONCILE_COPY_UP,    /* gauge: the drop copy is heard */
    RECONCILE_LOST,       /* executions of this run that were overwritten before they were read */
    RECONCILE_AGE_MS,     /* gauge: since the last comparison, or the start */
    RECONCILE_COUNTERS
};

/* Of the process that brings the journal into SQL tables, in its page side.projector. */
enum projector_counter {
    PROJECTOR_EVENTS,     /* brought into the tables since it started */
    PROJECTOR_LAG_EVENTS, /* gauge: in the journal, and not in the tables */
    PROJECTOR_LAG_MS,     /* gauge: since the oldest of those was published */
    PROJECTOR_UP,         /* gauge: the database answers */
    PROJECTOR_OUTAGES,    /* times that it did not */
    PROJECTOR_COUNTERS
};

/* Of a Python strategy, in its page side.NAME. */
enum strategy_counter {
    STRATEGY_EVENTS,   /* followed in its tables */
    STRATEGY_HANDED,   /* handed out to on_event or on_batch */
    STRATEGY_CALLS,    /* of its methods */
    STRATEGY_LOST,     /* market events overwritten before it read them */
    STRATEGY_REQUESTS, /* sent */
    STRATEGY_UNSENT,   /* came to nothing before they were sent */
    STRATEGY_REPORTS,
    STRATEGY_TIMERS,
    STRATEGY_OPEN_ORDERS, /* gauge */
    STRATEGY_CUTS,
    STRATEGY_COUNTERS
};

/* ---- histograms ------------------------------------------------------------------------------ */

/* HdrHistogram geometry: 3 significant digits, 1 ns to 68 s. */
#define HISTOGRAM_SUB_BUCKETS 2048
#define HISTOGRAM_BUCKETS 26
#define HISTOGRAM_COUNTS 27648 /* (HISTOGRAM_BUCKETS + 1) * HISTOGRAM_SUB_BUCKETS / 2 */
#define HISTOGRAM_VALUE_MAX 68719476735

typedef struct {
    char name[32];
    uint64_t total_count;
    uint64_t value_min; /* UINT64_MAX while empty */
    uint64_t value_max;
    uint64_t clamped_count; /* values over HISTOGRAM_VALUE_MAX, recorded as it */
    uint64_t count[HISTOGRAM_COUNTS];
} histogram;

/* Hops of a message, each recorded by the stage that ends it. */
enum hop {
    HOP_WAIT,     /* behind its packet-mates: packet in memory to this message's turn */
    HOP_FEED,     /* message in memory to norm published; every event */
    HOP_ORDER_FEED,    /* the same and the next, over order-producing events only */
    HOP_ORDER_SIGNAL,  /* norm published to signal published */
    HOP_ORDER_RISK,    /* signal published to order published */
    HOP_ORDER_GATEWAY, /* order published to frame encoded and intent stored */
    HOP_ORDER_PATH,    /* T0 to T1 */
    HOP_ACK,      /* frame handed over to the venue's answer in user memory */
    HOP_KERNEL,   /* the kernel's stamp of a packet to its bytes in user memory: before T0 */
    HOP_ORDER_SYNC, /* frame encoded to its intent on disk, after T1: gateway.durability = "power" alone */
    HOPS_MAX
};

/* ---- intents --------------------------------------------------------------------------------- */

enum intent_state {
    INTENT_EMPTY,
    INTENT_STORED,   /* may have been sent: never send again */
    INTENT_SETTLED   /* the venue has answered for it */
};

/* What every record of the file has been promised. */
enum intent_promise {
    INTENT_PROMISE_PROCESS, /* it survives the process that stored it */
    INTENT_PROMISE_POWER,   /* it was on disk before its frame left */
    INTENT_PROMISE_BROKEN   /* a sync failed: no new order until people have seen to the disk */
};

/* At SEGMENT_HEADER_SIZE of the intent file. */
typedef struct {
    uint64_t count;                  /* intents stored; record i has stamp i + 1 */
    uint64_t next_user_ref;          /* the venue's number for the next order or replacement */
    uint64_t next_expected_sequence; /* of the venue's sequenced stream: all below were published */
    uint64_t fencing_epoch;          /* of the gateway that owns the session */
    char session[16];                /* the venue's session name */
    uint64_t trading_day;            /* yyyymmdd */
    uint32_t adopts;                 /* 1 until the first recovery is complete: what the venue tells of is entered */
    uint32_t promise;                /* enum intent_promise */
} intent_page;

/* One order frame, stored before it is sent. `stamp` is stored last, with release. One that was entered from
 * the venue's own stream has no frame. */
typedef struct {
    uint64_t stamp;     /* index + 1, once the record is whole */
    command_id id;
    uint64_t order_id;
    uint64_t target_order_id;
    uint64_t digest;
    uint64_t time_ns;
    int64_t price_ticks;
    int64_t quantity_lots;
    uint32_t instrument;
    uint32_t user_ref;  /* the venue's number; a cancel bears that of its order */
    uint8_t type;       /* CMD_NEW, CMD_REPLACE, CMD_CANCEL */
    uint8_t side;
    uint8_t state;      /* enum intent_state */
    uint8_t time_in_force;
    uint16_t frame_length;
    uint16_t reserved0;
    uint8_t frame[FRAME_BYTES_MAX];
    uint64_t sent_time_ns; /* T1: the frame was handed to the session; 0: it was not, or its process died before */
    uint64_t checksum; /* INTENT_PROMISE_POWER: digest of the record with state, sent_time_ns and checksum 0; else 0 */
    uint64_t reserved[1];
} intent_record;
