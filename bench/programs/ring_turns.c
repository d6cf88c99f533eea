/* ring_turns.c: are the rings of several trees equally quick between two processors?
 *
 *   round:   side 0 | side 1 | side 2     the next one backwards, then from another side on
 *            a batch of TRIPS round trips each, timed as a whole, after a few that are not
 *
 *   ring_turns CPU_A CPU_B ROUNDS TRIPS SIDE.so...
 *
 * Two virtual processors come nearer and move apart again within milliseconds (one batch takes 0.1 ms): only what
 * was measured in the same millisecond can be compared. Each side is a build of ring_side.c; all use one memory, made
 * anew before each batch, since the way to a line depends on where it lies.
 * Prints ns a trip, for each slot size and side, in the order of the rounds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIDES_MAX 8
#define RUN_SECONDS_MAX 100
#define ROUNDS_MAX 4096
#define WARM_TRIPS 200 /* each slot three times: the rings are new */
#define SHARED_BYTES_MAX 65536
#define PRIVATE_BYTES_MAX 4096

typedef struct {
    uint64_t (*private_bytes)(void);
    uint64_t (*shared_bytes)(uint32_t slot_size);
    void (*make)(uint8_t *memory, uint32_t slot_size);
    int (*open)(void *own, uint8_t *memory, uint32_t slot_size, uint32_t is_b);
    int (*trips)(void *own, uint32_t is_b, uint64_t count);
} side;

/* What both processes map, at the same place. */
typedef struct {
    _Alignas(4096) uint8_t memory[SHARED_BYTES_MAX];
    _Alignas(4096) uint64_t made; /* batches whose rings stand */
    _Alignas(4096) uint64_t left; /* batches that B has ended */
} common;

static const uint32_t SLOT_SIZES[] = {64, 128};
static side sides[SIDES_MAX];
static double batch_ns[SIDES_MAX][ROUNDS_MAX];
static common *both;
static _Alignas(128) uint8_t own[PRIVATE_BYTES_MAX];

static void die(const char *what) {
    fprintf(stderr, "ring_turns: %s\n", what);
    exit(1);
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) die("a side lacks a function");
    return found;
}

static void load(side *loaded, const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) die(dlerror());
    *(void **)&loaded->private_bytes = symbol(library, "side_private_bytes");
    *(void **)&loaded->shared_bytes = symbol(library, "side_shared_bytes");
    *(void **)&loaded->make = symbol(library, "side_make");
    *(void **)&loaded->open = symbol(library, "side_open");
    *(void **)&loaded->trips = symbol(library, "side_trips");
}

/* One memory for all: two processors' way to a line depends on where it lies. */
static void make(int count, uint32_t slot_size) {
    for (int i = 0; i < count; i++) {
        uint64_t shared = sides[i].shared_bytes(slot_size), own = (sides[i].private_bytes() + 127) / 128 * 128;
        if (shared > SHARED_BYTES_MAX || own > PRIVATE_BYTES_MAX) die("a side needs more memory than there is");
    }
    if (both) return;
    both = mmap(NULL, sizeof *both, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (both == MAP_FAILED) die("no memory");
}

static void pin(int cpu) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) die("cannot pin to that processor");
}

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* A makes the rings anew once B has left those of the batch before; B waits for them. Partners: each other. */
static void meet(const side *at, uint32_t slot_size, uint32_t is_b, uint64_t number) {
    if (is_b) {
        while (__atomic_load_n(&both->made, __ATOMIC_ACQUIRE) != number) __builtin_ia32_pause();
    } else {
        while (__atomic_load_n(&both->left, __ATOMIC_ACQUIRE) != number - 1) __builtin_ia32_pause();
        memset(both->memory, 0, sizeof both->memory);
        at->make(both->memory, slot_size);
        __atomic_store_n(&both->made, number, __ATOMIC_RELEASE);
    }
    if (at->open(own, both->memory, slot_size, is_b) != 0) die("a ring cannot be opened");
}

static void batch(const side *at, uint32_t is_b, uint64_t trips, double *spent_ns) {
    if (at->trips(own, is_b, WARM_TRIPS) != 0) die("a torn or wrong message");
    double began_ns = now_ns();
    if (at->trips(own, is_b, trips) != 0) die("a torn or wrong message");
    *spent_ns = (now_ns() - began_ns) / (double)trips;
}

/* Both processes go through the sides in the same order. */
static void rounds_run(int count, uint32_t slot_size, uint32_t is_b, int rounds, uint64_t trips) {
    uint64_t number = 0;
    for (int round = 0; round < rounds; round++)
        for (int place = 0; place < count; place++) {
            int turn = round % 2 ? count - 1 - place : place;
            int which = (turn + round / 2) % count;
            meet(&sides[which], slot_size, is_b, ++number);
            batch(&sides[which], is_b, trips, &batch_ns[which][round]);
            if (is_b) __atomic_store_n(&both->left, number, __ATOMIC_RELEASE);
        }
}

static void slots_run(int count, uint32_t slot_size, const int *cpu, int rounds, uint64_t trips) {
    make(count, slot_size);
    both->made = both->left = 0;
    pid_t child = fork();
    if (child < 0) die("no process");
    uint32_t is_b = child == 0;
    if (is_b) prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(cpu[is_b]);
    rounds_run(count, slot_size, is_b, rounds, trips);
    if (is_b) _exit(0);
    int status;
    waitpid(child, &status, 0);
    if (status != 0) die("the other process failed");
    for (int i = 0; i < count; i++) {
        printf("{\"slot_size\": %u, \"side\": %d, \"ns\": [", slot_size, i);
        for (int round = 0; round < rounds; round++) printf("%s%.2f", round ? ", " : "", batch_ns[i][round]);
        printf("]}\n");
    }
    fflush(stdout);
}

int main(int words, char **word) {
    if (words < 6 || words > 5 + SIDES_MAX) die("usage: ring_turns CPU_A CPU_B ROUNDS TRIPS SIDE.so...");
    int cpu[2] = {atoi(word[1]), atoi(word[2])}, rounds = atoi(word[3]), count = words - 5;
    uint64_t trips = strtoull(word[4], NULL, 10);
    alarm(RUN_SECONDS_MAX); /* a process that died has its peer wait for ever */
    if (rounds < 1 || rounds > ROUNDS_MAX || !trips) die("out of range");
    for (int i = 0; i < count; i++) load(&sides[i], word[5 + i]);
    for (size_t i = 0; i < sizeof SLOT_SIZES / sizeof *SLOT_SIZES; i++) slots_run(count, SLOT_SIZES[i], cpu, rounds, trips);
    return 0;
}
