#define _GNU_SOURCE
#include "sandbox.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#define FOREIGN_CALLS 0x40000000U /* the x32 numbers of the same architecture */
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#define FOREIGN_CALLS 0xffffffffU
#endif

/* ---- what there is ------------------------------------------------------------------------------ */

int sandbox_landlock_version(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (int)version : 0;
}

int sandbox_has_seccomp(void) {
    uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static int alone(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return 0;
    int count = 0;
    while (readdir(tasks)) count++;
    closedir(tasks);
    return count == 3; /* ".", ".." and this thread */
}

/* ---- limits ------------------------------------------------------------------------------------- */

static int limit(__rlimit_resource_t which, uint64_t value) {
    struct rlimit bound = {.rlim_cur = value, .rlim_max = value};
    return setrlimit(which, &bound);
}

int sandbox_limit(uint64_t memory_bytes, uint32_t cpu_seconds, uint32_t descriptors_max) {
    int failed = limit(RLIMIT_CORE, 0) || limit(RLIMIT_FSIZE, 0) || limit(RLIMIT_CPU, cpu_seconds) ||
                 limit(RLIMIT_NOFILE, descriptors_max) || (memory_bytes && limit(RLIMIT_AS, memory_bytes));
    return failed ? SANDBOX_REFUSED : SANDBOX_OK;
}

/* ---- files -------------------------------------------------------------------------------------- */

/* Every right over files that the first version of Landlock knows; later ones (refer, truncate) add to them. */
#define FILES_ALL                                                                                               \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |                \
     LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |             \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                 \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |              \
     LANDLOCK_ACCESS_FS_MAKE_SYM)

static int allow_reading(int ruleset, const char *path) {
    int beneath = open(path, O_PATH | O_CLOEXEC);
    if (beneath < 0) return 0; /* it is not there: nothing to allow */
    struct stat about;
    int failed = fstat(beneath, &about);
    uint64_t rights = LANDLOCK_ACCESS_FS_READ_FILE | (S_ISDIR(about.st_mode) ? LANDLOCK_ACCESS_FS_READ_DIR : 0);
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = beneath};
    if (!failed) failed = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(beneath);
    return failed;
}

static int restrict_files(const char *const *paths, uint32_t count) {
    if (!sandbox_landlock_version()) return SANDBOX_MISSING;
    struct landlock_ruleset_attr attributes = {.handled_access_fs = FILES_ALL};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0) return SANDBOX_REFUSED;
    int failed = 0;
    for (uint32_t i = 0; i < count && !failed; i++) failed = allow_reading(ruleset, paths[i]);
    failed = failed || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return failed ? SANDBOX_REFUSED : SANDBOX_OK;
}

int sandbox_files(const char *const *paths, uint32_t count) {
    if (!alone()) return SANDBOX_THREADS;
    return restrict_files(paths, count);
}

int sandbox_files_narrow(const char *folder) { return restrict_files(&folder, 1); }

/* ---- system calls ------------------------------------------------------------------------------- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define ALLOW(name) IF_EQUAL(SYS_##name, 0, 1), RETURN(SECCOMP_RET_ALLOW)
#define REFUSE_AS(name, code) IF_EQUAL(SYS_##name, 0, 1), RETURN(SECCOMP_RET_ERRNO | (code))
/* Allowed where the low word of an argument, masked, equals `value`. */
#define ALLOW_IF(name, argument, mask, value)                                                                    \
    IF_EQUAL(SYS_##name, 0, 5), LOAD(args[argument]), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (mask)),               \
        IF_EQUAL((value), 0, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_ERRNO | EPERM)

/* Allowed where a pointer is none. */
#define ALLOW_IF_NULL(name, argument)                                                                            \
    IF_EQUAL(SYS_##name, 0, 6), LOAD(args[argument]), IF_EQUAL(0, 0, 3),                                         \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, args[argument]) + 4),         \
        IF_EQUAL(0, 0, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_ERRNO | EPERM)

int sandbox_calls(void) {
    if (!sandbox_has_seccomp()) return SANDBOX_MISSING;
    struct sock_filter program[] = {
        LOAD(arch), IF_EQUAL(NATIVE_ARCH, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FOREIGN_CALLS, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS),
        /* memory */
        ALLOW(mmap), ALLOW(munmap), ALLOW(mprotect), ALLOW(mremap), ALLOW(madvise), ALLOW(brk),
        /* files: which ones is Landlock's to say */
        ALLOW(read), ALLOW(write), ALLOW(pread64), ALLOW(readv), ALLOW(writev), ALLOW(close), ALLOW(lseek),
        ALLOW(openat), ALLOW(fstat), ALLOW(newfstatat), ALLOW(statx), ALLOW(getdents64), ALLOW(readlinkat),
        ALLOW(faccessat), ALLOW(fcntl), ALLOW(dup), ALLOW(getcwd), ALLOW(ppoll),
#ifdef SYS_open
        ALLOW(open), ALLOW(stat), ALLOW(lstat), ALLOW(access), ALLOW(readlink), ALLOW(poll),
#endif
        /* time and threads of this process */
        ALLOW(clock_gettime), ALLOW(clock_getres), ALLOW(gettimeofday), ALLOW(nanosleep), ALLOW(clock_nanosleep),
        ALLOW(futex), ALLOW(sched_yield), ALLOW(sched_getaffinity), ALLOW(getcpu), ALLOW(set_robust_list),
        ALLOW(rseq), ALLOW(membarrier), REFUSE_AS(clone3, ENOSYS), /* its flags lie in memory: clone shows them */
        ALLOW_IF(clone, 0, CLONE_THREAD, CLONE_THREAD),
        /* signals: a handler's, and abort's to its own process (the caller's own number, as it is now) */
        ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(sigaltstack), ALLOW(restart_syscall),
        ALLOW_IF(tgkill, 0, 0xffffffffU, (uint32_t)getpid()),
        /* itself */
        ALLOW(getpid), ALLOW(gettid), ALLOW(getppid), ALLOW(getuid), ALLOW(geteuid), ALLOW(getgid), ALLOW(getegid),
        ALLOW(getrandom), ALLOW(uname), ALLOW(sysinfo), ALLOW(getrusage), ALLOW_IF_NULL(prlimit64, 2),
        ALLOW_IF(prctl, 0, 0xffffffffU, PR_SET_NAME), ALLOW(exit), ALLOW(exit_group),
        RETURN(SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog filter = {.len = sizeof program / sizeof program[0], .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return SANDBOX_REFUSED;
    long failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    return failed ? SANDBOX_REFUSED : SANDBOX_OK;
}
