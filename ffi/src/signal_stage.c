/* signal_stage.c: the signal stage. See include/signal_stage.h. */
#include "signal_stage.h"
#include "clock_inline.h"
#include "prefetch_inline.h"
#include "ring_inline.h"
#include "signal_inline.h"
#include <math.h>
#include <string.h>

/* The books begin anew: so does all that was made of them. */
static void features_clear(signal_stage *signal) {
    for (uint32_t i = 0; i < signal->instrument_count; i++) feature_init(&signal->feature[i]);
}

void signal_init(signal_stage *signal) {
    features_clear(signal);
    memset(signal->order, 0, signal->instrument_count * sizeof *signal->order);
    native_init(&signal->native, signal->instrument_count);
    if (signal->scorer) scorer_init(signal->scorer);
    signal->working_count = 0;
    signal->sweep_time_ns = 0;
}

void signal_expect(const signal_stage *signal, uint32_t instrument) {
    if (instrument >= signal->instrument_count) return;
    prefetch_lines(&signal->feature[instrument], FEATURE_HOT_LINES * CACHE_LINE_SIZE);
    prefetch_lines(&signal->order[instrument], sizeof(working_order));
    __builtin_prefetch(&signal->instruments[instrument], 0);
}

void signal_plan(signal_stage *signal, turn_plan *plan) {
    stage_plan(&signal->stage, plan);
    memset(plan->input_sequence, 0, sizeof plan->input_sequence);
    plan->input_sequence[SIGNAL_INPUT_NORM] = signal->norm.next + ring_available_inline(&signal->norm, signal->batch_max);
    /* Refusals are counted first: the executions that risk knew when it refused then stand in exec. */
    plan->input_sequence[SIGNAL_INPUT_REJECT] = signal->reject.next + ring_available_inline(&signal->reject, signal->batch_max);
    plan->input_sequence[SIGNAL_INPUT_EXEC] = signal->exec.next + ring_available_inline(&signal->exec, signal->batch_max);
    if (signal->seats) {
        seats_poll(signal->seats, plan->now_ns, signal->stage.lockstep != NULL);
        const ring_reader *intake = &signal->seats->intake_in;
        plan->input_sequence[SIGNAL_INPUT_INTAKE] = intake->next + ring_available_inline(intake, signal->batch_max);
    }
    plan->input_sequence[SIGNAL_OUTPUT_LIMIT] = signal->signal.next + ring_room_inline(&signal->signal);
    if (signal->scorer) plan->model_generation = scorer_plan(signal->scorer);
}

/* ---- working orders ----------------------------------------------------------------------------- */

static void working_add(signal_stage *signal, uint32_t instrument) {
    working_order *order = &signal->order[instrument];
    if (order->state != WORKING_IDLE) return;
    order->list_index = signal->working_count;
    signal->working[signal->working_count++] = instrument;
}

static void working_close(signal_stage *signal, uint32_t instrument) {
    working_order *order = &signal->order[instrument];
    if (order->state == WORKING_IDLE) return;
    uint32_t last = signal->working[--signal->working_count];
    signal->working[order->list_index] = last;
    signal->order[last].list_index = order->list_index;
    order->state = WORKING_IDLE;
    order->order_id = order->request_id = 0;
    order->leaves_lots = order->filled_lots = 0;
}

/* ---- publishing --------------------------------------------------------------------------------- */

/* What caused an intent: a market event, or the turn's time. */
typedef struct {
    uint64_t sequence;
    uint8_t input;
    uint64_t origin_time_ns;
    uint64_t ingress_time_ns;
    uint32_t feed_ns;
} intent_cause;

typedef struct {
    double score;
    double threshold;
    uint8_t time_in_force;
    int16_t component[COMPONENTS_MAX];
} opinion;

/* Of the built-in strategies: no score yet. */
static opinion opinion_none(const signal_stage *signal) {
    return (opinion){.threshold = signal->config.strategy.threshold,
                     .time_in_force = signal->config.style == STYLE_TAKE ? TIF_IOC : TIF_DAY};
}

/* Everything of the intent that a decision determined; publishes and returns the order id, or 0 when
 * the ring is full: an order that would come late is worse than none. */
