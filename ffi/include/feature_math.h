/* feature_math.h: elementary functions with the same bits on every machine. libm's differ between
 * versions and processors; these use only IEEE operations in a fixed order (-ffp-contract=off). */
#pragma once

/* Natural logarithm of a positive finite number, within 3 units in the last place. 0: -infinity;
 * negative or NaN: NaN; infinity: itself. */
double feature_math_log(double value);
