/* feature_math.c: see include/feature_math.h. */
#include "feature_math.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXPONENT_BIAS 1023
#define MANTISSA_BITS 52
#define MANTISSA_MASK 0x000fffffffffffffu
#define SMALLEST_NORMAL 0x1p-1022
/* ln 2 in two parts: the first has 32 trailing zero bits, so that exponent * LN2_HIGH is exact. */
#define LN2_HIGH 0x1.62e42fee00000p-1
#define LN2_LOW 0x1.a39ef35793c76p-33

/* value = 2^exponent * m with m in [sqrt(1/2), sqrt(2)); then with s = (m - 1) / (m + 1)
 *     ln m = 2 atanh s = 2s (1 + s^2/3 + s^4/5 + ...)
 * where |s| < 0.1716: the term in s^24 is below 2^-60 and no more are needed. The series' own
 * coefficients serve as they stand; this runs when a bar closes, not at every event. */
double feature_math_log(double value) {
    if (!(value > 0)) return value == 0 ? -INFINITY : NAN;
    if (value == INFINITY) return value;
    int64_t exponent = 0;
    if (value < SMALLEST_NORMAL) {
        value *= 0x1p54;
        exponent = -54;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    exponent += (int64_t)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;
    bits = (bits & MANTISSA_MASK) | ((uint64_t)EXPONENT_BIAS << MANTISSA_BITS);
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp+0) { /* sqrt(2) */
        m *= 0.5;
        exponent++;
    }
    double s = (m - 1) / (m + 1);
    double square = s * s;
    double tail = 0;
    for (int n = 23; n >= 3; n -= 2) tail = (tail + 1.0 / n) * square;
    return (double)exponent * LN2_HIGH + (2 * s + (2 * s * tail + (double)exponent * LN2_LOW));
}
