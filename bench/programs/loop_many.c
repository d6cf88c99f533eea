/* loop_many.c: many slices of an engine's loop, its clock moved by hand in between, with no Python among them.
 *
 *   loop_many(run, duty, anchor, step_ns, times)    run(duty, 0), then *anchor += step_ns; and so on
 *
 * An interpreter between two slices would push the engine's lines out of the modelled caches.
 * A library: gcc -shared -fPIC, loaded by bench/profile/inside.py.
 */
#include <stdint.h>

int loop_many(int (*run)(void *, uint64_t), void *duty, uint64_t *anchor_time_ns, uint64_t step_ns, uint32_t times);

/* The last answer of `run`. */
int loop_many(int (*run)(void *, uint64_t), void *duty, uint64_t *anchor_time_ns, uint64_t step_ns, uint32_t times) {
    int result = 0;
    for (uint32_t i = 0; i < times; i++) {
        result = run(duty, 0);
        *anchor_time_ns += step_ns;
    }
    return result;
}
