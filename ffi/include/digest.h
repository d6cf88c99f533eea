/* digest.h: 64-bit digests of records. Not cryptographic: they catch faults, not forgers. */
#pragma once
#include "layout.h"

/* Digest of `size` bytes, chained from `seed`. Equal on every machine of the same byte order. */
uint64_t digest_bytes(uint64_t seed, const void *bytes, uint64_t size);
/* The canonical command of I1: identity, type, instrument, side, price, quantity, time in force,
 * target, limits version, kill epoch; neither stamps nor times. */
uint64_t digest_command(const cmd_event *command);
