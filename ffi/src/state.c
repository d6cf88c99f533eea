/* state.c: see include/state.h. */
#include "state.h"
#include "book_state.h"
#include "digest.h"

static uint64_t chain(uint64_t digest, uint64_t word) { return digest_bytes(digest, &word, sizeof word); }

/* ---- feed -------------------------------------------------------------------------------------------- */

/* One price level: its orders from the head of the queue. */
static uint64_t level_word(const book *book, const level_node *level) {
    uint64_t digest = chain(chain(0, (uint64_t)level->key), (uint64_t)level->quantity);
    for (uint32_t i = level->head; i != NO_ORDER; i = book->orders[i].next) {
        digest = chain(digest, book->orders[i].ref);
        digest = chain(digest, (uint64_t)book->orders[i].quantity);
    }
    return digest;
}

static uint64_t book_word(const book *book) {
    uint64_t digest = chain(0, book_order_count(book));
    for (uint32_t instrument = 0; instrument < book->config.instruments; instrument++)
        for (uint32_t side = 0; side < 2; side++) {
            uint32_t level;
            for (uint32_t rank = 0; (level = book_level_at(book, instrument, side, rank)) != NO_LEVEL; rank++)
                digest = chain(digest, level_word(book, &book->levels[level]));
            digest = chain(digest, instrument);
        }
    return digest;
}

uint64_t state_feed(const feed_stage *feed) {
    uint64_t digest = chain(book_word(feed->book), feed->raw_in.next);
    digest = chain(digest, feed->norm.next);
    digest = chain(digest, (uint64_t)feed->gap_open << 3 | feed->gap_lost << 2 | feed->silent << 1 | feed->in_snapshot);
    return digest_bytes(digest, feed->partial, feed->instrument_count);
}

/* ---- signal ------------------------------------------------------------------------------------------ */

/* `list_index` is a place in a list whose order is no state. */
static uint64_t working_word(const working_order *order) {
    const uint64_t field[] = {order->order_id,
                              order->request_id,
                              (uint64_t)order->price_ticks,
                              (uint64_t)order->leaves_lots,
                              (uint64_t)order->filled_lots,
                              (uint64_t)order->position_lots,
                              order->placed_time_ns,
                              order->request_time_ns,
                              (uint64_t)order->state << 8 | order->side,
                              (uint64_t)order->request_price_ticks};
    return digest_bytes(0, field, sizeof field);
}

/* What each model in force remembers, and which failed. */
static uint64_t state_models(const scorer *models) {
    uint64_t digest = chain(0, models->in_force);
    for (int role = 0; models->deck && role < MODEL_ROLES; role++) {
        const scorer_model *one = models->deck->role[role];
        if (one) digest = digest_bytes(digest ^ one->digest, one->state, one->stride * models->instrument_count);
    }
    return digest;
}

uint64_t state_signal(const signal_stage *signal) {
    uint64_t digest = chain(0, signal->norm.next);
    digest = chain(chain(digest, signal->exec.next), signal->reject.next);
    digest = chain(chain(digest, signal->signal.next), signal->working_count);
    for (uint32_t i = 0; i < signal->instrument_count; i++) {
        digest = digest_bytes(digest, &signal->feature[i], sizeof signal->feature[i]);
        digest = chain(digest, working_word(&signal->order[i]));
    }
    if (signal->scorer) digest = chain(digest, state_models(signal->scorer));
    if (!signal->native.function) return digest;
    return digest_bytes(digest, signal->native.state, signal->instrument_count * NATIVE_STATE_MAX * sizeof(double));
}

/* ---- risk -------------------------------------------------------------------------------------------- */

/* Open orders wherever they lie: a sum, so that the history of the table does not count. */
static uint64_t orders_word(const gate *gate) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i <= gate->order_mask; i++) {
        if (!gate->order_id[i]) continue;
        const gate_order *order = &gate->order[i];
        const uint64_t field[] = {gate->order_id[i], (uint64_t)order->leaves_lots, (uint64_t)order->filled_lots,
                                  (uint64_t)order->instrument << 8 | order->side, (uint64_t)order->price_ticks, order->time_ns};
        sum += digest_bytes(0, field, sizeof field);
    }
    return sum;
}

/* What accounts and strategies hold, likewise. */
static uint64_t cells_word(const gate *gate) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i <= gate->cell_mask; i++) {
        const gate_cell *cell = &gate->cell[i];
        const uint64_t field[] = {cell->key, (uint64_t)cell->position_lots, (uint64_t)cell->open_lots[0], (uint64_t)cell->open_lots[1]};
        if (cell->key) sum += digest_bytes(0, field, sizeof field);
    }
    return sum;
}

uint64_t state_risk(const risk_stage *risk) {
    const gate *gate = &risk->gate;
    const uint64_t field[] = {risk->norm.next,          risk->exec.next,        risk->signal.next,
                              risk->cmd.next,           risk->reject.next,      gate->open_orders,
                              gate->session,            gate->market_epoch,     gate->last_session_sequence,
                              gate->limits->version,    (uint64_t)gate->cash_micros,
                              (uint64_t)gate->throttle_credit, gate->throttle_time_ns};
    uint64_t digest = digest_bytes(0, field, sizeof field);
    digest = digest_bytes(digest, &gate->firm, sizeof gate->firm);
    digest = digest_bytes(digest, &gate->venue, sizeof gate->venue);
    digest = digest_bytes(digest, gate->scope, (GATE_STRATEGIES_MAX + GATE_ACCOUNTS_MAX) * sizeof *gate->scope);
    digest = digest_bytes(digest, gate->instrument, gate->instrument_count * sizeof *gate->instrument);
    digest = digest_bytes(digest, gate->intent, sizeof gate->intent);
    return chain(chain(digest, orders_word(gate)), cells_word(gate));
}

/* ---- gateway ------------------------------------------------------------------------------------------ */

uint64_t state_gateway(const gateway *gateway) {
    uint64_t digest = chain(0, gateway->intents.next);
    digest = chain(digest, gateway->intents.page->next_user_ref);
    return chain(digest, gateway->open_count);
}
