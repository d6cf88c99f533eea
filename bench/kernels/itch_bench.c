/* itch_bench.c: what does it cost to turn one ITCH message into its canonical event?
 *
 *   file in memory --> [length, message] --> itch_normalise --> one norm_event, summed
 *
 * The messages come in recorded order, so that the branch predictor meets the real mix of types. The
 * best of ROUNDS passes is reported; the checksum is that of one pass and names the work done.
 *
 *   usage: itch_bench FILE [ROUNDS]
 *   build: gcc -std=gnu11 -O3 -ffp-contract=off -Iffi/include -Iffi/src bench/kernels/itch_bench.c ffi/src/itch.c
 */
#include "itch.h"
#include "wire_inline.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint32_t instrument[INSTRUMENTS_MAX];

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint8_t *read_file(const char *path, uint64_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) return NULL;
    long length = ftell(file);
    rewind(file);
    uint8_t *bytes = length > 0 ? malloc((size_t)length) : NULL;
    *size = bytes ? fread(bytes, 1, (size_t)length, file) : 0;
    (void)fclose(file);
    return bytes;
}

/* One pass over the file; returns how many messages were understood. */
static uint64_t pass(const itch_context *context, const uint8_t *bytes, uint64_t size, uint64_t *checksum) {
    uint64_t messages = 0, at = 0;
    norm_event event = {0};
    while (size - at >= 2) {
        uint32_t length = wire_load16(bytes + at);
        if (size - at - 2 < length) break;
        if (itch_normalise(context, bytes + at + 2, length, &event) == ITCH_OK) {
            *checksum += event.order_ref ^ event.reference ^ (uint64_t)event.price_ticks ^
                         (uint64_t)event.quantity_lots ^ event.header.origin_time_ns ^ event.header.type;
            messages++;
        }
        at += 2 + length;
    }
    return messages;
}

int main(int argc, char **argv) {
    uint64_t size = 0, messages = 0, checksum = 0, best_ns = UINT64_MAX;
    int rounds = argc > 2 ? atoi(argv[2]) : 20;
    uint8_t *bytes = argc > 1 ? read_file(argv[1], &size) : NULL;
    if (!bytes || rounds < 1) {
        fprintf(stderr, "usage: %s FILE [ROUNDS]\n", argv[0]);
        return 2;
    }
    const itch_context context = {.instrument = instrument, .midnight_ns = 0};
    for (int round = 0; round < rounds; round++) {
        checksum = 0;
        uint64_t began_ns = now_ns();
        messages = pass(&context, bytes, size, &checksum);
        uint64_t took_ns = now_ns() - began_ns;
        if (took_ns < best_ns) best_ns = took_ns;
    }
    printf("{\"bench\": \"itch_normalise\", \"messages\": %llu, \"ns_per_message\": %.3f, \"checksum\": \"%016llx\"}\n",
           (unsigned long long)messages, messages ? (double)best_ns / (double)messages : 0.0,
           (unsigned long long)checksum);
    free(bytes);
    return messages ? 0 : 1;
}
