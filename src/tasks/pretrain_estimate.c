/* pretrain --dry-run: the run's own step, on made-up text of full length, timed and weighed. */
#include <stdlib.h>
#include <sys/resource.h>

#include "base/rng.h"
#include "tasks/pretrain_run.h"

enum { TIMED_STEPS = 3 };

static mb_status allocate_batch(mb_batch *batch, const mb_pretrain_run *run, mb_error *error) {
    const mb_pretrain_options *o = run->options;
    const int32_t n = run->part_sequences, length = (int32_t)o->seq_length;
    const size_t n_tokens = (size_t)n * (size_t)length;
    *batch = (mb_batch){.n_tokens = (int64_t)n_tokens, .n_sequences = n, .max_length = length};
    batch->ids = calloc(n_tokens, sizeof *batch->ids);
    batch->types = calloc(n_tokens, sizeof *batch->types);
    batch->masked_rows = calloc(n_tokens, sizeof *batch->masked_rows);
    batch->masked_targets = calloc(n_tokens, sizeof *batch->masked_targets);
    batch->offsets = calloc((size_t)n + 1, sizeof *batch->offsets);
    batch->next_sentence = o->nsp ? calloc((size_t)n, sizeof *batch->next_sentence) : NULL;
    if (batch->ids == NULL || batch->types == NULL || batch->masked_rows == NULL || batch->masked_targets == NULL ||
        batch->offsets == NULL || (o->nsp && batch->next_sentence == NULL)) {
        return mb_fail(error, MB_ERROR_MEMORY, "out of memory: a batch of %zu tokens does not fit", n_tokens);
    }
    return MB_OK;
}

/* Uniform ids: what they are does not change the work. */
static void fill_batch(mb_batch *batch, const mb_pretrain_options *o, int32_t vocab_size) {
    for (int64_t i = 0; i < batch->n_tokens; i++) {
        const mb_rng_block random = mb_rng_at((uint64_t)o->seed, MB_STREAM_MASK, 0, (uint32_t)(i >> 32), (uint32_t)i);
        batch->ids[i] = (int32_t)mb_rng_below(random.v[0], (uint32_t)vocab_size);
        if ((double)mb_rng_uniform(random.v[1]) < o->mlm_probability || i == 0) {
            batch->masked_rows[batch->n_masked] = (int32_t)i;
            batch->masked_targets[batch->n_masked++] = (int32_t)mb_rng_below(random.v[2], (uint32_t)vocab_size);
        }
    }
    for (int32_t b = 0; b <= batch->n_sequences; b++) {
        batch->offsets[b] = b * batch->max_length;
    }
}

/* Shortest of a few, as nothing but noise makes a step longer. */
static mb_status time_step(mb_pretrain_run *run, const mb_batch *batch, double *step_seconds, double *update_seconds,
                           mb_error *error) {
    double best_batch = 0, best_update = 0;
    for (int i = 0; i <= TIMED_STEPS; i++) { /* the first warms up */
        mb_step_sums sums = {0};
        const double began = mb_clock_seconds();
        mb_status status = mb_masked_lm_accumulate(run->model, run->tape, &batch, 1, run->options->nsp,
                                                   (uint64_t)run->options->seed, i, &sums, error);
        if (status != MB_OK) {
            return status;
        }
        const double middle = mb_clock_seconds();
        const double norm = mb_params_grad_norm(mb_model_params(run->model));
        mb_optimizer_update(&run->optimizer, mb_model_params(run->model), 0, mb_clip_factor(norm, 1));
        mb_model_pack_weights(run->model);
        const double end = mb_clock_seconds();
        if (i == 1 || (i > 1 && middle - began < best_batch)) {
            best_batch = middle - began;
        }
        if (i == 1 || (i > 1 && end - middle < best_update)) {
            best_update = end - middle;
        }
    }
    *step_seconds = (double)run->n_parts * best_batch + best_update;
    *update_seconds = best_update;
    return MB_OK;
}

static json_t *describe(mb_pretrain_run *run, double step_seconds, double update_seconds) {
    const mb_pretrain_options *o = run->options;
    const mb_model_config *config = mb_model_get_config(run->model);
    const mb_params *params = mb_model_params(run->model);
    const double one_buffer = (double)params->count * (double)sizeof(mb_real);
    const double tokens = (double)o->batch_size * (double)o->seq_length * (double)o->grad_accum;
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    json_t *result = json_pack(
        "{s:b, s:{s:i, s:i, s:i, s:i, s:i, s:i}, s:I, s:{s:I, s:I, s:I, s:I}, s:{s:f, s:f, s:f, s:f, s:f}, s:f, s:f, s:f}",
        "dry_run", 1, "model", "layers", (int)config->n_layers, "hidden", (int)config->hidden_size, "heads",
        (int)config->n_heads, "intermediate", (int)config->intermediate_size, "vocab_size", (int)config->vocab_size,
        "positions", (int)config->max_positions, "parameters", (json_int_t)mb_params_n_weights(params), "batch", "sequences",
        (json_int_t)o->batch_size, "seq_length", (json_int_t)o->seq_length, "grad_accum", (json_int_t)o->grad_accum,
        "tokens_per_step", (json_int_t)tokens, "memory_mb", "weights", 1e-6 * one_buffer, "gradients", 1e-6 * one_buffer,
        "optimizer", 2e-6 * one_buffer, "activations", 1e-6 * (double)mb_tape_peak_bytes(run->tape), "peak_resident",
        1.024e-3 * (double)usage.ru_maxrss, "seconds_per_step", step_seconds, "of_which_update", update_seconds,
        "tokens_per_second", tokens / step_seconds);
    if (result != NULL && o->steps > 0) {
        json_object_set_new(result, "steps", json_integer(o->steps));
        json_object_set_new(result, "estimated_seconds", json_real(step_seconds * (double)o->steps));
    }
    return result;
}

mb_status mb_pretrain_estimate(mb_pretrain_run *run, json_t **result, mb_error *error) {
    mb_batch batch = {0};
    double step_seconds = 0, update_seconds = 0;
    mb_status status = allocate_batch(&batch, run, error);
    if (status == MB_OK) {
        fill_batch(&batch, run->options, mb_model_get_config(run->model)->vocab_size);
        status = time_step(run, &batch, &step_seconds, &update_seconds, error);
    }
    if (status == MB_OK && (*result = describe(run, step_seconds, update_seconds)) == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_batch_free(&batch);
    return status;
}
