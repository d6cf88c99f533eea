/* model.c: a blob's envelope, and the choice of a path. See include/model.h. */
#include "model.h"
#include "digest.h"
#include "model_ort.h"
#include "model_parts.h"
#include <stddef.h>
#include <string.h>

_Static_assert(sizeof(model_header) == 128, "the header is two cache lines");
_Static_assert(sizeof(model_op) == 96, "ops lie densely");
_Static_assert(sizeof(model_tree_node) == 8 && sizeof(model_tree) == 16, "the region of trees counts in words");
_Static_assert(MODEL_FLOATS_MAX <= MODEL_OFFSET_MASK, "an offset reaches every float of a space");

/* `count` things of `each` bytes from `offset` lie within the blob, behind its header. */
static int section_lies_within(const model_header *header, uint64_t offset, uint64_t count, uint64_t each) {
    return offset >= sizeof *header && offset <= header->size && count <= (header->size - offset) / each;
}

static int header_check(const model_header *header, uint64_t size) {
    if (size < sizeof *header) return MODEL_BAD_SIZE;
    if (header->magic != MODEL_MAGIC) return MODEL_BAD_MAGIC;
    if (header->version != MODEL_VERSION) return MODEL_BAD_VERSION;
    if (header->size != size) return MODEL_BAD_SIZE;
    uint64_t digested = offsetof(model_header, digest) + sizeof header->digest;
    if (header->digest != digest_bytes(MODEL_MAGIC, (const uint8_t *)header + digested, size - digested))
        return MODEL_BAD_CHECKSUM;
    if (header->weights_offset % MODEL_ALIGN || header->ops_offset % 32) return MODEL_BAD_ALIGNMENT;
    if (header->op_count > MODEL_OPS_MAX || header->weight_count > MODEL_FLOATS_MAX) return MODEL_TOO_LARGE;
    if (header->input_count > MODEL_FLOATS_MAX || header->output_count > MODEL_FLOATS_MAX) return MODEL_TOO_LARGE;
    if (header->state_count > MODEL_FLOATS_MAX || header->scratch_count > MODEL_FLOATS_MAX) return MODEL_TOO_LARGE;
    if (!header->input_count || !header->output_count) return MODEL_BAD_COUNT;
    if (!section_lies_within(header, header->ops_offset, header->op_count, sizeof(model_op))) return MODEL_BAD_SIZE;
    if (!section_lies_within(header, header->weights_offset, header->weight_count, sizeof(float))) return MODEL_BAD_SIZE;
    return MODEL_OK;
}

int model_load(model *self, const void *blob, uint64_t size, uint32_t *op_index) {
    uint32_t ignored, *index = op_index ? op_index : &ignored;
    memset(self, 0, sizeof *self);
    *index = 0;
    if ((uintptr_t)blob % MODEL_ALIGN) return MODEL_BAD_ALIGNMENT;
    const model_header *header = blob;
    int status = header_check(header, size);
    if (status != MODEL_OK) return status;
    self->header = header;
    self->op = (const void *)((const uint8_t *)blob + header->ops_offset);
    self->weights = (const void *)((const uint8_t *)blob + header->weights_offset);
    self->op_count = header->op_count;
    self->input_count = header->input_count;
    self->output_count = header->output_count;
    self->state_count = header->state_count;
    self->scratch_count = header->scratch_count;
    self->executor = MODEL_NATIVE;
    self->path = (uint16_t)model_path_best();
    return model_check(self, index);
}

void model_bind(model *self, float *scratch) {
    memset(scratch, 0, self->scratch_count * sizeof *scratch);
    self->scratch = scratch;
}

/* ---- paths --------------------------------------------------------------------------------------------- */

static int path_is_there(int path) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (path == MODEL_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (path == MODEL_AVX2) return __builtin_cpu_supports("avx2") != 0;
#endif
    return path == MODEL_PORTABLE;
}

int model_path_best(void) {
    if (path_is_there(MODEL_AVX512)) return MODEL_AVX512;
    return path_is_there(MODEL_AVX2) ? MODEL_AVX2 : MODEL_PORTABLE;
}

int model_path_set(model *self, int path) {
    if (!path_is_there(path)) return 0;
    self->path = (uint16_t)path;
    return 1;
}

/* ---- running ------------------------------------------------------------------------------------------- */

void model_reset(const model *self, float *state) {
    if (self->state_count) memset(state, 0, self->state_count * sizeof *state);
}

int model_run(const model *self, float *state, const float *inputs, float *outputs) {
    if (self->executor == MODEL_ONNXRUNTIME) return model_ort_run(self->session, state, inputs, outputs);
    switch (self->path) {
    case MODEL_AVX512: return model_run_avx512(self, state, inputs, outputs);
    case MODEL_AVX2: return model_run_avx2(self, state, inputs, outputs);
    default: return model_run_portable(self, state, inputs, outputs);
    }
}

const char *model_status_text(int status) {
    switch (status) {
    case MODEL_OK: return "ok";
    case MODEL_NAN: return "an output is not a number";
    case MODEL_FAILED: return "ONNX Runtime failed";
    case MODEL_BAD_SIZE: return "truncated, or a section lies outside";
    case MODEL_BAD_MAGIC: return "not a model blob";
    case MODEL_BAD_VERSION: return "of another version";
    case MODEL_BAD_CHECKSUM: return "its checksum differs";
    case MODEL_BAD_ALIGNMENT: return "not aligned";
    case MODEL_TOO_LARGE: return "more ops, floats or work than the bounds";
    case MODEL_BAD_KIND: return "no such op";
    case MODEL_BAD_FUNCTION: return "no such function of that op";
    case MODEL_BAD_REFERENCE: return "reads or writes outside its space";
    case MODEL_BAD_COUNT: return "a dimension is zero or contradicts another";
    case MODEL_BAD_TREE: return "not a tree in breadth-first order";
    case MODEL_BAD_OUTPUT: return "outputs are not written once each, in order";
    default: return "an unknown status";
    }
}
