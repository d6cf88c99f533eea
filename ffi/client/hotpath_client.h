/* hotpath_client.h: a seat beside the path, for programs in C11 and C++17. One header, no library.
 *
 *   hotpath coprocess flags         prints the compiler flags:  cc $(hotpath coprocess flags) program.c
 *
 *   hotpath_seat seat;
 *   if (hotpath_attach(&seat, "engine", "alpha", 10.0) != HOTPATH_OK) return fail(hotpath_error(&seat));
 *   for (;;) {
 *       norm_event event;
 *       while (hotpath_market_next(&seat, &event)) ... hotpath_order(&seat, &order, &event) ...
 *       report_event report;
 *       while (hotpath_report_next(&seat, &report)) ... what became of your tokens ...
 *       hotpath_heartbeat(&seat);
 *       if (hotpath_cut(&seat) != SEAT_CUT_NONE) break; // or the engine has ended: SEAT_CUT_ENGINE_ENDED
 *   }
 *   hotpath_detach(&seat);
 *
 * A program that was cut for something it has overcome takes its seat again with hotpath_reattach.
 *
 * The rings, the order of the calls and what the engine does when a program dies, hangs or writes nonsense:
 * docs/coprocess.md. No call here waits but hotpath_attach and hotpath_reattach, and none allocates, prints or ends the process.
 * One thread uses one seat. A program built against another layout.h than the engine's is refused when it attaches.
 *
 * Each atomic names its partner by the synchronisation points of ffi/src/ring_inline.h.
 */
#ifndef HOTPATH_CLIENT_H
#define HOTPATH_CLIENT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* Linux's own names; include this header first, or compile with -D_GNU_SOURCE */
#endif
#include "layout.h"
#include "layout_hash.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define HOTPATH_OWNER_INTERVAL_NS 100000000u /* between two looks for the engine's process */

enum hotpath_status {
    HOTPATH_OK,
    HOTPATH_NO_ENGINE,  /* no engine of that name runs, or it has no such seat */
    HOTPATH_MISMATCH,   /* it was built from another layout, or its run is dead */
    HOTPATH_TAKEN,      /* another program has the seat */
    HOTPATH_SILENT,     /* the engine does not answer */
    HOTPATH_FULL,       /* the engine has not yet taken what was asked before */
    HOTPATH_CUT,        /* the engine has cut this seat off, or has ended: hotpath_cut says which */
    HOTPATH_SYSTEM      /* the operating system refused something: errno says what */
};

/* One mapped segment. */
typedef struct {
    uint8_t *bytes;
    uint64_t size;
} hotpath_segment;

/* A place in a ring: the slots, and the next sequence to read or to write. */
typedef struct {
    uint8_t *slots;
    uint64_t mask;
    uint64_t next;
    ring_control *control;
    uint64_t *cursor; /* reader: its own position; writer: the reader's */
} hotpath_ring;

typedef struct {
    int status;              /* enum hotpath_status, of the last call */
    int lock;                /* descriptor that holds the seat */
    uint32_t epoch;          /* of this attachment */
    uint32_t instrument_count;
    uint64_t token;          /* the last one given out */
    uint64_t market_lost;    /* market events that were overwritten before they were read */
    uint64_t run_epoch;
    hotpath_ring market;
    hotpath_ring orders;
    hotpath_ring reports;
    const seat_page *page;
    seat_client_page *client;
    const clock_page *clock;
    const control_page *control;
    uint32_t owner_pid;        /* who made the engine's memory, and lives as long as it runs */
    uint32_t engine_ended;
    uint64_t owner_start_time;
    uint64_t owner_looked_ns;  /* when it was last looked for */
    const instrument_entry *instruments;
    hotpath_segment segment[12];
    uint32_t segment_count;
    char message[256];
} hotpath_seat;

