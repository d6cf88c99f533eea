/* model.h: a trained model as a flat program over float32, run once per event.
 *
 *   ONNX file --hotpath/models/compile.py--> blob  | model_header | model_op ... | weights |   offsets only
 *                                              |
 *   model_load: every bound, kind and tree ----+         state (the caller's, one per instrument)
 *                                              v           |
 *   model_run:                    inputs --> op --> op --> op --> outputs
 *                                              |     |     |
 *                                            weights    scratch (the caller's, one per model)
 *
 * Invariants
 *   bounds     model_load accepts a blob only when every op, whatever the inputs, reads and writes inside the five
 *              spaces below. model_run checks nothing again; it allocates nothing, calls no system and no libm.
 *   bits       equal blob, state and inputs give equal bits on every path (portable, AVX2, AVX-512): a product and its
 *              sum are rounded apart (no FMA), sums run over 4 partial sums by index mod 4 (dense) or MODEL_LANES
 *              virtual lanes folded in halves (the rest), exp, log, tanh and erf are our own.
 *   NaN        what enters as NaN leaves as NaN or is decided by the model (a tree's missing branch). A NaN that leaves
 *              is the one quiet NaN 0x7fc00000, and model_run says MODEL_NAN.
 *   time       ops and their loops are counted at loading: model.work is known before the first run and bounded.
 *
 * The same `model` and the same model_run drive ONNX Runtime where a graph is outside the native ops: model_ort.h.
 */
#pragma once
#include "layout.h"

#define MODEL_MAGIC 0x31306c65646f6d68 /* "hmodel01" */
#define MODEL_VERSION 1
#define MODEL_LANES 16          /* outputs of a block of weights; virtual lanes of a reduction */
#define MODEL_ALIGN 64          /* of the weights in the blob, and of scratch for speed */
#define MODEL_SPACE_SHIFT 28    /* a reference is space << 28 | offset in floats */
#define MODEL_FLOATS_MAX 67108864 /* of one space: 256 MiB */
#define MODEL_OPS_MAX 16384
#define MODEL_WORK_MAX 1073741824 /* elementary steps of one run */
#define MODEL_REFERENCES 6
#define MODEL_COUNTS 12

enum model_space { MODEL_WEIGHTS, MODEL_INPUT, MODEL_STATE, MODEL_SCRATCH, MODEL_OUTPUT, MODEL_SPACES };

enum model_status {
    MODEL_OK,
    MODEL_NAN,            /* of a run: an output or a state is not a number */
    MODEL_FAILED,         /* of a run: ONNX Runtime returned an error */
    MODEL_BAD_SIZE,       /* shorter than it says, or a section outside the blob */
    MODEL_BAD_MAGIC,
    MODEL_BAD_VERSION,
    MODEL_BAD_CHECKSUM,
    MODEL_BAD_ALIGNMENT,  /* the blob does not lie on 64 bytes */
    MODEL_TOO_LARGE,      /* more ops, floats or work than the bounds above */
    MODEL_BAD_KIND,       /* no such op */
    MODEL_BAD_FUNCTION,   /* the op has no such function */
    MODEL_BAD_REFERENCE,  /* reads or writes outside its space, or writes where it may not */
    MODEL_BAD_COUNT,      /* a zero or contradictory dimension */
    MODEL_BAD_TREE,       /* not a tree in breadth-first order over the inputs */
    MODEL_BAD_OUTPUT      /* outputs are not written once each, in order */
};

enum model_executor { MODEL_NATIVE, MODEL_ONNXRUNTIME };
enum model_path { MODEL_PORTABLE, MODEL_AVX2, MODEL_AVX512, MODEL_PATHS };

