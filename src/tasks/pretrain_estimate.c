/* pretrain --dry-run: the run's own step, on made-up text of full length, timed and weighed. */
#include <stdlib.h>
#include <sys/resource.h>

#include "tasks/made_up_batch.h"
#include "tasks/pretrain_run.h"

enum { TIMED_STEPS = 3 };

/* Shortest of a few, as nothing but noise makes a step longer. */
static mb_status time_step(mb_pretrain_run *run, double progress, const mb_batch *batch, double *step_seconds,
                           double *update_seconds, mb_error *error) {
    const mb_masked_lm_objective objective = mb_pretrain_objective_at(run, progress);
    double best_batch = 0, best_update = 0;
    for (int i = 0; i <= TIMED_STEPS; i++) { /* the first warms up */
        mb_step_sums sums = {0};
        const double began = mb_clock_seconds();
        mb_status status = mb_masked_lm_accumulate(run->model, run->tape, &batch, 1, &objective, i, &sums, error);
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

/* A step while --depth-ramp and --sampled-softmax are under way. */
static mb_status time_first_step(mb_pretrain_run *run, const mb_batch *batch, double *step_seconds, mb_error *error) {
    const int32_t depth = mb_model_depth(run->model);
    double update_seconds = 0;
    mb_model_set_depth(run->model, mb_pretrain_depth_at(run, 0));
    const mb_status status = time_step(run, 0, batch, step_seconds, &update_seconds, error);
    mb_model_set_depth(run->model, depth);
    return status;
}

static json_t *describe(mb_pretrain_run *run, double step_seconds, double update_seconds, double first_step_seconds) {
    const mb_pretrain_options *o = run->options;
    const mb_model_config *config = mb_model_get_config(run->model);
    const mb_params *params = mb_model_params(run->model);
    const double one_buffer = (double)params->count * (double)sizeof(mb_real);
    const double tokens = (double)o->batch_size * (double)o->seq_length * (double)o->grad_accum;
    const double mean_seconds = o->depth_ramp * first_step_seconds + (1 - o->depth_ramp) * step_seconds;
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    json_t *result = json_pack(
        "{s:b, s:{s:i, s:i, s:i, s:i, s:i, s:i}, s:I, s:{s:I, s:I, s:I, s:I}, s:{s:f, s:f, s:f, s:f, s:f}, s:f, s:f, s:f, s:f}",
        "dry_run", 1, "model", "layers", (int)config->n_layers, "hidden", (int)config->hidden_size, "heads",
        (int)config->n_heads, "intermediate", (int)config->intermediate_size, "vocab_size", (int)config->vocab_size,
        "positions", (int)config->max_positions, "parameters", (json_int_t)mb_params_n_weights(params), "batch", "sequences",
        (json_int_t)o->batch_size, "seq_length", (json_int_t)o->seq_length, "grad_accum", (json_int_t)o->grad_accum,
        "tokens_per_step", (json_int_t)tokens, "memory_mb", "weights", 1e-6 * one_buffer, "gradients", 1e-6 * one_buffer,
        "optimizer", 2e-6 * one_buffer, "activations", 1e-6 * (double)mb_tape_peak_bytes(run->tape), "peak_resident",
        1.024e-3 * (double)usage.ru_maxrss, "seconds_per_step", step_seconds, "of_which_update", update_seconds,
        "seconds_per_step_at_first", first_step_seconds, "tokens_per_second", tokens / step_seconds);
    if (result != NULL && o->steps > 0 &&
        (json_object_set_new(result, "steps", json_integer(o->steps)) != 0 ||
         json_object_set_new(result, "estimated_seconds", json_real(mean_seconds * (double)o->steps)) != 0)) {
        json_decref(result);
        return NULL;
    }
    return result;
}

mb_status mb_pretrain_estimate(mb_pretrain_run *run, json_t **result, mb_error *error) {
    mb_batch batch = {0};
    double step_seconds = 0, update_seconds = 0, first_step_seconds = 0;
    const mb_made_up_text text = {.n_sequences = run->part_sequences,
                                  .length = (int32_t)run->options->seq_length,
                                  .vocab_size = mb_model_get_config(run->model)->vocab_size,
                                  .mlm_probability = run->options->mlm_probability,
                                  .next_sentence = run->options->nsp,
                                  .seed = (uint64_t)run->options->seed};
    mb_status status = mb_made_up_batch(&text, &batch, error);
    if (status == MB_OK) {
        status = time_step(run, 1, &batch, &step_seconds, &update_seconds, error);
    }
    if (status == MB_OK && (run->options->depth_ramp > 0 || run->options->sampled_softmax > 0)) {
        status = time_first_step(run, &batch, &first_step_seconds, error);
    } else {
        first_step_seconds = step_seconds;
    }
    if (status == MB_OK && (*result = describe(run, step_seconds, update_seconds, first_step_seconds)) == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_batch_free(&batch);
    return status;
}
