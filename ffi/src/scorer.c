/* scorer.c: see include/scorer.h. */
#include "scorer.h"
#include "digest.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

_Static_assert(FEATURES_MAX + COMPOSE_STEPS_MAX <= MODEL_VALUES_MAX, "a place for each value");
_Static_assert(MODEL_INSTRUMENT_WORDS * 64 == INSTRUMENTS_MAX, "a bit for each instrument");
_Static_assert(sizeof(model_plan) % 8 == 0 && sizeof(scorer_state) == CACHE_LINE_SIZE, "nothing between the parts");
_Static_assert(MODEL_COLUMNS_MAX + 1 == DRIFT_COLUMNS, "the score is counted behind the inputs");

/* ---- loading ----------------------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t size) { return (size + CACHE_LINE_SIZE - 1) / CACHE_LINE_SIZE * CACHE_LINE_SIZE; }

uint64_t scorer_digest(const void *image, uint64_t bytes) {
    uint64_t begin = offsetof(model_plan, bytes);
    return digest_bytes(MODEL_PLAN_MAGIC, (const uint8_t *)image + begin, bytes - begin);
}

static int columns_check(const model_plan *plan) {
    if (!plan->column_count || plan->column_count > MODEL_COLUMNS_MAX) return SCORER_BAD_COLUMN;
    for (uint32_t i = 0; i < plan->column_count; i++)
        if (plan->column[i] >= FEATURES_MAX + plan->compose.count) return SCORER_BAD_COLUMN;
    return SCORER_OK;
}

static int drift_stands(const model_plan *plan) {
    if (plan->drift_columns > DRIFT_COLUMNS) return 0;
    for (uint32_t i = 0; i < plan->drift_columns; i++)
        for (uint32_t k = 0; k < DRIFT_BINS - 1; k++)
            if (!isfinite(plan->drift_edge[i][k]) || (k && plan->drift_edge[i][k] < plan->drift_edge[i][k - 1])) return 0;
    return 1;
}

static int rules_stand(const model_plan *plan) {
    if (plan->trigger > TRIGGER_TIMER || plan->unready > UNREADY_PASS || plan->on_swap > STATE_CARRY) return 0;
    if (plan->trigger == TRIGGER_EVERY_N && !plan->every) return 0;
    if (plan->trigger == TRIGGER_TIMER && !plan->interval_ns) return 0;
    if (plan->target > TARGET_PROPORTIONAL || plan->price > PRICE_MID || plan->urgency > URGENCY_CROSS) return 0;
    if (!isfinite(plan->center) || !isfinite(plan->scale) || !(plan->threshold > 0 && plan->threshold <= 1)) return 0;
    int64_t most = (int64_t)1 << 40;
    return plan->position_lots >= 1 && plan->position_lots <= most && plan->order_lots >= 1 && plan->order_lots <= most &&
           drift_stands(plan);
}

/* The header's own words, before anything that they lead to is read. */
static int image_check(const model_plan *plan, uint64_t bytes) {
    if (bytes < sizeof *plan || plan->magic != MODEL_PLAN_MAGIC || plan->version != MODEL_PLAN_VERSION) return SCORER_BAD_PLAN;
    if (plan->bytes != bytes || plan->blob_offset % MODEL_ALIGN || plan->blob_offset < sizeof *plan) return SCORER_BAD_PLAN;
    if (plan->blob_offset > bytes || plan->blob_bytes > bytes - plan->blob_offset) return SCORER_BAD_PLAN;
    return plan->digest == scorer_digest(plan, bytes) ? SCORER_OK : SCORER_BAD_DIGEST;
}