static uint64_t intent_publish(signal_stage *signal, const intent_cause *cause, uint32_t instrument, uint8_t type,
                               const working_order *order, int64_t price_ticks, int64_t quantity_lots, const opinion *opinion) {
    uint64_t *counter = signal->stage.page->counter;
    if (signal->leg >= LEGS_MAX || signal->signal.next >= signal->output_limit) {
        counter[SIGNAL_RING_FULL]++;
        return 0;
    }
    signal_event *event = ring_claim_inline(&signal->signal);
    if (!event) { /* a replay whose ring is smaller than the plan saw */
        signal->stage.page->error = STAGE_ERROR_RESOURCE;
        return 0;
    }
    event->header.cause_sequence = cause->sequence;
    event->header.origin_time_ns = cause->origin_time_ns;
    event->header.ingress_time_ns = cause->ingress_time_ns;
    event->header.type = type;
    event->header.cause_input = cause->input;
    event->header.flags = (uint16_t)((order->side == SIDE_SELL ? FLAG_SELL : 0) | (type == SIGNAL_CANCEL ? signal->cancel_flags : 0));
    event->header.instrument = instrument;
    event->price_ticks = price_ticks;
    event->quantity_lots = quantity_lots;
    event->score = opinion->score;
    event->threshold = opinion->threshold;
    event->bid_price_ticks = order->bid_price_ticks;
    event->ask_price_ticks = order->ask_price_ticks;
    event->target_order_id = type == SIGNAL_NEW ? 0 : order->order_id;
    event->strategy = signal->config.strategy_id;
    event->account = signal->config.account;
    event->strategy_epoch = signal->config.strategy_epoch;
    event->leg = (uint8_t)signal->leg++;
    event->side = order->side;
    event->feed_ns = cause->feed_ns;
    event->time_in_force = opinion->time_in_force;
    event->reserved = 0;
    memcpy(event->component, opinion->component, sizeof event->component);
    intent_commit(&signal->stage, &signal->signal, event);
    return signal->order_id_base + signal->signal.next; /* sequence + 1: the id that risk will give it */
}

static void cancel(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument, const opinion *why) {
    working_order *order = &signal->order[instrument];
    uint64_t id = intent_publish(signal, cause, instrument, SIGNAL_CANCEL, order, order->price_ticks, 0, why);
    if (!id) return;
    order->request_id = id;
    order->request_time_ns = plan->now_ns;
    order->state = WORKING_CANCELING;
    signal->stage.page->counter[SIGNAL_CANCELS]++;
}

static void replace(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument,
                    int64_t price_ticks, const opinion *why) {
    working_order *order = &signal->order[instrument];
    uint64_t id = intent_publish(signal, cause, instrument, SIGNAL_REPLACE, order, price_ticks,
                                 order->leaves_lots + order->filled_lots, why);
    if (!id) return;
    order->request_id = id;
    order->request_time_ns = plan->now_ns;
    order->state = WORKING_REPLACING;
    order->request_price_ticks = price_ticks;
    signal->stage.page->counter[SIGNAL_REPLACES]++;
}

/* The order's side is set. */
static void place(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument,
                  int64_t price_ticks, int64_t quantity_lots, const opinion *why) {
    working_order *order = &signal->order[instrument];
    uint64_t id = intent_publish(signal, cause, instrument, SIGNAL_NEW, order, price_ticks, quantity_lots, why);
    if (!id) return;
    working_add(signal, instrument);
    order->order_id = id;
    order->request_id = 0;
    order->price_ticks = price_ticks;
    order->leaves_lots = quantity_lots;
    order->filled_lots = 0;
    order->placed_time_ns = order->request_time_ns = plan->now_ns;
    order->state = WORKING_PENDING;
    signal->stage.page->counter[SIGNAL_NEW_ORDERS]++;
}

/* ---- decisions ---------------------------------------------------------------------------------- */

/* Would the wished position still be within the strategy's own bound? The way back is always open. */
static int position_allows(const signal_stage *signal, const working_order *order, double score) {
    int64_t toward = score > 0 ? order->position_lots : -order->position_lots;
    return toward + signal->config.order_quantity_lots <= signal->config.position_lots_max;
}

/* An instant that has not come yet is no time ago. */
static uint64_t since(uint64_t then_ns, uint64_t now_ns) { return now_ns > then_ns ? now_ns - then_ns : 0; }

/* 1 while it is too early for another new order. */
static int cools_down(signal_stage *signal, const turn_plan *plan, const working_order *order, uint64_t cooldown_ns) {
    if (!order->placed_time_ns || since(order->placed_time_ns, plan->now_ns) >= cooldown_ns) return 0;
    signal->stage.page->counter[SIGNAL_SUPPRESSED_COOLDOWN]++;
    return 1;
}