/* What an order should be. A REQUEST_REPLACE names the order in target_token; its quantity includes what was filled. */
typedef struct {
    uint32_t instrument;
    uint8_t side;          /* enum side */
    uint8_t time_in_force; /* enum time_in_force */
    int64_t price_ticks;
    int64_t quantity_lots;
    uint64_t target_token; /* 0: a new order */
    double score;          /* in [-1, 1], for the record */
} hotpath_wish;

/* ---- words in shared memory ------------------------------------------------------------------------ */

/* Say who comes, the epoch last. Partner: look in ffi/src/seat_front.c. */
static inline void hotpath_client_announce(seat_client_page *page, uint32_t epoch, uint32_t pid, uint64_t start_time, uint64_t now_ns) {
    page->pid = pid;
    page->start_time = start_time;
    page->busy_since_ns = 0;
    page->open_epoch = 0;
    __atomic_store_n(&page->heartbeat_time_ns, now_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&page->attach_epoch, epoch, __ATOMIC_RELEASE);
}

/* The engine's word on this attachment has come. Partner: attach in ffi/src/seat_front.c. */
static inline int hotpath_client_known(const seat_page *page, uint32_t epoch) {
    return __atomic_load_n(&page->attach_epoch, __ATOMIC_ACQUIRE) == epoch;
}

/* Forget what a predecessor left in the orders ring: no slot is stamped, the next request has number `position`. */
static inline void hotpath_client_reset(uint8_t *orders_segment, uint64_t position) {
    segment_header header;
    memcpy(&header, orders_segment, sizeof header);
    uint8_t *slots = orders_segment + RING_SLOTS_OFFSET;
    ring_control *control = (ring_control *)(void *)(orders_segment + SEGMENT_HEADER_SIZE);
    for (uint64_t i = 0; i < header.capacity; i++)
        __atomic_store_n((uint64_t *)(void *)(slots + i * header.slot_size), (uint64_t)0, __ATOMIC_RELAXED);
    __atomic_store_n(&control->position, position, __ATOMIC_RELEASE);
}

/* The ring is reset: requests may be read. Partner: look in ffi/src/seat_front.c. */
static inline void hotpath_client_open(seat_client_page *page, uint32_t epoch) {
    __atomic_store_n(&page->open_epoch, epoch, __ATOMIC_RELEASE);
}

static inline void hotpath_client_beat(seat_client_page *page, uint64_t now_ns) {
    __atomic_store_n(&page->heartbeat_time_ns, now_ns, __ATOMIC_RELAXED);
}

static inline void hotpath_client_busy(seat_client_page *page, uint64_t since_ns) {
    __atomic_store_n(&page->busy_since_ns, since_ns, __ATOMIC_RELAXED);
}

/* enum seat_state, as the engine says; *reason is of the last cut. Partner: cut in ffi/src/seat_front.c. */
static inline int hotpath_client_state(const seat_page *page, uint32_t *reason) {
    int state = (int)__atomic_load_n(&page->state, __ATOMIC_ACQUIRE);
    *reason = page->reason;
    return state;
}

/* ---- time ------------------------------------------------------------------------------------------- */

/* The engine's clock: ns since the epoch, anchored once a run. */
static inline uint64_t hotpath_clock(const clock_page *page) {
#if defined(__x86_64__)
    if (page->source == CLOCK_TSC) {
        int64_t ticks = (int64_t)(__rdtsc() - page->anchor_tsc);
        return page->anchor_time_ns + (uint64_t)(((__int128)ticks * (__int128)page->scale) >> 32);
    }
#endif
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return page->anchor_time_ns + ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - page->anchor_tsc);
}

static inline uint64_t hotpath_now(const hotpath_seat *seat) { return hotpath_clock(seat->clock); }

/* Say that this program lives. Every request and every look for reports says so too. */
static inline void hotpath_heartbeat(hotpath_seat *seat) { hotpath_client_beat(seat->client, hotpath_now(seat)); }

/* What went wrong last, in words. */
static inline const char *hotpath_error(const hotpath_seat *seat) { return seat->message; }

