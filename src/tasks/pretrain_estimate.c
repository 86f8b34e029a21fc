/* pretrain --dry-run: the run's own step, on made-up text of full length, timed and weighed. */
#include <math.h>
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

/* A run has up to three kinds of steps: until --depth-ramp or --sampled-softmax ends, then until the other does, and from there
 * on. The longest, `last`, comes in; `first` is the shortest, and `mean` that of the run. */
typedef struct step_times {
    double first, mean, last;
} step_times;

static mb_status time_kinds(mb_pretrain_run *run, const mb_batch *batch, step_times *times, mb_error *error) {
    const double ends[] = {fmin(run->options->depth_ramp, run->options->sampled_softmax),
                           fmax(run->options->depth_ramp, run->options->sampled_softmax)};
    double begin = 0;
    times->first = times->last;
    times->mean = (1 - ends[1]) * times->last;
    mb_status status = MB_OK;
    for (int i = 0; i < 2 && status == MB_OK; i++) {
        double seconds = 0, update_seconds = 0;
        if (ends[i] > begin) {
            mb_model_set_depth(run->model, mb_pretrain_depth_at(run, begin));
            status = time_step(run, begin, batch, &seconds, &update_seconds, error);
            times->first = begin == 0 ? seconds : times->first;
            times->mean += (ends[i] - begin) * seconds;
            begin = ends[i];
        }
    }
    mb_model_set_depth(run->model, mb_pretrain_depth_at(run, 1));
    return status;
}

static int64_t count_moments(const mb_pretrain_run *run) {
    const mb_params *params = mb_model_params(run->model);
    int64_t n = 0;
    for (size_t v = 0; v < params->n_views; v++) {
        n += params->views[v].count + mb_optimizer_moment2_count(&run->optimizer, &params->views[v]);
    }
    return n;
}

static json_t *describe(mb_pretrain_run *run, const step_times *times, double update_seconds) {
    const mb_pretrain_options *o = run->options;
    const mb_model_config *config = mb_model_get_config(run->model);
    const mb_params *params = mb_model_params(run->model);
    const double one_buffer = (double)params->count * (double)sizeof(mb_real);
    const double tokens = (double)o->batch_size * (double)o->seq_length * (double)o->grad_accum;
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    json_t *result = json_pack(
        "{s:b, s:{s:i, s:i, s:i, s:i, s:i, s:i}, s:I, s:{s:I, s:I, s:I, s:I}, s:{s:f, s:f, s:f, s:f, s:f}, s:f, s:f, s:f, s:f}",
        "dry_run", 1, "model", "layers", (int)config->n_layers, "hidden", (int)config->hidden_size, "heads",
        (int)config->n_heads, "intermediate", (int)config->intermediate_size, "vocab_size", (int)config->vocab_size,
        "positions", (int)config->max_positions, "parameters", (json_int_t)mb_params_n_weights(params), "batch", "sequences",
        (json_int_t)o->batch_size, "seq_length", (json_int_t)o->seq_length, "grad_accum", (json_int_t)o->grad_accum,
        "tokens_per_step", (json_int_t)tokens, "memory_mb", "weights", 1e-6 * one_buffer, "gradients", 1e-6 * one_buffer,
        "optimizer", 1e-6 * (double)count_moments(run) * (double)sizeof(mb_real), "activations",
        1e-6 * (double)mb_tape_peak_bytes(run->tape), "peak_resident", 1.024e-3 * (double)usage.ru_maxrss, "seconds_per_step",
        times->last, "of_which_update", update_seconds, "seconds_per_step_at_first", times->first, "tokens_per_second",
        tokens / times->last);
    if (result != NULL && o->steps > 0 &&
        (json_object_set_new(result, "steps", json_integer(o->steps)) != 0 ||
         json_object_set_new(result, "estimated_seconds", json_real(times->mean * (double)o->steps)) != 0)) {
        json_decref(result);
        return NULL;
    }
    return result;
}

mb_status mb_pretrain_estimate(mb_pretrain_run *run, json_t **result, mb_error *error) {
    mb_batch batch = {0};
    double update_seconds = 0;
    step_times times = {0};
    const mb_made_up_text text = {.n_sequences = run->part_sequences,
                                  .length = (int32_t)run->options->seq_length,
                                  .vocab_size = mb_model_get_config(run->model)->vocab_size,
                                  .mlm_probability = run->options->mlm_probability,
                                  .seed = (uint64_t)run->options->seed};
    mb_status status = mb_made_up_batch(&text, &batch, error);
    if (status == MB_OK) {
        mb_model_set_depth(run->model, mb_pretrain_depth_at(run, 1));
        status = time_step(run, 1, &batch, &times.last, &update_seconds, error);
    }
    status = status == MB_OK ? time_kinds(run, &batch, &times, error) : status;
    if (status == MB_OK && (*result = describe(run, &times, update_seconds)) == NULL) {
        status = mb_fail(error, MB_ERROR_MEMORY, "out of memory");
    }
    mb_batch_free(&batch);
    return status;
}
