/* segment.h: sealing and recognising shared segments. hotpath/segments.py makes and maps them; the
 * stores and loads that order one process's header before another's reading of it are here.
 *
 *   maker: fill the body, then the header, then magic (release)  <->  user: magic (acquire), the rest
 */
#pragma once
#include "layout.h"

/* Store the header over the segment's first bytes, the magic last. `header->magic` is ignored. */
void segment_seal(void *segment, const segment_header *header);
/* 1 when the segment bears the magic, so that its maker came to the end. */
int segment_sealed(const void *segment);
/* The body after the header. */
void *segment_body(const void *segment);