static void decide_idle(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument, const opinion *view) {
    working_order *order = &signal->order[instrument];
    double threshold = signal->config.strategy.threshold;
    if (view->score < threshold && view->score > -threshold) return;
    if (cools_down(signal, plan, order, signal->config.cooldown_ns) || !position_allows(signal, order, view->score)) return;
    int take = signal->config.style == STYLE_TAKE, buy = view->score > 0;
    order->side = buy ? SIDE_BUY : SIDE_SELL;
    int64_t price = buy == take ? order->ask_price_ticks : order->bid_price_ticks;
    place(signal, plan, cause, instrument, price, signal->config.order_quantity_lots, view);
}

/* A resting order: out when the score has turned, along when the touch has moved away from it. */
static void decide_live(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument, const opinion *view) {
    const working_order *order = &signal->order[instrument];
    int buy = order->side == SIDE_BUY;
    double threshold = signal->config.strategy.threshold;
    if (buy ? view->score <= -threshold : view->score >= threshold) {
        cancel(signal, plan, cause, instrument, view);
        return;
    }
    int64_t touch = buy ? order->bid_price_ticks : order->ask_price_ticks;
    int left_behind = buy ? touch > order->price_ticks : touch < order->price_ticks;
    if (signal->config.style == STYLE_JOIN && left_behind &&
        since(order->request_time_ns, plan->now_ns) >= signal->config.replace_interval_ns)
        replace(signal, plan, cause, instrument, touch, view);
}

/* The user's own score; what is no number is no opinion. */
static double custom_score(signal_stage *signal, const norm_event *event, const double *value, uint32_t ready) {
    double score = native_score(&signal->native, event, signal->order[event->header.instrument].position_lots, value, ready);
    if (isfinite(score)) return score;
    signal->stage.page->counter[SIGNAL_NATIVE_NONSENSE]++;
    return 0;
}

static void decide(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument, const opinion *view) {
    const working_order *order = &signal->order[instrument];
    if (order->state == WORKING_IDLE) decide_idle(signal, plan, cause, instrument, view);
    else if (order->state == WORKING_LIVE) decide_live(signal, plan, cause, instrument, view);
    else signal->stage.page->counter[SIGNAL_SUPPRESSED_WORKING]++;
}

/* ---- decisions of a model ------------------------------------------------------------------------- */

/* What the stage has to go on at one event. */
typedef struct {
    const norm_event *event;
    const double *value;
    uint32_t ready;
    double custom;
} evidence;

/* What one model came to; `asked` 0: it was not asked at this event, and the rest is what it said last. */
typedef struct {
    const scorer_model *model; /* NULL: nobody plays this part */
    scorer_answer answer;
    uint64_t latency_ns;
    int64_t target_lots;
    int asked;
    int wishes;
    opinion view;
} role_view;

static void role_score(const signal_stage *signal, const evidence *seen, double score, role_view *out) {
    const double given[GIVEN_MAX] = {[GIVEN_MODEL] = score, [GIVEN_CUSTOM] = seen->custom};
    out->view.score = strategy_score(&signal->config.strategy, seen->value, seen->ready, given, out->view.component);
    out->view.threshold = out->model->plan->threshold;
    out->view.time_in_force = out->model->plan->price == PRICE_TAKE ? TIF_IOC : TIF_DAY;
}

/* Ask the model of one role, if this is an event for it. */
static void role_ask(signal_stage *signal, const evidence *seen, uint32_t role, role_view *out) {
    scorer *scorer = signal->scorer;
    uint32_t instrument = seen->event->header.instrument;
    out->model = scorer->deck->role[role];
    scorer_state *state = scorer_state_of(out->model, instrument);
    out->asked = scorer_due(out->model, seen->event);
    if (!out->asked) {
        role_score(signal, seen, state->score, out);
        out->target_lots = state->target_lots;
        out->wishes = (int)state->wishes;
        return;
    }
    uint64_t begin_ns = scorer->measures ? clock_read(signal->stage.clock) : 0;
    scorer_ask(out->model, instrument, seen->value, &out->answer);
    out->latency_ns = scorer->measures ? clock_read(signal->stage.clock) - begin_ns : 0;
    scorer_note(scorer, role, &out->answer, out->latency_ns);
    role_score(signal, seen, out->answer.score, out);
    int64_t held = signal->order[instrument].position_lots;
    out->target_lots = scorer_target(out->model->plan, out->view.score, held, &out->wishes);
    state->target_lots = out->target_lots;
    state->wishes = (uint64_t)out->wishes;
    uint64_t *counter = signal->stage.page->counter;
    counter[SIGNAL_MODEL_RUNS] += out->answer.status != DECISION_ABSTAINED;
    counter[SIGNAL_MODEL_ABSTAINED] += out->answer.status == DECISION_ABSTAINED;
    counter[SIGNAL_MODEL_NAN] += out->answer.status == DECISION_NAN;
}

