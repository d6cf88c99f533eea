/* flow.c: the seeded flow's draws and its own small market. See include/flow.h.
 *
 * Every draw is a share of 64 uniform bits (xoshiro256**, seeded through splitmix64, both by Blackman
 * and Vigna, public domain). The market keeps a taker that has not finished in `taking`: each of its
 * executions is one event, and flow_next draws no new intent before it is done.
 */
#include "flow.h"
#include "book_state.h"
#include "itch.h"

#define ACTIVITY_OFFSET 10u    /* the busiest instruments are about equally busy */
#define ENTRIES_PER_INSTRUMENT 64u
#define ENTRIES_MAX (1u << 20)
#define STUB_BID_TICKS 100     /* 0.0100 and 199,999.9900: seen in real data */
#define STUB_ASK_TICKS 1999999900
#define ROUND_LOT 100
#define QUEUE_STEPS 7u         /* how far from the back of a queue a cancel looks */

/* Shares of a thousand, while the book is at its target. */
enum { SHARE_ENTER = 450, SHARE_TAKE = 30, SHARE_TRADE = 10, SHARE_REPLACE = 70, SHARE_REDUCE = 20 };
#define SHARE_CORRECTION 200   /* at most this much more or less for ENTER to draw the book to its target */

/* System events of the opening: messages, system hours, then after the directories market hours. */
static const char OPENING_EVENTS[] = {'O', 'S', 'Q'};
/* A directory's letters in wire order: national market, normal, any lot, common stock, live, no restrictions. */
static const char DIRECTORY_LETTERS[12] = {'Q', 'N', 'N', 'C', 'Z', ' ', 'P', 'N', ' ', '1', 'N', 'N'};

struct flow {
    uint64_t random[4];
    uint64_t time_ns;
    uint64_t next_ref;
    uint64_t next_match;
    flow_config config;
    flow_intent taking; /* quantity_lots is what is left; 0 when nobody takes */
    uint16_t *activity; /* uniform draw -> instrument */
    int64_t *reference_ticks;
    book *market;
    uint32_t entries; /* of activity, a power of two */
    uint32_t opened;  /* events of the opening given so far */
    uint32_t filling; /* until the book has first reached its target */
};

static uint64_t round_up(uint64_t bytes) { return (bytes + CACHE_LINE_SIZE - 1) & ~(uint64_t)(CACHE_LINE_SIZE - 1); }

static uint32_t entries_for(uint32_t instruments) {
    uint32_t entries = 1024;
    while (entries < instruments * ENTRIES_PER_INSTRUMENT && entries < ENTRIES_MAX) entries *= 2;
    return entries;
}

/* Room for half as many orders again as the target, since the draw to it is not a bound. */
static book_config market_config(const flow_config *config) {
    uint32_t orders = config->live_orders + config->live_orders / 2 + 1024;
    return (book_config){.instruments = config->instruments, .orders_max = orders, .levels_max = orders};
}

uint64_t flow_bytes(const flow_config *config) {
    if (!config->instruments || config->instruments > FLOW_INSTRUMENTS_MAX) return 0;
    if (!config->live_orders || config->live_orders > BOOK_ORDERS_MAX / 2) return 0;
    if (config->increment_ticks <= 0 || config->increment_ticks > 1000000) return 0;
    book_config market = market_config(config);
    return round_up(sizeof(struct flow)) + round_up(entries_for(config->instruments) * sizeof(uint16_t)) +
           round_up(config->instruments * sizeof(int64_t)) + (config->runs_market ? book_bytes(&market) : 0);
}

/* ---- chance ---------------------------------------------------------------------------------- */

static uint64_t rotate(uint64_t value, int bits) { return (value << bits) | (value >> (64 - bits)); }

