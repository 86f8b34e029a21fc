/* Sampled softmax: the rows of the weight that are in the sample are copied side by side, the problem of these classes is
 * solved like any other, and their gradients are added where the rows came from. */
#include <string.h>

#include "autograd/ops/linear_cross_entropy.h"

static mb_real *zeros(mb_tape *tape, int64_t count) {
    mb_real *numbers = mb_tape_alloc(tape, (size_t)count, sizeof *numbers);
    if (numbers != NULL) {
        memset(numbers, 0, (size_t)count * sizeof *numbers);
    }
    return numbers;
}

/* What the sample's classes are, as classes of their own. */
typedef struct sampled {
    mb_tensor weight;
    mb_real *rows, *bias, *dweight, *dbias;
    int32_t *targets;
} sampled;

static bool allocate(mb_tape *tape, const mb_lce_problem *p, int64_t n, sampled *s) {
    s->rows = mb_tape_alloc(tape, (size_t)(n * p->width), sizeof *s->rows);
    s->bias = mb_tape_alloc(tape, (size_t)n, sizeof *s->bias);
    s->targets = mb_tape_alloc(tape, (size_t)p->n_rows, sizeof *s->targets);
    s->dweight = p->dweight == NULL ? NULL : zeros(tape, n * p->width);
    s->dbias = p->dbias == NULL ? NULL : zeros(tape, n);
    return mb_tape_status(tape) == MB_OK;
}

static void gather(const mb_lce_problem *p, const mb_class_sample *sample, sampled *s) {
    const mb_real *weight = mb_tensor_real(p->weight);
    const size_t n_bytes = (size_t)p->width * sizeof *weight;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < sample->n; i++) {
        const int64_t c = sample->classes[i];
        memcpy(s->rows + i * p->width, weight + c * p->width, n_bytes);
        s->bias[i] = sample->log_weights[i] + (p->bias == NULL ? 0 : p->bias[c]);
    }
    for (int64_t i = 0; i < p->n_rows; i++) {
        s->targets[i] = sample->places[p->targets[i]];
    }
    s->weight = (mb_tensor){.dtype = MB_REAL_DTYPE, .n_dims = 2, .dims = {sample->n, p->width}, .data = s->rows};
}

static void scatter(const mb_lce_problem *p, const mb_class_sample *sample, const sampled *s) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < sample->n; i++) {
        const int64_t c = sample->classes[i];
        for (int64_t j = 0; p->dweight != NULL && j < p->width; j++) {
            p->dweight[c * p->width + j] += s->dweight[i * p->width + j];
        }
        if (p->dbias != NULL) {
            p->dbias[c] += s->dbias[i];
        }
    }
}

void mb_lce_sampled(mb_tape *tape, const mb_lce_problem *p, const mb_class_sample *sample,
                    void (*compute)(mb_tape *tape, const mb_lce_problem *problem)) {
    const mb_arena_mark mark = mb_tape_scratch_mark(tape);
    sampled s = {0};
    if (!allocate(tape, p, sample->n, &s)) {
        return;
    }
    gather(p, sample, &s);
    mb_lce_problem part = *p;
    part.weight = &s.weight;
    part.bias = s.bias;
    part.n_classes = sample->n;
    part.targets = s.targets;
    part.dweight = s.dweight;
    part.dbias = s.dbias;
    compute(tape, &part);
    if (mb_tape_status(tape) == MB_OK) {
        scatter(p, sample, &s);
        mb_tape_scratch_drop(tape, mark);
    }
}
