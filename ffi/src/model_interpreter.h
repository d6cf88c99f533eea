/* model_interpreter.h: the op list, carried out by the vectors of one path.
 *
 * model_portable.c, model_avx2.c and model_avx512.c include this with LANE_BYTES and RUN set, after the compiler was
 * told what it may use. Bounds were settled by model_load (model_check.c): nothing is looked at twice.
 *
 *   dense   W in blocks of MODEL_LANES outputs:  | w[0][16] | w[1][16] | ... | w[inputs - 1][16] |  next block ...
 *           y = ((s0 + s1) + (s2 + s3)) + b, where s_j sums a[k] w[k] over k = j, j + 4, j + 8, ...
 */
#include "model_lanes.h"
#include "model_parts.h"

typedef struct {
    const model *self;
    const float *space[MODEL_SPACES];
    float *target[MODEL_SPACES]; /* the writable ones */
    uint32_t nan_seen;
} run;

ALWAYS const float *at(const run *r, uint32_t reference) {
    return r->space[reference >> MODEL_SPACE_SHIFT] + (reference & MODEL_OFFSET_MASK);
}

ALWAYS float *target_at(const run *r, uint32_t reference) {
    return r->target[reference >> MODEL_SPACE_SHIFT] + (reference & MODEL_OFFSET_MASK);
}

/* ---- elementwise --------------------------------------------------------------------------------------- */

/* y = EXPRESSION of a, whole vectors first. */
#define EACH(EXPRESSION)                                               \
    do {                                                               \
        uint32_t i = 0;                                                \
        for (; i + WIDTH <= count; i += WIDTH) {                       \
            lanes a = lanes_load(source + i);                          \
            lanes_store(y + i, EXPRESSION);                            \
        }                                                              \
        if (i < count) {                                               \
            lanes a = lanes_load_part(source + i, count - i, 0);       \
            lanes_store_part(y + i, count - i, EXPRESSION);            \
        }                                                              \
    } while (0)

ALWAYS lanes hard_sigmoid(lanes a, float alpha, float beta) {
    return lanes_at_least(lanes_at_most(alpha * a + beta, lanes_of(1)), lanes_of(0));
}

static void map_row(uint32_t function, float alpha, float beta, const float *source, float *y, uint32_t count) {
    const lanes none = lanes_of(0);
    switch (function) {
    case MODEL_RELU: EACH(lanes_at_least(a, none)); break;
    case MODEL_LEAKY_RELU: EACH(lanes_select(a < none, alpha * a, a)); break;
    case MODEL_ELU: EACH(lanes_select(a < none, alpha * lanes_expm1(a), a)); break;
    case MODEL_SELU: EACH(beta * lanes_select(a > none, a, alpha * lanes_expm1(a))); break;
    case MODEL_CELU: EACH(lanes_select(a < none, alpha * lanes_expm1(a / alpha), a)); break;
    case MODEL_GELU: EACH((0.5f * a) * (1.0f + lanes_erf(a * 0.707106781f))); break;
    case MODEL_GELU_TANH:
        EACH((0.5f * a) * (1.0f + lanes_tanh(0.797884561f * (a + 0.044715f * (a * a) * a))));
        break;
    case MODEL_SIGMOID: EACH(lanes_sigmoid(a)); break;
    case MODEL_HARD_SIGMOID: EACH(hard_sigmoid(a, alpha, beta)); break;
    case MODEL_HARD_SWISH: EACH(a * hard_sigmoid(a, alpha, beta)); break;
    case MODEL_SWISH: EACH(a * lanes_sigmoid(alpha * a)); break;
    case MODEL_TANH: EACH(lanes_tanh(a)); break;
    case MODEL_SOFTPLUS: EACH(lanes_softplus(a)); break;
    case MODEL_SOFTSIGN: EACH(a / (1.0f + lanes_abs(a))); break;
    case MODEL_MISH: EACH(a * lanes_tanh(lanes_softplus(a))); break;
    case MODEL_ERF: EACH(lanes_erf(a)); break;
    case MODEL_EXP: EACH(lanes_exp(a)); break;
    case MODEL_LOG: EACH(lanes_log(a)); break;
    case MODEL_SQRT: EACH(lanes_sqrt(a)); break;
    case MODEL_ABS: EACH(lanes_abs(a)); break;
    case MODEL_NEGATE: EACH(-a); break;
    case MODEL_RECIPROCAL: EACH(1.0f / a); break;
    case MODEL_SQUARE: EACH(a * a); break;
    case MODEL_SIGN: EACH(lanes_select(a != a, a, lanes_truth(a > none) - lanes_truth(a < none))); break;
    case MODEL_FLOOR: EACH(lanes_floor(a)); break;
    case MODEL_CEIL: EACH(-lanes_floor(-a)); break;
    case MODEL_ROUND: EACH(lanes_round(a)); break;
    case MODEL_CLIP: EACH(lanes_at_most(lanes_at_least(a, lanes_of(alpha)), lanes_of(beta))); break;
    case MODEL_AFFINE: EACH(alpha * a + beta); break;
    case MODEL_NOT: EACH(lanes_truth(a == none)); break;
    case MODEL_IS_NAN: EACH(lanes_truth(a != a)); break;
    case MODEL_PROBIT: EACH(lanes_probit(a)); break;
    case MODEL_TRUNCATE: EACH(lanes_with_sign(lanes_floor(lanes_abs(a)), a)); break;
    default: EACH(a); break;
    }
}

