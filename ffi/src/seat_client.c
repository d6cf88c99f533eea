/* seat_client.c: a co-process's own words in shared memory. See include/seat_client.h. */
#include "seat_client.h"
#include "../client/hotpath_client.h"

void seat_client_announce(seat_client_page *page, uint32_t attach_epoch, uint32_t pid, uint64_t start_time, uint64_t now_ns) {
    hotpath_client_announce(page, attach_epoch, pid, start_time, now_ns);
}

int seat_client_known(const seat_page *page, uint32_t attach_epoch) { return hotpath_client_known(page, attach_epoch); }

void seat_client_reset(void *orders_segment, uint64_t position) { hotpath_client_reset((uint8_t *)orders_segment, position); }

void seat_client_open(seat_client_page *page, uint32_t attach_epoch) { hotpath_client_open(page, attach_epoch); }

void seat_client_beat(seat_client_page *page, uint64_t now_ns) { hotpath_client_beat(page, now_ns); }

void seat_client_busy(seat_client_page *page, uint64_t since_ns) { hotpath_client_busy(page, since_ns); }

int seat_client_state(const seat_page *page, uint32_t *reason) { return hotpath_client_state(page, reason); }