static inline int hotpath_fail(hotpath_seat *seat, int status, const char *what, const char *name) {
    seat->status = status;
    snprintf(seat->message, sizeof seat->message, "%.127s: %.120s", name, what);
    return status;
}

static inline void hotpath_sleep(void) {
    struct timespec span = {0, 200000};
    nanosleep(&span, NULL);
}

/* ---- segments ----------------------------------------------------------------------------------------- */

/* Clock ticks from boot to a process's start, 0 when it is dead: a pid alone is no identity. */
static inline uint64_t hotpath_start_time(uint32_t pid) {
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    const char *field = strrchr(text, ')'); /* the name before it may hold spaces and brackets */
    if (!field || field[1] == 0 || field[2] == 'Z' || field[2] == 'X') return 0;
    field++;
    for (int i = 0; i < 19 && field; i++) field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

/* The body of a segment of this run, mapped; NULL with seat->status set. */
static inline uint8_t *hotpath_map(hotpath_seat *seat, const char *engine, const char *name, uint32_t kind, int writable) {
    char path[128];
    snprintf(path, sizeof path, "/dev/shm/hotpath.%s.%s", engine, name);
    int file = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        hotpath_fail(seat, HOTPATH_NO_ENGINE, "there is no such segment: is the engine running, and has it this seat?", path);
        return NULL;
    }
    struct stat about;
    void *bytes = MAP_FAILED;
    if (!fstat(file, &about) && (uint64_t)about.st_size >= SEGMENT_HEADER_SIZE)
        bytes = mmap(NULL, (size_t)about.st_size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_POPULATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED) {
        hotpath_fail(seat, HOTPATH_SYSTEM, "cannot be mapped", path);
        return NULL;
    }
    hotpath_segment *segment = &seat->segment[seat->segment_count++];
    segment->bytes = (uint8_t *)bytes;
    segment->size = (uint64_t)about.st_size;
    const segment_header *header = (const segment_header *)bytes;
    uint64_t magic = __atomic_load_n(&header->magic, __ATOMIC_ACQUIRE); /* partner: segment_seal */
    const char *wrong = memcmp(&magic, "HOTPATH1", sizeof magic)               ? "is half made"
                        : header->layout_hash != HOTPATH_LAYOUT_HASH           ? "the engine was built from another layout.h"
                        : header->kind != kind                                 ? "is of another kind"
                        : seat->run_epoch && header->run_epoch != seat->run_epoch ? "belongs to another run"
                        : hotpath_start_time(header->owner_pid) != header->owner_start_time ? "the run that made it is dead"
                                                                                : NULL;
    if (wrong) {
        hotpath_fail(seat, HOTPATH_MISMATCH, wrong, path);
        return NULL;
    }
    seat->run_epoch = header->run_epoch;
    return segment->bytes;
}

static inline int hotpath_ring_map(hotpath_seat *seat, hotpath_ring *ring, const char *engine, const char *name, const char *reader, int writes) {
    char cursor[96];
    snprintf(cursor, sizeof cursor, "%s.%s", name, reader);
    uint8_t *bytes = hotpath_map(seat, engine, name, SEGMENT_RING, writes);
    uint8_t *place = bytes ? hotpath_map(seat, engine, cursor, SEGMENT_CURSOR, !writes) : NULL;
    if (!place) return seat->status;
    const segment_header *header = (const segment_header *)(void *)bytes;
    uint64_t needed = RING_SLOTS_OFFSET + header->capacity * sizeof(norm_event);
    if (header->slot_size != sizeof(norm_event) || header->capacity & (header->capacity - 1) || seat->segment[seat->segment_count - 2].size < needed)
        return hotpath_fail(seat, HOTPATH_MISMATCH, "its slots are not those of a ring", name);
    ring->slots = bytes + RING_SLOTS_OFFSET;
    ring->mask = header->capacity - 1;
    ring->control = (ring_control *)(void *)(bytes + SEGMENT_HEADER_SIZE);
    ring_cursor *reading = (ring_cursor *)(void *)(place + SEGMENT_HEADER_SIZE);
    ring->cursor = &reading->position;
    ring->next = __atomic_load_n(&ring->control->position, __ATOMIC_ACQUIRE); /* P5 */
    if (writes) return HOTPATH_OK;
    reading->kind = ring == &seat->market ? CURSOR_OBSERVER : CURSOR_GATING;
    __atomic_store_n(ring->cursor, ring->next, __ATOMIC_RELEASE); /* P2 */
    return HOTPATH_OK;
}

