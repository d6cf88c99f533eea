/* book.c: the order book's events and views. See include/book.h; book_state.h has the memory's map,
 * book_map.h, book_ladder.h and book_blocks.h the three structures it stands on.
 *
 * Top and depth are kept, not computed: a change of a level's quantity is added to its side's depth
 * when the level is among the best DEPTH_LEVELS, and to the top when it is the best; only a level that
 * appears or vanishes there makes the side look at one other level, which leaves the sum or enters it.
 */
#include "book.h"
#include "book_state.h"
#include <stddef.h>

static uint64_t round_up(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) & ~(uint64_t)(CACHE_LINE_SIZE - 1); }

/* Byte offset of each part; the last is the total. */
typedef struct {
    uint64_t instruments, lines, orders, levels, states, blocks, total;
    uint32_t line_log2, units;
} book_parts;

static int lay_out(const book_config *config, book_parts *parts) {
    if (!config->instruments || config->instruments > INSTRUMENTS_MAX) return 0;
    if (!config->orders_max || config->orders_max > BOOK_ORDERS_MAX) return 0;
    if (!config->levels_max || config->levels_max > BOOK_ORDERS_MAX) return 0;
    /* A ladder holds at most four rungs a level, or its smallest block while it is empty. */
    uint64_t rungs = 4 * (uint64_t)config->levels_max + 2 * LADDER_CAPACITY_MIN * (uint64_t)config->instruments;
    parts->units = 1;
    while ((uint64_t)parts->units * LADDER_CAPACITY_MIN < rungs) parts->units *= 2;
    parts->line_log2 = map_line_count_log2(config->orders_max);
    parts->instruments = round_up(sizeof(struct book));
    parts->lines = parts->instruments + (uint64_t)config->instruments * sizeof(book_instrument);
    parts->orders = parts->lines + (sizeof(map_line) << parts->line_log2);
    parts->levels = parts->orders + round_up(((uint64_t)config->orders_max + 1) * sizeof(order_node));
    parts->states = parts->levels + round_up(((uint64_t)config->levels_max + 1) * sizeof(level_node));
    parts->blocks = parts->states + round_up(parts->units);
    parts->total = parts->blocks + (uint64_t)parts->units * BLOCK_UNIT_BYTES;
    return 1;
}

uint64_t book_bytes(const book_config *config) {
    book_parts parts;
    return lay_out(config, &parts) ? parts.total : 0;
}

/* Everything empty, whatever the memory held. */
static void forget_all(book *self) {
    memset(self->instruments, 0, self->config.instruments * sizeof(book_instrument));
    for (uint32_t i = 0; i < self->config.instruments; i++)
        self->instruments[i].floor[SIDE_BUY] = self->instruments[i].floor[SIDE_SELL] = INT64_MIN;
    memset(self->map.lines, 0, (self->map.mask + 1) * sizeof(map_line));
    memset(self->blocks.state, 0, self->blocks.units);
    for (uint32_t i = 0; i < BLOCK_CLASSES; i++) self->blocks.first[i] = NO_BLOCK;
    self->blocks.available = 0;
    block_link(&self->blocks, 0, (uint32_t)__builtin_ctz(self->blocks.units));
    memset(&self->orders[NO_ORDER], 0, sizeof(order_node)); /* book_batch.c looks at none as at any other */
    memset(&self->levels[NO_LEVEL], 0, sizeof(level_node));
    self->order_count = self->level_count = 0;
    self->orders_used = self->levels_used = 0;
    self->free_order = NO_ORDER;
    self->free_level = NO_LEVEL;
}