/* r[] are references, n[] counts; rows and strides in floats. "a -> y" stands for r[0] -> r[3]. */
enum model_kind {
    MODEL_DENSE,     /* y = function(W a + b): W r[1] in blocks, b r[2]; n: rows, inputs, outputs, strides of a, y, b */
    MODEL_MAP,       /* y = function(a); n: count */
    MODEL_COMBINE,   /* y = a function b, b r[1][(i / n[1]) % n[2]]; n: count, inner, length of b */
    MODEL_SCALE,     /* y = (a - r[1]) * r[2], both of period n[1]; n: count, period */
    MODEL_SOFTMAX,   /* of each row; n: rows, count */
    MODEL_NORMALIZE, /* of each row; layer norm: scale r[1], bias r[2], alpha epsilon; n: rows, count */
    MODEL_REDUCE,    /* n: outer, count, inner */
    MODEL_COPY,      /* three dimensions; n: sizes, strides of a, strides of y (signed) */
    MODEL_FILL,      /* y = alpha; n: count */
    MODEL_ARGMAX,    /* the first greatest of each row, as a number; n: rows, count */
    MODEL_LOOKUP,    /* y = r[1][a], a held within the table; n: count, table length */
    MODEL_SELECT,    /* y = a != 0 ? r[1] : r[2]; n: count, and 0 or 1 as the step of r[1] and of r[2] */
    MODEL_GRU_CELL,  /* a: update and reset gates after sigmoid; see model_interpreter.h; n: hidden, reset after */
    MODEL_LSTM_CELL, /* a: gates i o f c before activation, r[1] cell; y hidden, r[4] cell; n: hidden */
    MODEL_TREES,     /* a: features; region r[1], scratch for leaves r[2]; see model_trees.c */
    MODEL_EMIT,      /* a -> output or state; n: count. Nothing else writes there */
    MODEL_KINDS
};

/* Of MODEL_MAP, and after MODEL_DENSE. alpha and beta are the op's. */
enum model_function {
    MODEL_IDENTITY,
    MODEL_RELU,
    MODEL_LEAKY_RELU,    /* a < 0: alpha a */
    MODEL_ELU,           /* a < 0: alpha (exp a - 1) */
    MODEL_SELU,          /* beta (a > 0 ? a : alpha (exp a - 1)) */
    MODEL_CELU,          /* a < 0: alpha (exp(a / alpha) - 1) */
    MODEL_GELU,          /* a / 2 (1 + erf(a / sqrt 2)) */
    MODEL_GELU_TANH,
    MODEL_SIGMOID,
    MODEL_HARD_SIGMOID,  /* alpha a + beta within [0, 1] */
    MODEL_HARD_SWISH,    /* a times the above */
    MODEL_SWISH,         /* a sigmoid(alpha a) */
    MODEL_TANH,
    MODEL_SOFTPLUS,
    MODEL_SOFTSIGN,
    MODEL_MISH,
    MODEL_ERF,
    MODEL_EXP,
    MODEL_LOG,
    MODEL_SQRT,
    MODEL_ABS,
    MODEL_NEGATE,
    MODEL_RECIPROCAL,
    MODEL_SQUARE,
    MODEL_SIGN,
    MODEL_FLOOR,
    MODEL_CEIL,
    MODEL_ROUND,         /* halves to even */
    MODEL_CLIP,          /* within [alpha, beta] */
    MODEL_AFFINE,        /* alpha a + beta */
    MODEL_NOT,           /* a == 0 */
    MODEL_IS_NAN,
    MODEL_PROBIT,        /* sqrt 2 times the inverse of erf at 2 a - 1 */
    MODEL_TRUNCATE,      /* towards 0: a cast to an integer */
    MODEL_FUNCTIONS
};

enum model_combine {
    MODEL_ADD,
    MODEL_SUBTRACT,
    MODEL_MULTIPLY,
    MODEL_DIVIDE,
    MODEL_SUBTRACT_FROM, /* b - a */
    MODEL_DIVIDE_INTO,   /* b / a */
    MODEL_MAXIMUM,
    MODEL_MINIMUM,
    MODEL_LESS,          /* comparisons: 1 or 0 */
    MODEL_LESS_EQUAL,
    MODEL_GREATER,
    MODEL_GREATER_EQUAL,
    MODEL_EQUAL,
    MODEL_AND,
    MODEL_OR,
    MODEL_XOR,
    MODEL_COMBINES
};

