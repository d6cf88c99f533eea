/* control.c: the words of the control page. See include/control.h.
 *
 * SYNC POINT: every word here is stored with release and loaded by stage_plan and duty_run with acquire
 * (the mode words relaxed: each is complete in itself). */
#include "control.h"

uint64_t control_kill(control_page *page) { return __atomic_add_fetch(&page->kill_epoch, 1, __ATOMIC_ACQ_REL); }

int control_arm(control_page *page, uint64_t epoch) {
    /* An epoch that has not come would arm the next kill before it happens. */
    if (__atomic_load_n(&page->kill_epoch, __ATOMIC_ACQUIRE) != epoch) return 0;
    __atomic_store_n(&page->armed_epoch, epoch, __ATOMIC_RELEASE);
    return __atomic_load_n(&page->kill_epoch, __ATOMIC_ACQUIRE) == epoch;
}

int control_killed(const control_page *page) {
    return __atomic_load_n(&page->kill_epoch, __ATOMIC_ACQUIRE) != __atomic_load_n(&page->armed_epoch, __ATOMIC_ACQUIRE);
}

void control_mode(control_page *page, uint32_t tightener, uint32_t mode) {
    if (tightener < TIGHTENERS_MAX) __atomic_store_n(&page->mode[tightener], mode, __ATOMIC_RELEASE);
}

void control_stop(control_page *page, uint32_t level) { __atomic_store_n(&page->stop, level, __ATOMIC_RELEASE); }