book *book_init(void *memory, uint64_t bytes, const book_config *config) {
    book_parts parts;
    if (!memory || (uintptr_t)memory % CACHE_LINE_SIZE || !lay_out(config, &parts) || bytes < parts.total) return NULL;
    uint8_t *base = memory;
    book *self = memory;
    memset(self, 0, sizeof *self);
    self->instruments = (book_instrument *)(base + parts.instruments);
    self->orders = (order_node *)(base + parts.orders);
    self->levels = (level_node *)(base + parts.levels);
    self->map = (order_map){.lines = (map_line *)(base + parts.lines),
                            .mask = ((uint64_t)1 << parts.line_log2) - 1,
                            .shift = 64 - parts.line_log2};
    self->blocks.memory = base + parts.blocks;
    self->blocks.state = base + parts.states;
    self->blocks.units = parts.units;
    self->config = *config;
    forget_all(self);
    return self;
}

/* ---- orders and levels ----------------------------------------------------------------------- */

/* The order of this number, or NO_ORDER; `at` becomes where the map has it, or where to insert it from. */
static inline uint32_t find_order(const book *self, uint64_t ref, map_place *at) {
    map_place here = map_start(&self->map, ref);
    for (uint32_t i = 0; i < MAP_PROBE_LINES; i++, here.line = map_next(&self->map, here.line)) {
        for (uint32_t match = map_match(here.line, here.tag); match; match &= match - 1) {
            here.place = (uint32_t)__builtin_ctz(match);
            if (self->orders[here.line->order[here.place]].ref != ref) continue;
            *at = here;
            return here.line->order[here.place];
        }
        if (!here.home->strays) break;
    }
    *at = here;
    return NO_ORDER;
}

static inline uint32_t take_order(book *self) {
    uint32_t index = self->free_order;
    if (index != NO_ORDER)
        self->free_order = self->orders[index].next;
    else if (self->orders_used < self->config.orders_max)
        index = ++self->orders_used;
    else
        return NO_ORDER;
    self->order_count++;
    return index;
}

static inline void give_order(book *self, uint32_t index) {
    self->orders[index].next = self->free_order;
    self->free_order = index;
    self->order_count--;
}

static inline uint32_t take_level(book *self) {
    uint32_t index = self->free_level;
    if (index != NO_LEVEL)
        self->free_level = self->levels[index].head;
    else if (self->levels_used < self->config.levels_max)
        index = ++self->levels_used;
    else
        return NO_LEVEL;
    self->level_count++;
    return index;
}

static inline void give_level(book *self, uint32_t index) {
    self->levels[index].head = self->free_level;
    self->free_level = index;
    self->level_count--;
}

/* A level's quantity changed by `lots`. */
static inline void top_add(book_instrument *instrument, uint32_t side, int64_t key, int64_t lots) {
    if (key < instrument->floor[side]) return;
    instrument->top.depth[side] += lots;
    if (key == ladder_key(instrument->top.price[side], side)) instrument->top.quantity[side] += lots;
}

/* The rungs near the best changed: best price and quantity, and the floor of the depth, anew. */
static void top_refresh(const book *self, book_instrument *instrument, uint32_t side) {
    const price_ladder *ladder = &instrument->ladder[side];
    const rung *rungs = ladder_rungs(&self->blocks, ladder);
    uint32_t count = ladder->count;
    instrument->floor[side] = count >= DEPTH_LEVELS ? rungs[count - DEPTH_LEVELS].key : INT64_MIN;
    instrument->top.price[side] = count ? ladder_key(rungs[count - 1].key, side) : 0;
    instrument->top.quantity[side] = count ? self->levels[rungs[count - 1].level].quantity : 0;
}

/* The quantity of the level that stands `rank` places behind the best, 0 when there is none. */
static int64_t quantity_at(const book *self, const price_ladder *ladder, uint32_t rank) {
    if (rank >= ladder->count) return 0;
    return self->levels[ladder_rungs(&self->blocks, ladder)[ladder->count - 1 - rank].level].quantity;
}