/* b as the rules of broadcasting give it at element i. */
ALWAYS lanes other(const float *b, uint32_t i, uint32_t count, uint32_t inner, uint32_t length) {
    if (length == 1) return lanes_of(b[0]);
    if (inner == 1 && i % length + WIDTH <= length && i + WIDTH <= count) return lanes_load(b + i % length);
    float part[WIDTH];
    for (uint32_t j = 0; j < WIDTH; j++) part[j] = b[((i + j < count ? i + j : count - 1) / inner) % length];
    return lanes_load(part);
}

/* As EACH, of a and b. */
#define EACH_PAIR(EXPRESSION)                                          \
    do {                                                               \
        for (uint32_t i = 0; i < count; i += WIDTH) {                  \
            uint32_t left = count - i;                                 \
            lanes b = other(right, i, count, op->n[1], op->n[2]);      \
            if (left >= WIDTH) {                                       \
                lanes a = lanes_load(source + i);                      \
                lanes_store(y + i, EXPRESSION);                        \
            } else {                                                   \
                lanes a = lanes_load_part(source + i, left, 0);        \
                lanes_store_part(y + i, left, EXPRESSION);             \
            }                                                          \
        }                                                              \
    } while (0)

static void run_combine(const run *r, const model_op *op) {
    const float *source = at(r, op->r[0]), *right = at(r, op->r[1]);
    float *y = target_at(r, op->r[3]);
    const uint32_t count = op->n[0];
    const lanes none = lanes_of(0);
    switch (op->function) {
    case MODEL_ADD: EACH_PAIR(a + b); break;
    case MODEL_SUBTRACT: EACH_PAIR(a - b); break;
    case MODEL_MULTIPLY: EACH_PAIR(a *b); break;
    case MODEL_DIVIDE: EACH_PAIR(a / b); break;
    case MODEL_SUBTRACT_FROM: EACH_PAIR(b - a); break;
    case MODEL_DIVIDE_INTO: EACH_PAIR(b / a); break;
    case MODEL_MAXIMUM: EACH_PAIR(lanes_select((b > a) | (b != b), b, a)); break;
    case MODEL_MINIMUM: EACH_PAIR(lanes_select((b < a) | (b != b), b, a)); break;
    case MODEL_LESS: EACH_PAIR(lanes_truth(a < b)); break;
    case MODEL_LESS_EQUAL: EACH_PAIR(lanes_truth(a <= b)); break;
    case MODEL_GREATER: EACH_PAIR(lanes_truth(a > b)); break;
    case MODEL_GREATER_EQUAL: EACH_PAIR(lanes_truth(a >= b)); break;
    case MODEL_EQUAL: EACH_PAIR(lanes_truth(a == b)); break;
    case MODEL_AND: EACH_PAIR(lanes_truth((a != none) & (b != none))); break;
    case MODEL_OR: EACH_PAIR(lanes_truth((a != none) | (b != none))); break;
    default: EACH_PAIR(lanes_truth((a != none) ^ (b != none))); break;
    }
}

