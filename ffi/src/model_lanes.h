/* model_lanes.h: vectors of one path, and the functions of one variable on them.
 *
 * Included by model_interpreter.h with LANE_BYTES (16, 32, 64) set. Nothing here depends on the width: each lane is
 * computed by the same roundings, so that paths agree bit by bit. Coefficients: Cephes (exp, log, tanh), N. Juffa (erf).
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define WIDTH (LANE_BYTES / 4)
#define PARTS (MODEL_LANES / WIDTH) /* vectors of the virtual lanes */
#if defined(__SANITIZE_ADDRESS__) /* where speed is none of our business, and compiling it inlined takes half a minute */
#define ALWAYS static inline __attribute__((unused))
#else
#define ALWAYS static inline __attribute__((always_inline, unused))
#endif

typedef float lanes __attribute__((vector_size(LANE_BYTES)));
typedef int32_t masks __attribute__((vector_size(LANE_BYTES)));
typedef uint32_t words __attribute__((vector_size(LANE_BYTES)));

ALWAYS lanes lanes_of(float value) { return (lanes){0} + value; }

ALWAYS lanes lanes_load(const float *source) {
    lanes value;
    memcpy(&value, source, sizeof value);
    return value;
}

ALWAYS void lanes_store(float *target, lanes value) { memcpy(target, &value, sizeof value); }

/* The first `count` < WIDTH floats; the rest is `fill`. */
ALWAYS lanes lanes_load_part(const float *source, uint32_t count, float fill) {
    float part[WIDTH];
    for (uint32_t i = 0; i < WIDTH; i++) part[i] = fill;
    for (uint32_t i = 0; i < count; i++) part[i] = source[i];
    return lanes_load(part);
}

ALWAYS void lanes_store_part(float *target, uint32_t count, lanes value) {
    float part[WIDTH];
    lanes_store(part, value);
    for (uint32_t i = 0; i < count; i++) target[i] = part[i];
}

ALWAYS lanes lanes_select(masks mask, lanes yes, lanes no) {
    return (lanes)((mask & (masks)yes) | (~mask & (masks)no));
}

/* 1 where the mask is set, else 0. */
ALWAYS lanes lanes_truth(masks mask) { return lanes_select(mask, lanes_of(1), lanes_of(0)); }
ALWAYS lanes lanes_abs(lanes a) { return (lanes)((masks)a & 0x7fffffff); }
ALWAYS lanes lanes_with_sign(lanes a, lanes sign) {
    return (lanes)((words)a | ((words)sign & 0x80000000u));
}
/* NaN in `a` stays: a comparison with it is false. */
ALWAYS lanes lanes_at_most(lanes a, lanes most) { return lanes_select(a > most, most, a); }
ALWAYS lanes lanes_at_least(lanes a, lanes least) { return lanes_select(a < least, least, a); }

ALWAYS lanes lanes_sqrt(lanes a) {
    lanes root;
    for (uint32_t i = 0; i < WIDTH; i++) root[i] = __builtin_sqrtf(a[i]);
    return root;
}

/* Halves to even. Where |a| >= 2^23 it is an integer already. */
ALWAYS lanes lanes_round(lanes a) {
    lanes magnitude = lanes_abs(a), rounded = (magnitude + 0x1p23f) - 0x1p23f;
    return lanes_select(magnitude < lanes_of(0x1p23f), lanes_with_sign(rounded, a), a);
}

ALWAYS lanes lanes_floor(lanes a) {
    lanes rounded = lanes_round(a);
    return lanes_select(rounded > a, rounded - 1.0f, rounded);
}

/* exp(a) = 2^n exp(r), |r| <= ln 2 / 2. n's power comes in two factors, so that neither leaves the normal range. */
ALWAYS lanes lanes_exp(lanes a) {
    lanes x = lanes_at_least(lanes_at_most(a, lanes_of(90.0f)), lanes_of(-105.0f));
    lanes shifted = x * 0x1.715476p+0f + 0x1.8p23f; /* log2 e; the sum's low bits are n */
    masks n = (masks)((words)shifted - 0x4b400000u);
    lanes whole = shifted - 0x1.8p23f;
    lanes r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
    lanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    lanes y = (p * (r * r) + r) + 1.0f;
    masks half = n >> 1;
    words first = ((words)half + 127u) << 23, second = ((words)n - (words)half + 127u) << 23;
    return (y * (lanes)first) * (lanes)second;
}

/* exp(a) - 1 without cancellation near 0. */
ALWAYS lanes lanes_expm1(lanes a) {
    lanes p = a * 1.3981999507e-3f + 8.3334519073e-3f;
    p = p * a + 4.1665795894e-2f;
    p = p * a + 1.6666665459e-1f;
    p = p * a + 5.0000001201e-1f;
    return lanes_select(lanes_abs(a) < lanes_of(0.25f), p * (a * a) + a, lanes_exp(a) - 1.0f);
}