/* A new, empty level; NO_LEVEL when a pool is full. */
static uint32_t make_level(book *self, uint32_t owner, int64_t key, uint32_t position) {
    uint32_t side = owner & 1;
    book_instrument *instrument = &self->instruments[owner >> 1];
    uint32_t index = take_level(self);
    if (index == NO_LEVEL) return NO_LEVEL;
    if (!ladder_insert(&self->blocks, &instrument->ladder[side], position, key, index)) {
        give_level(self, index);
        return NO_LEVEL;
    }
    self->levels[index] = (level_node){.key = key, .owner = owner};
    uint32_t rank = instrument->ladder[side].count - 1 - position;
    if (rank < DEPTH_LEVELS) {
        instrument->top.depth[side] -= quantity_at(self, &instrument->ladder[side], DEPTH_LEVELS);
        top_refresh(self, instrument, side);
    }
    return index;
}

/* The level of this price, made when there is none; NO_LEVEL when a pool is full. */
static inline uint32_t need_level(book *self, uint32_t owner, int64_t key) {
    const price_ladder *ladder = &self->instruments[owner >> 1].ladder[owner & 1];
    const rung *rungs = ladder_rungs(&self->blocks, ladder);
    uint32_t position = ladder_position(rungs, ladder->count, key);
    if (position < ladder->count && rungs[position].key == key) return rungs[position].level;
    return make_level(self, owner, key, position);
}

/* An empty level leaves its side. */
static void drop_level(book *self, uint32_t index) {
    const level_node *level = &self->levels[index];
    uint32_t side = level->owner & 1;
    book_instrument *instrument = &self->instruments[level->owner >> 1];
    price_ladder *ladder = &instrument->ladder[side];
    uint32_t position = ladder_position(ladder_rungs(&self->blocks, ladder), ladder->count, level->key);
    uint32_t rank = ladder->count - 1 - position;
    ladder_remove(&self->blocks, ladder, position);
    if (rank < DEPTH_LEVELS) {
        instrument->top.depth[side] += quantity_at(self, ladder, DEPTH_LEVELS - 1);
        top_refresh(self, instrument, side);
    }
    give_level(self, index);
}

/* Stand at the back of a level's queue. */
static inline void join_queue(book *self, uint32_t order, uint32_t level_index) {
    level_node *level = &self->levels[level_index];
    order_node *node = &self->orders[order];
    node->level = level_index;
    node->previous = level->tail;
    node->next = NO_ORDER;
    if (level->orders++)
        self->orders[level->tail].next = order;
    else
        level->head = order;
    level->tail = order;
    level->quantity += node->quantity;
    top_add(&self->instruments[level->owner >> 1], level->owner & 1, level->key, node->quantity);
}

/* Leave the queue. The level may now be empty: the caller drops it. */
static inline void leave_queue(book *self, uint32_t order) {
    const order_node *node = &self->orders[order];
    level_node *level = &self->levels[node->level];
    uint32_t previous = node->previous, next = node->next;
    if (previous != NO_ORDER)
        self->orders[previous].next = next;
    else
        level->head = next;
    if (next != NO_ORDER)
        self->orders[next].previous = previous;
    else
        level->tail = previous;
    level->orders--;
    level->quantity -= node->quantity;
    top_add(&self->instruments[level->owner >> 1], level->owner & 1, level->key, -node->quantity);
}

static inline void drop_level_if_empty(book *self, uint32_t level) {
    if (!self->levels[level].orders) drop_level(self, level);
}

static inline void remove_order(book *self, uint32_t order, map_place at) {
    uint32_t level = self->orders[order].level;
    map_remove(at);
    leave_queue(self, order);
    drop_level_if_empty(self, level);
    give_order(self, order);
}

/* ---- events ---------------------------------------------------------------------------------- */

static inline int in_range(int64_t price_ticks, int64_t quantity_lots) {
    return price_ticks > 0 && price_ticks <= BOOK_PRICE_MAX && quantity_lots > 0 && quantity_lots <= BOOK_QUANTITY_MAX;
}

