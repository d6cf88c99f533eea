/* model_measure.c: see include/model_measure.h. */
#include "model_measure.h"
#include "clock_inline.h"

#define CACHE_LINE 64

static void fill_caches(uint8_t *bytes, uint64_t size) {
    for (uint64_t at = 0; at < size; at += CACHE_LINE) {
        bytes[at]++;
        __asm__ volatile("" ::: "memory");
    }
}

int model_measure(const model *self, const model_measurement *what, const clock_page *clock, float *state, float *outputs,
                  uint32_t *ns) {
    const float *row = what->rows;
    const float *end = row + (self ? (uint64_t)what->row_count * self->input_count : 0);
    for (uint32_t call = 0; call < what->calls; call++) {
        if (what->evict) fill_caches(what->evict, what->evict_size);
        uint64_t begun = clock_read(clock);
        int status = self ? model_run(self, state, row, outputs) : MODEL_OK;
        uint64_t spent = clock_read(clock) - begun;
        if (status > MODEL_NAN) return status;
        ns[call] = spent > UINT32_MAX ? UINT32_MAX : (uint32_t)spent;
        if (self && (row += self->input_count) >= end) row = what->rows;
    }
    return MODEL_OK;
}