static inline uint64_t *hotpath_slot(const hotpath_ring *ring, uint64_t sequence) {
    return (uint64_t *)(void *)(ring->slots + (sequence & ring->mask) * sizeof(norm_event));
}

/* ---- taking the seat ------------------------------------------------------------------------------------ */

static inline void hotpath_release(hotpath_seat *seat) {
    while (seat->segment_count) {
        hotpath_segment *segment = &seat->segment[--seat->segment_count];
        munmap(segment->bytes, segment->size);
    }
    if (seat->lock >= 0) close(seat->lock);
    seat->lock = -1;
}

/* The lock of the seat: it dies with this process. */
static inline int hotpath_lock(hotpath_seat *seat, const char *engine, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/dev/shm/hotpath.%s.seat.%s.client", engine, name);
    seat->lock = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (seat->lock < 0) return hotpath_fail(seat, HOTPATH_NO_ENGINE, "this engine has no such seat", path);
    if (!flock(seat->lock, LOCK_EX | LOCK_NB)) return HOTPATH_OK;
    snprintf(seat->message, sizeof seat->message, "seat %s is taken by process %u", name, seat->client->pid);
    return seat->status = HOTPATH_TAKEN;
}

static inline int hotpath_map_all(hotpath_seat *seat, const char *engine, const char *name) {
    char segment[64];
    const uint8_t *control = hotpath_map(seat, engine, "control", SEGMENT_CONTROL, 0);
    if (!control) return seat->status;
    seat->control = (const control_page *)(const void *)(control + SEGMENT_HEADER_SIZE);
    seat->owner_pid = ((const segment_header *)(const void *)control)->owner_pid;
    seat->owner_start_time = ((const segment_header *)(const void *)control)->owner_start_time;
    const uint8_t *clock_bytes = hotpath_map(seat, engine, "clock", SEGMENT_CLOCK, 0);
    if (!clock_bytes) return seat->status;
    seat->clock = (const clock_page *)(const void *)(clock_bytes + SEGMENT_HEADER_SIZE);
    const uint8_t *table = hotpath_map(seat, engine, "instruments", SEGMENT_INSTRUMENTS, 0);
    if (!table) return seat->status;
    seat->instruments = (const instrument_entry *)(const void *)(table + SEGMENT_HEADER_SIZE);
    seat->instrument_count = (uint32_t)((const segment_header *)(const void *)table)->capacity;
    snprintf(segment, sizeof segment, "seat.%s", name);
    const uint8_t *page = hotpath_map(seat, engine, segment, SEGMENT_SEAT, 0);
    if (!page) return seat->status;
    seat->page = (const seat_page *)(const void *)(page + SEGMENT_HEADER_SIZE);
    snprintf(segment, sizeof segment, "seat.%s.client", name);
    uint8_t *client = hotpath_map(seat, engine, segment, SEGMENT_SEAT_CLIENT, 1);
    if (!client) return seat->status;
    seat->client = (seat_client_page *)(void *)(client + SEGMENT_HEADER_SIZE);
    return HOTPATH_OK;
}

static inline int hotpath_rings(hotpath_seat *seat, const char *engine, const char *name) {
    char ring[64];
    int status = hotpath_ring_map(seat, &seat->market, engine, "norm", name, 0);
    snprintf(ring, sizeof ring, "seat.%s.reports", name);
    if (status == HOTPATH_OK) status = hotpath_ring_map(seat, &seat->reports, engine, ring, name, 0);
    snprintf(ring, sizeof ring, "seat.%s.orders", name);
    if (status == HOTPATH_OK) status = hotpath_ring_map(seat, &seat->orders, engine, ring, "signal", 1);
    return status;
}

