#include "compose.h"
#include <math.h>

static int whole_within(double number, double low, double high) {
    return number >= low && number <= high && number == floor(number);
}

static int parameters_ok(const compose_step *step) {
    if (!isfinite(step->p) || !isfinite(step->q)) return 0;
    switch (step->op) {
    case COMPOSE_CLIP: return step->p <= step->q;
    case COMPOSE_LAG:
    case COMPOSE_CHANGE: return whole_within(step->p, 1, COMPOSE_LAG_MAX - 1);
    case COMPOSE_AVERAGE: return whole_within(step->p, 1, COMPOSE_PERIOD_MAX);
    default: return 1;
    }
}

int compose_check(const compose_program *program, uint32_t *index) {
    *index = 0;
    if (program->count > COMPOSE_STEPS_MAX) return COMPOSE_BAD_COUNT;
    for (uint32_t i = 0; i < program->count; i++) {
        const compose_step *step = &program->step[i];
        *index = i;
        if (step->op >= COMPOSE_OPS) return COMPOSE_BAD_OP;
        if (step->a >= FEATURES_MAX + i || step->b >= FEATURES_MAX + i) return COMPOSE_BAD_OPERAND;
        if (!parameters_ok(step)) return COMPOSE_BAD_PARAMETER;
    }
    return COMPOSE_OK;
}

void compose_init(compose_state *state) {
    state->evaluations = 0;
    for (uint32_t i = 0; i < COMPOSE_STEPS_MAX; i++) state->average[i] = NAN;
    for (uint32_t i = 0; i < COMPOSE_STEPS_MAX; i++)
        for (uint32_t k = 0; k < COMPOSE_LAG_MAX; k++) state->past[i][k] = NAN;
}

/* NaN wins: a comparison with it holds for neither side. */
static double least(double a, double b) { return a < b ? a : b <= a ? b : NAN; }
static double most(double a, double b) { return a > b ? a : b >= a ? b : NAN; }

static double clip(double a, double low, double high) { return a < low ? low : a > high ? high : a; }

static double average(double *held, double a, double period) {
    if (isnan(a)) return *held;
    if (isnan(*held)) *held = a;
    else *held += (a - *held) * 2 / (period + 1);
    return *held;
}

/* Where a lag's value lies; one of before the first evaluation is still NaN. */
static uint64_t ago(uint64_t now, double evaluations) { return (now - (uint64_t)evaluations) % COMPOSE_LAG_MAX; }

void compose_run(const compose_program *program, compose_state *state, double *value) {
    uint64_t now = state->evaluations++;
    for (uint32_t i = 0; i < program->count; i++) {
        const compose_step *step = &program->step[i];
        double a = value[step->a], b = value[step->b], *out = &value[FEATURES_MAX + i];
        double *past = state->past[i];
        past[now % COMPOSE_LAG_MAX] = a;
        switch (step->op) {
        case COMPOSE_SUM: *out = a + b; break;
        case COMPOSE_DIFFERENCE: *out = a - b; break;
        case COMPOSE_PRODUCT: *out = a * b; break;
        case COMPOSE_RATIO: *out = b == 0 ? NAN : a / b; break;
        case COMPOSE_LEAST: *out = least(a, b); break;
        case COMPOSE_MOST: *out = most(a, b); break;
        case COMPOSE_ABSOLUTE: *out = fabs(a); break;
        case COMPOSE_SCALE: *out = a * step->p + step->q; break;
        case COMPOSE_CLIP: *out = clip(a, step->p, step->q); break;
        case COMPOSE_LAG: *out = past[ago(now, step->p)]; break;
        case COMPOSE_CHANGE: *out = a - past[ago(now, step->p)]; break;
        default: *out = average(&state->average[i], a, step->p); break; /* COMPOSE_AVERAGE: the program was checked */
        }
    }
}
