/* seat_orders.h: the seats' table of orders, and the names that lead to each.
 *
 *   order id, replacement's, cancel's, predecessor's --ids--\
 *                                                            +--> place: seat_order, in one list of two
 *   token, replacement's, predecessor's -----------tokens---/     (its seat's open orders, or the dead)
 *
 * Invariants: a name leads to one place, and the place bears it; whoever takes a place forgets its names first. An
 * open order stands in its seat's list, a dead one in `dead`, longest dead first.
 */
#pragma once
#include "id_map_inline.h"
#include "seat.h"
#include <string.h>

/* ---- lists of orders ------------------------------------------------------------------------------ */

static inline void list_add(seats *self, seat_list *list, uint32_t index) {
    seat_order *order = &self->order[index];
    order->next = SEAT_ORDER_NONE;
    order->previous = list->last;
    if (list->last == SEAT_ORDER_NONE) list->first = index;
    else self->order[list->last].next = index;
    list->last = index;
}

static inline void list_remove(seats *self, seat_list *list, uint32_t index) {
    const seat_order *order = &self->order[index];
    if (order->previous == SEAT_ORDER_NONE) list->first = order->next;
    else self->order[order->previous].next = order->next;
    if (order->next == SEAT_ORDER_NONE) list->last = order->previous;
    else self->order[order->next].previous = order->previous;
}

/* ---- orders and their names ----------------------------------------------------------------------- */

/* A token is its seat's own: no two seats share a key. Tokens are at most 2^53 and a seed has its highest bit set, so
 * that no key is 0. Whoever chooses the tokens does not know the seed, and cannot choose where they stand. */
static inline uint64_t token_key(const seat *seat, uint32_t index, uint64_t token) {
    return token ? id_map_mix((token * SEATS_MAX + index) ^ seat->token_seed) : 0;
}

static inline void token_forget(seats *self, const seat_order *order, uint64_t token) {
    id_map_remove(self->tokens, token_key(&self->seat[order->seat], order->seat, token));
}

/* The open order that a token of its line names, or SEAT_ORDER_NONE. */
static inline uint32_t order_named(const seats *self, uint32_t seat, uint64_t token) {
    uint32_t index = id_map_get(self->tokens, token_key(&self->seat[seat], seat, token));
    return index == ID_MAP_NONE || self->order[index].state == SEAT_ORDER_DEAD ? SEAT_ORDER_NONE : index;
}

static inline void wanted_set(seats *self, seat_order *order, uint8_t wanted) {
    self->wanted_count += (uint32_t)wanted - order->wanted;
    order->wanted = wanted;
}

static inline void cancel_forget(seats *self, seat_order *order) {
    id_map_remove(self->ids, order->cancel_id);
    order->cancel_id = 0;
}

static inline void replace_forget(seats *self, seat_order *order) {
    id_map_remove(self->ids, order->replace_id);
    token_forget(self, order, order->replace_token);
    order->replace_id = order->replace_token = 0;
}

static inline void previous_forget(seats *self, seat_order *order) {
    id_map_remove(self->ids, order->previous_id);
    token_forget(self, order, order->previous_token);
    order->previous_id = order->previous_token = 0;
}

/* Let an order's id and token lead to its place. */
static inline void names_put(seats *self, uint32_t index) {
    const seat_order *order = &self->order[index];
    id_map_put(self->ids, order->order_id, index);
    id_map_put(self->tokens, token_key(&self->seat[order->seat], order->seat, order->token), index);
}

/* The place of a dead order, for another; all its names go. */
static inline void place_take(seats *self, uint32_t index) {
    seat_order *order = &self->order[index];
    list_remove(self, &self->dead, index);
    cancel_forget(self, order);
    replace_forget(self, order);
    previous_forget(self, order);
    id_map_remove(self->ids, order->order_id);
    token_forget(self, order, order->token);
    memset(order, 0, sizeof *order);
}

/* A name that an order gives up gets a dead order of its own: what may still be heard of it finds its seat. A
 * replacement that was refused and lives after all is then an order like another; what was replaced is gone. */
static inline void name_keep(seats *self, uint32_t index, uint64_t order_id, uint64_t token, uint8_t gone) {
    const seat_order *order = &self->order[index];
    id_map_remove(self->ids, order_id);
    token_forget(self, order, token);
    uint32_t kept_index = self->dead.first == index ? order->next : self->dead.first;
    if (!order_id || kept_index == SEAT_ORDER_NONE) return;
    place_take(self, kept_index);
    seat_order *kept = &self->order[kept_index];
    kept->order_id = order_id;
    kept->token = token;
    kept->gone = gone;
    kept->price_ticks = order->replace_price_ticks;
    kept->instrument = order->instrument;
    kept->seat = order->seat;
    kept->side = order->side;
    kept->time_in_force = order->time_in_force;
    list_add(self, &self->dead, kept_index);
    names_put(self, kept_index);
}

static inline void order_open(seats *self, uint32_t index, uint8_t state) {
    seat_order *order = &self->order[index];
    seat *seat = &self->seat[order->seat];
    order->state = state;
    list_add(self, &seat->open, index);
    seat->page->open_orders = ++seat->open_orders;
}

static inline void order_close(seats *self, uint32_t index) {
    seat_order *order = &self->order[index];
    if (order->state == SEAT_ORDER_DEAD) return;
    seat *seat = &self->seat[order->seat];
    wanted_set(self, order, 0);
    order->state = SEAT_ORDER_DEAD;
    order->leaves_lots = 0;
    list_remove(self, &seat->open, index);
    list_add(self, &self->dead, index);
    seat->page->open_orders = --seat->open_orders;
}
