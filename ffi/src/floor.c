/* floor.c: round trips of one cache line. See include/floor.h. */
#include "floor.h"
#include "clock_inline.h"
#include "histogram_inline.h"

#define LOOKS_BETWEEN_CLOCKS 1024u /* a look at the clock costs as much as a look at the line */

/* 1 once the line holds `wanted`; 0 when the deadline passed or A has ended. */
static int await(const floor_line *line, uint64_t wanted, const clock_page *clock, uint64_t deadline_ns) {
    for (uint32_t looks = 1;; looks++) {
        uint64_t word = __atomic_load_n(&line->word, __ATOMIC_ACQUIRE); /* pairs with the other side's store */
        if (word == wanted) return 1;
        if (word == UINT64_MAX) return 0;
        if (looks % LOOKS_BETWEEN_CLOCKS == 0 && clock_read(clock) > deadline_ns) return 0;
    }
}

uint64_t floor_call(floor_line *line, const clock_page *clock, uint64_t duration_ns, histogram *trips) {
    uint64_t count = 0, word = 1;
    uint64_t before = clock_read(clock), deadline_ns = before + duration_ns;
    for (; before < deadline_ns; word += 2) {
        __atomic_store_n(&line->word, word, __ATOMIC_RELEASE); /* pairs with await in floor_answer */
        if (!await(line, word + 1, clock, deadline_ns)) break;
        uint64_t after = clock_read(clock);
        if (word == 1) {
            deadline_ns = after + duration_ns; /* the first waited for B to start */
        } else {
            histogram_record_inline(trips, after > before ? after - before : 0);
            count++;
        }
        before = after;
    }
    __atomic_store_n(&line->word, UINT64_MAX, __ATOMIC_RELEASE);
    return count;
}

uint64_t floor_answer(floor_line *line, const clock_page *clock, uint64_t duration_ns) {
    uint64_t deadline_ns = clock_read(clock) + duration_ns, word = 1;
    while (await(line, word, clock, deadline_ns)) {
        __atomic_store_n(&line->word, word + 1, __ATOMIC_RELEASE); /* pairs with await in floor_call */
        word += 2;
    }
    return word / 2;
}
