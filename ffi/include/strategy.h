/* strategy.h: features to one score in [-1, 1], positive for buying: the strategies and their ensemble.
 *
 *   microprice  where the book leans: the mean of the two imbalances. (That of the top is how far the
 *               microprice lies from the mid, in half spreads.)
 *                   clamp((imbalance_top + imbalance_depth) / 2 / imbalance_scale)
 *   momentum    the fast average of bar closes over the slow one, in parts of it.
 *                   clamp((sma_fast - sma_slow) / sma_slow / momentum_scale)
 *   reversion   against what has gone far, in the mean of two measures.
 *                   -(clamp(zscore / zscore_scale) + clamp((rsi - 50) / rsi_scale)) / 2
 *   model       what the model in force says (scorer.h); 0 while there is none.
 *   custom      what the user's own compiled function says ([signal] native).
 *
 *   ensemble    sum(weight * component) / sum(|weight|)
 *
 * clamp is to [-1, 1]. A component one of whose features is unready scores 0 and keeps its weight in
 * the denominator: what is not known weakens a score and never strengthens the others.
 */
#pragma once
#include "feature.h"
#include "layout.h"

#define STRATEGY_COMPONENT_SCALE 32767 /* of the components in a signal_event */

enum strategy_component { COMPONENT_MICROPRICE, COMPONENT_MOMENTUM, COMPONENT_REVERSION, COMPONENT_MODEL, COMPONENT_CUSTOM };

enum strategy_given { GIVEN_MODEL, GIVEN_CUSTOM, GIVEN_MAX };

enum strategy_status {
    STRATEGY_OK,
    STRATEGY_BAD_WEIGHT,   /* not finite, or all are 0 */
    STRATEGY_BAD_SCALE,    /* not positive and finite */
    STRATEGY_BAD_THRESHOLD /* not in (0, 1] */
};

typedef struct {
    double weight[COMPONENTS_MAX]; /* by enum strategy_component; negative: take the other side */
    double threshold;       /* a signal needs |score| of at least this; the caller compares */
    double imbalance_scale; /* mean imbalance of a full score */
    double momentum_scale;  /* relative distance of a full score: 0.001 is ten basis points */
    double zscore_scale;    /* deviations of a full score */
    double rsi_scale;       /* distance from 50 of a full score */
} strategy_config;

/* STRATEGY_OK, or what is wrong, with the name of the field in *field (static; may be NULL). */
int strategy_config_check(const strategy_config *config, const char **field);
/* The ensemble's score of what feature_update gave and of given[2]: the model's score and the user's own (0 without
 * one); they are clamped like the others, and NaN is no opinion. Each component's own, times
 * STRATEGY_COMPONENT_SCALE and rounded to the nearest, goes to component[]. */
double strategy_score(const strategy_config *config, const double *value, uint32_t ready, const double *given, int16_t *component);
