/* seat_client.c: a co-process's own words in shared memory. See include/seat_client.h. */
#include "seat_client.h"
#include "ring_inline.h"
#include "segment.h"

void seat_client_announce(seat_client_page *page, uint32_t attach_epoch, uint32_t pid, uint64_t start_time, uint64_t now_ns) {
    page->pid = pid;
    page->start_time = start_time;
    page->busy_since_ns = 0;
    page->open_epoch = 0;
    __atomic_store_n(&page->heartbeat_time_ns, now_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&page->attach_epoch, attach_epoch, __ATOMIC_RELEASE); /* partner: look in seat_front.c */
}

int seat_client_known(const seat_page *page, uint32_t attach_epoch) {
    return __atomic_load_n(&page->attach_epoch, __ATOMIC_ACQUIRE) == attach_epoch; /* partner: attach in seat_front.c */
}

void seat_client_reset(void *orders_segment, uint64_t position) {
    const segment_header *header = orders_segment;
    ring_control *control = segment_body(orders_segment);
    uint8_t *slots = (uint8_t *)orders_segment + RING_SLOTS_OFFSET;
    for (uint64_t i = 0; i < header->capacity; i++)
        __atomic_store_n((uint64_t *)(void *)(slots + i * header->slot_size), 0, __ATOMIC_RELAXED);
    __atomic_store_n(&control->position, position, __ATOMIC_RELEASE);
}

void seat_client_open(seat_client_page *page, uint32_t attach_epoch) {
    __atomic_store_n(&page->open_epoch, attach_epoch, __ATOMIC_RELEASE); /* partner: look in seat_front.c */
}

void seat_client_beat(seat_client_page *page, uint64_t now_ns) {
    __atomic_store_n(&page->heartbeat_time_ns, now_ns, __ATOMIC_RELAXED);
}

void seat_client_busy(seat_client_page *page, uint64_t since_ns) {
    __atomic_store_n(&page->busy_since_ns, since_ns, __ATOMIC_RELAXED);
}

int seat_client_state(const seat_page *page, uint32_t *reason) {
    int state = (int)__atomic_load_n(&page->state, __ATOMIC_ACQUIRE); /* partner: cut in seat_front.c */
    *reason = page->reason;
    return state;
}
