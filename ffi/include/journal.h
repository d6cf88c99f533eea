/* journal.h: the records of the journal, and what makes a torn or changed one known.
 *
 *   slot     | stamp: sequence + 1                 8 | event 120 |
 *   record   | sequence + 1, low half 4 | CRC-32C  4 | event 120 |
 *
 *   segment  | journal_head 4096 | record 128 | record 128 | ... | zeros, written ahead |
 *   chain    | journal_block 96, one for each 512 records | ... |
 *
 * The checksum covers the event and its whole sequence, so that a record of another place is as bad as a torn
 * one. A record is good or it is not there: the valid prefix of a segment ends before the first that is not.
 * CRC-32C: Castagnoli's polynomial, reflected 0x82f63b78 (RFC 3720, appendix B.4); with the processor's own
 * instruction where it has one, by table elsewhere, bit for bit the same.
 */
#pragma once
#include "layout.h"

#define JOURNAL_FORMAT 1
#define JOURNAL_HEAD_BYTES 4096
#define JOURNAL_RECORD_BYTES 128
#define JOURNAL_BLOCK_RECORDS 512
#define JOURNAL_SCHEMA_BYTES_MAX 3872

/* The first 4,096 bytes of a segment. */
typedef struct {
    uint64_t magic;           /* "HPJRNL01" in memory order */
    uint32_t format;          /* JOURNAL_FORMAT */
    uint32_t record_bytes;
    uint32_t block_records;   /* records of one entry of the chain */
    uint32_t schema_bytes;
    uint64_t run_epoch;
    uint64_t layout_hash;     /* of the build that wrote it */
    uint64_t first_sequence;  /* of its first record */
    uint64_t lost_before;     /* events between the segment before and this one that were overwritten unread */
    uint64_t created_time_ns; /* wall clock */
    char ring[32];            /* NUL-padded */
    char record_type[32];     /* NUL-padded: the struct's name in layout.h */
    uint8_t chain_before[32]; /* last chain value of the segment before; of the run, in the first */
    char schema[JOURNAL_SCHEMA_BYTES_MAX]; /* JSON: the fields of a record, with offsets and types */
    uint32_t reserved[15];
    uint32_t crc;             /* CRC-32C of all that stands before it */
} journal_head;

/* One block of records in the chain file of its segment. */
typedef struct {
    uint64_t first_sequence;
    uint32_t count;           /* JOURNAL_BLOCK_RECORDS, or fewer in the last block of a closed segment */
    uint32_t crc;             /* CRC-32C of the other 92 bytes */
    uint64_t first_time_ns;   /* publish time of its first and last record */
    uint64_t last_time_ns;
    uint8_t block_hash[32];   /* SHA-256 of its records */
    uint8_t chain_hash[32];   /* SHA-256 of the chain value before and of block_hash */
} journal_block;

enum journal_policy {
    JOURNAL_SYNC_NONE,     /* the system writes when it likes */
    JOURNAL_SYNC_INTERVAL, /* synced so often */
    JOURNAL_SYNC_BATCH     /* synced before the ring may forget it */
};

enum journal_space { JOURNAL_SPACE_ENOUGH, JOURNAL_SPACE_LOW, JOURNAL_SPACE_OUT };

/* The journal's counters, in its own page. */
enum journal_counter {
    JOURNAL_EVENTS,            /* written by this process */
    JOURNAL_BYTES,
    JOURNAL_LOST,              /* overwritten before they were read */
    JOURNAL_SYNCS,
    JOURNAL_SYNCED_TIME_NS,    /* gauge: what was written before this instant is on the disk; 0 = nothing yet */
    JOURNAL_SYNC_NS_LAST,      /* gauge: how long the last sync took */
    JOURNAL_SYNC_NS_MAX,       /* gauge */
    JOURNAL_POLICY,            /* gauge: enum journal_policy */
    JOURNAL_INTERVAL_NS,       /* gauge: between two syncs, as configured */
    JOURNAL_SEGMENTS,          /* begun */
    JOURNAL_SEGMENTS_LATE,     /* begun before they were written ahead: the journal had to wait */
    JOURNAL_SPACE,             /* gauge: enum journal_space */
    JOURNAL_FREE_BYTES,        /* gauge: of the disk */
    JOURNAL_RESUMED_EVENTS,    /* found in the folder by a journal that was started again */
    JOURNAL_COUNTERS
};

/* CRC-32C of `size` bytes, carried on from `crc`, 0 at first. */
uint32_t journal_crc32c(uint32_t crc, const void *bytes, uint64_t size);
/* The same by table: what every machine can do. */
uint32_t journal_crc32c_portable(uint32_t crc, const void *bytes, uint64_t size);
/* 1 when this processor's own instruction is used. */
int journal_crc32c_native(void);

/* Make records of `count` slots that lie one after the other, the first of sequence `first_sequence`. */
void journal_seal(void *slots, uint64_t first_sequence, uint64_t count);
/* How many of `count` records are good, from the first on without a break. */
uint64_t journal_valid(const void *records, uint64_t first_sequence, uint64_t count);
/* How many of `count` records are good, wherever they stand. */
uint64_t journal_count_valid(const void *records, uint64_t first_sequence, uint64_t count);
