/* intent.h: the intent file: every order frame is stored here before it may be sent.
 *
 *   | segment_header 128 | intent_page 64 | ... | records from byte 4096: intent_record 192 each |
 *
 * A file on disk, mapped shared and prefaulted, so that a store survives the death of the process that
 * made it. After another boot the venue's own stream is the truth, unless the store is durable: then records
 * are also on disk before their frames leave (intent_sync), each with a checksum. hotpath/intents.py
 * makes the file; the gateway alone writes it. A record's stamp (index + 1) is stored last, with release: a
 * record without its stamp was never sent, one with it may have been and is never sent again.
 *
 * Invariants: records are consecutive from 0; page.count and page.next_user_ref may trail the records
 * after a death and are derived from them again; a user_ref is given out once.
 */
#pragma once
#include "layout.h"

enum intent_status {
    INTENT_OK,
    INTENT_BAD_MAGIC,
    INTENT_BAD_KIND,
    INTENT_BAD_SIZE,  /* record size or capacity do not fit the mapping */
    INTENT_BAD_RECORD /* a stored record contradicts the page */
};

/* Private to the gateway's process. */
typedef struct {
    intent_page *page;
    intent_record *records;
    uint64_t capacity;
    uint64_t next; /* index of the next record */
    uint64_t synced; /* records below are on disk; durable stores only */
    int sync_fd;     /* of the file, opened O_DSYNC; -1: the store is not durable */
    int page_fd;     /* of the file, not synced: for what a loss may forget */
} intent_store;

/* Bytes of a file of so many records; 0 when out of range. */
uint64_t intent_bytes(uint64_t capacity);
/* Attach to the mapped file and take up after its last stamped record. */
int intent_attach(intent_store *store, void *segment, uint64_t bytes);
/* The record to fill, its stamp 0, or NULL when the file is full. Claiming again gives the same one. */
intent_record *intent_claim(intent_store *store);
/* Store the stamp: from here on the record's frame may have been sent. */
void intent_commit(intent_store *store);
/* The venue has answered for the record. */
void intent_settle(intent_store *store, uint64_t index);
/* From here on records are kept in `records` (a private copy of the file's) and reach the file by intent_sync
 * alone: a store into the shared mapping would cost a page fault after each sync, and sync pages beside it. */
void intent_make_durable(intent_store *store, intent_record *records, int sync_fd, int page_fd);
/* Write what was committed since the last time through to the disk, in one system call. 0 when the disk failed:
 * then what reached it is not known, and it is never tried again. */
int intent_sync(intent_store *store);
/* Digest of a record as its checksum is defined. */
uint64_t intent_checksum(const intent_record *record);
/* The same from outside, over the mapped file: whoever has it must not send any more. */
uint64_t hotpath_fence(void *segment);
/* Take the venue session: the new fencing epoch. A gateway whose epoch is no longer the page's has
 * been replaced by another and must not send. */
uint64_t intent_fence(intent_store *store);
