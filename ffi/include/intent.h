/* intent.h: the intent file: every order frame is stored here before it may be sent.
 *
 *   | segment_header 128 | intent_page 64 | ... | records from byte 4096: intent_record 192 each |
 *
 * A file on disk, mapped shared and prefaulted, so that a store survives the death of the process that
 * made it (not of the machine: after another boot the venue's own stream is the truth). hotpath/intents.py
 * makes it; the gateway alone writes it. A record's stamp (index + 1) is stored last, with release: a
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
/* Take the venue session: the new fencing epoch. A gateway whose epoch is no longer the page's has
 * been replaced by another and must not send. */
uint64_t intent_fence(intent_store *store);
