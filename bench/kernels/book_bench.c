/* book_bench.c: how long does a message take from its ITCH bytes to the top of the book after it?
 *
 *   bytes in memory --> itch_normalise --> book_apply_batch --> norm events       one core, no ring
 *
 *   book_bench itch FILE [--repeat N] [--live N]             a recorded file, length-prefixed; the whole
 *                                                            file N times over, each time a fresh book
 *   book_bench synthetic [--messages N] [--instruments N] [--live N] [--seed S]
 *                                                            a seeded day of flow.h, made and applied a
 *                                                            million messages at a time; the making is
 *                                                            not timed
 *   both: [--core N]  [--batch N]  events given to the book at a time
 *
 * --live: the book has room for it; a synthetic day is drawn to it.
 * Prints one JSON line. `ns_per_message` is over all messages, `best` over the quickest repeat or
 * million. `checksum` covers ten levels a side of every instrument at the end; `verified` says that
 * it equals that of an independent account: the book the flow kept for itself, or the other repeats.
 *
 * Build: cc -O3 -Iffi/include -Iffi/src bench/kernels/book_bench.c ffi/src/{book,book_batch,flow,itch}.c
 */
#define _GNU_SOURCE
#include "book.h"
#include "flow.h"
#include "itch.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_MESSAGES 1000000u
#define CHUNK_BYTES ((uint64_t)CHUNK_MESSAGES * 64)
#define BATCH_MAX 1024u
#define CHECKED_LEVELS 10u
#define HUGE_PAGE ((uint64_t)2 << 20)

typedef struct {
    const char *file;
    uint64_t messages, seed;
    uint32_t repeat, instruments, live_orders, batch;
    int core;
} options;

typedef struct {
    uint64_t messages, refused, ignored;
} tally;