int scorer_load(scorer_model *self, const void *image, uint64_t bytes) {
    const model_plan *plan = image;
    memset(self, 0, sizeof *self);
    int status = image_check(plan, bytes);
    if (status != SCORER_OK) return status;
    uint32_t index;
    if (compose_check(&plan->compose, &index) != COMPOSE_OK) return SCORER_BAD_STEP;
    if (feature_config_check(&plan->feature, NULL) != FEATURE_OK) return SCORER_BAD_FEATURE;
    if (columns_check(plan) != SCORER_OK) return SCORER_BAD_COLUMN;
    if (!rules_stand(plan)) return SCORER_BAD_RULE;
    if (model_load(&self->native, (const uint8_t *)image + plan->blob_offset, plan->blob_bytes, NULL) != MODEL_OK)
        return SCORER_BAD_MODEL;
    if (self->native.input_count != plan->column_count || plan->output >= self->native.output_count) return SCORER_BAD_MODEL;
    self->plan = plan;
    self->digest = plan->digest;
    self->stride = sizeof(scorer_state);
    if (plan->compose.count) {
        self->compose_offset = self->stride;
        self->stride += round_up(sizeof(compose_state));
    }
    if (self->native.state_count) {
        self->floats_offset = self->stride;
        self->stride += round_up(self->native.state_count * sizeof(float));
    }
    return SCORER_OK;
}

static uint8_t *state_of(const scorer_model *self, uint32_t instrument) { return self->state + instrument * self->stride; }

scorer_state *scorer_state_of(const scorer_model *self, uint32_t instrument) {
    return (scorer_state *)(void *)state_of(self, instrument);
}

static compose_state *composed(const scorer_model *self, uint8_t *state) {
    return (compose_state *)(void *)(state + self->compose_offset);
}

static float *floats(const scorer_model *self, uint8_t *state) {
    return self->floats_offset ? (float *)(void *)(state + self->floats_offset) : NULL;
}

void scorer_reset(const scorer_model *self, uint32_t instruments) {
    for (uint32_t i = 0; i < instruments; i++) {
        uint8_t *state = state_of(self, i);
        memset(state, 0, self->stride);
        if (self->compose_offset) compose_init(composed(self, state));
        if (self->floats_offset) model_reset(&self->native, floats(self, state));
    }
}

int scorer_trades(const scorer_model *self, uint32_t instrument) {
    return (int)(self->plan->instruments[instrument / 64] >> (instrument % 64) & 1);
}

/* ---- asking -------------------------------------------------------------------------------------------- */

int scorer_due(const scorer_model *self, const norm_event *event) {
    const model_plan *plan = self->plan;
    uint32_t instrument = event->header.instrument;
    scorer_state *state = scorer_state_of(self, instrument);
    uint64_t before = state->evaluations++;
    if (plan->trigger == TRIGGER_BOOK_CHANGE) return 1;
    if (plan->trigger == TRIGGER_EVERY_N) return before % plan->every == 0;
    uint64_t period = event->header.origin_time_ns / plan->interval_ns;
    if (before && period <= state->period) return 0;
    state->period = period;
    return 1;
}

static double clamp(double score) { return score >= 1 ? 1 : score <= -1 ? -1 : score; }

/* 1 when every input is known. */
static int inputs_gather(const scorer_model *self, const double *values) {
    const model_plan *plan = self->plan;
    int known = 1;
    for (uint32_t i = 0; i < plan->column_count; i++) {
        double value = values[plan->column[i]];
        known &= value == value;
        self->inputs[i] = (float)value;
    }
    return known;
}

void scorer_ask(const scorer_model *self, uint32_t instrument, const double *value, scorer_answer *answer) {
    const model_plan *plan = self->plan;
    uint8_t *state = state_of(self, instrument);
    double made[MODEL_VALUES_MAX];
    const double *values = value;
    if (self->compose_offset) {
        memcpy(made, value, FEATURES_MAX * sizeof *value);
        compose_run(&plan->compose, composed(self, state), made);
        values = made;
    }
    int known = inputs_gather(self, values);
    answer->inputs_digest = digest_bytes(0, self->inputs, plan->column_count * sizeof(float));
    answer->score = 0;
    answer->output = 0;
    answer->status = DECISION_ABSTAINED;
    if (known || plan->unready == UNREADY_PASS) {
        int run = model_run(&self->native, floats(self, state), self->inputs, self->outputs);
        double score = ((double)self->outputs[plan->output] - plan->center) * plan->scale;
        answer->output = self->outputs[plan->output];
        answer->status = run == MODEL_FAILED ? DECISION_FAILED : run != MODEL_OK || score != score ? DECISION_NAN : DECISION_SCORED;
        if (answer->status == DECISION_SCORED) answer->score = clamp(score);
    }
    scorer_state *own = (scorer_state *)(void *)state;
    own->score = answer->score;
    own->known = 1;
}

