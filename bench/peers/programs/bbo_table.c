/* bbo_table.c: an ITCH file to a table of its best bids and offers, as research packages make one.
 *
 *   file --read--> itch_file_index --> itch_normalise --> book_apply_batch --> a row where FLAG_TOP is set
 *
 *   bbo_table FILE ROUNDS TARGET ORDERS_MAX
 *
 * Each round opens the file anew and makes the whole table; the quickest round is reported. The rows of the last
 * go to TARGET, untimed: the reader of them (bench/peers/books.py) holds them to another package's.
 */
#define _GNU_SOURCE
#include "book.h"
#include "itch.h"
#include "itch_file.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64u
#define LOCATES 65536u
#define MESSAGE_BYTES_MIN 14u /* with its length */

typedef struct {
    uint64_t time_ns, sequence, locate;
    int64_t bid_price_ticks, bid_quantity_lots, ask_price_ticks, ask_quantity_lots;
} bbo_row;

static uint32_t instrument[LOCATES];
static uint64_t offset[BATCH];

static void die(const char *what) {
    fprintf(stderr, "bbo_table: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void *take_memory(uint64_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) die("no memory");
    return memory;
}

static uint64_t file_size(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) die("cannot find the file");
    return (uint64_t)info.st_size;
}

static void read_file(const char *path, uint8_t *bytes, uint64_t size) {
    int file = open(path, O_RDONLY);
    if (file < 0) die("cannot open the file");
    for (uint64_t done = 0; done < size;) {
        ssize_t got = read(file, bytes + done, size - done);
        if (got <= 0) die("cannot read the file");
        done += (uint64_t)got;
    }
    close(file);
}

static inline uint32_t length_before(const uint8_t *message) { return (uint32_t)message[-2] << 8 | message[-1]; }

/* The rows of one batch of messages, whose first has number `sequence`; returns how many. */
static uint64_t add_rows(book *applied, const itch_context *context, const uint8_t *at, uint64_t count, uint64_t sequence,
                         bbo_row *row) {
    static norm_event event[BATCH] __attribute__((aligned(CACHE_LINE_SIZE)));
    uint64_t number[BATCH], rows = 0;
    uint8_t status[BATCH];
    uint32_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *message = at + offset[i];
        if (itch_normalise(context, message, length_before(message), &event[kept]) == ITCH_OK) number[kept++] = sequence + i;
    }
    book_apply_batch(applied, event, status, kept);
    for (uint32_t i = 0; i < kept; i++) {
        if (!(event[i].header.flags & FLAG_TOP)) continue;
        row[rows++] = (bbo_row){event[i].header.origin_time_ns, number[i], event[i].header.instrument,
                                event[i].bid_price_ticks, event[i].bid_quantity_lots, event[i].ask_price_ticks,
                                event[i].ask_quantity_lots};
    }
    return rows;
}

static uint64_t make_table(book *applied, const uint8_t *bytes, uint64_t size, bbo_row *row, uint64_t *messages) {
    itch_context context = {.instrument = instrument};
    uint64_t rows = 0, sequence = 1, used = 0, consumed;
    for (uint64_t count; (count = itch_file_index(bytes + used, size - used, offset, BATCH, &consumed)) != 0; used += consumed) {
        rows += add_rows(applied, &context, bytes + used, count, sequence, row + rows);
        sequence += count;
    }
    *messages = sequence - 1;
    return rows;
}

int main(int words, char **word) {
    if (words != 5) die("usage: bbo_table FILE ROUNDS TARGET ORDERS_MAX");
    uint64_t size = file_size(word[1]), rows = 0, messages = 0, best_ns = UINT64_MAX;
    uint32_t orders = (uint32_t)strtoul(word[4], NULL, 10);
    book_config config = {.instruments = LOCATES, .orders_max = orders, .levels_max = orders};
    uint64_t memory = book_bytes(&config);
    book *applied = memory ? book_init(take_memory(memory), memory, &config) : NULL;
    if (!applied) die("book out of range");
    for (uint32_t locate = 0; locate < LOCATES; locate++) instrument[locate] = locate;
    uint8_t *bytes = take_memory(size);
    bbo_row *row = take_memory((size / MESSAGE_BYTES_MIN + BATCH) * sizeof *row);
    for (int round = 0; round < atoi(word[2]); round++) {
        book_clear(applied, NO_INSTRUMENT);
        uint64_t start_ns = now_ns();
        read_file(word[1], bytes, size);
        rows = make_table(applied, bytes, size, row, &messages);
        uint64_t took_ns = now_ns() - start_ns;
        if (took_ns < best_ns) best_ns = took_ns;
    }
    FILE *target = fopen(word[3], "wb");
    if (!target || fwrite(row, sizeof *row, rows, target) != rows || fclose(target) != 0) die("cannot write the rows");
    printf("{\"messages\": %lu, \"rows\": %lu, \"seconds\": %.9f}\n", messages, rows, (double)best_ns / 1e9);
    return 0;
}
