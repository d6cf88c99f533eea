/* model_fuzz.c: mutated model blobs: refused, or run inside their bounds on every path.
 *
 *   corpus blob --> mutate words of header, ops, weights --> mend the digest --> model_load --> model_run, thrice
 *
 * The digest is mended because a fault that it would catch tests nothing behind it. Blob, scratch, state, inputs and outputs
 * are blocks of exactly their size. A blob that nobody changed must load, and give equal bits on every path.
 *
 * Canaries of its own
 *   short      half the scratch that the blob was promised (AddressSanitizer must stop it)
 *   paths      one path's output differs in one bit
 */
#include "digest.h"
#include "fuzz.h"
#include "model.h"
#include <stddef.h>

#define COUNT_MAX 65536 /* floats of a space that is worth its memory */
#define WORK_MAX 262144
#define MUTATIONS_MAX 5

static uint64_t understood;

static void mend_digest(uint8_t *blob, uint32_t size) {
    uint64_t from = offsetof(model_header, digest) + 8;
    if (size < sizeof(model_header)) return;
    uint64_t digest = digest_bytes(MODEL_MAGIC, blob + from, size - from);
    memcpy(blob + offsetof(model_header, digest), &digest, sizeof digest);
}

/* A word that is likely to be near a bound. */
static uint32_t telling_word(uint32_t before) {
    switch (random_below(7)) {
    case 0: return before + 1;
    case 1: return before - 1;
    case 2: return random_below(64);
    case 3: return UINT32_MAX - random_below(4);
    case 4: return 1u << random_below(32);
    case 5: return before ^ 1u << random_below(32);
    default: return (uint32_t)random_next();
    }
}

/* Mostly in the header and the ops, where meaning lies thickest. */
static void mutate_word(uint8_t *blob, uint32_t size) {
    const model_header *header = (const void *)blob;
    uint32_t dense_end = sizeof *header + header->op_count % 64 * (uint32_t)sizeof(model_op);
    uint32_t end = random_below(4) && dense_end < size ? dense_end : size;
    uint32_t first = random_below(8) ? sizeof *header : 16, word, at;
    if (end < first + 4) return;
    at = (first + random_below(end - first - 3)) / 4 * 4;
    memcpy(&word, blob + at, sizeof word);
    word = telling_word(word);
    memcpy(blob + at, &word, sizeof word);
}

static float telling_float(void) {
    static const float VALUES[] = {0, -0.0f, 1, -1, 1e30f, -1e30f, 1e-45f, __builtin_inff(), -__builtin_inff(),
                                   __builtin_nanf("")};
    uint32_t i = random_below(2 * sizeof VALUES / sizeof VALUES[0]);
    return i < sizeof VALUES / sizeof VALUES[0] ? VALUES[i] : (float)random_below(2000) / 500 - 2;
}

static void run_paths(model *loaded, int changed) {
    uint32_t outputs = loaded->output_count;
    float *scratch = fresh(4ull * loaded->scratch_count), *inputs = fresh(4ull * loaded->input_count);
    float *first = fresh(4ull * outputs), *state_before = fresh(4ull * loaded->state_count);
    for (uint32_t i = 0; i < loaded->input_count; i++) inputs[i] = telling_float();
    for (uint32_t i = 0; i < loaded->state_count; i++) state_before[i] = telling_float();
    for (int path = 0; path < MODEL_PATHS; path++) {
        float *got = fresh(4ull * outputs), *state = fresh(4ull * loaded->state_count);
        memcpy(state, state_before, 4ull * loaded->state_count);
        if (model_path_set(loaded, path)) {
            model_bind(loaded, scratch);
            (void)model_run(loaded, state, inputs, got);
            if (path == 0) memcpy(first, got, 4ull * outputs);
            if (is_canary("paths") && path == MODEL_AVX2) ((uint32_t *)got)[0] ^= 1;
            if (!changed && memcmp(first, got, 4ull * outputs) != 0) fail("the paths differ");
        }
        free(got);
        free(state);
    }
    free(scratch);
    free(inputs);
    free(first);
    free(state_before);
}

static void run_one(void) {
    uint32_t size, mutations = random_below(MUTATIONS_MAX);
    const uint8_t *bytes = corpus_pick(&size);
    uint8_t *blob = fresh(size);
    memcpy(blob, bytes, size);
    for (uint32_t i = 0; i < mutations; i++) mutate_word(blob, size);
    if (mutations && random_below(64)) mend_digest(blob, size);
    uint32_t given = mutations && !random_below(64) ? random_below(size) : size, op;
    model loaded;
    uint8_t *exact = given == size ? blob : fresh(given);
    if (exact != blob) memcpy(exact, blob, given);
    int status = model_load(&loaded, exact, given, &op);
    if (status != MODEL_OK && !mutations) fail("a good blob is refused");
    if (status == MODEL_OK) understood++;
    int small = loaded.header && loaded.scratch_count <= COUNT_MAX && loaded.input_count <= COUNT_MAX &&
                loaded.output_count <= COUNT_MAX && loaded.state_count <= COUNT_MAX && loaded.work <= WORK_MAX;
    if (is_canary("short")) loaded.scratch_count /= 2;
    if (small && status == MODEL_OK) run_paths(&loaded, mutations > 0);
    canary_sing(exact, given);
    mutated += mutations > 0;
    if (exact != blob) free(exact);
    free(blob);
}

int main(int argc, char **argv) {
    uint64_t count = fuzz_begin(argc, argv);
    for (; mutated < count; current++) run_one();
    return fuzz_end(understood);
}
