/* sandbox.h: a process gives up, for good, what it will not need to look at bytes from outside.
 *
 *   sandbox_limit   memory, processor seconds, descriptors; no core file, no byte written to a file
 *   sandbox_files   Landlock: read beneath some folders; nothing else is opened, made or removed
 *   sandbox_calls   seccomp: a list of system calls that a computation needs; all else is refused (EPERM):
 *                   no socket, no new program or process, no signal to another, no tracing, no mount
 *
 * The first sandbox_files comes before any thread is started: Landlock holds for the calling thread and those
 * that it starts. A later call narrows the calling thread alone. sandbox_calls holds for every thread. Not for the
 * path. Descriptors that are open stay open: close what the candidate shall not have.
 * Sources: landlock(7), seccomp(2).
 */
#pragma once
#include "layout.h"

enum sandbox_status {
    SANDBOX_OK,
    SANDBOX_MISSING, /* this kernel has it not, or not enabled */
    SANDBOX_THREADS, /* the process has other threads, which would stay free */
    SANDBOX_REFUSED  /* the kernel refused: errno */
};

/* Landlock's version here; 0: there is none. */
int sandbox_landlock_version(void);
/* 1 when this kernel filters system calls. */
int sandbox_has_seccomp(void);

/* `memory_bytes` of address space, those in use now included; 0: no bound. */
int sandbox_limit(uint64_t memory_bytes, uint32_t cpu_seconds, uint32_t descriptors_max);
/* `paths` of folders or files, `count` of them; one that is not there is passed over. */
int sandbox_files(const char *const *paths, uint32_t count);
int sandbox_files_narrow(const char *folder);
int sandbox_calls(void);
