/* model_measure.h: how long a model's runs take, each of them, measured from C: for admission and for the bench.
 *
 *   row 0, row 1, ... row n - 1, row 0, ...  --> model_run --> ns[call]       a span holds one reading of the clock
 *
 * Off the path. With `evict` set, so many bytes are written between two runs, so that each finds its weights and its code
 * out of the caches that the bytes fill: the price of a model that is seldom asked.
 */
#pragma once
#include "clock.h"
#include "model.h"

typedef struct {
    const float *rows;      /* row_count times input_count floats */
    uint8_t *evict;         /* NULL: runs follow one another */
    uint64_t evict_size;
    uint32_t row_count;     /* at least 1 */
    uint32_t calls;
} model_measurement;

/* Fill ns[calls]. `self` NULL measures the clock alone. outputs and state as for model_run, the state carried from call to
 * call. MODEL_OK, or the first status of a run that was neither MODEL_OK nor MODEL_NAN. */
int model_measure(const model *self, const model_measurement *what, const clock_page *clock, float *state, float *outputs,
                  uint32_t *ns);