/* ---- from score to order -------------------------------------------------------------------------------- */

int64_t scorer_target(const model_plan *plan, double score, int64_t position_lots, int *wishes) {
    *wishes = score >= plan->threshold || score <= -plan->threshold;
    if (!*wishes) return position_lots;
    if (plan->target == TARGET_STEP) return score > 0 ? plan->position_lots : -plan->position_lots;
    return (int64_t)(score * (double)plan->position_lots);
}

/* Half-way, on the side of the order's own best: a price step never gives more than was meant. */
static int64_t mid_price(int buy, int64_t bid, int64_t ask, int64_t step) {
    int64_t half = (ask - bid) / 2 / step * step;
    return buy ? bid + half : ask - half;
}

scorer_order scorer_order_of(const model_plan *plan, int64_t target_lots, int64_t position_lots, int64_t bid_price_ticks,
                             int64_t ask_price_ticks, int64_t increment_ticks) {
    int64_t gap = target_lots - position_lots;
    int buy = gap > 0;
    int64_t size = buy ? gap : -gap;
    scorer_order order = {.quantity_lots = size < plan->order_lots ? size : plan->order_lots,
                          .side = buy ? SIDE_BUY : SIDE_SELL,
                          .time_in_force = plan->price == PRICE_TAKE ? TIF_IOC : TIF_DAY};
    int64_t step = increment_ticks > 0 ? increment_ticks : 1;
    if (plan->price == PRICE_MID) order.price_ticks = mid_price(buy, bid_price_ticks, ask_price_ticks, step);
    else order.price_ticks = buy == (plan->price == PRICE_TAKE) ? ask_price_ticks : bid_price_ticks;
    return order;
}

/* Spread over the instruments, and the same ones for the same fraction; a larger fraction takes more, and keeps those. */
int scorer_is_part(const scorer_deck *deck, uint32_t instrument) {
    uint64_t place = digest_bytes(0, &instrument, sizeof instrument) >> 32;
    return place * 1000000 >> 32 < deck->part_ppm;
}

/* ---- which deck ------------------------------------------------------------------------------------------ */

/* What may carry a state on: the same trigger, the same made features, as many floats of the same meaning. */
static int carries(const scorer_model *self, const scorer_model *from) {
    const model_plan *own = self->plan, *other = from->plan;
    return own->on_swap == STATE_CARRY && own->state_meaning && own->state_meaning == other->state_meaning &&
           self->native.state_count == from->native.state_count && self->stride == from->stride &&
           own->trigger == other->trigger && own->every == other->every && own->interval_ns == other->interval_ns &&
           memcmp(&own->compose, &other->compose, sizeof own->compose) == 0;
}

static int plays(const scorer_deck *deck, const scorer_model *one) {
    for (int role = 0; role < MODEL_ROLES; role++)
        if (deck->role[role] == one) return 1;
    return 0;
}

/* A new champion takes its predecessor's states where both say that they mean the same, and the predecessor leaves. */
static void champion_carry(const scorer_deck *before, const scorer_deck *after) {
    scorer_model *leaves = before->role[MODEL_CHAMPION], *comes = after->role[MODEL_CHAMPION];
    if (!leaves || !comes || leaves == comes || plays(before, comes) || plays(after, leaves) || !carries(comes, leaves)) return;
    uint8_t *fresh = comes->state;
    comes->state = leaves->state;
    leaves->state = fresh;
}

static uint32_t bit(uint32_t role) { return (uint32_t)1 << (MODEL_TRIP_SHIFT + role); }

