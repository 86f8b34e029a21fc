#include "train/class_sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* One of so many classes is always in the sample, and of the others one in so many. */
enum { ONE_IN = 8 };

struct mb_class_sampler {
    int64_t n_classes;
    bool *is_certain;     /* (V) */
    bool *is_target;      /* (V); false between draws */
    int32_t *classes;     /* (V), of which the sample fills a part */
    mb_real *log_weights; /* (V) */
    int32_t *places;      /* (V) */
    mb_class_sample sample;
};

typedef struct ranked {
    uint64_t count;
    int64_t class;
} ranked;

/* The most frequent first, of equally frequent ones the lower number. */
static int by_count(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }
    return x->class < y->class ? -1 : x->class > y->class;
}

static bool mark_certain(mb_class_sampler *sampler, const uint64_t *counts) {
    ranked *order = calloc((size_t)sampler->n_classes, sizeof *order);
    if (order == NULL) {
        return false;
    }
    for (int64_t i = 0; i < sampler->n_classes; i++) {
        order[i] = (ranked){counts[i], i};
    }
    qsort(order, (size_t)sampler->n_classes, sizeof *order, by_count);
    for (int64_t i = 0; i < sampler->n_classes / ONE_IN; i++) {
        sampler->is_certain[order[i].class] = true;
    }
    free(order);
    return true;
}

mb_status mb_class_sampler_new(const uint64_t *counts, int64_t n_classes, mb_class_sampler **out, mb_error *error) {
    const size_t n = (size_t)n_classes;
    mb_class_sampler *sampler = calloc(1, sizeof *sampler);
    bool whole = sampler != NULL;
    if (whole) {
        sampler->n_classes = n_classes;
        sampler->is_certain = calloc(n, sizeof *sampler->is_certain);
        sampler->is_target = calloc(n, sizeof *sampler->is_target);
        sampler->classes = calloc(n, sizeof *sampler->classes);
        sampler->log_weights = calloc(n, sizeof *sampler->log_weights);
        sampler->places = calloc(n, sizeof *sampler->places);
        whole = sampler->is_certain && sampler->is_target && sampler->classes && sampler->log_weights && sampler->places &&
                mark_certain(sampler, counts);
    }
    if (!whole) {
        mb_class_sampler_free(sampler);
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    *out = sampler;
    return MB_OK;
}

void mb_class_sampler_free(mb_class_sampler *sampler) {
    if (sampler != NULL) {
        free(sampler->is_certain);
        free(sampler->is_target);
        free(sampler->classes);
        free(sampler->log_weights);
        free(sampler->places);
        free(sampler);
    }
}

const mb_class_sample *mb_class_sampler_draw(mb_class_sampler *sampler, uint64_t seed, uint64_t number, const int32_t *targets,
                                             int64_t n_targets) {
    const mb_real rare = (mb_real)log(ONE_IN);
    for (int64_t i = 0; i < n_targets; i++) {
        sampler->is_target[targets[i]] = true;
    }
    int64_t n = 0;
    mb_rng_block block = {{0}};
    for (int64_t c = 0; c < sampler->n_classes; c++) {
        if (c % 4 == 0) {
            block = mb_rng_at(seed, MB_STREAM_CLASSES, (uint32_t)(number >> 32), (uint32_t)number, (uint32_t)(c / 4));
        }
        const bool surely = sampler->is_certain[c] || sampler->is_target[c];
        if (surely || mb_rng_below(block.v[c % 4], ONE_IN) == 0) {
            sampler->classes[n] = (int32_t)c;
            sampler->log_weights[n] = surely ? 0 : rare;
            sampler->places[c] = (int32_t)n++;
        }
    }
    for (int64_t i = 0; i < n_targets; i++) {
        sampler->is_target[targets[i]] = false;
    }
    sampler->sample = (mb_class_sample){n, sampler->classes, sampler->log_weights, sampler->places};
    return &sampler->sample;
}
