/* model_trees.c: tree ensembles: eight trees walked side by side, without a branch on what they find.
 *
 *   node:  a <= threshold ? child : child + 1       a leaf: itself, whatever a is
 *
 *   trees in the order of their depth, in groups of MODEL_TREE_GROUP: each group takes the steps of its deepest
 *   leaf[tree] = where it ended             then the leaves' values, in the order of the trees: ONNX Runtime's sums
 *
 * Breadth-first order, checked at loading, is what makes this safe and finite: every child lies behind its node and is
 * the child of that node alone.
 */
#include "model.h"
#include "model_parts.h"
#include <math.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* Where feature values are numbers: the common case, of fewer instructions. Leaves hold +infinity. */
ALWAYS uint32_t step_number(model_tree_node node, const float *features) {
    float a = features[node.word >> MODEL_TREE_FEATURE_SHIFT];
    return (node.word & MODEL_TREE_CHILD_MASK) + !(a <= node.threshold);
}

ALWAYS uint32_t step_any(model_tree_node node, const float *features) {
    float a = features[node.word >> MODEL_TREE_FEATURE_SHIFT];
    uint32_t below = a <= node.threshold, equal = a == node.threshold, missing = a != a;
    uint32_t first = node.word & MODEL_TREE_EQUAL ? equal : below;
    first |= missing & (node.word / MODEL_TREE_MISSING);
    return (node.word & MODEL_TREE_CHILD_MASK) + !(first & 1);
}

/* `width` trees together; a short last group walks its last tree several times. */
ALWAYS void walk(const model_tree_node *nodes, const model_tree *trees, const uint32_alias *by_depth, uint32_t from,
                 uint32_t count, const float *features, uint32_alias *leaf, int any) {
    for (uint32_t group = from; group < count; group += MODEL_TREE_GROUP) {
        const model_tree_node *root[MODEL_TREE_GROUP];
        uint32_t place[MODEL_TREE_GROUP], depth = trees[by_depth[group]].depth;
        for (uint32_t i = 0; i < MODEL_TREE_GROUP; i++) {
            uint32_t tree = by_depth[group + i < count ? group + i : count - 1];
            root[i] = nodes + trees[tree].first;
            place[i] = 0;
        }
        for (uint32_t d = 0; d < depth; d++)
            for (uint32_t i = 0; i < MODEL_TREE_GROUP; i++)
                place[i] = any ? step_any(root[i][place[i]], features) : step_number(root[i][place[i]], features);
        for (uint32_t i = 0; i < MODEL_TREE_GROUP && group + i < count; i++) {
            uint32_t tree = by_depth[group + i];
            leaf[tree] = trees[tree].first + place[i];
        }
    }
}

static void sum_one(const model_op *op, const float *value, const uint32_alias *leaf, float *y) {
    uint32_t trees = op->n[TREE_TREES];
    float sum = op->function >= MODEL_TREE_MIN ? value[leaf[0]] : 0;
    for (uint32_t t = 0; t < trees; t++) {
        float next = value[leaf[t]];
        if (op->function == MODEL_TREE_MIN)
            sum = next < sum ? next : sum;
        else if (op->function == MODEL_TREE_MAX)
            sum = next > sum ? next : sum;
        else
            sum += next;
    }
    y[0] = op->function == MODEL_TREE_AVERAGE ? sum / (float)trees : sum;
}

/* A target that no leaf spoke of is 0; `seen` is a bit for it where the aggregate is not a sum. */
static void sum_several(const model_op *op, const uint32_alias *first, const uint32_alias *entry,
                        const uint32_alias *leaf, float *y) {
    uint32_t trees = op->n[TREE_TREES], targets = op->n[TREE_TARGETS], function = op->function;
    float none = function == MODEL_TREE_MIN ? INFINITY : function == MODEL_TREE_MAX ? -INFINITY : 0;
    for (uint32_t j = 0; j < targets; j++) y[j] = none;
    for (uint32_t t = 0; t < trees; t++)
        for (uint32_t e = first[leaf[t]]; e < first[leaf[t] + 1]; e++) {
            uint32_t target = entry[2 * (uint64_t)e];
            float weight;
            memcpy(&weight, (const void *)(entry + 2 * (uint64_t)e + 1), sizeof weight);
            if (function == MODEL_TREE_MIN)
                y[target] = weight < y[target] ? weight : y[target];
            else if (function == MODEL_TREE_MAX)
                y[target] = weight > y[target] ? weight : y[target];
            else
                y[target] += weight;
        }
    for (uint32_t j = 0; j < targets; j++) {
        if (function == MODEL_TREE_AVERAGE) y[j] /= (float)trees;
        if (function >= MODEL_TREE_MIN && y[j] == none) y[j] = 0;
    }
}