/* May this quantity join the level? An empty one takes any that is in range. */
static inline int fits_level(const book *self, uint32_t level, int64_t quantity_lots) {
    return self->levels[level].quantity <= BOOK_QUANTITY_MAX - quantity_lots;
}

/* An order that is in range and new. */
static int add(book *self, const norm_event *event, map_place at, uint32_t owner) {
    uint32_t order = take_order(self);
    if (order == NO_ORDER) return BOOK_FULL;
    uint32_t level = need_level(self, owner, ladder_key(event->price_ticks, owner & 1));
    int status = BOOK_FULL;
    if (level != NO_LEVEL) {
        if (!fits_level(self, level, event->quantity_lots))
            status = BOOK_BAD_EVENT;
        else if (map_insert(&self->map, at, order))
            status = BOOK_OK;
        else
            drop_level_if_empty(self, level);
    }
    if (status != BOOK_OK) {
        give_order(self, order);
        return status;
    }
    self->orders[order].ref = event->order_ref;
    self->orders[order].quantity = event->quantity_lots;
    join_queue(self, order, level);
    return BOOK_OK;
}

/* Take `quantity_lots` from an order; what has nothing left goes. */
static int reduce(book *self, uint32_t order, map_place at, int64_t quantity_lots) {
    order_node *node = &self->orders[order];
    if (quantity_lots <= 0) return BOOK_BAD_EVENT;
    if (quantity_lots >= node->quantity) {
        int status = quantity_lots == node->quantity ? BOOK_OK : BOOK_BAD_EVENT;
        remove_order(self, order, at);
        return status;
    }
    level_node *level = &self->levels[node->level];
    node->quantity -= quantity_lots;
    level->quantity -= quantity_lots;
    top_add(&self->instruments[level->owner >> 1], level->owner & 1, level->key, -quantity_lots);
    return BOOK_OK;
}

/* The order takes another number, price and quantity at the back of that price's queue, or nothing
 * changes: every refusal comes before the first change. */
static int replace(book *self, uint32_t order, map_place at, const norm_event *event, uint32_t owner) {
    order_node *node = &self->orders[order];
    uint32_t old_level = node->level;
    map_place other = {0};
    if (!in_range(event->price_ticks, event->quantity_lots)) return BOOK_BAD_EVENT;
    int renamed = event->reference != event->order_ref;
    if (renamed && find_order(self, event->reference, &other) != NO_ORDER) return BOOK_DUPLICATE_ORDER;
    uint32_t level = need_level(self, owner, ladder_key(event->price_ticks, owner & 1));
    if (level == NO_LEVEL) return BOOK_FULL;
    if (!fits_level(self, level, event->quantity_lots)) return BOOK_BAD_EVENT;
    if (renamed && !map_insert(&self->map, other, order)) {
        drop_level_if_empty(self, level);
        return BOOK_FULL;
    }
    if (renamed) map_remove(at); /* an insertion moves nothing: `at` holds */
    leave_queue(self, order);
    node->ref = event->reference;
    node->quantity = event->quantity_lots;
    join_queue(self, order, level);
    drop_level_if_empty(self, old_level);
    return BOOK_OK;
}

/* An event that names a live order: fill in what the order knows, then change it. */
static int change(book *self, norm_event *event, uint32_t order, map_place at, uint32_t owner) {
    const order_node *node = &self->orders[order];
    const level_node *level = &self->levels[node->level];
    uint32_t side = owner & 1;
    event->header.instrument = owner >> 1;
    event->header.flags = (uint16_t)((event->header.flags & ~FLAG_SELL) | (side == SIDE_SELL ? FLAG_SELL : 0));
    switch (event->header.type) {
    case NORM_REPLACE:
        return replace(self, order, at, event, owner);
    case NORM_DELETE:
        event->price_ticks = ladder_key(level->key, side);
        event->quantity_lots = node->quantity;
        remove_order(self, order, at);
        return BOOK_OK;
    case NORM_EXECUTE_PRICE:
        return reduce(self, order, at, event->quantity_lots);
    default: /* NORM_EXECUTE, NORM_REDUCE */
        event->price_ticks = ladder_key(level->key, side);
        return reduce(self, order, at, event->quantity_lots);
    }
}

