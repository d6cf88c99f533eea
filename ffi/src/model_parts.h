/* model_parts.h: what the files of the model executor share. */
#pragma once
#include "model.h"
#include <stddef.h>

#define MODEL_OFFSET_MASK ((1u << MODEL_SPACE_SHIFT) - 1)

/* Words that lie among floats. */
typedef uint32_t __attribute__((may_alias)) uint32_alias;

/* The region of a MODEL_TREES op among the weights, in words from its start. With n of the op: features, trees, nodes,
 * targets, entries, whether any node asks for equality, whether there are base values.
 *
 *   | node[nodes] | tree[trees] | by_depth[trees] | base[targets] | leaves |
 *   leaves of one target:   value[nodes]
 *   of several:             entry_first[nodes + 1], then entry[entries] = {target, weight}
 */
typedef struct {
    uint64_t nodes;
    uint64_t trees;
    uint64_t by_depth;
    uint64_t base;
    uint64_t leaves;
    uint64_t entries;
    uint64_t end;
} tree_region;

enum tree_count { TREE_FEATURES, TREE_TREES, TREE_NODES, TREE_TARGETS, TREE_ENTRIES, TREE_EQUAL, TREE_BASE };

static inline tree_region tree_region_of(const model_op *op) {
    const uint64_t trees = op->n[TREE_TREES], nodes = op->n[TREE_NODES];
    tree_region region = {.nodes = 0};
    region.trees = 2 * nodes;
    region.by_depth = region.trees + 4 * trees;
    region.base = region.by_depth + trees;
    region.leaves = region.base + op->n[TREE_TARGETS];
    region.entries = region.leaves + (op->n[TREE_ENTRIES] ? nodes + 1 : 0);
    region.end = op->n[TREE_ENTRIES] ? region.entries + 2 * (uint64_t)op->n[TREE_ENTRIES] : region.leaves + nodes;
    return region;
}

/* Every tree of the op: `leaf` is one word of scratch for each tree, y one float for each target. */
void model_trees_run(const model_op *op, const float *features, const uint32_alias *region, uint32_alias *leaf, float *y);
int model_trees_check(const model_op *op, const uint32_t *region);
/* MODEL_OK, or what is wrong with the op *op_index. Fills self->work. */
int model_check(model *self, uint32_t *op_index);

int model_run_portable(const model *self, float *state, const float *inputs, float *outputs);
int model_run_avx2(const model *self, float *state, const float *inputs, float *outputs);
int model_run_avx512(const model *self, float *state, const float *inputs, float *outputs);