static void run_scale(const run *r, const model_op *op) {
    const float *source = at(r, op->r[0]), *offset = at(r, op->r[1]), *scale = at(r, op->r[2]);
    float *y = target_at(r, op->r[3]);
    uint32_t period = op->n[1];
    for (uint32_t from = 0; from < op->n[0]; from += period) {
        uint32_t i = 0;
        for (; i + WIDTH <= period; i += WIDTH)
            lanes_store(y + from + i, (lanes_load(source + from + i) - lanes_load(offset + i)) * lanes_load(scale + i));
        for (; i < period; i++) y[from + i] = (source[from + i] - offset[i]) * scale[i];
    }
}

/* ---- dense --------------------------------------------------------------------------------------------- */

/* `blocks` blocks of outputs at once, so that their sums overlap; the compiler unrolls it. */
ALWAYS void dense_blocks(const float *x, uint32_t inputs, const float *w, uint32_t blocks, lanes *sum) {
    lanes s[4][blocks * PARTS];
    for (uint32_t j = 0; j < 4; j++)
        for (uint32_t v = 0; v < blocks * PARTS; v++) s[j][v] = lanes_of(0);
    uint64_t stride = (uint64_t)inputs * MODEL_LANES;
    uint32_t k = 0;
    for (; k + 4 <= inputs; k += 4)
        for (uint32_t j = 0; j < 4; j++) {
            lanes a = lanes_of(x[k + j]);
            for (uint32_t v = 0; v < blocks * PARTS; v++)
                s[j][v] += a * lanes_load(w + v / PARTS * stride + (k + j) * MODEL_LANES + v % PARTS * WIDTH);
        }
    for (uint32_t j = 0; j < 3; j++)
        if (k + j < inputs) {
            lanes a = lanes_of(x[k + j]);
            for (uint32_t v = 0; v < blocks * PARTS; v++)
                s[j][v] += a * lanes_load(w + v / PARTS * stride + (k + j) * MODEL_LANES + v % PARTS * WIDTH);
        }
    for (uint32_t v = 0; v < blocks * PARTS; v++) sum[v] = (s[0][v] + s[1][v]) + (s[2][v] + s[3][v]);
}

/* Add the bias, put `count` outputs of vectors `sum` in their place. */
ALWAYS void dense_finish(const lanes *sum, uint32_t vectors, const float *bias, float *y, uint32_t count, int rectify) {
    for (uint32_t v = 0; v < vectors; v++) {
        uint32_t from = v * WIDTH;
        if (from >= count) return;
        uint32_t left = count - from;
        if (left >= WIDTH) {
            lanes value = sum[v] + lanes_load(bias + from);
            lanes_store(y + from, rectify ? lanes_at_least(value, lanes_of(0)) : value);
        } else {
            lanes value = sum[v] + lanes_load_part(bias + from, left, 0);
            lanes_store_part(y + from, left, rectify ? lanes_at_least(value, lanes_of(0)) : value);
        }
    }
}

static void dense_row(const float *x, uint32_t inputs, const float *w, const float *bias, float *y, uint32_t outputs,
                      int rectify) {
    uint64_t stride = (uint64_t)inputs * MODEL_LANES;
    uint32_t j = 0;
#if LANE_BYTES == 64
    for (; j + 3 * MODEL_LANES < outputs; j += 4 * MODEL_LANES, w += 4 * stride) {
        lanes sum[4 * PARTS];
        dense_blocks(x, inputs, w, 4, sum);
        dense_finish(sum, 4 * PARTS, bias + j, y + j, outputs - j, rectify);
    }
    for (; j + MODEL_LANES < outputs; j += 2 * MODEL_LANES, w += 2 * stride) {
        lanes sum[2 * PARTS];
        dense_blocks(x, inputs, w, 2, sum);
        dense_finish(sum, 2 * PARTS, bias + j, y + j, outputs - j, rectify);
    }
#endif
    for (; j < outputs; j += MODEL_LANES, w += stride) {
        lanes sum[PARTS];
        dense_blocks(x, inputs, w, 1, sum);
        dense_finish(sum, PARTS, bias + j, y + j, outputs - j, rectify);
    }
}

