/* seat_client.h: a co-process's own words in shared memory. Whoever calls these holds the lock of the seat's client
 * segment. ffi/client/hotpath_client.h has the same for programs without Python.
 *
 *   take a seat:  announce (attach_epoch moves on) --> engine: page.attach_epoch follows, request_position is set
 *                 reset the orders ring from there --> open (open_epoch) --> engine reads requests
 */
#pragma once
#include "layout.h"

/* Say who comes, the epoch last. */
void seat_client_announce(seat_client_page *page, uint32_t attach_epoch, uint32_t pid, uint64_t start_time, uint64_t now_ns);
/* The engine's word on this attachment has come. */
int seat_client_known(const seat_page *page, uint32_t attach_epoch);
/* Forget what a predecessor left in the orders ring: no slot is stamped, the next request has number `position`. */
void seat_client_reset(void *orders_segment, uint64_t position);
/* The ring is reset: requests may be read. */
void seat_client_open(seat_client_page *page, uint32_t attach_epoch);
/* I live. */
void seat_client_beat(seat_client_page *page, uint64_t now_ns);
/* A call began at this instant; 0: it has ended. */
void seat_client_busy(seat_client_page *page, uint64_t since_ns);
/* enum seat_state, as the engine says; *reason is of the last cut. */
int seat_client_state(const seat_page *page, uint32_t *reason);
