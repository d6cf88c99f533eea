/* seat_parts.h: what seat.c and seat_front.c share. */
#pragma once
#include "seat.h"

/* Publish the seat's counters. */
static inline uint64_t *seat_counter(seats *self) { return self->stage->page->counter; }

static inline uint64_t seat_since(uint64_t then_ns, uint64_t now_ns) { return now_ns > then_ns ? now_ns - then_ns : 0; }