enum model_softmax { MODEL_SOFTMAX_PLAIN, MODEL_SOFTMAX_LOG, MODEL_SOFTMAX_ZERO, MODEL_SOFTMAXES };
enum model_normalize { MODEL_LAYER_NORM, MODEL_NORM_L1, MODEL_NORM_L2, MODEL_NORM_MAX, MODEL_NORMALIZES };
enum model_reduce { MODEL_SUM, MODEL_MEAN, MODEL_GREATEST, MODEL_LEAST, MODEL_REDUCES };
enum model_aggregate { MODEL_TREE_SUM, MODEL_TREE_AVERAGE, MODEL_TREE_MIN, MODEL_TREE_MAX, MODEL_AGGREGATES };

typedef struct {
    uint64_t magic;
    uint64_t digest;         /* digest_bytes, seed MODEL_MAGIC, of all that follows this word */
    uint64_t size;           /* bytes of the blob */
    uint32_t version;
    uint32_t op_count;
    uint64_t ops_offset;     /* bytes from the blob's start */
    uint64_t weights_offset; /* a multiple of MODEL_ALIGN */
    uint32_t weight_count;   /* floats of each space */
    uint32_t input_count;
    uint32_t state_count;
    uint32_t scratch_count;
    uint32_t output_count;
    uint32_t reserved[3];
    uint8_t source_sha256[32]; /* of the ONNX file */
    uint8_t reserved_bytes[16];
} model_header;

typedef struct {
    uint16_t kind;     /* enum model_kind */
    uint16_t function; /* of that kind */
    uint32_t node;     /* of the ONNX graph, for messages */
    uint32_t r[MODEL_REFERENCES];
    uint32_t n[MODEL_COUNTS];
    float alpha;
    float beta;
    uint32_t reserved[2];
} model_op;

/* A node of a tree: a <= threshold goes to `child`, else to `child` + 1. A leaf's child is itself. */
typedef struct {
    float threshold;
    uint32_t word;     /* feature << 20 | equal << 19 | missing << 18 | child, from the tree's first node */
} model_tree_node;

#define MODEL_TREE_CHILD_MASK 262143
#define MODEL_TREE_MISSING 262144 /* NaN takes the first branch */
#define MODEL_TREE_EQUAL 524288   /* the branch is a == threshold */
#define MODEL_TREE_FEATURE_SHIFT 20
#define MODEL_TREE_GROUP 8        /* trees that are walked together */

typedef struct {
    uint32_t first;    /* node, in the region's array */
    uint32_t count;
    uint32_t depth;    /* steps from the root to the deepest leaf */
    uint32_t rank;     /* its place in the order by depth */
} model_tree;

/* What a run needs. model_load fills it; the caller keeps the blob while it is used. */
typedef struct {
    const model_header *header; /* NULL for ONNX Runtime */
    const model_op *op;
    const float *weights;
    float *scratch;       /* scratch_count floats, the caller's: model_bind */
    void *session;        /* ONNX Runtime: model_ort.h */
    uint64_t work;        /* elementary steps of one run */
    uint32_t op_count;
    uint32_t input_count;
    uint32_t output_count;
    uint32_t state_count;
    uint32_t scratch_count;
    uint16_t executor;    /* enum model_executor */
    uint16_t path;        /* enum model_path */
} model;

/* Check a blob of `size` bytes and describe it in *self. MODEL_OK, or what is wrong with the op *op_index (which may be
 * NULL; op_count where no op is to blame). The blob must lie on MODEL_ALIGN bytes and outlive the model. */
int model_load(model *self, const void *blob, uint64_t size, uint32_t *op_index);
/* Give it scratch_count floats of scratch, zeroed here. */
void model_bind(model *self, float *scratch);
/* The best path that this processor has. */
int model_path_best(void);
/* Take another path, for tests: 0 when the processor lacks it. */
int model_path_set(model *self, int path);
/* Forget: state_count floats to 0. A state is carried to another model by copying it, where counts and meaning agree. */
void model_reset(const model *self, float *state);
/* input_count floats to output_count floats, state_count floats carried from event to event (NULL when it has none).
 * MODEL_OK, MODEL_NAN or MODEL_FAILED. Not for two threads at once: the scratch is one. */
int model_run(const model *self, float *state, const float *inputs, float *outputs);
/* A status as a word of text (static). */
const char *model_status_text(int status);
