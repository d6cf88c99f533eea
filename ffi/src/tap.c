/* tap.c: sorting a batch into its topics. See include/tap.h. */
#include "tap.h"
#include <stddef.h>

_Static_assert(sizeof(endpoint_entry) == 128, "documented in docs/tap.md");
_Static_assert(sizeof(tap_frame) == 96 && offsetof(tap_frame, count) == 64, "documented in docs/tap.md");
_Static_assert(sizeof(norm_event) == sizeof(signal_event) && sizeof(norm_event) == sizeof(exec_event) &&
                   sizeof(norm_event) == sizeof(cmd_event) && sizeof(norm_event) == sizeof(request_event),
               "slots of every ring are sorted as norm_events");

/* The last word of `place` stands for all that is no instrument. */
static uint32_t place_of(const norm_event *slot) {
    return slot->header.instrument < INSTRUMENTS_MAX ? slot->header.instrument : INSTRUMENTS_MAX;
}

uint32_t tap_sort(const norm_event *slots, uint32_t count, uint32_t *place, norm_event *sorted, tap_run *runs) {
    uint32_t run_count = 0, start = 0;
    if (count > TAP_BATCH_MAX) count = TAP_BATCH_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t *run = &place[place_of(&slots[i])]; /* its number + 1 */
        if (!*run) {
            runs[run_count] = (tap_run){.instrument = slots[i].header.instrument};
            *run = ++run_count;
        }
        runs[*run - 1].count++;
    }
    for (uint32_t run = 0; run < run_count; run++) {
        runs[run].start = start;
        start += runs[run].count;
        runs[run].count = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        tap_run *run = &runs[place[place_of(&slots[i])] - 1];
        sorted[run->start + run->count++] = slots[i];
    }
    for (uint32_t i = 0; i < count; i++) place[place_of(&slots[i])] = 0;
    return run_count;
}
