/* flow_file.c: a seeded day of flow.h as a length-prefixed ITCH 5.0 file, for benches that replay one.
 *
 *   flow_file TARGET MESSAGES INSTRUMENTS LIVE_ORDERS SEED
 *
 * The same arguments give the same bytes on every machine. Prints how many bytes were written.
 */
#include "flow.h"
#include "itch.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MESSAGE_BYTES_MAX 64

static void die(const char *what) {
    fprintf(stderr, "flow_file: %s\n", what);
    exit(1);
}

static flow *make_flow(uint32_t instruments, uint32_t live_orders, uint64_t seed) {
    flow_config config = {.seed = seed,
                          .start_ns = (uint64_t)34200 * 1000000000u,
                          .mean_gap_ns = 10000,
                          .increment_ticks = 100,
                          .instruments = instruments,
                          .live_orders = live_orders,
                          .runs_market = 1};
    uint64_t bytes = flow_bytes(&config);
    if (!bytes) die("flow out of range");
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    flow *made = memory == MAP_FAILED ? NULL : flow_init(memory, bytes, &config);
    if (!made) die("no memory for the flow");
    return made;
}

int main(int count, char **words) {
    if (count != 6) die("usage: flow_file TARGET MESSAGES INSTRUMENTS LIVE_ORDERS SEED");
    uint64_t messages = strtoull(words[2], NULL, 10), written = 0;
    flow *source = make_flow((uint32_t)strtoul(words[3], NULL, 10), (uint32_t)strtoul(words[4], NULL, 10),
                             strtoull(words[5], NULL, 10));
    FILE *target = fopen(words[1], "wb");
    if (!target) die("cannot write the target");
    for (uint64_t i = 0; i < messages; i++) {
        norm_event event;
        uint8_t bytes[2 + MESSAGE_BYTES_MAX];
        flow_next(source, &event);
        uint32_t length = flow_encode(source, &event, bytes + 2, MESSAGE_BYTES_MAX);
        if (!length) die("an event has no message");
        bytes[0] = 0;
        bytes[1] = (uint8_t)length;
        if (fwrite(bytes, 2 + length, 1, target) != 1) die("the target took less than it was given");
        written += 2 + length;
    }
    if (fclose(target) != 0) die("the target could not be closed");
    printf("%lu\n", written);
    return 0;
}
