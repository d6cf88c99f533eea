/* callgrind_marks.c: lets a Python program tell callgrind which part of it counts.
 *
 *   marks_begin()          begin to count, from nothing
 *   marks_write(name)      what was counted since, into the output file of that part; the count goes on from nothing
 *
 * Without valgrind both do nothing. A library: gcc -shared -fPIC, loaded by bench/latency/inside.py.
 */
#include <valgrind/callgrind.h>

void marks_begin(void);
void marks_write(const char *name);

void marks_begin(void) {
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void marks_write(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
