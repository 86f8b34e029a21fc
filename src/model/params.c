#include "model/params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"

enum { ALIGN_ELEMENTS = 64 / (int)sizeof(mb_real) };

static bool grow(mb_params *params) {
    size_t capacity = params->capacity ? 2 * params->capacity : 64;
    mb_param *views = realloc(params->views, capacity * sizeof *views);
    if (!views) {
        return false;
    }
    params->views = views;
    params->capacity = capacity;
    return true;
}

int mb_params_add(mb_params *params, const char *name, int n_dims, const int64_t *dims, mb_init init, bool decay, bool fused) {
    if (params->n_views == params->capacity && !grow(params)) {
        return -1;
    }
    mb_param *view = &params->views[params->n_views];
    *view = (mb_param){.n_dims = n_dims, .count = 1, .init = init, .init_scale = 1, .rate = 1, .decay = decay, .fused = fused};
    snprintf(view->name, sizeof view->name, "%s", name);
    for (int i = 0; i < n_dims; i++) {
        view->dims[i] = dims[i];
        if (__builtin_mul_overflow(view->count, dims[i], &view->count)) {
            return -1;
        }
    }
    int64_t gap = fused ? 0 : (ALIGN_ELEMENTS - params->count % ALIGN_ELEMENTS) % ALIGN_ELEMENTS;
    if (__builtin_add_overflow(params->count, gap, &view->offset) ||
        __builtin_add_overflow(view->offset, view->count, &params->count)) {
        return -1;
    }
    return (int)params->n_views++;
}

static mb_real *allocate(int64_t count, bool zeroed) {
    size_t n_bytes;
    if (__builtin_mul_overflow((size_t)count, sizeof(mb_real), &n_bytes)) {
        return NULL;
    }
    mb_real *memory = mb_memory_alloc(n_bytes);
    if (memory && zeroed) {
        memset(memory, 0, n_bytes);
    }
    return memory;
}

mb_status mb_params_allocate(mb_params *params, bool with_grads, mb_error *error) {
    params->weights = allocate(params->count, with_grads);
    params->grads = params->weights && with_grads ? allocate(params->count, true) : NULL;
    if (!params->weights || (with_grads && !params->grads)) {
        free(params->weights);
        params->weights = NULL;
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory: the model needs %.1f MB for %lld weights%s",
                       (double)params->count * (double)sizeof(mb_real) * (with_grads ? 2 : 1) / 1e6,
                       (long long)mb_params_n_weights(params), with_grads ? " and their gradients" : "");
    }
    return MB_OK;
}

/* Four elements from one Philox block; a number beyond two deviations is drawn again from the next counter, so an element's
 * value never depends on its neighbours. */
static void truncated_normal4(uint64_t seed, uint32_t view, uint32_t block, double range, mb_real out[4]) {
    bool drawn[4] = {false, false, false, false};
    for (uint32_t attempt = 0; !(drawn[0] && drawn[1] && drawn[2] && drawn[3]); attempt++) {
        mb_rng_block words = mb_rng_at(seed, MB_STREAM_INIT, view, block, attempt);
        float normal[4];
        mb_rng_normal2(words.v[0], words.v[1], normal);
        mb_rng_normal2(words.v[2], words.v[3], normal + 2);
        for (int i = 0; i < 4; i++) {
            if (!drawn[i] && fabsf(normal[i]) <= 2) {
                out[i] = (mb_real)(range * (double)normal[i]);
                drawn[i] = true;
            }
        }
    }
}

/* Row p: sin and cos of p / 10000^(2i/H) side by side (Vaswani et al. 2017, section 3.5), scaled from deviation 1/sqrt(2) to
 * `range`. Neighbouring positions are alike from the first step. */
static void sinusoids(const mb_param *view, double range, mb_real *weights) {
    const int64_t width = view->dims[1];
    for (int64_t p = 0; p < view->dims[0]; p++) {
        for (int64_t j = 0; j < width; j++) {
            const double angle = (double)p / pow(10000, (double)(j - j % 2) / (double)width);
            weights[p * width + j] = (mb_real)(range * M_SQRT2 * (j % 2 == 0 ? sin(angle) : cos(angle)));
        }
    }
}

void mb_params_initialize_view(mb_params *params, int index, uint64_t seed, double range) {
    const mb_param *view = &params->views[index];
    mb_real *weights = params->weights + view->offset;
    const int64_t count = view->count;
    range *= view->init_scale;
    if (view->init == MB_INIT_SINUSOID) {
        sinusoids(view, range, weights);
        return;
    }
    if (view->init != MB_INIT_NORMAL) {
        const mb_real value = view->init == MB_INIT_ONE ? 1 : 0;
        for (int64_t i = 0; i < count; i++) {
            weights[i] = value;
        }
        return;
    }
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < (count + 3) / 4; block++) {
        mb_real four[4];
        truncated_normal4(seed, (uint32_t)index, (uint32_t)block, range, four);
        for (int64_t i = 4 * block; i < count && i < 4 * block + 4; i++) {
            weights[i] = four[i - 4 * block];
        }
    }
}

void mb_params_initialize(mb_params *params, uint64_t seed, double range) {
    for (size_t i = 0; i < params->n_views; i++) {
        mb_params_initialize_view(params, (int)i, seed, range);
    }
}

void mb_params_copy_weights(mb_params *to, const mb_params *from) {
    for (size_t i = 0; i < to->n_views; i++) {
        const mb_param *view = &to->views[i];
        const int index = mb_params_find(from, view->name);
        if (index >= 0 && from->views[index].count == view->count) {
            memcpy(to->weights + view->offset, mb_params_weights(from, &from->views[index]),
                   (size_t)view->count * sizeof *to->weights);
        }
    }
}

int mb_params_find(const mb_params *params, const char *name) {
    for (size_t i = 0; i < params->n_views; i++) {
        if (strcmp(params->views[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int64_t mb_params_n_weights(const mb_params *params) {
    int64_t n = 0;
    for (size_t i = 0; i < params->n_views; i++) {
        n += params->views[i].count;
    }
    return n;
}

mb_tensor mb_params_tensor(const mb_params *params, int index, int n_views) {
    const mb_param *view = &params->views[index];
    mb_tensor tensor = {.dtype = (mb_dtype)MB_REAL_DTYPE,
                        .n_dims = view->n_dims,
                        .data = params->weights ? (void *)(uintptr_t)mb_params_weights(params, view) : NULL,
                        .grad = params->grads ? params->grads + view->offset : NULL,
                        .needs_grad = params->grads && !view->frozen,
                        .is_parameter = true};
    for (int i = 0; i < view->n_dims; i++) {
        tensor.dims[i] = view->dims[i];
    }
    for (int i = 1; i < n_views; i++) {
        tensor.dims[0] += view[i].dims[0];
    }
    return tensor;
}

void mb_params_free(mb_params *params) {
    free(params->views);
    free(params->weights);
    free(params->grads);
    *params = (mb_params){0};
}