static inline void write_top(norm_event *event, const book_top *top) {
    event->bid_price_ticks = top->price[SIDE_BUY];
    event->ask_price_ticks = top->price[SIDE_SELL];
    event->bid_quantity_lots = top->quantity[SIDE_BUY];
    event->ask_quantity_lots = top->quantity[SIDE_SELL];
    event->bid_depth_lots = top->depth[SIDE_BUY];
    event->ask_depth_lots = top->depth[SIDE_SELL];
}

static const book_top EMPTY_TOP;

static inline book_top *top_of(const book *self, uint32_t instrument) {
    return instrument < self->config.instruments ? &self->instruments[instrument].top : (book_top *)&EMPTY_TOP;
}

/* An add, or an event on the live order found: what its side's best was before tells FLAG_TOP. */
static inline int apply_known(book *self, norm_event *event, uint32_t order, map_place at, uint32_t owner) {
    const book_top *top = &self->instruments[owner >> 1].top;
    uint32_t side = owner & 1;
    int64_t price_ticks = top->price[side], quantity_lots = top->quantity[side];
    int status = order == NO_ORDER ? add(self, event, at, owner) : change(self, event, order, at, owner);
    if (top->price[side] != price_ticks || top->quantity[side] != quantity_lots) event->header.flags |= FLAG_TOP;
    write_top(event, top);
    return status;
}

static inline int apply_nothing(const book *self, norm_event *event, int status) {
    write_top(event, top_of(self, event->header.instrument));
    return status;
}

int book_apply(book *self, norm_event *event) {
    uint8_t type = event->header.type;
    map_place at;
    event->header.flags = (uint16_t)(event->header.flags & ~(FLAG_TOP | FLAG_UNKNOWN_ORDER));
    if (type < NORM_ADD || type > NORM_REPLACE) return apply_nothing(self, event, BOOK_IGNORED);
    uint32_t order = find_order(self, event->order_ref, &at);
    if (type == NORM_ADD) {
        if (event->header.instrument >= self->config.instruments) return apply_nothing(self, event, BOOK_BAD_EVENT);
        if (!in_range(event->price_ticks, event->quantity_lots)) return apply_nothing(self, event, BOOK_BAD_EVENT);
        if (order != NO_ORDER) return apply_nothing(self, event, BOOK_DUPLICATE_ORDER);
        uint32_t side = (event->header.flags & FLAG_SELL) != 0;
        return apply_known(self, event, NO_ORDER, at, event->header.instrument * 2 + side);
    }
    if (order == NO_ORDER) {
        event->header.flags |= FLAG_UNKNOWN_ORDER;
        return apply_nothing(self, event, BOOK_UNKNOWN_ORDER);
    }
    return apply_known(self, event, order, at, self->levels[self->orders[order].level].owner);
}

void book_prefetch(const book *self, uint64_t order_ref) {
    __builtin_prefetch(map_home(&self->map, order_ref), 1);
}

void book_prefetch_order(const book *self, uint64_t order_ref) {
    __builtin_prefetch(&self->orders[map_guess(&self->map, order_ref)], 1);
}

/* ---- views ----------------------------------------------------------------------------------- */

uint32_t book_depth(const book *self, uint32_t instrument, int side, book_level *levels, uint32_t max) {
    if (instrument >= self->config.instruments || (side != SIDE_BUY && side != SIDE_SELL)) return 0;
    uint32_t count = 0;
    while (count < max) {
        uint32_t index = book_level_at(self, instrument, (uint32_t)side, count);
        if (index == NO_LEVEL) break;
        const level_node *level = &self->levels[index];
        levels[count++] = (book_level){.price_ticks = ladder_key(level->key, (uint32_t)side),
                                       .quantity_lots = level->quantity,
                                       .orders = level->orders};
    }
    return count;
}

