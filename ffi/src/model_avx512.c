/* model_avx512.c: the interpreter of model.h in vectors of 64 bytes. See model_interpreter.h. */
#include "model.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl")
#define LANE_BYTES 64
#define RUN model_run_avx512
#include "model_interpreter.h"
#else
#include "model_parts.h"
int model_run_avx512(const model *self, float *state, const float *inputs, float *outputs) {
    return model_run_portable(self, state, inputs, outputs);
}
#endif
