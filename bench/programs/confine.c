/* confine.c: calls a function while counting what it allocates or asks of the kernel, or where the kernel
 * refuses all but write and exit. Preloaded, so that it stands before the C library's allocator:
 *
 *   counted_call(f, a, b, count)   f(a, b); calls made meanwhile, by enum, into count[]
 *   traced_call(f, a, b, count, n) f(a, b); system calls made meanwhile, by number, into count[n]. From the
 *                                  first on, each one of this process costs a signal: use a child
 *   confined_call(f, a, b, ...)    let seccomp kill for any call but write and exit, f(a, b), write the
 *                                  result and the words that the caller names to a descriptor, leave
 *
 * A filter, not seccomp's strict mode: that one takes the time stamp counter away as well. The tracing
 * filter lets the kernel signal each call; the handler counts it and makes it again, from the one
 * instruction that the filter lets through.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <ucontext.h>
#include <unistd.h>

enum { COUNT_ALLOCATE, COUNT_FREE, COUNT_MAP, COUNTS };
typedef long (*function)(void *, uint64_t);

static volatile int counting;
static uint64_t counts[COUNTS];

static void count(int which) {
    if (counting) __atomic_fetch_add(&counts[which], 1, __ATOMIC_RELAXED);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

void *malloc(size_t size) { count(COUNT_ALLOCATE); return __libc_malloc(size); }
void *calloc(size_t number, size_t size) { count(COUNT_ALLOCATE); return __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { count(COUNT_ALLOCATE); return __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { count(COUNT_ALLOCATE); return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { count(COUNT_ALLOCATE); return __libc_memalign(alignment, size); }
int posix_memalign(void **target, size_t alignment, size_t size) {
    count(COUNT_ALLOCATE);
    *target = __libc_memalign(alignment, size);
    return *target ? 0 : 12;
}
void free(void *memory) { count(COUNT_FREE); __libc_free(memory); }

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    count(COUNT_MAP);
    return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
}
int munmap(void *address, size_t size) { count(COUNT_MAP); return (int)syscall(SYS_munmap, address, size); }
void *sbrk(intptr_t step) {
    static void *(*real)(intptr_t);
    if (!real) real = (void *(*)(intptr_t))dlsym(RTLD_NEXT, "sbrk");
    count(COUNT_MAP);
    return real(step);
}

long counted_call(function f, void *a, uint64_t b, uint64_t *found) {
    for (int i = 0; i < COUNTS; i++) counts[i] = 0;
    counting = 1;
    long result = f(a, b);
    counting = 0;
    for (int i = 0; i < COUNTS; i++) found[i] = counts[i];
    return result;
}

static int confine(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof program[0], program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/* Never returns: the process ends here, one way or the other. `words` are read after the call. */
void confined_call(function f, void *a, uint64_t b, int fd, const uint64_t *const *words, uint32_t word_count) {
    if (!confine()) syscall(SYS_exit, 3);
    uint64_t result = (uint64_t)f(a, b);
    if (write(fd, &result, sizeof result) != sizeof result) syscall(SYS_exit, 4);
    for (uint32_t i = 0; i < word_count; i++)
        if (write(fd, words[i], sizeof(uint64_t)) != sizeof(uint64_t)) syscall(SYS_exit, 4);
    syscall(SYS_exit, 0);
}

/* ---- system calls, counted ------------------------------------------------------------------------ */

#if defined(__x86_64__)

static volatile int tracing;
static uint64_t *traced;
static uint64_t traced_max;

long direct_call(long number, long a, long b, long c, long d, long e, long f);
extern char direct_call_made[] __attribute__((visibility("hidden")));
__asm__(".text\n"
        ".hidden direct_call\n"
        ".hidden direct_call_made\n"
        ".globl direct_call, direct_call_made\n"
        "direct_call:\n"
        "mov %rdi, %rax\n"
        "mov %rsi, %rdi\n"
        "mov %rdx, %rsi\n"
        "mov %rcx, %rdx\n"
        "mov %r8, %r10\n"
        "mov %r9, %r8\n"
        "mov 8(%rsp), %r9\n"
        "syscall\n"
        "direct_call_made:\n"
        "ret\n");

static void on_call(int signal_number, siginfo_t *info, void *context) {
    (void)signal_number;
    greg_t *word = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t number = (uint64_t)info->si_syscall;
    if (tracing && traced_max) traced[number < traced_max ? number : traced_max - 1]++;
    word[REG_RAX] = direct_call((long)number, word[REG_RDI], word[REG_RSI], word[REG_RDX], word[REG_R10], word[REG_R8],
                                word[REG_R9]);
}

/* Everything is signalled but the return from the signal, and what the handler itself asks for. */
static int trace_calls(void) {
    uint64_t made = (uint64_t)(uintptr_t)direct_call_made;
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 5, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)made, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(made >> 32), 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof program[0], program};
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO | SA_NODEFER};
    return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

long traced_call(function f, void *a, uint64_t b, uint64_t *found, uint64_t found_max) {
    static int ready;
    if (!ready && !trace_calls()) return -1;
    ready = 1;
    memset(found, 0, found_max * sizeof *found);
    traced = found;
    traced_max = found_max;
    tracing = 1;
    long result = f(a, b);
    tracing = 0;
    return result;
}

#else

long traced_call(function f, void *a, uint64_t b, uint64_t *found, uint64_t found_max) {
    (void)f, (void)a, (void)b, (void)found, (void)found_max;
    return -1; /* the handler knows the registers of no other processor */
}

#endif

/* Must be found out: each as small as a mistake can be. */
long canary_allocates(void *a, uint64_t b) {
    (void)a;
    void *volatile memory = malloc(b);
    free(memory);
    return 0;
}

long canary_maps(void *a, uint64_t b) {
    (void)a;
    void *volatile memory = mmap(NULL, b, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(memory, b);
    return 0;
}

long canary_calls(void *a, uint64_t b) {
    (void)a;
    (void)b;
    return syscall(SYS_getppid);
}
