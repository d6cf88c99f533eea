/* journal_step.c: a journal is killed after each single instruction of making events records: taken from the ring, sealed,
 * written to the file, and only then released.
 *
 *   for n in 0, s, 2s, ...:   two events written, three more in the ring -> n instructions -> SIGKILL -> checks -> successor
 *
 * The order of the calls is that of hotpath/journal/process.py (RingLog.drain, release) and writer.py (append). What was
 * released is in the file, what is valid in the file is what was published, and a successor goes on behind it.
 *
 * usage: journal_step [stride [offset]]. Prints how many states were seen.
 */
#include "step_harness.h"
#include "journal.h"
#include <sys/mman.h>

enum { CAPACITY = 8, WRITTEN = 2, PUBLISHED = 5, MORE = 2, BATCH = 8, FILE_RECORDS = 16 };

static region shared;
static int file;

static void publish(ring_writer *writer) {
    void *slot = ring_claim_inline(writer);
    REQUIRE(slot);
    fill(slot, writer->next);
    ring_commit_inline(writer);
}

static ring_writer attach_writer(void) {
    ring_writer writer;
    REQUIRE(ring_writer_attach(&writer, shared.ring) == RING_OK);
    REQUIRE(ring_writer_gate(&writer, shared.cursor[0]) == RING_OK);
    return writer;
}

static uint64_t records(uint8_t *target) {
    REQUIRE(pread(file, target, FILE_RECORDS * JOURNAL_RECORD_BYTES, 0) == FILE_RECORDS * JOURNAL_RECORD_BYTES);
    return journal_valid(target, 0, FILE_RECORDS);
}

/* A journal that has just started: behind the last good record. */
static ring_reader attach_reader(void) {
    static uint8_t held[FILE_RECORDS * JOURNAL_RECORD_BYTES];
    ring_reader reader;
    REQUIRE(ring_reader_attach(&reader, shared.ring, shared.cursor[0], CURSOR_GATING) == RING_OK);
    REQUIRE(ring_resume(&reader, records(held)));
    return reader;
}

static void write_down(ring_reader *reader) {
    static uint8_t batch[BATCH * JOURNAL_RECORD_BYTES];
    uint64_t lost = 0, count = ring_take(reader, batch, BATCH, &lost);
    uint64_t first = reader->next - count;
    journal_seal(batch, first, count);
    ssize_t size = (ssize_t)(count * JOURNAL_RECORD_BYTES);
    REQUIRE(pwrite(file, batch, (size_t)size, (off_t)(first * JOURNAL_RECORD_BYTES)) == size);
    ring_release(reader);
}

static void act(const void *unused) {
    (void)unused;
    ring_reader reader = attach_reader();
    begin();
    write_down(&reader);
    end();
}

static void prepare(void) {
    shared = region_make(CAPACITY);
    inside = &shared.sums->inside;
    REQUIRE(ftruncate(file, 0) == 0 && ftruncate(file, FILE_RECORDS * JOURNAL_RECORD_BYTES) == 0);
    ring_writer writer = attach_writer();
    for (int i = 0; i < WRITTEN; i++) publish(&writer);
    ring_reader reader = attach_reader();
    write_down(&reader);
    for (int i = WRITTEN; i < PUBLISHED; i++) publish(&writer);
}

static uint64_t released(void) { return ((const ring_cursor *)segment_body(shared.cursor[0]))->position; }

static void check(uint64_t published) {
    static uint8_t held[FILE_RECORDS * JOURNAL_RECORD_BYTES];
    uint64_t valid = records(held);
    REQUIRE(valid >= released() && valid <= published);
    for (uint64_t i = 0; i < valid; i++) REQUIRE(whole(held + i * JOURNAL_RECORD_BYTES, i));
}

static void succeed(void) {
    check(PUBLISHED);
    ring_writer writer = attach_writer();
    for (int i = 0; i < MORE; i++) publish(&writer);
    ring_reader reader = attach_reader();
    write_down(&reader);
    REQUIRE(released() == PUBLISHED + MORE);
    check(PUBLISHED + MORE);
}

int main(int count, char **argument) {
    REQUIRE(count <= 3);
    uint64_t stride = count > 1 ? strtoull(argument[1], NULL, 10) : 1, offset = count > 2 ? strtoull(argument[2], NULL, 10) : 0;
    REQUIRE(stride);
    file = memfd_create("records", 0);
    REQUIRE(file >= 0);
    uint64_t states = 0, effective = 0;
    int more = 1;
    for (uint64_t at = offset % stride; more; at += stride, states++) {
        REQUIRE(at < STEPS_MAX);
        prepare();
        pid_t child = stop_inside(act, NULL, at);
        more = *inside != 0;
        effective += released() > WRITTEN;
        kill_there(child);
        succeed();
        region_free(&shared);
    }
    printf("act=append states=%lu after_the_effect=%lu\n", states, effective);
    return 0;
}
