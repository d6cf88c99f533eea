/* machine_costs.c: what this processor charges for the things that callgrind counts.
 *
 *   cycle_ns     a chain of additions, each of which waits for the one before
 *   l2_ns        a line that the first-level cache has not: a chase through BYTES1 in an order without pattern
 *   beyond_ns    a line that the second-level cache has not either: the same through BYTES2
 *   branch_ns    a branch that the predictor took for the other: random ones beside the same all alike
 *
 * Each is the best of ROUNDS, less what the loop costs without it. usage: machine_costs BYTES1 BYTES2
 * Prints one line of JSON. Build: gcc -O2.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define ROUNDS 7
#define STEPS 200000
#define LINE 64

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static double cycle(void) {
    uint64_t value = 1;
    double began = now_ns();
    for (int i = 0; i < STEPS; i++)
        __asm__ volatile("add $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\t"
                         "add $1, %0\n\tadd $1, %0\n\tadd $1, %0\n\tadd $1, %0" : "+r"(value));
    return (now_ns() - began) / (8.0 * STEPS);
}

/* Sattolo's shuffle: one ring through all lines. */
static void lay_ring(char *memory, uint64_t lines) {
    uint32_t *order = malloc(lines * sizeof *order);
    uint64_t state = 88172645463325252u;
    if (!order) exit(1);
    for (uint64_t i = 0; i < lines; i++) order[i] = (uint32_t)i;
    for (uint64_t i = lines - 1; i > 0; i--) {
        uint64_t j = next_random(&state) % i;
        uint32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (uint64_t i = 0; i < lines; i++) *(char **)(memory + (uint64_t)LINE * order[i]) = memory + (uint64_t)LINE * order[(i + 1) % lines];
    free(order);
}

static double chase(char *memory, uint64_t steps) {
    char *at = memory;
    double began = now_ns();
    for (uint64_t i = 0; i < steps; i++) {
        at = *(char *volatile *)at;
    }
    double spent = now_ns() - began;
    if (!at) exit(1);
    return spent / (double)steps;
}

static double branches(const uint8_t *taken, uint64_t count) {
    uint64_t sum = 0;
    double began = now_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (taken[i]) __asm__ volatile("add $1, %0" : "+r"(sum));
        else __asm__ volatile("add $3, %0" : "+r"(sum));
    }
    return (now_ns() - began) / (double)count;
}

static double least(double so_far, double found) { return found < so_far ? found : so_far; }

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    uint64_t sizes[2] = {strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10)};
    double each = 1e9, far[2] = {1e9, 1e9}, alike = 1e9, mixed = 1e9;
    static uint8_t same[STEPS], random[STEPS];
    uint64_t state = 2463534242u;
    for (int i = 0; i < STEPS; i++) {
        same[i] = 1;
        random[i] = next_random(&state) >> 33 & 1;
    }
    for (int i = 0; i < 2; i++) {
        char *memory = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || sizes[i] < LINE * 2) return 1;
        madvise(memory, sizes[i], MADV_HUGEPAGE);
        lay_ring(memory, sizes[i] / LINE);
        for (int round = 0; round < ROUNDS; round++) far[i] = least(far[i], chase(memory, STEPS));
        munmap(memory, sizes[i]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        each = least(each, cycle());
        alike = least(alike, branches(same, STEPS));
        mixed = least(mixed, branches(random, STEPS));
    }
    printf("{\"cycle_ns\": %.4f, \"l2_ns\": %.3f, \"beyond_ns\": %.3f, \"branch_ns\": %.3f}\n", each, far[0], far[1],
           2 * (mixed - alike));
    return 0;
}
