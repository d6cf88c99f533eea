/* intent.c: the intent file. See include/intent.h.
 *
 * SYNC POINT I1: intent_commit stores record.stamp (release) <-> intent_attach of the next process, and
 * hotpath/intents.py, load it (acquire). Without the release a killed gateway could leave a stamp over a
 * record whose frame was not yet written.
 */
#include "intent.h"
#include "digest.h"
#include <string.h>
#include <unistd.h>

#define RECORDS_MAX ((uint64_t)1 << 28)

uint64_t intent_bytes(uint64_t capacity) {
    if (capacity == 0 || capacity > RECORDS_MAX) return 0;
    return INTENT_RECORDS_OFFSET + capacity * sizeof(intent_record);
}

static int check(const segment_header *header, uint64_t bytes) {
    static const char magic[8] = {'H', 'O', 'T', 'P', 'A', 'T', 'H', '1'};
    if (bytes < INTENT_RECORDS_OFFSET) return INTENT_BAD_SIZE;
    if (memcmp(&header->magic, magic, sizeof magic) != 0) return INTENT_BAD_MAGIC;
    if (header->kind != SEGMENT_INTENTS) return INTENT_BAD_KIND;
    if (header->slot_size != sizeof(intent_record)) return INTENT_BAD_SIZE;
    uint64_t needed = intent_bytes(header->capacity);
    return needed && needed <= bytes ? INTENT_OK : INTENT_BAD_SIZE;
}

/* Records are consecutive; an order's user_ref rises with every record that gave one out. */
static int scan(intent_store *store) {
    uint64_t last_ref = 0;
    while (store->next < store->capacity) {
        const intent_record *record = &store->records[store->next];
        uint64_t stamp = __atomic_load_n(&record->stamp, __ATOMIC_ACQUIRE); /* I1 */
        if (stamp != store->next + 1) break;
        if (record->type != CMD_CANCEL) {
            if (record->user_ref <= last_ref) return INTENT_BAD_RECORD;
            last_ref = record->user_ref;
        }
        store->next++;
    }
    if (store->next < store->page->count) return INTENT_BAD_RECORD;
    store->page->count = store->next;
    if (store->page->next_user_ref <= last_ref) store->page->next_user_ref = last_ref + 1;
    return INTENT_OK;
}

int intent_attach(intent_store *store, void *segment, uint64_t bytes) {
    int status = check(segment, bytes);
    if (status != INTENT_OK) return status;
    memset(store, 0, sizeof *store);
    store->page = (intent_page *)((uint8_t *)segment + SEGMENT_HEADER_SIZE);
    store->records = (intent_record *)((uint8_t *)segment + INTENT_RECORDS_OFFSET);
    store->capacity = ((const segment_header *)segment)->capacity;
    store->sync_fd = -1;
    return scan(store);
}

intent_record *intent_claim(intent_store *store) {
    return store->next < store->capacity ? &store->records[store->next] : NULL;
}

void intent_commit(intent_store *store) {
    intent_record *record = &store->records[store->next++];
    if (record->type != CMD_CANCEL) store->page->next_user_ref = (uint64_t)record->user_ref + 1;
    if (store->sync_fd >= 0) { /* private until it is synced */
        record->stamp = store->next;
        record->checksum = intent_checksum(record);
        return;
    }
    __atomic_store_n(&record->stamp, store->next, __ATOMIC_RELEASE); /* I1 */
    store->page->count = store->next;
}

/* Not worth a sync: after a loss the venue is asked again. */
static void state_write(const intent_store *store, uint64_t index) {
    const uint8_t *state = &store->records[index].state;
    uint64_t offset = INTENT_RECORDS_OFFSET + (uint64_t)(state - (const uint8_t *)store->records);
    if (index < store->synced && pwrite(store->page_fd, state, 1, (off_t)offset) != 1) return;
}

void intent_settle(intent_store *store, uint64_t index) {
    if (index >= store->next || store->records[index].state == INTENT_SETTLED) return;
    store->records[index].state = INTENT_SETTLED;
    if (store->sync_fd >= 0) state_write(store, index);
}

uint64_t intent_checksum(const intent_record *record) {
    intent_record plain = *record;
    plain.checksum = 0;
    plain.state = 0;
    plain.sent_time_ns = 0;
    return digest_bytes(0, &plain, sizeof plain);
}

void intent_make_durable(intent_store *store, intent_record *records, int sync_fd, int page_fd) {
    store->records = records;
    store->synced = store->next;
    store->sync_fd = sync_fd;
    store->page_fd = page_fd;
}

int intent_sync(intent_store *store) {
    if (store->sync_fd < 0 || store->synced == store->next) return 1;
    if (store->page->promise == INTENT_PROMISE_BROKEN) return 0;
    uint64_t bytes = (store->next - store->synced) * sizeof(intent_record);
    uint64_t offset = INTENT_RECORDS_OFFSET + store->synced * sizeof(intent_record);
    ssize_t written = pwrite(store->sync_fd, &store->records[store->synced], bytes, (off_t)offset);
    if (written != (ssize_t)bytes) {
        store->page->promise = INTENT_PROMISE_BROKEN;
        return 0;
    }
    store->synced = store->next;
    store->page->count = store->next;
    return 1;
}

uint64_t intent_fence(intent_store *store) {
    return __atomic_add_fetch(&store->page->fencing_epoch, 1, __ATOMIC_ACQ_REL);
}

/* Found by name in the shared object, as hotpath_kill is. */
__attribute__((visibility("default"))) uint64_t hotpath_fence(void *segment) {
    intent_page *page = (intent_page *)((uint8_t *)segment + SEGMENT_HEADER_SIZE);
    return __atomic_add_fetch(&page->fencing_epoch, 1, __ATOMIC_ACQ_REL);
}
