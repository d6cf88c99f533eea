/* rules.c: as many strategies as a compiled score of the user's own may fold into one: rules_1 to rules_64.
 *
 *   signal stage --> rules_N(features, ready, market, state) --> N calls, each through a pointer --> their mean
 *
 * Each rule reads four features, remembers an average in the state that native.h gives each instrument (16 doubles:
 * beyond 16 rules, several share one) and says where it leans. None ever leans far enough to order.
 */
#include "native.h"

#define RULES_MAX 64
#define WEIGHT 0.2
#define LITTLE 0.001

typedef double (*rule_function)(const double *features, const int64_t *market, double *state, double part);

static double clamp(double score) { return score > 1 ? 1 : score < -1 ? -1 : score; }

__attribute__((noinline)) static double rule(const double *features, const int64_t *market, double *state, double part) {
    double half = features[FEATURE_SPREAD] * 0.5;
    double lean = half > 0 ? (features[FEATURE_MICROPRICE] - features[FEATURE_MID]) / half : 0;
    lean = lean * part + features[FEATURE_IMBALANCE_TOP] * (1 - part);
    *state += WEIGHT * (lean - *state);
    double held = (double)market[NATIVE_POSITION_LOTS] * LITTLE;
    return clamp(*state - held) * LITTLE;
}

static rule_function volatile called = rule; /* through a pointer, as strategies that know nothing of one another are */

static double score(uint32_t count, const double *features, uint32_t ready, const int64_t *market, double *state) {
    uint32_t needed = 1u << FEATURE_MICROPRICE | 1u << FEATURE_SPREAD | 1u << FEATURE_IMBALANCE_TOP | 1u << FEATURE_MID;
    if ((ready & needed) != needed) return 0;
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += called(features, market, &state[i % NATIVE_STATE_MAX], (double)(i + 1) / (RULES_MAX + 1));
    return sum / count;
}

#define RULES(N)                                                                                     \
    __attribute__((visibility("default")))                                                           \
    double rules_##N(const double *features, uint32_t ready, const int64_t *market, double *state);  \
    double rules_##N(const double *features, uint32_t ready, const int64_t *market, double *state) { \
        return score(N, features, ready, market, state);                                             \
    }

RULES(1)
RULES(2)
RULES(4)
RULES(8)
RULES(16)
RULES(32)
RULES(64)