/* Announce, wait for the engine's word, reset the orders ring, open. */
static inline int hotpath_enter(hotpath_seat *seat, const char *name, uint64_t deadline_ns) {
    uint32_t last = seat->client->attach_epoch > seat->page->attach_epoch ? seat->client->attach_epoch : seat->page->attach_epoch;
    seat->epoch = last == UINT32_MAX ? 1 : last + 1;
    uint32_t pid = (uint32_t)getpid();
    hotpath_client_announce(seat->client, seat->epoch, pid, hotpath_start_time(pid), hotpath_now(seat));
    while (!hotpath_client_known(seat->page, seat->epoch)) {
        if (hotpath_now(seat) > deadline_ns) return hotpath_fail(seat, HOTPATH_SILENT, "the engine takes no note of it", name);
        hotpath_heartbeat(seat);
        hotpath_sleep();
    }
    seat->orders.next = seat->page->request_position;
    hotpath_client_reset(seat->orders.slots - RING_SLOTS_OFFSET, seat->orders.next);
    hotpath_client_open(seat->client, seat->epoch);
    return HOTPATH_OK;
}

/* Take the seat; waits at most so long for the engine. HOTPATH_OK, or why not: hotpath_error says it in words. The
 * first reports are the snapshot: REPORT_ATTACHED, what is open, what is held, REPORT_END. The seat is not usable
 * after a failure, and may be attached again. *seat is written over: one that was attached before is taken again by
 * hotpath_reattach. */
static inline int hotpath_attach(hotpath_seat *seat, const char *engine, const char *name, double timeout_seconds) {
    int status = HOTPATH_NO_ENGINE;
    for (double waited = 0; status == HOTPATH_NO_ENGINE; waited += 0.02) {
        memset(seat, 0, sizeof *seat);
        seat->lock = -1;
        status = hotpath_map_all(seat, engine, name);
        if (status == HOTPATH_NO_ENGINE && waited >= timeout_seconds) break;
        if (status == HOTPATH_NO_ENGINE) {
            hotpath_release(seat);
            for (int i = 0; i < 100; i++) hotpath_sleep();
        }
    }
    if (status == HOTPATH_OK) status = hotpath_lock(seat, engine, name);
    if (status == HOTPATH_OK) status = hotpath_rings(seat, engine, name);
    uint64_t patience_ns = (uint64_t)((timeout_seconds > 0.5 ? timeout_seconds : 0.5) * 1e9);
    if (status == HOTPATH_OK) status = hotpath_enter(seat, name, hotpath_now(seat) + patience_ns);
    if (status != HOTPATH_OK) hotpath_release(seat);
    return seat->status = status;
}

/* Take the seat again after it was cut, with the snapshot as before: by hotpath_attach alone this program itself would
 * still hold its lock. What was written into the reports meanwhile is not read; market_lost counts anew. */
static inline int hotpath_reattach(hotpath_seat *seat, const char *engine, const char *name, double timeout_seconds) {
    hotpath_release(seat);
    return hotpath_attach(seat, engine, name, timeout_seconds);
}

/* The index of a symbol, NO_INSTRUMENT when the engine does not have it. */
static inline uint32_t hotpath_instrument(const hotpath_seat *seat, const char *symbol) {
    for (uint32_t i = 0; i < seat->instrument_count; i++)
        if (!strncmp(seat->instruments[i].symbol, symbol, sizeof seat->instruments[i].symbol)) return i;
    return NO_INSTRUMENT;
}

/* 1 when the engine takes no more work or is dead. It is told to stop by a word in memory; one that was killed says
 * nothing, so that its process is looked for, ten times a second. Partner of the word: control_stop in control.c. */
