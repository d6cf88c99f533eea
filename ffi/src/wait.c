/* wait.c: waiting. See include/wait.h.
 *
 *   sleeper                                writer
 *   sleeping = 1, full fence               publish, full fence
 *   poll again: work? disarm               sleeping == 0? done
 *   wakes = w; sleeping == 0? done         exchange sleeping with 0: was it 1?
 *   futex_wait(wakes == w)                 wakes += 1, futex_wake
 *
 * The sleeper reads `wakes` before it looks at `sleeping`: a bell that cleared `sleeping` later than that
 * look has `wakes` moved on before it wakes, so the futex refuses to sleep or is woken. Of several writers
 * the one whose exchange found 1 wakes; were it killed there, the sleeper's time-out ends the sleep.
 */
#include "wait.h"
#include "ring_inline.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void wait_arm(doorbell *bell) {
    __atomic_store_n(&bell->sleeping, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* P4: partners ring_commit_inline and wait_ring */
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

void wait_ring(doorbell *bell) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* P4 */
    if (__atomic_load_n(&bell->sleeping, __ATOMIC_RELAXED)) ring_wake(bell);
}

void wait_spin(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

void wait_yield(void) { sched_yield(); }
