/* model_ort.c: see include/model_ort.h. */
#include "model_ort.h"
#include <stddef.h>
#include <string.h>

/* Places in ONNX Runtime's table (onnxruntime_c_api.h: "OrtApi"), which never change once released. */
enum slot {
    SLOT_GET_ERROR_MESSAGE = 2,
    SLOT_CREATE_ENV = 3,
    SLOT_CREATE_SESSION_FROM_ARRAY = 8,
    SLOT_CREATE_SESSION_OPTIONS = 10,
    SLOT_SET_SESSION_GRAPH_OPTIMIZATION_LEVEL = 23,
    SLOT_SET_INTRA_OP_NUM_THREADS = 24,
    SLOT_SET_INTER_OP_NUM_THREADS = 25,
    SLOT_CREATE_TENSOR_WITH_DATA = 49,
    SLOT_CREATE_CPU_MEMORY_INFO = 69,
    SLOT_RELEASE_ENV = 92,
    SLOT_RELEASE_STATUS = 93,
    SLOT_RELEASE_MEMORY_INFO = 94,
    SLOT_RELEASE_SESSION = 95,
    SLOT_RELEASE_VALUE = 96,
    SLOT_RELEASE_SESSION_OPTIONS = 100,
    SLOT_ADD_SESSION_CONFIG_ENTRY = 130,
    SLOT_RUN_WITH_BINDING = 133,
    SLOT_CREATE_IO_BINDING = 134,
    SLOT_RELEASE_IO_BINDING = 135,
    SLOT_BIND_INPUT = 136,
    SLOT_BIND_OUTPUT = 137
};

#define LOG_LEVEL_ERROR 3
#define OPTIMIZE_ALL 99

typedef struct {
    const void *const *(*get_api)(uint32_t version);
    const char *(*get_version_string)(void);
} api_base_table;

typedef void *status; /* NULL: all is well */
typedef const char *(*error_message_function)(const void *);
typedef status (*create_env_function)(int, const char *, void **);
typedef status (*create_function)(void **);
typedef status (*level_function)(void *, int);
typedef status (*entry_function)(void *, const char *, const char *);
typedef status (*session_function)(void *, const void *, size_t, void *, void **);
typedef status (*memory_function)(int, int, void **);
typedef status (*tensor_function)(void *, void *, size_t, const int64_t *, size_t, int, void **);
typedef status (*binding_function)(void *, void **);
typedef status (*bind_function)(void *, const char *, const void *);
typedef status (*run_function)(void *, const void *, const void *);
typedef void (*release_function)(void *);

/* The table holds functions of many kinds; C has no void pointer for them. */
#define CALL(ort, slot, kind) ((kind)(uintptr_t)(ort)->api[slot])

static const void *const *table_of(const void *api_base) {
    const api_base_table *base = api_base;
    return base->get_api(MODEL_ORT_API_VERSION);
}

const char *model_ort_version(const void *api_base) {
    const api_base_table *base = api_base;
    return table_of(api_base) ? base->get_version_string() : NULL;
}

/* ---- ports --------------------------------------------------------------------------------------------- */

static uint64_t type_size(uint32_t type) {
    switch (type) {
    case MODEL_ORT_FLOAT:
    case MODEL_ORT_INT32: return 4;
    case MODEL_ORT_INT64:
    case MODEL_ORT_DOUBLE: return 8;
    case MODEL_ORT_BOOL: return 1;
    default: return 0;
    }
}

/* Elements of a port; 0 when it is malformed. */
static uint64_t port_count(const model_ort_port *port) {
    uint64_t count = 1;
    if (port->rank > MODEL_ORT_RANK_MAX || !type_size(port->type) || port->role > MODEL_ORT_STATE_OUTPUT) return 0;
    if (port->role != MODEL_ORT_OUTPUT && port->type != MODEL_ORT_FLOAT) return 0;
    if (!memchr(port->name, 0, sizeof port->name)) return 0;
    for (uint32_t d = 0; d < port->rank; d++) {
        if (port->shape[d] < 1 || port->shape[d] > MODEL_FLOATS_MAX) return 0;
        count *= (uint64_t)port->shape[d];
        if (count > MODEL_FLOATS_MAX) return 0;
    }
    return port->offset <= MODEL_FLOATS_MAX ? count : 0;
}