/* What an order and its level know; its place in the queue is the caller's. */
static void describe(const book *self, const order_node *node, book_order *order) {
    const level_node *level = &self->levels[node->level];
    memset(order, 0, sizeof *order);
    order->order_ref = node->ref;
    order->price_ticks = ladder_key(level->key, level->owner & 1);
    order->quantity_lots = node->quantity;
    order->instrument = level->owner >> 1;
    order->side = (uint8_t)(level->owner & 1);
}

int book_front(const book *self, uint32_t instrument, int side, book_order *order) {
    if (instrument >= self->config.instruments || (side != SIDE_BUY && side != SIDE_SELL)) return BOOK_UNKNOWN_ORDER;
    uint32_t level = book_level_at(self, instrument, (uint32_t)side, 0);
    if (level == NO_LEVEL) return BOOK_UNKNOWN_ORDER;
    describe(self, &self->orders[self->levels[level].head], order);
    return BOOK_OK;
}

uint32_t book_queue(const book *self, uint32_t instrument, int side, int64_t price_ticks, book_order *orders,
                    uint32_t max) {
    if (instrument >= self->config.instruments || (side != SIDE_BUY && side != SIDE_SELL)) return 0;
    const price_ladder *ladder = &self->instruments[instrument].ladder[side];
    const rung *rungs = ladder_rungs(&self->blocks, ladder);
    int64_t key = ladder_key(price_ticks, (uint32_t)side);
    uint32_t position = ladder_position(rungs, ladder->count, key);
    if (position == ladder->count || rungs[position].key != key) return 0;
    uint32_t count = 0;
    int64_t ahead_lots = 0;
    uint32_t next = self->levels[rungs[position].level].head;
    while (next != NO_ORDER && count < max) {
        const order_node *node = &self->orders[next];
        describe(self, node, &orders[count]);
        orders[count].ahead_lots = ahead_lots;
        orders[count].ahead_orders = count;
        ahead_lots += node->quantity;
        next = node->next;
        count++;
    }
    return count;
}

int book_find(const book *self, uint64_t order_ref, book_order *order) {
    map_place at;
    uint32_t index = find_order(self, order_ref, &at);
    if (index == NO_ORDER) return BOOK_UNKNOWN_ORDER;
    describe(self, &self->orders[index], order);
    for (uint32_t i = self->orders[index].previous; i != NO_ORDER; i = self->orders[i].previous) {
        order->ahead_lots += self->orders[i].quantity;
        order->ahead_orders++;
    }
    return BOOK_OK;
}

static void forget_level(book *self, uint32_t index) {
    uint32_t next = self->levels[index].head;
    while (next != NO_ORDER) {
        uint32_t order = next;
        map_place at;
        next = self->orders[order].next;
        find_order(self, self->orders[order].ref, &at);
        map_remove(at);
        give_order(self, order);
    }
    give_level(self, index);
}

void book_clear(book *self, uint32_t instrument) {
    if (instrument == NO_INSTRUMENT) {
        forget_all(self);
        return;
    }
    if (instrument >= self->config.instruments) return;
    book_instrument *cleared = &self->instruments[instrument];
    for (uint32_t side = SIDE_BUY; side <= SIDE_SELL; side++) {
        const rung *rungs = ladder_rungs(&self->blocks, &cleared->ladder[side]);
        for (uint32_t i = 0; i < cleared->ladder[side].count; i++) forget_level(self, rungs[i].level);
        ladder_clear(&self->blocks, &cleared->ladder[side]);
    }
    memset(&cleared->top, 0, sizeof cleared->top);
    cleared->floor[SIDE_BUY] = cleared->floor[SIDE_SELL] = INT64_MIN;
}

uint32_t book_order_count(const book *self) { return self->order_count; }
uint32_t book_level_count(const book *self) { return self->level_count; }
