/* digest.h: 64-bit digests of records. Not cryptographic: they catch faults, not forgers. */
#pragma once
#include "layout.h"

/* Digest of `size` bytes, chained from `seed`. Equal on every machine of the same byte order. */
uint64_t digest_bytes(uint64_t seed, const void *bytes, uint64_t size);
/* One word of `count` fields, for stage_digest: each field times an odd number of its own, so that fields
 * neither cancel nor change places. `count` at most DIGEST_FIELDS_MAX. */
#define DIGEST_FIELDS_MAX 12
uint64_t digest_fields(const uint64_t *field, uint32_t count);
/* The canonical command of I1: identity, type, instrument, side, price, quantity, time in force,
 * target, limits version, kill epoch; neither stamps nor times. */
uint64_t digest_command(const cmd_event *command);
