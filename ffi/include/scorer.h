/* scorer.h: models at work in the signal stage: features -> model -> score -> the position that is wished.
 *
 *   image    model_plan | blob                 one file of bytes, offsets only: what the desk publishes, the journal
 *                                              keeps and a replay takes up again
 *   deck     champion, challenger, fallback    one generation: which image plays which part
 *
 *   loader (off the hot core) --checks, binds--> deck --one pointer--> scorer.next
 *   scorer_plan:   generation of `next`, and the roles that failed --> turn_plan.model_generation
 *   scorer_apply:  scorer.deck = scorer.next                        in the turn, before its events
 *
 * Invariants
 *   one        an event is scored by the deck that its turn's plan names, and by no other; a turn in which the deck or
 *              the failed roles change is recorded, idle or not. So recovery and replay run each event with the model
 *              that it had.
 *   failing    what is measured (latency, drift) is judged in planning alone and stands in the plan as a bit of its role:
 *              a replay reads the bit and measures nothing.
 *   memory     a model's states belong to the model: one that stays in force over a change of the deck goes on with
 *              them, another begins anew, unless its plan says that it carries those of its predecessor.
 */
#pragma once
#include "layout.h"
#include "compose.h"
#include "feature.h"
#include "model.h"

#define MODEL_PLAN_MAGIC 0x3130306e616c706d /* "mplan001" */
#define MODEL_PLAN_VERSION 1
#define MODEL_INSTRUMENT_WORDS 1024 /* INSTRUMENTS_MAX / 64 */
#define MODEL_VALUES_MAX 64         /* features, then those made of them: FEATURES_MAX + COMPOSE_STEPS_MAX at most */
#define MODEL_HEALTH_RUNS 1024      /* over which latency and NaN are judged */

enum model_trigger { TRIGGER_BOOK_CHANGE, TRIGGER_EVERY_N, TRIGGER_TIMER };
enum model_unready { UNREADY_ABSTAIN, UNREADY_PASS };
enum model_on_swap { STATE_RESET, STATE_CARRY };
enum policy_target { TARGET_STEP, TARGET_PROPORTIONAL };
enum policy_price { PRICE_JOIN, PRICE_TAKE, PRICE_MID };
enum policy_urgency { URGENCY_REST, URGENCY_FOLLOW, URGENCY_CROSS };

enum scorer_status {
    SCORER_OK,
    SCORER_BAD_PLAN,   /* magic, version or size: no image, or one of another build */
    SCORER_BAD_DIGEST,
    SCORER_BAD_COLUMN, /* of a value that there is not */
    SCORER_BAD_RULE,   /* trigger, policy or bound out of range */
    SCORER_BAD_STEP,   /* compose_check refused */
    SCORER_BAD_MODEL,  /* model_load refused, or the model does not fit its plan */
    SCORER_BAD_FEATURE /* feature_config_check refused */
};

/* What a model is for trading, as data. Everything that its manifest declares, resolved for one engine. */
typedef struct {
    uint64_t magic;
    uint64_t digest;           /* of all bytes of the image that follow this word (digest_bytes, seed MODEL_PLAN_MAGIC) */
    uint64_t bytes;            /* of the image */
    uint64_t blob_offset;      /* a multiple of MODEL_ALIGN */
    uint64_t blob_bytes;
    uint32_t version;          /* MODEL_PLAN_VERSION */
    uint32_t column_count;
    char name[48];             /* NUL-padded, as are the next two */
    char model_version[40];
    char manifest_version[40];
    uint8_t kernel_sha256[32]; /* of what the feature kernels do */
    uint16_t column[MODEL_COLUMNS_MAX]; /* places: features, then made ones */
    feature_config feature;
    compose_program compose;
    uint64_t instruments[MODEL_INSTRUMENT_WORDS]; /* bit by index: those that it trades */
    /* when it is asked */
    uint32_t trigger;          /* enum model_trigger */
    uint32_t every;
    uint64_t interval_ns;
    uint32_t unready;          /* enum model_unready */
    uint32_t on_swap;          /* enum model_on_swap */
    uint64_t state_meaning;    /* digest of what its state means; 0: it says nothing */
    /* from output to score */
    uint32_t output;           /* index among the model's outputs */
    uint32_t target;           /* enum policy_target */
    double center;
    double scale;
    /* from score to order */
    double threshold;
    int64_t position_lots;
    int64_t order_lots;
    uint32_t price;            /* enum policy_price */
    uint32_t urgency;          /* enum policy_urgency */
    uint64_t hold_ns;
    /* when it has failed */
    uint64_t latency_budget_ns; /* of one run, features and all; 0: none */
    uint32_t over_budget_max;  /* runs over it, of MODEL_HEALTH_RUNS */
    uint32_t nan_max;          /* the same of runs that gave no number */
    uint32_t drift_every;      /* evaluations to one that is counted; 0: none is */
    uint32_t drift_columns;    /* that have edges */
    double drift_edge[DRIFT_COLUMNS][9];  /* rising: inner bounds of DRIFT_BINS bins */
    float drift_share[DRIFT_COLUMNS][DRIFT_BINS]; /* of the reference; all 0: this column has none */
} model_plan;

/* What one model remembers of one instrument; compose_state and the model's own floats follow where there are any. */
typedef struct {
    uint64_t evaluations; /* events at which it could have been asked */
    uint64_t period;      /* of TRIGGER_TIMER: the latest */
    double score;         /* the last one */
    uint64_t known;       /* 1: it was asked at least once since it began */
    int64_t target_lots;  /* that it wished then */
    uint64_t wishes;      /* 1: it did */
    uint64_t reserved[2];
} scorer_state;