/* For the record: what it said, of what, and whether orders follow. */
static void decision_publish(signal_stage *signal, const turn_plan *plan, const norm_event *event, uint32_t role,
                             const role_view *said, int acts) {
    decision_event *decision = ring_claim_inline(&signal->decision);
    if (!decision) return; /* cannot be: nobody holds this ring back */
    uint32_t instrument = event->header.instrument;
    decision->header = (event_header){.stamp = decision->header.stamp,
                                      .cause_sequence = signal->norm.next,
                                      .origin_time_ns = event->header.origin_time_ns,
                                      .ingress_time_ns = event->header.ingress_time_ns,
                                      .publish_time_ns = plan->now_ns,
                                      .type = SIGNAL_DECISION,
                                      .cause_input = INPUT_NORM,
                                      .instrument = instrument};
    decision->digest = said->model->digest;
    decision->inputs_digest = said->answer.inputs_digest;
    decision->score = said->answer.score;
    decision->ensemble = said->view.score;
    decision->target_lots = said->target_lots;
    decision->position_lots = signal->order[instrument].position_lots;
    decision->output = said->answer.output;
    decision->generation = plan->model_generation;
    decision->latency_ns = said->latency_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)said->latency_ns;
    decision->role = (uint8_t)role;
    decision->status = (uint8_t)said->answer.status;
    decision->acts = (uint8_t)acts;
    decision->wishes = (uint8_t)said->wishes;
    decision->reserved[0] = decision->reserved[1] = 0;
    uint64_t score;
    memcpy(&score, &decision->score, sizeof score);
    const uint64_t field[] = {decision->digest, decision->inputs_digest, score, (uint64_t)decision->target_lots,
                              (uint64_t)instrument << 32 | (uint64_t)role << 16 | (uint64_t)decision->status << 8 | decision->acts};
    stage_digest(&signal->stage, digest_fields(field, sizeof field / sizeof field[0]));
    ring_commit_inline(&signal->decision);
}

/* The position towards which orders go: the champion's wish and, where the challenger trades a part of the size, of its. */
static int64_t target_mix(const signal_stage *signal, uint32_t instrument, const role_view *own, const role_view *challenger) {
    const scorer_deck *deck = signal->scorer->deck;
    int64_t target = own->target_lots;
    if (deck->part == CHALLENGER_SIZE && challenger->model && scorer_state_of(challenger->model, instrument)->known)
        target = (target * (1000000 - (int64_t)deck->part_ppm) + challenger->target_lots * (int64_t)deck->part_ppm) / 1000000;
    int64_t most = signal->config.position_lots_max;
    return target > most ? most : target < -most ? -most : target;
}

/* A resting order of a model: out when another side is wished, along when the touch has left it and that is its way. */
static void follow(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument,
                   const role_view *said, int64_t target_lots) {
    const working_order *order = &signal->order[instrument];
    const model_plan *policy = said->model->plan;
    int buy = order->side == SIDE_BUY;
    int64_t gap = target_lots - order->position_lots;
    if (said->asked && said->wishes && (buy ? gap <= 0 : gap >= 0)) {
        cancel(signal, plan, cause, instrument, &said->view);
        return;
    }
    int64_t touch = buy ? order->bid_price_ticks : order->ask_price_ticks;
    int left_behind = buy ? touch > order->price_ticks : touch < order->price_ticks;
    if (!left_behind || policy->urgency == URGENCY_REST) return;
    if (since(order->request_time_ns, plan->now_ns) < signal->config.replace_interval_ns) return;
    int64_t far = buy ? order->ask_price_ticks : order->bid_price_ticks;
    replace(signal, plan, cause, instrument, policy->urgency == URGENCY_CROSS ? far : touch, &said->view);
}