uint32_t scorer_plan(scorer *self) {
    const scorer_deck *next = __atomic_load_n(&self->next, __ATOMIC_ACQUIRE); /* partner: the loader */
    if (!next) return 0;
    if (next->generation != (self->in_force & MODEL_GENERATION_MASK)) return next->generation;
    uint32_t plan = self->in_force | self->failed;
    if (!self->page) return plan;
    uint64_t trip = __atomic_load_n(&self->page->trip, __ATOMIC_RELAXED);
    if ((trip & MODEL_GENERATION_MASK) != next->generation || !(trip >> MODEL_TRIP_SHIFT)) return plan;
    uint32_t drifted = (uint32_t)trip & ~(uint32_t)MODEL_GENERATION_MASK & ~plan;
    for (uint32_t role = 0; role < MODEL_ROLES; role++)
        if (drifted & bit(role)) self->watch->trip_cause[role] = MODEL_TRIP_DRIFT;
    return plan | drifted;
}

/* The counts begin anew with a model; one that stays keeps them. */
static void watch_begin(scorer *self, const scorer_deck *before) {
    for (int role = 0; role < MODEL_ROLES; role++) {
        const scorer_model *one = self->deck->role[role];
        self->watch->trip_cause[role] = MODEL_TRIP_NONE;
        if (before && one == before->role[role] && one) continue;
        memset(&self->tally[role], 0, sizeof self->tally[role]);
        memset(&self->watch->health[role], 0, sizeof self->watch->health[role]);
        self->watch->health[role].digest = one ? one->digest : 0;
    }
    self->watch->swaps++;
}

int scorer_apply(scorer *self, uint32_t model_generation, uint64_t now_ns) {
    if (model_generation == self->in_force) return 0;
    uint32_t generation = model_generation & MODEL_GENERATION_MASK;
    if (generation != (self->in_force & MODEL_GENERATION_MASK)) {
        const scorer_deck *next = __atomic_load_n(&self->next, __ATOMIC_ACQUIRE), *before = self->deck;
        if (!next || next->generation != generation) return -1;
        if (before) champion_carry(before, next);
        self->deck = next;
        watch_begin(self, before);
        __atomic_store_n(&self->taken, generation, __ATOMIC_RELEASE); /* partner: the loader, which then lets go of `before` */
    }
    self->failed = 0;
    self->in_force = model_generation;
    self->watch->time_ns = now_ns;
    __atomic_store_n(&self->watch->generation, model_generation, __ATOMIC_RELEASE); /* partner: risk, and the desk */
    return 1;
}

uint32_t scorer_role(const scorer *self) {
    if (!(self->in_force & bit(MODEL_CHAMPION))) return self->deck->role[MODEL_CHAMPION] ? MODEL_CHAMPION : MODEL_ROLES;
    return self->deck->role[MODEL_FALLBACK] && !(self->in_force & bit(MODEL_FALLBACK)) ? MODEL_FALLBACK : MODEL_ROLES;
}

int scorer_challenges(const scorer *self, uint32_t instrument) {
    const scorer_model *challenger = self->deck->role[MODEL_CHALLENGER];
    return challenger && !(self->in_force & bit(MODEL_CHALLENGER)) && scorer_trades(challenger, instrument);
}

void scorer_init(scorer *self) {
    self->deck = NULL;
    self->in_force = self->failed = 0;
    memset(self->tally, 0, sizeof self->tally);
}

void scorer_roll(scorer *self) {
    for (int role = 0; self->deck && role < MODEL_ROLES; role++)
        if (self->deck->role[role]) scorer_reset(self->deck->role[role], self->instrument_count);
}

const scorer_model *scorer_acting(const scorer *self, uint32_t instrument, uint32_t *role, int *flat) {
    const scorer_deck *deck = self->deck;
    *flat = 0;
    *role = MODEL_CHALLENGER;
    if (deck->role[MODEL_CHALLENGER] && deck->part == CHALLENGER_INSTRUMENTS && !(self->in_force & bit(MODEL_CHALLENGER)) &&
        scorer_is_part(deck, instrument))
        return deck->role[MODEL_CHALLENGER];
    *role = MODEL_CHAMPION;
    if (!(self->in_force & bit(MODEL_CHAMPION))) return deck->role[MODEL_CHAMPION];
    *role = MODEL_FALLBACK;
    const scorer_model *fallback = self->in_force & bit(MODEL_FALLBACK) ? NULL : deck->role[MODEL_FALLBACK];
    *flat = !fallback;
    return fallback;
}

