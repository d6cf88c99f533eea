/* limit_copy.h: one copy of the limits: laid out, sealed, checked, and set back when what was temporary has expired.
 *
 *   limits_header | instrument_limits, `count` of them | scope_limits, `scope_count` of them
 *
 * A writer fills the copy that is not in force, seals it and names it by the generation; whoever reads takes the
 * copy over whole and checks it, so that a writer which died half-way leaves the old one standing.
 */
#pragma once
#include "layout.h"

/* Bytes of a copy. */
uint64_t limits_bytes(uint32_t instruments, uint32_t scopes);
/* Lay out a copy: every limit off but those that an instrument and the firm must have, which forbid. */
void limits_clear(limits_header *copy, uint32_t instruments, uint32_t scopes);
/* The table of scopes behind the instruments. */
scope_limits *limits_scopes(limits_header *copy);
/* Set what is derived, and the checksum: the last thing that is done to a copy. */
void limits_seal(limits_header *copy);
/* 1 when the copy is what its writer sealed, and stays within `bytes_max`. */
int limits_whole(const limits_header *copy, uint64_t bytes_max);
/* Digest of a limits copy as its checksum is defined. `bytes` of it must be there. */
uint64_t limits_checksum(const limits_header *copy);
/* Let every temporary limit whose time is over go back to what it was. The checksum is then no longer its own. */
void limits_expire(limits_header *copy, uint64_t now_ns);
/* Name the copy that is in force, once it has been written whole. */
void limits_publish(limits_page *page, uint64_t generation);
