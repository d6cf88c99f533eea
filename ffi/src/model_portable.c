/* model_portable.c: the interpreter of model.h in vectors of 16 bytes. See model_interpreter.h. */
#include "model.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANE_BYTES 16
#define RUN model_run_portable
#include "model_interpreter.h"
