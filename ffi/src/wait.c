/* wait.c: waiting. See include/wait.h. */
#include "wait.h"
#include "ring_inline.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void wait_arm(doorbell *bell) {
    __atomic_store_n(&bell->sleeping, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* P4: partner ring_commit_inline */
}

void wait_disarm(doorbell *bell) { __atomic_store_n(&bell->sleeping, 0, __ATOMIC_RELAXED); }

/* A bell rung between arming and here has already moved `wakes` on and cleared `sleeping`. */
int wait_park(doorbell *bell, uint64_t timeout_ns) {
    uint32_t wakes = __atomic_load_n(&bell->wakes, __ATOMIC_ACQUIRE);
    if (!__atomic_load_n(&bell->sleeping, __ATOMIC_ACQUIRE)) return 1;
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u), .tv_nsec = (long)(timeout_ns % 1000000000u)};
    syscall(SYS_futex, &bell->wakes, FUTEX_WAIT, wakes, &timeout, NULL, 0);
    return !__atomic_exchange_n(&bell->sleeping, 0, __ATOMIC_ACQ_REL);
}

void ring_wake(doorbell *bell) {
    if (!__atomic_exchange_n(&bell->sleeping, 0, __ATOMIC_ACQ_REL)) return; /* another writer rang */
    __atomic_fetch_add(&bell->wakes, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &bell->wakes, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void wait_spin(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void wait_yield(void) { sched_yield(); }
