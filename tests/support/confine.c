/* confine.c: calls a function while counting what it allocates, or where the kernel refuses all but
 * write and exit. Preloaded, so that it stands before the C library's allocator:
 *
 *   counted_call(f, a, b, count)   f(a, b); calls made meanwhile, by enum, into count[]
 *   confined_call(f, a, b, ...)    let seccomp kill for any call but write and exit, f(a, b), write the
 *                                  result and the words that the caller names to a descriptor, leave
 *
 * A filter, not seccomp's strict mode: that one takes the time stamp counter away as well.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
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
