/* journal.c: checksums of journal records. See include/journal.h. */
#include "journal.h"
#include <stddef.h>
#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

_Static_assert(sizeof(journal_head) == JOURNAL_HEAD_BYTES, "records begin on a page of their own");
_Static_assert(offsetof(journal_head, crc) == JOURNAL_HEAD_BYTES - 4, "the checksum covers all before it");
_Static_assert(sizeof(journal_block) == 96, "entries lie close");
_Static_assert(sizeof(norm_event) == JOURNAL_RECORD_BYTES, "a record is a slot");
_Static_assert((int)JOURNAL_COUNTERS <= COUNTERS_MAX, "counters fit their page");

#define POLYNOMIAL 0x82f63b78u
#define EVENT_OFFSET 8 /* of what a record's checksum covers */

/* ---- by table: eight bytes a step, one table for each of their places ------------------------------- */

static uint32_t table[8][256];

__attribute__((constructor)) static void fill_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int place = 1; place < 8; place++) {
            uint32_t before = table[place - 1][byte];
            table[place][byte] = before >> 8 ^ table[0][before & 0xff];
        }
}

static uint32_t step8_portable(uint32_t crc, uint64_t word) {
    word ^= crc;
    return table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^ table[5][word >> 16 & 0xff] ^
           table[4][word >> 24 & 0xff] ^ table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff] ^
           table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
}

uint32_t journal_crc32c_portable(uint32_t crc, const void *bytes, uint64_t size) {
    const uint8_t *source = bytes;
    crc = ~crc;
    for (; size >= 8; size -= 8, source += 8) {
        uint64_t word;
        memcpy(&word, source, 8);
        crc = step8_portable(crc, word);
    }
    for (; size; size--) crc = crc >> 8 ^ table[0][(crc ^ *source++) & 0xff];
    return ~crc;
}

static uint32_t record_crc_portable(const uint8_t *record, uint64_t sequence) {
    uint32_t crc = ~0u;
    for (uint32_t at = EVENT_OFFSET; at < JOURNAL_RECORD_BYTES; at += 8) {
        uint64_t word;
        memcpy(&word, record + at, 8);
        crc = step8_portable(crc, word);
    }
    return ~step8_portable(crc, sequence);
}

/* ---- by the processor's own instruction ------------------------------------------------------------- */

#if defined(__x86_64__)
#define NATIVE __attribute__((target("sse4.2")))

NATIVE static uint32_t crc32c_native(uint32_t crc, const void *bytes, uint64_t size) {
    const uint8_t *source = bytes;
    uint64_t wide = ~crc;
    for (; size >= 8; size -= 8, source += 8) {
        uint64_t word;
        memcpy(&word, source, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; size; size--) crc = _mm_crc32_u8(crc, *source++);
    return ~crc;
}

/* Four records side by side: the instruction takes three cycles and a new one may begin in each. */
NATIVE static void record_crcs_native(const uint8_t *record, uint64_t sequence, uint32_t crc[4]) {
    uint64_t wide[4] = {~0u, ~0u, ~0u, ~0u};
    for (uint32_t at = EVENT_OFFSET; at < JOURNAL_RECORD_BYTES; at += 8)
        for (uint32_t i = 0; i < 4; i++) {
            uint64_t word;
            memcpy(&word, record + i * JOURNAL_RECORD_BYTES + at, 8);
            wide[i] = _mm_crc32_u64(wide[i], word);
        }
    for (uint32_t i = 0; i < 4; i++) crc[i] = ~(uint32_t)_mm_crc32_u64(wide[i], sequence + i);
}

int journal_crc32c_native(void) { return __builtin_cpu_supports("sse4.2") != 0; }
#else
int journal_crc32c_native(void) { return 0; }
#endif

uint32_t journal_crc32c(uint32_t crc, const void *bytes, uint64_t size) {
#if defined(__x86_64__)
    if (journal_crc32c_native()) return crc32c_native(crc, bytes, size);
#endif
    return journal_crc32c_portable(crc, bytes, size);
}

/* ---- records ---------------------------------------------------------------------------------------- */

/* Checksums of up to four records, the first of `sequence`. */
static void record_crcs(const uint8_t *record, uint64_t sequence, uint32_t count, uint32_t crc[4]) {
#if defined(__x86_64__)
    if (count == 4 && journal_crc32c_native()) {
        record_crcs_native(record, sequence, crc);
        return;
    }
#endif
    for (uint32_t i = 0; i < count; i++) crc[i] = record_crc_portable(record + i * JOURNAL_RECORD_BYTES, sequence + i);
}

static uint32_t batch_of(uint64_t left) { return left < 4 ? (uint32_t)left : 4; }

static uint64_t mark_of(uint64_t sequence, uint32_t crc) { return (uint64_t)crc << 32 | (uint32_t)(sequence + 1); }

void journal_seal(void *slots, uint64_t first_sequence, uint64_t count) {
    uint8_t *record = slots;
    for (uint64_t done = 0; done < count; done += 4) {
        uint32_t crc[4], batch = batch_of(count - done);
        record_crcs(record, first_sequence + done, batch, crc);
        for (uint32_t i = 0; i < batch; i++, record += JOURNAL_RECORD_BYTES) {
            uint64_t mark = mark_of(first_sequence + done + i, crc[i]);
            memcpy(record, &mark, sizeof mark);
        }
    }
}

/* Good records among `count`; only those before the first bad one when `until_bad`. */
static uint64_t good_records(const uint8_t *record, uint64_t first_sequence, uint64_t count, int until_bad) {
    uint64_t good = 0;
    for (uint64_t done = 0; done < count; done += 4) {
        uint32_t crc[4], batch = batch_of(count - done);
        record_crcs(record, first_sequence + done, batch, crc);
        for (uint32_t i = 0; i < batch; i++, record += JOURNAL_RECORD_BYTES) {
            uint64_t mark;
            memcpy(&mark, record, sizeof mark);
            if (mark == mark_of(first_sequence + done + i, crc[i]))
                good++;
            else if (until_bad)
                return good;
        }
    }
    return good;
}

uint64_t journal_valid(const void *records, uint64_t first_sequence, uint64_t count) {
    return good_records(records, first_sequence, count, 1);
}

uint64_t journal_count_valid(const void *records, uint64_t first_sequence, uint64_t count) {
    return good_records(records, first_sequence, count, 0);
}