static uint64_t aligned(uint64_t size) { return (size + MODEL_ALIGN - 1) / MODEL_ALIGN * MODEL_ALIGN; }

uint64_t model_ort_room(const model_ort_port *ports, uint32_t count) {
    uint64_t size = 0;
    if (count > MODEL_ORT_PORTS_MAX) return 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t elements = port_count(ports + i);
        if (!elements) return 0;
        size += aligned(elements * type_size(ports[i].type));
    }
    return size;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* Whether a call went well; keeps what it said when not. */
static int went_well(model_ort *ort, status said) {
    if (!said) return 1;
    const char *words = CALL(ort, SLOT_GET_ERROR_MESSAGE, error_message_function)(said);
    size_t length = strlen(words);
    if (length >= sizeof ort->error) length = sizeof ort->error - 1;
    memcpy(ort->error, words, length);
    ort->error[length] = 0;
    CALL(ort, SLOT_RELEASE_STATUS, release_function)(said);
    return 0;
}

static int open_session(model_ort *ort, const void *onnx, uint64_t size) {
    return went_well(ort, CALL(ort, SLOT_CREATE_ENV, create_env_function)(LOG_LEVEL_ERROR, "hotpath", &ort->env)) &&
           went_well(ort, CALL(ort, SLOT_CREATE_SESSION_OPTIONS, create_function)(&ort->options)) &&
           went_well(ort, CALL(ort, SLOT_SET_INTRA_OP_NUM_THREADS, level_function)(ort->options, 1)) &&
           went_well(ort, CALL(ort, SLOT_SET_INTER_OP_NUM_THREADS, level_function)(ort->options, 1)) &&
           went_well(ort, CALL(ort, SLOT_SET_SESSION_GRAPH_OPTIMIZATION_LEVEL, level_function)(ort->options,
                                                                                               OPTIMIZE_ALL)) &&
           went_well(ort, CALL(ort, SLOT_ADD_SESSION_CONFIG_ENTRY, entry_function)(
                              ort->options, "session.intra_op.allow_spinning", "0")) &&
           went_well(ort, CALL(ort, SLOT_CREATE_SESSION_FROM_ARRAY, session_function)(ort->env, onnx, size, ort->options,
                                                                                      &ort->session)) &&
           went_well(ort, CALL(ort, SLOT_CREATE_CPU_MEMORY_INFO, memory_function)(0, 0, &ort->memory)) &&
           went_well(ort, CALL(ort, SLOT_CREATE_IO_BINDING, binding_function)(ort->session, &ort->binding));
}

static int bind_port(model_ort *ort, uint32_t i) {
    const model_ort_port *port = ort->port + i;
    int is_input = port->role == MODEL_ORT_INPUT || port->role == MODEL_ORT_STATE_INPUT;
    status made = CALL(ort, SLOT_CREATE_TENSOR_WITH_DATA, tensor_function)(
        ort->memory, ort->data[i], ort->count[i] * type_size(port->type), port->shape, port->rank, (int)port->type,
        &ort->value[i]);
    if (!went_well(ort, made)) return 0;
    bind_function bind = CALL(ort, is_input ? SLOT_BIND_INPUT : SLOT_BIND_OUTPUT, bind_function);
    return went_well(ort, bind(ort->binding, port->name, ort->value[i]));
}

/* The counts of a model, from its ports. */
static void describe(model *self, model_ort *ort) {
    memset(self, 0, sizeof *self);
    for (uint32_t i = 0; i < ort->port_count; i++) {
        uint32_t end = ort->port[i].offset + (uint32_t)ort->count[i];
        uint32_t *count = ort->port[i].role == MODEL_ORT_INPUT    ? &self->input_count
                          : ort->port[i].role == MODEL_ORT_OUTPUT ? &self->output_count
                                                                  : &self->state_count;
        if (*count < end) *count = end;
    }
    self->executor = MODEL_ONNXRUNTIME;
    self->session = ort;
}