static inline int hotpath_engine_ended(hotpath_seat *seat) {
    if (seat->engine_ended || __atomic_load_n(&seat->control->stop, __ATOMIC_ACQUIRE)) return seat->engine_ended = 1;
    uint64_t now_ns = hotpath_now(seat);
    if (now_ns - seat->owner_looked_ns < HOTPATH_OWNER_INTERVAL_NS) return 0;
    seat->owner_looked_ns = now_ns;
    return seat->engine_ended = hotpath_start_time(seat->owner_pid) != seat->owner_start_time;
}

/* enum seat_cut: why this seat is cut off, SEAT_CUT_NONE while it is not. Call it in every round of a program that may
 * ask for nothing for long: SEAT_CUT_ENGINE_ENDED is told by this call and by a refused request alone. */
static inline uint32_t hotpath_cut(hotpath_seat *seat) {
    uint32_t reason = SEAT_CUT_NONE;
    if (hotpath_engine_ended(seat)) return SEAT_CUT_ENGINE_ENDED;
    int state = hotpath_client_state(seat->page, &reason);
    if (seat->page->attach_epoch != seat->epoch) return SEAT_CUT_DEAD; /* another one's by now */
    return state == SEAT_TAKEN ? (uint32_t)SEAT_CUT_NONE : reason;
}

/* ---- the market ------------------------------------------------------------------------------------------ */

/* Stand where nothing can be overwritten soon; at least one event is counted lost, so that a reader always moves on. */
static inline void hotpath_market_skip(hotpath_seat *seat) {
    hotpath_ring *market = &seat->market;
    uint64_t position = __atomic_load_n(&market->control->position, __ATOMIC_ACQUIRE); /* P5 */
    uint64_t oldest = position > market->mask ? position - market->mask : 0;
    if (oldest <= market->next) oldest = market->next + 1;
    seat->market_lost += oldest - market->next;
    market->next = oldest;
}

/* 1 with a copy of the next market event, 0 when there is none yet. Never slows the engine: what was overwritten
 * before it was read is counted in seat->market_lost. */
static inline int hotpath_market_next(hotpath_seat *seat, norm_event *event) {
    hotpath_ring *market = &seat->market;
    for (int tries = 0; tries < 4; tries++) {
        const uint64_t *slot = hotpath_slot(market, market->next);
        uint64_t stamp = __atomic_load_n(slot, __ATOMIC_ACQUIRE); /* P1 */
        if (stamp == market->next + 1) {
            memcpy(event, slot, sizeof *event);
            __atomic_thread_fence(__ATOMIC_ACQUIRE);
            if (__atomic_load_n(slot, __ATOMIC_RELAXED) == stamp) { /* P3 */
                market->next++;
                return 1;
            }
        } else if (stamp < market->next + 1) {
            if (stamp) return 0;
            if (__atomic_load_n(&market->control->position, __ATOMIC_ACQUIRE) <= market->next + market->mask) return 0; /* P5 */
        }
        hotpath_market_skip(seat);
    }
    return 0;
}

/* Tell onlookers (`hotpath stat`) how far this program has read the market: now and then. */
static inline void hotpath_market_mark(hotpath_seat *seat) {
    __atomic_store_n(seat->market.cursor, seat->market.next, __ATOMIC_RELEASE);
}

/* ---- reports ----------------------------------------------------------------------------------------------- */

