/* control.c: the words of the control page. See include/control.h.
 *
 * SYNC POINT: every word here is stored with release and loaded by stage_plan and duty_run with acquire
 * (the causes relaxed: each is complete in itself). */
#include "control.h"
#include "clock_inline.h"

uint64_t control_kill(control_page *page) { return __atomic_add_fetch(&page->kill_epoch, 1, __ATOMIC_ACQ_REL); }

/* Found by name in the shared object, by a process that has no time to load Python's view of it. */
__attribute__((visibility("default"))) uint64_t hotpath_kill(uint64_t *body, const clock_page *clock, uint64_t *time_ns) {
    *time_ns = clock ? clock_read(clock) : 0;
    return __atomic_add_fetch(body, 1, __ATOMIC_ACQ_REL);
}

int control_arm(control_page *page, uint64_t epoch) {
    /* An epoch that has not come would arm the next kill before it happens. */
    if (__atomic_load_n(&page->kill_epoch, __ATOMIC_ACQUIRE) != epoch) return 0;
    __atomic_store_n(&page->armed_epoch, epoch, __ATOMIC_RELEASE);
    return __atomic_load_n(&page->kill_epoch, __ATOMIC_ACQUIRE) == epoch;
}

int control_killed(const control_page *page) {
    return __atomic_load_n(&page->kill_epoch, __ATOMIC_ACQUIRE) != __atomic_load_n(&page->armed_epoch, __ATOMIC_ACQUIRE);
}

int control_effective(const control_page *page, uint64_t epoch) {
    return __atomic_load_n(&page->killed_epoch_sent, __ATOMIC_ACQUIRE) >= epoch ||
           __atomic_load_n(&page->killed_epoch_reset, __ATOMIC_ACQUIRE) >= epoch;
}

/* Several may have ended it; the latest epoch stays. Found by name, as hotpath_kill is. */
__attribute__((visibility("default"))) void control_reset(control_page *page, uint64_t epoch, uint64_t now_ns) {
    uint64_t known = __atomic_load_n(&page->killed_epoch_reset, __ATOMIC_ACQUIRE);
    if (known < epoch) __atomic_store_n(&page->reset_time_ns, now_ns, __ATOMIC_RELAXED);
    while (known < epoch &&
           !__atomic_compare_exchange_n(&page->killed_epoch_reset, &known, epoch, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    }
}

/* ---- causes -------------------------------------------------------------------------------------- */

/* Eight causes at a time; relaxed: each byte is complete in itself. */
static uint64_t causes_load(const control_page *page, int word) {
    typedef uint64_t __attribute__((may_alias)) aliasing_word;
    return __atomic_load_n((const aliasing_word *)page->cause + word, __ATOMIC_RELAXED);
}

void control_cause(control_page *page, uint32_t cause, uint32_t mode) {
    if (cause >= CAUSES) return;
    if (__atomic_load_n(&page->cause[cause], __ATOMIC_RELAXED) == mode) return; /* every loop reads its line */
    __atomic_store_n(&page->cause[cause], (uint8_t)mode, __ATOMIC_RELEASE);
}

void control_condition(control_page *page, uint32_t cause, uint32_t mode, uint64_t now_ns, uint64_t hold_ns,
                       uint64_t *lax_since_ns) {
    if (cause >= CAUSES) return;
    uint32_t standing = __atomic_load_n(&page->cause[cause], __ATOMIC_RELAXED);
    if (mode >= standing) {
        *lax_since_ns = 0;
        control_cause(page, cause, mode);
        return;
    }
    if (*lax_since_ns == 0) *lax_since_ns = now_ns;
    if (now_ns < *lax_since_ns + hold_ns) return;
    *lax_since_ns = 0;
    control_cause(page, cause, mode);
}

uint64_t control_causes(const control_page *page) {
    uint64_t found = 0;
    for (int word = 0; word < CAUSES_MAX / 8; word++) {
        if (!causes_load(page, word)) continue;
        for (int i = word * 8; i < word * 8 + 8; i++)
            found |= (uint64_t)(__atomic_load_n(&page->cause[i], __ATOMIC_RELAXED) != MODE_NORMAL) << i;
    }
    return found;
}

uint8_t control_mode(const control_page *page) {
    uint64_t any = 0;
    for (int word = 0; word < CAUSES_MAX / 8; word++) any |= causes_load(page, word);
    if (__builtin_expect(any == 0, 1)) return MODE_NORMAL;
    uint8_t strictest = MODE_NORMAL;
    for (int i = 0; i < CAUSES_MAX; i++) {
        uint8_t mode = __atomic_load_n(&page->cause[i], __ATOMIC_RELAXED);
        if (mode > strictest) strictest = mode;
    }
    return strictest > MODE_HALTED ? MODE_HALTED : strictest;
}

void control_beat(control_page *page, uint32_t beat, uint64_t now_ns) {
    if (beat < BEATS) __atomic_store_n(&page->beat_time_ns[beat], now_ns, __ATOMIC_RELAXED);
}

void control_stop(control_page *page, uint32_t level) { __atomic_store_n(&page->stop, level, __ATOMIC_RELEASE); }