int model_ort_open(model *self, model_ort *ort, const void *api_base, const void *onnx, uint64_t size,
                   const model_ort_port *ports, uint32_t count, void *room) {
    memset(ort, 0, sizeof *ort);
    ort->api = table_of(api_base);
    if (!ort->api) return MODEL_BAD_VERSION;
    if (!model_ort_room(ports, count)) return MODEL_BAD_COUNT;
    memcpy(ort->port, ports, count * sizeof *ports);
    ort->port_count = count;
    uint8_t *next = room;
    for (uint32_t i = 0; i < count; i++) {
        ort->count[i] = port_count(ports + i);
        ort->data[i] = next;
        next += aligned(ort->count[i] * type_size(ports[i].type));
    }
    int open = open_session(ort, onnx, size);
    for (uint32_t i = 0; open && i < count; i++) open = bind_port(ort, i);
    if (!open) {
        model_ort_close(ort);
        return MODEL_FAILED;
    }
    describe(self, ort);
    return MODEL_OK;
}

static void release(model_ort *ort, enum slot slot, void **thing) {
    if (*thing) CALL(ort, slot, release_function)(*thing);
    *thing = NULL;
}

void model_ort_close(model_ort *ort) {
    release(ort, SLOT_RELEASE_IO_BINDING, &ort->binding);
    for (uint32_t i = 0; i < ort->port_count; i++) release(ort, SLOT_RELEASE_VALUE, &ort->value[i]);
    release(ort, SLOT_RELEASE_MEMORY_INFO, &ort->memory);
    release(ort, SLOT_RELEASE_SESSION, &ort->session);
    release(ort, SLOT_RELEASE_SESSION_OPTIONS, &ort->options);
    release(ort, SLOT_RELEASE_ENV, &ort->env);
}

/* ---- running ------------------------------------------------------------------------------------------- */

static float element(const void *data, uint32_t type, uint64_t i) {
    switch (type) {
    case MODEL_ORT_INT32: return (float)((const int32_t *)data)[i];
    case MODEL_ORT_INT64: return (float)((const int64_t *)data)[i];
    case MODEL_ORT_DOUBLE: return (float)((const double *)data)[i];
    case MODEL_ORT_BOOL: return (float)((const uint8_t *)data)[i];
    default: return ((const float *)data)[i];
    }
}

int model_ort_run(model_ort *ort, float *state, const float *inputs, float *outputs) {
    for (uint32_t i = 0; i < ort->port_count; i++) {
        const model_ort_port *port = ort->port + i;
        const float *source = port->role == MODEL_ORT_INPUT ? inputs : state;
        if (port->role == MODEL_ORT_INPUT || port->role == MODEL_ORT_STATE_INPUT)
            memcpy(ort->data[i], source + port->offset, ort->count[i] * sizeof(float));
    }
    status said = CALL(ort, SLOT_RUN_WITH_BINDING, run_function)(ort->session, NULL, ort->binding);
    if (!went_well(ort, said)) return MODEL_FAILED;
    uint32_t nan_seen = 0;
    for (uint32_t i = 0; i < ort->port_count; i++) {
        const model_ort_port *port = ort->port + i;
        if (port->role != MODEL_ORT_OUTPUT && port->role != MODEL_ORT_STATE_OUTPUT) continue;
        float *target = (port->role == MODEL_ORT_OUTPUT ? outputs : state) + port->offset;
        for (uint64_t k = 0; k < ort->count[i]; k++) {
            float value = element(ort->data[i], port->type, k);
            nan_seen |= value != value;
            target[k] = value != value ? __builtin_nanf("") : value;
        }
    }
    return nan_seen ? MODEL_NAN : MODEL_OK;
}