/* ---- how it goes ------------------------------------------------------------------------------------------ */

static void fail(scorer *self, uint32_t role, uint32_t cause) {
    if ((self->in_force | self->failed) & bit(role)) return;
    self->failed |= bit(role);
    self->watch->trip_cause[role] = cause;
}

static void drift_count(model_health *health, const scorer_model *one, double score) {
    const model_plan *plan = one->plan;
    for (uint32_t i = 0; i < plan->drift_columns; i++) {
        double value = i < plan->column_count ? (double)one->inputs[i] : score;
        uint32_t place = 0;
        for (uint32_t k = 0; k < DRIFT_BINS - 1; k++) place += value > plan->drift_edge[i][k];
        health->bin[i][place]++;
    }
    health->drift_count++;
}

void scorer_note(scorer *self, uint32_t role, const scorer_answer *answer, uint64_t latency_ns) {
    const scorer_model *one = self->deck->role[role];
    const model_plan *plan = one->plan;
    model_health *health = &self->watch->health[role];
    scorer_tally *tally = &self->tally[role];
    if (answer->status == DECISION_ABSTAINED) {
        health->abstained++;
        return;
    }
    int over = plan->latency_budget_ns && latency_ns > plan->latency_budget_ns;
    int nan = answer->status != DECISION_SCORED;
    health->runs++;
    health->nan += (uint64_t)nan;
    health->over_budget += (uint64_t)over;
    health->latency_sum_ns += latency_ns;
    if (latency_ns > health->latency_max_ns) health->latency_max_ns = latency_ns;
    tally->over_budget += (uint32_t)over;
    tally->nan += (uint32_t)nan;
    if (tally->nan > plan->nan_max) fail(self, role, MODEL_TRIP_NAN);
    else if (tally->over_budget > plan->over_budget_max) fail(self, role, MODEL_TRIP_LATENCY);
    if (++tally->runs == MODEL_HEALTH_RUNS) tally->runs = tally->over_budget = tally->nan = 0;
    if (!plan->drift_every || ++tally->drift_due < plan->drift_every) return;
    tally->drift_due = 0;
    drift_count(health, one, answer->score);
}

void scorer_offer(scorer *self, const scorer_deck *deck) {
    __atomic_store_n(&self->next, deck, __ATOMIC_RELEASE); /* partner: scorer_plan, and scorer_apply */
}

void models_publish(models_page *page, uint64_t generation) {
    __atomic_store_n(&page->generation, generation, __ATOMIC_RELEASE); /* partner: the loader, which reads the slot after it */
}

/* ---- off the path ------------------------------------------------------------------------------------------ */

static int is_print(uint8_t type) { return type == NORM_EXECUTE || type == NORM_EXECUTE_PRICE || type == NORM_TRADE; }

/* As the signal stage looks for a decision. */
static int is_eligible(const norm_event *event) {
    if (!(event->header.flags & FLAG_TOP) && !is_print(event->header.type)) return 0;
    if (event->header.flags & FLAG_STALE) return 0;
    return event->bid_price_ticks && event->ask_price_ticks && event->bid_price_ticks < event->ask_price_ticks;
}

uint64_t scorer_batch(const scorer_model *self, feature_state *feature, uint32_t instruments, const norm_event *events,
                      uint64_t count, uint64_t *row, scorer_answer *answer) {
    uint64_t asked = 0;
    for (uint64_t i = 0; i < count; i++) {
        const norm_event *event = &events[i];
        if (event->header.type == NORM_CLEAR)
            for (uint32_t k = 0; k < instruments; k++) feature_init(&feature[k]);
        if (event->header.instrument >= instruments) continue;
        double value[FEATURES_MAX];
        feature_update(&self->plan->feature, &feature[event->header.instrument], event, value);
        if (!is_eligible(event) || !scorer_trades(self, event->header.instrument) || !scorer_due(self, event)) continue;
        scorer_ask(self, event->header.instrument, value, &answer[asked]);
        row[asked++] = i;
    }
    return asked;
}