static void decide_by_model(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument,
                            const role_view *said, int64_t target_lots) {
    working_order *order = &signal->order[instrument];
    const model_plan *policy = said->model->plan;
    if (order->state == WORKING_LIVE) {
        follow(signal, plan, cause, instrument, said, target_lots);
        return;
    }
    if (!said->asked || !said->wishes) return;
    if (order->state != WORKING_IDLE) {
        signal->stage.page->counter[SIGNAL_SUPPRESSED_WORKING]++;
        return;
    }
    scorer_order wanted = scorer_order_of(policy, target_lots, order->position_lots, order->bid_price_ticks, order->ask_price_ticks,
                                          signal->instruments[instrument].price_increment_ticks);
    if (!wanted.quantity_lots || cools_down(signal, plan, order, policy->hold_ns)) return;
    order->side = wanted.side;
    place(signal, plan, cause, instrument, wanted.price_ticks, wanted.quantity_lots, &said->view);
}

/* The champion failed and nobody takes its place: what rests is cancelled, what is held is sold or bought back. */
static void flatten(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument) {
    working_order *order = &signal->order[instrument];
    opinion none = opinion_none(signal);
    if (order->state == WORKING_LIVE) cancel(signal, plan, cause, instrument, &none);
    if (order->state != WORKING_IDLE || !order->position_lots) return;
    if (cools_down(signal, plan, order, signal->config.cooldown_ns)) return;
    int buy = order->position_lots < 0;
    int64_t size = buy ? -order->position_lots : order->position_lots;
    int64_t most = signal->scorer->deck->role[MODEL_CHAMPION]->plan->order_lots;
    order->side = buy ? SIDE_BUY : SIDE_SELL;
    none.time_in_force = TIF_IOC;
    place(signal, plan, cause, instrument, buy ? order->ask_price_ticks : order->bid_price_ticks, size < most ? size : most, &none);
}

static void compare(scorer *scorer, const role_view *own, const role_view *challenger) {
    if (!own->model || !own->asked || !challenger->asked) return;
    model_health *health = &scorer->watch->health[MODEL_CHALLENGER];
    health->compared++;
    health->agreed += own->wishes == challenger->wishes && (!own->wishes || own->target_lots == challenger->target_lots);
}

/* Every model of the deck is asked that this event is for; orders follow the one that acts, where models have a weight.
 * 0: no model acts here, and the built-in strategies decide by themselves. */
static int models_decide(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, const evidence *seen) {
    scorer *scorer = signal->scorer;
    uint32_t instrument = seen->event->header.instrument, role;
    int flat, weighs = signal->config.strategy.weight[COMPONENT_MODEL] != 0;
    const scorer_model *acting = scorer_acting(scorer, instrument, &role, &flat);
    role_view said[2] = {{.asked = 0}};
    role_view *own = &said[0], *challenger = &said[1];
    uint32_t own_role = scorer_role(scorer);
    if (own_role < MODEL_ROLES && scorer_trades(scorer->deck->role[own_role], instrument)) role_ask(signal, seen, own_role, own);
    if (scorer_challenges(scorer, instrument)) role_ask(signal, seen, MODEL_CHALLENGER, challenger);
    int acts = acting && weighs && scorer_trades(acting, instrument);
    if (own->asked) decision_publish(signal, plan, seen->event, own_role, own, acts && role == own_role);
    if (challenger->asked)
        decision_publish(signal, plan, seen->event, MODEL_CHALLENGER, challenger,
                         acts && (role == MODEL_CHALLENGER || scorer->deck->part == CHALLENGER_SIZE));
    compare(scorer, own, challenger);
    if (flat && weighs) {
        flatten(signal, plan, cause, instrument);
        return 1;
    }
    if (!acts) return 0;
    const role_view *chosen = role == MODEL_CHALLENGER ? challenger : own;
    int64_t target = role == MODEL_CHALLENGER ? chosen->target_lots : target_mix(signal, instrument, own, challenger);
    decide_by_model(signal, plan, cause, instrument, chosen, target);
    return 1;
}

