/* strategy.c: see include/strategy.h. */
#include "strategy.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#define BIT(feature) ((uint32_t)1 << (feature))

_Static_assert(COMPONENT_CUSTOM < COMPONENTS_MAX, "a signal_event has a place for each component");

/* NaN, which no checked configuration and no ready feature gives, is no opinion. */
static double clamp(double score) {
    if (score >= 1) return 1;
    if (score <= -1) return -1;
    return score == score ? score : 0;
}

static bool has(uint32_t ready, uint32_t features) { return (ready & features) == features; }

static double score_microprice(const strategy_config *config, const double *value, uint32_t ready) {
    if (!has(ready, BIT(FEATURE_IMBALANCE_TOP) | BIT(FEATURE_IMBALANCE_DEPTH))) return 0;
    double lean = (value[FEATURE_IMBALANCE_TOP] + value[FEATURE_IMBALANCE_DEPTH]) * 0.5;
    return clamp(lean / config->imbalance_scale);
}

static double score_momentum(const strategy_config *config, const double *value, uint32_t ready) {
    if (!has(ready, BIT(FEATURE_SMA_FAST) | BIT(FEATURE_SMA_SLOW))) return 0;
    double slow = value[FEATURE_SMA_SLOW];
    return clamp((value[FEATURE_SMA_FAST] - slow) / (slow * config->momentum_scale));
}

static double score_reversion(const strategy_config *config, const double *value, uint32_t ready) {
    if (!has(ready, BIT(FEATURE_ZSCORE) | BIT(FEATURE_RSI))) return 0;
    double distance = clamp(value[FEATURE_ZSCORE] / config->zscore_scale);
    double strength = clamp((value[FEATURE_RSI] - 50) / config->rsi_scale);
    return -(distance + strength) * 0.5;
}

double strategy_score(const strategy_config *config, const double *value, uint32_t ready, const double *given, int16_t *component) {
    double score[COMPONENTS_MAX] = {
        [COMPONENT_MICROPRICE] = score_microprice(config, value, ready),
        [COMPONENT_MOMENTUM] = score_momentum(config, value, ready),
        [COMPONENT_REVERSION] = score_reversion(config, value, ready),
        [COMPONENT_MODEL] = clamp(given[GIVEN_MODEL]),
        [COMPONENT_CUSTOM] = clamp(given[GIVEN_CUSTOM]),
    };
    double sum = 0, weights = 0;
    for (int i = 0; i < COMPONENTS_MAX; i++) {
        double scaled = score[i] * STRATEGY_COMPONENT_SCALE;
        component[i] = (int16_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
        sum += config->weight[i] * score[i];
        weights += fabs(config->weight[i]);
    }
    return clamp(sum / weights);
}

static int fail(int status, const char *name, const char **field) {
    if (field) *field = name;
    return status;
}

int strategy_config_check(const strategy_config *config, const char **field) {
    double weights = 0;
    for (int i = 0; i < COMPONENTS_MAX; i++) weights += fabs(config->weight[i]);
    if (!(weights > 0) || !isfinite(weights)) return fail(STRATEGY_BAD_WEIGHT, "weight", field);
    if (!(config->threshold > 0 && config->threshold <= 1)) return fail(STRATEGY_BAD_THRESHOLD, "threshold", field);
    const struct {
        double value;
        const char *name;
    } scale[] = {
        {config->imbalance_scale, "imbalance_scale"},
        {config->momentum_scale, "momentum_scale"},
        {config->zscore_scale, "zscore_scale"},
        {config->rsi_scale, "rsi_scale"},
    };
    for (size_t i = 0; i < sizeof scale / sizeof scale[0]; i++)
        if (!(scale[i].value > 0) || !isfinite(scale[i].value)) return fail(STRATEGY_BAD_SCALE, scale[i].name, field);
    return fail(STRATEGY_OK, NULL, field);
}
