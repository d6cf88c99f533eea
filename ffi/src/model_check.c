/* model_check.c: what a blob's ops may touch, settled before the first run. See include/model.h.
 *
 * Each op names spans in the five spaces: reads anywhere but the output, writes to the scratch alone (MODEL_EMIT: to
 * output and state alone). All arithmetic is of 64 bits over words of 32, so that nothing wraps.
 */
#include "model.h"
#include "model_parts.h"
#include <string.h>

typedef struct {
    const model *self;
    const model_op *op;
    uint64_t steps;
    uint32_t emitted; /* outputs that are written so far */
    int status;
} inspection;

static uint64_t space_size(const model *self, uint32_t space) {
    switch (space) {
    case MODEL_WEIGHTS: return self->header->weight_count;
    case MODEL_INPUT: return self->input_count;
    case MODEL_STATE: return self->state_count;
    case MODEL_SCRATCH: return self->scratch_count;
    case MODEL_OUTPUT: return self->output_count;
    default: return 0;
    }
}

static void refuse(inspection *look, int status) {
    if (look->status == MODEL_OK) look->status = status;
}

/* `count` floats from `before` floats ahead of the reference lie in a space of `allowed` (a bit for each). */
static void span(inspection *look, uint32_t reference, uint64_t before, uint64_t count, uint32_t allowed) {
    uint32_t space = reference >> MODEL_SPACE_SHIFT;
    uint64_t offset = reference & MODEL_OFFSET_MASK;
    if (!(allowed >> space & 1) || before > offset || offset + count > space_size(look->self, space))
        refuse(look, MODEL_BAD_REFERENCE);
}

#define READABLE (1u << MODEL_WEIGHTS | 1u << MODEL_INPUT | 1u << MODEL_STATE | 1u << MODEL_SCRATCH)
#define WRITABLE (1u << MODEL_SCRATCH)

static void reads(inspection *look, uint32_t r, uint64_t count) { span(look, look->op->r[r], 0, count, READABLE); }
static void writes(inspection *look, uint32_t r, uint64_t count) { span(look, look->op->r[r], 0, count, WRITABLE); }

/* n[from] .. n[from + count): each at least 1 and at most MODEL_FLOATS_MAX. */
static void counts(inspection *look, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (look->op->n[i] == 0 || look->op->n[i] > MODEL_FLOATS_MAX) refuse(look, MODEL_BAD_COUNT);
}

static void functions(inspection *look, uint32_t end) {
    if (look->op->function >= end) refuse(look, MODEL_BAD_FUNCTION);
}

/* a * b, each below 2^32; what is beyond a space is as good as one. */
static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) || product > UINT32_MAX ? UINT32_MAX : product;
}

static void check_dense(inspection *look) {
    const uint32_t *n = look->op->n;
    counts(look, 3);
    functions(look, MODEL_FUNCTIONS);
    uint64_t blocks = ((uint64_t)n[2] + MODEL_LANES - 1) / MODEL_LANES;
    reads(look, 0, times(n[0] - 1ull, n[3]) + n[1]);
    reads(look, 1, times(blocks * MODEL_LANES, n[1]));
    reads(look, 2, times(n[0] - 1ull, n[5]) + n[2]);
    writes(look, 3, times(n[0] - 1ull, n[4]) + n[2]);
    look->steps = times(times(n[0], n[1]), n[2]) + times(n[0], n[2]);
}

/* Signed strides: how far before and behind its reference a copy goes. */
static void copied_span(inspection *look, uint32_t r, uint32_t stride, uint32_t allowed) {
    const uint32_t *n = look->op->n;
    uint64_t before = 0, behind = 1;
    for (uint32_t d = 0; d < 3; d++) {
        int64_t step = (int32_t)n[stride + d];
        if (step < 0)
            before += times(n[d] - 1ull, (uint64_t)-step);
        else
            behind += times(n[d] - 1ull, (uint64_t)step);
    }
    span(look, look->op->r[r], before, behind, allowed);
}

static void check_copy(inspection *look) {
    const uint32_t *n = look->op->n;
    counts(look, 3);
    copied_span(look, 0, 3, READABLE);
    copied_span(look, 3, 6, WRITABLE);
    look->steps = times(times(n[0], n[1]), n[2]);
}

static void check_rows(inspection *look) {
    const uint32_t *n = look->op->n;
    counts(look, 2);
    functions(look, look->op->kind == MODEL_SOFTMAX ? MODEL_SOFTMAXES : MODEL_NORMALIZES);
    reads(look, 0, times(n[0], n[1]));
    if (look->op->kind == MODEL_NORMALIZE && look->op->function == MODEL_LAYER_NORM) {
        reads(look, 1, n[1]);
        reads(look, 2, n[1]);
    }
    writes(look, 3, times(n[0], n[1]));
    look->steps = 4 * times(n[0], n[1]);
}

static void check_cell(inspection *look) {
    uint64_t hidden = look->op->n[0];
    counts(look, 1);
    if (look->op->kind == MODEL_LSTM_CELL) {
        reads(look, 0, 4 * hidden);
        reads(look, 1, hidden);
        writes(look, 4, hidden);
    } else {
        int after = look->op->n[1] != 0;
        reads(look, 0, after ? 2 * hidden : hidden);
        reads(look, 1, hidden);
        if (after) reads(look, 2, hidden);
        reads(look, 4, hidden);
    }
    writes(look, 3, hidden);
    look->steps = 16 * hidden;
}