uint64_t flow_random(flow *self) {
    uint64_t *s = self->random;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in 0..below-1, below < 2^32. */
static uint32_t draw(flow *self, uint32_t below) {
    return (uint32_t)(((flow_random(self) >> 32) * below) >> 32);
}

/* 0 with chance 1/2, 1 with 1/4, ... at most `max`. */
static uint32_t draw_halving(flow *self, uint32_t max) {
    uint32_t steps = (uint32_t)__builtin_ctzll(flow_random(self) | ((uint64_t)1 << 63));
    return steps < max ? steps : max;
}

/* Bursts and lulls: halvings of a gap that is drawn uniformly, with the mean asked for. */
static uint64_t draw_gap_ns(flow *self) {
    uint64_t mean_ns = self->config.mean_gap_ns;
    if (!mean_ns) return 0;
    uint64_t scale = mean_ns << draw_halving(self, 4); /* mean of the scale: 3 means */
    return (uint64_t)(((unsigned __int128)flow_random(self) * (scale * 2 / 3)) >> 64);
}

static int64_t draw_quantity(flow *self) {
    uint32_t kind = draw(self, 20);
    if (kind < 12) return ROUND_LOT;
    if (kind < 16) return ROUND_LOT * (int64_t)(2 + draw(self, 9));
    return 1 + draw(self, 99);
}

/* ---- setting up ------------------------------------------------------------------------------ */

static void fill_activity(flow *self) {
    uint64_t total = 0, below = 0;
    uint32_t instruments = self->config.instruments, entry = 0;
    for (uint32_t i = 0; i < instruments; i++) total += ((uint64_t)1 << 40) / (i + 1 + ACTIVITY_OFFSET);
    for (uint32_t i = 0; i < instruments; i++) {
        below += ((uint64_t)1 << 40) / (i + 1 + ACTIVITY_OFFSET);
        uint64_t end = (uint64_t)(((unsigned __int128)below * self->entries) / total);
        while (entry < end) self->activity[entry++] = (uint16_t)i;
    }
}

/* 4 to 512 dollars, each doubling equally likely. */
static int64_t draw_reference_ticks(flow *self) {
    int64_t floor_ticks = (int64_t)40000 << draw(self, 7);
    int64_t ticks = floor_ticks + (int64_t)draw(self, (uint32_t)floor_ticks);
    int64_t increment = self->config.increment_ticks;
    return ticks >= 64 * increment ? ticks - ticks % increment : 64 * increment;
}

flow *flow_init(void *memory, uint64_t bytes, const flow_config *config) {
    uint64_t needed = flow_bytes(config);
    if (!memory || (uintptr_t)memory % CACHE_LINE_SIZE || !needed || bytes < needed) return NULL;
    flow *self = memory;
    memset(self, 0, sizeof *self);
    uint64_t state = config->seed;
    for (int i = 0; i < 4; i++) self->random[i] = splitmix(&state);
    self->config = *config;
    self->entries = entries_for(config->instruments);
    self->time_ns = config->midnight_ns + config->start_ns;
    self->next_ref = self->next_match = self->filling = 1;
    uint8_t *rest = (uint8_t *)memory + round_up(sizeof *self);
    self->activity = (uint16_t *)rest;
    rest += round_up(self->entries * sizeof(uint16_t));
    self->reference_ticks = (int64_t *)rest;
    rest += round_up(config->instruments * sizeof(int64_t));
    fill_activity(self);
    for (uint32_t i = 0; i < config->instruments; i++) self->reference_ticks[i] = draw_reference_ticks(self);
    if (config->runs_market) {
        book_config market = market_config(config);
        self->market = book_init(rest, book_bytes(&market), &market);
    }
    return self;
}

/* ---- intents --------------------------------------------------------------------------------- */

/* While the book fills, quiet instruments get orders as fast as busy ones half of the time. */
static uint32_t draw_instrument(flow *self) {
    if (self->filling && draw(self, 2)) return draw(self, self->config.instruments);
    return self->activity[flow_random(self) >> 32 & (self->entries - 1)];
}

/* Where a side's prices are measured from: its best, unless that is empty or a stub. */
static int64_t anchor_ticks(const flow *self, const book_top *top, uint32_t instrument, uint32_t side) {
    int64_t reference = self->reference_ticks[instrument];
    int64_t best = top->price[side];
    if (best > reference / 2 && best < reference * 2) return best;
    return side == SIDE_BUY ? reference - self->config.increment_ticks : reference + self->config.increment_ticks;
}

/* Better than the anchor by one step, at it, behind it, or far behind it. */
static int64_t draw_steps_behind(flow *self) {
    uint32_t kind = draw(self, 64);
    if (kind < 8) return -1;
    if (kind < 28) return 0;
    if (kind < 54) return 1 + (int64_t)draw_halving(self, 20);
    return 1 + (int64_t)draw(self, kind < 62 ? 40 : 400);
}

/* A price at which an order comes to rest without crossing. */
static int64_t draw_resting_ticks(flow *self, const book_top *top, uint32_t instrument, uint32_t side) {
    int64_t increment = self->config.increment_ticks;
    int64_t opposite = top->price[side ^ 1];
    int64_t sign = side == SIDE_BUY ? -1 : 1;
    if (draw(self, 8192) == 0) {
        int64_t stub = side == SIDE_BUY ? STUB_BID_TICKS : STUB_ASK_TICKS;
        if (stub % increment == 0 && (!opposite || (stub - opposite) * sign > 0)) return stub;
    }
    int64_t ticks = anchor_ticks(self, top, instrument, side) + sign * draw_steps_behind(self) * increment;
    if (opposite && (ticks - opposite) * sign <= 0) ticks = opposite + sign * increment;
    return ticks; /* 0 or less when a bid would have to lie below the lowest price */
}

/* A live order of this instrument: three in four near the touch, the rest at any level; most from the
 * back of the queue, where the recent ones stand. NO_ORDER when there is none. */
static uint32_t pick_order(flow *self, const book *market, uint32_t instrument, uint32_t *side) {
    *side = draw(self, 2);
    if (!market->instruments[instrument].ladder[*side].count) *side ^= 1;
    uint32_t count = market->instruments[instrument].ladder[*side].count;
    if (!count) return NO_ORDER;
    uint32_t rank = draw(self, 4) ? draw_halving(self, count - 1) : draw(self, count);
    uint32_t order = market->levels[book_level_at(market, instrument, *side, rank)].tail;
    for (uint32_t steps = draw_halving(self, QUEUE_STEPS); steps && market->orders[order].previous; steps--)
        order = market->orders[order].previous;
    return order;
}

static void intend_enter(flow *self, const book_top *top, flow_intent *intent) {
    intent->action = FLOW_ENTER;
    intent->side = (uint8_t)draw(self, 2);
    intent->time_in_force = TIF_DAY;
    intent->quantity_lots = draw_quantity(self);
    intent->price_ticks = draw_resting_ticks(self, top, intent->instrument, intent->side);
    if (intent->price_ticks > 0) return;
    intent->side = SIDE_SELL; /* no room for a bid below the lowest price */
    intent->price_ticks = draw_resting_ticks(self, top, intent->instrument, SIDE_SELL);
}

/* Cross the touch, sometimes through several levels. */
static int intend_take(flow *self, const book_top *top, flow_intent *intent) {
    uint32_t side = draw(self, 2);
    int64_t opposite = top->price[side ^ 1];
    int64_t reference = self->reference_ticks[intent->instrument];
    if (opposite <= reference / 2 || opposite >= reference * 2) return 0; /* nobody trades with a stub */
    int64_t through = (int64_t)draw_halving(self, 3) * self->config.increment_ticks;
    intent->action = FLOW_ENTER;
    intent->side = (uint8_t)side;
    intent->time_in_force = draw(self, 3) ? TIF_IOC : TIF_DAY;
    intent->quantity_lots = draw_quantity(self);
    intent->price_ticks = side == SIDE_BUY ? opposite + through : opposite - through;
    return intent->price_ticks > 0;
}

static int intend_trade(flow *self, const book_top *top, flow_intent *intent) {
    if (!top->quantity[SIDE_BUY] || !top->quantity[SIDE_SELL]) return 0;
    intent->action = FLOW_TRADE;
    intent->side = SIDE_BUY;
    intent->quantity_lots = draw_quantity(self);
    intent->price_ticks = top->price[SIDE_BUY] + (top->price[SIDE_SELL] - top->price[SIDE_BUY]) / 2;
    return 1;
}

/* Cancel, reduce or replace a live order. */
static int intend_change(flow *self, const book *market, flow_intent *intent, uint8_t action) {
    uint32_t side;
    uint32_t index = pick_order(self, market, intent->instrument, &side);
    if (index == NO_ORDER) return 0;
    const order_node *order = &market->orders[index];
    intent->action = action;
    intent->side = (uint8_t)side;
    intent->order_ref = order->ref;
    if (action == FLOW_REDUCE) {
        if (order->quantity < 2) return 0;
        intent->quantity_lots = 1 + draw(self, (uint32_t)(order->quantity < 1000 ? order->quantity - 1 : 999));
    } else if (action == FLOW_REPLACE) {
        intent->quantity_lots = draw_quantity(self);
        intent->price_ticks =
            draw_resting_ticks(self, &market->instruments[intent->instrument].top, intent->instrument, side);
        return intent->price_ticks > 0;
    }
    return 1;
}

/* ENTER's share: what keeps the book where it is, and a correction towards the target. */
static uint32_t share_enter(flow *self, const book *market) {
    int64_t target = self->config.live_orders;
    int64_t missing = target - (int64_t)market->order_count;
    if (missing <= 0) self->filling = 0;
    if (self->filling) return 950;
    int64_t correction = missing * 4000 / target;
    if (correction > SHARE_CORRECTION) correction = SHARE_CORRECTION;
    if (correction < -SHARE_CORRECTION) correction = -SHARE_CORRECTION;
    return (uint32_t)(SHARE_ENTER + correction);
}

void flow_intend(flow *self, const book *market, flow_intent *intent) {
    memset(intent, 0, sizeof *intent);
    self->time_ns += draw_gap_ns(self);
    intent->time_ns = self->time_ns;
    intent->instrument = draw_instrument(self);
    const book_top *top = &market->instruments[intent->instrument].top;
    uint32_t share = draw(self, 1000), edge = share_enter(self, market);
    int done = 0;
    if (share >= edge) {
        if (share < (edge += SHARE_TAKE)) done = intend_take(self, top, intent);
        else if (share < (edge += SHARE_TRADE)) done = intend_trade(self, top, intent);
        else if (share < (edge += SHARE_REPLACE)) done = intend_change(self, market, intent, FLOW_REPLACE);
        else if (share < (edge += SHARE_REDUCE)) done = intend_change(self, market, intent, FLOW_REDUCE);
        else done = intend_change(self, market, intent, FLOW_CANCEL);
    }
    if (!done) {
        intent->order_ref = 0;
        intend_enter(self, top, intent);
    }
}

/* ---- the flow's own market ------------------------------------------------------------------- */

static uint64_t new_ref(flow *self) { return self->next_ref += 1 + draw(self, 4); }

static void write_order(norm_event *event, uint8_t type, uint64_t order_ref, int64_t price_ticks, int64_t quantity_lots,
                        uint64_t reference) {
    event->header.type = type;
    event->order_ref = order_ref;
    event->price_ticks = price_ticks;
    event->quantity_lots = quantity_lots;
    event->reference = reference;
}

/* The taker's next execution; 0 when what is left of it meets nobody. */
static int take_front(flow *self, norm_event *event) {
    flow_intent *taking = &self->taking;
    uint32_t maker_side = taking->side ^ 1u;
    uint32_t level = book_level_at(self->market, taking->instrument, maker_side, 0);
    if (level == NO_LEVEL) return 0;
    const level_node *best = &self->market->levels[level];
    if (best->key < ladder_key(taking->price_ticks, maker_side)) return 0;
    const order_node *maker = &self->market->orders[best->head];
    int64_t lots = maker->quantity < taking->quantity_lots ? maker->quantity : taking->quantity_lots;
    uint8_t type = draw(self, 64) ? NORM_EXECUTE : NORM_EXECUTE_PRICE;
    taking->quantity_lots -= lots;
    write_order(event, type, maker->ref, ladder_key(best->key, maker_side), lots, self->next_match++);
    event->header.flags = FLAG_PRINTABLE;
    return 1;
}

/* What is left of an entered order comes to rest, or with TIF_IOC is gone. */
static int rest(flow *self, norm_event *event) {
    flow_intent *taking = &self->taking;
    int64_t lots = taking->quantity_lots;
    taking->quantity_lots = 0;
    if (taking->time_in_force == TIF_IOC) return 0;
    write_order(event, NORM_ADD, new_ref(self), taking->price_ticks, lots, 0);
    event->header.flags = taking->side == SIDE_SELL ? FLAG_SELL : 0;
    return 1;
}

static int carry_out(flow *self, const flow_intent *intent, norm_event *event) {
    switch (intent->action) {
    case FLOW_ENTER:
        self->taking = *intent;
        return take_front(self, event) || rest(self, event);
    case FLOW_REPLACE:
        write_order(event, NORM_REPLACE, intent->order_ref, intent->price_ticks, intent->quantity_lots, new_ref(self));
        return 1;
    case FLOW_REDUCE:
        write_order(event, NORM_REDUCE, intent->order_ref, 0, intent->quantity_lots, 0);
        return 1;
    case FLOW_TRADE:
        write_order(event, NORM_TRADE, 0, intent->price_ticks, intent->quantity_lots, self->next_match++);
        event->header.flags = FLAG_PRINTABLE;
        return 1;
    default:
        write_order(event, NORM_DELETE, intent->order_ref, 0, 0, 0);
        return 1;
    }
}

/* The day's opening; 0 when it is over. */
static int open_day(flow *self, norm_event *event) {
    uint32_t at = self->opened, instruments = self->config.instruments;
    if (at == instruments + sizeof OPENING_EVENTS) return 0;
    self->opened++;
    event->header.instrument = NO_INSTRUMENT;
    if (at < 2 || at == instruments + 2) {
        char code = OPENING_EVENTS[at < 2 ? at : 2];
        write_order(event, NORM_SYSTEM, (uint64_t)code, 0, 0, 0);
    } else {
        event->header.instrument = at - 2;
        write_order(event, NORM_DIRECTORY, 0, 0, ROUND_LOT, at - 2 + 1);
    }
    return 1;
}

void flow_next(flow *self, norm_event *event) {
    memset(event, 0, sizeof *event);
    event->header.origin_time_ns = self->time_ns;
    event->header.instrument = self->taking.instrument;
    int made = open_day(self, event);
    if (!made && self->taking.quantity_lots > 0) made = take_front(self, event) || rest(self, event);
    /* An IOC that takes nothing makes no event. It was judged by this book's touch, so it takes. */
    while (!made) {
        flow_intent intent;
        flow_intend(self, self->market, &intent);
        event->header.origin_time_ns = intent.time_ns;
        event->header.instrument = intent.instrument;
        made = carry_out(self, &intent, event);
    }
    book_apply(self->market, event);
}

/* ---- names and bytes ------------------------------------------------------------------------- */

void flow_symbol(uint32_t instrument, char symbol[8]) {
    memset(symbol, ' ', 8);
    for (int i = 4; i >= 1; i--, instrument /= 26) symbol[i] = (char)('A' + instrument % 26);
    symbol[0] = 'Z'; /* five letters that begin with Z: test symbols by the venue's custom */
}

uint32_t flow_encode(const flow *self, const norm_event *event, uint8_t *target, uint32_t capacity) {
    static const uint8_t TYPE[] = {
        [NORM_ADD] = 'A',    [NORM_EXECUTE] = 'E', [NORM_EXECUTE_PRICE] = 'C', [NORM_REDUCE] = 'X', [NORM_DELETE] = 'D',
        [NORM_REPLACE] = 'U', [NORM_TRADE] = 'P',   [NORM_SYSTEM] = 'S',        [NORM_DIRECTORY] = 'R',
    };
    uint8_t type = event->header.type < sizeof TYPE ? TYPE[event->header.type] : 0;
    if (!type) return 0;
    itch_message message = {
        .type = type,
        .side = event->header.flags & FLAG_SELL ? 'S' : 'B',
        .printable = event->header.flags & FLAG_PRINTABLE ? 'Y' : 'N',
        .time_ns = event->header.origin_time_ns - self->config.midnight_ns,
        .order_ref = event->order_ref,
        .shares = (uint64_t)event->quantity_lots,
        .price = (uint64_t)event->price_ticks,
    };
    if (event->header.instrument != NO_INSTRUMENT) {
        message.locate = (uint16_t)(event->header.instrument + 1);
        flow_symbol(event->header.instrument, message.stock);
    }
    if (type == 'R') {
        message.number[0] = ROUND_LOT;
        memcpy(message.detail, DIRECTORY_LETTERS, sizeof DIRECTORY_LETTERS);
    }
    if (type == 'U') message.new_ref = event->reference;
    if (type == 'E' || type == 'C' || type == 'P') message.match = event->reference;
    if (type == 'S') message.event = (uint8_t)event->order_ref;
    return itch_encode(&message, target, capacity);
}

int64_t flow_reference_ticks(const flow *self, uint32_t instrument) {
    return instrument < self->config.instruments ? self->reference_ticks[instrument] : 0;
}

const book *flow_book(const flow *self) { return self->market; }
