/* spin.c: the spin control. See include/spin.h. */
#include "spin.h"
#include "clock_inline.h"
#include "histogram_inline.h"

void spin_control(const clock_page *clock, uint64_t interval_ns, uint64_t duration_ns, histogram *delays,
                  spin_report *report) {
    if (!interval_ns) interval_ns = 1;
    *report = (spin_report){0};
    uint64_t start = clock_read(clock);
    uint64_t end = start + duration_ns;
    uint64_t due = start + interval_ns;
    uint64_t last = start;
    while (last < end) {
        uint64_t now = clock_read(clock);
        uint64_t gap = now > last ? now - last : 0; /* a counter may differ by a little between cores */
        if (gap > report->gap_ns_max) report->gap_ns_max = gap;
        if (gap > SPIN_GAP_NS) {
            report->gap_count++;
            report->gap_ns_sum += gap;
        }
        /* One reading serves every arrival that came due in its gap, as one turn would. */
        for (; due <= now && due <= end; due += interval_ns) {
            histogram_record_inline(delays, now - due);
            report->arrivals++;
        }
        report->readings++;
        if (now > last) last = now;
    }
    report->elapsed_ns = last - start;
}

void spin_gaps(const clock_page *clock, uint64_t duration_ns, histogram *gaps, spin_report *report) {
    *report = (spin_report){0};
    uint64_t start = clock_read(clock);
    uint64_t end = start + duration_ns;
    uint64_t last = start;
    while (last < end) {
        uint64_t now = clock_read(clock);
        uint64_t gap = now > last ? now - last : 0;
        if (gap > report->gap_ns_max) report->gap_ns_max = gap;
        if (gap > SPIN_GAP_NS) {
            histogram_record_inline(gaps, gap);
            report->gap_count++;
            report->gap_ns_sum += gap;
        }
        report->readings++;
        if (now > last) last = now;
    }
    report->elapsed_ns = last - start;
}
