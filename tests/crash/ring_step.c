/* ring_step.c: a process is stopped after each single instruction of publish, of release and of an
 * observer's copy; it is killed there and another takes up what it leaves, or the writer overwrites there
 * what it is copying.
 *
 *   for n in 0, 1, 2, ...:   fresh ring -> child is stepped n instructions into the act -> SIGKILL -> checks
 *   overwritten, half:       the same, but the parent publishes (or half writes) an event, and the child goes on
 *
 * The ring has four slots, six events are published and one is unread, so that the event under the knife
 * overwrites an older one: the one that the observer is about to copy.
 *
 * usage: ring_step publish|release|copy|overwritten|half. Prints how many states were seen.
 */
#include "step_harness.h"

enum { CAPACITY = 4, PUBLISHED = 6, READ = 5, OBSERVED = 2, MORE = 3 };

static void publish(ring_writer *writer) {
    void *slot = ring_claim_inline(writer);
    REQUIRE(slot);
    fill(slot, writer->next);
    ring_commit_inline(writer);
}

static ring_writer attach_writer(const region *shared) {
    ring_writer writer;
    REQUIRE(ring_writer_attach(&writer, shared->ring) == RING_OK);
    REQUIRE(ring_writer_gate(&writer, shared->cursor[0]) == RING_OK);
    return writer;
}

static ring_reader attach_reader(const region *shared, int cursor, uint32_t kind) {
    ring_reader reader;
    REQUIRE(ring_reader_attach(&reader, shared->ring, shared->cursor[cursor], kind) == RING_OK);
    return reader;
}

static void read_one(ring_reader *reader) {
    const void *slot = ring_front_inline(reader);
    REQUIRE(slot && whole(slot, reader->next));
    reader->next++;
    ring_release_inline(reader);
}

/* Six events, five of them read; the observer has seen two. */
static region prepare(void) {
    region shared = region_make(CAPACITY);
    ring_writer writer = attach_writer(&shared);
    ring_reader reader = attach_reader(&shared, 0, CURSOR_GATING);
    ring_reader observer = attach_reader(&shared, 1, CURSOR_OBSERVER);
    uint64_t slot[SLOT_SIZE / 8], lost = 0;
    for (int i = 0; i < PUBLISHED; i++) {
        publish(&writer);
        if (i < READ) read_one(&reader);
        if (i < OBSERVED) REQUIRE(ring_copy(&observer, slot, 1, &lost) == 1);
    }
    REQUIRE(!lost);
    return shared;
}

/* ---- the three acts, each between begin and end ----------------------------------------------------- */

static void act_publish(const void *world) {
    const region *shared = world;
    ring_writer writer = attach_writer(shared);
    begin();
    publish(&writer);
    end();
}

static void act_release(const void *world) {
    const region *shared = world;
    ring_reader reader = attach_reader(shared, 0, CURSOR_GATING);
    begin();
    read_one(&reader);
    end();
}

static void act_copy(const void *world) {
    const region *shared = world;
    ring_reader observer = attach_reader(shared, 1, CURSOR_OBSERVER);
    static uint64_t batch[CAPACITY][SLOT_SIZE / 8];
    uint64_t lost = 0;
    ring_writer writer = attach_writer(shared);
    publish(&writer); /* over the event that the observer would see next */
    begin();
    ring_copy(&observer, batch, CAPACITY, &lost);
    end();
}

/* The observer checks what it was given itself; the parent compares it with what was there to be had. */
static void act_overtaken(const void *world) {
    const region *shared = world;
    ring_reader observer = attach_reader(shared, 1, CURSOR_OBSERVER);
    static uint64_t batch[CAPACITY][SLOT_SIZE / 8];
    uint64_t lost = 0, last = 0;
    begin();
    uint64_t count = ring_copy(&observer, batch, CAPACITY, &lost);
    end();
    for (uint64_t i = 0; i < count; i++) {
        REQUIRE(batch[i][0] > last);
        last = batch[i][0];
        REQUIRE(whole(batch[i], last - 1));
    }
    REQUIRE(count == 0 || last == observer.next);
    REQUIRE(OBSERVED + count + lost == observer.next);
    shared->sums->seen = count;
}

/* ---- what must be true of whatever was left --------------------------------------------------------- */

