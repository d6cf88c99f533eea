/* model_avx2.c: the interpreter of model.h in vectors of 32 bytes. See model_interpreter.h. */
#include "model.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#pragma GCC target("avx2")
#define LANE_BYTES 32
#define RUN model_run_avx2
#include "model_interpreter.h"
#else
#include "model_parts.h"
int model_run_avx2(const model *self, float *state, const float *inputs, float *outputs) {
    return model_run_portable(self, state, inputs, outputs);
}
#endif