static void evaluate(signal_stage *signal, const turn_plan *plan, const norm_event *event, const double *value, uint32_t ready) {
    uint32_t instrument = event->header.instrument;
    working_order *order = &signal->order[instrument];
    order->bid_price_ticks = event->bid_price_ticks;
    order->ask_price_ticks = event->ask_price_ticks;
    double custom = signal->native.function ? custom_score(signal, event, value, ready) : 0;
    signal->stage.page->counter[SIGNAL_EVALUATIONS]++;
    if (event->header.publish_time_ns < event->header.ingress_time_ns) signal->stage.page->counter[SIGNAL_NEGATIVE_HOPS]++;
    uint64_t feed_ns = since(event->header.ingress_time_ns, event->header.publish_time_ns);
    intent_cause cause = {.sequence = signal->norm.next,
                          .input = INPUT_NORM,
                          .origin_time_ns = event->header.origin_time_ns,
                          .ingress_time_ns = event->header.ingress_time_ns,
                          .feed_ns = feed_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)feed_ns};
    signal->leg = 0;
    const evidence seen = {.event = event, .value = value, .ready = ready, .custom = custom};
    if (signal->scorer && signal->scorer->deck && models_decide(signal, plan, &cause, &seen)) return;
    const double given[GIVEN_MAX] = {[GIVEN_CUSTOM] = custom};
    opinion view = opinion_none(signal);
    view.score = strategy_score(&signal->config.strategy, value, ready, given, view.component);
    decide(signal, plan, &cause, instrument, &view);
}

static int is_print(uint8_t type) {
    return type == NORM_EXECUTE || type == NORM_EXECUTE_PRICE || type == NORM_TRADE;
}

static void market_event(signal_stage *signal, const turn_plan *plan, const norm_event *event) {
    signal->stage.page->counter[SIGNAL_EVENTS]++;
    uint32_t instrument = event->header.instrument;
    if (event->header.type == NORM_CLEAR) features_clear(signal);
    if (signal->config.silent || instrument >= signal->instrument_count) return;
    if (!(signal->instruments[instrument].flags & INSTRUMENT_TRADED)) return;
    double value[FEATURES_MAX];
    uint32_t ready = feature_update(&signal->config.feature, &signal->feature[instrument], event, value);
    if (!(event->header.flags & FLAG_TOP) && !is_print(event->header.type)) return;
    if (event->header.flags & FLAG_STALE) {
        signal->stage.page->counter[SIGNAL_SUPPRESSED_STALE]++;
        return;
    }
    if (!event->bid_price_ticks || !event->ask_price_ticks) return;
    if (event->bid_price_ticks >= event->ask_price_ticks) {
        signal->stage.page->counter[SIGNAL_SUPPRESSED_CROSSED]++;
        return;
    }
    evaluate(signal, plan, event, value, ready);
}

/* ---- executions --------------------------------------------------------------------------------- */

/* A cancel or replacement that did not go through leaves its order as it was: unless the gate has no
 * such order any more, which then has been answered for, or was refused without our hearing of it. */
static void refused(signal_stage *signal, const exec_event *execution) {
    uint32_t instrument = execution->header.instrument;
    working_order *order = &signal->order[instrument];
    if (order->state == WORKING_IDLE) return;
    if (order->order_id == execution->order_id) {
        working_close(signal, instrument);
    } else if (order->request_id == execution->order_id) {
        order->request_id = 0;
        order->state = WORKING_LIVE;
        int gone = execution->header.type == EXEC_REFUSED && execution->reason == REJECT_UNKNOWN_ORDER;
        if (gone) working_close(signal, instrument);
    }
}

static void filled(signal_stage *signal, const exec_event *execution, int sign) {
    uint32_t instrument = execution->header.instrument;
    working_order *order = &signal->order[instrument];
    order->position_lots += (execution->side == SIDE_BUY ? 1 : -1) * sign * execution->quantity_lots;
    if (order->state == WORKING_IDLE || order->order_id != execution->order_id || sign < 0) return;
    order->filled_lots += execution->quantity_lots;
    order->leaves_lots = execution->leaves_lots;
    if (execution->leaves_lots <= 0) working_close(signal, instrument);
}

/* People moved the position: what was held at the opening, a split, a correction. Its cost is none of ours. */
static void adjusted(signal_stage *signal, const exec_event *execution) {
    int64_t lots = execution->quantity_lots;
    signal->order[execution->header.instrument].position_lots += execution->side == SIDE_BUY ? lots : -lots;
}

static void replaced(signal_stage *signal, const exec_event *execution) {
    uint32_t instrument = execution->header.instrument;
    working_order *order = &signal->order[instrument];
    if (order->state == WORKING_IDLE || order->order_id != execution->target_order_id) return;
    order->order_id = execution->order_id;
    order->price_ticks = execution->price_ticks > 0 ? execution->price_ticks : order->request_price_ticks;
    order->request_id = 0;
    order->leaves_lots = execution->leaves_lots;
    order->state = WORKING_LIVE;
    if (execution->leaves_lots <= 0) working_close(signal, instrument);
}