static uint64_t highest_stamp(const region *shared) {
    uint64_t highest = 0;
    for (uint64_t i = 0; i < CAPACITY; i++) {
        uint64_t stamp = *(uint64_t *)((uint8_t *)shared->ring + RING_SLOTS_OFFSET + i * SLOT_SIZE);
        if (stamp > highest) highest = stamp;
    }
    return highest;
}

static void check_observer(const region *shared, uint64_t total) {
    ring_reader observer = attach_reader(shared, 1, CURSOR_OBSERVER);
    uint64_t start = observer.next, lost = 0, delivered = 0, count, batch[CAPACITY][SLOT_SIZE / 8];
    while ((count = ring_copy(&observer, batch, CAPACITY, &lost)) != 0) {
        for (uint64_t i = 0; i < count; i++) REQUIRE(whole(batch[i], batch[i][0] - 1));
        REQUIRE(batch[count - 1][0] == observer.next);
        delivered += count;
    }
    REQUIRE(start + delivered + lost == total);
    REQUIRE(observer.cursor->lost_count >= lost); /* a loss may be counted again after a kill, never missed */
}

static void check(const region *shared) {
    uint64_t stamped = highest_stamp(shared);
    REQUIRE(stamped == PUBLISHED || stamped == PUBLISHED + 1);
    /* Readers of the ring as it lies there, before any writer has come back. */
    ring_reader reader = attach_reader(shared, 0, CURSOR_GATING);
    REQUIRE(reader.next == READ || reader.next == READ + 1);
    uint64_t available = ring_available_inline(&reader, CAPACITY);
    REQUIRE(reader.next + available == stamped);
    for (uint64_t i = 0; i < available; i++) REQUIRE(whole(ring_at_inline(&reader, i), reader.next + i));
    /* The new writer: behind the last stamped event, with room for what the reader has left. */
    ring_writer writer = attach_writer(shared);
    REQUIRE(writer.next == stamped);
    REQUIRE(ring_room_inline(&writer) == reader.next + CAPACITY - stamped);
    check_observer(shared, stamped);
    while (reader.next < stamped) read_one(&reader);
    for (int i = 0; i < MORE; i++) publish(&writer);
    for (int i = 0; i < MORE; i++) read_one(&reader);
    REQUIRE(reader.next == stamped + MORE);
    REQUIRE(!ring_front_inline(&reader));
    check_observer(shared, stamped + MORE);
}

/* ---- the writer goes on ------------------------------------------------------------------------------- */

/* The parent is the writer: it writes over what the child is copying, whole or half, and lets it go on. */
static void overtake_there(const region *shared, pid_t child, int half) {
    int status;
    ring_writer writer = attach_writer(shared);
    uint64_t *slot = ring_claim_inline(&writer);
    REQUIRE(slot);
    fill(slot, writer.next);
    if (half) memset(slot + 1 + PAYLOAD_WORDS / 2, 0xEE, PAYLOAD_WORDS / 2 * 8);
    else ring_commit_inline(&writer);
    REQUIRE(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    REQUIRE(shared->sums->seen >= PUBLISHED - OBSERVED - 1); /* all but the one overwritten, at the least */
    check(shared);
}

int main(int count, char **argument) {
    REQUIRE(count == 2);
    void (*act)(const void *) = act_overtaken;
    int half = !strcmp(argument[1], "half"), overtaken = half || !strcmp(argument[1], "overwritten");
    if (!strcmp(argument[1], "publish")) act = act_publish;
    if (!strcmp(argument[1], "release")) act = act_release;
    if (!strcmp(argument[1], "copy")) act = act_copy;
    REQUIRE(overtaken || act != act_overtaken);
    uint64_t states = 0, effective = 0;
    for (int more = 1; more; states++) {
        REQUIRE(states < STEPS_MAX);
        region shared = prepare();
        inside = &shared.sums->inside;
        pid_t child = stop_inside(act, &shared, states);
        more = *inside != 0;
        const ring_cursor *cursor = segment_body(shared.cursor[overtaken]);
        effective += highest_stamp(&shared) > PUBLISHED || cursor->position > (overtaken ? OBSERVED : READ);
        if (overtaken) overtake_there(&shared, child, half);
        else {
            kill_there(child);
            check(&shared);
        }
        region_free(&shared);
    }
    printf("act=%s states=%lu after_the_effect=%lu\n", argument[1], states, effective);
    return 0;
}
