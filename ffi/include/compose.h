/* compose.h: features made of features: a researcher's new column as data, with no release of the engine.
 *
 *   value[FEATURES_MAX] --.
 *   step 0 <--------------+-- value FEATURES_MAX
 *   step 1 <--------------+-- value FEATURES_MAX + 1        each step sees the kernel's features and the
 *   ...                                                     steps before it, never itself or later ones
 *
 * One call per evaluation of a model (its sampling trigger), not per event: LAG, CHANGE and AVERAGE count
 * evaluations of that instrument. What is not known is NaN and stays NaN; a ratio over 0 is not known. AVERAGE
 * takes in what is known and holds its value over what is not. Plain doubles in one order: the same bits on
 * every machine. References: research/hotlab/compose.py.
 */
#pragma once
#include "layout.h"
#include "feature.h"

#define COMPOSE_STEPS_MAX 32
#define COMPOSE_LAG_MAX 32      /* evaluations back; a power of two */
#define COMPOSE_PERIOD_MAX 100000

/* a, b: operands; p, q: parameters. */
enum compose_op {
    COMPOSE_SUM,        /* a + b */
    COMPOSE_DIFFERENCE, /* a - b */
    COMPOSE_PRODUCT,    /* a * b */
    COMPOSE_RATIO,      /* a / b; not known where b is 0 */
    COMPOSE_LEAST,      /* the smaller of a and b */
    COMPOSE_MOST,       /* the larger of a and b */
    COMPOSE_ABSOLUTE,   /* |a| */
    COMPOSE_SCALE,      /* a * p + q */
    COMPOSE_CLIP,       /* a, within [p, q] */
    COMPOSE_LAG,        /* a, p evaluations ago */
    COMPOSE_CHANGE,     /* a less a, p evaluations ago */
    COMPOSE_AVERAGE,    /* e += (a - e) * 2 / (p + 1), seeded by the first known a */
    COMPOSE_OPS
};

enum compose_status {
    COMPOSE_OK,
    COMPOSE_BAD_COUNT,    /* more steps than COMPOSE_STEPS_MAX */
    COMPOSE_BAD_OP,       /* no such operation */
    COMPOSE_BAD_OPERAND,  /* of a value that is not there yet */
    COMPOSE_BAD_PARAMETER /* no number, or out of the operation's range */
};

typedef struct {
    uint32_t op;
    uint16_t a;
    uint16_t b;
    double p;
    double q;
} compose_step;

typedef struct {
    uint32_t count;
    uint32_t reserved;
    compose_step step[COMPOSE_STEPS_MAX];
} compose_program;

/* One per instrument, the caller's. */
typedef struct {
    uint64_t evaluations;
    double average[COMPOSE_STEPS_MAX]; /* NaN until seeded */
    double past[COMPOSE_STEPS_MAX][COMPOSE_LAG_MAX]; /* of each step's operand a */
} compose_state;

/* COMPOSE_OK, or what is wrong, and with which step in *index. */
int compose_check(const compose_program *program, uint32_t *index);
void compose_init(compose_state *state);
/* One evaluation: value[FEATURES_MAX + step] is written for each step. The program was checked. */
void compose_run(const compose_program *program, compose_state *state, double *value);