static void run_dense(const run *r, const model_op *op) {
    const float *x = at(r, op->r[0]), *w = at(r, op->r[1]), *bias = at(r, op->r[2]);
    float *y = target_at(r, op->r[3]);
    uint32_t rows = op->n[0], inputs = op->n[1], outputs = op->n[2];
    for (uint32_t row = 0; row < rows; row++) {
        dense_row(x, inputs, w, bias, y, outputs, op->function == MODEL_RELU);
        if (op->function > MODEL_RELU) map_row(op->function, op->alpha, op->beta, y, y, outputs);
        x += op->n[3];
        y += op->n[4];
        bias += op->n[5];
    }
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

static float row_sum(const float *a, uint32_t count) {
    virtual_lanes sum = virtual_load(a, count, 0);
    for (uint32_t i = MODEL_LANES; i < count; i += MODEL_LANES) {
        virtual_lanes next = virtual_load(a + i, count - i, 0);
        for (uint32_t p = 0; p < PARTS; p++) sum.part[p] += next.part[p];
    }
    return virtual_sum(sum);
}

static float row_greatest(const float *a, uint32_t count) {
    virtual_lanes most = virtual_load(a, count, -INFINITY);
    for (uint32_t i = MODEL_LANES; i < count; i += MODEL_LANES) {
        virtual_lanes next = virtual_load(a + i, count - i, -INFINITY);
        for (uint32_t p = 0; p < PARTS; p++)
            most.part[p] = lanes_select(next.part[p] > most.part[p], next.part[p], most.part[p]);
    }
    return virtual_greatest(most);
}

/* y = (a - offset) * scale */
ALWAYS void row_scale(const float *source, float offset, float scale, float *y, uint32_t count) {
    EACH((a - offset) * scale);
}

static void run_softmax(const run *r, const model_op *op) {
    const float *row = at(r, op->r[0]);
    float *out = target_at(r, op->r[3]);
    uint32_t count = op->n[1];
    const lanes tiny = lanes_of(1e-7f); /* MODEL_SOFTMAX_ZERO: what is not above it takes no part */
    for (uint32_t k = 0; k < op->n[0]; k++, row += count, out += count) {
        float most = row_greatest(row, count);
        const float *source = row;
        float *y = out;
        if (op->function == MODEL_SOFTMAX_ZERO) {
            EACH(lanes_select(lanes_abs(a) <= tiny, lanes_of(0), lanes_exp(a - most)));
            float sum = row_sum(out, count), lowest = lanes_exp(lanes_of(-most))[0];
            EACH(lanes_select(lanes_abs(a) <= tiny, a * lowest, lanes_exp(a - most)) / sum);
            continue;
        }
        EACH(lanes_exp(a - most));
        float sum = row_sum(out, count);
        if (op->function == MODEL_SOFTMAX_LOG) {
            float logarithm = lanes_log(lanes_of(sum))[0];
            EACH((a - most) - logarithm);
        } else {
            source = out;
            EACH(a / sum);
        }
    }
}

/* Lengths below this divide by 1: a row of zeros stays one. */
static float divisor(float length) { return length == 0 ? 1 : length; }

static void run_normalize(const run *r, const model_op *op) {
    const float *row = at(r, op->r[0]);
    float *out = target_at(r, op->r[3]);
    uint32_t count = op->n[1];
    for (uint32_t k = 0; k < op->n[0]; k++, row += count, out += count) {
        const float *source = row;
        float *y = out;
        switch (op->function) {
        case MODEL_LAYER_NORM: {
            const float *scale = at(r, op->r[1]), *bias = at(r, op->r[2]);
            float mean = row_sum(row, count) / (float)count;
            EACH((a - mean) * (a - mean));
            float deviation = __builtin_sqrtf(row_sum(out, count) / (float)count + op->alpha), factor = 1 / deviation;
            EACH((a - mean) * factor);
            source = out;
            uint32_t i = 0;
            for (; i + WIDTH <= count; i += WIDTH)
                lanes_store(y + i, lanes_load(y + i) * lanes_load(scale + i) + lanes_load(bias + i));
            for (; i < count; i++) y[i] = y[i] * scale[i] + bias[i];
            break;
        }
        case MODEL_NORM_L1: {
            EACH(lanes_abs(a));
            float length = divisor(row_sum(out, count));
            EACH(a / length);
            break;
        }
        case MODEL_NORM_L2: {
            EACH(a * a);
            float length = divisor(__builtin_sqrtf(row_sum(out, count)));
            EACH(a / length);
            break;
        }
        default: {
            float length = divisor(row_greatest(row, count));
            EACH(a / length);
            break;
        }
        }
    }
}

ALWAYS float strided_reduce(const float *a, uint32_t count, uint32_t step, uint32_t function) {
    float value = a[0];
    for (uint32_t k = 1; k < count; k++) {
        float next = a[(uint64_t)k * step];
        if (function <= MODEL_MEAN)
            value += next;
        else if (function == MODEL_GREATEST)
            value = next > value || next != next ? next : value;
        else
            value = next < value || next != next ? next : value;
    }
    return function == MODEL_MEAN ? value / (float)count : value;
}

static void run_reduce(const run *r, const model_op *op) {
    const float *a = at(r, op->r[0]);
    float *y = target_at(r, op->r[3]);
    uint32_t outer = op->n[0], count = op->n[1], inner = op->n[2];
    for (uint32_t o = 0; o < outer; o++) {
        const float *from = a + (uint64_t)o * count * inner;
        if (inner == 1 && op->function <= MODEL_MEAN) {
            float sum = row_sum(from, count);
            y[o] = op->function == MODEL_MEAN ? sum / (float)count : sum;
            continue;
        }
        for (uint32_t i = 0; i < inner; i++)
            y[(uint64_t)o * inner + i] = strided_reduce(from + i, count, inner, op->function);
    }
}

/* ---- moving -------------------------------------------------------------------------------------------- */

static void run_copy(const run *r, const model_op *op) {
    const float *a = at(r, op->r[0]);
    float *y = target_at(r, op->r[3]);
    const uint32_t *size = op->n;
    int32_t from[3], to[3];
    for (uint32_t d = 0; d < 3; d++) {
        from[d] = (int32_t)op->n[3 + d];
        to[d] = (int32_t)op->n[6 + d];
    }
    for (uint32_t i = 0; i < size[0]; i++)
        for (uint32_t j = 0; j < size[1]; j++) {
            const float *source = a + (int64_t)i * from[0] + (int64_t)j * from[1];
            float *target = y + (int64_t)i * to[0] + (int64_t)j * to[1];
            for (uint32_t k = 0; k < size[2]; k++) target[(int64_t)k * to[2]] = source[(int64_t)k * from[2]];
        }
}

static void run_fill(const run *r, const model_op *op) {
    float *y = target_at(r, op->r[3]);
    for (uint32_t i = 0; i < op->n[0]; i++) y[i] = op->alpha;
}

static void run_argmax(const run *r, const model_op *op) {
    const float *row = at(r, op->r[0]);
    float *y = target_at(r, op->r[3]);
    for (uint32_t k = 0; k < op->n[0]; k++, row += op->n[1]) {
        uint32_t most = 0;
        for (uint32_t i = 1; i < op->n[1]; i++) most = row[i] > row[most] ? i : most;
        y[k] = (float)most;
    }
}

static void run_lookup(const run *r, const model_op *op) {
    const float *a = at(r, op->r[0]), *table = at(r, op->r[1]);
    float *y = target_at(r, op->r[3]);
    uint32_t length = op->n[1];
    for (uint32_t i = 0; i < op->n[0]; i++) {
        uint32_t index = a[i] >= (float)length ? length - 1 : a[i] > 0 ? (uint32_t)a[i] : 0;
        y[i] = table[index < length ? index : length - 1];
    }
}

static void run_select(const run *r, const model_op *op) {
    const float *a = at(r, op->r[0]), *yes = at(r, op->r[1]), *no = at(r, op->r[2]);
    float *y = target_at(r, op->r[3]);
    for (uint32_t i = 0; i < op->n[0]; i++) y[i] = a[i] != 0 ? yes[i * op->n[1]] : no[i * op->n[2]];
}

/* The only op that leaves the scratch: one bit pattern for every NaN, which is then known. */
static void run_emit(run *r, const model_op *op) {
    const float *source = at(r, op->r[0]);
    float *y = target_at(r, op->r[3]);
    uint32_t nan_seen = 0;
    for (uint32_t i = 0; i < op->n[0]; i++) {
        float value = source[i];
        nan_seen |= value != value;
        y[i] = value != value ? __builtin_nanf("") : value;
    }
    r->nan_seen |= nan_seen;
}

/* ---- cells --------------------------------------------------------------------------------------------- */

/* h' = (1 - z) tanh(r[1] + reset * r[2]) + z h, h r[4]; a holds z, then reset. Without reset after: tanh(r[1]). */
static void run_gru_cell(const run *r, const model_op *op) {
    const float *z = at(r, op->r[0]), *input = at(r, op->r[1]), *h = at(r, op->r[4]);
    const float *hidden = op->n[1] ? at(r, op->r[2]) : NULL;
    float *target = target_at(r, op->r[3]);
    uint32_t count = op->n[0];
    for (uint32_t i = 0; i < count; i += WIDTH) {
        uint32_t left = count - i < WIDTH ? count - i : WIDTH;
        lanes candidate, gate, before;
        if (left == WIDTH) {
            candidate = lanes_load(input + i);
            if (op->n[1]) candidate += lanes_load(z + count + i) * lanes_load(hidden + i);
            gate = lanes_load(z + i);
            before = lanes_load(h + i);
        } else {
            candidate = lanes_load_part(input + i, left, 0);
            if (op->n[1])
                candidate += lanes_load_part(z + count + i, left, 0) * lanes_load_part(hidden + i, left, 0);
            gate = lanes_load_part(z + i, left, 0);
            before = lanes_load_part(h + i, left, 0);
        }
        lanes value = (1.0f - gate) * lanes_tanh(candidate) + gate * before;
        if (left == WIDTH)
            lanes_store(target + i, value);
        else
            lanes_store_part(target + i, left, value);
    }
}

/* c' = sigmoid(f) c + sigmoid(i) tanh(g); h' = sigmoid(o) tanh(c'). */
static void run_lstm_cell(const run *r, const model_op *op) {
    const float *gates = at(r, op->r[0]), *cell = at(r, op->r[1]);
    float *target = target_at(r, op->r[3]), *target_cell = target_at(r, op->r[4]);
    uint32_t count = op->n[0];
    for (uint32_t i = 0; i < count; i += WIDTH) {
        uint32_t left = count - i < WIDTH ? count - i : WIDTH;
        lanes gate[4], before;
        for (uint32_t g = 0; g < 4; g++) {
            const float *source = gates + (uint64_t)g * count + i;
            gate[g] = left == WIDTH ? lanes_load(source) : lanes_load_part(source, left, 0);
        }
        before = left == WIDTH ? lanes_load(cell + i) : lanes_load_part(cell + i, left, 0);
        lanes c = lanes_sigmoid(gate[2]) * before + lanes_sigmoid(gate[0]) * lanes_tanh(gate[3]);
        lanes h = lanes_sigmoid(gate[1]) * lanes_tanh(c);
        if (left == WIDTH) {
            lanes_store(target + i, h);
            lanes_store(target_cell + i, c);
        } else {
            lanes_store_part(target + i, left, h);
            lanes_store_part(target_cell + i, left, c);
        }
    }
}

/* ---- the list ------------------------------------------------------------------------------------------ */

int RUN(const model *self, float *state, const float *inputs, float *outputs) {
    run r = {.self = self,
             .space = {self->weights, inputs, state, self->scratch, outputs},
             .target = {NULL, NULL, state, self->scratch, outputs}};
    for (const model_op *op = self->op, *end = op + self->op_count; op < end; op++) {
        switch (op->kind) {
        case MODEL_DENSE: run_dense(&r, op); break;
        case MODEL_MAP:
            map_row(op->function, op->alpha, op->beta, at(&r, op->r[0]), target_at(&r, op->r[3]), op->n[0]);
            break;
        case MODEL_COMBINE: run_combine(&r, op); break;
        case MODEL_SCALE: run_scale(&r, op); break;
        case MODEL_SOFTMAX: run_softmax(&r, op); break;
        case MODEL_NORMALIZE: run_normalize(&r, op); break;
        case MODEL_REDUCE: run_reduce(&r, op); break;
        case MODEL_COPY: run_copy(&r, op); break;
        case MODEL_FILL: run_fill(&r, op); break;
        case MODEL_ARGMAX: run_argmax(&r, op); break;
        case MODEL_LOOKUP: run_lookup(&r, op); break;
        case MODEL_SELECT: run_select(&r, op); break;
        case MODEL_GRU_CELL: run_gru_cell(&r, op); break;
        case MODEL_LSTM_CELL: run_lstm_cell(&r, op); break;
        case MODEL_TREES:
            model_trees_run(op, at(&r, op->r[0]), (const uint32_alias *)at(&r, op->r[1]),
                            (uint32_alias *)target_at(&r, op->r[2]), target_at(&r, op->r[3]));
            break;
        default: run_emit(&r, op); break;
        }
    }
    return r.nan_seen ? MODEL_NAN : MODEL_OK;
}
