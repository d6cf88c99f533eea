/* gate_measure.c: every check as a row for people to read. See include/gate_measure.h.
 *
 * The checks are the gate's own text (gate_judge_inline.h): here each leaves a row, and the next one is made.
 */
#include "gate_measure.h"
#include "gate_case_inline.h"
#include <string.h>

static void row(gate_case *c, uint32_t kind, int reason, int unit, int relation, int64_t value, int64_t threshold, int outcome) {
    if (c->count == GATE_MEASURES_MAX) return;
    c->rows[c->count++] = (gate_measured){.value = value,
                                          .threshold = threshold,
                                          .reason = (uint16_t)reason,
                                          .unit = (uint8_t)unit,
                                          .relation = (uint8_t)relation,
                                          .outcome = (uint8_t)outcome,
                                          .scope = (uint8_t)kind};
}

static int outcome_of(gate_case *c, int reason, int refuses) {
    if (!refuses) return OUTCOME_PASSES;
    return is_forgiven(c, reason) ? OUTCOME_FORGIVEN : OUTCOME_REFUSES;
}

#define JUDGE(c, kind, reason, unit, relation, value, threshold, refuses) \
    row(c, kind, reason, unit, relation, value, threshold, outcome_of(c, reason, !!(refuses)))
#define PASS_OVER(c, kind, reason, unit, relation, value, threshold) row(c, kind, reason, unit, relation, value, threshold, OUTCOME_NOT_ASKED)

#include "gate_judge_inline.h"

uint32_t gate_measure(const gate *gate, const turn_plan *plan, const signal_event *intent, uint64_t order_id,
                      gate_measured *rows) {
    uint32_t instrument = intent->header.instrument;
    uint8_t type = intent->header.type;
    gate_case c;
    memset(&c, 0, sizeof c);
    c.gate = gate;
    c.plan = plan;
    c.intent = intent;
    c.order_id = order_id;
    c.rows = rows;
    int there = instrument < gate->instrument_count && instrument < gate->limits->count;
    if (!there || intent->side > SIDE_SELL || type < SIGNAL_NEW || type > SIGNAL_CANCEL) {
        row(&c, SCOPE_INSTRUMENT, REJECT_INSTRUMENT, UNIT_YES_NO, RELATION_EQUAL, 0, 1, OUTCOME_REFUSES);
        return c.count;
    }
    if (intent->strategy >= GATE_STRATEGIES_MAX || intent->header.cause_input >= GATE_INPUTS) {
        row(&c, SCOPE_STRATEGY, REJECT_DUPLICATE, UNIT_YES_NO, RELATION_EQUAL, 1, 0, OUTCOME_REFUSES);
        return c.count;
    }
    int opened = case_open(&c);
    if (type == SIGNAL_CANCEL) {
        if (!opened) memset(c.scope, 0, sizeof c.scope);
        judge_cancel(&c);
        return c.count;
    }
    if (!opened) {
        row(&c, SCOPE_STRATEGY, REJECT_CAPACITY, UNIT_YES_NO, RELATION_EQUAL, 1, 0, OUTCOME_REFUSES);
        return c.count;
    }
    judge_order(&c);
    return c.count;
}