ALWAYS lanes lanes_log(lanes a) {
    masks tiny = a < lanes_of(0x1p-126f);
    lanes x = lanes_select(tiny, a * 0x1p25f, a);
    words bits = (words)x;
    masks exponent = (masks)(bits >> 23) - 126 - (tiny & 25);
    lanes m = (lanes)((bits & 0x007fffffu) | 0x3f000000u); /* [0.5, 1) */
    masks low = m < lanes_of(0.707106781186547524f);
    exponent += low; /* a mask is -1 */
    m = lanes_select(low, m + m, m) - 1.0f;
    lanes e = __builtin_convertvector(exponent, lanes), z = m * m;
    lanes p = m * 7.0376836292e-2f + -1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m + -1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m + -1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m + -2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    lanes y = (p * m) * z + e * -2.12194440e-4f - 0.5f * z;
    y = (m + y) + e * 0.693359375f;
    y = lanes_select(a == lanes_of(INFINITY), a, y);
    y = lanes_select(a == lanes_of(0), lanes_of(-INFINITY), y);
    y = lanes_select(a < lanes_of(0), lanes_of(NAN), y);
    return lanes_select(a != a, a, y);
}

ALWAYS lanes lanes_tanh(lanes a) {
    lanes z = a * a;
    lanes p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z + -5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z + -3.33332819422e-1f;
    lanes magnitude = lanes_abs(a);
    lanes far = 1.0f - 2.0f / (lanes_exp(magnitude + magnitude) + 1.0f);
    return lanes_select(magnitude < lanes_of(0.625f), (p * z) * a + a, lanes_with_sign(far, a));
}

ALWAYS lanes lanes_sigmoid(lanes a) { return 1.0f / (1.0f + lanes_exp(-a)); }

ALWAYS lanes lanes_erf(lanes a) {
    lanes t = lanes_abs(a), s = a * a;
    lanes r = t * -1.72853470e-5f + 3.83197126e-4f;
    lanes u = t * -3.88396438e-3f + 2.42546219e-2f;
    r = r * s + u;
    r = r * t + -1.06777877e-1f;
    r = r * t + -6.34846687e-1f;
    r = r * t + -1.28717512e-1f;
    r = r * t + -t;
    lanes far = lanes_with_sign(1.0f - lanes_exp(r), a);
    lanes q = s * -5.96761703e-4f + 4.99119423e-3f;
    q = q * s + -2.67681349e-2f;
    q = q * s + 1.12819925e-1f;
    q = q * s + -3.76125336e-1f;
    q = q * s + 1.28379166e-1f;
    far = lanes_select(t > lanes_of(4.0f), lanes_with_sign(lanes_of(1.0f), a), far);
    return lanes_select(t > lanes_of(0.921875f), far, q * a + a);
}

/* ln(1 + exp a) = max(a, 0) + ln(1 + e), e = exp -|a|; what 1 + e loses of e is put back as a factor. */
ALWAYS lanes lanes_softplus(lanes a) {
    lanes e = lanes_exp(-lanes_abs(a)), sum = 1.0f + e, kept = sum - 1.0f;
    lanes logarithm = lanes_select(kept == lanes_of(0), e, lanes_log(sum) * (e / kept));
    return lanes_at_least(a, lanes_of(0)) + logarithm;
}

/* sqrt 2 times the inverse error function at 2a - 1, by Winitzki's formula, as ONNX Runtime has it. */
ALWAYS lanes lanes_probit(lanes a) {
    lanes x = 2.0f * a - 1.0f;
    lanes logarithm = lanes_log((1.0f - x) * (1.0f + x));
    lanes v = 2.0f / (3.14159f * 0.147f) + 0.5f * logarithm;
    lanes inside = lanes_sqrt(v * v - 1.0f / 0.147f * logarithm);
    lanes root = lanes_sqrt(inside - v);
    return 1.41421356f * lanes_select(x < lanes_of(0), -root, root);
}

/* ---- reductions over the virtual lanes ---------------------------------------------------------------- */

typedef struct {
    lanes part[PARTS];
} virtual_lanes;

/* MODEL_LANES floats from `source`, of which `count` are there. */
ALWAYS virtual_lanes virtual_load(const float *source, uint32_t count, float fill) {
    virtual_lanes value;
    for (uint32_t p = 0; p < PARTS; p++) {
        uint32_t at = p * WIDTH;
        if (count >= at + WIDTH)
            value.part[p] = lanes_load(source + at);
        else
            value.part[p] = lanes_load_part(source + at, count > at ? count - at : 0, fill);
    }
    return value;
}

/* In halves: lane i and lane i + 8, then + 4, + 2, + 1. */
ALWAYS float virtual_sum(virtual_lanes value) {
    float lane[MODEL_LANES];
    memcpy(lane, &value, sizeof lane);
    for (uint32_t half = MODEL_LANES / 2; half; half /= 2)
        for (uint32_t i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

ALWAYS float virtual_greatest(virtual_lanes value) {
    float lane[MODEL_LANES];
    memcpy(lane, &value, sizeof lane);
    for (uint32_t half = MODEL_LANES / 2; half; half /= 2)
        for (uint32_t i = 0; i < half; i++) lane[i] = lane[i + half] > lane[i] ? lane[i + half] : lane[i];
    return lane[0];
}
