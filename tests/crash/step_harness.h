/* step_harness.h: a child process that is stopped after each single instruction of an act.
 *
 *   parent: for n in 0, 1, 2, ...: fresh state -> stop_inside(act, n) -> SIGKILL, or whatever it likes -> checks
 *   child:  gets ready | begin() | the act, stepped through | end()
 *
 * `inside` lies in memory that both share: 1 between begin and end.
 */
#pragma once
#include "ring_harness.h"
#include <sys/ptrace.h>

enum { STEPS_MAX = 200000 };

static uint64_t *inside;

/* The stop brings the child to the act at full speed: only the act itself is stepped through. */
static inline void begin(void) {
    raise(SIGTRAP);
    __atomic_store_n(inside, 1, __ATOMIC_SEQ_CST);
}

static inline void end(void) { __atomic_store_n(inside, 0, __ATOMIC_SEQ_CST); }

/* One instruction; the child must not come to its end. */
static inline void step(pid_t child) {
    int status;
    REQUIRE(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
}

/* A child stopped `steps` instructions into the act, or after its end. */
static inline pid_t stop_inside(void (*act)(const void *), const void *world, uint64_t steps) {
    int status;
    __atomic_store_n(inside, 0, __ATOMIC_SEQ_CST);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (!child) {
        die_with_parent();
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        act(world);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    for (uint64_t i = 0; i < STEPS_MAX && !*inside; i++) step(child);
    REQUIRE(*inside);
    for (uint64_t i = 0; i < steps && *inside; i++) step(child);
    return child;
}

static inline void kill_there(pid_t child) {
    int status;
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
}