void model_trees_run(const model_op *op, const float *features, const uint32_alias *region, uint32_alias *leaf, float *y) {
    const tree_region at = tree_region_of(op);
    const model_tree_node *nodes = (const void *)(region + at.nodes);
    const model_tree *trees = (const void *)(region + at.trees);
    const uint32_alias *by_depth = region + at.by_depth;
    uint32_t any = op->n[TREE_EQUAL];
    for (uint32_t i = 0; i < op->n[TREE_FEATURES]; i++) any |= features[i] != features[i];
    if (any)
        walk(nodes, trees, by_depth, 0, op->n[TREE_TREES], features, leaf, 1);
    else
        walk(nodes, trees, by_depth, 0, op->n[TREE_TREES], features, leaf, 0);
    if (op->n[TREE_ENTRIES])
        sum_several(op, region + at.leaves, region + at.entries, leaf, y);
    else
        sum_one(op, (const void *)(region + at.leaves), leaf, y);
    if (op->n[TREE_BASE]) {
        const float *base = (const void *)(region + at.base);
        for (uint32_t j = 0; j < op->n[TREE_TARGETS]; j++) y[j] += base[j];
    }
}

/* ---- loading ------------------------------------------------------------------------------------------- */

/* Breadth-first order in its one form: the inner nodes, as they come, take the next two places each. */
static int tree_check(const model_tree_node *node, const model_tree *tree, uint32_t features) {
    uint32_t next = 1, level_end = 1, depth = 0;
    if (tree->count == 0 || tree->count > MODEL_TREE_CHILD_MASK) return MODEL_BAD_TREE;
    for (uint32_t i = 0; i < tree->count; i++) {
        if (i == level_end) {
            level_end = next;
            depth++;
        }
        uint32_t child = node[i].word & MODEL_TREE_CHILD_MASK;
        if (node[i].word >> MODEL_TREE_FEATURE_SHIFT >= features) return MODEL_BAD_TREE;
        if (child == i) { /* a leaf stays where it is, whatever it is shown */
            if (node[i].threshold != INFINITY || !(node[i].word & MODEL_TREE_MISSING)) return MODEL_BAD_TREE;
            if (node[i].word & MODEL_TREE_EQUAL) return MODEL_BAD_TREE;
        } else {
            if (child != next || next + 2 > tree->count) return MODEL_BAD_TREE;
            next += 2;
        }
    }
    return next == tree->count && depth == tree->depth ? MODEL_OK : MODEL_BAD_TREE;
}

/* `by_depth` holds each tree once, the deepest first. */
static int order_check(const model_tree *trees, const uint32_t *by_depth, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (by_depth[i] >= count || trees[by_depth[i]].rank != i) return MODEL_BAD_TREE;
        if (i && trees[by_depth[i]].depth > trees[by_depth[i - 1]].depth) return MODEL_BAD_TREE;
    }
    return MODEL_OK;
}

/* The region lies within the weights: the caller has looked. */
int model_trees_check(const model_op *op, const uint32_t *region) {
    const tree_region at = tree_region_of(op);
    const model_tree_node *nodes = (const void *)(region + at.nodes);
    const model_tree *trees = (const void *)(region + at.trees);
    uint32_t first = 0, equal = 0;
    for (uint32_t t = 0; t < op->n[TREE_TREES]; t++) {
        if (trees[t].first != first || trees[t].count > op->n[TREE_NODES] - first) return MODEL_BAD_TREE;
        int status = tree_check(nodes + first, trees + t, op->n[TREE_FEATURES]);
        if (status != MODEL_OK) return status;
        first += trees[t].count;
    }
    for (uint32_t i = 0; i < op->n[TREE_NODES]; i++) equal |= nodes[i].word & MODEL_TREE_EQUAL;
    if (first != op->n[TREE_NODES] || (equal && !op->n[TREE_EQUAL])) return MODEL_BAD_TREE;
    if (op->n[TREE_ENTRIES]) {
        const uint32_t *entry_first = region + at.leaves, *entry = region + at.entries;
        if (entry_first[0] != 0 || entry_first[op->n[TREE_NODES]] != op->n[TREE_ENTRIES]) return MODEL_BAD_TREE;
        for (uint32_t i = 0; i < op->n[TREE_NODES]; i++)
            if (entry_first[i] > entry_first[i + 1]) return MODEL_BAD_TREE;
        for (uint32_t e = 0; e < op->n[TREE_ENTRIES]; e++)
            if (entry[2 * (uint64_t)e] >= op->n[TREE_TARGETS]) return MODEL_BAD_TREE;
    }
    return order_check(trees, region + at.by_depth, op->n[TREE_TREES]);
}
