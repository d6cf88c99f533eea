/* glimpse.h: the live orders of a book as GLIMPSE 5.0 sends them: SoupBinTCP sequenced packets of ITCH adds.
 *
 *   |len 'S' add|len 'S' add| ... one for each live order: side by side, level by level from the best, in queue order
 *
 * A receiver that applies them to an empty book has the same book: each order stands where it stood. For the
 * simulator, which sends directory and trading states before them and the number of the next message after them.
 * Source: the venue's specification of GLIMPSE 5.0.
 */
#pragma once
#include "layout.h"
#include "book.h"

#define GLIMPSE_ORDER_BYTES 39 /* one order's packet */

enum glimpse_status {
    GLIMPSE_OK,
    GLIMPSE_NO_ROOM,
    GLIMPSE_UNENCODABLE /* a price or quantity does not fit its field: nothing of this instrument is of use */
};

typedef struct {
    char stock[8];    /* space-padded */
    uint64_t time_ns; /* since midnight, of the snapshot */
    uint16_t locate;
    uint8_t reserved[6];
} glimpse_instrument;

/* Every live order of one instrument; `size` becomes the bytes written. */
int glimpse_orders(const book *book, uint32_t instrument, const glimpse_instrument *named, uint8_t *target,
                   uint64_t capacity, uint64_t *size);