static void die(const char *what) {
    fprintf(stderr, "book_bench: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Zeroed, touched, in huge pages where the system gives them. */
static void *take_memory(uint64_t bytes) {
    bytes = (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    uint8_t *memory = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("no memory");
    memory = (uint8_t *)(((uintptr_t)memory + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    madvise(memory, bytes, MADV_HUGEPAGE);
    memset(memory, 0, bytes);
    return memory;
}

static book *make_book(uint32_t instruments, uint32_t orders_max) {
    book_config config = {.instruments = instruments, .orders_max = orders_max, .levels_max = orders_max};
    uint64_t bytes = book_bytes(&config);
    book *made = bytes ? book_init(take_memory(bytes), bytes, &config) : NULL;
    if (!made) die("book out of range");
    return made;
}

/* ---- the work that is timed ------------------------------------------------------------------ */

static inline uint32_t length_at(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static inline const uint8_t *after(const uint8_t *at) { return at + 2 + length_at(at); }

/* As many messages as a batch has, decoded into slots as a ring's would be, then applied. */
static const uint8_t *apply_batch(book *target, const itch_context *context, const uint8_t *at, const uint8_t *end,
                                  uint32_t batch, tally *total) {
    static norm_event slots[BATCH_MAX] __attribute__((aligned(CACHE_LINE_SIZE)));
    uint8_t statuses[BATCH_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < batch && at < end; i++, at = after(at)) {
        total->messages++;
        if (itch_normalise(context, at + 2, length_at(at), &slots[count]) == ITCH_OK)
            count++;
        else
            total->refused++;
    }
    book_apply_batch(target, slots, statuses, count);
    for (uint32_t i = 0; i < count; i++) {
        total->ignored += statuses[i] == BOOK_IGNORED;
        total->refused += statuses[i] > BOOK_IGNORED;
    }
    return at;
}

/* Not inlined: callgrind --toggle-collect=apply_timed counts the instructions of this and no other. */
static __attribute__((noinline)) uint64_t apply_timed(book *target, const itch_context *context, const uint8_t *from,
                                                      const uint8_t *end, uint32_t batch, tally *total) {
    uint64_t start_ns = now_ns();
    while (from < end) from = apply_batch(target, context, from, end, batch, total);
    return now_ns() - start_ns;
}

/* ---- verification ---------------------------------------------------------------------------- */

static uint64_t fold(uint64_t digest, uint64_t value) {
    digest = (digest ^ value) * 0x9e3779b97f4a7c15u;
    return digest ^ digest >> 29;
}

static uint64_t checksum(const book *checked, uint32_t instruments) {
    uint64_t digest = fold(fold(1, book_order_count(checked)), book_level_count(checked));
    for (uint32_t instrument = 0; instrument < instruments; instrument++)
        for (int side = SIDE_BUY; side <= SIDE_SELL; side++) {
            book_level levels[CHECKED_LEVELS];
            uint32_t count = book_depth(checked, instrument, side, levels, CHECKED_LEVELS);
            digest = fold(digest, count);
            for (uint32_t i = 0; i < count; i++) {
                digest = fold(digest, (uint64_t)levels[i].price_ticks);
                digest = fold(digest, (uint64_t)levels[i].quantity_lots);
                digest = fold(digest, levels[i].orders);
            }
        }
    return digest;
}

static void report(const char *bench, const options *chosen, const tally *total, uint64_t total_ns, double best_ns,
                   const book *applied, uint32_t instruments, uint64_t digest, int verified) {
    double each_ns = (double)total_ns / (double)total->messages;
    printf("{\"bench\": \"book_%s\", \"messages\": %lu, \"ns_per_message\": %.2f, \"messages_per_second\": %.0f, "
           "\"best_ns_per_message\": %.2f, \"best_messages_per_second\": %.0f, \"instruments\": %u, "
           "\"live_orders\": %u, \"live_levels\": %u, \"ignored\": %lu, \"refused\": %lu, \"batch\": %u, "
           "\"checksum\": \"%016lx\", \"verified\": %s}\n",
           bench, total->messages, each_ns, 1e9 / each_ns, best_ns, 1e9 / best_ns, instruments,
           book_order_count(applied), book_level_count(applied), total->ignored, total->refused, chosen->batch, digest,
           verified ? "true" : "false");
    if (!verified) exit(1);
}

/* ---- a recorded file -------------------------------------------------------------------------- */

/* Instruments by order of appearance; returns how many. Stops the bench at a file cut in a message. */
static uint32_t number_instruments(const uint8_t *bytes, uint64_t size, uint32_t *instrument) {
    uint32_t count = 0;
    const uint8_t *at = bytes, *end = bytes + size;
    memset(instrument, 0xff, INSTRUMENTS_MAX * sizeof *instrument); /* NO_INSTRUMENT */
    while (at < end) {
        if (end - at < 2 || (uint64_t)(end - at) < 2 + length_at(at)) die("file ends within a message");
        if (length_at(at) >= 3) {
            uint32_t locate = (uint32_t)at[3] << 8 | at[4];
            if (instrument[locate] == NO_INSTRUMENT) instrument[locate] = count++;
        }
        at = after(at);
    }
    return count;
}

static void bench_itch(const options *chosen) {
    int file = open(chosen->file, O_RDONLY);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) die("cannot open the file");
    uint64_t size = (uint64_t)info.st_size, done = 0;
    uint8_t *bytes = take_memory(size);
    while (done < size) {
        ssize_t got = read(file, bytes + done, size - done);
        if (got <= 0) die("cannot read the file");
        done += (uint64_t)got;
    }
    close(file);
    static uint32_t instrument[INSTRUMENTS_MAX];
    uint32_t instruments = number_instruments(bytes, size, instrument);
    itch_context context = {.instrument = instrument};
    book *target = make_book(instruments ? instruments : 1, chosen->live_orders);
    tally total = {0};
    uint64_t total_ns = 0, digest = 0;
    double best_ns = 1e18;
    int verified = 1;
    for (uint32_t i = 0; i < chosen->repeat; i++) {
        uint64_t before = total.messages;
        book_clear(target, NO_INSTRUMENT);
        uint64_t took_ns = apply_timed(target, &context, bytes, bytes + size, chosen->batch, &total);
        double each_ns = (double)took_ns / (double)(total.messages - before);
        if (each_ns < best_ns) best_ns = each_ns;
        total_ns += took_ns;
        uint64_t this_digest = checksum(target, instruments);
        if (i && this_digest != digest) verified = 0;
        digest = this_digest;
    }
    report("itch", chosen, &total, total_ns, best_ns, target, instruments, digest, verified);
}

/* ---- a synthetic day -------------------------------------------------------------------------- */

static flow *make_flow(const options *chosen) {
    flow_config config = {.seed = chosen->seed,
                          .start_ns = (uint64_t)34200 * 1000000000u,
                          .mean_gap_ns = 400,
                          .increment_ticks = 100,
                          .instruments = chosen->instruments,
                          .live_orders = chosen->live_orders,
                          .runs_market = 1};
    uint64_t bytes = flow_bytes(&config);
    flow *made = bytes ? flow_init(take_memory(bytes), bytes, &config) : NULL;
    if (!made) die("flow out of range");
    return made;
}

static uint64_t make_chunk(flow *source, uint8_t *bytes, uint64_t messages) {
    uint64_t size = 0;
    for (uint64_t i = 0; i < messages; i++) {
        norm_event event;
        flow_next(source, &event);
        uint32_t length = flow_encode(source, &event, bytes + size + 2, (uint32_t)(CHUNK_BYTES / CHUNK_MESSAGES) - 2);
        if (!length) die("an event has no message");
        bytes[size] = 0;
        bytes[size + 1] = (uint8_t)length;
        size += 2 + length;
    }
    return size;
}

static void bench_synthetic(const options *chosen) {
    static uint32_t instrument[INSTRUMENTS_MAX];
    for (uint32_t locate = 0; locate < INSTRUMENTS_MAX; locate++)
        instrument[locate] = locate && locate <= chosen->instruments ? locate - 1 : NO_INSTRUMENT;
    itch_context context = {.instrument = instrument};
    flow *source = make_flow(chosen);
    book *target = make_book(chosen->instruments, chosen->live_orders + chosen->live_orders / 2 + 1024);
    uint8_t *bytes = take_memory(CHUNK_BYTES);
    tally total = {0};
    uint64_t total_ns = 0;
    double best_ns = 1e18;
    while (total.messages < chosen->messages) {
        uint64_t left = chosen->messages - total.messages;
        uint64_t count = left < CHUNK_MESSAGES ? left : CHUNK_MESSAGES;
        uint64_t size = make_chunk(source, bytes, count);
        uint64_t took_ns = apply_timed(target, &context, bytes, bytes + size, chosen->batch, &total);
        double each_ns = (double)took_ns / (double)count;
        int full = book_order_count(target) > chosen->live_orders - chosen->live_orders / 16;
        if (full && each_ns < best_ns) best_ns = each_ns; /* a book that still fills is an easier one */
        total_ns += took_ns;
    }
    uint64_t digest = checksum(target, chosen->instruments);
    int verified = total.refused == 0 && digest == checksum(flow_book(source), chosen->instruments);
    if (best_ns > 1e17) best_ns = (double)total_ns / (double)total.messages;
    report("synthetic", chosen, &total, total_ns, best_ns, target, chosen->instruments, digest, verified);
}

/* ---- options ---------------------------------------------------------------------------------- */

static uint64_t number(const char *text) {
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (*text == 0 || *end) die("a number was expected");
    return value;
}

static void read_option(options *chosen, const char *name, const char *value) {
    if (!strcmp(name, "--messages")) chosen->messages = number(value);
    else if (!strcmp(name, "--seed")) chosen->seed = number(value);
    else if (!strcmp(name, "--repeat")) chosen->repeat = (uint32_t)number(value);
    else if (!strcmp(name, "--instruments")) chosen->instruments = (uint32_t)number(value);
    else if (!strcmp(name, "--live")) chosen->live_orders = (uint32_t)number(value);
    else if (!strcmp(name, "--batch")) chosen->batch = (uint32_t)number(value);
    else if (!strcmp(name, "--core")) chosen->core = (int)number(value);
    else die("unknown option");
}

int main(int count, char **words) {
    options chosen = {.messages = 10000000, .seed = 1, .repeat = 20, .instruments = 8000, .live_orders = 0,
                      .batch = 64, .core = -1};
    int itch = count >= 3 && !strcmp(words[1], "itch");
    if (!itch && (count < 2 || strcmp(words[1], "synthetic") != 0)) die("usage: itch FILE | synthetic, then options");
    if (itch) chosen.file = words[2];
    for (int i = itch ? 3 : 2; i < count; i += 2) {
        if (i + 1 == count) die("an option lacks its value");
        read_option(&chosen, words[i], words[i + 1]);
    }
    if (!chosen.repeat || !chosen.messages) die("nothing to do");
    if (!chosen.batch || chosen.batch > BATCH_MAX) die("a batch is 1 to 1024 events");
    if (chosen.core >= 0) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET((size_t)chosen.core, &cores);
        if (sched_setaffinity(0, sizeof cores, &cores) != 0) die("cannot pin to that core");
    }
    if (!chosen.live_orders) chosen.live_orders = itch ? 65536 : 1000000;
    if (itch)
        bench_itch(&chosen);
    else
        bench_synthetic(&chosen);
    return 0;
}