static void check_trees(inspection *look) {
    const model_op *op = look->op;
    counts(look, 4);
    functions(look, MODEL_AGGREGATES);
    if (op->n[TREE_ENTRIES] > MODEL_FLOATS_MAX) refuse(look, MODEL_BAD_COUNT);
    if (op->n[TREE_ENTRIES] == 0 && op->n[TREE_TARGETS] != 1) refuse(look, MODEL_BAD_COUNT);
    reads(look, 0, op->n[TREE_FEATURES]);
    span(look, op->r[1], 0, tree_region_of(op).end, 1u << MODEL_WEIGHTS);
    writes(look, 2, op->n[TREE_TREES]);
    writes(look, 3, op->n[TREE_TARGETS]);
    if (look->status != MODEL_OK) return;
    const uint32_t *region = (const uint32_t *)(const void *)(look->self->weights + (op->r[1] & MODEL_OFFSET_MASK));
    if ((op->r[1] & 1) != 0) refuse(look, MODEL_BAD_ALIGNMENT);
    if (look->status == MODEL_OK) refuse(look, model_trees_check(op, region));
    if (look->status != MODEL_OK) return;
    const model_tree *trees = (const void *)(region + tree_region_of(op).trees);
    for (uint32_t t = 0; t < op->n[TREE_TREES]; t++) look->steps += trees[t].depth + 1ull;
    look->steps += op->n[TREE_ENTRIES];
}

/* Outputs are written once each, in order; a state's words at any time. */
static void check_emit(inspection *look) {
    const model_op *op = look->op;
    counts(look, 1);
    reads(look, 0, op->n[0]);
    span(look, op->r[3], 0, op->n[0], 1u << MODEL_STATE | 1u << MODEL_OUTPUT);
    look->steps = op->n[0];
    if (op->r[3] >> MODEL_SPACE_SHIFT != MODEL_OUTPUT || look->status != MODEL_OK) return;
    if ((op->r[3] & MODEL_OFFSET_MASK) != look->emitted) refuse(look, MODEL_BAD_OUTPUT);
    look->emitted += op->n[0];
}

/* Ops whose rules are one line each. */
static void check_simple(inspection *look) {
    const model_op *op = look->op;
    const uint32_t *n = op->n;
    static const uint8_t COUNTS[MODEL_KINDS] = {
        [MODEL_MAP] = 1,  [MODEL_COMBINE] = 3, [MODEL_SCALE] = 2,  [MODEL_REDUCE] = 3,
        [MODEL_FILL] = 1, [MODEL_ARGMAX] = 2,  [MODEL_LOOKUP] = 2, [MODEL_SELECT] = 1};
    counts(look, COUNTS[op->kind]);
    uint64_t read = n[0], written = n[0];
    switch (op->kind) {
    case MODEL_MAP: functions(look, MODEL_FUNCTIONS); break;
    case MODEL_COMBINE:
        functions(look, MODEL_COMBINES);
        reads(look, 1, n[2]);
        break;
    case MODEL_SCALE:
        if (n[1] && n[0] % n[1]) refuse(look, MODEL_BAD_COUNT);
        reads(look, 1, n[1]);
        reads(look, 2, n[1]);
        break;
    case MODEL_REDUCE:
        functions(look, MODEL_REDUCES);
        read = times(times(n[0], n[1]), n[2]);
        written = times(n[0], n[2]);
        break;
    case MODEL_FILL: read = 0; break;
    case MODEL_ARGMAX: read = times(n[0], n[1]); break;
    case MODEL_LOOKUP: reads(look, 1, n[1]); break;
    default: /* MODEL_SELECT */
        if (n[1] > 1 || n[2] > 1) refuse(look, MODEL_BAD_COUNT);
        reads(look, 1, n[1] ? n[0] : 1);
        reads(look, 2, n[2] ? n[0] : 1);
        break;
    }
    if (read) reads(look, 0, read);
    writes(look, 3, written);
    look->steps = read > written ? read : written;
}

static void check_op(inspection *look) {
    switch (look->op->kind) {
    case MODEL_DENSE: check_dense(look); break;
    case MODEL_COPY: check_copy(look); break;
    case MODEL_SOFTMAX:
    case MODEL_NORMALIZE: check_rows(look); break;
    case MODEL_GRU_CELL:
    case MODEL_LSTM_CELL: check_cell(look); break;
    case MODEL_TREES: check_trees(look); break;
    case MODEL_EMIT: check_emit(look); break;
    default:
        if (look->op->kind < MODEL_KINDS)
            check_simple(look);
        else
            refuse(look, MODEL_BAD_KIND);
        break;
    }
}

int model_check(model *self, uint32_t *op_index) {
    inspection look = {.self = self, .status = MODEL_OK};
    self->work = 0;
    for (uint32_t i = 0; i < self->op_count; i++) {
        look.op = self->op + i;
        look.steps = 0;
        *op_index = i;
        check_op(&look);
        self->work += look.steps;
        if (look.status == MODEL_OK && self->work > MODEL_WORK_MAX) look.status = MODEL_TOO_LARGE;
        if (look.status != MODEL_OK) return look.status;
    }
    *op_index = self->op_count;
    return look.emitted == self->output_count ? MODEL_OK : MODEL_BAD_OUTPUT;
}