/* 1 with a copy of the next report of this attachment, 0 when there is none yet. */
static inline int hotpath_report_next(hotpath_seat *seat, report_event *report) {
    hotpath_ring *reports = &seat->reports;
    hotpath_heartbeat(seat);
    for (;;) {
        const uint64_t *slot = hotpath_slot(reports, reports->next);
        if (__atomic_load_n(slot, __ATOMIC_ACQUIRE) != reports->next + 1) return 0; /* P1 */
        memcpy(report, slot, sizeof *report);
        reports->next++;
        __atomic_store_n(reports->cursor, reports->next, __ATOMIC_RELEASE); /* P2 */
        if (report->attach_epoch != seat->epoch) continue; /* a predecessor's */
        if (report->header.type == REPORT_END && report->token > seat->token) seat->token = report->token;
        return 1;
    }
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

static inline void hotpath_request(const hotpath_seat *seat, request_event *request, uint8_t type, uint32_t instrument) {
    memset(request, 0, sizeof *request);
    request->header.type = type;
    request->header.instrument = instrument;
    request->attach_epoch = seat->epoch;
}

/* Write one request: HOTPATH_OK, HOTPATH_FULL or HOTPATH_CUT. */
static inline int hotpath_send(hotpath_seat *seat, request_event *request) {
    hotpath_ring *orders = &seat->orders;
    uint32_t cut = hotpath_cut(seat);
    if (cut == SEAT_CUT_ENGINE_ENDED) return hotpath_fail(seat, HOTPATH_CUT, "the engine has ended", "request");
    if (cut != SEAT_CUT_NONE) return hotpath_fail(seat, HOTPATH_CUT, "the engine has cut this seat off", "request");
    uint64_t read = __atomic_load_n(orders->cursor, __ATOMIC_ACQUIRE); /* P2 */
    if (orders->next >= read + orders->mask + 1) return hotpath_fail(seat, HOTPATH_FULL, "the engine has not taken what was asked before", "request");
    uint64_t now_ns = hotpath_now(seat);
    request->header.publish_time_ns = now_ns;
    uint64_t *slot = hotpath_slot(orders, orders->next);
    __atomic_store_n(slot, (uint64_t)0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* P3 */
    memcpy(slot + 1, (const uint8_t *)request + sizeof *slot, sizeof *request - sizeof *slot);
    __atomic_store_n(slot, ++orders->next, __ATOMIC_RELEASE);                        /* P1 */
    __atomic_store_n(&orders->control->position, orders->next, __ATOMIC_RELEASE); /* P5 */
    hotpath_client_beat(seat->client, now_ns);
    return seat->status = HOTPATH_OK;
}

/* Ask for an order, or for another in an open one's place: its token, by which reports name it; 0 when it could not be
 * asked for (seat->status says why). `cause`: the market event that it answers, for the record; may be NULL. */
static inline uint64_t hotpath_order(hotpath_seat *seat, const hotpath_wish *wish, const norm_event *cause) {
    request_event request;
    hotpath_request(seat, &request, wish->target_token ? REQUEST_REPLACE : REQUEST_NEW, wish->instrument);
    request.token = seat->token + 1;
    request.target_token = wish->target_token;
    request.side = wish->side;
    request.time_in_force = wish->time_in_force;
    request.price_ticks = wish->price_ticks;
    request.quantity_lots = wish->quantity_lots;
    request.score = wish->score;
    if (cause) {
        request.header.cause_sequence = cause->header.stamp - 1;
        request.header.cause_input = INPUT_NORM;
        request.bid_price_ticks = cause->bid_price_ticks;
        request.ask_price_ticks = cause->ask_price_ticks;
    }
    return hotpath_send(seat, &request) == HOTPATH_OK ? ++seat->token : 0;
}

/* Ask for the end of an order. */
static inline int hotpath_cancel(hotpath_seat *seat, uint64_t token) {
    request_event request;
    hotpath_request(seat, &request, REQUEST_CANCEL, NO_INSTRUMENT);
    request.target_token = token;
    return hotpath_send(seat, &request);
}

/* Ask for the end of every open order, in one instrument or, NO_INSTRUMENT, in all. */
static inline int hotpath_cancel_all(hotpath_seat *seat, uint32_t instrument) {
    request_event request;
    hotpath_request(seat, &request, REQUEST_CANCEL_ALL, instrument);
    return hotpath_send(seat, &request);
}

/* Leave the seat: what is open is cancelled or left, as configured. */
static inline void hotpath_detach(hotpath_seat *seat) {
    request_event request;
    if (seat->lock < 0) return;
    hotpath_request(seat, &request, REQUEST_DETACH, NO_INSTRUMENT);
    hotpath_send(seat, &request);
    hotpath_release(seat);
}

#endif
