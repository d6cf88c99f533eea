/* gate_heap_inline.h: our own best prices, kept in step: a leftist heap for each side of each instrument.
 *
 *          100            rank = 1 + the right child's; a right child's rank is never above the left one's, so that
 *         /   \           the way down on the right has at most log2(orders) steps. Adding, taking the best away and
 *       99     98         taking any other away each walk such ways only: no more than some twenty steps at 100,000
 *      /                  open orders, whatever was done before.
 *    99
 *
 * Nodes come from one pool and keep their numbers; 0 is none.
 * Source: C. A. Crane, Linear lists and priority queues as balanced binary trees (1972); Knuth vol. 3, 5.2.3.
 */
#pragma once
#include "gate.h"

#define HEAP_STEPS_MAX 64

static inline int64_t heap_key(uint32_t side, int64_t price_ticks) { return side == SIDE_BUY ? price_ticks : -price_ticks; }

/* After a child of `index` changed: the higher rank to the left. Returns 1 when its own rank changed too. */
static inline int heap_mend(gate_node *pool, uint32_t index) {
    gate_node *node = &pool[index];
    if (pool[node->left].rank < pool[node->right].rank) {
        uint32_t left = node->left;
        node->left = node->right;
        node->right = left;
    }
    uint32_t rank = pool[node->right].rank + 1;
    if (rank == node->rank) return 0;
    node->rank = rank;
    return 1;
}

/* One heap of two, under `parent`: down both right ways, then mending on the way up. */
static inline uint32_t heap_merge(gate_node *pool, uint32_t a, uint32_t b, uint32_t parent) {
    uint32_t root = 0, last = parent;
    uint32_t *hook = &root;
    for (int step = 0; a && b && step < 2 * HEAP_STEPS_MAX; step++) {
        if (pool[b].key > pool[a].key) {
            uint32_t swapped = a;
            a = b;
            b = swapped;
        }
        pool[a].parent = last;
        *hook = a;
        last = a;
        hook = &pool[a].right;
        a = *hook;
    }
    *hook = a ? a : b;
    if (*hook) pool[*hook].parent = last;
    while (last != parent) {
        heap_mend(pool, last);
        last = pool[last].parent;
    }
    return root;
}

/* Enter one price; 0 when the pool is empty. */
static inline uint32_t heap_add(gate *gate, uint32_t *top, int64_t key) {
    uint32_t index = gate->node_free;
    if (!index) return 0;
    gate_node *node = &gate->node[index];
    gate->node_free = node->left;
    node->key = key;
    node->left = node->right = node->parent = 0;
    node->rank = 1;
    *top = heap_merge(gate->node, *top, index, 0);
    return index;
}

static inline void heap_remove(gate *gate, uint32_t *top, uint32_t index) {
    if (!index) return;
    gate_node *pool = gate->node;
    uint32_t parent = pool[index].parent;
    uint32_t rest = heap_merge(pool, pool[index].left, pool[index].right, parent);
    if (!parent) *top = rest;
    else if (pool[parent].left == index) pool[parent].left = rest;
    else pool[parent].right = rest;
    while (parent && heap_mend(pool, parent)) parent = pool[parent].parent;
    pool[index].left = gate->node_free;
    gate->node_free = index;
}