/* The venue's figure of what is live; at 0 the order is no more. */
static void leaves_set(signal_stage *signal, const exec_event *execution) {
    signal->order[execution->header.instrument].leaves_lots = execution->leaves_lots;
    if (execution->leaves_lots <= 0) working_close(signal, execution->header.instrument);
}

/* What happened to the very order that is at work. */
static void order_event(signal_stage *signal, const exec_event *execution) {
    working_order *order = &signal->order[execution->header.instrument];
    if (order->state == WORKING_IDLE || order->order_id != execution->order_id) return;
    switch (execution->header.type) {
    case EXEC_ACCEPTED:
        if (order->state == WORKING_PENDING) order->state = WORKING_LIVE;
        leaves_set(signal, execution);
        return;
    case EXEC_RESTATED:
        if (execution->price_ticks > 0) order->price_ticks = execution->price_ticks;
        if (execution->leaves_lots > 0) order->leaves_lots = execution->leaves_lots;
        return;
    case EXEC_CANCELED: leaves_set(signal, execution); return;
    case EXEC_CANCEL_REJECTED:
        if (order->state != WORKING_CANCELING) return;
        order->request_id = 0;
        order->state = WORKING_LIVE;
        return;
    default: return;
    }
}

static void execution_event(signal_stage *signal, const exec_event *execution) {
    if (execution->header.instrument >= signal->instrument_count) return;
    switch (execution->header.type) {
    case EXEC_FILL: filled(signal, execution, 1); return;
    case EXEC_BROKEN: filled(signal, execution, -1); return;
    case EXEC_ADJUSTED: adjusted(signal, execution); return;
    case EXEC_REPLACED: replaced(signal, execution); return;
    case EXEC_REJECTED:
    case EXEC_REFUSED:
    case EXEC_REPLACE_REJECTED: refused(signal, execution); return;
    default: order_event(signal, execution); return;
    }
}

/* ---- time --------------------------------------------------------------------------------------- */

/* One working order under the turn's time: too old, or without an answer. */
static void sweep_order(signal_stage *signal, const turn_plan *plan, const intent_cause *cause, uint32_t instrument) {
    const opinion none = opinion_none(signal);
    const working_order *order = &signal->order[instrument];
    uint64_t waited = since(order->request_time_ns, plan->now_ns);
    switch (order->state) {
    case WORKING_LIVE:
        if (since(order->placed_time_ns, plan->now_ns) >= signal->config.order_life_ns)
            cancel(signal, plan, cause, instrument, &none);
        return;
    case WORKING_PENDING:
    case WORKING_REPLACING:
        if (waited >= signal->config.answer_timeout_ns) cancel(signal, plan, cause, instrument, &none);
        return;
    case WORKING_CANCELING: /* given up here; the gate goes on counting it until the venue has answered */
        if (waited >= signal->config.answer_timeout_ns) working_close(signal, instrument);
        return;
    default: return;
    }
}

static int sweep(signal_stage *signal, const turn_plan *plan) {
    if (!signal->working_count || since(signal->sweep_time_ns, plan->now_ns) < signal->sweep_interval_ns) return 0;
    signal->sweep_time_ns = plan->now_ns;
    intent_cause cause = {.sequence = signal->stage.turn + 1,
                          .input = INPUT_TIMER,
                          .origin_time_ns = plan->now_ns,
                          .ingress_time_ns = clock_read(signal->stage.clock)};
    signal->leg = 0;
    for (uint32_t i = signal->working_count; i-- > 0;) sweep_order(signal, plan, &cause, signal->working[i]);
    return 1;
}

/* The trading day rolled: session features begin anew. */
static int roll(signal_stage *signal, const turn_plan *plan) {
    if (!stage_roll(signal->roll_time_ns, plan->now_ns)) return 0;
    for (uint32_t i = 0; i < signal->instrument_count; i++) feature_init(&signal->feature[i]);
    native_init(&signal->native, signal->instrument_count);
    if (signal->scorer) scorer_roll(signal->scorer);
    return 1;
}

/* ---- the turn ----------------------------------------------------------------------------------- */