/* One model, checked and bound. The loader owns all that it points to. */
typedef struct {
    const model_plan *plan;
    model native;
    float *inputs;
    float *outputs;
    uint8_t *state;       /* `stride` bytes for each instrument */
    uint64_t stride;
    uint64_t compose_offset; /* in an instrument's state; 0: none */
    uint64_t floats_offset;  /* the same of the model's floats */
    uint64_t digest;
} scorer_model;

typedef struct {
    uint32_t generation;
    uint32_t part;        /* enum challenger_part */
    uint32_t part_ppm;
    uint32_t reserved;
    scorer_model *role[MODEL_ROLES]; /* NULL: nobody */
} scorer_deck;

/* How the last runs of a role went; this process's own. */
typedef struct {
    uint32_t runs;
    uint32_t over_budget;
    uint32_t nan;
    uint32_t drift_due;
} scorer_tally;

typedef struct {
    const scorer_deck *deck;    /* in force; NULL: none ever was */
    const scorer_deck *next;    /* the loader's, stored with release */
    const models_page *page;    /* NULL: nobody tells of drift */
    models_watch *watch;
    scorer_tally tally[MODEL_ROLES];
    uint32_t in_force;          /* generation, with the roles that failed */
    uint32_t failed;            /* roles that failed, found since the last planning */
    uint32_t taken;             /* generation of `deck`, stored with release: the loader may let go of others */
    uint32_t instrument_count;
    uint32_t measures;          /* 1: runs are timed */
    uint32_t reserved;
} scorer;

/* What a model said to one event. */
typedef struct {
    double score;
    float output;
    uint32_t status;       /* enum decision_status */
    uint64_t inputs_digest;
} scorer_answer;

/* What an order should be for this wish; quantity 0: none. */
typedef struct {
    int64_t price_ticks;
    int64_t quantity_lots;
    uint8_t side;
    uint8_t time_in_force;
} scorer_order;

/* Whether `bytes` at `image` (on MODEL_ALIGN bytes) are a whole image whose every part can be run: enum scorer_status,
 * and the model, loaded and not bound, in self->native. */
int scorer_load(scorer_model *self, const void *image, uint64_t bytes);
/* The image's digest, as it stands in its plan. */
uint64_t scorer_digest(const void *image, uint64_t bytes);
/* Forget all of every instrument: its memory is whole, and zeroed or used. */
void scorer_reset(const scorer_model *self, uint32_t instruments);

/* What it remembers of an instrument. */
scorer_state *scorer_state_of(const scorer_model *self, uint32_t instrument);
/* Whether this event is one at which the model is asked; counts it. */
int scorer_due(const scorer_model *self, const norm_event *event);
/* Ask it: features, made features, inputs, the run, the score. */
void scorer_ask(const scorer_model *self, uint32_t instrument, const double *value, scorer_answer *answer);
/* The position that a score wishes; 0 in *wishes: it is below the threshold, and what is held stays. */
int64_t scorer_target(const model_plan *plan, double score, int64_t position_lots, int *wishes);
/* The order from here to there. */
scorer_order scorer_order_of(const model_plan *plan, int64_t target_lots, int64_t position_lots, int64_t bid_price_ticks,
                             int64_t ask_price_ticks, int64_t increment_ticks);
/* Whether this instrument is among the challenger's. */
int scorer_is_part(const scorer_deck *deck, uint32_t instrument);

/* Who leads: the champion, or the fallback in its place; MODEL_ROLES: nobody. */
uint32_t scorer_role(const scorer *self);
/* Whether this instrument is one of the model's. */
int scorer_trades(const scorer_model *self, uint32_t instrument);
/* Whether the challenger is to be asked here. */
int scorer_challenges(const scorer *self, uint32_t instrument);
/* At the stage's beginning: no deck is in force. */
void scorer_init(scorer *self);
/* The trading day rolled: what the models remember begins anew. */
void scorer_roll(scorer *self);

/* Planning: the generation that the turn is to decide by. */
uint32_t scorer_plan(scorer *self);
/* The turn: 1 when another generation came into force, or a role was found to have failed; -1 when the plan names a
 * generation that is not at hand. */
int scorer_apply(scorer *self, uint32_t model_generation, uint64_t now_ns);
/* Who acts in an instrument, and who looks on: NULL where nobody does. `*flat`: the champion failed, and nobody takes
 * its place. */
const scorer_model *scorer_acting(const scorer *self, uint32_t instrument, uint32_t *role, int *flat);
/* Note how a run went; what it means is judged in planning. */
void scorer_note(scorer *self, uint32_t role, const scorer_answer *answer, uint64_t latency_ns);

/* The loader: let the stage take this deck in its next turn. */
void scorer_offer(scorer *self, const scorer_deck *deck);
/* Name a generation whose slot is whole. */
void models_publish(models_page *page, uint64_t generation);

/* Off the path: the same over recorded events of all instruments, as the signal stage would. `feature` and the model's
 * states are the caller's; rows at which the model was asked go to row[], what it said to answer[]. Returns how many. */
uint64_t scorer_batch(const scorer_model *self, feature_state *feature, uint32_t instruments, const norm_event *events,
                      uint64_t count, uint64_t *row, scorer_answer *answer);
