/* model_ort.h: ONNX Runtime behind model_run, through its C API from the wheel's own shared library.
 *
 *   libonnxruntime.so --dlsym--> OrtGetApiBase() --model_ort_open--> session, binding over fixed buffers, one thread
 *   model_run:  inputs, state --copy--> bound buffers --RunWithBinding--> bound buffers --copy--> outputs, state
 *
 * For graphs outside the native ops, and as the oracle of the native ones. Nothing is linked: the caller loads the library
 * and passes OrtGetApiBase's result. The slots of its table are frozen by ONNX Runtime's rules for API versions; the few
 * that are used stand in model_ort.c. Opening and closing allocate and take milliseconds: off the hot core. A run allocates
 * too, inside ONNX Runtime (12 to 130 times), which is why the native executor exists.
 */
#pragma once
#include "layout.h"
#include "model.h"

#define MODEL_ORT_PORTS_MAX 32
#define MODEL_ORT_RANK_MAX 6
#define MODEL_ORT_NAME_MAX 256
#define MODEL_ORT_ERROR_MAX 512
#define MODEL_ORT_API_VERSION 20 /* of the table asked for: ONNX Runtime 1.20 and later have it */

enum model_ort_role { MODEL_ORT_INPUT, MODEL_ORT_OUTPUT, MODEL_ORT_STATE_INPUT, MODEL_ORT_STATE_OUTPUT };

/* As TensorProto numbers them. Inputs and states are floats; outputs of the others are handed on as floats. */
enum model_ort_type { MODEL_ORT_FLOAT = 1, MODEL_ORT_INT32 = 6, MODEL_ORT_INT64 = 7, MODEL_ORT_BOOL = 9, MODEL_ORT_DOUBLE = 11 };

typedef struct {
    char name[MODEL_ORT_NAME_MAX];
    int64_t shape[MODEL_ORT_RANK_MAX];
    uint32_t rank;
    uint32_t type;   /* enum model_ort_type */
    uint32_t role;   /* enum model_ort_role */
    uint32_t offset; /* in inputs, outputs or state */
} model_ort_port;

typedef struct {
    const void *const *api; /* the table of functions */
    void *env;
    void *options;
    void *session;
    void *memory;
    void *binding;
    void *value[MODEL_ORT_PORTS_MAX];
    void *data[MODEL_ORT_PORTS_MAX]; /* of the room, in the order of the ports */
    uint64_t count[MODEL_ORT_PORTS_MAX];
    model_ort_port port[MODEL_ORT_PORTS_MAX];
    uint32_t port_count;
    uint32_t reserved;
    char error[MODEL_ORT_ERROR_MAX]; /* what ONNX Runtime said last */
} model_ort;

/* ONNX Runtime's version, as it says it (static); NULL when it has no table of MODEL_ORT_API_VERSION. */
const char *model_ort_version(const void *api_base);
/* Bytes of room that the ports need; 0 when one of them is malformed, or there are too many. */
uint64_t model_ort_room(const model_ort_port *ports, uint32_t count);
/* Make a session of `size` bytes of ONNX, bind it to `room` (model_ort_room bytes on MODEL_ALIGN, the caller's, as *ort is),
 * and describe it in *self. MODEL_OK, MODEL_BAD_COUNT for bad ports, or MODEL_FAILED with ort->error; then nothing is open. */
int model_ort_open(model *self, model_ort *ort, const void *api_base, const void *onnx, uint64_t size,
                   const model_ort_port *ports, uint32_t count, void *room);
/* Release everything, also after a failed opening. */
void model_ort_close(model_ort *ort);
/* As model_run, which calls it. */
int model_ort_run(model_ort *ort, float *state, const float *inputs, float *outputs);