static int inputs_stand(signal_stage *signal, const turn_plan *plan) {
    return stage_input_stands(&signal->stage, &signal->norm, plan->input_sequence[SIGNAL_INPUT_NORM]) &&
           stage_input_stands(&signal->stage, &signal->exec, plan->input_sequence[SIGNAL_INPUT_EXEC]) &&
           stage_input_stands(&signal->stage, &signal->reject, plan->input_sequence[SIGNAL_INPUT_REJECT]) &&
           (!signal->seats ||
            stage_input_stands(&signal->stage, &signal->seats->intake_in, plan->input_sequence[SIGNAL_INPUT_INTAKE]));
}

/* What belongs to a seat's order is none of the built-in strategy's business. */
static int executions_drain(signal_stage *signal, const turn_plan *plan, ring_reader *reader, uint64_t end) {
    if (reader->next >= end) return 0;
    for (; reader->next < end; reader->next++) {
        const exec_event *execution = ring_at_inline(reader, 0);
        if (signal->seats && seats_execution(signal->seats, plan, reader->next, execution)) continue;
        execution_event(signal, execution);
    }
    ring_release_inline(reader);
    return 1;
}

static int requests_drain(signal_stage *signal, const turn_plan *plan) {
    seats *seats = signal->seats;
    uint64_t end = plan->input_sequence[SIGNAL_INPUT_INTAKE];
    if (seats->intake_in.next >= end) return 0;
    for (; seats->intake_in.next < end; seats->intake_in.next++)
        seats_request(seats, plan, seats->intake_in.next, ring_at_inline(&seats->intake_in, 0));
    ring_release_inline(&seats->intake_in);
    return 1;
}

static int market_drain(signal_stage *signal, const turn_plan *plan) {
    uint64_t end = plan->input_sequence[SIGNAL_INPUT_NORM];
    if (signal->norm.next >= end) return 0;
    for (; signal->norm.next < end; signal->norm.next++) market_event(signal, plan, ring_at_inline(&signal->norm, 0));
    if (signal->seats) {
        const norm_event *last = (const norm_event *)(const void *)ring_slot(signal->norm.slots, end - 1, signal->norm.mask, signal->norm.slot_shift);
        seats_market(signal->seats, plan, last->header.instrument, last->header.origin_time_ns);
    }
    ring_release_inline(&signal->norm);
    return 1;
}

/* Another generation, from this turn's first event on. */
static int models_apply(signal_stage *signal, const turn_plan *plan) {
    uint32_t failed_before = signal->scorer->in_force >> MODEL_TRIP_SHIFT, swaps = (uint32_t)signal->scorer->watch->swaps;
    int applied = scorer_apply(signal->scorer, plan->model_generation, plan->now_ns);
    if (applied < 0) signal->stage.page->error = STAGE_ERROR_SEQUENCE;
    if (applied <= 0) return applied;
    uint64_t *counter = signal->stage.page->counter;
    uint32_t failed = plan->model_generation >> MODEL_TRIP_SHIFT;
    counter[SIGNAL_MODEL_GENERATION] = plan->model_generation & MODEL_GENERATION_MASK;
    counter[SIGNAL_MODEL_SWAPS] += (uint32_t)signal->scorer->watch->swaps != swaps;
    counter[SIGNAL_MODEL_FALLBACKS] += (uint64_t)__builtin_popcount(failed & ~failed_before);
    stage_digest(&signal->stage, plan->model_generation);
    return 1;
}

int signal_turn(signal_stage *signal, const turn_plan *plan) {
    if (!inputs_stand(signal, plan)) return 0;
    signal->output_limit = plan->input_sequence[SIGNAL_OUTPUT_LIMIT];
    signal->cancel_flags = plan->killed || plan->mode != MODE_NORMAL ? FLAG_PROTECTIVE : 0;
    if (signal->seats) signal->seats->output_limit = signal->output_limit;
    int busy = 0;
    if (signal->scorer) {
        int applied = models_apply(signal, plan);
        if (applied < 0) return 0;
        busy |= applied;
    }
    busy |= roll(signal, plan);
    busy |= executions_drain(signal, plan, &signal->exec, plan->input_sequence[SIGNAL_INPUT_EXEC]);
    busy |= executions_drain(signal, plan, &signal->reject, plan->input_sequence[SIGNAL_INPUT_REJECT]);
    if (signal->seats) busy |= requests_drain(signal, plan);
    busy |= market_drain(signal, plan);
    busy |= sweep(signal, plan);
    if (signal->seats) busy |= seats_sweep(signal->seats, plan);
    if (busy) stage_record(&signal->stage, plan, &signal->signal);
    return busy;
}
